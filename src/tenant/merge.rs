//! Making an index anew in the background: for another tier, or because much has come and gone; and storing it.
//!
//! Nobody waits for it. It looks at the file for as long as reading takes, works on what it has read, writes a little
//! at a time, and takes the place of the index that served meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::feed::changes_kept_from;
use super::index::{Indexed, SharedSpace, each_vector, load};
use super::namespace::Found;
use super::open::Tenant;
use super::segment::Storing;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::id::RowId;
use crate::index::flat::Flat;
use crate::index::frozen::Frozen;
use crate::index::settings::IndexSettings;
use crate::index::space::Space;

/// Asks for a namespace's index to be looked after.
#[derive(Debug, Clone)]
pub(crate) struct MergeRequest {
    found: Found,
    /// The sequence of the file when it was last looked at.
    seen: u64,
}

impl MergeRequest {
    pub(super) fn new(found: &Found, seen: u64) -> Self {
        Self { found: found.clone(), seen }
    }

    /// Two for the same index.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.found.vectors() == other.found.vectors()
    }
}

/// How far a graph is, in vectors that are linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) of: u64,
}

/// Work on one index, from one step to the next.
pub(crate) struct Merge {
    found: Found,
    shared: Arc<SharedSpace>,
    stage: Stage,
    _memory: Reserved,
}

enum Stage {
    /// All vectors are read; a graph is to be built of them, or not.
    Read {
        space: Box<Space>,
        wants_graph: bool,
        stores: bool,
    },
    /// The new space, and what is left to store of it.
    Storing {
        space: Option<Box<Space>>,
        storing: Storing,
    },
    Swapping {
        space: Box<Space>,
    },
    /// Originals for an index that has none in memory.
    Filling {
        rows: Vec<RowId>,
        originals: Vec<f32>,
    },
    Done,
}

/// Memory that was taken for a merge, given back when it ends.
struct Reserved {
    total: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// So often others may be faster.
const SWAPS_MAX: usize = 100;
/// Where there was no memory, nobody asks again for so long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Tenant {
    /// Whether the file is being filled: changes since the last look are many. Then it is better to wait than to build a
    /// graph that is outgrown when it is done.
    pub(crate) fn is_growing(&self, request: &mut MergeRequest) -> Result<bool> {
        let (sequence, vectors) =
            self.database.read(|snapshot| Ok((snapshot.facts.sequence, snapshot.facts.usage.vectors)))?;
        let changes = sequence.saturating_sub(std::mem::replace(&mut request.seen, sequence));
        Ok(changes > vectors / 64)
    }

    /// What there is to do for an index now.
    pub(crate) fn begin_merge(&self, request: &MergeRequest) -> Result<Option<Merge>> {
        let found = request.found.clone();
        let Some(shared) = self.known_space(found.vectors()) else { return Ok(None) };
        let settings = &self.index_settings;
        let dimensions = found.record.dimensions;
        let guard = shared.space.read();
        let Some(Indexed { space, .. }) = guard.as_ref() else { return Ok(None) };
        let vectors = space.len();
        let flat = |originals| Flat::bytes_for(vectors as u64, dimensions, originals);
        let is_outgrown = space.is_outgrown(settings);
        if is_outgrown || (!space.has_originals() && !space.has_graph()) {
            let wants_graph = settings.wants_graph(vectors, space.has_graph());
            drop(guard);
            let graph = if wants_graph { Frozen::building_bytes(vectors as u64, settings) } else { 0 };
            let (memory, originals) = match self.reserve(&shared, flat(true) + graph) {
                Some(memory) => (memory, true),
                // It is as good without them, if it was without them before.
                None if !is_outgrown => return Ok(None),
                None => match self.reserve(&shared, flat(false) + graph) {
                    Some(memory) => (memory, false),
                    None => return Ok(None),
                },
            };
            let space = Box::new(self.database.read(|snapshot| load(snapshot, &found, originals))?);
            let stage = Stage::Read { space, wants_graph, stores: is_outgrown };
            return Ok(Some(Merge { found, shared, stage, _memory: memory }));
        }
        if space.is_unsaved() {
            let storing = Storing::new(&found, &shared, space);
            drop(guard);
            let Some(storing) = storing else { return Ok(None) };
            // It is there already, if only for a moment.
            let memory = self.reserved(storing.bytes());
            let stage = Stage::Storing { space: None, storing };
            return Ok(Some(Merge { found, shared, stage, _memory: memory }));
        }
        let Some(rows) = space.rows_without_originals() else { return Ok(None) };
        drop(guard);
        let bytes = (rows.len() as u64).saturating_mul(u64::from(dimensions) * 4 + 32);
        let Some(memory) = self.reserve(&shared, bytes) else { return Ok(None) };
        let originals = self.database.read(|snapshot| read_originals(snapshot, &found, &rows))?;
        let stage = Stage::Filling { rows, originals };
        Ok(Some(Merge { found, shared, stage, _memory: memory }))
    }

    /// Takes memory for a merge. Where there is none, nobody asks again for a while.
    fn reserve(&self, shared: &SharedSpace, bytes: u64) -> Option<Reserved> {
        if !self.take_room_for_index(bytes) {
            *shared.not_before.lock() = Some(Instant::now() + ASK_AGAIN);
            return None;
        }
        Some(self.reserved(bytes))
    }

    fn reserved(&self, bytes: u64) -> Reserved {
        self.index_bytes.fetch_add(bytes, Ordering::Relaxed);
        Reserved { total: self.index_bytes.clone(), bytes }
    }
}

impl Merge {
    /// The part that needs no file: building a graph, where one is wanted. `watch` answers whether to go on. Gives
    /// whether there is more to do.
    pub(crate) fn build(&mut self, settings: &IndexSettings, watch: &mut dyn FnMut() -> bool) -> bool {
        let (mut space, wants_graph, stores) = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Read { space, wants_graph, stores } => (space, wants_graph, stores),
            other => {
                self.stage = other;
                return true;
            }
        };
        let of = space.len() as u64;
        if wants_graph {
            let progress = &self.shared.progress;
            let mut watch = |done: usize| {
                *progress.lock() = Some(Progress { done: done as u64, of });
                watch()
            };
            let frozen = space.freeze(settings, &mut watch);
            *progress.lock() = None;
            let Some(frozen) = frozen else { return false };
            *space = frozen;
        }
        let storing = if stores { Storing::new(&self.found, &self.shared, &space) } else { None };
        self.stage = match storing {
            Some(storing) => Stage::Storing { space: Some(space), storing },
            None => Stage::Swapping { space },
        };
        true
    }

    /// One step at the file. Gives whether there is more to do.
    pub(crate) fn step(&mut self, tenant: &Tenant) -> Result<bool> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Storing { space, mut storing } => match (storing.step(tenant)?, space) {
                (true, space) => Stage::Storing { space, storing },
                (false, Some(mut space)) => {
                    space.saved();
                    self.swap(tenant, |index| Some(std::mem::replace(&mut index.space, *space)))?;
                    Stage::Done
                }
                (false, None) => {
                    if let Some(index) = &mut *self.shared.space.write() {
                        index.space.saved();
                    }
                    Stage::Done
                }
            },
            Stage::Swapping { mut space } => {
                self.swap(tenant, |index| {
                    space.saved_as(&index.space);
                    Some(std::mem::replace(&mut index.space, *space))
                })?;
                Stage::Done
            }
            Stage::Filling { rows, originals } => {
                self.swap(tenant, |index| {
                    index.space.keep_originals(&rows, originals);
                    None
                })?;
                Stage::Done
            }
            Stage::Read { .. } | Stage::Done => Stage::Done,
        };
        Ok(!matches!(self.stage, Stage::Done))
    }

    /// Changes an index that stands where the file is, and brings what has taken its place there as well. `change` gives
    /// what it replaced.
    fn swap(&self, tenant: &Tenant, change: impl FnOnce(&mut Indexed) -> Option<Space>) -> Result<()> {
        let mut change = Some(change);
        // Others may bring the index farther than the snapshot that was taken: then with the next one. A file that stands
        // still behind its index was put back to an older state, which the next recall deals with.
        for _ in 0..SWAPS_MAX {
            if change.is_none() {
                break;
            }
            tenant.database.read(|snapshot: &Snapshot| {
                let mut guard = self.shared.space.write();
                let changes_from = changes_kept_from(snapshot, self.found.place)?;
                let is_kept = match &mut *guard {
                    Some(index) if index.space.through() > snapshot.facts.sequence => return Ok(()),
                    Some(index) => change
                        .take()
                        .map_or(Ok(true), |change| bring(index, snapshot, &self.found, changes_from, change)),
                    None => Ok(change.take().is_none()),
                };
                // Half-applied changes must not be searched; nor can what is too old be brought along.
                if !matches!(is_kept, Ok(true)) {
                    *guard = None;
                }
                tenant.count_space(&self.shared, guard.as_ref());
                is_kept.map(drop)
            })?;
        }
        Ok(())
    }
}

/// Gives whether the index can be kept.
fn bring(
    index: &mut Indexed,
    snapshot: &Snapshot,
    found: &Found,
    changes_from: u64,
    change: impl FnOnce(&mut Indexed) -> Option<Space>,
) -> Result<bool> {
    if index.space.through() < changes_from {
        return Ok(false);
    }
    index.replay(snapshot, found)?;
    let Some(before) = change(index) else { return Ok(true) };
    if index.space.through() < changes_from {
        index.space = before;
        return Ok(true);
    }
    // The columns are at the snapshot already, by which the new space is tagged when it is there too.
    let columns = index.columns.take();
    index.replay(snapshot, found)?;
    if let Some(columns) = &columns {
        index.space.retag(|row| columns.slot(row));
    }
    index.columns = columns;
    Ok(true)
}

/// The vectors of these rows, one after the other; of one that is not there any more, zeros: the index will hear that it
/// is gone before anybody asks for it.
fn read_originals(snapshot: &Snapshot, found: &Found, rows: &[RowId]) -> Result<Vec<f32>> {
    let dimensions = found.record.dimensions as usize;
    let mut originals = vec![0.0; rows.len() * dimensions];
    let mut places: Vec<(RowId, usize)> = rows.iter().copied().zip(0..).collect();
    places.sort_unstable();
    each_vector(snapshot, found, |row, vector| {
        let at = places.binary_search_by_key(&row, |(row, _)| *row).ok();
        let Some((_, place)) = at.and_then(|at| places.get(at)) else { return };
        if let Some(original) = originals.get_mut(place * dimensions..(place + 1) * dimensions) {
            original.copy_from_slice(vector);
        }
    })?;
    Ok(originals)
}
