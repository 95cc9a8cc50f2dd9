//! Whether an identity is welcome at its tenant, and an owner of it: asked when a handle is made, and once more by each
//! handle whenever that may have changed for somebody.

use std::fmt;
use std::sync::Arc;

use super::state::{Seen, TenantState};
use crate::catalog::revocations::Bearer;
use crate::catalog::tenants::{Catalog, TenantRecord};
use crate::error::{Error, Reason, Result};
use crate::id::Incarnation;
use crate::identity::verified::VerifiedIdentity;

/// An identity that was welcome when it was last asked about.
pub(crate) struct Admission {
    identity: VerifiedIdentity,
    incarnation: Incarnation,
    catalog: Arc<Catalog>,
    seen: Seen,
}

impl Admission {
    /// Asks for the first time. `state` must be the one that revocations are told to.
    ///
    /// # Errors
    /// As for [`Admission::check`].
    pub(crate) fn new(
        identity: VerifiedIdentity,
        incarnation: Incarnation,
        catalog: Arc<Catalog>,
        state: &TenantState,
    ) -> Result<Self> {
        let admission = Self { identity, incarnation, catalog, seen: Seen::nothing() };
        admission.check(state)?;
        Ok(admission)
    }

    /// # Errors
    /// `NotFound` when the tenant is another by now or does not trust the issuer any more, `Unauthenticated` when the
    /// identity was revoked. What keeps the catalog from answering is an error as well.
    pub(crate) fn check(&self, state: &TenantState) -> Result<()> {
        self.seen.check(state, || self.ask())
    }

    /// Whether the tenant had the user for an owner when it was last asked about.
    pub(crate) fn is_owner(&self) -> bool {
        self.seen.is_owner()
    }

    #[cold]
    fn ask(&self) -> Result<bool> {
        let record = self.catalog.tenant(self.identity.tenant())?.ok_or_else(Error::not_found)?;
        if record.incarnation != self.incarnation || !trusts(&record, &self.identity) {
            return Err(Error::not_found());
        }
        if self.catalog.is_revoked(self.bearer())? {
            return Err(Reason::IdentityRevoked.into());
        }
        Ok(record.owners.contains(self.identity.user()))
    }

    pub(crate) fn bearer(&self) -> Bearer<'_> {
        bearer(&self.identity, self.incarnation)
    }
}

/// What of an identity at an incarnation can be revoked.
pub(crate) fn bearer(identity: &VerifiedIdentity, incarnation: Incarnation) -> Bearer<'_> {
    Bearer { incarnation, user: identity.user(), issued_at: identity.issued_at(), token_id: identity.token_id() }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Whether the tenant admits identities of this one's issuer, and was there when it was issued. An API key is trusted by
/// the one incarnation that made it.
pub(crate) fn trusts(record: &TenantRecord, identity: &VerifiedIdentity) -> bool {
    let issuer = identity.user().issuer();
    let is_own = identity.incarnation().is_none_or(|only| only == record.incarnation);
    let trusted = record.issuers.contains(issuer) || (issuer.is_api_keys() && identity.incarnation().is_some());
    trusted && is_own && identity.issued_at() >= record.created_at
}
