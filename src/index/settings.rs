//! How indexes are built.

use crate::error::{Error, Result};
use crate::limits::{EF_CONSTRUCTION_MAX, EF_SEARCH_MAX, GRAPH_LINKS_MAX, GRAPH_LINKS_MIN, GRAPH_ROWS_MIN};

/// How the indexes of an engine are built. The defaults are measured (docs/BENCHMARKS.md) and serve content of any size;
/// none of these changes what a recall under [`Effort::Exact`](crate::Effort::Exact) answers.
///
/// ```
/// use watertight::IndexSettings;
///
/// let settings = IndexSettings::new().graph_from(5_000).links(24).ef_construction(300).ef_search(120);
/// # let _ = settings;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSettings {
    pub(super) graph_from: u32,
    pub(super) links: u32,
    pub(super) ef_construction: u32,
    pub(super) ef_search: u32,
}

impl IndexSettings {
    /// Graphs from 20,000 vectors, 16 links, an ef_construction of 200 and an ef_search of 64.
    #[must_use]
    pub fn new() -> Self {
        Self { graph_from: 20_000, links: 16, ef_construction: 200, ef_search: 64 }
    }

    /// A namespace of so many vectors or more is searched through a graph, and through codes of all vectors again
    /// when fewer than half as many are left; at least 256. 20,000 by default, about where the graph gets faster by so
    /// much that building it pays.
    #[must_use]
    pub fn graph_from(mut self, vectors: u32) -> Self {
        self.graph_from = vectors;
        self
    }

    /// Links of each node (M), twice as many on the lowest layer: 4 to 64, 16 by default. More find more where
    /// vectors have many dimensions, and take more memory and time to build.
    #[must_use]
    pub fn links(mut self, links: u32) -> Self {
        self.links = links;
        self
    }

    /// Candidates that are weighed when a node is linked (ef_construction): as many as links at least, 1,000 at most,
    /// 200 by default.
    #[must_use]
    pub fn ef_construction(mut self, candidates: u32) -> Self {
        self.ef_construction = candidates;
        self
    }

    /// Candidates that are kept in a search under [`Effort::Balanced`](crate::Effort::Balanced) (ef_search): 1 to
    /// 10,000, 64 by default. It is meant for up to 50,000 vectors; three quarters more are kept for each doubling beyond.
    /// A search keeps half as many more as the hits it is asked for in any case.
    #[must_use]
    pub fn ef_search(mut self, candidates: u32) -> Self {
        self.ef_search = candidates;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.graph_from < GRAPH_ROWS_MIN {
            return Err(Error::invalid("graph threshold", "must be at least 256 vectors"));
        }
        if !(GRAPH_LINKS_MIN..=GRAPH_LINKS_MAX).contains(&self.links) {
            return Err(Error::invalid("graph links", "must be 4 to 64"));
        }
        if !(self.links..=EF_CONSTRUCTION_MAX).contains(&self.ef_construction) {
            return Err(Error::invalid("ef_construction", "must be from the number of links to 1,000"));
        }
        if !(1..=EF_SEARCH_MAX).contains(&self.ef_search) {
            return Err(Error::invalid("ef_search", "must be 1 to 10,000"));
        }
        Ok(())
    }

    /// Whether so many vectors are searched through a graph, if they have one or not so far.
    pub(crate) fn wants_graph(&self, vectors: usize, has_graph: bool) -> bool {
        let from = self.graph_from as usize;
        vectors >= if has_graph { from / 2 } else { from }
    }
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self::new()
    }
}
