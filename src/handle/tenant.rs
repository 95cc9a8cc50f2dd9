//! The tenant handle, and the only way to one.

use std::fmt;
use std::sync::Arc;

use super::audit::Audit;
use super::memories::Memories;
use crate::access::gate::{Admin, Gate, Operation, Proof, Read};
use crate::catalog::tenants::{TenantRecord, TenantStatus};
use crate::engine::core::{Engine, Inner};
use crate::error::{Error, Reason, Result};
use crate::id::{Namespace, TenantId, UserId};
use crate::identity::scope::Scopes;
use crate::identity::verified::VerifiedIdentity;
use crate::tenant::namespace::{Area, NamespaceInfo};
use crate::tenant::open::Tenant;
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
/// # let directory = tempfile::tempdir().unwrap();
/// # let root_key = RootKey::generate().unwrap();
/// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
/// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
/// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
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
pub struct TenantHandle(Arc<Access>);

/// What every small handle of a tenant shares.
pub(super) struct Access {
    gate: Gate,
    tenant: Arc<Tenant>,
    /// Keeps the engine, and with it the lock of the directory, for as long as a handle lives.
    engine: Arc<Inner>,
}

impl Access {
    /// Every operation goes through here: the gate first, then the work with the proof.
    pub(super) fn run<O: Operation, R>(&self, work: impl FnOnce(&Tenant, &Proof<'_, O>) -> Result<R>) -> Result<R> {
        let proof = self.gate.pass::<O>()?;
        let result = work(&self.tenant, &proof);
        match result {
            // The file was closed under the operation: say what the gate says now, if it has something to say.
            Err(error) if *error.reason() == Reason::Closed => Err(self.gate.pass::<O>().err().unwrap_or(error)),
            result => result,
        }
    }
}

impl Engine {
    /// Opens the tenant of a verified identity.
    ///
    /// # Authority
    /// The handle acts as the identity's user at the identity's tenant. This is the only function that makes one.
    ///
    /// # Errors
    /// `NotFound` when the tenant does not exist, does not trust the issuer, or is another incarnation of the name
    /// than the identity was issued for: the three look the same. `Unauthenticated` when the identity has expired or
    /// is another engine's. `Unavailable` when the tenant is suspended. `Damaged` or `KeyUnavailable` when its files
    /// cannot be opened.
    pub fn tenant(&self, identity: &VerifiedIdentity) -> Result<TenantHandle> {
        let engine = &self.0;
        if identity.engine() != engine.id {
            return Err(Reason::TokenRefused.into());
        }
        if engine.clock.now() >= identity.expires_at() {
            return Err(Reason::IdentityExpired.into());
        }
        let (record, slot) = {
            let _stable = engine.lifecycle.read();
            let record = engine.catalog.tenant(identity.tenant())?.ok_or_else(Error::not_found)?;
            check_admission(&record, identity)?;
            let slot = engine.pool.slot(record.incarnation);
            (record, slot)
        };
        let tenant = slot.open(|| engine.open_tenant(&record))?;
        let is_owner = record.owners.contains(identity.user());
        let gate = Gate::new(identity.clone(), is_owner, slot.state.clone(), engine.clock.clone());
        Ok(TenantHandle(Arc::new(Access { gate, tenant, engine: engine.clone() })))
    }
}

/// Trust before state: whoever the tenant does not trust learns nothing of it.
fn check_admission(record: &TenantRecord, identity: &VerifiedIdentity) -> Result<()> {
    let trusted = record.issuers.contains(identity.user().issuer());
    if !trusted || identity.issued_at() < record.created_at {
        return Err(Error::not_found());
    }
    match record.status {
        TenantStatus::Active => Ok(()),
        TenantStatus::Suspended => Err(Reason::TenantSuspended.into()),
        TenantStatus::Provisioning | TenantStatus::Purging => Err(Error::not_found()),
    }
}

impl TenantHandle {
    /// The tenant of this handle.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        self.0.gate.identity().tenant()
    }

    /// The user of this handle.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.0.gate.identity().user()
    }

    /// What the handle may do.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.0.gate.scopes()
    }

    /// Whether the handle could do this now: it passes the gate and does nothing else.
    ///
    /// Good for asking before work that would be in vain, such as computing an embedding. It promises nothing of
    /// the operation that follows, which passes the gate again.
    ///
    /// ```
    /// use watertight::*;
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root_key = RootKey::generate().unwrap();
    /// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
    /// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    /// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
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
        self.0.gate.check(needed)
    }

    /// A namespace that all users of the tenant share. It is made by its first put.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn memories(&self, namespace: &str) -> Result<Memories> {
        self.area(namespace, false)
    }

    /// A namespace of this user alone: no other user of the tenant can name it.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn private(&self, namespace: &str) -> Result<Memories> {
        self.area(namespace, true)
    }

    /// The namespaces that the tenant shares, then this user's own, each in byte order of their names. Needs the scope
    /// `read`. Other users' private namespaces are not told.
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
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        self.0.run::<Read, _>(|tenant, proof| tenant.namespaces(proof))
    }

    /// What the tenant holds, private namespaces included. Needs the scope `admin`: to others the figures would tell
    /// how much each user writes.
    ///
    /// # Errors
    /// `NotFound` without the scope; the gate's errors.
    pub fn usage(&self) -> Result<Usage> {
        self.0.run::<Admin, _>(|tenant, proof| tenant.usage(proof))
    }

    /// The tenant's audit trail. Reading it needs the scope `admin`.
    #[must_use]
    pub fn audit(&self) -> Audit {
        Audit::new(self.0.clone())
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
            .field("scopes", &self.scopes())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("gate", &self.gate).field("engine", &self.engine).finish_non_exhaustive()
    }
}
