//! Get: one lookup of the key, one of the record.

use std::sync::OnceLock;

use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::{self, Area, Place};
use super::open::Tenant;
use super::write::stored_row;
use crate::access::gate::{Proof, Read};
use crate::error::{Error, Reason, Result};
use crate::id::check_key;
use crate::limits::{ANSWER_BYTES_MAX, BATCH_MEMORIES_MAX};
use crate::store::codec;
use crate::store::schema::TenantTables;

/// Remembers where a namespace is, once it exists: its place never changes.
pub(crate) type KnownPlace = OnceLock<Place>;

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
        self.database.read(|tables| {
            let place = place(tables, proof, area, known)?.ok_or_else(Error::not_found)?;
            self.find(tables, place, key, &mut 0)?.ok_or_else(Error::not_found)
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
        self.database.read(|tables| match place(tables, proof, area, known)? {
            Some(place) => keys.iter().map(|key| self.find(tables, place, key, &mut bytes)).collect(),
            None => Ok(vec![None; keys.len()]),
        })
    }

    /// Whether there is a memory of a key.
    pub(crate) fn exists(&self, proof: &Proof<'_, Read>, area: &Area, known: &KnownPlace, key: &str) -> Result<bool> {
        check_key(key)?;
        self.database.read(|tables| match place(tables, proof, area, known)? {
            Some(place) => Ok(tables.memory_keys.get(place.text_key(key).as_slice())?.is_some()),
            None => Ok(false),
        })
    }

    /// `bytes` counts what an answer of several memories holds so far.
    fn find(&self, tables: &TenantTables, place: Place, key: &str, bytes: &mut usize) -> Result<Option<MemoryRecord>> {
        let Some(row) = tables.memory_keys.get(place.text_key(key).as_slice())? else { return Ok(None) };
        let row = place.row_key(stored_row(row.value())?);
        let record = tables.memories.get(row.as_slice())?.ok_or(Reason::DamagedRecord("memory without its row"))?;
        count_answer(bytes, record.value())?;
        self.record(tables, record.value()).map(Some)
    }

    /// Decodes a stored memory and names its author.
    pub(super) fn record(&self, tables: &TenantTables, bytes: &[u8]) -> Result<MemoryRecord> {
        self.named(tables, codec::decode(bytes)?)
    }

    /// Names the author of a memory.
    pub(super) fn named(&self, tables: &TenantTables, stored: StoredMemory) -> Result<MemoryRecord> {
        let author = self.users.user(tables, stored.author)?;
        Ok(stored.into_record(author))
    }
}

/// Counts a record into an answer of several.
///
/// # Errors
/// `InvalidInput` when the answer would exceed its bound: ask for fewer.
pub(super) fn count_answer(bytes: &mut usize, record: &[u8]) -> Result<()> {
    *bytes = bytes.saturating_add(record.len());
    if *bytes > ANSWER_BYTES_MAX { Err(Error::too_large("answer bytes", ANSWER_BYTES_MAX, *bytes)) } else { Ok(()) }
}

/// Where the namespace is, remembered by the caller's handle once it exists.
fn place(tables: &TenantTables, proof: &Proof<'_, Read>, area: &Area, known: &KnownPlace) -> Result<Option<Place>> {
    if let Some(place) = known.get() {
        return Ok(Some(*place));
    }
    let found = namespace::find(tables, proof.user(), area)?;
    Ok(found.map(|found| *known.get_or_init(|| found.place)))
}
