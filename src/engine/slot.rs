//! What is open or closed: the file of one tenant, opened by the first who needs it and closed when nobody does.

use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::store::sync::{AtomicU64, Mutex, RwLockReadGuard, SharedLock};

/// Something `T` that is opened on demand, leased to many at a time, and closed while nobody has a lease.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: SharedLock<State<T>>,
    /// Held by whoever opens, with the error of the last attempt, if it failed.
    opening: Mutex<Option<Error>>,
    attempts: AtomicU64,
}

#[derive(Debug)]
enum State<T> {
    Closed,
    Open(T),
    /// For good.
    Ended,
}

/// Keeps it open.
#[derive(Debug)]
pub(crate) struct Lease<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Lease<'_, T> {
    /// A lease is only given while it is open, so that this is never `None`.
    pub(crate) fn get(&self) -> Option<&T> {
        if let State::Open(open) = &*self.0 { Some(open) } else { None }
    }
}

/// Why there is no lease.
#[derive(Debug)]
pub(crate) enum Unopened {
    /// It has ended for good.
    Ended,
    Failed(Error),
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self { state: SharedLock::new(State::Closed), opening: Mutex::new(None), attempts: AtomicU64::new(0) }
    }

    /// A lease if it is open, `None` if it is closed.
    pub(crate) fn open_lease(&self) -> Result<Option<Lease<'_, T>>, Unopened> {
        let state = self.state.read();
        match &*state {
            State::Open(_) => Ok(Some(Lease(state))),
            State::Closed => Ok(None),
            State::Ended => Err(Unopened::Ended),
        }
    }

    /// A lease, if it is open or can be opened. The first who asks opens; those who wait for that share how it ends.
    pub(crate) fn lease(&self, mut open: impl FnMut() -> Result<T, Error>) -> Result<Lease<'_, T>, Unopened> {
        loop {
            if let Some(lease) = self.open_lease()? {
                return Ok(lease);
            }
            // An attempt that ends while this caller waits for the lock is its own as well.
            let seen = self.attempts.load(Ordering::SeqCst);
            let mut failed = self.opening.lock();
            if let Some(lease) = self.open_lease()? {
                return Ok(lease);
            }
            if self.attempts.load(Ordering::SeqCst) > seen
                && let Some(error) = &*failed
            {
                return Err(Unopened::Failed(error.clone()));
            }
            let opened = open();
            *failed = opened.as_ref().err().cloned();
            self.attempts.fetch_add(1, Ordering::SeqCst);
            let opened = opened.map_err(Unopened::Failed)?;
            // Still closed: nothing opens or ends it while this caller holds the lock.
            self.state.change(|state| *state = State::Open(opened));
            // It may be closed again before the lease is had: then once more.
        }
    }

    /// Closes it if nobody has a lease. `close` runs before anybody can open it again. `None` when it was not closed.
    pub(crate) fn close_if_idle<R>(&self, close: impl FnOnce(T) -> R) -> Option<R> {
        let closed = self.state.try_change(|state| match std::mem::replace(state, State::Closed) {
            State::Open(open) => Some(close(open)),
            before => {
                *state = before;
                None
            }
        });
        closed.flatten()
    }

    /// Closes it for good, after whoever opens it and those who have leases are done. Whoever calls this has seen to it
    /// that they come to an end. `None` when it was not open.
    pub(crate) fn end<R>(&self, close: impl FnOnce(T) -> R) -> Option<R> {
        let _opening = self.opening.lock();
        self.state.change(|state| match std::mem::replace(state, State::Ended) {
            State::Open(open) => Some(close(open)),
            State::Closed | State::Ended => None,
        })
    }
}
