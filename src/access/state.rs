//! Whether a tenant is in service, as all of its handles see it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Reason, Result};
use crate::store::sync::{AtomicU8, AtomicU64};

/// The live state of one incarnation, shared by all of its handles.
#[derive(Debug)]
pub(crate) struct TenantState {
    status: AtomicU8,
    /// Rises when somebody's place at the tenant has changed: a revocation, other trusted issuers, other owners. The first
    /// is 1, so that nobody has seen it who has not asked.
    revision: AtomicU64,
}

const ACTIVE: u8 = 0;
const SUSPENDED: u8 = 1;
const GONE: u8 = 2;
const CLOSED: u8 = 3;

impl TenantState {
    pub(crate) fn active() -> Arc<Self> {
        Arc::new(Self { status: AtomicU8::new(ACTIVE), revision: AtomicU64::new(1) })
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
        let _ = self.status.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step);
    }

    /// Stops all handles for ever.
    pub(crate) fn end(&self) {
        self.status.store(GONE, Ordering::SeqCst);
    }

    /// Makes every handle ask once more, from its next operation on, whether its identity is welcome, and an owner. Called when the
    /// answer has changed, and not before.
    pub(crate) fn revise(&self) {
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all handles are stopped for ever: the tenant is gone, or the engine closed.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.status.load(Ordering::SeqCst), GONE | CLOSED)
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self.status.load(Ordering::SeqCst) {
            ACTIVE => Ok(()),
            SUSPENDED => Err(Reason::TenantSuspended.into()),
            CLOSED => Err(Reason::Closed.into()),
            _ => Err(Error::not_found()),
        }
    }
}

/// The revision of a tenant's state that somebody has asked about, and what the answer was: whether the user is an owner
/// of the tenant. Both are one number, the revision above and the answer in the lowest bit, so that nobody reads the one
/// without the other.
#[derive(Debug)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn nothing() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Asks, unless nothing has changed since the last answer was good.
    pub(crate) fn check(&self, state: &TenantState, ask: impl FnOnce() -> Result<bool>) -> Result<()> {
        // Read before asking: what changes meanwhile is asked about the next time.
        let revision = state.revision.load(Ordering::SeqCst);
        if self.0.load(Ordering::SeqCst) >> 1 == revision {
            return Ok(());
        }
        let is_owner = ask()?;
        // The highest revision stays: a caller that asked earlier and was slow must not bring back an older answer.
        self.0.fetch_max(revision << 1 | u64::from(is_owner), Ordering::SeqCst);
        Ok(())
    }

    /// The newest answer; false before the first.
    pub(crate) fn is_owner(&self) -> bool {
        self.0.load(Ordering::SeqCst) & 1 == 1
    }
}
