//! The vectors of one namespace as recall sees them. Index tiers live behind this face.
//!
//! A space never decides what exists: the tenant's file does. It records through which sequence of the file it has
//! been brought, and is moved on from the file's vector log before it answers.

use super::flat::{Candidate, Flat};
use super::vector::UnitVector;
use crate::id::RowId;

/// One step of a namespace's vectors.
#[derive(Debug)]
pub(crate) enum Change {
    Put(RowId, UnitVector),
    Remove(RowId),
}

/// The index of one namespace.
#[derive(Debug)]
pub(crate) struct Space {
    through: u64,
    tier: Flat,
}

impl Space {
    /// An empty space that stands for the file as of `through`.
    pub(crate) fn new(dimensions: u32, through: u64) -> Self {
        Self { through, tier: Flat::new(dimensions) }
    }

    /// The sequence of the file that this space equals.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(row, vector) => self.tier.put(row, &vector),
            Change::Remove(row) => self.tier.remove(row),
        }
    }

    /// All changes through this sequence have been applied.
    pub(crate) fn advance(&mut self, through: u64) {
        self.through = through;
    }

    /// The `top` nearest rows of at least this score, nearest first, ties by row.
    pub(crate) fn search(&self, query: &UnitVector, top: usize, minimum_score: f32) -> Vec<Candidate> {
        self.tier.search(query, top, minimum_score)
    }
}
