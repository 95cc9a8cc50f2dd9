//! The locks of code that is also run under a model checker: `tests/models` gives the same names to shuttle's.

pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64};
use std::time::Duration;
pub(crate) use std::time::Instant;

pub(crate) use parking_lot::{Mutex, MutexGuard, RwLockReadGuard};

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
}

/// A lock that readers never queue for: whoever has read access may take it once more while a writer waits. Who waits
/// to write must have seen to it that no new readers come.
#[derive(Debug, Default)]
pub(crate) struct SharedLock<T>(parking_lot::RwLock<T>);

impl<T> SharedLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read_recursive()
    }

    /// Waits for those who read, then changes the value.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.write())
    }

    /// Changes the value unless somebody has access.
    pub(crate) fn try_change<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_write().map(|mut value| change(&mut value))
    }
}
