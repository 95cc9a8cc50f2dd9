//! Get: one lookup of the key, one of the record.

use super::change::stored_row;
use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::KnownPlace;
use super::open::Tenant;
use super::place::{Area, Place};
use super::snapshot::Snapshot;
use crate::access::gate::{Proof, Read};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::check_key;
use crate::limits::{ANSWER_BYTES_MAX, BATCH_MEMORIES_MAX};
use crate::store::codec;

impl Tenant {
    /// The memory of a key.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn get(
        &self,
        proof: &Proof<'_, Read>,
        area: &Area,
        known: &KnownPlace,
        key: &str,
    ) -> Result<MemoryRecord> {
        check_key(key)?;
        self.database.read(|snapshot| {
            let place = known.find(snapshot, proof, area)?.ok_or_else(Error::not_found)?.place;
            let memory = find(snapshot, place, key, proof.at(), &mut 0)?.ok_or_else(Error::not_found)?;
            self.named(snapshot, memory)
        })
    }

    /// The memories of several keys, in their order and of one state of the file.
    pub(crate) fn get_many(
        &self,
        proof: &Proof<'_, Read>,
        area: &Area,
        known: &KnownPlace,
        keys: &[&str],
    ) -> Result<Vec<Option<MemoryRecord>>> {
        if keys.len() > BATCH_MEMORIES_MAX {
            return Err(Error::too_large("batch", BATCH_MEMORIES_MAX, keys.len()));
        }
        keys.iter().try_for_each(|key| check_key(key))?;
        let mut bytes = 0;
        self.database.read(|snapshot| {
            let Some(found) = known.find(snapshot, proof, area)? else { return Ok(vec![None; keys.len()]) };
            let memories = keys.iter().map(|key| {
                let memory = find(snapshot, found.place, key, proof.at(), &mut bytes)?;
                memory.map(|memory| self.named(snapshot, memory)).transpose()
            });
            memories.collect()
        })
    }

    /// Whether there is a memory of a key.
    pub(crate) fn exists(&self, proof: &Proof<'_, Read>, area: &Area, known: &KnownPlace, key: &str) -> Result<bool> {
        check_key(key)?;
        self.database.read(|snapshot| {
            let Some(found) = known.find(snapshot, proof, area)? else { return Ok(false) };
            Ok(find(snapshot, found.place, key, proof.at(), &mut 0)?.is_some())
        })
    }

    /// Names the author of a memory.
    pub(super) fn named(&self, snapshot: &Snapshot, stored: StoredMemory) -> Result<MemoryRecord> {
        let author = self.users.user(snapshot, stored.author)?;
        Ok(stored.into_record(author))
    }
}

/// The memory of a key at this time. `bytes` counts what an answer of several memories holds so far.
fn find(
    snapshot: &Snapshot,
    place: Place,
    key: &str,
    at: Timestamp,
    bytes: &mut usize,
) -> Result<Option<StoredMemory>> {
    let Some(row) = snapshot.memory_keys.get(place.text_key(key).as_slice())? else { return Ok(None) };
    let row = place.row_key(stored_row(row.value())?);
    let record = snapshot.memories.get(row.as_slice())?.ok_or(Reason::DamagedRecord("memory without its row"))?;
    let memory: StoredMemory = codec::decode(record.value())?;
    if !memory.is_live(at) {
        return Ok(None);
    }
    count_answer(bytes, record.value())?;
    Ok(Some(memory))
}

/// Counts a record into an answer of several.
///
/// # Errors
/// `InvalidInput` when the answer would exceed its bound: ask for fewer.
pub(super) fn count_answer(bytes: &mut usize, record: &[u8]) -> Result<()> {
    *bytes = bytes.saturating_add(record.len());
    if *bytes > ANSWER_BYTES_MAX { Err(Error::too_large("answer bytes", ANSWER_BYTES_MAX, *bytes)) } else { Ok(()) }
}
