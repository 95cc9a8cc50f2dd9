//! Get: one lookup of the key, one of the record.

use redb::ReadOnlyTable;

use super::change::stored_row;
use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::KnownPlace;
use super::open::Tenant;
use super::place::{Area, Place};
use super::snapshot::Snapshot;
use super::user::Authors;
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
            self.authors(snapshot).name(memory)
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
        self.database.read(|snapshot| {
            let mut answer = vec![None; keys.len()];
            let Some(found) = known.find(snapshot, proof, area)? else { return Ok(answer) };
            let mut rows = Vec::with_capacity(keys.len());
            let wanted = keys.iter().enumerate().map(|(at, key)| (found.place.text_key(key), at));
            lookup(&snapshot.memory_keys, wanted.collect(), |at, row| {
                rows.push((found.place.row_key(stored_row(row)?), at));
                Ok(())
            })?;
            let mut authors = self.authors(snapshot);
            let (expected, mut seen, mut bytes) = (rows.len(), 0, 0);
            lookup(&snapshot.memories, rows, |at, record| {
                seen += 1;
                let memory: StoredMemory = codec::decode(record)?;
                if memory.is_live(proof.at()) {
                    count_answer(&mut bytes, record)?;
                    if let Some(slot) = answer.get_mut(at) {
                        *slot = Some(authors.name(memory)?);
                    }
                }
                Ok(())
            })?;
            if seen == expected { Ok(answer) } else { Err(Reason::DamagedRecord("memory without its row").into()) }
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

    /// Names the authors of one answer.
    pub(super) fn authors<'a>(&'a self, snapshot: &'a Snapshot) -> Authors<'a> {
        Authors::new(&self.users, snapshot)
    }
}

/// After how many keys that were looked up one by one the walk is tried again.
const WALK_AGAIN: usize = 16;

/// Finds many keys and hands each value to `found` with the number beside its key; what is absent is left out.
///
/// Keys are taken in their order. Those that lie side by side in the table, as the parts of one document do, are walked
/// over, which costs a fraction of a lookup each; others are looked up.
fn lookup<K: AsRef<[u8]> + Ord>(
    table: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    mut wanted: Vec<(K, usize)>,
    mut found: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<()> {
    wanted.sort_unstable();
    let Some((last, _)) = wanted.last() else { return Ok(()) };
    let mut walk = None;
    let mut looked_up = WALK_AGAIN;
    for (key, at) in &wanted {
        let key = key.as_ref();
        if looked_up >= WALK_AGAIN {
            walk = Some(table.range(key..=last.as_ref())?);
            looked_up = 0;
        }
        if let Some(next) = walk.as_mut().and_then(Iterator::next) {
            let (next, value) = next?;
            if next.value() == key {
                found(*at, value.value())?;
                continue;
            }
        }
        walk = None;
        looked_up += 1;
        if let Some(value) = table.get(key)? {
            found(*at, value.value())?;
        }
    }
    Ok(())
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
