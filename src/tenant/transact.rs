//! Transactions that run their caller's code between the steps.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::change::Change;
use super::memory::MemoryRecord;
use super::once::{Keep, Once, fingerprint_of};
use super::open::Tenant;
use super::place::Area;
use super::user;
use crate::access::gate::{Proof, Read, Transact};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::id::check_key;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MEMORIES_MAX};
use crate::store::schema::USER_NUMBERS;
use crate::store::shield::shielded;

/// The steps of a transaction under way. One that is refused leaves the others as they are; one that fails ends the
/// transaction, whatever the caller makes of the error.
pub(crate) struct Steps<'txn> {
    change: Change<'txn>,
    failed: Option<Error>,
    changes: usize,
    bytes: u64,
}

impl<'txn> Steps<'txn> {
    /// One step. `size` is how many memories and bytes it changes at most.
    pub(crate) fn run<R>(
        &mut self,
        size: (usize, u64),
        step: impl FnOnce(&mut Change<'txn>) -> Result<R>,
    ) -> Result<R> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let (changes, bytes) = (self.changes.saturating_add(size.0), self.bytes.saturating_add(size.1));
        if changes > BATCH_MEMORIES_MAX {
            return Err(Error::too_large("changes of a transaction", BATCH_MEMORIES_MAX, changes));
        }
        if bytes > BATCH_BYTES_MAX {
            let (what, limit) = ("bytes of a transaction", BATCH_BYTES_MAX);
            return Err(Reason::TooLarge { what, limit, actual: bytes }.into());
        }
        let outcome = shielded(|| step(&mut self.change));
        match &outcome {
            Ok(_) => (self.changes, self.bytes) = (changes, bytes),
            // Such an error comes before the step's first write.
            Err(error) if error.is_refusal() => {}
            Err(error) => self.failed = Some(error.clone()),
        }
        outcome
    }
}

impl Tenant {
    /// Runs the caller's code in a transaction of its own. `None` when the change of this idempotency key was done
    /// before: the code is not run then.
    ///
    /// A panic of the code goes on when the transaction has been given up.
    pub(crate) fn transact<R>(
        &self,
        proof: &Proof<'_, Transact>,
        once: Option<&Once>,
        work: impl for<'txn> FnOnce(Steps<'txn>) -> (Steps<'txn>, Result<R>),
    ) -> Result<Option<R>> {
        let (mut panic, mut given_up) = (None, None);
        let transaction = || {
            self.database.write(|writer| {
                let mut change = Change::begin(writer, proof)?;
                let once = once.map(|once| (once, fingerprint_of("transact")));
                if let Some((once, fingerprint)) = once
                    && let Some(outcome) = change.outcome(proof, &self.outcomes_walked, once, fingerprint)?
                {
                    <()>::again(outcome).ok_or(Reason::IdempotencyKeyReused)?;
                    // Old keys that were let go on the way are counted out.
                    change.finish()?;
                    return Ok(None);
                }
                let steps = Steps { change, failed: None, changes: 0, bytes: 0 };
                let (mut steps, answer) = match catch_unwind(AssertUnwindSafe(|| work(steps))) {
                    Ok(done) => done,
                    Err(payload) => {
                        panic = Some(payload);
                        return Err(Reason::Aborted.into());
                    }
                };
                if let Some(failed) = steps.failed {
                    return Err(failed);
                }
                // What the code answers is its own affair, and nothing that has happened to this file.
                let answer = answer.map_err(|error| {
                    given_up = Some(error);
                    Reason::Aborted
                })?;
                if let Some((once, fingerprint)) = once {
                    steps.change.keep_outcome(proof, once, fingerprint, ().keep())?;
                }
                // The code may have taken its time.
                proof.turn()?;
                steps.change.finish()?;
                Ok(Some(answer))
            })
        };
        let outcome = self.measured(1, transaction);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        match (outcome, given_up) {
            (Err(error), Some(given)) if *error.reason() == Reason::Aborted => Err(given),
            (outcome, _) => outcome,
        }
    }
}

impl Change<'_> {
    /// A memory as this transaction has it by now.
    pub(crate) fn get(&mut self, proof: &Proof<'_, Read>, area: &Area, key: &str) -> Result<MemoryRecord> {
        check_key(key)?;
        let (_, _, memory) = self.find_live(proof, area, key)?;
        let author = user::named(&self.writer.open_table(USER_NUMBERS)?, memory.author)?;
        Ok(memory.into_record(author))
    }

    /// Whether there is a memory of a key by now.
    pub(crate) fn exists(&mut self, proof: &Proof<'_, Read>, area: &Area, key: &str) -> Result<bool> {
        check_key(key)?;
        match self.find_live(proof, area, key) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a memory counts for, by now.
    pub(crate) fn bytes_of<O>(&mut self, proof: &Proof<'_, O>, area: &Area, key: &str) -> Result<u64> {
        Ok(self.find_live(proof, area, key)?.2.bytes)
    }

    /// The embedding model of a namespace, where one is named.
    pub(crate) fn model_of<O>(&mut self, proof: &Proof<'_, O>, area: &Area) -> Result<Option<String>> {
        Ok(self.find_namespace(proof, area)?.and_then(|found| found.record.model))
    }
}
