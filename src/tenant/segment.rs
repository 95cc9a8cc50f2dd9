//! Indexes in the tenant's file: chunks that nothing points to until the last is written, and a manifest that then does.

use std::ops::Bound;
use std::sync::Arc;

use redb::{ReadableTable, Table};
use serde::{Deserialize, Serialize};

use super::index::SharedSpace;
use super::namespace::{self, Found};
use super::open::Tenant;
use super::place::Place;
use super::snapshot::Snapshot;
use crate::error::Result;
use crate::index::segment;
use crate::index::space::Space;
use crate::index::vector::read_components;
use crate::limits::{SEGMENT_BATCH_BYTES, SEGMENT_BYTES_MAX, SEGMENT_CHUNK_BYTES};
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::SEGMENTS;

/// What a namespace's segment is. It stands where its chunks would begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// Leads the keys of its chunks; each segment of a namespace has another one.
    generation: u64,
    /// Every change of the namespace through this sequence is in it.
    through: u64,
    bytes: u64,
    /// CRC-32 of all bytes. Pages are authenticated one by one; this finds a page of an older state among them.
    checksum: u32,
}

impl Record for Manifest {
    const KIND: u8 = 30;
    const NAME: &'static str = "segment manifest";
}

impl Place {
    /// `scope | namespace | generation | chunk`.
    fn chunk_key(self, generation: u64, chunk: u32) -> [u8; 20] {
        let mut key = [0; 20];
        let (place, chunk_at) = key.split_at_mut(16);
        place.copy_from_slice(&self.numbered(generation));
        chunk_at.copy_from_slice(&chunk.to_be_bytes());
        key
    }
}

/// The stored index of a namespace, if there is one that holds for this state of the file. What does not hold is not
/// trusted and not missed.
pub(super) fn load_segment(snapshot: &Snapshot, found: &Found, changes_from: u64) -> Result<Option<Space>> {
    let Some(manifest) = snapshot.segments.get(found.vectors().prefix().as_slice())? else { return Ok(None) };
    let Ok(manifest) = codec::decode::<Manifest>(manifest.value()) else { return Ok(None) };
    let holds = manifest.through <= snapshot.facts.sequence && manifest.through >= changes_from;
    if !holds || manifest.bytes > SEGMENT_BYTES_MAX {
        return Ok(None);
    }
    let place = found.vectors();
    let (first, last) = (place.chunk_key(manifest.generation, 0), place.chunk_key(manifest.generation, u32::MAX));
    let mut bytes = Vec::new();
    for (expected, entry) in (0..).zip(snapshot.segments.range(first.as_slice()..=last.as_slice())?) {
        let (key, chunk) = entry?;
        if key.value() != place.chunk_key(manifest.generation, expected) || bytes.len() as u64 > manifest.bytes {
            return Ok(None);
        }
        bytes.extend_from_slice(chunk.value());
    }
    if bytes.len() as u64 != manifest.bytes || crc32fast::hash(&bytes) != manifest.checksum {
        return Ok(None);
    }
    let (metric, dimensions) = (found.record.metric, found.record.dimensions);
    let Ok((mut space, beside)) = segment::decode(&bytes, metric, dimensions, manifest.through) else {
        return Ok(None);
    };
    let mut vector = Vec::new();
    for row in beside {
        // One that is gone since, or has another vector, is among the changes that follow.
        if let Some(bytes) = snapshot.vectors.get(place.row_key(row).as_slice())? {
            read_components(bytes.value(), dimensions, &mut vector)?;
            space.put(row, 0, &vector);
        }
    }
    space.saved();
    Ok(Some(space))
}

/// A segment on its way into the file, some of it in each transaction: others write meanwhile.
pub(super) struct Storing {
    found: Found,
    shared: Arc<SharedSpace>,
    bytes: Vec<u8>,
    through: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Takes out what an attempt that was broken off has left.
    Clearing,
    Writing {
        generation: u64,
        chunk: u32,
    },
    /// The manifest is written. Takes out the segment before it.
    Replacing {
        generation: u64,
    },
    Done,
}

/// Chunks that one transaction writes or removes at most.
const CHUNKS_MAX: usize = SEGMENT_BATCH_BYTES / SEGMENT_CHUNK_BYTES;

impl Storing {
    /// `None` for an index that is too small to be stored, or too large.
    pub(super) fn new(found: &Found, shared: &Arc<SharedSpace>, space: &Space) -> Option<Self> {
        let bytes = segment::encode(space).filter(|bytes| bytes.len() as u64 <= SEGMENT_BYTES_MAX)?;
        Some(Self {
            found: found.clone(),
            shared: shared.clone(),
            bytes,
            through: space.through(),
            stage: Stage::Clearing,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Does one transaction's share. Gives whether there is more to do.
    pub(super) fn step(&mut self, tenant: &Tenant) -> Result<bool> {
        // Only what is committed counts.
        self.stage = tenant.database.write(|mut writer| self.write(tenant, &mut writer))?;
        Ok(!matches!(self.stage, Stage::Done))
    }

    fn write(&self, tenant: &Tenant, writer: &mut Writer<'_>) -> Result<Stage> {
        let place = self.found.vectors();
        // The namespace may be gone meanwhile, or have other vectors, or the index holds what was erased.
        let found = namespace::found_at(writer, self.found.place)?;
        if found.is_none_or(|found| found.vectors() != place) || !tenant.is_known(place, &self.shared) {
            return Ok(Stage::Done);
        }
        let mut table = writer.open_table(SEGMENTS)?;
        let current = match table.get(place.prefix().as_slice())? {
            Some(manifest) => codec::decode::<Manifest>(manifest.value()).ok().map(|manifest| manifest.generation),
            None => None,
        };
        let next = current.map_or(1, |current| current.saturating_add(1));
        let (generation, mut chunk) = match self.stage {
            Stage::Clearing if remove_others(&mut table, place, current)? => return Ok(Stage::Clearing),
            Stage::Clearing => (next, 0),
            // Somebody else may have stored one meanwhile.
            Stage::Writing { generation, .. } if generation != next => return Ok(Stage::Done),
            Stage::Writing { generation, chunk } => (generation, chunk),
            Stage::Replacing { generation } => return replace(&mut table, place, generation),
            Stage::Done => return Ok(Stage::Done),
        };
        let start = (chunk as usize).saturating_mul(SEGMENT_CHUNK_BYTES);
        let rest = self.bytes.get(start..).unwrap_or_default();
        for bytes in rest.chunks(SEGMENT_CHUNK_BYTES).take(CHUNKS_MAX) {
            table.insert(place.chunk_key(generation, chunk).as_slice(), bytes)?;
            chunk = chunk.saturating_add(1);
        }
        if rest.len() > SEGMENT_CHUNK_BYTES * CHUNKS_MAX {
            return Ok(Stage::Writing { generation, chunk });
        }
        let (bytes, checksum) = (self.bytes(), crc32fast::hash(&self.bytes));
        let manifest = Manifest { generation, through: self.through, bytes, checksum };
        table.insert(place.prefix().as_slice(), codec::encode(&manifest)?.as_slice())?;
        replace(&mut table, place, generation)
    }
}

fn replace(table: &mut Table<'_, &'static [u8], &'static [u8]>, place: Place, generation: u64) -> Result<Stage> {
    let more = remove_others(table, place, Some(generation))?;
    Ok(if more { Stage::Replacing { generation } } else { Stage::Done })
}

/// Removes chunks of other generations than this one, a transaction's share of them. Gives whether there may be more.
fn remove_others(table: &mut Table<'_, &'static [u8], &'static [u8]>, place: Place, kept: Option<u64>) -> Result<bool> {
    // Before those of that generation, and after them.
    let (first, last) = (place.chunk_key(0, 0), place.chunk_key(u64::MAX, u32::MAX));
    let (below, above) = match kept {
        Some(kept) => (place.chunk_key(kept, 0), place.chunk_key(kept, u32::MAX)),
        None => (last, last),
    };
    let mut keys = Vec::new();
    let below = table.range(first.as_slice()..below.as_slice())?;
    let above = table.range::<&[u8]>((Bound::Excluded(above.as_slice()), Bound::Included(last.as_slice())))?;
    for entry in below.chain(above).take(CHUNKS_MAX) {
        keys.push(entry?.0.value().to_vec());
    }
    for key in &keys {
        table.remove(key.as_slice())?;
    }
    Ok(keys.len() == CHUNKS_MAX)
}

/// Removes so many chunks of a namespace that is gone, and the manifest first. Gives how many rows those were.
pub(super) fn clear_segments(writer: &mut Writer<'_>, place: Place, most: usize) -> Result<usize> {
    let mut table = writer.open_table(SEGMENTS)?;
    let (first, last) = (place.prefix().to_vec(), place.chunk_key(u64::MAX, u32::MAX));
    let mut keys = Vec::new();
    for entry in table.range(first.as_slice()..=last.as_slice())?.take(most) {
        keys.push(entry?.0.value().to_vec());
    }
    for key in &keys {
        table.remove(key.as_slice())?;
    }
    Ok(keys.len())
}
