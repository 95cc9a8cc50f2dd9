//! The thread that looks after indexes: one at a time, so that builds take one processor at most.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::pool::TenantSlot;
use crate::error::Result;
use crate::index::settings::IndexSettings;
use crate::process::Process;
use crate::tenant::merge::MergeRequest;

/// Merges that are asked for, and the thread that does them.
#[derive(Debug)]
pub(super) struct Merger {
    settings: IndexSettings,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: Process,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    called: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Job>,
    stop: bool,
}

#[derive(Debug)]
struct Job {
    slot: Weak<TenantSlot>,
    request: MergeRequest,
    asked_at: Instant,
    due: Instant,
}

/// A file that is being filled is looked at again after this long, and not waited for longer than that.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Requests that wait at most. Whoever is not heard asks again.
const WAITING_MAX: usize = 1_024;
/// Vectors that are linked between two looks at whether to go on.
const LINKED_BETWEEN: u32 = 32;

impl Merger {
    pub(super) fn new(settings: IndexSettings) -> Self {
        Self { settings, shared: Arc::default(), thread: Mutex::default(), process: Process::this() }
    }

    /// Asks for an index to be looked after. The thread is there from the first request on.
    pub(super) fn ask(&self, slot: Weak<TenantSlot>, request: MergeRequest) {
        let now = Instant::now();
        {
            let mut queue = self.shared.queue.lock();
            let is_known = queue.waiting.iter().any(|job| job.slot.ptr_eq(&slot) && job.request.is_same(&request));
            if queue.stop || is_known || queue.waiting.len() >= WAITING_MAX {
                return;
            }
            queue.waiting.push(Job { slot, request, asked_at: now, due: now });
        }
        self.shared.called.notify_one();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let (shared, settings) = (self.shared.clone(), self.settings);
            let spawned = thread::Builder::new().name("watertight-merger".to_owned()).spawn(move || {
                while let Some(job) = shared.next() {
                    shared.run(job, &settings)
                }
            });
            match spawned {
                Ok(spawned) => *thread = Some(spawned),
                Err(error) => tracing::warn!(kind = ?error.kind(), "no thread to look after indexes"),
            }
        }
    }

    /// Breaks off what is under way, ends the thread and waits for it.
    pub(super) fn stop(&self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.stop = true;
            queue.waiting.clear();
        }
        self.shared.called.notify_one();
        let Some(thread) = self.thread.lock().take() else { return };
        // The last owner of a pool may be the thread itself.
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        if self.process.is_another() {
            // As the keeper's.
            std::mem::forget(self.thread.get_mut().take());
            return;
        }
        self.stop();
    }
}

impl Shared {
    /// The next job that is due. `None` when it is time to end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if queue.stop {
                return None;
            }
            let first = queue.waiting.iter().enumerate().min_by_key(|(_, job)| job.due).map(|(at, job)| (at, job.due));
            match first {
                Some((at, due)) if due <= Instant::now() => return Some(queue.waiting.swap_remove(at)),
                Some((_, due)) => drop(self.called.wait_until(&mut queue, due)),
                None => self.called.wait(&mut queue),
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.queue.lock().stop
    }

    fn run(&self, mut job: Job, settings: &IndexSettings) {
        let Some(slot) = job.slot.upgrade() else { return };
        match self.work(&slot, &mut job, settings) {
            Ok(true) => {}
            Ok(false) => {
                job.due = Instant::now() + LOOK_AGAIN;
                let mut queue = self.queue.lock();
                if !queue.stop {
                    queue.waiting.push(job);
                }
            }
            // The index that is there serves on, and whoever recalls next asks again.
            Err(error) => tracing::warn!(tenant = %slot.tenant, reason = %error, "an index could not be looked after"),
        }
    }

    /// Gives whether it is done, or too early. A tenant that is closed meanwhile is left alone: nothing is lost.
    fn work(&self, slot: &TenantSlot, job: &mut Job, settings: &IndexSettings) -> Result<bool> {
        let waited = job.asked_at.elapsed() >= WAIT_MAX;
        let request = &mut job.request;
        match slot.with_open(|tenant| tenant.is_growing(request)).transpose()? {
            Some(true) if !waited => return Ok(false),
            Some(_) => {}
            None => return Ok(true),
        }
        let merge = slot.with_open(|tenant| tenant.begin_merge(&job.request)).transpose()?.flatten();
        let Some(mut merge) = merge else { return Ok(true) };
        let mut linked = 0_u32;
        let goes_on = merge.build(settings, &mut || {
            linked = linked.wrapping_add(1);
            !linked.is_multiple_of(LINKED_BETWEEN) || (!self.is_stopped() && slot.is_open())
        });
        if !goes_on {
            return Ok(true);
        }
        while !self.is_stopped() && slot.with_open(|tenant| merge.step(tenant)).transpose()? == Some(true) {}
        Ok(true)
    }
}
