//! The vector index without an engine around it, for `benches/index.rs`. Not part of the API: it changes without
//! notice.

use super::flat::Flat;
use super::metric::Metric;
use super::vector::{GivenVector, Vector};
use crate::error::Result;
use crate::id::RowId;

/// The flat tier under cosine.
#[derive(Debug)]
pub struct FlatIndex(Flat);

/// A checked question.
#[derive(Debug)]
pub struct Query(Vector);

impl FlatIndex {
    /// An index of these vectors, numbered from 0.
    ///
    /// # Errors
    /// `InvalidInput` for vectors that a memory could not have.
    pub fn of(vectors: &[Vec<f32>]) -> Result<Self> {
        let dimensions = vectors.first().map_or(1, Vec::len);
        let mut flat = Flat::loading(Metric::Cosine, u32::try_from(dimensions).unwrap_or(u32::MAX));
        for (row, vector) in (0..).zip(vectors) {
            flat.put(RowId(row), &GivenVector::new(vector)?.ready(Metric::Cosine)?);
        }
        flat.loaded();
        Ok(Self(flat))
    }

    /// Memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// The nearest rows with their scores, and how many originals were read to be sure of them.
    #[must_use]
    pub fn search(&self, query: &Query, top: usize) -> (Vec<(u64, f32)>, usize) {
        let (found, read) = self.0.search_counted(&query.0, top, f32::NEG_INFINITY);
        (found.into_iter().map(|candidate| (candidate.row.0, candidate.score)).collect(), read)
    }
}

impl Query {
    /// A question for an index of its dimensions.
    ///
    /// # Errors
    /// `InvalidInput` as for a recall.
    pub fn new(vector: &[f32]) -> Result<Self> {
        Ok(Self(GivenVector::new(vector)?.ready(Metric::Cosine)?))
    }
}
