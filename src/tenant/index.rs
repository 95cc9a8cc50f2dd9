//! The indexes of an open tenant, brought to the state of the file that a reader sees.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::change::ChangeRecord;
use super::columns::Columns;
use super::feed::{changes_after, changes_kept_from};
use super::memory::StoredMemory;
use super::merge::{ASK_AGAIN, MergeRequest, Progress};
use super::namespace::Found;
use super::open::Tenant;
use super::place::{Place, number_of};
use super::segment::load_segment;
use super::selection::Resolved;
use super::snapshot::Snapshot;
use crate::error::{Reason, Result};
use crate::id::RowId;
use crate::index::flat::{CODED_FROM, Flat};
use crate::index::space::Space;
use crate::index::vector::read_components;
use crate::store::codec;

/// A namespace's index as of one sequence of the file.
#[derive(Debug)]
pub(super) struct Indexed {
    pub(super) space: Space,
    /// From the first recall that selects on. Rows are tagged in the space by their slots in here.
    pub(super) columns: Option<Columns>,
}

/// A namespace's index; empty until the first recall.
#[derive(Debug, Default)]
pub(super) struct SharedSpace {
    pub(super) space: RwLock<Option<Indexed>>,
    /// What it counts for.
    bytes: AtomicU64,
    /// How far a graph of it is, while one is built.
    pub(super) progress: Mutex<Option<Progress>>,
    /// Nobody asks for it to be looked after before this time.
    pub(super) not_before: Mutex<Option<Instant>>,
}

/// An index as a recall finds it.
pub(super) enum Held<'a> {
    /// At the snapshot's sequence.
    Ready(RwLockReadGuard<'a, Option<Indexed>>),
    /// It has moved past the snapshot. The next one is newer.
    Ahead,
    /// There is no memory for one.
    NoRoom,
}

impl Tenant {
    pub(super) fn space(&self, place: Place) -> Arc<SharedSpace> {
        self.spaces.lock().entry(place).or_default().clone()
    }

    /// The index of a namespace, if anybody has recalled there.
    pub(super) fn known_space(&self, place: Place) -> Option<Arc<SharedSpace>> {
        self.spaces.lock().get(&place).cloned()
    }

    /// Counts the memory of a space after it has changed. The caller has write access to it.
    pub(super) fn count_space(&self, shared: &SharedSpace, index: Option<&Indexed>) {
        let now = index.map_or(0, Indexed::bytes);
        let before = shared.bytes.swap(now, Ordering::Relaxed);
        self.has_changed.store(true, Ordering::Release);
        if now >= before {
            self.index_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.index_bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Takes memory for an index of so many bytes, if there is so much.
    pub(super) fn take_room_for_index(&self, bytes: u64) -> bool {
        self.has_changed.store(true, Ordering::Release);
        let taken = self.room.take(self.index_bytes.load(Ordering::Relaxed), bytes);
        if !taken {
            self.room.count(self.bytes());
        }
        taken
    }

    /// The index of a namespace that is gone goes too.
    pub(super) fn forget_space(&self, place: Place) {
        if let Some(shared) = self.spaces.lock().remove(&place) {
            self.drop_space(&shared);
        }
    }

    /// All indexes: what each has may be of a user who was erased.
    pub(super) fn forget_spaces(&self) {
        let forgotten: Vec<_> = self.spaces.lock().drain().map(|(_, shared)| shared).collect();
        forgotten.iter().for_each(|shared| self.drop_space(shared));
    }

    /// Whether an index is the one of its place, and was not forgotten.
    pub(super) fn is_known(&self, place: Place, shared: &Arc<SharedSpace>) -> bool {
        self.spaces.lock().get(&place).is_some_and(|known| Arc::ptr_eq(known, shared))
    }

    pub(super) fn drop_space(&self, shared: &SharedSpace) {
        *shared.space.write() = None;
        self.count_space(shared, None);
    }

    /// Brings an index to the snapshot's sequence, with columns for a selection that is not of everything, and keeps it
    /// there while the answer is in use.
    pub(super) fn hold<'a>(
        &self,
        shared: &'a SharedSpace,
        snapshot: &Snapshot,
        found: &Found,
        selection: &Resolved<'_>,
    ) -> Result<Held<'a>> {
        let now = snapshot.facts.sequence;
        let mut guard = shared.space.read();
        let is_ready = |index: &Indexed| index.space.through() >= now && index.covers(selection);
        if !guard.as_ref().is_some_and(is_ready) {
            drop(guard);
            let mut index = shared.space.write();
            let kept = self.catch_up(&mut index, snapshot, found).and_then(|is_kept| {
                if let Some(index) = &mut *index {
                    self.add_columns(index, shared, snapshot, found, selection)?;
                }
                Ok(is_kept)
            });
            self.count_space(shared, index.as_ref());
            let needs_care = index.as_ref().is_some_and(|index| self.needs_care(&index.space));
            if needs_care && shared.not_before.lock().is_none_or(|time| time <= Instant::now()) {
                self.room.merge(MergeRequest::new(found, now));
            }
            if !kept? {
                return Ok(Held::NoRoom);
            }
            guard = RwLockWriteGuard::downgrade(index);
        }
        let is_at = guard.as_ref().is_some_and(|index| index.space.through() == now);
        Ok(if is_at { Held::Ready(guard) } else { Held::Ahead })
    }

    /// Whether its index is to be looked after in the background.
    fn needs_care(&self, space: &Space) -> bool {
        space.is_outgrown(&self.index_settings) || space.is_unsaved() || !space.has_originals()
    }

    /// From the changes where they reach back far enough, else from the file. Gives whether there is an index: without
    /// memory for it there is none.
    fn catch_up(&self, index: &mut Option<Indexed>, snapshot: &Snapshot, found: &Found) -> Result<bool> {
        if index.as_ref().is_some_and(|index| index.space.through() >= snapshot.facts.sequence) {
            return Ok(true);
        }
        let changes_from = changes_kept_from(snapshot, found.place)?;
        let caught_up = match index {
            Some(index) if index.space.through() >= changes_from => index.replay(snapshot, found),
            _ => {
                *index = None;
                // At most all vectors of the tenant are this namespace's.
                let (vectors, dimensions) = (snapshot.facts.usage.vectors, found.record.dimensions);
                let with_originals = self.take_room_for_index(Flat::bytes_for(vectors, dimensions, true));
                if !with_originals && !self.take_room_for_index(Flat::bytes_for(vectors, dimensions, false)) {
                    return Ok(false);
                }
                let stored = load_segment(snapshot, found, changes_from);
                let loaded = stored.and_then(|stored| match stored {
                    Some(stored) => {
                        let mut index = Indexed { space: stored, columns: None };
                        index.replay(snapshot, found).map(|()| index)
                    }
                    None => load(snapshot, found, with_originals).map(|space| Indexed { space, columns: None }),
                });
                loaded.map(|loaded| *index = Some(loaded))
            }
        };
        if caught_up.is_err() {
            // Half-applied changes must not be searched.
            *index = None;
        }
        caught_up.map(|()| true)
    }

    /// Reads what a selection asks of every memory, once. Without memory for it, or for too many fields, records are
    /// read as they are met.
    fn add_columns(
        &self,
        index: &mut Indexed,
        shared: &SharedSpace,
        snapshot: &Snapshot,
        found: &Found,
        selection: &Resolved<'_>,
    ) -> Result<()> {
        let asks_later = shared.not_before.lock().is_some_and(|time| time > Instant::now());
        if index.space.through() != snapshot.facts.sequence || index.covers(selection) || asks_later {
            return Ok(());
        }
        let Some(fields) = Columns::wanted(index.columns.as_ref(), selection.filter()) else { return Ok(()) };
        index.columns = None;
        let columns = read_columns(snapshot, found, fields)?;
        if !self.take_room_for_index(columns.bytes()) {
            *shared.not_before.lock() = Some(Instant::now() + ASK_AGAIN);
            return Ok(());
        }
        index.space.retag(|row| columns.slot(row));
        index.columns = Some(columns);
        Ok(())
    }
}

impl Indexed {
    pub(super) fn bytes(&self) -> u64 {
        self.space.bytes() + self.columns.as_ref().map_or(0, Columns::bytes)
    }

    /// Whether the selection can be answered without reading records that it does not select, as far as that is worth
    /// it.
    fn covers(&self, selection: &Resolved<'_>) -> bool {
        selection.is_all()
            || self.space.len() < COLUMNS_FROM
            || self.columns.as_ref().is_some_and(|columns| columns.cover(selection.filter()))
            || Columns::wanted(None, selection.filter()).is_none()
    }

    /// Applies the changes since; they reach back far enough.
    pub(super) fn replay(&mut self, snapshot: &Snapshot, found: &Found) -> Result<()> {
        let Self { space, columns } = self;
        let (vectors, mut vector) = (found.vectors(), Vec::new());
        for entry in changes_after(snapshot, found.place, space.through())? {
            let (ChangeRecord::Put { row } | ChangeRecord::Remove { row, .. }) = entry?.1;
            // What it is now counts: it may have been put again, or removed, which a later change tells.
            let Some(bytes) = snapshot.vectors.get(vectors.row_key(row).as_slice())? else {
                space.remove(row);
                columns.iter_mut().for_each(|columns| columns.remove(row));
                continue;
            };
            read_components(bytes.value(), found.record.dimensions, &mut vector)?;
            let slot = match columns {
                Some(columns) => {
                    let record = snapshot.memories.get(found.place.row_key(row).as_slice())?;
                    let record = record.ok_or(Reason::DamagedRecord("memory of a vector"))?;
                    columns.set(row, &codec::decode(record.value())?)
                }
                None => 0,
            };
            space.put(row, slot, &vector);
        }
        space.advance(snapshot.facts.sequence);
        Ok(())
    }
}

/// Fewer vectors are compared before their records could be told apart.
const COLUMNS_FROM: usize = 256;

fn read_columns(snapshot: &Snapshot, found: &Found, fields: BTreeSet<String>) -> Result<Columns> {
    let mut columns = Columns::new(fields);
    let (first, last) = found.place.all();
    for entry in snapshot.memories.range(first.as_slice()..=last.as_slice())? {
        let (key, record) = entry?;
        let memory: StoredMemory = codec::decode(record.value())?;
        if memory.has_vector {
            columns.set(RowId(number_of(key.value())?), &memory);
        }
    }
    Ok(columns)
}

/// An index of all vectors as the file has them. Without originals in memory the file is read twice.
pub(super) fn load(snapshot: &Snapshot, found: &Found, with_originals: bool) -> Result<Space> {
    let (metric, dimensions, now) = (found.record.metric, found.record.dimensions, snapshot.facts.sequence);
    let mut space = Space::loading(metric, dimensions, now);
    if !with_originals {
        let (mut sums, mut count) = (vec![0.0; dimensions as usize], 0_usize);
        each_vector(snapshot, found, |_, vector| {
            count += 1;
            sums.iter_mut().zip(vector).for_each(|(sum, component)| *sum += f64::from(*component));
        })?;
        // Few have no codes, and take no memory to speak of.
        if count >= CODED_FROM {
            let centre = sums.into_iter().map(|sum| sum / count as f64).collect();
            space = Space::loading_codes(metric, centre, now);
        }
    }
    each_vector(snapshot, found, |row, vector| space.put(row, 0, vector))?;
    space.loaded();
    Ok(space)
}

/// Every vector of a namespace, in the order of rows.
pub(super) fn each_vector(snapshot: &Snapshot, found: &Found, mut work: impl FnMut(RowId, &[f32])) -> Result<()> {
    let (first, last) = found.vectors().all();
    let mut vector = Vec::new();
    for entry in snapshot.vectors.range(first.as_slice()..=last.as_slice())? {
        let (key, bytes) = entry?;
        read_components(bytes.value(), found.record.dimensions, &mut vector)?;
        work(RowId(number_of(key.value())?), &vector);
    }
    Ok(())
}

/// Reads the vector of one row, in place of what the buffer has.
pub(super) fn read_vector(snapshot: &Snapshot, found: &Found, row: RowId, vector: &mut Vec<f32>) -> Result<()> {
    let bytes = snapshot.vectors.get(found.vectors().row_key(row).as_slice())?;
    let bytes = bytes.ok_or(Reason::DamagedRecord("vector of an index"))?;
    read_components(bytes.value(), found.record.dimensions, vector)
}
