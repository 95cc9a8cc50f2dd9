//! The graph of near neighbours: `hnsw_rs` builds it, and what it built is copied into arrays.
//!
//! Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
//! World graphs", 2016. Only building is left to the crate: its graph is pointers between allocations, and half of
//! the time of its searches goes into following them.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hnsw_rs::prelude::{Distance, Hnsw};

use super::codes::Codes;
use super::settings::IndexSettings;

/// Fills places of links that are not taken.
pub(crate) const NONE: u32 = u32::MAX;
/// `hnsw_rs` has at most so many layers.
const LAYERS_MAX: usize = 16;

/// Layers of links between nodes. A node of a layer is in all layers below; nodes are numbered so that each layer has
/// the first so many, and the first of all is where every walk begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    /// Of each node on the lowest layer; twice as many as on the layers above.
    pub(super) links: Box<[u32]>,
    /// Links of a node on a layer above the lowest.
    pub(super) width: usize,
    /// From the second lowest up.
    pub(super) upper: Vec<Layer>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(super) links: Box<[u32]>,
}

/// A graph with the order that it wants for what it links.
pub(crate) struct Built {
    pub(crate) graph: Graph,
    /// Former places: those of the nodes in their order, then those whose vector a node has already.
    pub(crate) order: Vec<u32>,
    /// The nodes of the places after those of the nodes themselves. Their former places are in order of these.
    pub(crate) twins: Vec<u32>,
}

impl Graph {
    /// The same codes give the same graph. `watch` is told how many are linked and answers whether to go on.
    ///
    /// `None` when it was stopped or cannot be built, which no content is known to bring about.
    pub(crate) fn build(
        codes: &Arc<Codes>,
        settings: &IndexSettings,
        watch: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Built> {
        let (nodes, twins) = distinct(codes);
        // What panics in there has not touched anything of ours.
        let apart = Apart::new(codes);
        let drafted = catch_unwind(AssertUnwindSafe(|| Draft::build(&apart, &nodes, settings, watch)));
        let mut draft = drafted.ok().flatten()?;
        draft.link_unreachable(&apart, &nodes)?;
        let numbers = draft.numbers()?;
        let mut order: Vec<u32> = numbers.iter().filter_map(|node| nodes.get(*node as usize)).copied().collect();
        let mut new_numbers = vec![NONE; nodes.len()];
        for (new, old) in (0..).zip(&numbers) {
            *new_numbers.get_mut(*old as usize)? = new;
        }
        let mut twins: Vec<(u32, u32)> =
            twins.iter().filter_map(|(place, node)| Some((*new_numbers.get(*node as usize)?, *place))).collect();
        twins.sort_unstable();
        order.extend(twins.iter().map(|(_, place)| place));
        let graph = draft.into_graph(&numbers, &new_numbers)?;
        Some(Built { graph, order, twins: twins.into_iter().map(|(node, _)| node).collect() })
    }

    pub(crate) fn nodes(&self) -> usize {
        self.links.len() / (2 * self.width).max(1)
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * (self.links.len() + self.upper.iter().map(|layer| layer.links.len()).sum::<usize>())
    }

    /// Links of a node on the lowest layer.
    #[inline]
    pub(super) fn neighbours(&self, node: u32) -> &[u32] {
        row(&self.links, 2 * self.width, node)
    }

    /// Nodes that no walk can come to.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn unreachable(&self) -> usize {
        let mut seen = vec![false; self.nodes()];
        let mut open = vec![0_u32];
        while let Some(node) = open.pop() {
            let Some(seen) = seen.get_mut(node as usize).filter(|seen| !**seen) else { continue };
            *seen = true;
            open.extend(self.neighbours(node));
        }
        seen.iter().filter(|seen| !**seen).count()
    }

    /// Whether every link leads to a node of its layer.
    pub(crate) fn is_sound(&self) -> bool {
        let width = self.width;
        let sound = |links: &[u32], width: usize| {
            let nodes = links.len() / width;
            links.len().is_multiple_of(width) && links.iter().all(|link| *link == NONE || (*link as usize) < nodes)
        };
        let mut below = self.nodes();
        width > 0
            && sound(&self.links, 2 * width)
            && self.upper.iter().all(|layer| {
                let nodes = layer.links.len() / width;
                let fits = (1..=below).contains(&nodes) && sound(&layer.links, width);
                below = nodes;
                fits
            })
    }
}

impl Layer {
    #[inline]
    pub(super) fn neighbours(&self, node: u32, width: usize) -> &[u32] {
        row(&self.links, width, node)
    }
}

/// The links of a node, without the empty places after them.
#[inline]
fn row(links: &[u32], width: usize, node: u32) -> &[u32] {
    let start = node as usize * width;
    let row = links.get(start..start + width).unwrap_or_default();
    let taken = row.iter().position(|link| *link == NONE).unwrap_or(row.len());
    row.get(..taken).unwrap_or_default()
}

/// Places that all differ, and for each of the others which of those it equals. Copies of one vector would link to
/// each other and to nothing else.
fn distinct(codes: &Codes) -> (Vec<u32>, Vec<(u32, u32)>) {
    let (mut nodes, mut twins) = (Vec::new(), Vec::new());
    let mut known = HashMap::new();
    for place in (0..).take(codes.len()) {
        let next = u32::try_from(nodes.len()).unwrap_or(NONE);
        let node = *known.entry(codes.identity(place)).or_insert(next);
        if node == next { nodes.push(place) } else { twins.push((place, node)) }
    }
    (nodes, twins)
}

/// How far apart coded vectors are, by place.
#[derive(Clone)]
struct Apart {
    codes: Arc<Codes>,
    /// Under dot each vector has one coordinate more, which makes all of them equally long: then the nearest are those
    /// of the greatest product (Bachrach et al., "Speeding up the Xbox recommender system", 2014).
    lifts: Arc<[f32]>,
}

impl Apart {
    fn new(codes: &Arc<Codes>) -> Self {
        Self { codes: codes.clone(), lifts: codes.lifts().into() }
    }

    fn between(&self, a: u32, b: u32) -> f32 {
        let lifts = self.lifts.get(a as usize).zip(self.lifts.get(b as usize));
        let lift = lifts.map_or(0.0, |(a, b)| a - b);
        self.codes.apart(a, b) + lift * lift
    }
}

impl Distance<u32> for Apart {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        self.between(a.first().copied().unwrap_or_default(), b.first().copied().unwrap_or_default())
    }
}

/// What `hnsw_rs` built, by its numbers.
struct Draft {
    width: usize,
    /// The layers of each node, lowest first, and its links on each.
    nodes: Vec<Vec<Vec<u32>>>,
}

impl Draft {
    fn build(
        apart: &Apart,
        nodes: &[u32],
        settings: &IndexSettings,
        watch: &mut dyn FnMut(usize) -> bool,
    ) -> Option<Self> {
        let width = settings.links as usize;
        let graph = Hnsw::new(width, nodes.len(), LAYERS_MAX, settings.ef_construction as usize, apart.clone());
        // In an order that has nothing to do with the content: near vectors that come one after the other make a poor
        // graph.
        for (done, node) in shuffled(nodes.len()).into_iter().enumerate() {
            if !watch(done) {
                return None;
            }
            graph.insert((&[*nodes.get(node as usize)?], node as usize));
        }
        let mut levels = vec![0; nodes.len()];
        let mut found = vec![Vec::new(); nodes.len()];
        for point in graph.get_point_indexation() {
            let node = point.get_origin_id();
            *levels.get_mut(node)? = usize::from(point.get_point_id().0);
            *found.get_mut(node)? = point.get_neighborhood_id();
        }
        let links = |(node, neighbours): (usize, &Vec<Vec<hnsw_rs::prelude::Neighbour>>)| {
            let level = levels.get(node).copied().unwrap_or_default();
            let layers = (0..=level).map(|layer| {
                let wanted = if layer == 0 { 2 * width } else { width };
                let neighbours = neighbours.get(layer).map(Vec::as_slice).unwrap_or_default().iter();
                // It lists links to nodes that are not on the layer.
                let neighbours = neighbours.map(|neighbour| neighbour.d_id);
                let on_layer = neighbours.filter(|other| levels.get(*other).is_some_and(|level| *level >= layer));
                on_layer.filter_map(|other| u32::try_from(other).ok()).take(wanted).collect()
            });
            layers.collect()
        };
        Some(Self { width, nodes: found.iter().enumerate().map(links).collect() })
    }

    /// The first of those that are on most layers. Ours to choose: the crate keeps its own to itself.
    fn entry(&self) -> Option<u32> {
        let entry = (0..).zip(&self.nodes).max_by_key(|(number, layers)| (layers.len(), std::cmp::Reverse(*number)));
        entry.map(|(number, _)| number)
    }

    fn base(&self, node: u32) -> &[u32] {
        self.nodes.get(node as usize).and_then(|layers| layers.first()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Everything on the lowest layer that a walk from there comes to and has not been seen, nearest by links first.
    fn reach(&self, from: u32, seen: &mut [bool]) -> Vec<u32> {
        let (mut open, mut reached) = (VecDeque::from([from]), Vec::new());
        while let Some(node) = open.pop_front() {
            let Some(seen) = seen.get_mut(node as usize).filter(|seen| !**seen) else { continue };
            *seen = true;
            reached.push(node);
            open.extend(self.base(node));
        }
        reached
    }

    /// Links whatever no walk comes to, each from the nearest that has a place for one more link.
    fn link_unreachable(&mut self, apart: &Apart, places: &[u32]) -> Option<()> {
        let mut seen = vec![false; self.nodes.len()];
        self.reach(self.entry()?, &mut seen);
        for node in (0..).take(self.nodes.len()) {
            if seen.get(node as usize).copied()? {
                continue;
            }
            let place = *places.get(node as usize)?;
            let open = (0..).zip(&seen).filter(|(other, seen)| **seen && self.base(*other).len() < 2 * self.width);
            let near = open.filter_map(|(other, _)| Some((apart.between(place, *places.get(other as usize)?), other)));
            let (_, near) = near.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
            self.nodes.get_mut(near as usize)?.first_mut()?.push(node);
            self.reach(node, &mut seen);
        }
        Some(())
    }

    /// Nodes in the order of the graph: those of most layers first, and near to each other what is linked.
    fn numbers(&self) -> Option<Vec<u32>> {
        let mut numbers = self.reach(self.entry()?, &mut vec![false; self.nodes.len()]);
        // Stable, and the first that was reached is one of those with most layers.
        numbers.sort_by_key(|node| std::cmp::Reverse(self.nodes.get(*node as usize).map_or(0, Vec::len)));
        (numbers.len() == self.nodes.len()).then_some(numbers)
    }

    fn into_graph(self, numbers: &[u32], new_numbers: &[u32]) -> Option<Graph> {
        let layers = self.nodes.iter().map(Vec::len).max()?;
        let mut layers = (0..layers).map(|layer| {
            let width = if layer == 0 { 2 * self.width } else { self.width };
            let nodes = numbers.iter().map_while(|node| self.nodes.get(*node as usize)?.get(layer));
            let mut links = Vec::new();
            for (number, neighbours) in nodes.enumerate() {
                links.extend(neighbours.iter().filter_map(|node| new_numbers.get(*node as usize)));
                links.resize((number + 1) * width, NONE);
            }
            links.into_boxed_slice()
        });
        let links = layers.next()?;
        let upper = layers.map(|links| Layer { links }).collect();
        Some(Graph { links, width: self.width, upper }).filter(Graph::is_sound)
    }
}

/// All numbers below `count` in an order that is always the same (Fisher and Yates, with splitmix64).
fn shuffled(count: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..).take(count).collect();
    let mut state = 0x57a7_e517_u64;
    for last in (1..count).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = state;
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let other = (random ^ (random >> 31)) % (last as u64 + 1);
        numbers.swap(last, usize::try_from(other).unwrap_or(last));
    }
    numbers
}
