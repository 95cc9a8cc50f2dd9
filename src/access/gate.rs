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
use super::refusal::{Refusal, Refusals};
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
    /// Which handles may do it, if the permission is there.
    const BY: By;
}

/// Which handles may do an operation. What decides who may do what at the tenant stays decided after the handle has
/// ended, so that a handle of less than a user's full power must not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// All.
    Anyone,
    /// Those that were neither narrowed nor detached, and through which no operator acts for the user.
    Whole,
    /// Those of them that are no API key's either: what a stolen key gave away would stay when the key is revoked.
    Person,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident needs $($scope:ident)or+ by $by:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) enum $name {}
        impl Operation for $name {
            const NEEDS: Scopes = Scopes::NONE$(.union(Scopes::$scope))+;
            const BY: By = By::$by;
        }
    )*};
}
operations! {
    /// Get, list, recall.
    Read needs READ by Anyone,
    /// Put.
    Write needs WRITE by Anyone,
    /// Delete.
    Delete needs DELETE by Anyone,
    /// The audit trail, settings of shared namespaces.
    Admin needs ADMIN by Anyone,
    /// Takes away from others what they may do: revocations, the erasure of a user.
    Revoke needs ADMIN by Whole,
    /// Gives others what they may do: the policy, API keys.
    Grant needs ADMIN by Person,
    /// A transaction, whose steps need what they need; whoever may change nothing has no use for one.
    Transact needs WRITE or DELETE by Anyone,
    /// What whoever may do anything may do.
    Enter needs READ or WRITE or DELETE or ADMIN by Anyone
}

/// One identity at one tenant, or what is left of it after some narrowing.
pub(crate) struct Gate {
    pub(super) identity: VerifiedIdentity,
    state: Arc<TenantState>,
    /// All that are made from one gate share it.
    admission: Arc<Admission>,
    pub(super) policy: Arc<LivePolicy>,
    clock: Arc<EngineClock>,
    process: Process,
    /// What the policy says of the identity. All that are made from one gate share it.
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

/// What a policy says of one user, with what that was said of.
type KeptStanding = RwLock<Option<(Ground, Arc<Standing>)>>;

/// What decisions rest on and are kept under: the number of the policy in force, and whether the user is an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ground {
    epoch: u64,
    is_owner: bool,
}

impl Ground {
    /// One number for each.
    pub(super) fn bits(self) -> u64 {
        self.epoch << 1 | u64::from(self.is_owner)
    }

    /// Whether the policy is known.
    pub(super) fn is_known(self) -> bool {
        self.epoch != 0
    }
}

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
    pub(crate) fn new(
        identity: VerifiedIdentity,
        state: Arc<TenantState>,
        admission: Arc<Admission>,
        policy: Arc<LivePolicy>,
        clock: Arc<EngineClock>,
    ) -> Arc<Self> {
        let (standing, expires_at) = (Arc::default(), identity.expires_at());
        let is_revoked = AtomicBool::new(false);
        let process = Process::this();
        Arc::new(Self {
            identity,
            state,
            admission,
            policy,
            clock,
            process,
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

    /// What a decision rests on now.
    pub(super) fn ground(&self) -> Ground {
        Ground { epoch: self.policy.epoch(), is_owner: self.admission.is_owner() }
    }

    pub(crate) fn policy(&self) -> &LivePolicy {
        &self.policy
    }

    pub(super) fn member(&self) -> Member<'_> {
        self.member_as(self.admission.is_owner())
    }

    fn member_as(&self, is_owner: bool) -> Member<'_> {
        Member { user: self.identity.user(), groups: self.identity.groups(), is_owner }
    }

    /// What the policy in force says of the identity, with what that rests on.
    pub(super) fn standing(&self) -> Result<(Ground, Arc<Standing>)> {
        let Ground { is_owner, .. } = self.ground();
        if let Some((ground, standing)) = &*self.standing.read()
            && *ground == (Ground { epoch: self.policy.epoch(), is_owner })
        {
            return Ok((*ground, standing.clone()));
        }
        // Nothing is allowed by a policy that cannot be read.
        let member = self.member_as(is_owner);
        let (epoch, standing) = self.policy.standing(member).ok_or(Reason::Io(io::ErrorKind::Other))?;
        let ground = Ground { epoch, is_owner };
        *self.standing.write() = Some((ground, standing.clone()));
        Ok((ground, standing))
    }

    /// What is allowed in a part of the tenant, with what that rests on: what a role grants *and* a scope allows *and*
    /// every narrowing leaves.
    pub(super) fn decide(&self, part: &Part) -> Result<(Ground, Scopes)> {
        let (ground, standing) = self.standing()?;
        let granted = match part {
            Part::Tenant => standing.tenant(),
            Part::Shared(namespace) => standing.shared(namespace),
            Part::Credentials if self.identity.operator().is_some() => Scopes::NONE,
            Part::Somewhere | Part::Private(_) | Part::Credentials => standing.own(),
        };
        Ok((ground, self.narrow(part, granted.intersection(self.scopes_as(ground.is_owner)))))
    }

    /// What the identity's scopes allow. An owner has every scope, whatever its token says, but not an operator who acts
    /// for one.
    pub(super) fn own_scopes(&self) -> Scopes {
        self.scopes_as(self.admission.is_owner())
    }

    fn scopes_as(&self, is_owner: bool) -> Scopes {
        let acts_itself = self.identity.operator().is_none();
        if is_owner && acts_itself { Scopes::ALL } else { self.identity.scopes() }
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
        // So that nobody is told what it had before a change of owners. Refusals are for operations to tell.
        let _ = self.admission.check(&self.state);
        self.narrow(&Part::Somewhere, self.own_scopes())
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Why an operation is not for this gate, whatever is allowed.
    fn falls_short<O: Operation>(&self) -> Option<Refusal> {
        if O::BY == By::Anyone {
            return None;
        }
        if self.identity.operator().is_some() {
            return Some(Refusal::Impersonated);
        }
        if self.made.is_some() {
            return Some(Refusal::Narrowed);
        }
        (O::BY == By::Person && self.identity.user().issuer().is_api_keys()).then_some(Refusal::ApiKey)
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
        let why = if self.allowed()?.intersects(O::NEEDS) {
            self.gate().falls_short::<O>()
        } else {
            Some(self.gate().why_not(self.part(), O::NEEDS))
        };
        let Some(why) = why else { return Ok(at) };
        self.gate().note_refusal(at, self.part(), O::NEEDS, None, why);
        Err(Error::not_found())
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
