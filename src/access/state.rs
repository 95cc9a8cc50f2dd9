//! Whether a tenant is in service, as all of its handles see it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Reason, Result};
use crate::store::sync::{AtomicU8, AtomicU64};

/// The live state of one incarnation, shared by all of its handles.
#[derive(Debug)]
pub(crate) struct TenantState {
    status: AtomicU8,
    /// Rises when somebody's welcome at the tenant has changed: a revocation, or an issuer that is trusted no longer.
    revision: AtomicU64,
}

const ACTIVE: u8 = 0;
const SUSPENDED: u8 = 1;
const GONE: u8 = 2;
const CLOSED: u8 = 3;

impl TenantState {
    pub(crate) fn active() -> Arc<Self> {
        Arc::new(Self { status: AtomicU8::new(ACTIVE), revision: AtomicU64::new(0) })
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

    /// Makes every handle ask once more, from its next operation on, whether its identity is welcome. Called when the
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

/// The revision of a tenant's state that somebody has asked about.
#[derive(Debug)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn nothing() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Asks, unless nothing has changed since the last answer was good.
    pub(crate) fn check(&self, state: &TenantState, ask: impl FnOnce() -> Result<()>) -> Result<()> {
        // Read before asking: what changes meanwhile is asked about the next time.
        let revision = state.revision.load(Ordering::SeqCst);
        if self.0.load(Ordering::Relaxed) == revision {
            return Ok(());
        }
        ask()?;
        self.0.store(revision, Ordering::Relaxed);
        Ok(())
    }
}
