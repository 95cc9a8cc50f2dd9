//! The locks of code that is also run under a model checker: `tests/models` gives the same names to shuttle's.

use std::time::Duration;
pub(crate) use std::time::Instant;

pub(crate) use parking_lot::{Mutex, MutexGuard};

/// A condition to wait for, with the lock that guards it.
#[derive(Debug, Default)]
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
    }

    /// Waits at most this long.
    pub(crate) fn wait_for<'a, T>(&self, mut guard: MutexGuard<'a, T>, most: Duration) -> MutexGuard<'a, T> {
        self.0.wait_for(&mut guard, most);
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
