//! Put and delete: one transaction each, with its usage and its audit entry.

use redb::{ReadableTable, WriteTransaction};

use super::audit::{self, AuditAction};
use super::memory::{Memory, StoredMemory};
use super::namespace::{self, Area, Place};
use super::open::Tenant;
use super::usage::Facts;
use super::user;
use crate::access::gate::{Delete, Operation, Proof, Write};
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, RowId, check_key};
use crate::index::vector::UnitVector;
use crate::limits::VECTOR_LOG_ROWS_MAX;
use crate::store::codec;
use crate::store::schema::{MEMORIES, MEMORY_KEYS, META, VECTOR_LOG, VECTORS};

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOutcome {
    /// The memory's id, the same for every version of a key.
    pub id: MemoryId,
    /// Whether the key was new.
    pub created: bool,
    /// The version that this put made.
    pub version: u64,
}

/// The operation byte of a vector log row.
pub(super) const LOG_PUT: u8 = 1;
pub(super) const LOG_REMOVE: u8 = 0;

impl Tenant {
    /// Puts a memory, replacing what the key had.
    pub(crate) fn put(&self, proof: &Proof<'_, Write>, area: &Area, memory: Memory) -> Result<PutOutcome> {
        let draft = memory.check()?;
        let new_id = MemoryId::random()?;
        self.change(proof, |change| {
            let (transaction, facts) = (change.transaction, &mut change.facts);
            let author = user::find_or_add(transaction, facts, proof.user())?;
            let dimensions = draft.vector.as_ref().map(UnitVector::dimensions);
            let place = namespace::find_or_add(transaction, facts, author, area, dimensions, proof.at())?;
            let known = find_row(transaction, place, &draft.key)?;
            let (row, before) = match known {
                Some(row) => (row, take_memory(transaction, place, row)?),
                None => (new_row(transaction, facts, place, &draft.key)?, None),
            };
            if known.is_some() != before.is_some() {
                return Err(Reason::DamagedRecord("memory without its row").into());
            }
            let stored = StoredMemory {
                id: before.as_ref().map_or(new_id, |before| before.id),
                key: draft.key.clone(),
                text: draft.text.clone(),
                content: draft.content.clone(),
                metadata: draft.metadata.clone(),
                has_vector: draft.vector.is_some(),
                author: author.0,
                created_at: before.as_ref().map_or(proof.at(), |before| before.created_at),
                updated_at: proof.at(),
                version: before.as_ref().map_or(0, |before| before.version).saturating_add(1),
                bytes: draft.bytes,
            };
            facts.count_out(before.as_ref())?;
            facts.count_in(&stored)?;
            let record = codec::encode(&stored)?;
            transaction.open_table(MEMORIES)?.insert(place.row_key(row).as_slice(), record.as_slice())?;
            change.set_vector(place, row, draft.vector.as_ref())?;
            audit::append(transaction, &mut change.facts, proof, AuditAction::Put, area, &draft.key)?;
            Ok(PutOutcome { id: stored.id, created: before.is_none(), version: stored.version })
        })
    }

    /// Deletes a memory.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key.
    pub(crate) fn delete(&self, proof: &Proof<'_, Delete>, area: &Area, key: &str) -> Result<()> {
        check_key(key)?;
        self.change(proof, |change| {
            let transaction = change.transaction;
            let place = change.existing_place(proof, area)?;
            let row = find_row(transaction, place, key)?.ok_or_else(Error::not_found)?;
            let before =
                take_memory(transaction, place, row)?.ok_or(Reason::DamagedRecord("memory without its row"))?;
            transaction.open_table(MEMORY_KEYS)?.remove(place.text_key(key).as_slice())?;
            change.facts.count_out(Some(&before))?;
            change.set_vector(place, row, None)?;
            audit::append(transaction, &mut change.facts, proof, AuditAction::Delete, area, key)
        })
    }

    /// One transaction that changes memories: reads the facts, moves the sequence on, writes the facts back.
    fn change<O: Operation, R>(
        &self,
        proof: &Proof<'_, O>,
        work: impl FnOnce(&mut Change<'_>) -> Result<R>,
    ) -> Result<R> {
        self.database.write(|transaction| {
            // The writer may have waited for its turn while an operator stopped the tenant.
            proof.still_good()?;
            let mut facts = Facts::read(&transaction.open_table(META)?)?;
            facts.sequence = facts.sequence.checked_add(1).ok_or(Reason::DamagedRecord("sequence"))?;
            facts.changed_at = facts.changed_at.max(proof.at());
            let mut change = Change { transaction, facts };
            let answer = work(&mut change)?;
            change.prune_vector_log()?;
            change.facts.write(transaction)?;
            Ok(answer)
        })
    }
}

/// A transaction under way.
struct Change<'txn> {
    transaction: &'txn WriteTransaction,
    facts: Facts,
}

impl Change<'_> {
    /// The namespace of a change that must not make one.
    fn existing_place<O>(&self, proof: &Proof<'_, O>, area: &Area) -> Result<Place> {
        namespace::find_for_change(self.transaction, proof.user(), area)?.ok_or_else(Error::not_found)
    }

    /// Sets or removes a row's vector, and logs it for indexes that are catching up.
    fn set_vector(&self, place: Place, row: RowId, vector: Option<&UnitVector>) -> Result<()> {
        let key = place.row_key(row);
        let mut vectors = self.transaction.open_table(VECTORS)?;
        let (changed, operation) = match vector {
            Some(vector) => {
                vectors.insert(key.as_slice(), vector.to_bytes().as_slice())?;
                (true, LOG_PUT)
            }
            None => (vectors.remove(key.as_slice())?.is_some(), LOG_REMOVE),
        };
        if changed {
            let entry: Vec<u8> = key.into_iter().chain([operation]).collect();
            self.transaction.open_table(VECTOR_LOG)?.insert(self.facts.sequence, entry.as_slice())?;
        }
        Ok(())
    }

    /// Each transaction adds at most one row to the log, so removing one keeps it within its bound.
    fn prune_vector_log(&self) -> Result<()> {
        if let Some(oldest) = self.facts.sequence.checked_sub(VECTOR_LOG_ROWS_MAX) {
            self.transaction.open_table(VECTOR_LOG)?.remove(oldest)?;
        }
        Ok(())
    }
}

impl Facts {
    fn count_in(&mut self, memory: &StoredMemory) -> Result<()> {
        let full = || Error::from(Reason::DamagedRecord("usage"));
        let usage = &mut self.usage;
        usage.memories = usage.memories.checked_add(1).ok_or_else(full)?;
        usage.vectors = usage.vectors.checked_add(u64::from(memory.has_vector)).ok_or_else(full)?;
        usage.bytes = usage.bytes.checked_add(memory.bytes).ok_or_else(full)?;
        Ok(())
    }

    fn count_out(&mut self, memory: Option<&StoredMemory>) -> Result<()> {
        let Some(memory) = memory else { return Ok(()) };
        let negative = || Error::from(Reason::DamagedRecord("usage"));
        let usage = &mut self.usage;
        usage.memories = usage.memories.checked_sub(1).ok_or_else(negative)?;
        usage.vectors = usage.vectors.checked_sub(u64::from(memory.has_vector)).ok_or_else(negative)?;
        usage.bytes = usage.bytes.checked_sub(memory.bytes).ok_or_else(negative)?;
        Ok(())
    }
}

fn find_row(transaction: &WriteTransaction, place: Place, key: &str) -> Result<Option<RowId>> {
    let keys = transaction.open_table(MEMORY_KEYS)?;
    keys.get(place.text_key(key).as_slice())?.map(|row| stored_row(row.value())).transpose()
}

/// The row of a `MEMORY_KEYS` value.
pub(super) fn stored_row(bytes: &[u8]) -> Result<RowId> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(row) => Ok(RowId(u64::from_le_bytes(row))),
        Err(_) => Err(Reason::DamagedRecord("row number").into()),
    }
}

fn new_row(transaction: &WriteTransaction, facts: &mut Facts, place: Place, key: &str) -> Result<RowId> {
    let row = RowId(facts.next_row);
    facts.next_row = facts.next_row.checked_add(1).ok_or(Reason::DamagedRecord("row number"))?;
    transaction.open_table(MEMORY_KEYS)?.insert(place.text_key(key).as_slice(), row.0.to_le_bytes().as_slice())?;
    Ok(row)
}

fn take_memory(transaction: &WriteTransaction, place: Place, row: RowId) -> Result<Option<StoredMemory>> {
    let mut memories = transaction.open_table(MEMORIES)?;
    let taken = memories.remove(place.row_key(row).as_slice())?;
    taken.map(|row| codec::decode(row.value())).transpose()
}
