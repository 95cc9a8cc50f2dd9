//! Get: one lookup of the key, one of the record.

use std::sync::OnceLock;

use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::{self, Area, Place};
use super::open::Tenant;
use super::write::stored_row;
use crate::access::gate::{Proof, Read};
use crate::error::{Error, Reason, Result};
use crate::id::check_key;
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
            let place = match known.get() {
                Some(place) => *place,
                None => {
                    let found = namespace::find(tables, proof.user(), area)?.ok_or_else(Error::not_found)?;
                    *known.get_or_init(|| found.place)
                }
            };
            let row = tables.memory_keys.get(place.text_key(key).as_slice())?.ok_or_else(Error::not_found)?;
            let row = place.row_key(stored_row(row.value())?);
            let record = tables.memories.get(row.as_slice())?.ok_or(Reason::DamagedRecord("memory without its row"))?;
            self.record(tables, record.value())
        })
    }

    /// Decodes a stored memory and names its author.
    pub(super) fn record(&self, tables: &TenantTables, bytes: &[u8]) -> Result<MemoryRecord> {
        let stored: StoredMemory = codec::decode(bytes)?;
        let author = self.users.user(tables, stored.author)?;
        Ok(stored.into_record(author))
    }
}
