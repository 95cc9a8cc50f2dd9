//! Put, patch and delete: each with its usage, its audit entry and its place in the feed.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::AuditAction;
use super::change::Change;
use super::memory::{Draft, Memory, StoredMemory};
use super::once::{Fingerprint, Once, fingerprint};
use super::open::Tenant;
use super::patch::Patch;
use super::place::{Area, Place, number_of};
use super::selection::Selection;
use crate::access::gate::{Delete, Proof, Write};
use crate::error::{Error, Reason, Result};
use crate::id::{MemoryId, RowId, check_key};
use crate::index::vector::GivenVector;
use crate::limits::{BATCH_BYTES_MAX, BATCH_MEMORIES_MAX};
use crate::store::schema::{MEMORIES, USERS};

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deleted {
    /// How many memories are gone.
    pub count: u64,
    /// Whether others are selected as well; call again to go on.
    pub more: bool,
}

/// Memories that have been checked as far as that goes without the tenant's file.
#[derive(Debug, Serialize)]
pub(crate) struct Batch(Vec<Draft>);

impl Batch {
    /// Everything that can be refused without the file is refused here, before a text is embedded or a table touched.
    pub(crate) fn new(memories: Vec<Memory>) -> Result<Self> {
        if memories.len() > BATCH_MEMORIES_MAX {
            return Err(Error::too_large("batch", BATCH_MEMORIES_MAX, memories.len()));
        }
        let drafts = memories.into_iter().map(Memory::check).collect::<Result<Vec<_>>>()?;
        let batch = Self(drafts);
        if batch.bytes() > BATCH_BYTES_MAX {
            return Err(Reason::TooLarge { what: "batch bytes", limit: BATCH_BYTES_MAX, actual: batch.bytes() }.into());
        }
        Ok(batch)
    }

    /// What its memories count for in usage.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().fold(0, |sum, draft| sum.saturating_add(draft.bytes))
    }

    /// The texts that have no vector, in order.
    pub(crate) fn texts_to_embed(&self) -> Vec<&str> {
        self.0.iter().filter_map(Draft::text_to_embed).collect()
    }

    /// Gives those texts their vectors, in the same order.
    pub(crate) fn embedded(mut self, model: &str, vectors: Vec<GivenVector>) -> Self {
        let without = self.0.iter_mut().filter(|draft| draft.text_to_embed().is_some());
        without.zip(vectors).for_each(|(draft, vector)| draft.embed(model, vector));
        self
    }

    /// What is asked for, by which a repeated request is known. It is taken before texts are embedded: a model may
    /// give another vector the next time.
    pub(crate) fn fingerprint(&self, area: &Area) -> Result<Fingerprint> {
        fingerprint("put", area, self)
    }
}

impl Tenant {
    /// Puts memories in order, each replacing what its key had: all of them in one transaction, or none.
    pub(crate) fn put(
        &self,
        proof: &Proof<'_, Write>,
        area: &Area,
        once: Option<(Once, Fingerprint)>,
        batch: Batch,
    ) -> Result<Vec<PutOutcome>> {
        if batch.0.is_empty() {
            return Ok(Vec::new());
        }
        let (area, bytes) = (area.clone(), batch.bytes());
        self.change_shared(proof, once, bytes, move |change, proof| change.put_batch(proof, &area, &batch))
    }

    /// Deletes a memory.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key.
    pub(crate) fn delete(
        &self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        once: Option<&Once>,
        key: &str,
        expected_version: Option<u64>,
    ) -> Result<()> {
        check_key(key)?;
        let once = asked_once(once, || fingerprint("delete", area, &(key, expected_version)))?;
        let (area, key) = (area.clone(), key.to_owned());
        self.change_shared(proof, once, 0, move |change, proof| change.delete(proof, &area, &key, expected_version))
    }

    /// Deletes the oldest 10,000 selected memories, or all if they are fewer.
    pub(crate) fn delete_where(
        &self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        once: Option<&Once>,
        selection: &Selection,
    ) -> Result<Deleted> {
        selection.check()?;
        let once = asked_once(once, || fingerprint("delete where", area, selection))?;
        self.change_once(proof, once.as_ref(), |change| change.delete_where(proof, area, selection))
    }

    /// Applies a JSON merge patch (RFC 7396) to a memory's content and leaves the rest of it as it is.
    ///
    /// # Errors
    /// `NotFound` when there is none of this key.
    pub(crate) fn patch(
        &self,
        proof: &Proof<'_, Write>,
        area: &Area,
        once: Option<&Once>,
        patch: &Patch,
    ) -> Result<PutOutcome> {
        let bytes = patch.check()?;
        let once = asked_once(once, || fingerprint("patch", area, &patch.request()))?;
        let (area, patch) = (area.clone(), patch.clone());
        let outcomes = self.change_shared(proof, once, bytes, move |change, proof| {
            change.patch(proof, &area, &patch).map(|outcome| vec![outcome])
        })?;
        // One patch gives one outcome.
        outcomes.into_iter().next().ok_or_else(|| Reason::DamagedRecord("patch outcome").into())
    }
}

impl Change<'_> {
    pub(crate) fn put_batch(
        &mut self,
        proof: &Proof<'_, Write>,
        area: &Area,
        batch: &Batch,
    ) -> Result<Vec<PutOutcome>> {
        batch.0.iter().map(|draft| self.put(proof, area, draft)).collect()
    }

    fn put(&mut self, proof: &Proof<'_, Write>, area: &Area, draft: &Draft) -> Result<PutOutcome> {
        let found = self.find_namespace(proof, area)?;
        let mut record = self.record_or_default(found.as_ref());
        let (vector, shapes) = match &draft.vector {
            Some(vector) => {
                let (vector, shapes) = record.accept(vector, draft.model.as_deref())?;
                (Some(vector), shapes)
            }
            None => (None, false),
        };
        let before = match &found {
            Some(found) => self.find_memory(found.place, &draft.key)?,
            None => None,
        };
        let is_live = before.as_ref().is_some_and(|(_, memory)| memory.is_live(self.at));
        check_version(draft.expected_version, before.as_ref().filter(|_| is_live).map(|(_, memory)| memory))?;
        let expires_at = draft.expires_at(self.at, record.expires_after)?;
        let id = match &before {
            Some((_, before)) if is_live => before.id,
            _ => MemoryId::random()?,
        };
        if found.is_none() {
            self.facts.check_namespace_room()?;
        }
        // Nothing is refused from here on.
        let author = self.author(proof)?;
        let place = match found {
            Some(found) => {
                if shapes {
                    self.reshape_namespace(found.place, &area.namespace, &record)?;
                }
                found.place
            }
            None => self.make_namespace(author, area, &mut record)?,
        };
        let (row, before) = match before {
            Some((row, memory)) if is_live => (row, Some(memory)),
            Some((row, expired)) => {
                self.expire_row(place, row, &expired)?;
                (self.new_row(place, &draft.key)?, None)
            }
            None => (self.new_row(place, &draft.key)?, None),
        };
        self.begin_step()?;
        let stored = StoredMemory {
            id,
            key: draft.key.clone(),
            text: draft.text.clone(),
            content: draft.content.clone(),
            metadata: draft.metadata.clone(),
            has_vector: vector.is_some(),
            author: author.0,
            created_at: before.as_ref().map_or(self.at, |before| before.created_at),
            updated_at: self.at,
            version: before.as_ref().map_or(0, |before| before.version).saturating_add(1),
            expires_at,
            sequence: self.facts.sequence,
            bytes: draft.bytes,
        };
        self.set_vector(place, row, before.as_ref(), vector.as_ref())?;
        self.write_row(place, row, before.as_ref(), &stored)?;
        self.record_memory(proof, AuditAction::Put, area, &stored.key)?;
        Ok(PutOutcome { id, created: before.is_none(), version: stored.version })
    }

    pub(crate) fn patch(&mut self, proof: &Proof<'_, Write>, area: &Area, patch: &Patch) -> Result<PutOutcome> {
        let (place, row, before) = self.find_live(proof, area, &patch.key)?;
        check_version(patch.expected_version, Some(&before))?;
        let content = patch.apply(before.content.as_deref())?;
        let length = |content: &Option<String>| content.as_ref().map_or(0, String::len) as u64;
        // Nothing is refused from here on.
        let author = self.author(proof)?;
        self.begin_step()?;
        let mut memory = before.clone();
        memory.content = Some(content);
        memory.bytes = before.bytes.saturating_sub(length(&before.content)).saturating_add(length(&memory.content));
        memory.author = author.0;
        memory.updated_at = self.at;
        memory.version = before.version.saturating_add(1);
        memory.sequence = self.facts.sequence;
        self.write_row(place, row, Some(&before), &memory)?;
        self.record_memory(proof, AuditAction::Patch, area, &memory.key)?;
        Ok(PutOutcome { id: memory.id, created: false, version: memory.version })
    }

    pub(crate) fn delete(
        &mut self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        key: &str,
        expected_version: Option<u64>,
    ) -> Result<()> {
        let (place, row, memory) = self.find_live(proof, area, key)?;
        check_version(expected_version, Some(&memory))?;
        self.delete_row(proof, area, place, row, &memory)
    }

    pub(crate) fn delete_where(
        &mut self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        selection: &Selection,
    ) -> Result<Deleted> {
        let Some(found) = self.find_namespace(proof, area)? else { return Ok(Deleted { count: 0, more: false }) };
        let mut rows = Vec::new();
        let mut more = false;
        let selection = selection.resolve(&self.writer.open_table(USERS)?, self.at)?;
        if let Some(selection) = selection {
            let (first, last) = found.place.all();
            let memories = self.writer.open_table(MEMORIES)?;
            for entry in memories.range(first.as_slice()..=last.as_slice())? {
                let (key, record) = entry?;
                if selection.pick(record.value())?.is_none() {
                    continue;
                }
                more = rows.len() == BATCH_MEMORIES_MAX;
                if more {
                    break;
                }
                rows.push(RowId(number_of(key.value())?));
            }
        }
        for row in &rows {
            let memory = self.memory(found.place, *row)?;
            self.delete_row(proof, area, found.place, *row, &memory)?;
        }
        Ok(Deleted { count: rows.len() as u64, more })
    }

    fn delete_row(
        &mut self,
        proof: &Proof<'_, Delete>,
        area: &Area,
        place: Place,
        row: RowId,
        memory: &StoredMemory,
    ) -> Result<()> {
        self.begin_step()?;
        self.remove_row(place, row, memory)?;
        self.record_memory(proof, AuditAction::Delete, area, &memory.key)
    }

    /// A memory that must be there.
    pub(super) fn find_live<O>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        key: &str,
    ) -> Result<(Place, RowId, StoredMemory)> {
        let place = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?.place;
        let (row, memory) = self.find_memory(place, key)?.ok_or_else(Error::not_found)?;
        if memory.is_live(self.at) { Ok((place, row, memory)) } else { Err(Error::not_found()) }
    }
}

/// Takes the fingerprint only where there is a key for it.
fn asked_once(
    once: Option<&Once>,
    fingerprint: impl FnOnce() -> Result<Fingerprint>,
) -> Result<Option<(Once, Fingerprint)>> {
    match once {
        Some(once) => Ok(Some((once.clone(), fingerprint()?))),
        None => Ok(None),
    }
}

fn check_version(expected: Option<u64>, found: Option<&StoredMemory>) -> Result<()> {
    let actual = found.map_or(0, |memory| memory.version);
    match expected {
        Some(expected) if expected != actual => Err(Reason::Version { expected, actual }.into()),
        _ => Ok(()),
    }
}
