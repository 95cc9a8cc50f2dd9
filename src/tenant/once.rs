//! Idempotency keys: the outcome of a change is kept in the change's own transaction, so that whoever could not see
//! how it ended can ask again without doing it twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::{ReadableTable, ReadableTableMetadata};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::change::Change;
use super::open::Tenant;
use super::place::Area;
use super::user::{self, UserNumber};
use super::write::{Deleted, PutOutcome};
use crate::access::gate::{Operation, Proof};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::length_prefixed;
use crate::limits::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_SECONDS};
use crate::store::codec::{self, Record};
use crate::store::schema::{OUTCOME_TIMES, OUTCOMES, USERS};

/// A key under which one change is done at most once.
#[derive(Debug, Clone)]
pub(crate) struct Once(String);

impl Once {
    pub(crate) fn new(key: &str) -> Result<Self> {
        if key.is_empty() {
            return Err(Error::invalid("idempotency key", "must not be empty"));
        }
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(Error::too_large("idempotency key", IDEMPOTENCY_KEY_BYTES_MAX, key.len()));
        }
        Ok(Self(key.to_owned()))
    }
}

/// What was asked: the same request has the same one, another request another.
pub(crate) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(operation: &str, area: &Area, request: &impl Serialize) -> Result<Fingerprint> {
    let request = postcard::to_stdvec(request).map_err(|_| Error::invalid("request", "cannot be encoded"))?;
    let private = [u8::from(area.private)];
    let fields = [operation.as_bytes(), &private, area.namespace.as_str().as_bytes(), &request];
    Ok(Sha256::digest(length_prefixed(&fields)).into())
}

/// The fingerprint of a request that is known by its kind alone.
pub(super) fn fingerprint_of(operation: &str) -> Fingerprint {
    Sha256::digest(length_prefixed(&[operation.as_bytes()])).into()
}

/// What a change answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Outcome {
    Put(Vec<PutOutcome>),
    Deleted(Deleted),
    Done,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptOutcome {
    at: Timestamp,
    fingerprint: Fingerprint,
    outcome: Outcome,
}

impl Record for KeptOutcome {
    const KIND: u8 = 22;
    const NAME: &'static str = "outcome";
}

/// An answer that can be kept and given again.
pub(super) trait Keep: Sized {
    fn keep(&self) -> Outcome;
    /// `None` for the outcome of another kind of change.
    fn again(outcome: Outcome) -> Option<Self>;
}

impl Keep for Vec<PutOutcome> {
    fn keep(&self) -> Outcome {
        Outcome::Put(self.clone())
    }
    fn again(outcome: Outcome) -> Option<Self> {
        if let Outcome::Put(outcomes) = outcome { Some(outcomes) } else { None }
    }
}

impl Keep for Deleted {
    fn keep(&self) -> Outcome {
        Outcome::Deleted(*self)
    }
    fn again(outcome: Outcome) -> Option<Self> {
        if let Outcome::Deleted(deleted) = outcome { Some(deleted) } else { None }
    }
}

impl Keep for () {
    fn keep(&self) -> Outcome {
        Outcome::Done
    }
    fn again(outcome: Outcome) -> Option<Self> {
        matches!(outcome, Outcome::Done).then_some(())
    }
}

impl Tenant {
    /// As [`Tenant::change`], but under an idempotency key only the first time; later ones get the same answer.
    ///
    /// # Errors
    /// `Conflict` when the key was used for another request; `Limit` when too many keys are kept.
    pub(super) fn change_once<O: Operation, R: Keep>(
        &self,
        proof: &Proof<'_, O>,
        once: Option<&(Once, Fingerprint)>,
        work: impl FnOnce(&mut Change<'_>) -> Result<R>,
    ) -> Result<R> {
        self.change(proof, |change| change.once(proof, &self.outcomes_walked, once, work))
    }
}

impl Change<'_> {
    /// Does the work, unless it was done under this key before; then it gives the answer of that time.
    pub(super) fn once<O, R: Keep>(
        &mut self,
        proof: &Proof<'_, O>,
        walked: &AtomicBool,
        once: Option<&(Once, Fingerprint)>,
        work: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        let Some((once, fingerprint)) = once else { return work(self) };
        if let Some(outcome) = self.outcome(proof, walked, once, *fingerprint)? {
            return R::again(outcome).ok_or_else(|| Reason::IdempotencyKeyReused.into());
        }
        let answer = work(self)?;
        self.keep_outcome(proof, once, *fingerprint, answer.keep())?;
        Ok(answer)
    }

    /// What this key's change answered, if it was done; otherwise makes sure that an outcome can be kept. `walked`:
    /// whether the kept outcomes were seen to be all there since the file was opened.
    ///
    /// # Errors
    /// `Damaged` when they are not: a change that was done must not be done again.
    pub(super) fn outcome<O>(
        &mut self,
        proof: &Proof<'_, O>,
        walked: &AtomicBool,
        once: &Once,
        fingerprint: Fingerprint,
    ) -> Result<Option<Outcome>> {
        if !walked.load(Ordering::Relaxed) {
            self.walk_outcomes()?;
            walked.store(true, Ordering::Relaxed);
        }
        self.sweep_outcomes(2)?;
        // An old one that no sweep has come to yet is not there any more.
        let kept = self.kept_outcome(proof, once)?.filter(|kept| self.at < end_of(kept.at));
        if let Some(kept) = kept {
            return if kept.fingerprint == fingerprint {
                Ok(Some(kept.outcome))
            } else {
                Err(Reason::IdempotencyKeyReused.into())
            };
        }
        if self.facts.outcomes >= IDEMPOTENCY_KEYS_MAX {
            let oldest = self.writer.open_table(OUTCOME_TIMES)?.first()?.map(|(key, _)| time_of(key.value()));
            let wait =
                oldest.transpose()?.map_or(0, |oldest| end_of(oldest).as_micros().saturating_sub(self.at.as_micros()));
            let full = Reason::Full { what: "idempotency keys", limit: u64::from(IDEMPOTENCY_KEYS_MAX) };
            return Err(Error::from(full).after(Duration::from_micros(wait)));
        }
        Ok(None)
    }

    /// Compares the kept outcomes with their times, row by row, and both with the facts.
    fn walk_outcomes(&mut self) -> Result<()> {
        let mut keys = Vec::new();
        for row in self.writer.open_table(OUTCOMES)?.iter()? {
            let (key, kept) = row?;
            keys.push(time_key(codec::decode::<KeptOutcome>(kept.value())?.at, key.value()));
        }
        let times = self.writer.open_table(OUTCOME_TIMES)?;
        let mut whole = keys.len() == self.facts.outcomes as usize && times.len()? == keys.len() as u64;
        for key in &keys {
            whole &= times.get(key.as_slice())?.is_some();
        }
        if whole { Ok(()) } else { Err(Reason::DamagedRecord("outcomes that are not all there").into()) }
    }

    fn kept_outcome<O>(&mut self, proof: &Proof<'_, O>, once: &Once) -> Result<Option<KeptOutcome>> {
        let Some(user) = user::find(&self.writer.open_table(USERS)?, proof.user())? else { return Ok(None) };
        let outcomes = self.writer.open_table(OUTCOMES)?;
        outcomes.get(outcome_key(user, once).as_slice())?.map(|row| codec::decode(row.value())).transpose()
    }

    pub(super) fn keep_outcome<O>(
        &mut self,
        proof: &Proof<'_, O>,
        once: &Once,
        fingerprint: Fingerprint,
        outcome: Outcome,
    ) -> Result<()> {
        let key = outcome_key(self.author(proof)?, once);
        let record = codec::encode(&KeptOutcome { at: self.at, fingerprint, outcome })?;
        let before = {
            let mut outcomes = self.writer.open_table(OUTCOMES)?;
            let before = outcomes.insert(key.as_slice(), record.as_slice())?;
            before.map(|row| codec::decode::<KeptOutcome>(row.value())).transpose()?
        };
        let mut times = self.writer.open_table(OUTCOME_TIMES)?;
        match before {
            Some(before) => drop(times.remove(time_key(before.at, &key).as_slice())?),
            None => self.facts.outcomes = self.facts.outcomes.saturating_add(1),
        }
        times.insert(time_key(self.at, &key).as_slice(), [].as_slice())?;
        Ok(())
    }

    /// Lets go of at most this many outcomes that have been kept as long as promised. Gives how many.
    pub(super) fn sweep_outcomes(&mut self, rows: usize) -> Result<usize> {
        if self.facts.outcomes == 0 {
            return Ok(0);
        }
        let mut due = Vec::new();
        for entry in self.writer.open_table(OUTCOME_TIMES)?.iter()?.take(rows) {
            let key = entry?.0;
            if self.at < end_of(time_of(key.value())?) {
                break;
            }
            due.push(key.value().to_vec());
        }
        for key in &due {
            self.writer.open_table(OUTCOME_TIMES)?.remove(key.as_slice())?;
            let (at, key) = (time_of(key)?, key.get(8..).unwrap_or_default());
            let mut outcomes = self.writer.open_table(OUTCOMES)?;
            // The outcome itself says when it was kept: the key may have been used again since this time was written.
            let kept = outcomes.get(key)?.map(|row| codec::decode::<KeptOutcome>(row.value())).transpose()?;
            if kept.is_some_and(|kept| kept.at == at) {
                outcomes.remove(key)?;
                self.facts.outcomes = self.facts.outcomes.saturating_sub(1);
            }
        }
        Ok(due.len())
    }
}

/// Until when an outcome is kept.
fn end_of(at: Timestamp) -> Timestamp {
    at.after(Duration::from_secs(IDEMPOTENCY_SECONDS))
}

/// `user | key`: the keys of two users never meet.
fn outcome_key(user: UserNumber, once: &Once) -> Vec<u8> {
    [&user.0.to_be_bytes()[..], once.0.as_bytes()].concat()
}

/// `time | user | key`: in order of time.
fn time_key(at: Timestamp, key: &[u8]) -> Vec<u8> {
    [&at.as_micros().to_be_bytes()[..], key].concat()
}

fn time_of(key: &[u8]) -> Result<Timestamp> {
    let (at, _) = key.split_first_chunk::<8>().ok_or(Reason::DamagedRecord("time of an outcome"))?;
    Ok(Timestamp::from_micros(u64::from_be_bytes(*at)))
}
