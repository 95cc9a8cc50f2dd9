//! An index as bytes: what is stored in the tenant's file and loaded when it opens.
//!
//! All numbers are little-endian. See "Segments" in docs/DESIGN.md for the layout. Nothing that is read is trusted: a
//! segment whose parts do not fit together is no segment, and memory is taken as bytes arrive, not as counts promise.

use super::codes::Codes;
use super::flat::Flat;
use super::frozen::Frozen;
use super::graph::{Graph, Layer};
use super::metric::Metric;
use super::originals::Originals;
use super::space::{Space, Tier};
use crate::error::{Error, Reason, Result};
use crate::id::RowId;
use crate::limits::{GRAPH_LINKS_MAX, VECTOR_DIMENSIONS_MAX};

/// Stands at the beginning; another one is another layout.
const FORMAT: [u8; 4] = *b"WTS1";
/// `hnsw_rs` has at most 16 layers.
const LAYERS_MAX: usize = 15;

/// Few vectors have no codes, and no segment either.
pub(crate) fn encode(space: &Space) -> Option<Vec<u8>> {
    let (rows, codes, graph) = match space.tier() {
        Tier::Flat(flat) => {
            let (rows, codes) = flat.parts()?;
            (rows, codes, None)
        }
        Tier::Graph { frozen, delta } => {
            let (rows, codes, graph, twins) = frozen.parts();
            (rows, codes, Some((graph, twins, frozen.dead(), delta.rows())))
        }
    };
    let mut bytes = Vec::with_capacity(codes.stored_bytes() + rows.len() * 8 + 64);
    bytes.extend(FORMAT);
    bytes.push(metric_code(space.metric()));
    bytes.extend(space.dimensions().to_le_bytes());
    bytes.extend(u32::try_from(rows.len()).ok()?.to_le_bytes());
    let (width, nodes, upper) = match graph {
        Some((graph, ..)) => (graph.width, graph.nodes(), graph.upper.as_slice()),
        None => (0, 0, &[][..]),
    };
    bytes.push(u8::try_from(width).ok()?);
    bytes.extend(u32::try_from(nodes).ok()?.to_le_bytes());
    bytes.push(u8::try_from(upper.len()).ok()?);
    for layer in upper {
        bytes.extend(u32::try_from(layer.links.len() / width).ok()?.to_le_bytes());
    }
    rows.iter().for_each(|row| bytes.extend(row.0.to_le_bytes()));
    codes.write(&mut bytes);
    if let Some((graph, twins, dead, beside)) = graph {
        let links = graph.links.iter().chain(upper.iter().flat_map(|layer| layer.links.iter())).chain(twins);
        links.for_each(|link| bytes.extend(link.to_le_bytes()));
        bytes.extend(u32::try_from(dead.count()).ok()?.to_le_bytes());
        dead.iter().for_each(|place| bytes.extend(place.to_le_bytes()));
        bytes.extend(u32::try_from(beside.len()).ok()?.to_le_bytes());
        beside.iter().for_each(|row| bytes.extend(row.0.to_le_bytes()));
    }
    Some(bytes)
}

/// The space of a segment that stands for the file as of `through`, and rows that are still to be put into it from
/// there. Originals stay in the file.
///
/// # Errors
/// `Damaged` when it is not a segment of this metric and these dimensions.
pub(crate) fn decode(bytes: &[u8], metric: Metric, dimensions: u32, through: u64) -> Result<(Space, Vec<RowId>)> {
    let damaged = || Error::from(Reason::DamagedRecord("index segment"));
    read(bytes, metric, dimensions, through).ok_or_else(damaged)
}

fn read(bytes: &[u8], metric: Metric, dimensions: u32, through: u64) -> Option<(Space, Vec<RowId>)> {
    let mut bytes = Bytes(bytes);
    let fits =
        bytes.array()? == FORMAT && bytes.array()? == [metric_code(metric)] && bytes.count()? == dimensions as usize;
    if !fits || !(1..=VECTOR_DIMENSIONS_MAX).contains(&(dimensions as usize)) {
        return None;
    }
    let count = bytes.count()?;
    let [width] = bytes.array()?;
    let (width, nodes) = (usize::from(width), bytes.count()?);
    let [layers] = bytes.array()?;
    let layers = (0..layers).map(|_| bytes.count()).collect::<Option<Vec<usize>>>()?;
    let rows = bytes.rows(count)?;
    let codes = Codes::read(metric, dimensions as usize, count, &mut bytes)?;
    if width == 0 {
        let is_unique = {
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            sorted.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
        };
        let fits = is_unique && nodes == 0 && layers.is_empty() && bytes.0.is_empty();
        let flat = Tier::Flat(Flat::from_parts(metric, dimensions, rows, codes));
        return fits.then(|| (Space::new(metric, dimensions, through, flat), Vec::new()));
    }
    if width > GRAPH_LINKS_MAX as usize || layers.len() > LAYERS_MAX {
        return None;
    }
    let links = bytes.numbers(nodes.checked_mul(2 * width)?)?;
    let upper = layers.into_iter().map(|nodes| Some(Layer { links: bytes.numbers(nodes.checked_mul(width)?)? }));
    let upper = upper.collect::<Option<Vec<_>>>()?;
    let graph = Graph { links, width, upper };
    let twins = bytes.numbers(count.checked_sub(nodes)?)?.into_vec();
    let dead = bytes.count()?;
    let dead = bytes.numbers(dead)?;
    let beside = bytes.count()?;
    let beside = bytes.rows(beside)?;
    if !graph.is_sound() || !bytes.0.is_empty() {
        return None;
    }
    let mut frozen = Frozen::new(metric, rows, codes, Originals::Stored, graph, twins)?;
    dead.iter().try_for_each(|place| frozen.remove_at(*place))?;
    Some((Space::with_graph(metric, dimensions, through, frozen), beside))
}

fn metric_code(metric: Metric) -> u8 {
    match metric {
        Metric::Cosine => 0,
        Metric::Dot => 1,
        Metric::L2 => 2,
    }
}

/// What is left to read.
pub(crate) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok()
    }

    /// So many items of a size, if they are there.
    pub(super) fn take(&mut self, count: usize, size: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count.checked_mul(size)?)?;
        self.0 = rest;
        Some(taken)
    }

    fn rows(&mut self, count: usize) -> Option<Vec<RowId>> {
        Some(self.take(count, 8)?.as_chunks().0.iter().map(|row| RowId(u64::from_le_bytes(*row))).collect())
    }

    fn numbers(&mut self, count: usize) -> Option<Box<[u32]>> {
        Some(self.take(count, 4)?.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::effort::Effort;
    use crate::index::search::{Among, Search};
    use crate::index::settings::IndexSettings;
    use crate::index::vector::GivenVector;

    const DIMENSIONS: u32 = 3;

    fn vector(n: u64) -> Vec<f32> {
        let n = n as f32;
        vec![(n * 0.7).sin(), (n * 1.3).cos(), (n * 0.11).sin() + 0.01]
    }

    /// 400 vectors, the last 40 of them copies of the first.
    fn space(graph: bool) -> Space {
        let mut space = Space::loading(Metric::Dot, DIMENSIONS, 7);
        for row in 0..400 {
            space.put(RowId(row), 0, &vector(row % 360));
        }
        space.loaded();
        if graph {
            space = space.freeze(&IndexSettings::new(), &mut |_| true).unwrap();
        }
        (0..20).for_each(|row| space.remove(RowId(row)));
        (390..410).for_each(|row| space.put(RowId(row), 0, &vector(row)));
        space
    }

    fn answers(space: &Space) -> Vec<Vec<(u64, u32)>> {
        let mut all = Vec::new();
        for (query, effort) in (0..30).flat_map(|query| [(query, Effort::Balanced), (query, Effort::Exact)]) {
            let query = GivenVector::new(&vector(1_000 + query)).unwrap().ready(Metric::Dot).unwrap();
            let search = Search { query: &query, top: 7, minimum: -9.0, effort, among: Among::All };
            let mut found = Vec::new();
            let mut reader = |row: RowId, original: &mut Vec<f32>| {
                *original = vector(if row.0 < 390 { row.0 % 360 } else { row.0 });
                Ok(())
            };
            space.search(&search, &IndexSettings::new(), &mut reader, &mut found).unwrap();
            all.push(found.iter().map(|candidate| (candidate.row.0, candidate.score.to_bits())).collect());
        }
        all
    }

    #[test]
    fn a_stored_index_answers_as_the_one_that_was_stored() {
        for graph in [false, true] {
            let space = space(graph);
            let bytes = encode(&space).unwrap();
            let (mut opened, beside) = decode(&bytes, Metric::Dot, DIMENSIONS, 7).unwrap();
            assert_eq!(beside.len(), if graph { 20 } else { 0 });
            beside.into_iter().for_each(|row| opened.put(row, 0, &vector(row.0)));
            assert_eq!((opened.len(), opened.through(), opened.has_graph()), (space.len(), 7, graph));
            assert!(!opened.has_originals());
            assert_eq!(answers(&opened), answers(&space));
            assert_eq!(encode(&opened).unwrap(), bytes);
        }
    }

    #[test]
    fn what_does_not_fit_is_no_segment() {
        let bytes = encode(&space(true)).unwrap();
        assert!(decode(&bytes, Metric::Cosine, DIMENSIONS, 7).is_err());
        assert!(decode(&bytes, Metric::Dot, DIMENSIONS + 1, 7).is_err());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], Metric::Dot, DIMENSIONS, 7).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode(&longer, Metric::Dot, DIMENSIONS, 7).is_err());
    }

    /// The fuzz target `segment_open` goes on with this for longer.
    #[test]
    fn hostile_bytes_make_no_panic() {
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut opened = 0;
        for graph in [false, true] {
            let bytes = encode(&space(graph)).unwrap();
            for _ in 0..1_500 {
                let mut bytes = bytes.clone();
                for _ in 0..=random(3) {
                    let at = if random(2) == 0 { random(40) } else { random(bytes.len()) };
                    bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0xfe][random(6)];
                }
                if let Ok((mut space, beside)) = decode(&bytes, Metric::Dot, DIMENSIONS, 7) {
                    opened += 1;
                    beside.into_iter().for_each(|row| space.put(row, 0, &[1.0, 2.0, 3.0]));
                    (0..50).for_each(|row| space.remove(RowId(row)));
                    answers(&space);
                    assert!(space.unreachable() <= 400);
                }
            }
        }
        assert!(opened > 100, "{opened}");
    }

    #[test]
    fn counts_that_promise_too_much_take_no_memory() {
        let bytes = encode(&space(true)).unwrap();
        // Where the counts of the header stand.
        for at in [9, 14, 19] {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            assert!(decode(&bytes, Metric::Dot, DIMENSIONS, 7).is_err());
        }
    }
}
