//! The tenant's audit trail, for its admins.

use std::sync::Arc;

use super::access::Access;
use crate::access::gate::Admin;
use crate::error::Result;
use crate::store::chain::ChainHead;
use crate::tenant::audit::AuditEntry;

/// The audit trail of a tenant. Every method needs the scope `admin` and passes the gate.
#[derive(Debug, Clone)]
pub struct Audit {
    access: Arc<Access>,
}

impl Audit {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access }
    }

    /// Up to `limit` entries (at most 1,000), oldest first, from the given number on; the first entry is 1.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k"))?;
    /// let entries = tenant.audit().entries(1, 10)?;
    /// assert_eq!((entries[0].action, entries[0].key.as_deref()), (AuditAction::Put, Some("k")));
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.audit().entries(1, 10).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; `Damaged` when an entry cannot be read.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>> {
        self.access.run::<Admin, _>(|tenant, proof| tenant.audit_entries(proof, from, limit))
    }

    /// Walks the whole chain and gives its head: the number of entries and the hash of the newest.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k"))?;
    /// assert_eq!(tenant.audit().verify()?.entries, 1);
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.audit().verify().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; `Damaged` when an entry was edited, inserted, removed or moved.
    pub fn verify(&self) -> Result<ChainHead> {
        self.access.run::<Admin, _>(|tenant, proof| tenant.verify_audit(proof))
    }
}
