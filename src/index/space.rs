//! The vectors of one namespace as recall sees them. Index tiers live behind this face.
//!
//! A space never decides what exists: the tenant's file does. It records through which sequence of the file it has
//! been brought, and is moved on from the namespace's changes before it answers.

use super::flat::Flat;
use super::metric::Metric;
use super::nearest::Candidate;
use super::vector::Vector;
use crate::id::RowId;

/// The index of one namespace.
#[derive(Debug)]
pub(crate) struct Space {
    through: u64,
    tier: Flat,
}

impl Space {
    /// A space that stands for the file as of `through` when all of its vectors are put and it is [`Space::loaded`].
    pub(crate) fn loading(metric: Metric, dimensions: u32, through: u64) -> Self {
        Self { through, tier: Flat::loading(metric, dimensions) }
    }

    /// Everything that was there is put.
    pub(crate) fn loaded(&mut self) {
        self.tier.loaded();
    }

    /// The sequence of the file that this space equals.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    /// Vectors in it.
    pub(crate) fn len(&self) -> usize {
        self.tier.len()
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.tier.bytes()
    }

    pub(crate) fn put(&mut self, row: RowId, vector: &Vector) {
        self.tier.put(row, vector);
    }

    pub(crate) fn remove(&mut self, row: RowId) {
        self.tier.remove(row);
    }

    /// All changes through this sequence have been applied.
    pub(crate) fn advance(&mut self, through: u64) {
        self.through = through;
    }

    /// The `top` nearest rows of at least this score, nearest first, ties by row.
    pub(crate) fn search(&self, query: &Vector, top: usize, minimum_score: f32) -> Vec<Candidate> {
        self.tier.search(query, top, minimum_score)
    }
}
