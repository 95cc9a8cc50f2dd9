//! Recall: the index gives candidates, the same snapshot of the file gives the records.

use parking_lot::RwLockWriteGuard;

use super::filter::Filter;
use super::list::row_of;
use super::memory::{MemoryRecord, StoredMemory};
use super::namespace::{self, Area, Found, Place};
use super::open::Tenant;
use super::read::count_answer;
use super::usage::Facts;
use super::write::{LOG_PUT, LOG_REMOVE};
use crate::access::gate::{Proof, Read};
use crate::error::{Error, Reason, Result};
use crate::id::RowId;
use crate::index::space::{Change, Space};
use crate::index::vector::UnitVector;
use crate::limits::{RECALL_TOP_MAX, VECTOR_LOG_ROWS_MAX};
use crate::store::codec;
use crate::store::schema::TenantTables;

/// A question: which memories are nearest to this vector.
///
/// ```
/// use watertight::Recall;
///
/// let question = Recall::vector(&[0.1, 0.7, -0.2]).top(5).minimum_score(0.3);
/// # let _ = question;
/// ```
#[derive(Debug, Clone)]
pub struct Recall {
    vector: Vec<f32>,
    top: usize,
    minimum_score: f32,
    filter: Option<Filter>,
}

impl Recall {
    /// The ten nearest by cosine similarity.
    #[must_use]
    pub fn vector(vector: &[f32]) -> Self {
        Self { vector: vector.to_vec(), top: 10, minimum_score: -1.0, filter: None }
    }

    /// At most this many hits; 10 by default, at most 10,000. Zero gives none.
    #[must_use]
    pub fn top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// Only hits of at least this cosine similarity, -1 to 1; -1 by default.
    #[must_use]
    pub fn minimum_score(mut self, score: f32) -> Self {
        self.minimum_score = score;
        self
    }

    /// Only memories whose metadata match. As many hits as are asked for are given whenever as many match.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// A memory that was recalled.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The memory.
    pub memory: MemoryRecord,
    /// Cosine similarity to the question, -1 to 1.
    pub score: f32,
}

impl Tenant {
    /// The nearest memories of one namespace, nearest first, ties by age.
    pub(crate) fn recall(&self, proof: &Proof<'_, Read>, area: &Area, recall: &Recall) -> Result<Vec<Hit>> {
        let query = UnitVector::new(&recall.vector)?;
        if recall.top > RECALL_TOP_MAX {
            return Err(Error::too_large("recall top", RECALL_TOP_MAX, recall.top));
        }
        if recall.minimum_score.is_nan() {
            return Err(Error::invalid("minimum score", "must be a number"));
        }
        recall.filter.as_ref().map_or(Ok(()), Filter::check)?;
        // The index may have moved past the snapshot that was taken: the next one is newer, and the index answers it.
        // A file that stands still behind its index was put back to an older state; that index is dropped.
        let mut behind = None;
        loop {
            let answer =
                self.database.read(|tables| self.recall_at(tables, proof, area, recall, &query, &mut behind))?;
            if let Some(hits) = answer {
                return Ok(hits);
            }
        }
    }

    fn recall_at(
        &self,
        tables: &TenantTables,
        proof: &Proof<'_, Read>,
        area: &Area,
        recall: &Recall,
        query: &UnitVector,
        behind: &mut Option<u64>,
    ) -> Result<Option<Vec<Hit>>> {
        let Some(found) = namespace::find(tables, proof.user(), area)? else { return Ok(Some(Vec::new())) };
        if found.record.dimensions == 0 {
            return Ok(Some(Vec::new()));
        }
        namespace::check_dimensions(&found.record, query.dimensions())?;
        let shared = self.space(found.place);
        let now = Facts::read(&tables.meta)?.sequence;
        if behind.replace(now) == Some(now) {
            *shared.write() = None;
        }
        let mut guard = shared.read();
        if guard.as_ref().is_none_or(|space| space.through() < now) {
            drop(guard);
            let mut space = shared.write();
            catch_up(&mut space, tables, &found, now)?;
            guard = RwLockWriteGuard::downgrade(space);
        }
        let Some(space) = guard.as_ref().filter(|space| space.through() == now) else { return Ok(None) };
        let hits = self.hits(tables, found.place, space, recall, query);
        drop(guard);
        if hits.as_ref().is_err_and(|error| matches!(error.reason(), Reason::DamagedRecord(_))) {
            // An index that names what its file does not have is not trusted again.
            *shared.write() = None;
        }
        hits.map(Some)
    }

    /// The records of the nearest rows. With a filter the search widens until enough of them match.
    fn hits(
        &self,
        tables: &TenantTables,
        place: Place,
        space: &Space,
        recall: &Recall,
        query: &UnitVector,
    ) -> Result<Vec<Hit>> {
        let mut width = if recall.filter.is_some() { recall.top.saturating_mul(WIDENING) } else { recall.top };
        loop {
            let candidates = space.search(query, width, recall.minimum_score);
            let exhausted = candidates.len() < width;
            let mut hits = Vec::with_capacity(recall.top.min(candidates.len()));
            let mut bytes = 0;
            for candidate in candidates {
                if hits.len() == recall.top {
                    break;
                }
                let record = tables.memories.get(place.row_key(candidate.row).as_slice())?;
                let record = record.ok_or(Reason::DamagedRecord("memory of a vector"))?;
                let memory: StoredMemory = codec::decode(record.value())?;
                if recall.filter.as_ref().is_none_or(|filter| filter.matches(&memory.metadata)) {
                    count_answer(&mut bytes, record.value())?;
                    hits.push(Hit { memory: self.named(tables, memory)?, score: candidate.score });
                }
            }
            if hits.len() == recall.top || exhausted {
                return Ok(hits);
            }
            width = width.saturating_mul(WIDENING);
        }
    }
}

/// By how much a filtered search widens each time.
const WIDENING: usize = 4;

/// Brings an index to the snapshot's sequence: from the log where that reaches back far enough, else from the file.
fn catch_up(space: &mut Option<Space>, tables: &TenantTables, found: &Found, now: u64) -> Result<()> {
    let caught_up = match space {
        Some(space) if space.through() >= now => return Ok(()),
        Some(space) if now - space.through() <= VECTOR_LOG_ROWS_MAX => replay(space, tables, found, now),
        _ => load(tables, found, now).map(|loaded| *space = Some(loaded)),
    };
    if caught_up.is_err() {
        // Half-applied changes must not be searched.
        *space = None;
    }
    caught_up
}

fn replay(space: &mut Space, tables: &TenantTables, found: &Found, now: u64) -> Result<()> {
    for entry in tables.vector_log.range(space.through() + 1..=now)? {
        let entry = entry?.1;
        let damaged = || Error::from(Reason::DamagedRecord("vector log"));
        let (prefix, rest) = entry.value().split_first_chunk::<{ Place::BYTES }>().ok_or_else(damaged)?;
        let (row, operation) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        if Place::from_prefix(*prefix) != found.place {
            continue;
        }
        let row = RowId(u64::from_be_bytes(*row));
        match operation {
            // The vector may have been removed since: its own log row follows.
            [LOG_PUT] => {
                if let Some(bytes) = tables.vectors.get(found.place.row_key(row).as_slice())? {
                    let vector = UnitVector::from_bytes(bytes.value(), found.record.dimensions)?;
                    space.apply(Change::Put(row, vector));
                }
            }
            [LOG_REMOVE] => space.apply(Change::Remove(row)),
            _ => return Err(damaged()),
        }
    }
    space.advance(now);
    Ok(())
}

fn load(tables: &TenantTables, found: &Found, now: u64) -> Result<Space> {
    let mut space = Space::new(found.record.dimensions, now);
    let (first, last) = found.place.all_rows();
    for entry in tables.vectors.range(first.as_slice()..=last.as_slice())? {
        let (key, bytes) = entry?;
        let vector = UnitVector::from_bytes(bytes.value(), found.record.dimensions)?;
        space.apply(Change::Put(row_of(key.value())?, vector));
    }
    Ok(space)
}
