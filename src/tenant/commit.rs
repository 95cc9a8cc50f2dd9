//! Callers that change one tenant at the same time share its transactions.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::change::Change;
use super::once::{Fingerprint, Keep, Once};
use super::open::Tenant;
use crate::access::gate::{Operation, Proof};
use crate::error::{Error, Reason, Result};
use crate::limits::{SHARED_BYTES_MAX, SHARED_CHANGES_MAX, WAITING_BYTES_MAX, WAITING_CHANGES_MAX};
use crate::store::database::is_inside_transaction;
use crate::store::group::{Group, GroupLimits};

/// The queue of a tenant's changes.
pub(super) type Commits = Group<Job, Result<()>>;

pub(super) fn commits() -> Commits {
    Group::new(GroupLimits {
        waiting_jobs: WAITING_CHANGES_MAX,
        waiting_bytes: WAITING_BYTES_MAX,
        batch_jobs: SHARED_CHANGES_MAX,
        batch_bytes: SHARED_BYTES_MAX,
    })
}

/// One caller's change. It may be run more than once: what an earlier run did was then given up as a whole.
pub(super) struct Job(Box<Work>);

type Work = dyn FnMut(&mut Change<'_>) -> Result<()> + Send;

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Tenant {
    /// As [`Tenant::change_once`], in a transaction that it may share with other callers' changes. `bytes` is how much it
    /// writes, about.
    ///
    /// # Errors
    /// `RetryLater` when too much waits already.
    pub(super) fn change_shared<O, R>(
        &self,
        proof: &Proof<'_, O>,
        once: Option<(Once, Fingerprint)>,
        bytes: u64,
        mut work: impl FnMut(&mut Change<'_>, &Proof<'_, O>) -> Result<R> + Send + 'static,
    ) -> Result<R>
    where
        O: Operation + Send + 'static,
        R: Keep + Send + 'static,
    {
        // Whoever leads may be waiting for the transaction that this thread is inside of.
        self.database.check_not_writing()?;
        let answer = Arc::new(Mutex::new(None));
        let mut job = {
            let (proof, answer, walked) = (proof.share(), answer.clone(), self.outcomes_walked.clone());
            Job(Box::new(move |change| {
                change.take_turn(&proof)?;
                let given = change.once(&proof, &walked, once.as_ref(), |change| work(change, &proof))?;
                *answer.lock() = Some(given);
                Ok(())
            }))
        };
        let busy = |full: crate::store::group::Full| Error::from(Reason::Busy).after(full.retry_after);
        if is_inside_transaction() {
            // Of another tenant, which waits meanwhile. Whether its wait could end is known of the file's turn, not of a place
            // in the queue.
            self.measured(1, || self.commit_alone(&mut job))?;
        } else {
            let outcome = self.commits.run(job, bytes, |jobs| self.commit(jobs)).map_err(busy)?;
            // Without an outcome the leader was lost, perhaps after its commit.
            outcome.unwrap_or(Err(Reason::CommitUnknown.into()))?;
        }
        let given = answer.lock().take();
        given.ok_or_else(|| Reason::CommitUnknown.into())
    }

    /// Runs the jobs of a batch: in one transaction if that goes well, else each in its own.
    fn commit(&self, mut jobs: Vec<Job>) -> Vec<Result<()>> {
        match self.commit_together(&mut jobs) {
            Some(outcomes) => outcomes,
            None => jobs.iter_mut().map(|job| self.measured(1, || self.commit_alone(job))).collect(),
        }
    }

    /// Counts a transaction that was committed.
    pub(super) fn measured<R>(&self, changes: usize, commit: impl FnOnce() -> Result<R>) -> Result<R> {
        let began = Instant::now();
        let committed = commit();
        if committed.is_ok() {
            self.meters.each(|activity| {
                activity.commits.time(began.elapsed());
                activity.changes.count(changes as u64);
            });
        }
        committed
    }

    fn commit_alone(&self, job: &mut Job) -> Result<()> {
        self.database.write(|writer| {
            let mut change = Change::open(writer)?;
            (job.0)(&mut change)?;
            change.finish()
        })
    }

    /// `None` when nothing was committed because of one of the jobs: it must not harm the others.
    fn commit_together(&self, jobs: &mut [Job]) -> Option<Vec<Result<()>>> {
        if jobs.len() < 2 {
            return None;
        }
        let mut outcomes = Vec::with_capacity(jobs.len());
        let together = jobs.len();
        let commit = || {
            self.database.write(|writer| {
                let mut change = Change::open(writer)?;
                for job in jobs.iter_mut() {
                    match (job.0)(&mut change) {
                        // A refusal comes before the first write of its job, and the others go on.
                        Err(error) if change.has_changed || !error.is_refusal() => return Err(error),
                        outcome => outcomes.push(outcome),
                    }
                }
                if outcomes.iter().all(Result::is_err) {
                    // There is nothing to commit.
                    return Err(Reason::Aborted.into());
                }
                change.finish()
            })
        };
        let committed = self.measured(together, commit);
        let complete = outcomes.len() == jobs.len();
        match committed {
            Ok(()) => Some(outcomes),
            Err(error) if complete && *error.reason() == Reason::Aborted => Some(outcomes),
            // It may be durable: it must not be done again.
            Err(error) if *error.reason() == Reason::CommitUnknown => {
                Some(outcomes.into_iter().map(|outcome| outcome.and(Err(error.clone()))).collect())
            }
            Err(_) => None,
        }
    }
}
