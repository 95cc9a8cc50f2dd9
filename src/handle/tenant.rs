//! The tenant handle, and the only way to one.

use std::fmt;
use std::sync::Arc;

use super::access::Access;
use super::api_keys::ApiKeys;
use super::audit::Audit;
use super::credentials::Credentials;
use super::memories::Memories;
use super::transaction::Transaction;
use crate::access::admission::{Admission, bearer, trusts};
use crate::access::gate::{Admin, Enter, Gate, Read, Revoke, Transact};
use crate::catalog::revocations::Revocation;
use crate::catalog::tenants::{Catalog, TenantRecord, TenantStatus};
use crate::engine::core::Engine;
use crate::error::{Error, Reason, Result};
use crate::id::{Namespace, TenantId, UserId};
use crate::identity::scope::Scopes;
use crate::identity::verified::VerifiedIdentity;
use crate::tenant::audit::AuditAction;
use crate::tenant::index_status::IndexStatus;
use crate::tenant::namespace::NamespaceInfo;
use crate::tenant::once::Once;
use crate::tenant::open::TenantStats;
use crate::tenant::place::Area;
use crate::tenant::sweep::Swept;
use crate::tenant::usage::Usage;

/// One user's access to one tenant.
///
/// # Authority
/// It reads and changes this tenant as this user, within the identity's scopes, until the identity expires or an
/// operator stops the tenant. Cloning conveys the same; it moves into threads and tasks. There is no way from it to
/// another tenant.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ | Scopes::WRITE))?;
/// let tenant = engine.tenant(&identity)?;
/// tenant.memories("notes")?.put(Memory::new("k1").text("remember the milk"))?;
/// assert!(tenant.memories("notes")?.exists("k1")?);
///
/// // Nobody allowed alice to delete.
/// let refused = tenant.memories("notes")?.delete("k1").unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::NotFound);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct TenantHandle(pub(super) Arc<Access>);

impl Engine {
    /// Opens the tenant of a verified identity.
    ///
    /// # Authority
    /// The handle acts as the identity's user at the identity's tenant. This and [`Engine::tenant_as`] are the only
    /// functions that make one.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist, does not trust the issuer, or is another incarnation of the name
    /// than the identity was issued for: the three look the same. `Unauthenticated` when the identity has expired, was
    /// revoked or is another engine's. `InvalidInput` when it lists several tenants and is for none of them in
    /// particular. `Unavailable` when the tenant is suspended. `Damaged` or `KeyUnavailable` when its files cannot be
    /// opened.
    pub fn tenant(&self, identity: &VerifiedIdentity) -> Result<TenantHandle> {
        self.check_identity(identity)?;
        if !identity.names_one() {
            return Err(Error::invalid("identity", "lists several tenants: select one of them"));
        }
        self.open_tenant(identity)
    }

    /// Opens one of the tenants that a verified identity lists: the user of several tenants selects one.
    ///
    /// # Authority
    /// The handle acts as the identity's user at that tenant, with the scopes that the issuer gave it there. No tenant is
    /// reached that the identity does not list.
    ///
    /// ```
    /// use watertight::*;
    ///
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # for tenant in ["acme", "globex", "initech"] {
    /// #     operator.provision(TenantSpec::new(tenant)?.trusts(Issuer::authority()))?;
    /// # }
    /// let alice = Attestation::new("acme", "alice")?.scopes(Scopes::ALL).member_of("globex", Scopes::READ)?;
    /// let identity = authority.attest(alice)?;
    /// let globex = engine.tenant_as(&identity, &TenantId::new("globex")?)?;
    /// assert_eq!((globex.id().as_str(), globex.scopes()), ("globex", Scopes::READ));
    ///
    /// let initech = engine.tenant_as(&identity, &TenantId::new("initech")?).unwrap_err();
    /// assert_eq!(initech.kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Engine::tenant`]; `NotFound` also when the identity does not list the tenant.
    pub fn tenant_as(&self, identity: &VerifiedIdentity, tenant: &TenantId) -> Result<TenantHandle> {
        self.check_identity(identity)?;
        self.open_tenant(&identity.at(tenant).ok_or_else(Error::not_found)?)
    }

    fn check_identity(&self, identity: &VerifiedIdentity) -> Result<()> {
        self.0.process.check()?;
        if identity.engine() != self.0.id {
            return Err(Reason::TokenRefused.into());
        }
        if self.0.clock.now() >= identity.expires_at() {
            return Err(Reason::IdentityExpired.into());
        }
        Ok(())
    }

    fn open_tenant(&self, identity: &VerifiedIdentity) -> Result<TenantHandle> {
        let engine = &self.0;
        let slot = {
            let _stable = engine.lifecycle.read();
            let record = engine.catalog.tenant(identity.tenant())?.ok_or_else(Error::not_found)?;
            check_admission(&engine.catalog, &record, identity)?;
            engine.pool.slot(identity.tenant(), record.incarnation, record.epoch)
        };
        // After the slot is there, so that a revocation either tells its state or comes before the question.
        let admission = Admission::new(identity.clone(), slot.incarnation, engine.catalog.clone(), &slot.state)?;
        // A file that cannot be opened is told here, not at the first operation.
        drop(engine.lease(&slot, engine.clock.now())?);
        let (state, policy) = (slot.state.clone(), slot.policy.clone());
        let gate = Gate::new(identity.clone(), state, Arc::new(admission), policy, engine.clock.clone());
        let access = Access::new(gate, slot, engine.clone());
        access.know_policy()?;
        if identity.operator().is_some() {
            access.run_at::<Enter, _>(access.somewhere(), |tenant, proof| tenant.record_impersonation(proof))?;
        }
        Ok(TenantHandle(access))
    }
}

/// Trust before state: whoever the tenant does not trust learns nothing of it.
fn check_admission(catalog: &Catalog, record: &TenantRecord, identity: &VerifiedIdentity) -> Result<()> {
    if !trusts(record, identity) {
        return Err(Error::not_found());
    }
    match record.status {
        // Revocation is asked for once the handle's state can be told of more of them.
        TenantStatus::Active => Ok(()),
        TenantStatus::Suspended if catalog.is_revoked(bearer(identity, record.incarnation))? => {
            Err(Reason::IdentityRevoked.into())
        }
        TenantStatus::Suspended => Err(Reason::TenantSuspended.into()),
        TenantStatus::Provisioning | TenantStatus::Purging => Err(Error::not_found()),
    }
}

impl TenantHandle {
    /// The tenant of this handle.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(tenant.id().as_str(), "acme");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> &TenantId {
        self.0.tenant_id()
    }

    /// The user of this handle.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(tenant.user().subject(), "alice");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.0.user()
    }

    /// The most the handle may do: the identity's scopes, or all of an owner's, less what was taken away by narrowing. With
    /// a policy its roles have to grant it as well.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(tenant.scopes(), Scopes::ALL);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.0.gate().scopes()
    }

    /// Whether the handle could do this now on the tenant as a whole, as its scopes and roles have it: it passes the gate
    /// and does nothing else. What rules say of a namespace is asked with [`Memories::check`].
    ///
    /// Good for asking before work that would be in vain, such as computing an embedding. It promises nothing of
    /// the operation that follows, which passes the gate again.
    ///
    /// ```
    /// use watertight::*;
    ///
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?;
    /// let tenant = engine.tenant(&identity)?;
    /// tenant.check(Scopes::READ)?;
    /// assert_eq!(tenant.check(Scopes::READ | Scopes::WRITE).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when a scope is missing or the tenant is gone, `Unauthenticated` when the identity has expired,
    /// `Unavailable` when the tenant is suspended.
    pub fn check(&self, needed: Scopes) -> Result<()> {
        self.0.know_policy()?;
        self.0.whole().check(needed)
    }

    /// A namespace that all users of the tenant share. It is made by [`Memories::create`] or its first put.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert!(!tenant.memories("notes")?.is_private());
    /// assert_eq!(tenant.memories("No Name").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn memories(&self, namespace: &str) -> Result<Memories> {
        self.area(namespace, false)
    }

    /// A namespace of this user alone: no other user of the tenant can name it.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.private("diary")?.put(Memory::new("k"))?;
    /// assert!(!tenant.memories("diary")?.exists("k")?);
    /// assert_eq!(tenant.private("").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn private(&self, namespace: &str) -> Result<Memories> {
        self.area(namespace, true)
    }

    /// The namespaces that the tenant shares and this user may read, then this user's own, each in byte order of their
    /// names. Needs the scope `read`. Other users' private namespaces are not told.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k").vector(vec![1.0, 0.0]))?;
    /// tenant.private("diary")?.put(Memory::new("k"))?;
    /// let found = tenant.namespaces()?;
    /// assert_eq!((found[0].namespace.as_str(), found[0].private, found[0].dimensions), ("notes", false, Some(2)));
    /// assert_eq!((found[1].namespace.as_str(), found[1].private, found[1].dimensions), ("diary", true, None));
    ///
    /// let nobody = engine.tenant(&authority.attest(Attestation::new("acme", "eve")?)?)?;
    /// assert_eq!(nobody.namespaces().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        self.0.run_at::<Read, _>(self.0.somewhere(), |tenant, proof| tenant.namespaces(proof))
    }

    /// How the namespaces of [`TenantHandle::namespaces`] are searched. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k").vector(vec![1.0, 0.0]))?;
    /// assert_eq!(tenant.index_status()?[0].tier, IndexTier::Unloaded);
    ///
    /// notes.recall(&Recall::vector(&[0.0, 1.0]))?;
    /// let status = &tenant.index_status()?[0];
    /// assert_eq!((status.tier, status.vectors, status.building), (IndexTier::Flat, 1, None));
    ///
    /// let nobody = engine.tenant(&authority.attest(Attestation::new("acme", "eve")?)?)?;
    /// assert_eq!(nobody.index_status().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn index_status(&self) -> Result<Vec<IndexStatus>> {
        self.0.run_at::<Read, _>(self.0.somewhere(), |tenant, proof| tenant.index_status(proof))
    }

    /// What the tenant holds, private namespaces included. Needs the scope `admin`: to others the figures would tell
    /// how much each user writes.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k").text("12345"))?;
    /// let usage = tenant.usage()?;
    /// assert_eq!((usage.memories, usage.bytes, usage.namespaces), (1, 6, 1));
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.usage().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn usage(&self) -> Result<Usage> {
        self.0.run::<Admin, _>(|tenant, proof| tenant.usage(proof))
    }

    /// What the open tenant takes and has done. Needs the scope `admin`: to others the figures would tell what users do.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k"))?;
    /// let stats = tenant.stats()?;
    /// assert_eq!((stats.commit_micros.count(), stats.waiting_changes), (1, 0));
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.stats().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn stats(&self) -> Result<TenantStats> {
        self.0.run::<Admin, _>(|tenant, proof| Ok(tenant.stats(proof)))
    }

    /// The credentials of this user at this tenant. Nobody else can name them: no admin, no operator, no other user.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.credentials().put("GITHUB_TOKEN", &Credential::new("ghp_secret"))?;
    /// assert_eq!(tenant.credentials().list()?[0].name, "GITHUB_TOKEN");
    ///
    /// let admin = engine.tenant(&authority.attest(Attestation::new("acme", "root")?.scopes(Scopes::ALL))?)?;
    /// assert_eq!(admin.credentials().list()?, []);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.0.clone())
    }

    /// The tenant's audit trail. Reading it needs the scope `admin`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.memories("notes")?.put(Memory::new("k"))?;
    /// assert_eq!(tenant.audit().entries(1, 10)?[0].action, AuditAction::Put);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::new(self.0.clone())
    }

    /// Clears away at most 10,000 memories that have expired or were in a deleted namespace, and gives their usage back.
    /// Needs the scope `admin`: to others the figures would tell what users keep to themselves.
    ///
    /// No operation sees them in any case. Every write clears a few away beside its own work; this is for tenants in
    /// which nobody writes.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k").expires_after(std::time::Duration::from_micros(1)))?;
    /// while notes.exists("k")? {}
    /// assert_eq!(tenant.usage()?.memories, 1);
    /// assert_eq!(tenant.sweep()?.expired, 1);
    /// assert_eq!(tenant.usage()?.memories, 0);
    ///
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.sweep().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; `OutcomeUnknown` as for [`Memories::put`].
    pub fn sweep(&self) -> Result<Swept> {
        self.0.run::<Admin, _>(|tenant, proof| tenant.sweep(proof))
    }

    /// The API keys of this tenant, for its admins.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// assert!(tenant.api_keys().list()?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.0.clone())
    }

    /// Ends identities at this tenant before their time. When this returns, no operation of their handles succeeds that
    /// began afterwards, and none does after a restart. Needs the scope `admin`.
    ///
    /// It outlives the handle, so it takes one that was neither narrowed nor detached and through which no operator acts for
    /// the user: operators have a call of their own.
    ///
    /// See [`Revocation`] for what can be revoked. Its entry in the trail comes first, so it waits for its turn as a writer of
    /// the tenant; an operator's does not.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let reader = engine.tenant(&authority.attest(Attestation::new("acme", "bob")?.scopes(Scopes::READ))?)?;
    /// assert_eq!(reader.revoke(&Revocation::everyone()).unwrap_err().kind(), ErrorKind::NotFound);
    /// tenant.revoke(&Revocation::subject(reader.user()))?;
    /// assert_eq!(reader.namespaces().unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope or such a handle; `Limit` when 10,000 tokens and users are revoked already: revoking everyone's stands
    /// for all of them.
    pub fn revoke(&self, what: &Revocation) -> Result<()> {
        self.0.run::<Revoke, _>(|tenant, proof| {
            tenant.announce(proof, AuditAction::Revoke, Some(what.to_string()))?;
            self.0.engine().revoke(None, self.id(), Some(self.0.slot().incarnation), what)
        })
    }

    /// Runs `work` as one transaction: all of its changes or none, with nobody else's in between. What it reads through
    /// the [`Transaction`] is what it has changed so far. Each step needs its own scope.
    ///
    /// When `work` answers an error, or panics, nothing of it is done. Other writers of the tenant wait meanwhile, so it
    /// should not: least of all for other threads that use the tenant. It may change other tenants. Where transactions would
    /// wait for each other for ever, the change that closes the ring is refused with [`Reason::Deadlock`]; return the error,
    /// and run the transaction again. To change the tenant through another handle inside it is refused, and so is to purge
    /// it or to close an engine.
    ///
    /// Needs one of the scopes `write` and `delete`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("from").text("treasure"))?;
    /// tenant.transact(|t| {
    ///     let text = t.memories("notes")?.get("from")?.text.unwrap_or_default();
    ///     t.memories("notes")?.delete("from")?;
    ///     t.private("vault")?.put(Memory::new("to").text(text))
    /// })?;
    /// assert!(!notes.exists("from")? && tenant.private("vault")?.exists("to")?);
    ///
    /// // An error takes all of it back.
    /// let refused = tenant.transact(|t| {
    ///     t.memories("notes")?.put(Memory::new("new"))?;
    ///     t.memories("notes")?.get("absent")
    /// });
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    /// assert!(!notes.exists("new")?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Whatever `work` answers; `InvalidInput` inside another transaction of the tenant; `Conflict` inside a transaction of
    /// another tenant that this one's writer waits for; `OutcomeUnknown` when the commit failed where it may or may not be
    /// durable.
    pub fn transact<R>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<R>) -> Result<R> {
        // Without a key it always runs.
        self.transaction(None, work)?.ok_or_else(|| Reason::Aborted.into())
    }

    /// As [`TenantHandle::transact`], under an idempotency key: see [`Memories::once`]. `None` when it was done before;
    /// `work` is not run then.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let count = || tenant.transact_once("job-9", |t| t.memories("notes")?.put(Memory::new("k")));
    /// assert_eq!(count()?.unwrap().version, 1);
    /// assert!(count()?.is_none());
    /// assert!(tenant.transact_once("", |_| Ok(())).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`TenantHandle::transact`] and [`Memories::once`].
    pub fn transact_once<R>(&self, key: &str, work: impl FnOnce(&Transaction<'_>) -> Result<R>) -> Result<Option<R>> {
        self.transaction(Some(&Once::new(key)?), work)
    }

    fn transaction<R>(
        &self,
        once: Option<&Once>,
        work: impl FnOnce(&Transaction<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        self.0.run_at::<Transact, _>(self.0.somewhere(), |tenant, proof| {
            tenant.transact(proof, once, |steps| {
                let transaction = Transaction::new(self.0.clone(), steps);
                let answer = work(&transaction);
                (transaction.into_steps(), answer)
            })
        })
    }

    fn area(&self, namespace: &str, private: bool) -> Result<Memories> {
        Ok(Memories::new(self.0.clone(), Area { namespace: Namespace::new(namespace)?, private }))
    }
}

impl fmt::Debug for TenantHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantHandle")
            .field("tenant", self.id())
            .field("user", self.user())
            .field("operator", &self.0.gate().identity().operator())
            .field("scopes", &self.scopes())
            .finish_non_exhaustive()
    }
}
