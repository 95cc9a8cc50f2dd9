//! The vector index without an engine around it, for `benches/index.rs`. Not part of the API: it changes without
//! notice.

use super::effort::Effort;
use super::metric::Metric;
use super::search::{Among, Search};
use super::settings::IndexSettings;
use super::space::Space;
use super::vector::{GivenVector, Vector};
use crate::error::{Error, Result};
use crate::id::RowId;

/// The index of a namespace.
#[derive(Debug)]
pub struct Index {
    space: Space,
    metric: Metric,
    settings: IndexSettings,
}

/// A checked question.
#[derive(Debug)]
pub struct Query(Vector);

/// What a search gave.
#[derive(Debug)]
pub struct Answer {
    /// The nearest rows with their scores.
    pub rows: Vec<(u64, f32)>,
    /// Originals that were read.
    pub read: usize,
    /// Whether nothing nearer can have been missed.
    pub exact: bool,
}

impl Index {
    /// An index of these vectors, numbered from 0, with a graph where the settings want one.
    ///
    /// # Errors
    /// `InvalidInput` for vectors that a memory could not have.
    pub fn of(vectors: &[Vec<f32>], metric: Metric, settings: IndexSettings) -> Result<Self> {
        settings.check()?;
        let dimensions = vectors.first().map_or(384, Vec::len);
        let mut space = Space::loading(metric, u32::try_from(dimensions).unwrap_or(u32::MAX), 0);
        for (row, vector) in (0..).zip(vectors) {
            space.put(RowId(row), 0, GivenVector::new(vector)?.ready(metric)?.components());
        }
        space.loaded();
        if settings.wants_graph(vectors.len(), false) {
            space = space.freeze(&settings, &mut |_| true).ok_or_else(|| Error::invalid("vectors", "have no graph"))?;
        }
        Ok(Self { space, metric, settings })
    }

    /// Puts a vector, or another one in its place.
    ///
    /// # Errors
    /// `InvalidInput` for a vector that a memory could not have.
    pub fn put(&mut self, row: u64, vector: &[f32]) -> Result<()> {
        self.space.put(RowId(row), 0, GivenVector::new(vector)?.ready(self.metric)?.components());
        Ok(())
    }

    /// Memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.space.bytes()
    }

    /// Whether it has a graph.
    #[must_use]
    pub fn has_graph(&self) -> bool {
        self.space.has_graph()
    }

    /// Nodes that no walk comes to.
    #[must_use]
    pub fn unreachable(&self) -> usize {
        self.space.unreachable()
    }

    /// The nearest rows.
    ///
    /// # Errors
    /// None here: no file is read.
    pub fn search(&self, query: &Query, top: usize, effort: Effort) -> Result<Answer> {
        let search = Search { query: &query.0, top, minimum: f32::NEG_INFINITY, effort, among: Among::All };
        let mut found = Vec::with_capacity(top);
        let how = self.space.search(&search, &self.settings, &mut |_, _| Ok(()), &mut found)?;
        let rows = found.into_iter().map(|candidate| (candidate.row.0, candidate.score)).collect();
        Ok(Answer { rows, read: how.read, exact: how.exact })
    }
}

impl Query {
    /// A question for an index of its dimensions.
    ///
    /// # Errors
    /// `InvalidInput` as for a recall.
    pub fn new(vector: &[f32], metric: Metric) -> Result<Self> {
        Ok(Self(GivenVector::new(vector)?.ready(metric)?))
    }
}
