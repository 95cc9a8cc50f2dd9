//! Giving a namespace the vectors of another embedding model, while the old ones serve.
//!
//! The new vectors gather under a place of their own that nobody reads. Every memory that was there at the beginning is
//! passed once, in the order of rows; whatever is put meanwhile leaves a mark and is passed again. The transaction that
//! finds nothing left to pass is the switch: from it on the namespace has the new place, model and dimensions.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::{self, AuditAction};
use super::change::Change;
use super::memory::StoredMemory;
use super::namespace::{self, Found};
use super::open::Tenant;
use super::place::{Area, Place, number_of};
use super::settings::check_model;
use super::snapshot::Snapshot;
use crate::access::gate::{Operation, Proof};
use crate::error::{Error, Reason, Result};
use crate::id::RowId;
use crate::index::vector::GivenVector;
use crate::limits::{REEMBED_BYTES_MAX, REEMBED_ROWS_MAX};
use crate::store::codec;
use crate::store::schema::{DOOMED, MEMORIES, REEMBED, VECTORS};

/// How far it is, in the record of its namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredReembedding {
    /// Of the place where the new vectors gather.
    number: u32,
    model: String,
    /// 0 before the first vector.
    dimensions: u32,
    /// The pass goes on here, and ends there. Later rows leave marks.
    next_row: u64,
    end_row: u64,
    done: u64,
    of: u64,
}

/// How far a re-embedding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReembedProgress {
    /// Memories that have their new vector. One that is put again meanwhile counts again.
    pub done: u64,
    /// Memories that had a vector when it began.
    pub of: u64,
    /// Whether the new vectors serve.
    pub finished: bool,
}

/// What of a place goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doom {
    Everything,
    /// Its memories live: their vectors are elsewhere now.
    Vectors,
}

impl Doom {
    pub(super) fn of(mark: &[u8]) -> Self {
        if mark == Self::Vectors.mark() { Self::Vectors } else { Self::Everything }
    }

    fn mark(self) -> &'static [u8] {
        match self {
            Self::Everything => &[],
            Self::Vectors => &[1],
        }
    }
}

/// Where the vectors of a namespace are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Homes {
    pub(super) current: Place,
    /// Where those of another model gather.
    pub(super) coming: Option<Place>,
}

impl Found {
    /// Where its vectors are, and the index of them.
    pub(super) fn vectors(&self) -> Place {
        Place { namespace: self.record.vectors, ..self.place }
    }

    pub(super) fn homes(&self) -> Homes {
        let coming = self.record.reembedding.as_ref();
        let coming = coming.map(|under_way| Place { namespace: under_way.number, ..self.place });
        Homes { current: self.vectors(), coming }
    }
}

/// Memories that wait for their new vectors.
#[derive(Debug)]
pub(crate) struct ReembedBatch {
    number: u32,
    rows: Vec<(RowId, StoredMemory)>,
    next_row: u64,
    pub(crate) memories: Vec<super::memory::MemoryRecord>,
}

impl Tenant {
    /// Begins, or goes on with one to the same model that was broken off.
    pub(crate) fn begin_reembedding<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        model: &str,
    ) -> Result<ReembedProgress> {
        check_model(model)?;
        // Counted before the transaction, which others wait for: it is only told.
        let of = self.database.read(|snapshot| {
            let found = namespace::find(snapshot, proof, area)?.ok_or_else(Error::not_found)?;
            count_vectors(snapshot, &found)
        })?;
        self.change(proof, |change| change.begin_reembedding(proof, area, model, of))
    }

    /// The memories that are to have their vectors next; none when it is finished or nobody has begun.
    pub(crate) fn next_to_reembed<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        model: &str,
    ) -> Result<Option<ReembedBatch>> {
        self.database.read(|snapshot| {
            let found = namespace::find(snapshot, proof, area)?.ok_or_else(Error::not_found)?;
            let Some(under_way) = found.record.reembedding.as_ref().filter(|other| other.model == model) else {
                return Ok(None);
            };
            let (rows, next_row) = next_rows(snapshot, &found, under_way)?;
            let mut authors = self.authors(snapshot);
            let memories = rows.iter().map(|(_, memory)| authors.name(memory.clone())).collect::<Result<_>>()?;
            Ok(Some(ReembedBatch { number: under_way.number, rows, next_row, memories }))
        })
    }

    /// Keeps the new vectors of a batch, in its order; a memory without one loses the one it has.
    pub(crate) fn reembed<O: Operation>(
        &self,
        proof: &Proof<'_, O>,
        area: &Area,
        batch: &ReembedBatch,
        vectors: &[Option<GivenVector>],
    ) -> Result<ReembedProgress> {
        if vectors.len() != batch.rows.len() {
            return Err(Error::invalid("vectors", "must be as many as memories"));
        }
        let (progress, left) = self.change(proof, |change| change.reembed(proof, area, batch, vectors))?;
        if let Some(place) = left {
            self.forget_space(place);
        }
        Ok(progress)
    }

    /// Gives it up: the namespace stays as it is.
    pub(crate) fn cancel_reembedding<O: Operation>(&self, proof: &Proof<'_, O>, area: &Area) -> Result<()> {
        self.change(proof, |change| change.cancel_reembedding(proof, area))
    }
}

fn count_vectors(snapshot: &Snapshot, found: &Found) -> Result<u64> {
    let (first, last) = found.vectors().all();
    let mut count = 0;
    for entry in snapshot.vectors.range(first.as_slice()..=last.as_slice())? {
        entry?;
        count += 1;
    }
    Ok(count)
}

/// Rows of the pass, then those that have marks; and where the pass goes on.
fn next_rows(
    snapshot: &Snapshot,
    found: &Found,
    under_way: &StoredReembedding,
) -> Result<(Vec<(RowId, StoredMemory)>, u64)> {
    let (mut rows, mut bytes, mut next_row) = (Vec::new(), 0, under_way.next_row);
    let (first, end) = (found.place.numbered(next_row), found.place.numbered(under_way.end_row));
    if next_row < under_way.end_row {
        for entry in snapshot.memories.range(first.as_slice()..end.as_slice())? {
            let (key, record) = entry?;
            if rows.len() == REEMBED_ROWS_MAX || bytes > REEMBED_BYTES_MAX {
                return Ok((rows, next_row));
            }
            let row = number_of(key.value())?;
            next_row = row.saturating_add(1);
            let memory: StoredMemory = codec::decode(record.value())?;
            if memory.has_vector {
                bytes += record.value().len();
                rows.push((RowId(row), memory));
            }
        }
        next_row = under_way.end_row;
    }
    let (first, last) = Place { namespace: under_way.number, ..found.place }.all();
    for entry in snapshot.reembed.range(first.as_slice()..=last.as_slice())? {
        if rows.len() == REEMBED_ROWS_MAX || bytes > REEMBED_BYTES_MAX {
            break;
        }
        let row = RowId(number_of(entry?.0.value())?);
        let record = snapshot.memories.get(found.place.row_key(row).as_slice())?;
        let record = record.ok_or(Reason::DamagedRecord("memory of a mark"))?;
        bytes += record.value().len();
        rows.push((row, codec::decode(record.value())?));
    }
    Ok((rows, next_row))
}

impl Change<'_> {
    fn begin_reembedding<O: Operation>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        model: &str,
        of: u64,
    ) -> Result<ReembedProgress> {
        let Found { place, mut record } = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        if let Some(under_way) = &record.reembedding {
            if under_way.model != model {
                return Err(Error::invalid("model", "a re-embedding to another one is under way"));
            }
            return Ok(ReembedProgress { done: under_way.done, of: under_way.of, finished: false });
        }
        if record.model.as_deref() == Some(model) {
            return Ok(ReembedProgress { done: 0, of: 0, finished: true });
        }
        self.begin_step()?;
        let number = self.facts.take_vectors_number()?;
        let end_row = self.facts.next_row;
        let model = model.to_owned();
        record.reembedding =
            Some(StoredReembedding { number, model, dimensions: 0, next_row: 0, end_row, done: 0, of });
        self.reshape_namespace(place, &area.namespace, &record)?;
        self.record(audit::entry(proof, self.at, AuditAction::BeginReembedding, area))?;
        Ok(ReembedProgress { done: 0, of, finished: false })
    }

    /// Gives as well the place that has no vectors any more after the switch.
    fn reembed<O: Operation>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        batch: &ReembedBatch,
        vectors: &[Option<GivenVector>],
    ) -> Result<(ReembedProgress, Option<Place>)> {
        let found = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        let (place, current, mut record) = (found.place, found.vectors(), found.record);
        let under_way = record.reembedding.take().filter(|under_way| under_way.number == batch.number);
        let mut under_way = under_way.ok_or_else(|| Error::invalid("re-embedding", "it has ended"))?;
        let mut ready = Vec::with_capacity(vectors.len());
        for vector in vectors {
            let Some(vector) = vector else {
                ready.push(None);
                continue;
            };
            if under_way.dimensions == 0 {
                under_way.dimensions = vector.dimensions();
            }
            if vector.dimensions() != under_way.dimensions {
                return Err(Reason::Dimension { expected: under_way.dimensions, actual: vector.dimensions() }.into());
            }
            ready.push(Some(vector.ready(record.metric)?));
        }
        // Nothing is refused from here on. The vectors are nobody's yet, so this is no step.
        self.has_changed = true;
        let coming = Place { namespace: under_way.number, ..place };
        for ((row, memory), vector) in batch.rows.iter().zip(&ready) {
            let key = place.row_key(*row);
            let now: Option<StoredMemory> = match self.writer.open_table(MEMORIES)?.get(key.as_slice())? {
                Some(record) => Some(codec::decode(record.value())?),
                None => None,
            };
            // What was put again has a mark, and what was deleted has none.
            if now.is_none_or(|now| now.sequence != memory.sequence) {
                continue;
            }
            let key = coming.row_key(*row);
            self.writer.open_table(REEMBED)?.remove(key.as_slice())?;
            match vector {
                Some(vector) => {
                    let bytes = vector.to_bytes();
                    self.writer.open_table(VECTORS)?.insert(key.as_slice(), bytes.as_slice())?;
                }
                None => self.drop_vector(proof, area, place, *row, memory)?,
            }
            under_way.done = under_way.done.saturating_add(1);
        }
        under_way.next_row = under_way.next_row.max(batch.next_row);
        let (first, last) = coming.all();
        let has_marks = self.writer.open_table(REEMBED)?.range(first.as_slice()..=last.as_slice())?.next().is_some();
        let finished = under_way.next_row >= under_way.end_row && !has_marks;
        let progress = ReembedProgress { done: under_way.done, of: under_way.of, finished };
        if !finished {
            record.reembedding = Some(under_way);
            self.reshape_namespace(place, &area.namespace, &record)?;
            return Ok((progress, None));
        }
        self.begin_step()?;
        record.vectors = coming.namespace;
        record.dimensions = under_way.dimensions;
        record.model = Some(under_way.model);
        self.reshape_namespace(place, &area.namespace, &record)?;
        self.doom(current, Doom::Vectors)?;
        self.record(audit::entry(proof, self.at, AuditAction::FinishReembedding, area))?;
        Ok((progress, Some(current)))
    }

    /// A memory that the new model has no vector for is one without a vector from now on.
    fn drop_vector<O: Operation>(
        &mut self,
        proof: &Proof<'_, O>,
        area: &Area,
        place: Place,
        row: RowId,
        memory: &StoredMemory,
    ) -> Result<()> {
        self.begin_step()?;
        let homes = self.homes(place)?;
        self.writer.open_table(VECTORS)?.remove(homes.current.row_key(row).as_slice())?;
        let mut without = memory.clone();
        without.has_vector = false;
        without.sequence = self.facts.sequence;
        self.write_row(place, row, Some(memory), &without)?;
        self.record_memory(proof, AuditAction::DropVector, area, &memory.key)
    }

    fn cancel_reembedding<O: Operation>(&mut self, proof: &Proof<'_, O>, area: &Area) -> Result<()> {
        let Found { place, mut record } = self.find_namespace(proof, area)?.ok_or_else(Error::not_found)?;
        let Some(under_way) = record.reembedding.take() else { return Ok(()) };
        self.begin_step()?;
        self.reshape_namespace(place, &area.namespace, &record)?;
        self.doom(Place { namespace: under_way.number, ..place }, Doom::Vectors)?;
        self.record(audit::entry(proof, self.at, AuditAction::CancelReembedding, area))
    }

    /// Leaves what is at a place, which nobody reads any more, to the sweeps.
    pub(super) fn doom(&mut self, place: Place, doom: Doom) -> Result<()> {
        let mut doomed = self.writer.open_table(DOOMED)?;
        let key = place.prefix();
        let before = doomed.get(key.as_slice())?.map(|before| Doom::of(before.value()));
        // The vectors of a namespace may be left to them before all of it is.
        if before != Some(Doom::Everything) {
            doomed.insert(key.as_slice(), doom.mark())?;
        }
        if before.is_none() {
            self.facts.doomed = self.facts.doomed.saturating_add(1);
        }
        Ok(())
    }

    /// Where the vectors of a namespace are. Of one that is gone, whatever is left is left to the sweeps.
    pub(super) fn homes(&mut self, place: Place) -> Result<Homes> {
        if let Some((_, homes)) = self.homes.filter(|(known, _)| *known == place) {
            return Ok(homes);
        }
        let found = namespace::found_at(&mut self.writer, place)?;
        let homes = found.map_or(Homes { current: place, coming: None }, |found| found.homes());
        self.homes = Some((place, homes));
        Ok(homes)
    }
}
