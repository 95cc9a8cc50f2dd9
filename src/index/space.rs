//! The vectors of one namespace as recall sees them. Index tiers live behind this face.
//!
//! A space never decides what exists: the tenant's file does. It records through which sequence of the file it has
//! been brought, and is moved on from the namespace's changes before it answers.

use super::codes::Codes;
use super::flat::Flat;
use super::frozen::Frozen;
use super::metric::Metric;
use super::nearest::Candidate;
use super::search::{How, Reader, ScratchPool, Search};
use super::settings::IndexSettings;
use crate::error::Result;
use crate::id::RowId;
use crate::limits::{FEED_CHANGES_KEPT, SEGMENT_ROWS_MIN};

/// The index of one namespace.
#[derive(Debug)]
pub(crate) struct Space {
    metric: Metric,
    dimensions: u32,
    through: u64,
    tier: Tier,
    /// Changes that are not in the stored segment; all, where there is none.
    unsaved: u64,
    scratch: ScratchPool,
}

#[derive(Debug)]
pub(super) enum Tier {
    /// Every vector is looked at.
    Flat(Flat),
    /// A graph of what was there, and what came since.
    Graph { frozen: Box<Frozen>, delta: Flat },
}

/// A part of what a graph has must have come or gone since for it to be built again.
const MERGE_PART: usize = 4;
/// Changes are told for a while only.
const UNSAVED_MAX: u64 = FEED_CHANGES_KEPT / 4;

impl Space {
    /// A space that stands for the file as of `through` when all of its vectors are put and it is [`Space::loaded`].
    pub(crate) fn loading(metric: Metric, dimensions: u32, through: u64) -> Self {
        Self::new(metric, dimensions, through, Tier::Flat(Flat::loading(metric, dimensions)))
    }

    /// The same without originals in memory, of vectors with this mean. There are enough of them to have codes.
    pub(crate) fn loading_codes(metric: Metric, centre: Vec<f64>, through: u64) -> Self {
        let dimensions = u32::try_from(centre.len()).unwrap_or(u32::MAX);
        let codes = Codes::empty(metric, centre);
        Self::new(metric, dimensions, through, Tier::Flat(Flat::from_parts(metric, dimensions, Vec::new(), codes)))
    }

    pub(super) fn new(metric: Metric, dimensions: u32, through: u64, tier: Tier) -> Self {
        Self { metric, dimensions, through, tier, unsaved: 0, scratch: ScratchPool::default() }
    }

    pub(super) fn with_graph(metric: Metric, dimensions: u32, through: u64, frozen: Frozen) -> Self {
        let delta = Flat::new(metric, dimensions);
        Self::new(metric, dimensions, through, Tier::Graph { frozen: Box::new(frozen), delta })
    }

    /// Everything that was there is put.
    pub(crate) fn loaded(&mut self) {
        if let Tier::Flat(flat) = &mut self.tier {
            flat.loaded();
        }
    }

    /// Builds a graph of a space that was just loaded. `watch` is told how many vectors are linked and answers whether
    /// to go on. `None` when it was stopped.
    pub(crate) fn freeze(self, settings: &IndexSettings, watch: &mut dyn FnMut(usize) -> bool) -> Option<Self> {
        let Self { metric, dimensions, through, tier, unsaved, .. } = self;
        let Tier::Flat(flat) = tier else { return None };
        let frozen = Frozen::build(metric, dimensions as usize, flat, settings, watch)?;
        Some(Self { unsaved, ..Self::with_graph(metric, dimensions, through, frozen) })
    }

    /// The sequence of the file that this space equals.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    pub(super) fn tier(&self) -> &Tier {
        &self.tier
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    pub(super) fn dimensions(&self) -> u32 {
        self.dimensions
    }

    /// Vectors in it.
    pub(crate) fn len(&self) -> usize {
        match &self.tier {
            Tier::Flat(flat) => flat.len(),
            Tier::Graph { frozen, delta } => frozen.len() + delta.len(),
        }
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let tier = match &self.tier {
            Tier::Flat(flat) => flat.bytes(),
            Tier::Graph { frozen, delta } => frozen.bytes() + delta.bytes(),
        };
        tier + self.scratch.bytes() as u64
    }

    pub(crate) fn has_graph(&self) -> bool {
        matches!(self.tier, Tier::Graph { .. })
    }

    /// Whether the originals of what it has are in memory.
    pub(crate) fn has_originals(&self) -> bool {
        match &self.tier {
            Tier::Flat(flat) => flat.has_originals(),
            Tier::Graph { frozen, .. } => frozen.has_originals(),
        }
    }

    /// Vectors that came after the graph was built, and those of it that are gone.
    pub(crate) fn beside_graph(&self) -> (usize, usize) {
        match &self.tier {
            Tier::Flat(_) => (0, 0),
            Tier::Graph { frozen, delta } => (delta.len(), frozen.dead_count()),
        }
    }

    /// Nodes that no walk comes to. There are none, which tests ask.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn unreachable(&self) -> usize {
        match &self.tier {
            Tier::Flat(_) => 0,
            Tier::Graph { frozen, .. } => frozen.unreachable(),
        }
    }

    /// Whether it is worth making anew from the file: for another tier, or because much has come and gone.
    pub(crate) fn is_outgrown(&self, settings: &IndexSettings) -> bool {
        let wants_graph = settings.wants_graph(self.len(), self.has_graph());
        match &self.tier {
            Tier::Flat(flat) => wants_graph || flat.is_off_centre(),
            Tier::Graph { frozen, delta } => {
                !wants_graph || delta.len() + frozen.dead_count() > (frozen.len() + frozen.dead_count()) / MERGE_PART
            }
        }
    }

    pub(crate) fn put(&mut self, row: RowId, tag: u32, vector: &[f32]) {
        self.unsaved += 1;
        match &mut self.tier {
            Tier::Flat(flat) => flat.put(row, tag, vector),
            Tier::Graph { frozen, delta } => {
                frozen.remove(row);
                delta.put(row, tag, vector);
            }
        }
    }

    pub(crate) fn remove(&mut self, row: RowId) {
        self.unsaved += 1;
        match &mut self.tier {
            Tier::Flat(flat) => flat.remove(row),
            Tier::Graph { delta, .. } if delta.contains(row) => delta.remove(row),
            Tier::Graph { frozen, .. } => frozen.remove(row),
        }
    }

    /// It is stored as it is.
    pub(crate) fn saved(&mut self) {
        self.unsaved = 0;
    }

    /// Whether there is a stored segment from which little has changed.
    pub(crate) fn is_stored(&self) -> bool {
        self.len() >= SEGMENT_ROWS_MIN && !self.is_unsaved()
    }

    /// What is stored is what was stored of the index before it.
    pub(crate) fn saved_as(&mut self, before: &Self) {
        self.unsaved = before.unsaved;
    }

    /// Whether so much has changed since it was stored that it is worth storing again: opening it would take long, or
    /// the changes since would not be told any more.
    pub(crate) fn is_unsaved(&self) -> bool {
        let many = ((self.len() / MERGE_PART) as u64).min(UNSAVED_MAX);
        self.len() >= SEGMENT_ROWS_MIN && self.unsaved > many
    }

    /// The rows whose originals a graph would keep in memory, in its order.
    pub(crate) fn rows_without_originals(&self) -> Option<Vec<RowId>> {
        match &self.tier {
            Tier::Graph { frozen, .. } if !frozen.has_originals() => Some(frozen.rows().to_vec()),
            _ => None,
        }
    }

    /// Keeps originals in memory, one after the other in the order of these rows, if they are its rows still.
    pub(crate) fn keep_originals(&mut self, rows: &[RowId], originals: Vec<f32>) {
        if let Tier::Graph { frozen, .. } = &mut self.tier
            && frozen.rows() == rows
        {
            frozen.keep_originals(originals);
        }
    }

    /// Gives every row the tag by which searches can be narrowed.
    pub(crate) fn retag(&mut self, tag: impl Fn(RowId) -> u32) {
        match &mut self.tier {
            Tier::Flat(flat) => flat.retag(tag),
            Tier::Graph { frozen, delta } => {
                frozen.retag(&tag);
                delta.retag(&tag);
            }
        }
    }

    /// All changes through this sequence have been applied.
    pub(crate) fn advance(&mut self, through: u64) {
        self.through = through;
    }

    /// Adds the nearest rows to `answer`, nearest first, ties by row. `reader` reads originals that are not in memory.
    pub(crate) fn search(
        &self,
        search: &Search<'_>,
        settings: &IndexSettings,
        reader: &mut Reader<'_>,
        answer: &mut Vec<Candidate>,
    ) -> Result<How> {
        self.scratch.with(search, answer, |scratch| match &self.tier {
            Tier::Flat(flat) => Ok(How { exact: true, read: flat.search(search, scratch, reader)? }),
            Tier::Graph { frozen, delta } => {
                let how = frozen.search(search, settings, scratch, reader)?;
                Ok(How { read: how.read + delta.search(search, scratch, reader)?, ..how })
            }
        })
    }
}
