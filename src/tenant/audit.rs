//! The tenant's audit trail: no change without its entry, no entry without its change.

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::open::Tenant;
use super::place::Area;
use crate::access::gate::{Admin, Proof};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{Namespace, UserId};
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
    /// An API key was made; `key` is its id.
    CreateApiKey,
    /// An API key was ended; `key` is its id.
    RevokeApiKey,
    /// Identities were revoked; `key` says whose.
    Revoke,
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
}

/// One entry of a tenant's audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who; absent for what the engine did by itself, such as clearing away what had expired.
    pub user: Option<UserId>,
    /// What.
    pub action: AuditAction,
    /// In which namespace; absent like `key`.
    pub namespace: Option<Namespace>,
    /// Whether it is about what a user keeps to itself: a private namespace of `user`, or of anybody where `user` is
    /// absent, or a credential.
    pub private: bool,
    /// Which memory or credential. Absent where it is in a private namespace of a user who is not the reader: the trail says that
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

/// The entry of a user's change to a namespace, without key and new name.
pub(super) fn entry<O>(proof: &Proof<'_, O>, at: Timestamp, action: AuditAction, area: &Area) -> AuditEntry {
    AuditEntry {
        at,
        user: Some(proof.user().clone()),
        action,
        namespace: Some(area.namespace.clone()),
        private: area.private,
        key: None,
        renamed_to: None,
        outcome: AuditOutcome::Done,
    }
}

impl Change<'_> {
    /// Adds an entry to the trail, in the change's own transaction.
    pub(super) fn record(&mut self, entry: AuditEntry) -> Result<()> {
        chain::append(&mut self.writer.open_table(AUDIT)?, &mut self.facts.audit, &entry)
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
    pub(crate) fn announce(&self, proof: &Proof<'_, Admin>, action: AuditAction, key: Option<String>) -> Result<()> {
        self.change(proof, |change| {
            change.begin_step()?;
            change.record(AuditEntry {
                at: change.at,
                user: Some(proof.user().clone()),
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
        self.database.read(|snapshot| {
            let rows = snapshot.audit.range(from..)?.take(limit.min(LIST_PAGE_MAX));
            rows.map(|row| {
                let mut entry: AuditEntry = chain::entry(row?.1.value())?;
                if entry.private && entry.user.as_ref() != Some(proof.user()) {
                    (entry.namespace, entry.key, entry.renamed_to) = (None, None, None);
                }
                Ok(entry)
            })
            .collect()
        })
    }

    /// Walks the whole chain and gives its head.
    pub(crate) fn verify_audit(&self, _proof: &Proof<'_, Admin>) -> Result<ChainHead> {
        self.database.read(|snapshot| {
            let head = snapshot.facts.audit;
            chain::verify(&snapshot.audit, head)?;
            Ok(head)
        })
    }
}
