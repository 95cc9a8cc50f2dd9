//! The names of `src/store/sync.rs` over shuttle's locks: every lock and wait is a point where the checker may let
//! another thread run.

use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

pub(crate) use shuttle::sync::MutexGuard;
pub(crate) use shuttle::sync::atomic::{AtomicU8, AtomicU64};

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap()
    }

    /// Nobody comes in time: the checker has no clock to wait by.
    pub(crate) fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, _most: Duration) -> MutexGuard<'a, T> {
        shuttle::thread::yield_now();
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Counts its readers, who never queue behind a writer. The value has a lock of its own, which is always free when it is
/// asked: the checker decides at the count.
#[derive(Debug, Default)]
pub(crate) struct SharedLock<T> {
    readers: Mutex<usize>,
    left: Condvar,
    value: parking_lot::RwLock<T>,
}

impl<T> SharedLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { readers: Mutex::new(0), left: Condvar::new(), value: parking_lot::RwLock::new(value) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        *self.readers.lock() += 1;
        RwLockReadGuard { lock: self, value: Some(self.value.read_recursive()) }
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut readers = self.readers.lock();
        while *readers > 0 {
            readers = self.left.wait(readers);
        }
        change(&mut self.value.write())
    }

    pub(crate) fn try_change<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let readers = self.readers.lock();
        (*readers == 0).then(|| change(&mut self.value.write()))
    }
}

#[derive(Debug)]
pub(crate) struct RwLockReadGuard<'a, T> {
    lock: &'a SharedLock<T>,
    /// `Some` until it is dropped.
    value: Option<parking_lot::RwLockReadGuard<'a, T>>,
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_deref().unwrap()
    }
}

impl<T> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        // Before another task may find that nobody reads.
        self.value = None;
        *self.lock.readers.lock() -= 1;
        self.lock.left.notify_all();
    }
}

thread_local! {
    /// All threads of a model run on one of the system's.
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

/// A clock that goes on by a millisecond whenever somebody looks: the same in every run of a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instant(u64);

impl Instant {
    pub(crate) fn now() -> Self {
        TICKS.with(|ticks| ticks.set(ticks.get() + 1));
        Self(TICKS.with(Cell::get))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_millis(Self::now().0 - self.0)
    }
}
