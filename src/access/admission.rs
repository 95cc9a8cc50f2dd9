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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::catalog::tenants::{Act, TenantStatus};
    use crate::clock::Timestamp;
    use crate::error::ErrorKind;
    use crate::id::{EngineId, Epoch, Issuer, TenantId, UserId};
    use crate::identity::scope::Scopes;
    use crate::identity::verified::IdentityFacts;
    use crate::limits::CATALOG_CACHE_BYTES;
    use crate::store::database::FileSpec;
    use crate::store::memory::MemoryDisk;

    const MADE_AT: u64 = 1_000;

    fn record(incarnation: Incarnation) -> TenantRecord {
        TenantRecord {
            incarnation,
            epoch: Epoch::FIRST,
            status: TenantStatus::Provisioning,
            plan: None,
            issuers: vec![Issuer::authority()],
            owners: Vec::new(),
            created_at: Timestamp::from_seconds(MADE_AT),
        }
    }

    fn identity(issuer: Issuer, issued_at: u64, incarnation: Option<Incarnation>) -> VerifiedIdentity {
        let (tenant, user) = (TenantId::new("acme").unwrap(), UserId::new(issuer, "alice").unwrap());
        let (engine, expires_at) = (EngineId::from_bytes([1; 16]), Timestamp::from_seconds(2 * MADE_AT));
        let issued_at = Timestamp::from_seconds(issued_at);
        let facts = IdentityFacts::of_one_tenant(engine, tenant, user, Vec::new(), Scopes::ALL, issued_at, expires_at);
        VerifiedIdentity::new(IdentityFacts { incarnation, ..facts })
    }

    /// Also where it was issued after the tenant was made, so that its time does not tell.
    #[test]
    fn an_identity_is_trusted_by_the_incarnation_that_it_names_and_by_no_other() {
        let [ours, other] = [(); 2].map(|()| Incarnation::random().unwrap());
        let elsewhere = Issuer::new("https://elsewhere.example").unwrap();
        for (issuer, incarnation, trusted) in [
            (Issuer::authority(), None, true),
            (Issuer::authority(), Some(ours), true),
            (Issuer::authority(), Some(other), false),
            (Issuer::api_keys(), Some(ours), true),
            (Issuer::api_keys(), Some(other), false),
            // Of a key that says of no tenant that it made it.
            (Issuer::api_keys(), None, false),
            (elsewhere.clone(), None, false),
            (elsewhere, Some(ours), false),
        ] {
            let context = format!("{issuer} {incarnation:?}");
            for (issued_at, in_time) in [(MADE_AT - 1, false), (MADE_AT, true), (MADE_AT + 1, true)] {
                let identity = identity(issuer.clone(), issued_at, incarnation);
                assert_eq!(trusts(&record(ours), &identity), trusted && in_time, "{context} at {issued_at}");
            }
        }
    }

    #[test]
    fn an_admission_to_one_incarnation_is_none_to_another_of_the_name() {
        let spec = FileSpec {
            disk: Arc::new(MemoryDisk::new()),
            path: PathBuf::from("catalog.redb"),
            sealing: None,
            cache_bytes: CATALOG_CACHE_BYTES,
            always_quick_repair: true,
            check_bytes_max: u64::MAX,
        };
        let catalog = Arc::new(Catalog::create(spec).unwrap());
        let (acme, [ours, other]) = (TenantId::new("acme").unwrap(), [(); 2].map(|()| Incarnation::random().unwrap()));
        let act = Act { operator: Some("ops"), at: Timestamp::from_seconds(MADE_AT) };
        catalog.begin_provision(act, &acme, &record(ours)).unwrap();
        catalog.finish_provision(&acme, ours).unwrap();
        let admit = |incarnation| {
            let alice = identity(Issuer::authority(), MADE_AT, None);
            Admission::new(alice, incarnation, catalog.clone(), &TenantState::active())
        };
        admit(ours).unwrap();
        assert_eq!(admit(other).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
