//! Ending identities before their time. First the catalog, then the handles: when it returns, no operation of such an
//! identity succeeds that began afterwards, and none does after a restart.

use super::core::Inner;
use crate::catalog::revocations::Revocation;
use crate::catalog::tenants::Act;
use crate::error::{Error, Result};
use crate::id::{Incarnation, Issuer, TenantId, UserId};

impl Inner {
    /// `only`: the incarnation that the caller means; by default whichever has the name.
    pub(crate) fn revoke(
        &self,
        operator: Option<&str>,
        tenant: &TenantId,
        only: Option<Incarnation>,
        what: &Revocation,
    ) -> Result<()> {
        let record = self.catalog.tenant(tenant)?.ok_or_else(Error::not_found)?;
        if only.is_some_and(|only| only != record.incarnation) {
            return Err(Error::not_found());
        }
        // Later than every identity that was attested before this call.
        let act = Act { operator, at: self.clock.stamp() };
        let outcome = self.catalog.revoke(act, tenant, record.incarnation, what);
        // Even after a failure: a commit may be durable although it failed, and asking once more does no harm.
        self.revise(record.incarnation);
        outcome
    }

    pub(super) fn set_issuers(&self, act: Act<'_>, tenant: &TenantId, issuers: Vec<Issuer>) -> Result<()> {
        let _exclusive = self.lifecycle.write();
        let wanted = issuers.clone();
        let record =
            self.settle(tenant, self.catalog.set_issuers(act, tenant, issuers), |row| row.issuers == wanted)?;
        self.revise(record.incarnation);
        Ok(())
    }

    pub(super) fn set_owners(&self, act: Act<'_>, tenant: &TenantId, owners: Vec<UserId>) -> Result<()> {
        let _exclusive = self.lifecycle.write();
        let wanted = owners.clone();
        let changed = self.settle(tenant, self.catalog.set_owners(act, tenant, owners), |row| row.owners == wanted);
        match &changed {
            Ok(record) => self.revise(record.incarnation),
            // It may be durable all the same, and to ask once more does no harm.
            Err(_) => drop(self.catalog.tenant(tenant)?.map(|record| self.revise(record.incarnation))),
        }
        changed.map(drop)
    }

    /// Makes the handles of an incarnation ask once more. A handle that is being made has its slot before it asks, so
    /// either it is found here or it asks after the change.
    pub(super) fn revise(&self, incarnation: Incarnation) {
        if let Some(slot) = self.pool.known(incarnation) {
            slot.state.revise();
        }
    }
}
