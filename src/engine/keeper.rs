//! The one thread of an engine: it closes idle tenants before somebody has to wait for room.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};

use crate::process::Process;

/// A thread that works when it is called.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    calls: Arc<Calls>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: Process,
}

#[derive(Debug, Default)]
struct Calls {
    pending: Mutex<Pending>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    call: bool,
    stop: bool,
}

impl Keeper {
    /// Starts the thread. `work` answers whether there will be more.
    pub(super) fn start(&self, work: impl Fn() -> bool + Send + 'static) {
        let calls = self.calls.clone();
        let run = move || {
            loop {
                {
                    let mut pending = calls.pending.lock();
                    while !pending.call && !pending.stop {
                        calls.called.wait(&mut pending);
                    }
                    if pending.stop {
                        return;
                    }
                    pending.call = false;
                }
                if !work() {
                    return;
                }
            }
        };
        match thread::Builder::new().name("watertight-keeper".to_owned()).spawn(run) {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => tracing::warn!(kind = ?error.kind(), "no thread to close idle tenants"),
        }
    }

    pub(super) fn call(&self) {
        let mut pending = self.calls.pending.lock();
        if !pending.call {
            pending.call = true;
            self.calls.called.notify_one();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.calls.pending.lock().stop
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&self) {
        self.calls.pending.lock().stop = true;
        self.calls.called.notify_one();
        let Some(thread) = self.thread.lock().take() else { return };
        // The last owner of a pool may be the thread itself.
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.process.is_another() {
            // A fork has no threads but one, and none that could be waited for or let go.
            std::mem::forget(self.thread.get_mut().take());
            return;
        }
        self.stop();
    }
}
