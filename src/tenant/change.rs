//! A transaction that changes a tenant's file, and the steps that all changes are made of.
//!
//! Every operation looks first and changes afterwards: what refuses it comes before its first write, so that a
//! refused operation leaves no trace in a transaction that goes on.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::{AuditAction, AuditEntry, AuditOutcome};
use super::memory::StoredMemory;
use super::namespace::{self, Found};
use super::open::Tenant;
use super::place::Place;
use super::reembed::Homes;
use super::usage::Facts;
use super::user::{self, UserNumber};
use crate::access::gate::{Operation, Proof};
use crate::clock::Timestamp;
use crate::error::{Reason, Result};
use crate::id::{MemoryId, Namespace, RowId, UserId};
use crate::index::vector::Vector;
use crate::limits::{FEED_CHANGES_KEPT, SWEEP_ROWS_PER_WRITE};
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{CHANGES, EXPIRIES, MEMORIES, MEMORY_KEYS, META, REEMBED, VECTORS};

/// A transaction under way.
pub(crate) struct Change<'txn> {
    pub(super) writer: Writer<'txn>,
    pub(super) facts: Facts,
    /// When its turn came.
    pub(super) at: Timestamp,
    /// Whether anything was written since the turn was taken. What is refused before that leaves no trace.
    pub(super) has_changed: bool,
    /// Whether it has swept, which is done once and tells its caller what was cleared away.
    pub(super) has_swept: bool,
    /// The namespace that was found last, by its name.
    pub(super) namespace: Option<(Namespace, Found)>,
    /// Where the vectors of the namespace of this place are.
    pub(super) homes: Option<(Place, Homes)>,
    /// The number of the user who acted last.
    author: Option<(UserId, UserNumber)>,
}

/// One change of a namespace, as its feed and its index read it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ChangeRecord {
    /// The memory of this row has another version, with or without a vector; what it is now stands in its row.
    Put { row: RowId },
    /// The memory of this row is gone.
    Remove { row: RowId, id: MemoryId, key: String },
}

impl Record for ChangeRecord {
    const KIND: u8 = 21;
    const NAME: &'static str = "change";
}

impl Tenant {
    /// One durable transaction: all that `work` does, and a little of what is due to be swept, or nothing.
    pub(crate) fn change<O: Operation, R>(
        &self,
        proof: &Proof<'_, O>,
        work: impl FnOnce(&mut Change<'_>) -> Result<R>,
    ) -> Result<R> {
        self.measured(1, || {
            self.database.write(|writer| {
                let mut change = Change::begin(writer, proof)?;
                let answer = work(&mut change)?;
                change.finish()?;
                Ok(answer)
            })
        })
    }
}

impl<'txn> Change<'txn> {
    /// Nobody's turn yet.
    pub(super) fn open(mut writer: Writer<'txn>) -> Result<Self> {
        let facts = Facts::read(&writer.open_table(META)?)?;
        let at = Timestamp::from_micros(0);
        Ok(Self { writer, facts, at, has_changed: false, has_swept: false, namespace: None, homes: None, author: None })
    }

    pub(super) fn begin<O: Operation>(writer: Writer<'txn>, proof: &Proof<'_, O>) -> Result<Self> {
        let mut change = Self::open(writer)?;
        change.take_turn(proof)?;
        Ok(change)
    }

    /// Whoever waited for the turn may have been stopped meanwhile: the gate is asked again.
    pub(super) fn take_turn<O: Operation>(&mut self, proof: &Proof<'_, O>) -> Result<()> {
        self.know_policy(proof)?;
        self.at = proof.turn()?;
        self.has_changed = false;
        Ok(())
    }

    /// Sweeps a little, unless that was its work, and writes the facts; the commit follows.
    pub(super) fn finish(mut self) -> Result<()> {
        if !self.has_swept {
            self.sweep(SWEEP_ROWS_PER_WRITE)?;
        }
        self.facts.write(&mut self.writer)
    }
}

impl Change<'_> {
    /// The number of the proof's user, given at its first write.
    pub(super) fn author<O>(&mut self, proof: &Proof<'_, O>) -> Result<UserNumber> {
        match &self.author {
            Some((user, number)) if user == proof.user() => Ok(*number),
            _ => {
                self.has_changed = true;
                let number = user::find_or_add(&mut self.writer, &mut self.facts, proof.user())?;
                self.author = Some((proof.user().clone(), number));
                Ok(number)
            }
        }
    }

    /// Every changed memory has a sequence of its own. Every step adds an entry to the trail, by which a feed position
    /// tells one history of the file from another.
    pub(super) fn begin_step(&mut self) -> Result<()> {
        self.has_changed = true;
        self.facts.sequence = self.facts.sequence.checked_add(1).ok_or(Reason::DamagedRecord("sequence"))?;
        Ok(())
    }

    /// The row of a key and what is in it, expired or not.
    pub(super) fn find_memory(&mut self, place: Place, key: &str) -> Result<Option<(RowId, StoredMemory)>> {
        let keys = self.writer.open_table(MEMORY_KEYS)?;
        let row = keys.get(place.text_key(key).as_slice())?.map(|row| stored_row(row.value())).transpose()?;
        drop(keys);
        row.map(|row| Ok((row, self.memory(place, row)?))).transpose()
    }

    /// What is in a row; one that a key names is there.
    pub(super) fn memory(&mut self, place: Place, row: RowId) -> Result<StoredMemory> {
        let memories = self.writer.open_table(MEMORIES)?;
        let record = memories.get(place.row_key(row).as_slice())?;
        codec::decode(record.ok_or(Reason::DamagedRecord("memory without its row"))?.value())
    }

    /// A new row for a key that has none.
    pub(super) fn new_row(&mut self, place: Place, key: &str) -> Result<RowId> {
        let row = RowId(self.facts.next_row);
        self.facts.next_row = row.0.checked_add(1).ok_or(Reason::DamagedRecord("row number"))?;
        let mut keys = self.writer.open_table(MEMORY_KEYS)?;
        keys.insert(place.text_key(key).as_slice(), row.0.to_le_bytes().as_slice())?;
        Ok(row)
    }

    /// Writes a memory to its row, in place of the version before it.
    pub(super) fn write_row(
        &mut self,
        place: Place,
        row: RowId,
        before: Option<&StoredMemory>,
        memory: &StoredMemory,
    ) -> Result<()> {
        if let Some(before) = before {
            self.facts.count_out(before)?;
        }
        self.facts.count_in(memory)?;
        let record = codec::encode(memory)?;
        self.writer.open_table(MEMORIES)?.insert(place.row_key(row).as_slice(), record.as_slice())?;
        let expired_at = before.and_then(|before| before.expires_at);
        if expired_at != memory.expires_at {
            self.set_expiry(place, row, expired_at, memory.expires_at)?;
        }
        self.log(place, &ChangeRecord::Put { row })
    }

    /// Sets the vector of a row, or takes away the one it had.
    pub(super) fn set_vector(
        &mut self,
        place: Place,
        row: RowId,
        before: Option<&StoredMemory>,
        vector: Option<&Vector>,
    ) -> Result<()> {
        if vector.is_none() && before.is_none_or(|before| !before.has_vector) {
            return Ok(());
        }
        let Homes { current, coming } = self.homes(place)?;
        let mut vectors = self.writer.open_table(VECTORS)?;
        let key = current.row_key(row);
        match vector {
            Some(vector) => drop(vectors.insert(key.as_slice(), vector.to_bytes().as_slice())?),
            None => drop(vectors.remove(key.as_slice())?),
        }
        let Some(coming) = coming else { return Ok(()) };
        // Whatever another model had made of it is not of this version.
        let key = coming.row_key(row);
        vectors.remove(key.as_slice())?;
        drop(vectors);
        let mut marks = self.writer.open_table(REEMBED)?;
        match vector {
            Some(_) => drop(marks.insert(key.as_slice(), [].as_slice())?),
            None => drop(marks.remove(key.as_slice())?),
        }
        Ok(())
    }

    /// Takes a memory out of every table but the trail and the feed.
    pub(super) fn clear_row(&mut self, place: Place, row: RowId, memory: &StoredMemory) -> Result<()> {
        self.facts.count_out(memory)?;
        self.writer.open_table(MEMORY_KEYS)?.remove(place.text_key(&memory.key).as_slice())?;
        self.writer.open_table(MEMORIES)?.remove(place.row_key(row).as_slice())?;
        self.set_vector(place, row, Some(memory), None)?;
        self.set_expiry(place, row, memory.expires_at, None)
    }

    /// Takes a memory out, and tells the feed.
    pub(super) fn remove_row(&mut self, place: Place, row: RowId, memory: &StoredMemory) -> Result<()> {
        self.clear_row(place, row, memory)?;
        self.log(place, &ChangeRecord::Remove { row, id: memory.id, key: memory.key.clone() })
    }

    /// Takes out what has expired: a step of its own, by the engine.
    pub(super) fn expire_row(&mut self, place: Place, row: RowId, memory: &StoredMemory) -> Result<()> {
        let Some(namespace) = namespace::name_of(&mut self.writer, place)? else {
            // What was in a deleted namespace ended with that, and has its entry. Nobody reads its feed any more.
            self.has_changed = true;
            return self.clear_row(place, row, memory);
        };
        self.begin_step()?;
        self.remove_row(place, row, memory)?;
        self.record(AuditEntry {
            at: self.at,
            user: None,
            operator: None,
            action: AuditAction::Expire,
            namespace: Some(namespace),
            private: place.scope != 0,
            key: Some(memory.key.clone()),
            renamed_to: None,
            outcome: AuditOutcome::Done,
        })
    }

    fn set_expiry(
        &mut self,
        place: Place,
        row: RowId,
        before: Option<Timestamp>,
        after: Option<Timestamp>,
    ) -> Result<()> {
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        let mut expiries = self.writer.open_table(EXPIRIES)?;
        if let Some(before) = before {
            expiries.remove(expiry_key(before, place, row).as_slice())?;
        }
        if let Some(after) = after {
            expiries.insert(expiry_key(after, place, row).as_slice(), [].as_slice())?;
            self.facts.next_expiry = Some(self.facts.next_expiry.map_or(after, |next| next.min(after)));
        }
        Ok(())
    }

    /// Tells the feed of a namespace, and the indexes that follow it, what this step did.
    ///
    /// A change that is older than the newest of its namespace by [`FEED_CHANGES_KEPT`] goes: two for each that comes,
    /// so that the feed stays within its bound.
    fn log(&mut self, place: Place, record: &ChangeRecord) -> Result<()> {
        let mut changes = self.writer.open_table(CHANGES)?;
        changes.insert(place.numbered(self.facts.sequence).as_slice(), codec::encode(record)?.as_slice())?;
        let Some(oldest) = self.facts.sequence.checked_sub(FEED_CHANGES_KEPT) else { return Ok(()) };
        let mut gone = Vec::new();
        for entry in changes.range(place.numbered(0).as_slice()..=place.numbered(oldest).as_slice())?.take(2) {
            gone.push(entry?.0.value().to_vec());
        }
        for key in gone {
            changes.remove(key.as_slice())?;
        }
        Ok(())
    }
}

/// The row of a `MEMORY_KEYS` value.
pub(super) fn stored_row(bytes: &[u8]) -> Result<RowId> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(row) => Ok(RowId(u64::from_le_bytes(row))),
        Err(_) => Err(Reason::DamagedRecord("row number").into()),
    }
}

/// `time | scope | namespace | row`: in order of time.
pub(super) fn expiry_key(at: Timestamp, place: Place, row: RowId) -> Vec<u8> {
    [&at.as_micros().to_be_bytes()[..], &place.row_key(row)].concat()
}
