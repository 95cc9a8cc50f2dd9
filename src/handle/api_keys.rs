//! The API keys of a tenant, for its admins.

use std::sync::Arc;

use super::access::Access;
use crate::access::gate::{Admin, Grant, Revoke};
use crate::catalog::api_keys::Maker;
use crate::error::{Error, Result};
use crate::id::ApiKeyId;
use crate::identity::api_key::{ApiKey, ApiKeyInfo, ApiKeySpec, NewApiKey};
use crate::tenant::audit::AuditAction;

/// The API keys of a tenant. Every method needs the scope `admin` and passes the gate.
///
/// A key is verified by [`Engine::verify`](crate::Engine::verify) like a token and then acts as a user of its own, so what
/// it keeps private is its own, and nobody's private things are the key's.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    access: Arc<Access>,
}

impl ApiKeys {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access }
    }

    /// Makes a key for this tenant.
    ///
    /// # Authority
    /// Whoever has the text of the key acts at this tenant with its scopes until it expires or is revoked. It can be given
    /// no scope that the caller does not have, and a key makes no keys, so that revoking a stolen one is the end of it.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let scopes = Scopes::READ | Scopes::ADMIN;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(scopes))?)?;
    /// let made = tenant.api_keys().create(&ApiKeySpec::new("nightly report")?.scopes(Scopes::READ))?;
    /// assert!(made.expose().starts_with("wt_"));
    /// assert!(!format!("{made:?}").contains(made.expose()));
    ///
    /// let reports = engine.tenant(&engine.verify(made.expose())?)?;
    /// assert_eq!((reports.id().as_str(), reports.scopes()), ("acme", Scopes::READ));
    ///
    /// // The caller may not delete, so no key of hers may.
    /// let wider = ApiKeySpec::new("cleaner")?.scopes(Scopes::DELETE);
    /// assert_eq!(tenant.api_keys().create(&wider).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope `admin` or one of the key's own scopes, and when an API key asks, a handle that was
    /// narrowed or detached, or an operator who acts for the user; `Limit` when the
    /// tenant has 1,000.
    pub fn create(&self, spec: &ApiKeySpec) -> Result<NewApiKey> {
        self.access.run::<Grant, _>(|tenant, proof| {
            let gate = self.access.gate();
            // Before the turn, which asks anew: from there on the catalog sees to it that an owner still is one.
            let as_owner = gate.admission().is_owner();
            if !gate.scopes().contains(spec.scopes) {
                return Err(Error::not_found());
            }
            let key = ApiKey::random()?;
            tenant.announce(proof, AuditAction::CreateApiKey, Some(key.id().to_string()))?;
            let maker = Maker { bearer: gate.admission().bearer(), as_owner };
            self.access.engine().create_api_key(maker, self.access.slot(), &key, spec)
        })
    }

    /// The tenant's keys, oldest first; expired ones until new ones take their place.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let made = tenant.api_keys().create(&ApiKeySpec::new("nightly report")?.scopes(Scopes::READ))?;
    /// assert_eq!(tenant.api_keys().list()?[0].last_used_at, None);
    /// engine.verify(made.expose())?;
    /// let listed = &tenant.api_keys().list()?[0];
    /// assert_eq!((listed.id, listed.label.as_str(), &listed.created_by), (made.info.id, "nightly report", tenant.user()));
    /// assert!(listed.last_used_at.is_some());
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.api_keys().list().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope.
    pub fn list(&self) -> Result<Vec<ApiKeyInfo>> {
        self.access.run::<Admin, _>(|_, _| self.access.engine().api_keys(self.access.slot().incarnation))
    }

    /// Ends a key. When this returns, no operation of its handles succeeds that began afterwards. The keys that a user has made
    /// end with the user as well ([`Revocation::subject`](crate::Revocation::subject)).
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let made = tenant.api_keys().create(&ApiKeySpec::new("nightly report")?.scopes(Scopes::READ))?;
    /// let reports = engine.tenant(&engine.verify(made.expose())?)?;
    /// tenant.api_keys().revoke(made.info.id)?;
    /// assert_eq!(reports.namespaces().unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// assert_eq!(engine.verify(made.expose()).unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// assert_eq!(tenant.api_keys().revoke(made.info.id).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope, when the tenant has no such key, and for a handle that was narrowed or detached or through
    /// which an operator acts for the user.
    pub fn revoke(&self, id: ApiKeyId) -> Result<()> {
        self.access.run::<Revoke, _>(|tenant, proof| {
            let engine = self.access.engine();
            let incarnation = self.access.slot().incarnation;
            // Looked for first, so that the trail has nothing of another tenant's keys.
            if !engine.has_api_key(incarnation, id)? {
                return Err(Error::not_found());
            }
            tenant.announce(proof, AuditAction::RevokeApiKey, Some(id.to_string()))?;
            engine.revoke_api_key(incarnation, id)
        })
    }
}
