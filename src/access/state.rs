//! Whether a tenant is in service, as all of its handles see it at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Reason, Result};
use crate::store::sync::AtomicU8;

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

    /// Whether all handles are stopped for ever: the tenant is gone, or the engine closed.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.0.load(Ordering::SeqCst), GONE | CLOSED)
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
