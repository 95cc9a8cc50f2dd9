//! The tenant's policy, and what a handle may tell of itself.

use super::tenant::TenantHandle;
use crate::access::gate::{Admin, Gate, Grant};
use crate::access::permission::Action;
use crate::access::policy::Policy;
use crate::access::refusal::Decision;
use crate::clock::Timestamp;
use crate::error::{Reason, Result};
use crate::id::{Namespace, TenantId, UserId};
use crate::identity::scope::Scopes;

/// What a handle is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhoAmI {
    /// Whose data it reaches.
    pub tenant: TenantId,
    /// As whom.
    pub user: UserId,
    /// The operator who acts for the user; absent where the user acts for itself.
    pub operator: Option<String>,
    /// The user's groups, as the issuer of the identity names them.
    pub groups: Vec<String>,
    /// The most the handle may do.
    pub scopes: Scopes,
    /// The roles that the policy gives the user, in byte order; none in a tenant without a policy.
    pub roles: Vec<String>,
    /// What the handle may do now on the tenant as a whole.
    pub allowed: Scopes,
    /// From when on it is refused.
    pub expires_at: Timestamp,
    /// How many operations it has left; absent when they are not counted.
    pub operations_left: Option<u64>,
    /// Whether it lives on after its identity has expired.
    pub detached: bool,
}

impl TenantHandle {
    /// The tenant's policy. Needs the permission `admin`. One that grants nothing, of version 0, for a tenant that has none.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(tenant.policy()?, Policy::new());
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.policy().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the permission; the gate's errors.
    pub fn policy(&self) -> Result<Policy> {
        self.0.run::<Admin, _>(|tenant, proof| tenant.policy(proof))
    }

    /// Replaces the tenant's policy and gives its new version. Needs the permission `admin`. When this returns, nothing that
    /// begins on any handle is allowed by the policy before.
    ///
    /// The policy must be made from the one there is ([`TenantHandle::policy`]), so that two admins do not undo each
    /// other's change unseen. Somebody certain must be left who may change it again: whoever changes it, or a named user of
    /// the same issuer. A policy outlives the handle that sets it, so it takes a whole one: not one that was narrowed or
    /// detached, not an operator's who acts for the user, and no API key's.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let everyone_reads = tenant.policy()?.assign(Principal::Everyone, "reader")?;
    /// assert_eq!(tenant.set_policy(&everyone_reads).unwrap_err().kind(), ErrorKind::InvalidInput);
    ///
    /// let policy = everyone_reads.assign(Principal::user(tenant.user().clone()), "owner")?;
    /// assert_eq!(tenant.set_policy(&policy)?, 1);
    /// assert_eq!(tenant.set_policy(&policy).unwrap_err().kind(), ErrorKind::Conflict);
    ///
    /// let narrowed = tenant.attenuate(&Attenuation::new())?;
    /// assert_eq!(narrowed.set_policy(&tenant.policy()?).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the permission or a whole handle; `Conflict` when the policy was changed meanwhile; `InvalidInput` when nobody
    /// certain would be left to change it, or the role `owner` is given or taken by somebody who does not have it;
    /// `OutcomeUnknown` as for [`Memories::put`](crate::Memories::put): until it is known which policy there is, nothing is
    /// allowed.
    pub fn set_policy(&self, policy: &Policy) -> Result<u64> {
        let live = self.0.gate().policy();
        let next = policy.version().saturating_add(1);
        let changed = self.0.run::<Grant, _>(|tenant, proof| {
            let changed = tenant.set_policy(proof, policy);
            // Before the file can be closed: whoever opens it then must find this known.
            match &changed {
                Ok(successor) => live.publish(successor.clone()),
                Err(error) if *error.reason() == Reason::CommitUnknown => live.doubt(next),
                Err(_) => {}
            }
            changed
        })?;
        Ok(changed.version())
    }

    /// Whether the handle may do this now: permissions on the tenant as a whole, or an action of the application. It counts
    /// as an operation, and a refusal goes to the audit trail.
    ///
    /// In a tenant without a policy nobody but the owners that an operator named may do any action of the application.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(tenant.require(Action::app("deploy")).unwrap_err().kind(), ErrorKind::NotFound);
    ///
    /// let alice = Principal::user(tenant.user().clone());
    /// let policy = tenant.policy()?.role(Role::new("release")?.action("deploy")?)?;
    /// tenant.set_policy(&policy.assign(alice.clone(), "release")?.assign(alice, "admin")?)?;
    /// tenant.require(Action::app("deploy"))?;
    /// tenant.require(Scopes::ADMIN)?;
    /// assert!(tenant.require(Action::app("destroy")).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when it is not granted; the gate's errors.
    pub fn require<'a>(&self, action: impl Into<Action<'a>>) -> Result<()> {
        self.0.know_policy()?;
        Gate::require(self.0.whole(), action.into())
    }

    /// What this handle is and may do. Everybody may ask that of their own handle.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let me = tenant.whoami()?;
    /// assert_eq!((me.user.subject(), me.operator, me.allowed), ("alice", None, Scopes::ALL));
    ///
    /// tenant.withdraw();
    /// assert_eq!(tenant.whoami().unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The gate's errors.
    pub fn whoami(&self) -> Result<WhoAmI> {
        self.0.know_policy()?;
        let standpoint = Gate::standpoint(self.0.whole())?;
        let (gate, identity) = (self.0.gate(), self.0.gate().identity());
        Ok(WhoAmI {
            tenant: identity.tenant().clone(),
            user: identity.user().clone(),
            operator: identity.operator().map(str::to_owned),
            groups: identity.groups().to_vec(),
            scopes: gate.scopes(),
            roles: standpoint.roles,
            allowed: standpoint.allowed,
            expires_at: gate.expires_at(),
            operations_left: standpoint.operations_left,
            detached: standpoint.is_detached,
        })
    }

    /// Whether this handle may do all of this in a shared namespace, or on the tenant as a whole where none is named, and
    /// why. Needs the permission `admin`: to others the answer would tell what is kept from them. Of other users
    /// [`Policy::explain`] tells the same.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let alice = Principal::user(tenant.user().clone());
    /// let policy = tenant.policy()?.role(Role::new("closed")?.deny(Scopes::ALL, "hr.*")?)?;
    /// tenant.set_policy(&policy.assign(Principal::Everyone, "closed")?.assign(alice, "admin")?)?;
    ///
    /// let why = tenant.explain(Scopes::READ, Some("hr.salaries"))?;
    /// assert_eq!((why.allowed, why.refusal, why.role.as_deref()), (false, Some(Refusal::Denied), Some("closed")));
    /// assert_eq!(why.namespaces.unwrap().as_str(), "hr.*");
    /// assert_eq!(tenant.explain(Scopes::READ, Some("notes"))?.role.as_deref(), Some("admin"));
    ///
    /// let bob = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(bob.explain(Scopes::READ, None).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the permission, `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn explain(&self, permissions: Scopes, namespace: Option<&str>) -> Result<Decision> {
        let namespace = namespace.map(Namespace::new).transpose()?;
        self.0.run::<Admin, _>(|_, _| self.0.gate().explain(permissions, namespace.as_ref()))
    }
}
