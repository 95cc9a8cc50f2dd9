//! Put and delete: one transaction each, with its usage and its audit entries.

use redb::{ReadableTable, WriteTransaction};

use super::audit::{self, AuditAction};
use super::memory::{Draft, Memory, StoredMemory};
use super::namespace::{self, Area, Place};
use super::open::Tenant;
use super::patch::Patch;
use super::selection::Selection;
use super::usage::Facts;
use super::user::{self, UserNumber};
use crate::access::gate::{Delete, Operation, Proof, Write};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, RowId, check_key};
use crate::index::vector::UnitVector;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MEMORIES_MAX, VECTOR_LOG_ROWS_MAX};
use crate::store::codec;
use crate::store::schema::{MEMORIES, MEMORY_KEYS, META, USERS, VECTOR_LOG, VECTORS};

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

/// What a deletion of selected memories did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// How many memories are gone.
    pub count: u64,
    /// Whether others are selected as well; call again to go on.
    pub more: bool,
}

/// The operation byte of a vector log row.
pub(super) const LOG_PUT: u8 = 1;
pub(super) const LOG_REMOVE: u8 = 0;

impl Tenant {
    /// Puts memories in order, each replacing what its key had: all of them in one transaction, or none.
    pub(crate) fn put(&self, proof: &Proof<'_, Write>, area: &Area, memories: Vec<Memory>) -> Result<Vec<PutOutcome>> {
        if memories.len() > BATCH_MEMORIES_MAX {
            return Err(Error::too_large("batch", BATCH_MEMORIES_MAX, memories.len()));
        }
        // Everything that can be refused without the file is refused before the first table is touched.
        let drafts = memories.into_iter().map(Memory::check).collect::<Result<Vec<_>>>()?;
        let bytes = drafts.iter().fold(0_u64, |sum, draft| sum.saturating_add(draft.bytes));
        if bytes > BATCH_BYTES_MAX {
            return Err(Reason::TooLarge { what: "batch bytes", limit: BATCH_BYTES_MAX, actual: bytes }.into());
        }
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        self.change(proof, |change| {
            let author = user::find_or_add(change.transaction, &mut change.facts, proof.user())?;
            drafts.into_iter().map(|draft| change.put(proof, author, area, draft)).collect()
        })
    }

    /// Deletes a memory.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key.
    pub(crate) fn delete(
        &self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        key: &str,
        expected_version: Option<u64>,
    ) -> Result<()> {
        check_key(key)?;
        self.change(proof, |change| change.delete(proof, area, key, expected_version))
    }

    /// Deletes the oldest 10,000 selected memories, or all if they are fewer.
    pub(crate) fn delete_where(
        &self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        selection: &Selection,
    ) -> Result<Deleted> {
        selection.check()?;
        self.change(proof, |change| change.delete_where(proof, area, selection))
    }

    /// Applies a JSON merge patch (RFC 7396) to a memory's content and leaves the rest of it as it is.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key.
    pub(crate) fn patch(&self, proof: &Proof<'_, Write>, area: &Area, patch: &Patch) -> Result<PutOutcome> {
        check_key(&patch.key)?;
        patch.check()?;
        self.change(proof, |change| change.patch(proof, area, patch))
    }

    /// One transaction that changes memories: reads the facts, does the work, writes the facts back.
    fn change<O: Operation, R>(
        &self,
        proof: &Proof<'_, O>,
        work: impl FnOnce(&mut Change<'_>) -> Result<R>,
    ) -> Result<R> {
        self.database.write(|transaction| {
            // The writer may have waited for its turn while an operator stopped the tenant.
            let at = proof.turn()?;
            let facts = Facts::read(&transaction.open_table(META)?)?;
            let mut change = Change { transaction, facts, at };
            let answer = work(&mut change)?;
            change.facts.write(transaction)?;
            Ok(answer)
        })
    }
}

/// A transaction under way.
struct Change<'txn> {
    transaction: &'txn WriteTransaction,
    facts: Facts,
    /// When its turn came.
    at: Timestamp,
}

impl Change<'_> {
    fn put(&mut self, proof: &Proof<'_, Write>, author: UserNumber, area: &Area, draft: Draft) -> Result<PutOutcome> {
        self.begin_step()?;
        let (transaction, facts) = (self.transaction, &mut self.facts);
        let dimensions = draft.vector.as_ref().map(UnitVector::dimensions);
        let place = namespace::find_or_add(transaction, facts, author, area, dimensions, self.at)?;
        let known = find_row(transaction, place, &draft.key)?;
        let before = known.map(|row| take_memory(transaction, place, row)).transpose()?;
        check_version(draft.expected_version, before.as_ref())?;
        let row = match known {
            Some(row) => row,
            None => new_row(transaction, facts, place, &draft.key)?,
        };
        let id = match &before {
            Some(before) => before.id,
            None => MemoryId::random()?,
        };
        let stored = StoredMemory {
            id,
            key: draft.key,
            text: draft.text,
            content: draft.content,
            metadata: draft.metadata,
            has_vector: draft.vector.is_some(),
            author: author.0,
            created_at: before.as_ref().map_or(self.at, |before| before.created_at),
            updated_at: self.at,
            version: before.as_ref().map_or(0, |before| before.version).saturating_add(1),
            bytes: draft.bytes,
        };
        if let Some(before) = &before {
            facts.count_out(before)?;
        }
        self.set_vector(place, row, draft.vector.as_ref())?;
        self.store(proof, AuditAction::Put, area, place, row, &stored)?;
        Ok(PutOutcome { id, created: before.is_none(), version: stored.version })
    }

    fn delete(
        &mut self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        key: &str,
        expected_version: Option<u64>,
    ) -> Result<()> {
        self.begin_step()?;
        let (place, row, before) = self.take(proof, area, key)?;
        check_version(expected_version, Some(&before))?;
        self.transaction.open_table(MEMORY_KEYS)?.remove(place.text_key(key).as_slice())?;
        self.facts.count_out(&before)?;
        self.set_vector(place, row, None)?;
        audit::append(self.transaction, &mut self.facts, proof, self.at, AuditAction::Delete, area, key)
    }

    fn delete_where(&mut self, proof: &Proof<'_, Delete>, area: &Area, selection: &Selection) -> Result<Deleted> {
        let mut keys = Vec::new();
        let mut more = false;
        if let Some(place) = namespace::find_for_change(self.transaction, proof.user(), area)? {
            let selection = selection.resolve(&self.transaction.open_table(USERS)?)?;
            let (first, last) = place.all_rows();
            if let Some(selection) = selection {
                let memories = self.transaction.open_table(MEMORIES)?;
                for row in memories.range(first.as_slice()..=last.as_slice())? {
                    let Some(memory) = selection.pick(row?.1.value())? else { continue };
                    more = keys.len() == BATCH_MEMORIES_MAX;
                    if more {
                        break;
                    }
                    keys.push(memory.key);
                }
            }
        }
        for key in &keys {
            self.delete(proof, area, key, None)?;
        }
        Ok(Deleted { count: keys.len() as u64, more })
    }

    fn patch(&mut self, proof: &Proof<'_, Write>, area: &Area, patch: &Patch) -> Result<PutOutcome> {
        self.begin_step()?;
        let author = user::find_or_add(self.transaction, &mut self.facts, proof.user())?;
        let (place, row, mut memory) = self.take(proof, area, &patch.key)?;
        check_version(patch.expected_version, Some(&memory))?;
        self.facts.count_out(&memory)?;
        let before = memory.content.as_ref().map_or(0, String::len) as u64;
        memory.content = Some(patch.apply(memory.content.as_deref())?);
        let after = memory.content.as_ref().map_or(0, String::len) as u64;
        memory.bytes = memory.bytes.saturating_sub(before).saturating_add(after);
        memory.author = author.0;
        memory.updated_at = self.at;
        memory.version = memory.version.saturating_add(1);
        self.store(proof, AuditAction::Patch, area, place, row, &memory)?;
        Ok(PutOutcome { id: memory.id, created: false, version: memory.version })
    }

    /// Writes a memory to its row, counts it and records it in the trail.
    fn store(
        &mut self,
        proof: &Proof<'_, Write>,
        action: AuditAction,
        area: &Area,
        place: Place,
        row: RowId,
        memory: &StoredMemory,
    ) -> Result<()> {
        self.facts.count_in(memory)?;
        let record = codec::encode(memory)?;
        self.transaction.open_table(MEMORIES)?.insert(place.row_key(row).as_slice(), record.as_slice())?;
        audit::append(self.transaction, &mut self.facts, proof, self.at, action, area, &memory.key)
    }

    /// Takes out the record of a memory that must exist.
    fn take<O>(&self, proof: &Proof<'_, O>, area: &Area, key: &str) -> Result<(Place, RowId, StoredMemory)> {
        let place = namespace::find_for_change(self.transaction, proof.user(), area)?.ok_or_else(Error::not_found)?;
        let row = find_row(self.transaction, place, key)?.ok_or_else(Error::not_found)?;
        Ok((place, row, take_memory(self.transaction, place, row)?))
    }

    /// Every changed memory has a sequence of its own, and with it at most one row in the vector log. So removing
    /// one row here keeps the log within its bound.
    fn begin_step(&mut self) -> Result<()> {
        self.facts.sequence = self.facts.sequence.checked_add(1).ok_or(Reason::DamagedRecord("sequence"))?;
        if let Some(oldest) = self.facts.sequence.checked_sub(VECTOR_LOG_ROWS_MAX) {
            self.transaction.open_table(VECTOR_LOG)?.remove(oldest)?;
        }
        Ok(())
    }

    /// Sets or removes a row's vector, and logs it for indexes that are catching up.
    fn set_vector(&self, place: Place, row: RowId, vector: Option<&UnitVector>) -> Result<()> {
        let key = place.row_key(row);
        let (changed, operation) = {
            let mut vectors = self.transaction.open_table(VECTORS)?;
            match vector {
                Some(vector) => {
                    vectors.insert(key.as_slice(), vector.to_bytes().as_slice())?;
                    (true, LOG_PUT)
                }
                None => (vectors.remove(key.as_slice())?.is_some(), LOG_REMOVE),
            }
        };
        if changed {
            let entry: Vec<u8> = key.into_iter().chain([operation]).collect();
            self.transaction.open_table(VECTOR_LOG)?.insert(self.facts.sequence, entry.as_slice())?;
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

    fn count_out(&mut self, memory: &StoredMemory) -> Result<()> {
        let negative = || Error::from(Reason::DamagedRecord("usage"));
        let usage = &mut self.usage;
        usage.memories = usage.memories.checked_sub(1).ok_or_else(negative)?;
        usage.vectors = usage.vectors.checked_sub(u64::from(memory.has_vector)).ok_or_else(negative)?;
        usage.bytes = usage.bytes.checked_sub(memory.bytes).ok_or_else(negative)?;
        Ok(())
    }
}

/// A refusal aborts the whole transaction, so the memory that was taken out is back with it.
fn check_version(expected: Option<u64>, found: Option<&StoredMemory>) -> Result<()> {
    let actual = found.map_or(0, |memory| memory.version);
    match expected {
        Some(expected) if expected != actual => Err(Reason::Version { expected, actual }.into()),
        _ => Ok(()),
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

/// Takes a row's record out; a row that a key names has one.
fn take_memory(transaction: &WriteTransaction, place: Place, row: RowId) -> Result<StoredMemory> {
    let mut memories = transaction.open_table(MEMORIES)?;
    let taken = memories.remove(place.row_key(row).as_slice())?;
    codec::decode(taken.ok_or(Reason::DamagedRecord("memory without its row"))?.value())
}
