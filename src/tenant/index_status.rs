//! What is told of indexes.

use super::index::SharedSpace;
use super::namespace;
use super::open::Tenant;
use crate::access::gate::{Proof, Read};
use crate::error::Result;
use crate::id::Namespace;

/// How a namespace's vectors are searched, and what is being done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStatus {
    /// The namespace.
    pub namespace: Namespace,
    /// Whether it is the user's own.
    pub private: bool,
    /// How it is searched now.
    pub tier: IndexTier,
    /// Vectors in it, as of its last recall.
    pub vectors: u64,
    /// Vectors that came after its graph was built, and are searched beside it.
    pub beside_graph: u64,
    /// Vectors of the graph that are gone, and are passed over.
    pub gone_from_graph: u64,
    /// Memory that it takes, in bytes.
    pub bytes: u64,
    /// Whether original vectors are in memory too, not only their codes. Otherwise the few that decide are read from the
    /// file.
    pub originals_in_memory: bool,
    /// Whether nearly all of it is stored, so that opening it again needs no building.
    pub stored: bool,
    /// A graph that is being built: how many vectors are linked, and of how many.
    pub building: Option<(u64, u64)>,
}

/// How an index searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IndexTier {
    /// Not in memory: the next recall loads it.
    Unloaded,
    /// Every vector is looked at; answers are exact.
    Flat,
    /// Through a graph of near neighbours.
    Graph,
}

impl Tenant {
    /// The indexes of the namespaces that the user can see.
    pub(crate) fn index_status(&self, proof: &Proof<'_, Read>) -> Result<Vec<IndexStatus>> {
        let visible = self.database.read(|snapshot| namespace::visible(snapshot, proof))?;
        let status = visible.into_iter().map(|(name, found)| {
            let shared = self.known_space(found.vectors()).unwrap_or_default();
            describe(name, found.place.scope != 0, &shared)
        });
        Ok(status.collect())
    }
}

fn describe(namespace: Namespace, private: bool, shared: &SharedSpace) -> IndexStatus {
    let building = shared.progress.lock().map(|progress| (progress.done, progress.of));
    let guard = shared.space.read();
    let space = guard.as_ref().map(|index| &index.space);
    let (beside_graph, gone_from_graph) = space.map_or((0, 0), |space| space.beside_graph());
    IndexStatus {
        namespace,
        private,
        tier: space.map_or(IndexTier::Unloaded, |space| match space.has_graph() {
            true => IndexTier::Graph,
            false => IndexTier::Flat,
        }),
        vectors: space.map_or(0, |space| space.len() as u64),
        beside_graph: beside_graph as u64,
        gone_from_graph: gone_from_graph as u64,
        bytes: guard.as_ref().map_or(0, |index| index.bytes()),
        originals_in_memory: space.is_some_and(|space| space.has_originals()),
        stored: space.is_some_and(|space| space.is_stored()),
        building,
    }
}
