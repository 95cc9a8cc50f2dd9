//! The approximate tier: vectors that stand still, with a graph over them. What comes and goes later is beside it.

use std::sync::Arc;

use super::bits::Bits;
use super::codes::Codes;
use super::effort::Effort;
use super::flat::Flat;
use super::graph::{Built, Graph};
use super::metric::Metric;
use super::originals::{Originals, Rerank};
use super::search::{Among, How, Reader, Scratch, Search};
use super::settings::IndexSettings;
use super::sieve::Bounded;
use crate::error::Result;
use crate::id::RowId;

/// Vectors of one namespace as of some time, and which of them are gone since.
#[derive(Debug)]
pub(crate) struct Frozen {
    metric: Metric,
    /// Nodes of the graph come first, in its order; then those whose vector a node has.
    rows: Vec<RowId>,
    tags: Vec<u32>,
    codes: Codes,
    originals: Originals,
    graph: Graph,
    /// The nodes of the places after those of the nodes, in order.
    twins: Vec<u32>,
    /// Places in the order of their rows.
    by_row: Vec<u32>,
    dead: Bits,
    dead_count: usize,
    /// How many times as many candidates a search keeps as under other metrics.
    widening: usize,
}

/// A scan of so many wanted vectors is as fast as a walk, if their square is below this times the number of all:
/// the fewer are wanted, the farther a walk has to go. Measured on 50,000 (docs/BENCHMARKS.md).
const SCAN_SQUARE: usize = 150;
/// Of vectors of uneven lengths under dot, so many times as many candidates find as much (tests/recall_quality.rs).
const UNEVEN_WIDENING: usize = 4;
/// A walk among few wanted vectors gives up after this part of all: scanning them is faster then.
const WALK_PART: usize = 8;

impl Frozen {
    /// Links vectors of which all codes are known. `watch` is told how many are linked and answers whether to go on.
    pub(super) fn build(
        metric: Metric,
        dimensions: usize,
        flat: Flat,
        settings: &IndexSettings,
        watch: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Self> {
        let (rows, codes, originals) = flat.into_parts();
        let codes = Arc::new(codes?);
        let Built { graph, order, twins } = Graph::build(&codes, settings, watch)?;
        let codes = codes.ordered(&order);
        let originals = match originals {
            Originals::Resident(values) => Originals::Resident(ordered_vectors(&values, dimensions, &order)),
            Originals::Stored => Originals::Stored,
        };
        let rows = order.iter().filter_map(|place| rows.get(*place as usize)).copied().collect();
        Self::new(metric, rows, codes, originals, graph, twins)
    }

    /// `None` when the parts do not fit together.
    pub(super) fn new(
        metric: Metric,
        rows: Vec<RowId>,
        codes: Codes,
        originals: Originals,
        graph: Graph,
        twins: Vec<u32>,
    ) -> Option<Self> {
        let nodes = graph.nodes();
        let fits = nodes > 0
            && nodes + twins.len() == rows.len()
            && codes.len() == rows.len()
            && twins.is_sorted()
            && twins.last().is_none_or(|node| (*node as usize) < nodes);
        let mut by_row: Vec<u32> = (0..u32::try_from(rows.len()).ok()?).collect();
        let row_of = |place: &u32| rows.get(*place as usize).copied().unwrap_or(RowId(u64::MAX));
        by_row.sort_unstable_by_key(row_of);
        let is_unique = by_row.windows(2).all(|pair| matches!(pair, [a, b] if row_of(a) < row_of(b)));
        let tags = vec![0; rows.len()];
        let (dead, dead_count) = (Bits::default(), 0);
        let widening = if codes.are_uneven() { UNEVEN_WIDENING } else { 1 };
        let frozen = Self { metric, rows, tags, codes, originals, graph, twins, by_row, dead, dead_count, widening };
        (fits && is_unique).then_some(frozen)
    }

    /// What is stored of it.
    pub(super) fn parts(&self) -> (&[RowId], &Codes, &Graph, &[u32]) {
        (&self.rows, &self.codes, &self.graph, &self.twins)
    }

    /// Vectors that are not gone.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.dead_count
    }

    /// Places whose rows are gone.
    pub(super) fn dead(&self) -> &Bits {
        &self.dead
    }

    pub(super) fn dead_count(&self) -> usize {
        self.dead_count
    }

    pub(super) fn has_originals(&self) -> bool {
        matches!(self.originals, Originals::Resident(_))
    }

    #[cfg(any(test, feature = "internals"))]
    pub(super) fn unreachable(&self) -> usize {
        self.graph.unreachable()
    }

    pub(super) fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// Keeps originals in memory, one after the other in the order of [`Frozen::rows`].
    pub(super) fn keep_originals(&mut self, originals: Vec<f32>) {
        self.originals = Originals::Resident(originals);
    }

    pub(super) fn bytes(&self) -> u64 {
        let marks = self.rows.capacity() * 8
            + (self.tags.capacity() + self.by_row.capacity() + self.twins.capacity()) * 4
            + self.dead.bytes();
        (marks + self.codes.bytes() + self.originals.bytes() + self.graph.bytes()) as u64
    }

    /// What the graph takes besides codes and originals, and what building it takes meanwhile: at most about 160 bytes
    /// for each link, of which the crate that builds keeps more than we do.
    pub(crate) fn building_bytes(rows: u64, settings: &IndexSettings) -> u64 {
        let links = u64::from(settings.links);
        rows.saturating_mul(links * 9 + 24).saturating_add(rows.saturating_mul(links * 160))
    }

    fn place(&self, row: RowId) -> Option<u32> {
        let row_of = |place: &u32| self.rows.get(*place as usize).copied().unwrap_or(RowId(u64::MAX));
        self.by_row.binary_search_by_key(&row, row_of).ok().and_then(|at| self.by_row.get(at)).copied()
    }

    /// The row is gone, or has another vector now.
    pub(super) fn remove(&mut self, row: RowId) {
        if let Some(place) = self.place(row) {
            let _ = self.remove_at(place);
        }
    }

    /// `None` where nothing is.
    pub(super) fn remove_at(&mut self, place: u32) -> Option<()> {
        self.rows.get(place as usize)?;
        self.dead_count += usize::from(self.dead.insert(place));
        Some(())
    }

    /// Tags every row anew.
    pub(super) fn retag(&mut self, tag: impl Fn(RowId) -> u32) {
        self.tags.iter_mut().zip(&self.rows).for_each(|(slot, row)| *slot = tag(*row));
    }

    /// Adds the nearest rows to those that the scratch has already.
    pub(super) fn search(
        &self,
        search: &Search<'_>,
        settings: &IndexSettings,
        scratch: &mut Scratch,
        reader: &mut Reader<'_>,
    ) -> Result<How> {
        if search.top == 0 {
            return Ok(How { exact: true, read: 0 });
        }
        self.codes.ask(search.query.components(), &mut scratch.question);
        let breadth = match search.effort {
            Effort::Exact => return self.scan(search, scratch, reader),
            Effort::Balanced => breadth_for(settings.ef_search as usize, self.rows.len()).saturating_mul(self.widening),
            Effort::Breadth(breadth) => breadth as usize,
        };
        let mut breadth = breadth.max(search.top.saturating_add(search.top / 2));
        let is_live = |place: u32| !self.dead.contains(place);
        let all = self.rows.len();
        // Among few a walk would go farther than a scan.
        let is_for_walking = match search.among {
            Among::All => true,
            Among::Rows(_) => false,
            Among::Tags(wanted) => wanted.count().saturating_pow(2) > all.saturating_mul(SCAN_SQUARE),
        };
        if !is_for_walking {
            return self.scan(search, scratch, reader);
        }
        let mut read = 0;
        loop {
            let ended = match search.among {
                Among::Rows(_) => false,
                Among::All => self.walk(scratch, breadth, all, search.top, is_live),
                Among::Tags(wanted) => {
                    let is_wanted = |place: u32| {
                        is_live(place) && self.tags.get(place as usize).is_some_and(|tag| wanted.contains(*tag))
                    };
                    self.walk(scratch, breadth, all / WALK_PART, search.top, is_wanted)
                }
            };
            // A walk that found too few may have been led away from the rest.
            if !ended || scratch.bounded.len() < search.top.min(self.len()) {
                return self.scan(search, scratch, reader);
            }
            let Scratch { question, bounded, original, nearest, .. } = scratch;
            let found = bounded.len();
            let read_now = self.rerank().run(search, question, bounded, original, reader, nearest)?;
            read += read_now;
            // Where all that was kept had to be read, codes do not tell these vectors apart: others may be as near.
            let is_open = read_now == found && found >= breadth && search.effort == Effort::Balanced;
            if !is_open {
                return Ok(How { exact: false, read });
            }
            if breadth > all / WALK_PART {
                scratch.nearest.begin(search.top);
                return self.scan(search, scratch, reader);
            }
            breadth = breadth.saturating_mul(2);
            nearest.begin(search.top);
        }
    }

    /// Leaves candidates in the scratch, by their bounds. Gives whether the walk ended by itself.
    fn walk(
        &self,
        scratch: &mut Scratch,
        breadth: usize,
        most: usize,
        top: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> bool {
        let Scratch { question, walk, bounded, .. } = scratch;
        let nodes = self.graph.nodes();
        // A node counts for those that have its vector too.
        let any = |node| wanted(node) || self.twins_of(node, nodes).any(&wanted);
        let ended = match self.twins.is_empty() {
            true => walk.run(&self.graph, &self.codes, question, breadth, most, &wanted),
            false => walk.run(&self.graph, &self.codes, question, breadth, most, any),
        };
        bounded.clear();
        for (node, about) in &walk.found {
            // They have the same codes and are in the order of their rows: more of them than are asked for cannot be
            // nearer than these.
            let places = std::iter::once(*node).chain(self.twins_of(*node, nodes));
            let places = places.filter(|place| wanted(*place)).take(top);
            bounded.extend(places.map(|place| self.codes.bounded(question, place, *about)));
        }
        bounded.sort_unstable_by(Bounded::order);
        ended
    }

    fn twins_of(&self, node: u32, nodes: usize) -> impl Iterator<Item = u32> {
        let first = if self.twins.is_empty() { 0 } else { self.twins.partition_point(|twin| *twin < node) };
        let twins = self.twins.get(first..).unwrap_or_default().iter().take_while(move |twin| **twin == node);
        // There are fewer than 2^32 places.
        twins.zip(first + nodes..).filter_map(|(_, place)| u32::try_from(place).ok())
    }

    /// Looks at all that are wanted.
    fn scan(&self, search: &Search<'_>, scratch: &mut Scratch, reader: &mut Reader<'_>) -> Result<How> {
        let Scratch { question, sieve, places, original, nearest, .. } = scratch;
        let minimum = nearest.bar().map_or(search.minimum, |bar| bar.max(search.minimum));
        places.clear();
        let is_live = |place: &u32| !self.dead.contains(*place);
        let all = (0..).zip(&self.tags);
        match search.among {
            Among::All if self.dead_count == 0 => {}
            Among::All => places.extend(all.map(|(place, _)| place).filter(is_live)),
            Among::Rows(rows) => places.extend(rows.iter().filter_map(|row| self.place(*row)).filter(is_live)),
            Among::Tags(wanted) => {
                places.extend(all.filter(|(_, tag)| wanted.contains(**tag)).map(|(place, _)| place).filter(is_live));
            }
        }
        let candidates = match search.among {
            Among::All if self.dead_count == 0 => self.codes.candidates(question, search.top, minimum, sieve),
            _ => self.codes.candidates_at(question, places, search.top, minimum, sieve),
        };
        let read = self.rerank().run(search, question, candidates, original, reader, nearest)?;
        Ok(How { exact: true, read })
    }

    fn rerank(&self) -> Rerank<'_> {
        Rerank { metric: self.metric, rows: &self.rows, originals: &self.originals }
    }
}

/// What finds as much among so many vectors as `ef_search` does among 50,000: three quarters more for each doubling
/// (docs/BENCHMARKS.md).
fn breadth_for(ef_search: usize, rows: usize) -> usize {
    let doublings = (0..24).take_while(|doubling| rows > 50_000 << doubling).count();
    ef_search + ef_search * 3 / 4 * doublings
}

fn ordered_vectors(values: &[f32], dimensions: usize, order: &[u32]) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(values.len());
    for place in order {
        let start = *place as usize * dimensions;
        ordered.extend_from_slice(values.get(start..start + dimensions).unwrap_or_default());
    }
    ordered
}
