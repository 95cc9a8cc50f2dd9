//! The tenant's audit trail: no change without its entry, no entry without its change.

use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use super::namespace::Area;
use super::open::Tenant;
use super::usage::Facts;
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
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AuditOutcome {
    /// The change is part of the same transaction as this entry.
    Done,
}

/// One entry of a tenant's audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub user: UserId,
    /// What.
    pub action: AuditAction,
    /// In which namespace; absent like `key`.
    pub namespace: Option<Namespace>,
    /// Whether that is a private namespace of `user`.
    pub private: bool,
    /// Which memory. Absent where it is in a private namespace of a user who is not the reader: the trail says that
    /// something was done, not what that user calls things.
    pub key: Option<String>,
    /// How it ended.
    pub outcome: AuditOutcome,
}

impl Record for AuditEntry {
    const KIND: u8 = 20;
    const NAME: &'static str = "audit entry";
}

/// Adds the entry of a change to the change's own transaction.
pub(super) fn append<O>(
    transaction: &WriteTransaction,
    facts: &mut Facts,
    proof: &Proof<'_, O>,
    at: Timestamp,
    action: AuditAction,
    area: &Area,
    key: &str,
) -> Result<()> {
    let entry = AuditEntry {
        at,
        user: proof.user().clone(),
        action,
        namespace: Some(area.namespace.clone()),
        private: area.private,
        key: Some(key.to_owned()),
        outcome: AuditOutcome::Done,
    };
    chain::append(&mut transaction.open_table(AUDIT)?, &mut facts.audit, &entry)
}

impl Tenant {
    /// Up to `limit` entries from the given number on; the first entry is 1.
    pub(crate) fn audit_entries(&self, proof: &Proof<'_, Admin>, from: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.database.read(|tables| {
            let rows = tables.audit.range(from..)?.take(limit.min(LIST_PAGE_MAX));
            rows.map(|row| {
                let mut entry: AuditEntry = chain::entry(row?.1.value())?;
                if entry.private && entry.user != *proof.user() {
                    (entry.namespace, entry.key) = (None, None);
                }
                Ok(entry)
            })
            .collect()
        })
    }

    /// Walks the whole chain and gives its head.
    pub(crate) fn verify_audit(&self, _proof: &Proof<'_, Admin>) -> Result<ChainHead> {
        self.database.read(|tables| {
            let head = Facts::read(&tables.meta)?.audit;
            chain::verify(&tables.audit, head)?;
            Ok(head)
        })
    }
}
