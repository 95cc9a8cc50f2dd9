//! Group commit: callers of one file share its transactions.
//!
//! The first caller leads: it runs its job and those that have come meanwhile as one batch, on its own thread. Whoever
//! comes while somebody leads waits for its outcome, or to lead the next batch. A caller alone leads at once.
//!
//! The outcomes of a batch are given out before the lead is handed on, so that those released can come again in time
//! for the batch after the next; and a new leader waits for a thirty-second of the last batch's time at most while fewer jobs
//! wait than the last batch had, because they are on their way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::sync::{Condvar, Instant, Mutex};

/// How much may wait, and how much is done at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub(crate) waiting_jobs: usize,
    pub(crate) waiting_bytes: u64,
    pub(crate) batch_jobs: usize,
    pub(crate) batch_bytes: u64,
}

/// Jobs `J` with outcomes `R` that are run in batches, by one caller at a time.
pub(crate) struct Group<J, R> {
    limits: GroupLimits,
    queue: Mutex<Queue<J, R>>,
    /// Enough jobs have come for a new leader that waits for some.
    arrived: Condvar,
}

struct Queue<J, R> {
    waiting: VecDeque<Waiting<J, R>>,
    bytes: u64,
    is_led: bool,
    /// For how many jobs a new leader waits, while one does.
    gathering: Option<usize>,
    /// How many were in the last batch or had come by its end, and how long it took.
    last: (usize, Duration),
}

struct Waiting<J, R> {
    job: J,
    bytes: u64,
    seat: Arc<Seat<R>>,
}

/// Where one caller waits.
struct Seat<R> {
    call: Mutex<Option<Call<R>>>,
    called: Condvar,
}

enum Call<R> {
    /// It is its turn to lead: its job is the first of those that wait.
    Lead,
    /// Its job is done. No outcome when the leader was lost on the way.
    Done(Option<R>),
}

impl<R> Seat<R> {
    fn new() -> Arc<Self> {
        Arc::new(Self { call: Mutex::new(None), called: Condvar::new() })
    }

    fn call(&self, call: Call<R>) {
        *self.call.lock() = Some(call);
        self.called.notify_one();
    }

    fn wait(&self) -> Call<R> {
        let mut call = self.call.lock();
        loop {
            if let Some(call) = call.take() {
                return call;
            }
            call = self.called.wait(call);
        }
    }
}

/// Too much waits already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// About when there will be room.
    pub(crate) retry_after: Duration,
}

impl<J, R> Group<J, R> {
    pub(crate) fn new(limits: GroupLimits) -> Self {
        let queue =
            Queue { waiting: VecDeque::new(), bytes: 0, is_led: false, gathering: None, last: (1, Duration::ZERO) };
        Self { limits, queue: Mutex::new(queue), arrived: Condvar::new() }
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// Has a job run and gives its outcome; `None` when whoever ran it was lost on the way. `lead` runs a batch and gives
    /// an outcome for each of its jobs, in order; it is called only if this caller comes to lead.
    ///
    /// # Errors
    /// When too much waits already; the job is not run then.
    pub(crate) fn run(&self, job: J, bytes: u64, lead: impl FnOnce(Vec<J>) -> Vec<R>) -> Result<Option<R>, Full> {
        let seat = {
            let mut queue = self.queue.lock();
            if queue.is_led {
                self.check_room(&queue, bytes)?;
                let seat = Seat::new();
                queue.bytes = queue.bytes.saturating_add(bytes);
                queue.waiting.push_back(Waiting { job, bytes, seat: seat.clone() });
                if queue.gathering.is_some_and(|enough| queue.waiting.len() >= enough) {
                    self.arrived.notify_one();
                }
                Err(seat)
            } else {
                queue.is_led = true;
                Ok(job)
            }
        };
        match seat {
            // Nobody leads, so nobody waits.
            Ok(job) => Ok(self.lead(vec![job], Vec::new(), lead)),
            Err(seat) => match seat.wait() {
                Call::Done(outcome) => Ok(outcome),
                Call::Lead => {
                    let (jobs, seats) = self.take_batch();
                    Ok(self.lead(jobs, seats, lead))
                }
            },
        }
    }

    fn check_room(&self, queue: &Queue<J, R>, bytes: u64) -> Result<(), Full> {
        let waiting = queue.waiting.len();
        let too_many = waiting >= self.limits.waiting_jobs;
        let too_much = queue.bytes.saturating_add(bytes) > self.limits.waiting_bytes && waiting > 0;
        if too_many || too_much {
            let batches = u32::try_from(waiting / queue.last.0.max(1)).unwrap_or(u32::MAX).saturating_add(1);
            let wait = queue.last.1.max(Duration::from_millis(1)).saturating_mul(batches);
            return Err(Full { retry_after: wait.min(Duration::from_secs(1)) });
        }
        Ok(())
    }

    /// The jobs of the next batch, this caller's first, with the seats of the others.
    fn take_batch(&self) -> (Vec<J>, Vec<Arc<Seat<R>>>) {
        let mut queue = self.queue.lock();
        let (size, took) = queue.last;
        let (enough, began) = (size.min(self.limits.batch_jobs), Instant::now());
        queue.gathering = Some(enough);
        while queue.waiting.len() < enough {
            let Some(left) = (took / 32).checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else { break };
            queue = self.arrived.wait_for(queue, left);
        }
        queue.gathering = None;
        let (mut jobs, mut seats, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
        while let Some(next) = queue.waiting.front() {
            let with_next = bytes.saturating_add(next.bytes);
            let is_full = jobs.len() >= self.limits.batch_jobs || with_next > self.limits.batch_bytes;
            if is_full && !jobs.is_empty() {
                break;
            }
            let Some(Waiting { job, bytes: taken, seat }) = queue.waiting.pop_front() else { break };
            queue.bytes = queue.bytes.saturating_sub(taken);
            bytes = with_next;
            jobs.push(job);
            seats.push(seat);
        }
        // The first seat is this caller's own.
        if !seats.is_empty() {
            seats.remove(0);
        }
        (jobs, seats)
    }

    fn lead(&self, jobs: Vec<J>, seats: Vec<Arc<Seat<R>>>, lead: impl FnOnce(Vec<J>) -> Vec<R>) -> Option<R> {
        // Also when `lead` unwinds, nobody is left waiting.
        let mut leading = Leading { group: self, jobs: jobs.len(), seats: seats.into(), began: Instant::now() };
        let mut outcomes = lead(jobs).into_iter();
        let own = outcomes.next();
        for outcome in outcomes {
            let Some(seat) = leading.seats.pop_front() else { break };
            seat.call(Call::Done(Some(outcome)));
        }
        own
    }
}

/// Ends a lead: releases whoever is left, then hands the lead on.
struct Leading<'a, J, R> {
    group: &'a Group<J, R>,
    jobs: usize,
    seats: VecDeque<Arc<Seat<R>>>,
    began: Instant,
}

impl<J, R> Drop for Leading<'_, J, R> {
    fn drop(&mut self) {
        for seat in self.seats.drain(..) {
            seat.call(Call::Done(None));
        }
        let next = {
            let mut queue = self.group.queue.lock();
            queue.last = (self.jobs.saturating_add(queue.waiting.len()), self.began.elapsed());
            queue.is_led = !queue.waiting.is_empty();
            queue.waiting.front().map(|next| next.seat.clone())
        };
        if let Some(next) = next {
            next.call(Call::Lead);
        }
    }
}

impl<J, R> std::fmt::Debug for Group<J, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("limits", &self.limits).finish_non_exhaustive()
    }
}
