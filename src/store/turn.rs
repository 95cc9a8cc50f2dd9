//! The turn of a file's one writer, and who waits for whom.
//!
//! The code of a transaction may change another tenant, and then waits for that one's writer while it keeps its own turn.
//! Where such waits form a ring, none of them would ever end. So a thread that has a turn says which others it waits for,
//! and the wait that would close a ring is refused. A thread without a turn keeps nobody waiting, and says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::sync::{AtomicU64, Mutex, MutexGuard};
use crate::error::{Reason, Result};

/// The turn of one file's writer. It is handed over fairly; redb's own queue starves waiters.
#[derive(Debug)]
pub(crate) struct Turn {
    lock: Mutex<()>,
    /// The thread that has the turn, 0 for none.
    owner: AtomicU64,
    waits: Arc<Waits>,
}

/// The turns that each thread waits for. Only threads that have a turn themselves are listed.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<BTreeMap<u64, Vec<Arc<Turn>>>>);

/// The turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    turn: &'a Turn,
    _lock: MutexGuard<'a, ()>,
}

/// A wait that others are told of, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    thread: u64,
    turn: Arc<Turn>,
}

impl Turn {
    pub(crate) fn new(waits: &Arc<Waits>) -> Arc<Self> {
        Arc::new(Self { lock: Mutex::new(()), owner: AtomicU64::new(0), waits: waits.clone() })
    }

    /// Waits for the turn. `has_another`: the thread has the turn of another file.
    ///
    /// # Errors
    /// `Conflict` when the wait would never end.
    pub(crate) fn take(self: &Arc<Self>, thread: u64, has_another: bool) -> Result<Held<'_>> {
        let waiting = has_another.then(|| self.wait(thread)).transpose()?;
        let lock = self.lock.lock();
        // Before the wait is taken back: this thread does not wait for itself.
        self.owner.store(thread, ORDER);
        drop(waiting);
        Ok(Held { turn: self, _lock: lock })
    }

    /// Tells others that this thread waits for the turn, or for something that its owner has.
    ///
    /// # Errors
    /// `Conflict` when the owner of the turn waits for this thread, be it through others.
    pub(crate) fn wait(self: &Arc<Self>, thread: u64) -> Result<Waiting> {
        let mut waits = self.waits.0.lock();
        // What a thread owns it has owned since before it said that it waits, so that this sees every ring: its last wait is
        // asked about when all the others are known.
        let (mut ahead, mut seen) = (vec![self.owner()], BTreeSet::new());
        while let Some(owner) = ahead.pop() {
            if owner == thread {
                return Err(Reason::Deadlock.into());
            }
            if owner != 0 && seen.insert(owner) {
                ahead.extend(waits.get(&owner).into_iter().flatten().map(|turn| turn.owner()));
            }
        }
        waits.entry(thread).or_default().push(self.clone());
        Ok(Waiting { thread, turn: self.clone() })
    }

    /// Whether this thread has the turn. No other thread's number can be taken for its own.
    pub(crate) fn is_owned_by(&self, thread: u64) -> bool {
        self.owner() == thread
    }

    fn owner(&self) -> u64 {
        self.owner.load(ORDER)
    }
}

/// The lock of the waits orders what other threads must see.
const ORDER: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.turn.owner.store(0, ORDER);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.turn.waits.0.lock();
        let Some(of_thread) = waits.get_mut(&self.thread) else { return };
        // A wait that began later has ended before.
        of_thread.pop();
        if of_thread.is_empty() {
            waits.remove(&self.thread);
        }
    }
}
