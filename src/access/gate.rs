//! The only minter of access proofs.
//!
//! A [`Gate`] holds one identity at one tenant, and a [`Door`] is the gate before one part of it. [`Door::pass`] turns
//! "this handle, this part, this kind of operation" into a [`Proof`], and everything below the handles demands one: an
//! operation that forgot to ask does not compile. A proof is good for one operation and cannot outlive its door.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::admission::Admission;
use super::attenuation::Attenuation;
use super::door::{Door, Part};
use super::live::LivePolicy;
use super::policy::{Member, Policy};
use super::refusal::Refusals;
use super::standing::Standing;
use super::state::TenantState;
use crate::clock::{EngineClock, Timestamp};
use crate::error::{Error, Reason, Result};
use crate::id::{Namespace, UserId};
use crate::identity::scope::Scopes;
use crate::identity::verified::VerifiedIdentity;
use crate::limits::{ATTENUATIONS_MAX, DETACHED_SECONDS_MAX};
use crate::process::Process;

/// A kind of operation, as a type: a proof for reading cannot be used for writing.
pub(crate) trait Operation {
    /// One of these is enough.
    const NEEDS: Scopes;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident needs $($scope:ident)or+),*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) enum $name {}
        impl Operation for $name {
            const NEEDS: Scopes = Scopes::NONE$(.union(Scopes::$scope))+;
        }
    )*};
}
operations! {
    /// Get, list, recall.
    Read needs READ,
    /// Put.
    Write needs WRITE,
    /// Delete.
    Delete needs DELETE,
    /// The audit trail, settings of shared namespaces.
    Admin needs ADMIN,
    /// A transaction, whose steps need what they need; whoever may change nothing has no use for one.
    Transact needs WRITE or DELETE,
    /// What whoever may do anything may do.
    Enter needs READ or WRITE or DELETE or ADMIN
}

/// One identity at one tenant, or what is left of it after some narrowing.
pub(crate) struct Gate {
    pub(super) identity: VerifiedIdentity,
    /// The most that may be allowed.
    pub(super) scopes: Scopes,
    is_owner: bool,
    state: Arc<TenantState>,
    /// All that are made from one gate share it.
    admission: Arc<Admission>,
    pub(super) policy: Arc<LivePolicy>,
    clock: Arc<EngineClock>,
    process: Process,
    /// What the policy says of the identity, by the policy's epoch. All that are made from one gate share it.
    standing: Arc<KeptStanding>,
    expires_at: Timestamp,
    is_revoked: AtomicBool,
    /// Absent for the gate of an identity.
    pub(super) made: Option<Made>,
}

impl fmt::Debug for Gate {
    /// Whoever holds a handle may print it, and may not know the policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("identity", &self.identity)
            .field("made", &self.made.as_ref().map(|made| (&made.how, made.is_detached, &made.from)))
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a policy says of one user, with the policy's number.
type KeptStanding = RwLock<Option<(u64, Arc<Standing>)>>;

/// How a gate was made from another one.
pub(super) struct Made {
    from: Arc<Gate>,
    pub(super) how: Attenuation,
    depth: usize,
    pub(super) operations_left: Option<AtomicU64>,
    /// The end that narrowing has set to it, which detaching does not move.
    bounded_until: Option<Timestamp>,
    /// It lives on after its identity has expired.
    is_detached: bool,
}

/// Leave for one operation of kind `O`.
#[derive(Debug)]
pub(crate) struct Proof<'door, O> {
    door: Held<'door>,
    at: Timestamp,
    operation: PhantomData<O>,
}

/// The door that was passed: borrowed by its caller, or held by a job that another thread may run.
#[derive(Debug)]
enum Held<'door> {
    Borrowed(&'door Arc<Door>),
    Shared(Arc<Door>),
}

impl Held<'_> {
    fn get(&self) -> &Arc<Door> {
        match self {
            Self::Borrowed(door) => door,
            Self::Shared(door) => door,
        }
    }
}

impl Gate {
    /// `is_owner` gives every scope, whatever the token says, but not to an operator who acts for an owner.
    pub(crate) fn new(
        identity: VerifiedIdentity,
        is_owner: bool,
        state: Arc<TenantState>,
        admission: Arc<Admission>,
        policy: Arc<LivePolicy>,
        clock: Arc<EngineClock>,
    ) -> Arc<Self> {
        let acts_itself = identity.operator().is_none();
        let scopes = if is_owner && acts_itself { Scopes::ALL } else { identity.scopes() };
        let (standing, expires_at) = (Arc::default(), identity.expires_at());
        let is_revoked = AtomicBool::new(false);
        Arc::new(Self {
            identity,
            scopes,
            is_owner,
            state,
            admission,
            policy,
            clock,
            process: Process::this(),
            standing,
            expires_at,
            is_revoked,
            made: None,
        })
    }

    /// A narrower gate.
    ///
    /// # Errors
    /// The gate's own; `InvalidInput` when it was made from too many others.
    pub(crate) fn attenuate(self: &Arc<Self>, how: &Attenuation) -> Result<Arc<Self>> {
        let at = self.admit()?;
        let until = how.lifetime.map(|lifetime| at.after(lifetime));
        let bounded_until = [until, self.made.as_ref().and_then(|made| made.bounded_until)].into_iter().flatten().min();
        let expires_at = bounded_until.map_or(self.expires_at, |until| until.min(self.expires_at));
        self.make(how.clone(), expires_at, bounded_until, self.is_detached())
    }

    /// A gate that lives for so long from `at` on, whenever the identity expires.
    ///
    /// # Errors
    /// `NotFound` when the policy does not allow it so long, the handle was detached before, or an operator acts for the
    /// user.
    pub(crate) fn detach(self: &Arc<Self>, at: Timestamp, life: Duration) -> Result<Arc<Self>> {
        if life.is_zero() {
            return Err(Error::invalid("life of a detached job", "must not be zero"));
        }
        if life > Duration::from_secs(DETACHED_SECONDS_MAX) {
            let (limit, actual) = (DETACHED_SECONDS_MAX, life.as_secs());
            return Err(Reason::TooLarge { what: "life of a detached job in seconds", limit, actual }.into());
        }
        let (_, standing) = self.standing()?;
        if self.is_detached() || self.identity.operator().is_some() || life > standing.detached_jobs_max() {
            return Err(Error::not_found());
        }
        let bounded_until = self.made.as_ref().and_then(|made| made.bounded_until);
        let end = at.after(life);
        let expires_at = bounded_until.map_or(end, |until| until.min(end));
        self.make(Attenuation::new(), expires_at, bounded_until, true)
    }

    fn make(
        self: &Arc<Self>,
        how: Attenuation,
        expires_at: Timestamp,
        bounded_until: Option<Timestamp>,
        is_detached: bool,
    ) -> Result<Arc<Self>> {
        let depth = self.made.as_ref().map_or(0, |made| made.depth) + 1;
        if depth > ATTENUATIONS_MAX {
            return Err(Error::too_large("narrowings of a handle", ATTENUATIONS_MAX, depth));
        }
        let operations_left = how.operations.map(AtomicU64::new);
        Ok(Arc::new(Self {
            identity: self.identity.clone(),
            scopes: self.scopes,
            is_owner: self.is_owner,
            state: self.state.clone(),
            admission: self.admission.clone(),
            policy: self.policy.clone(),
            clock: self.clock.clone(),
            process: self.process.clone(),
            standing: self.standing.clone(),
            expires_at,
            is_revoked: AtomicBool::new(false),
            made: Some(Made { from: self.clone(), how, depth, operations_left, bounded_until, is_detached }),
        }))
    }

    /// This gate, then the one that it was made from, and so on.
    pub(super) fn line(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |gate| gate.made.as_ref().map(|made| &*made.from))
    }

    /// Ends this gate and all that were made from it.
    pub(crate) fn revoke(&self) {
        self.is_revoked.store(true, Ordering::SeqCst);
    }

    /// Tenant, identity and handle are good now; gives the time.
    pub(super) fn admit(&self) -> Result<Timestamp> {
        // Before the clock, which may take a lock.
        self.process.check()?;
        let at = self.clock.now();
        let state = self.state.check();
        if at >= self.expires_at {
            // An expired identity learns nothing, not even that its tenant still exists.
            return Err(Reason::IdentityExpired.into());
        }
        // Nor does one that was revoked.
        self.admission.check(&self.state)?;
        if self.line().any(|gate| gate.is_revoked.load(Ordering::SeqCst)) {
            return Err(Reason::HandleRevoked.into());
        }
        state.map(|()| at)
    }

    /// Tenant, identity and handle are good now.
    ///
    /// # Errors
    /// As for [`Door::check`].
    pub(crate) fn check(&self) -> Result<()> {
        self.admit().map(|_| ())
    }

    /// Counts one operation against every budget of the line, or against none.
    pub(super) fn spend(&self) -> Result<()> {
        let budgets = || self.line().filter_map(|gate| gate.made.as_ref()?.operations_left.as_ref());
        for (taken, budget) in budgets().enumerate() {
            let one_less = |left: u64| left.checked_sub(1);
            if budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err() {
                for budget in budgets().take(taken) {
                    budget.fetch_add(1, Ordering::SeqCst);
                }
                let limit = self.line().filter_map(|gate| gate.made.as_ref()?.how.operations).min().unwrap_or(0);
                return Err(Reason::Full { what: "operations of this handle", limit }.into());
            }
        }
        Ok(())
    }

    /// The number of the policy in force; 0 while it is not known.
    pub(super) fn policy_epoch(&self) -> u64 {
        self.policy.epoch()
    }

    pub(crate) fn policy(&self) -> &LivePolicy {
        &self.policy
    }

    pub(super) fn member(&self) -> Member<'_> {
        Member { user: self.identity.user(), groups: self.identity.groups(), is_owner: self.is_owner }
    }

    /// What the policy in force says of the identity, with the policy's number.
    pub(super) fn standing(&self) -> Result<(u64, Arc<Standing>)> {
        if let Some((epoch, standing)) = &*self.standing.read()
            && *epoch == self.policy.epoch()
        {
            return Ok((*epoch, standing.clone()));
        }
        // Nothing is allowed by a policy that cannot be read.
        let (epoch, standing) = self.policy.standing(self.member()).ok_or(Reason::Io(io::ErrorKind::Other))?;
        *self.standing.write() = Some((epoch, standing.clone()));
        Ok((epoch, standing))
    }

    /// What is allowed in a part of the tenant, with the number of the policy that says so: what a role grants *and* a
    /// scope allows *and* every narrowing leaves.
    pub(super) fn decide(&self, part: &Part) -> Result<(u64, Scopes)> {
        let (epoch, standing) = self.standing()?;
        let granted = match part {
            Part::Tenant => standing.tenant(),
            Part::Shared(namespace) => standing.shared(namespace),
            Part::Credentials if self.identity.operator().is_some() => Scopes::NONE,
            Part::Somewhere | Part::Private(_) | Part::Credentials => standing.own(),
        };
        Ok((epoch, self.narrow(part, granted.intersection(self.scopes))))
    }

    pub(super) fn narrow(&self, part: &Part, permissions: Scopes) -> Scopes {
        let made = self.line().filter_map(|gate| gate.made.as_ref());
        made.fold(permissions, |permissions, made| made.how.narrow(part, permissions))
    }

    pub(crate) fn identity(&self) -> &VerifiedIdentity {
        &self.identity
    }

    /// The most that may be allowed.
    pub(crate) fn scopes(&self) -> Scopes {
        self.narrow(&Part::Somewhere, self.scopes)
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Whether it is the identity's own, for whom nobody else acts: what such a one gives out widens nothing.
    pub(crate) fn is_whole(&self) -> bool {
        self.made.is_none() && self.identity.operator().is_none()
    }

    pub(super) fn is_detached(&self) -> bool {
        self.made.as_ref().is_some_and(|made| made.is_detached)
    }
}

impl Door {
    /// Leave for one operation of kind `O`.
    ///
    /// # Errors
    /// As for [`Door::check`]; `Limit` when the handle has no operations left.
    pub(crate) fn pass<O: Operation>(self: &Arc<Self>) -> Result<Proof<'_, O>> {
        let at = self.admit::<O>()?;
        self.gate().spend()?;
        Ok(Proof { door: Held::Borrowed(self), at, operation: PhantomData })
    }

    /// Tenant, identity and handle are good now, and the kind of operation is allowed here; gives the time.
    pub(crate) fn admit<O: Operation>(&self) -> Result<Timestamp> {
        let at = self.gate().admit()?;
        if !self.allowed()?.intersects(O::NEEDS) {
            let why = self.gate().why_not(self.part(), O::NEEDS);
            self.gate().note_refusal(at, self.part(), O::NEEDS, None, why);
            return Err(Error::not_found());
        }
        Ok(at)
    }

    /// Checks tenant state and incarnation, then expiry, then that all of these permissions are held here.
    ///
    /// # Errors
    /// `NotFound` when the tenant is gone or a permission is missing, `Unauthenticated` when the identity has expired or
    /// the handle was revoked, `Unavailable` when the tenant is suspended.
    pub(crate) fn check(&self, needed: Scopes) -> Result<()> {
        self.gate().admit()?;
        if self.allowed()?.contains(needed) { Ok(()) } else { Err(Error::not_found()) }
    }
}

impl<O: Operation> Proof<'_, O> {
    /// Asked by writers after they waited for their turn: meanwhile the tenant may have been stopped, the identity have
    /// expired or the policy changed. Gives the time now, by which a change is dated: turns are in the order of the file's
    /// history, beginnings are not.
    pub(crate) fn turn(&self) -> Result<Timestamp> {
        self.door.get().admit::<O>()
    }
}

impl<O> Proof<'_, O> {
    /// Who acts.
    pub(crate) fn user(&self) -> &UserId {
        self.gate().identity.user()
    }

    /// The operator who acts for the user, where one does.
    pub(crate) fn operator(&self) -> Option<&str> {
        self.gate().identity.operator()
    }

    /// Who acts, as a policy sees it.
    pub(crate) fn member(&self) -> Member<'_> {
        self.gate().member()
    }

    /// The version of the policy by which the gate judges; 0 while it knows of none.
    pub(crate) fn policy_version(&self) -> u64 {
        self.gate().policy.version()
    }

    /// Takes a policy that the file has.
    pub(crate) fn publish(&self, policy: Policy) {
        self.gate().policy.publish(policy);
    }

    /// What the tenant has refused and not yet written down.
    pub(crate) fn refusals(&self) -> &Refusals {
        self.gate().policy.refusals()
    }

    /// The reason of the operator who acts for the user.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.gate().identity.impersonator().map(|by| by.reason.as_str())
    }

    /// Whether the door that was passed is that of this namespace. A proof of another part of the tenant is a mistake of ours,
    /// which finds nothing.
    pub(crate) fn check_about(&self, namespace: &Namespace, private: bool) -> Result<()> {
        let is_its_own = match self.door.get().part() {
            Part::Shared(name) => !private && name == namespace,
            Part::Private(name) => private && name == namespace,
            Part::Tenant | Part::Somewhere | Part::Credentials => false,
        };
        debug_assert!(is_its_own, "the proof is not about this namespace");
        if is_its_own { Ok(()) } else { Err(Error::not_found()) }
    }

    /// Whether the shared namespace of this name may be read by whoever acts, or the private one.
    pub(crate) fn may_read(&self, namespace: &Namespace, private: bool) -> Result<bool> {
        let namespace = namespace.clone();
        let part = if private { Part::Private(namespace) } else { Part::Shared(namespace) };
        Ok(self.gate().decide(&part)?.1.contains(Scopes::READ))
    }

    fn gate(&self) -> &Arc<Gate> {
        self.door.get().gate()
    }

    /// The same leave for a job that another caller's thread may run while this one waits.
    pub(crate) fn share(&self) -> Proof<'static, O> {
        Proof { door: Held::Shared(self.door.get().clone()), at: self.at, operation: PhantomData }
    }

    /// When the gate was passed: what has expired by then is not there.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }
}
