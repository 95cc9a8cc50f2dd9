//! The only minter of access proofs.
//!
//! A [`Gate`] holds one identity at one tenant. [`Gate::pass`] turns "this handle, this kind of operation" into a
//! [`Proof`], and everything below the handles demands one: an operation that forgot to ask does not compile. A
//! proof is good for one operation and cannot outlive its gate.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::clock::{EngineClock, Timestamp};
use crate::error::{Error, Reason, Result};
use crate::id::UserId;
use crate::identity::scope::Scopes;
use crate::identity::verified::VerifiedIdentity;

/// The live state of one incarnation, shared by all of its handles.
#[derive(Debug)]
pub(crate) struct TenantState(AtomicU8);

const ACTIVE: u8 = 0;
const SUSPENDED: u8 = 1;
const GONE: u8 = 2;
const CLOSED: u8 = 3;

impl TenantState {
    pub(crate) fn active() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(ACTIVE)))
    }

    /// Stops or resumes all handles from their next operation on.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.step(if suspended { SUSPENDED } else { ACTIVE });
    }

    /// The engine is closed.
    pub(crate) fn close(&self) {
        self.step(CLOSED);
    }

    /// A tenant that is gone stays gone, and one of a closed engine closed.
    fn step(&self, to: u8) {
        let step = |from| (from == ACTIVE || from == SUSPENDED).then_some(to);
        // Nothing to do when it has ended already.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
    }

    /// Stops all handles for ever.
    pub(crate) fn end(&self) {
        self.0.store(GONE, Ordering::SeqCst);
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::SeqCst) {
            ACTIVE => Ok(()),
            SUSPENDED => Err(Reason::TenantSuspended.into()),
            CLOSED => Err(Reason::Closed.into()),
            _ => Err(Error::not_found()),
        }
    }
}

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
    Transact needs WRITE or DELETE
}

/// One identity at one tenant.
#[derive(Debug)]
pub(crate) struct Gate {
    identity: VerifiedIdentity,
    scopes: Scopes,
    state: Arc<TenantState>,
    clock: Arc<EngineClock>,
}

/// Leave for one operation of kind `O`.
#[derive(Debug)]
pub(crate) struct Proof<'gate, O> {
    gate: Held<'gate>,
    at: Timestamp,
    operation: PhantomData<O>,
}

/// The gate that was passed: borrowed by its caller, or held by a job that another thread may run.
#[derive(Debug)]
enum Held<'gate> {
    Borrowed(&'gate Arc<Gate>),
    Shared(Arc<Gate>),
}

impl Held<'_> {
    fn get(&self) -> &Arc<Gate> {
        match self {
            Self::Borrowed(gate) => gate,
            Self::Shared(gate) => gate,
        }
    }
}

impl Gate {
    /// `is_owner` gives every scope, whatever the token says.
    pub(crate) fn new(
        identity: VerifiedIdentity,
        is_owner: bool,
        state: Arc<TenantState>,
        clock: Arc<EngineClock>,
    ) -> Arc<Self> {
        let scopes = if is_owner { Scopes::ALL } else { identity.scopes() };
        Arc::new(Self { identity, scopes, state, clock })
    }

    /// Leave for one operation of kind `O`.
    ///
    /// # Errors
    /// As for [`Gate::check`].
    pub(crate) fn pass<O: Operation>(self: &Arc<Self>) -> Result<Proof<'_, O>> {
        let at = self.admit()?;
        if !self.scopes.intersects(O::NEEDS) {
            return Err(Error::not_found());
        }
        Ok(Proof { gate: Held::Borrowed(self), at, operation: PhantomData })
    }

    /// Checks tenant state and incarnation, then expiry, then that all of these scopes are held.
    ///
    /// # Errors
    /// `NotFound` when the tenant is gone or the scope is missing, `Unauthenticated` when the identity has expired,
    /// `Unavailable` when the tenant is suspended.
    pub(crate) fn check(&self, needed: Scopes) -> Result<()> {
        self.admit()?;
        if self.scopes.contains(needed) { Ok(()) } else { Err(Error::not_found()) }
    }

    /// Tenant and identity are good now; gives the time.
    fn admit(&self) -> Result<Timestamp> {
        let at = self.clock.now();
        let state = self.state.check();
        if at >= self.identity.expires_at() {
            // An expired identity learns nothing, not even that its tenant still exists.
            return Err(Reason::IdentityExpired.into());
        }
        state.map(|()| at)
    }

    pub(crate) fn identity(&self) -> &VerifiedIdentity {
        &self.identity
    }

    pub(crate) fn scopes(&self) -> Scopes {
        self.scopes
    }
}

impl<O> Proof<'_, O> {
    /// Who acts.
    pub(crate) fn user(&self) -> &UserId {
        self.gate.get().identity.user()
    }

    /// The same leave for a job that another caller's thread may run while this one waits.
    pub(crate) fn share(&self) -> Proof<'static, O> {
        Proof { gate: Held::Shared(self.gate.get().clone()), at: self.at, operation: PhantomData }
    }

    /// When the gate was passed: what has expired by then is not there.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Asked by writers after they waited for their turn: meanwhile the tenant may have been stopped or the identity
    /// have expired. Gives the time now, by which a change is dated: turns are in the order of the file's history,
    /// beginnings are not.
    pub(crate) fn turn(&self) -> Result<Timestamp> {
        self.gate.get().admit()
    }
}
