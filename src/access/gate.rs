//! The only minter of access proofs.
//!
//! A [`Gate`] holds one identity at one tenant. [`Gate::pass`] turns "this handle, this kind of operation" into a
//! [`Proof`], and everything below the handles demands one: an operation that forgot to ask does not compile. A
//! proof is good for one operation and cannot outlive its gate.

use std::marker::PhantomData;
use std::sync::Arc;

use super::admission::Admission;
use super::state::TenantState;
use crate::clock::{EngineClock, Timestamp};
use crate::error::{Error, Reason, Result};
use crate::id::UserId;
use crate::identity::scope::Scopes;
use crate::identity::verified::VerifiedIdentity;

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
    admission: Admission,
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
        admission: Admission,
        clock: Arc<EngineClock>,
    ) -> Arc<Self> {
        let scopes = if is_owner { Scopes::ALL } else { identity.scopes() };
        Arc::new(Self { identity, scopes, state, admission, clock })
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

    /// Checks tenant state and incarnation, then expiry and revocations, then that all of these scopes are held.
    ///
    /// # Errors
    /// `NotFound` when the tenant is gone or the scope is missing, `Unauthenticated` when the identity has expired or was
    /// revoked, `Unavailable` when the tenant is suspended.
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
        // Nor does one that was revoked.
        self.admission.check(&self.state)?;
        state.map(|()| at)
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
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
