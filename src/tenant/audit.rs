//! The tenant's audit trail: no change without its entry, no entry without its change.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::open::Tenant;
use super::place::Area;
use crate::access::gate::{Admin, Operation, Proof};
use crate::access::refusal::Refusal;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{Namespace, UserId};
use crate::identity::scope::Scopes;
use crate::limits::LIST_PAGE_MAX;
use crate::store::chain::{self, ChainHead};
use crate::store::codec::Record;
use crate::store::schema::AUDIT;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AuditAction {
    /// A memory was put.
    Put,
    /// A memory was deleted.
    Delete,
    /// A memory's content was patched.
    Patch,
    /// An expired memory was cleared away.
    Expire,
    /// A namespace was made with settings.
    CreateNamespace,
    /// The settings of a namespace were changed.
    UpdateNamespace,
    /// A namespace was given another name.
    RenameNamespace,
    /// A namespace was deleted with all its memories.
    DeleteNamespace,
    /// A user was erased; `key` says under which number what it wrote elsewhere goes on, if it had written anything.
    EraseUser,
    /// A credential was put.
    PutCredential,
    /// A credential was given another secret, and the one before it kept for a while.
    RotateCredential,
    /// The secret before the current one was forgotten.
    ConfirmCredential,
    /// A secret was used.
    UseCredential,
    /// A credential was deleted.
    DeleteCredential,
    /// The policy was replaced.
    SetPolicy,
    /// A background job was given a life of its own.
    Detach,
    /// An operator began to act for the user.
    Impersonate,
    /// Something was tried that is not allowed.
    Attempt,
    /// Vectors of another model are being made for a namespace.
    BeginReembedding,
    /// The vectors of another model serve now.
    FinishReembedding,
    /// The vectors of another model were given up.
    CancelReembedding,
    /// An API key was made; `key` is its id.
    CreateApiKey,
    /// An API key was ended; `key` is its id.
    RevokeApiKey,
    /// Identities were revoked; `key` says whose.
    Revoke,
    /// A memory lost its vector, because the model that takes over has none for it.
    DropVector,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// The change is part of the same transaction as this entry.
    Done,
    /// The change is one of the engine's catalog, made after this entry: a crash or an error in between leaves the entry
    /// alone, and never the change.
    Announced,
    /// The caller was told that nothing was found.
    Refused {
        /// One of these permissions was needed; none for an action of the application.
        needed: Scopes,
        /// Why it was refused.
        why: Refusal,
        /// How often; the entry's time is that of the last one.
        times: u32,
    },
}

/// One entry of a tenant's audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who; absent for what the engine did by itself, such as clearing away what had expired, and for attempts beyond those
    /// that are remembered one by one.
    pub user: Option<UserId>,
    /// The operator who acted for the user, where one did.
    pub operator: Option<String>,
    /// What.
    pub action: AuditAction,
    /// In which namespace; absent like `key`.
    pub namespace: Option<Namespace>,
    /// Whether it is about what a user keeps to itself: a private namespace of `user`, or of anybody where `user` is
    /// absent, or a credential.
    pub private: bool,
    /// Which memory or credential; which version of the policy; an operator's reason; the action of the application that was
    /// refused. Absent where it is in a private namespace of a user who is not the reader: the trail says that
    /// something was done, not what that user calls things.
    pub key: Option<String>,
    /// The new name, where a namespace was given one; absent like `key`.
    pub renamed_to: Option<Namespace>,
    /// How it ended.
    pub outcome: AuditOutcome,
}

impl Record for AuditEntry {
    const KIND: u8 = 20;
    const NAME: &'static str = "audit entry";
}

/// What only the user of a private entry may read.
#[derive(Debug, Serialize, Deserialize)]
struct PrivateDetail {
    namespace: Option<Namespace>,
    key: Option<String>,
    renamed_to: Option<Namespace>,
}

impl Record for PrivateDetail {
    const KIND: u8 = 40;
    const NAME: &'static str = "detail of an audit entry";
}

/// A row of the trail as it stays when this user is erased; `None` when it stays as it is.
pub(super) fn redacted(row: &[u8], user: &UserId) -> Result<Option<Vec<u8>>> {
    let entry: AuditEntry = chain::entry(row)?;
    let is_private = entry.private && entry.user.as_ref() == Some(user);
    is_private.then(|| chain::without_detail(row)).transpose()
}

/// The entry of a user's change to a namespace, without key and new name.
pub(super) fn entry<O>(proof: &Proof<'_, O>, at: Timestamp, action: AuditAction, area: &Area) -> AuditEntry {
    AuditEntry {
        at,
        user: Some(proof.user().clone()),
        operator: proof.operator().map(str::to_owned),
        action,
        namespace: Some(area.namespace.clone()),
        private: area.private,
        key: None,
        renamed_to: None,
        outcome: AuditOutcome::Done,
    }
}

/// The entry of something that is about no namespace.
pub(super) fn tenant_entry<O>(proof: &Proof<'_, O>, at: Timestamp, action: AuditAction, key: String) -> AuditEntry {
    AuditEntry {
        at,
        user: Some(proof.user().clone()),
        operator: proof.operator().map(str::to_owned),
        action,
        namespace: None,
        private: false,
        key: Some(key),
        renamed_to: None,
        outcome: AuditOutcome::Done,
    }
}

impl Change<'_> {
    /// Adds an entry to the trail, in the change's own transaction. What a user calls things that are its own is a
    /// detail, which goes when the user is erased; where nobody could read it, it is not kept at all.
    pub(super) fn record(&mut self, mut entry: AuditEntry) -> Result<()> {
        let mut trail = self.writer.open_table(AUDIT)?;
        if !entry.private {
            return chain::append(&mut trail, &mut self.facts.audit, &entry);
        }
        let detail = PrivateDetail {
            namespace: entry.namespace.take(),
            key: entry.key.take(),
            renamed_to: entry.renamed_to.take(),
        };
        if entry.user.is_none() {
            return chain::append(&mut trail, &mut self.facts.audit, &entry);
        }
        chain::append_with_detail(&mut trail, &mut self.facts.audit, &entry, &detail)
    }

    /// Records what a user did to one memory.
    pub(super) fn record_memory<O>(
        &mut self,
        proof: &Proof<'_, O>,
        action: AuditAction,
        area: &Area,
        key: &str,
    ) -> Result<()> {
        self.record(AuditEntry { key: Some(key.to_owned()), ..entry(proof, self.at, action, area) })
    }
}

impl Tenant {
    /// Records what the proof's user is about to change in the engine's catalog.
    pub(crate) fn announce<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        action: AuditAction,
        key: Option<String>,
    ) -> Result<()> {
        self.change(proof, |change| {
            change.begin_step()?;
            change.record(AuditEntry {
                at: change.at,
                user: Some(proof.user().clone()),
                operator: proof.operator().map(str::to_owned),
                action,
                namespace: None,
                private: false,
                key,
                renamed_to: None,
                outcome: AuditOutcome::Announced,
            })
        })
    }

    /// Up to `limit` entries from the given number on; the first entry is 1.
    pub(crate) fn audit_entries(&self, proof: &Proof<'_, Admin>, from: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.record_refusals(proof.refusals());
        self.database.read(|snapshot| {
            let rows = snapshot.audit.range(from..)?.take(limit.min(LIST_PAGE_MAX));
            rows.map(|row| {
                let row = row?.1;
                let mut entry: AuditEntry = chain::entry(row.value())?;
                if entry.private
                    && entry.user.as_ref() == Some(proof.user())
                    && let Some(PrivateDetail { namespace, key, renamed_to }) = chain::detail(row.value())?
                {
                    (entry.namespace, entry.key, entry.renamed_to) = (namespace, key, renamed_to);
                }
                Ok(entry)
            })
            .collect()
        })
    }

    /// Walks the whole chain and gives its head.
    pub(crate) fn verify_audit(&self, proof: &Proof<'_, Admin>) -> Result<ChainHead> {
        self.record_refusals(proof.refusals());
        self.database.read(|snapshot| {
            let head = snapshot.facts.audit;
            chain::verify(&snapshot.audit, head)?;
            Ok(head)
        })
    }
}
