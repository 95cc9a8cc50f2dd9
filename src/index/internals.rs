//! The vector index without an engine around it, for `benches/index.rs`, `tests/recall_quality.rs` and the fuzz target
//! `segment_open`. Not part of the API: it changes without notice.

use std::collections::HashMap;

use super::bits::Bits;
use super::effort::Effort;
use super::metric::Metric;
use super::search::{Among, Search};
use super::segment;
use super::settings::IndexSettings;
use super::space::Space;
use super::vector::{GivenVector, Vector};
use crate::error::{Error, Reason, Result};
use crate::id::RowId;

/// The index of a namespace.
#[derive(Debug)]
pub struct Index {
    space: Space,
    metric: Metric,
    settings: IndexSettings,
    /// What a tenant's file would have, where the index has no originals in memory.
    file: HashMap<RowId, Vec<f32>>,
}

/// A checked question.
#[derive(Debug)]
pub struct Query(Vector);

/// What a search gave.
#[derive(Debug, Clone, PartialEq)]
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
        Self::of_rows((0..).zip(vectors.iter().map(Vec::as_slice)), metric, settings)
    }

    /// The same of numbered vectors.
    ///
    /// # Errors
    /// As for [`Index::of`].
    pub fn of_rows<'a>(
        rows: impl Iterator<Item = (u64, &'a [f32])>,
        metric: Metric,
        settings: IndexSettings,
    ) -> Result<Self> {
        settings.check()?;
        let mut rows = rows.peekable();
        let dimensions = rows.peek().map_or(384, |(_, vector)| vector.len());
        let mut space = Space::loading(metric, u32::try_from(dimensions).unwrap_or(u32::MAX), 0);
        for (row, vector) in rows {
            space.put(RowId(row), 0, GivenVector::new(vector)?.ready(metric)?.components());
        }
        space.loaded();
        if settings.wants_graph(space.len(), false) {
            space = space.freeze(&settings, &mut |_| true).ok_or_else(|| Error::invalid("vectors", "have no graph"))?;
        }
        Ok(Self { space, metric, settings, file: HashMap::new() })
    }

    /// What of it would be stored.
    #[must_use]
    pub fn stored(&self) -> Option<Vec<u8>> {
        segment::encode(&self.space)
    }

    /// An index of what was stored, over a file with these vectors.
    ///
    /// # Errors
    /// `Damaged` when it is not a segment of this metric and these dimensions.
    pub fn open(stored: &[u8], metric: Metric, vectors: &[Vec<f32>], settings: IndexSettings) -> Result<Self> {
        let dimensions = vectors.first().map_or(1, Vec::len);
        let (mut space, beside) = segment::decode(stored, metric, u32::try_from(dimensions).unwrap_or(u32::MAX), 0)?;
        let ready = |vector: &Vec<f32>| Ok::<_, Error>(GivenVector::new(vector)?.ready(metric)?.components().to_vec());
        let file = (0..).map(RowId).zip(vectors).map(|(row, vector)| Ok::<_, Error>((row, ready(vector)?)));
        let file = file.collect::<Result<HashMap<_, Vec<f32>>>>()?;
        for row in beside {
            if let Some(vector) = file.get(&row) {
                space.put(row, 0, vector);
            }
        }
        Ok(Self { space, metric, settings, file })
    }

    /// Puts a vector, or another one in its place.
    ///
    /// # Errors
    /// `InvalidInput` for a vector that a memory could not have.
    pub fn put(&mut self, row: u64, vector: &[f32]) -> Result<()> {
        self.space.put(RowId(row), 0, GivenVector::new(vector)?.ready(self.metric)?.components());
        Ok(())
    }

    /// Takes a vector out.
    pub fn remove(&mut self, row: u64) {
        self.space.remove(RowId(row));
    }

    /// Tags every row, so that searches can be narrowed to some tags.
    pub fn tag(&mut self, tag: impl Fn(u64) -> u32) {
        self.space.retag(|row| tag(row.0));
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

    /// Whether it should be made anew.
    #[must_use]
    pub fn is_outgrown(&self) -> bool {
        self.space.is_outgrown(&self.settings)
    }

    /// Nodes that no walk comes to.
    #[must_use]
    pub fn unreachable(&self) -> usize {
        self.space.unreachable()
    }

    /// The nearest rows.
    ///
    /// # Errors
    /// `Damaged` when an original is not there.
    pub fn search(&self, query: &Query, top: usize, effort: Effort) -> Result<Answer> {
        self.search_among(query, top, effort, Among::All)
    }

    /// The nearest rows with one of these tags.
    ///
    /// # Errors
    /// As for [`Index::search`].
    pub fn search_tagged(&self, query: &Query, top: usize, effort: Effort, tags: &[u32]) -> Result<Answer> {
        let tags: Bits = tags.iter().copied().collect();
        self.search_among(query, top, effort, Among::Tags(&tags))
    }

    fn search_among(&self, query: &Query, top: usize, effort: Effort, among: Among<'_>) -> Result<Answer> {
        let search = Search { query: &query.0, top, minimum: f32::NEG_INFINITY, effort, among };
        let mut found = Vec::with_capacity(top.min(1_000));
        let mut reader = |row, original: &mut Vec<f32>| {
            original.clear();
            original.extend(self.file.get(&row).ok_or(Reason::DamagedRecord("vector of an index"))?);
            Ok(())
        };
        let how = self.space.search(&search, &self.settings, &mut reader, &mut found)?;
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
