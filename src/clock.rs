//! Time that never steps back.
//!
//! Expiry decisions must not be undone by a wall clock that is set back. [`EngineClock`] therefore keeps a floor:
//! what it once answered is the least it ever answers again, and the floor is stored durably *ahead* of the clock
//! (a lease), so that this holds across a crash as well.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::limits::CLOCK_LEASE_MICROS;

/// A point in time: microseconds since 1970-01-01 UTC.
///
/// ```
/// use std::time::Duration;
/// use watertight::Timestamp;
///
/// let noon = Timestamp::from_seconds(43_200);
/// assert_eq!(noon, Timestamp::from_micros(43_200_000_000));
/// assert_eq!(noon.after(Duration::from_millis(1)).as_micros(), 43_200_001_000);
/// assert_eq!(noon.before(Duration::from_secs(60)).as_seconds(), 43_140);
/// // It stays at its ends instead of wrapping.
/// assert_eq!(noon.before(Duration::MAX), Timestamp::from_micros(0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From seconds since 1970-01-01 UTC; stays at the largest value instead of wrapping.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This point moved into the future; stays at the largest value instead of wrapping.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// This point moved into the past; stays at 1970 instead of wrapping.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Where the engine takes the time from. Tests inject [`TestClock`].
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now. It may step back; the engine keeps its own floor over it.
    fn now(&self) -> Timestamp;
}

/// The operating system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970; the floor above takes over from there.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A clock that a test sets by hand.
///
/// ```
/// use std::time::Duration;
/// use watertight::{Clock, TestClock, Timestamp};
///
/// let clock = TestClock::at(Timestamp::from_seconds(1_000));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), Timestamp::from_seconds(1_005));
/// clock.set(Timestamp::from_seconds(7));
/// assert_eq!(clock.now(), Timestamp::from_seconds(7));
/// ```
#[derive(Debug)]
pub struct TestClock(AtomicU64);

impl TestClock {
    /// A clock that stands at the given time.
    #[must_use]
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now.0)))
    }

    /// Sets the time, back as well as forward.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Keeps the floor of the clock durably; the catalog implements it.
pub(crate) trait FloorStore: Send + Sync {
    /// Makes the floor durable. A later start of the engine answers at least this.
    fn raise_floor(&self, floor: Timestamp) -> Result<()>;
}

/// The engine's clock: monotonic within a process and across restarts.
pub(crate) struct EngineClock {
    source: Arc<dyn Clock>,
    /// The latest time answered.
    floor: AtomicU64,
    /// The durable floor. Times beyond it must not be answered before it is moved.
    lease: AtomicU64,
    store: Mutex<Option<Arc<dyn FloorStore>>>,
}

impl EngineClock {
    /// `floor` is what the catalog kept.
    pub(crate) fn new(source: Arc<dyn Clock>, floor: Timestamp) -> Self {
        Self { source, floor: AtomicU64::new(floor.0), lease: AtomicU64::new(floor.0), store: Mutex::new(None) }
    }

    pub(crate) fn keep_floor_in(&self, store: Arc<dyn FloorStore>) {
        *self.store.lock() = Some(store);
    }

    /// The time now: at least every time answered before.
    pub(crate) fn now(&self) -> Timestamp {
        let read = self.source.now().0;
        let seen = self.floor.load(Ordering::Acquire);
        // Within one microsecond the first call alone writes; the others share its cache line.
        let now = if read <= seen { seen } else { self.floor.fetch_max(read, Ordering::AcqRel).max(read) };
        if now >= self.lease.load(Ordering::Acquire) {
            self.extend_lease(now);
        }
        Timestamp(now)
    }

    /// A time that no other call has answered or will answer: orders provisioning against attestation exactly.
    pub(crate) fn stamp(&self) -> Timestamp {
        let read = self.now().0;
        let mut last = self.floor.load(Ordering::Acquire);
        loop {
            let next = last.max(read).saturating_add(1);
            match self.floor.compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Timestamp(next),
                Err(seen) => last = seen,
            }
        }
    }

    /// Makes the exact time durable and ends the keeping of the floor.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(store) = self.store.lock().take() else { return Ok(()) };
        store.raise_floor(Timestamp(self.floor.load(Ordering::Acquire)))
    }

    /// One caller a minute pays for one commit of the catalog. When it fails, time goes on unprotected and a call a
    /// second later tries again: a full disk must stop neither reads nor expiry.
    #[cold]
    fn extend_lease(&self, now: u64) {
        // Others wait: an answer beyond the durable floor could be taken back by a crash.
        let guard = self.store.lock();
        let Some(store) = guard.as_ref() else { return };
        if now < self.lease.load(Ordering::Acquire) {
            return;
        }
        let lease = now.saturating_add(CLOCK_LEASE_MICROS);
        match store.raise_floor(Timestamp(lease)) {
            Ok(()) => self.lease.store(lease, Ordering::Release),
            Err(error) => {
                // Try again in a second, not at every operation.
                self.lease.store(now.saturating_add(1_000_000), Ordering::Release);
                tracing::warn!(kind = ?error.kind(), "the clock's floor could not be stored");
            }
        }
    }
}

impl fmt::Debug for EngineClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineClock").field("floor", &self.floor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_is_held_at_its_floor() {
        let source = TestClock::at(Timestamp::from_seconds(100));
        let clock = EngineClock::new(source.clone(), Timestamp::from_seconds(50));
        assert_eq!(clock.now(), Timestamp::from_seconds(100));
        source.set(Timestamp::from_seconds(10));
        assert_eq!(clock.now(), Timestamp::from_seconds(100));
    }

    #[test]
    fn stamps_are_strictly_increasing() {
        let clock = EngineClock::new(TestClock::at(Timestamp::from_seconds(1)), Timestamp::from_seconds(0));
        let (a, b) = (clock.stamp(), clock.stamp());
        assert!(a < b);
        assert!(clock.now() >= b);
    }

    #[test]
    fn the_stored_floor_is_ahead_of_every_answer() {
        #[derive(Default)]
        struct Kept(AtomicU64);
        impl FloorStore for Kept {
            fn raise_floor(&self, floor: Timestamp) -> Result<()> {
                self.0.store(floor.0, Ordering::SeqCst);
                Ok(())
            }
        }
        let kept = Arc::new(Kept::default());
        let source = TestClock::at(Timestamp::from_seconds(5));
        let clock = EngineClock::new(source.clone(), Timestamp::from_seconds(0));
        clock.keep_floor_in(kept.clone());
        for _ in 0..1_000 {
            source.advance(Duration::from_secs(1));
            let now = clock.now();
            assert!(kept.0.load(Ordering::SeqCst) > now.0);
        }
        clock.close().unwrap();
        assert_eq!(kept.0.load(Ordering::SeqCst), clock.now().0);
    }
}
