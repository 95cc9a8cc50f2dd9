//! The exact tier: every vector is looked at, most of them through their codes only. No build, no surprises.

use std::collections::HashMap;

use super::codes::Codes;
use super::metric::Metric;
use super::nearest::Candidate;
use super::originals::{Originals, Rerank};
use super::search::{Among, Reader, Scratch, Search};
use crate::error::Result;
use crate::id::RowId;

/// Below so many rows a scan of the originals is as fast as codes with what surrounds them.
pub(crate) const CODED_FROM: usize = 256;

/// Vectors of one namespace, all of one dimension and ready for one metric.
#[derive(Debug)]
pub(crate) struct Flat {
    metric: Metric,
    dimensions: usize,
    originals: Originals,
    codes: Option<Codes>,
    /// Vectors put since the codes were made, and how many make new ones: their centre moves with the content.
    puts: usize,
    puts_max: usize,
    rows: Vec<RowId>,
    tags: Vec<u32>,
    places: HashMap<RowId, usize>,
}

impl Flat {
    pub(crate) fn new(metric: Metric, dimensions: u32) -> Self {
        let dimensions = usize::try_from(dimensions).unwrap_or(usize::MAX).max(1);
        Self {
            metric,
            dimensions,
            originals: Originals::Resident(Vec::new()),
            codes: None,
            puts: 0,
            puts_max: 0,
            rows: Vec::new(),
            tags: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Vectors whose codes are known, as [`Flat::parts`] gave them. Their originals stay in the file.
    pub(crate) fn from_parts(metric: Metric, dimensions: u32, rows: Vec<RowId>, codes: Codes) -> Self {
        let places = rows.iter().copied().zip(0..).collect();
        Self {
            originals: Originals::Stored,
            codes: Some(codes),
            puts_max: rows.len(),
            tags: vec![0; rows.len()],
            rows,
            places,
            ..Self::new(metric, dimensions)
        }
    }

    /// What is stored of it. Few rows have no codes.
    pub(crate) fn parts(&self) -> Option<(&[RowId], &Codes)> {
        Some((&self.rows, self.codes.as_ref()?))
    }

    /// The codes of all vectors and the rest of what a graph is made from.
    pub(super) fn into_parts(self) -> (Vec<RowId>, Option<Codes>, Originals) {
        (self.rows, self.codes, self.originals)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self) -> &[RowId] {
        &self.rows
    }

    pub(super) fn contains(&self, row: RowId) -> bool {
        self.places.contains_key(&row)
    }

    pub(super) fn has_originals(&self) -> bool {
        matches!(self.originals, Originals::Resident(_))
    }

    /// Whether codes are no longer around the middle of what is there, which only makes them slower.
    pub(super) fn is_off_centre(&self) -> bool {
        self.puts > self.puts_max && self.codes.is_some()
    }

    /// Memory that it takes, about: a place in the map is key, value and a byte, in a table that is at most seven
    /// eighths full.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.rows.capacity() * 8 + self.tags.capacity() * 4;
        let codes = self.codes.as_ref().map_or(0, Codes::bytes);
        (self.originals.bytes() + codes + rows + self.places.capacity() * 20) as u64
    }

    /// What so many rows take at most, originals included or not: an eighth of the arrays may be empty, and half of
    /// the map.
    pub(crate) fn bytes_for(rows: u64, dimensions: u32, originals: bool) -> u64 {
        let is_coded = rows >= CODED_FROM as u64;
        let coded = if is_coded { u64::from(dimensions) + Codes::BYTES_OF_ROW } else { 0 };
        let row = if originals || !is_coded { u64::from(dimensions) * 4 } else { 0 } + coded + 12;
        rows.saturating_add(4).saturating_mul(row + row / 8 + 46)
    }

    /// Vectors are put one after the other, and nothing is asked before [`Flat::loaded`]: codes are made once, then.
    pub(crate) fn loading(metric: Metric, dimensions: u32) -> Self {
        Self { puts_max: usize::MAX, ..Self::new(metric, dimensions) }
    }

    /// Codes what was put, and gives back memory that was taken in advance.
    pub(crate) fn loaded(&mut self) {
        if let Originals::Resident(originals) = &mut self.originals {
            originals.shrink_to_fit();
        }
        self.rows.shrink_to_fit();
        self.tags.shrink_to_fit();
        self.places.shrink_to_fit();
        (self.puts, self.puts_max) = (0, if self.codes.is_some() { self.rows.len() } else { 0 });
        if self.rows.len() >= CODED_FROM {
            self.code();
        }
    }

    /// Adds a row or replaces its vector. The caller has checked the dimension.
    pub(crate) fn put(&mut self, row: RowId, tag: u32, vector: &[f32]) {
        debug_assert_eq!(vector.len(), self.dimensions);
        if let Some(place) = self.places.get(&row) {
            let start = place * self.dimensions;
            if let Originals::Resident(originals) = &mut self.originals
                && let Some(original) = originals.get_mut(start..start + self.dimensions)
            {
                original.copy_from_slice(vector);
            }
            if let Some(codes) = &mut self.codes {
                codes.set(*place, vector);
            }
            if let Some(slot) = self.tags.get_mut(*place) {
                *slot = tag;
            }
        } else {
            // By an eighth: doubling would leave half of a large index empty.
            if self.rows.len() == self.rows.capacity() {
                let more = (self.rows.len() / 8).max(4);
                self.rows.reserve_exact(more);
                self.tags.reserve_exact(more);
                if let Originals::Resident(originals) = &mut self.originals {
                    originals.reserve_exact(more * self.dimensions);
                }
                if let Some(codes) = &mut self.codes {
                    codes.reserve(more);
                }
            }
            self.places.insert(row, self.rows.len());
            self.rows.push(row);
            self.tags.push(tag);
            if let Originals::Resident(originals) = &mut self.originals {
                originals.extend_from_slice(vector);
            }
            if let Some(codes) = &mut self.codes {
                codes.push(vector);
            }
        }
        self.puts += 1;
        if self.puts > self.puts_max && self.rows.len() >= CODED_FROM {
            self.code();
        }
    }

    /// Without the originals the codes stay as they are: around whatever centre, their bounds hold.
    fn code(&mut self) {
        let Originals::Resident(originals) = &self.originals else { return };
        // The old ones first: there is not always room for both.
        self.codes = None;
        let mut codes = Codes::new(self.metric, self.dimensions, originals);
        // As much as the other arrays have, so that all of them grow together.
        codes.reserve(self.rows.capacity() - self.rows.len());
        self.codes = Some(codes);
        (self.puts, self.puts_max) = (0, self.rows.len());
    }

    /// Removes a row by moving the last one into its place.
    pub(crate) fn remove(&mut self, row: RowId) {
        let Some(place) = self.places.remove(&row) else { return };
        let last = self.rows.len().saturating_sub(1);
        if let Originals::Resident(originals) = &mut self.originals {
            if place != last {
                originals.copy_within(last * self.dimensions.., place * self.dimensions);
            }
            originals.truncate(last * self.dimensions);
        }
        self.rows.swap_remove(place);
        self.tags.swap_remove(place);
        if let Some(moved) = self.rows.get(place) {
            self.places.insert(*moved, place);
        }
        if self.rows.len() < CODED_FROM / 2 && self.has_originals() {
            (self.codes, self.puts_max) = (None, 0);
        } else if let Some(codes) = &mut self.codes {
            codes.swap_remove(place);
        }
    }

    /// Tags every row anew.
    pub(super) fn retag(&mut self, tag: impl Fn(RowId) -> u32) {
        self.tags.iter_mut().zip(&self.rows).for_each(|(slot, row)| *slot = tag(*row));
    }

    /// Adds the nearest rows to those that the scratch has already: as if every score had been computed. Gives how
    /// many originals were read for it.
    pub(super) fn search(&self, search: &Search<'_>, scratch: &mut Scratch, reader: &mut Reader<'_>) -> Result<usize> {
        let Scratch { question, sieve, places, original, nearest, .. } = scratch;
        let some = match search.among {
            Among::All => None,
            Among::Rows(rows) => {
                places.clear();
                let found = rows.iter().filter_map(|row| self.places.get(row));
                places.extend(found.filter_map(|place| u32::try_from(*place).ok()));
                Some(&*places)
            }
            Among::Tags(wanted) => {
                places.clear();
                places.extend((0..).zip(&self.tags).filter(|(_, tag)| wanted.contains(**tag)).map(|(place, _)| place));
                Some(&*places)
            }
        };
        let top = search.top.min(some.map_or(self.rows.len(), Vec::len));
        if top == 0 {
            return Ok(0);
        }
        let Some(codes) = &self.codes else {
            let Originals::Resident(originals) = &self.originals else { return Ok(0) };
            let mut add = |place: usize, vector: &[f32]| {
                let score = self.metric.score(search.query, vector);
                if let Some(row) = self.rows.get(place).filter(|_| score >= search.minimum) {
                    nearest.add(Candidate { row: *row, score });
                }
            };
            match some {
                None => {
                    originals.chunks_exact(self.dimensions).enumerate().for_each(|(place, vector)| add(place, vector));
                }
                Some(places) => {
                    for place in places.iter().map(|place| *place as usize) {
                        let start = place * self.dimensions;
                        if let Some(vector) = originals.get(start..start + self.dimensions) {
                            add(place, vector);
                        }
                    }
                }
            }
            return Ok(some.map_or(self.rows.len(), Vec::len));
        };
        codes.ask(search.query.components(), question);
        // What another part of the space has found already sets the bar.
        let minimum = nearest.bar().map_or(search.minimum, |bar| bar.max(search.minimum));
        let candidates = match some {
            None => codes.candidates(question, top, minimum, sieve),
            Some(places) => codes.candidates_at(question, places, top, minimum, sieve),
        };
        let rerank = Rerank { metric: self.metric, rows: &self.rows, originals: &self.originals };
        rerank.run(search, question, candidates, original, reader, nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::codes::Question;
    use crate::index::effort::Effort;
    use crate::index::search::ScratchPool;
    use crate::index::sieve::{Bounded, Sieve};
    use crate::index::vector::{GivenVector, Vector};

    fn vector(angle: f32) -> Vector {
        GivenVector::new(&[angle.cos(), angle.sin()]).unwrap().ready(Metric::Cosine).unwrap()
    }

    fn search_counted(flat: &Flat, query: &Vector, top: usize, minimum: f32) -> (Vec<Candidate>, usize) {
        let search = Search { query, top, minimum, effort: Effort::Balanced, among: Among::All };
        let (mut answer, pool) = (Vec::new(), ScratchPool::default());
        let read = pool.with(&search, &mut answer, |scratch| flat.search(&search, scratch, &mut |_, _| Ok(())));
        (answer, read.unwrap())
    }

    fn search(flat: &Flat, query: &Vector, top: usize, minimum: f32) -> Vec<Candidate> {
        search_counted(flat, query, top, minimum).0
    }

    fn rows(found: &[Candidate]) -> Vec<u64> {
        found.iter().map(|candidate| candidate.row.0).collect()
    }

    /// Splitmix64, summed to something like a normal distribution.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        fn below(&mut self, end: u64) -> u64 {
            self.next() % end
        }

        fn normal(&mut self) -> f32 {
            (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).sum()
        }

        fn vector(&mut self, dimensions: usize) -> Vec<f32> {
            (0..dimensions).map(|_| self.normal()).collect()
        }
    }

    /// Sets that are hard on a bound, each with its name.
    fn sets(noise: &mut Noise, dimensions: usize, count: usize) -> Vec<(&'static str, Vec<Vec<f32>>)> {
        let scaled = |vector: &[f32], by: f32| vector.iter().map(|x| x * by).collect::<Vec<f32>>();
        let random: Vec<Vec<f32>> = (0..count).map(|_| noise.vector(dimensions)).collect();
        let clustered = (0..count).map(|n| {
            let jitter = noise.vector(dimensions);
            random[n % 5].iter().zip(jitter).map(|(x, jitter)| x + 0.01 * jitter).collect()
        });
        let clustered = clustered.collect();
        let copies = |copies: usize| {
            let first = &random[0];
            random.iter().enumerate().map(move |(n, vector)| if n < copies { first.clone() } else { vector.clone() })
        };
        let (few, many) = (copies(40).collect(), copies(400).collect());
        // Rounded to a grid, so that many scores are equal.
        let grid = random.iter().map(|vector| vector.iter().map(|x| x.round() + 0.5).collect()).collect();
        let shared = random.iter().map(|vector| {
            let mut vector = vector.clone();
            vector[0] += 1_000.0;
            vector
        });
        let single = random.iter().enumerate().map(|(n, vector)| {
            let mut vector = vector.clone();
            vector[n % dimensions] *= if n % 3 == 0 { 1e4 } else { 1.0 };
            vector
        });
        let (shared, single) = (shared.collect(), single.collect());
        let skewed = random.iter().map(|vector| {
            let by = 10_f32.powi(i32::try_from(noise.below(25)).unwrap() - 12);
            scaled(vector, by)
        });
        let skewed = skewed.collect();
        let huge = random.iter().map(|vector| scaled(vector, 1e16 / (dimensions as f32).sqrt())).collect();
        let tiny = random.iter().map(|vector| scaled(vector, 1e-22)).collect();
        let least = random.iter().map(|vector| scaled(vector, 1e-42)).collect();
        // Each addition of a score rounds the same way as the one before, and under cosine many are at -1 or 1.
        let level = (0..count).map(|_| vec![noise.normal(); dimensions]).collect();
        vec![
            ("level", level),
            ("random", random),
            ("clustered", clustered),
            ("40 copies", few),
            ("400 copies", many),
            ("grid", grid),
            ("a coordinate large in all", shared),
            ("a coordinate large in some", single),
            ("skewed lengths", skewed),
            ("huge", huge),
            ("tiny", tiny),
            ("least", least),
        ]
    }

    fn naive(metric: Metric, vectors: &[(RowId, Vector)], query: &Vector, top: usize, minimum: f32) -> Vec<Candidate> {
        let scored = vectors
            .iter()
            .map(|(row, vector)| Candidate { row: *row, score: metric.score(query, vector.components()) });
        let mut all: Vec<Candidate> = scored.filter(|candidate| candidate.score >= minimum).collect();
        all.sort();
        all.truncate(top);
        all
    }

    #[test]
    fn answers_are_those_of_a_scan_of_all_originals() {
        let mut noise = Noise(7);
        for dimensions in [1, 2, 3, 17, 384, 4_096] {
            let (count, questions) = if dimensions == 4_096 { (450, 3) } else { (700, 6) };
            for (name, set) in sets(&mut noise, dimensions, count) {
                for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
                    let mut numbers: Vec<u64> = (0..count as u64).collect();
                    numbers.sort_by_cached_key(|_| noise.next());
                    let ready = |vector: &[f32]| GivenVector::new(vector).unwrap().ready(metric);
                    let vectors = set.iter().zip(numbers).filter_map(|(vector, row)| {
                        // What has no direction is not for cosine.
                        Some((RowId(row), ready(vector).ok()?))
                    });
                    let vectors: Vec<(RowId, Vector)> = vectors.collect();
                    let mut flat = Flat::new(metric, u32::try_from(dimensions).unwrap());
                    vectors.iter().for_each(|(row, vector)| flat.put(*row, 0, vector.components()));
                    assert!(flat.codes.is_some() || vectors.len() < CODED_FROM);
                    flat.code();
                    for n in 0..questions {
                        let near = &set[usize::try_from(noise.below(count as u64)).unwrap()];
                        let by = noise.vector(dimensions);
                        let query: Vec<f32> = match n % 3 {
                            0 => near.clone(),
                            1 => near.iter().zip(&by).map(|(x, by)| x * (1.0 + 0.2 * by)).collect(),
                            _ => by,
                        };
                        let Ok(query) = ready(&query) else { continue };
                        let codes = flat.codes.as_ref().unwrap();
                        let (mut question, mut sieve) = (Question::default(), Sieve::default());
                        codes.ask(query.components(), &mut question);
                        let bounds = codes.candidates(&question, count, f32::NEG_INFINITY, &mut sieve);
                        assert_eq!(bounds.len(), vectors.len());
                        for Bounded { bound, place } in bounds {
                            let reach = question.reach(metric.score(&query, vectors[*place as usize].1.components()));
                            assert!(*bound >= reach, "{name}, {metric:?}, {dimensions} dimensions: {bound}, {reach}");
                        }
                        for top in [1, 10, 100, count] {
                            let what = format!("{name}, {metric:?}, {dimensions} dimensions, top {top}");
                            let expected = naive(metric, &vectors, &query, top, f32::NEG_INFINITY);
                            assert_eq!(search(&flat, &query, top, f32::NEG_INFINITY), expected, "{what}");
                            // A minimum that one of them meets exactly.
                            let minimum = expected[expected.len() / 2].score;
                            let expected = naive(metric, &vectors, &query, top, minimum);
                            assert_eq!(search(&flat, &query, top, minimum), expected, "{what}, at least {minimum}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn few_originals_are_read() {
        let mut noise = Noise(3);
        let ready = |vector: Vec<f32>, metric| GivenVector::new(&vector).unwrap().ready(metric).unwrap();
        for (metric, most) in [(Metric::Cosine, 60), (Metric::Dot, 60), (Metric::L2, 60)] {
            for shift in [0.0, 1_000.0] {
                let mut flat = Flat::new(metric, 384);
                let shifted = |noise: &mut Noise| {
                    let mut vector = noise.vector(384);
                    // Cosine brings the lengths to 1, and what is left of the others with them: not this one's to mend.
                    vector[5] += if metric == Metric::Cosine { 0.0 } else { shift };
                    ready(vector, metric)
                };
                (0..2_000).for_each(|row| flat.put(RowId(row), 0, shifted(&mut noise).components()));
                let read: usize = (0..50).map(|_| search_counted(&flat, &shifted(&mut noise), 10, -1e9).1).sum();
                assert!(read / 50 <= most, "{metric:?}, {shift}: {}", read / 50);
            }
        }
    }

    #[test]
    fn what_is_counted_is_what_is_foretold() {
        let mut noise = Noise(5);
        for (dimensions, count) in [(384, 100), (384, 1_000), (64, 3_000), (1_536, 500)] {
            let mut flat = Flat::new(Metric::Dot, dimensions);
            for row in 0..count {
                let vector = noise.vector(dimensions as usize);
                flat.put(RowId(row), 0, GivenVector::new(&vector).unwrap().ready(Metric::Dot).unwrap().components());
            }
            let foretold = Flat::bytes_for(count, dimensions, true);
            assert!(flat.bytes() <= foretold, "{dimensions} x {count}: {}, {foretold}", flat.bytes());
            flat.loaded();
            assert!(flat.bytes() > foretold / 2, "{dimensions} x {count}: {}, {foretold}", flat.bytes());
        }
    }

    /// Codes are made once, at the end, and then as if the vectors had come one by one.
    #[test]
    fn a_loaded_index_answers_and_goes_on_like_any_other() {
        for count in [CODED_FROM - 1, CODED_FROM, 3 * CODED_FROM] {
            let (mut loaded, mut grown) = (Flat::loading(Metric::Cosine, 2), Flat::new(Metric::Cosine, 2));
            for row in 0..count {
                let (row, vector) = (RowId(row as u64), vector(row as f32));
                loaded.put(row, 0, vector.components());
                grown.put(row, 0, vector.components());
                assert!(loaded.codes.is_none());
            }
            loaded.loaded();
            assert_eq!(loaded.codes.is_some(), count >= CODED_FROM);
            for row in 0..2 * CODED_FROM {
                assert_eq!(search(&loaded, &vector(1.0), 5, -1.0), search(&grown, &vector(1.0), 5, -1.0));
                let (row, vector) = (RowId((count + row) as u64), vector(0.5 + row as f32));
                loaded.put(row, 0, vector.components());
                grown.put(row, 0, vector.components());
            }
            assert!(loaded.codes.is_some());
        }
    }

    #[test]
    fn nearest_first_and_ties_by_row() {
        let mut flat = Flat::new(Metric::Cosine, 2);
        for (row, angle) in [(5, 0.0), (9, 0.4), (2, 0.0), (7, 3.0)] {
            flat.put(RowId(row), 0, vector(angle).components());
        }
        for coded in [false, true] {
            if coded {
                flat.code();
            }
            assert_eq!(rows(&search(&flat, &vector(0.0), 10, -1.0)), [2, 5, 9, 7]);
            assert_eq!(rows(&search(&flat, &vector(0.0), 1, -1.0)), [2]);
            assert_eq!(rows(&search(&flat, &vector(0.0), 10, 0.9)), [2, 5, 9]);
            assert_eq!(rows(&search(&flat, &vector(0.0), 0, -1.0)), [0_u64; 0]);
        }
    }

    #[test]
    fn removal_and_replacement_agree_with_a_fresh_index() {
        let mut noise = Noise(1);
        // Around the number from which there are codes, so that they come and go.
        for numbers in [50, 2 * CODED_FROM as u64] {
            let mut flat = Flat::new(Metric::Cosine, 2);
            let mut model = std::collections::BTreeMap::new();
            let (mut coded, mut plain) = (0, 0);
            for step in 0..20_000 {
                let row = RowId(noise.below(numbers));
                // Times of growth and of decline.
                if noise.below(10) < if step / 2_000 % 2 == 0 { 3 } else { 8 } {
                    flat.remove(row);
                    model.remove(&row);
                } else {
                    let angle = noise.below(628) as f32 / 100.0;
                    flat.put(row, 0, vector(angle).components());
                    model.insert(row, angle);
                }
                *(if flat.codes.is_some() { &mut coded } else { &mut plain }) += 1;
                if step % 500 == 0 {
                    let mut fresh = Flat::new(Metric::Cosine, 2);
                    for (row, angle) in model.iter().rev() {
                        fresh.put(*row, 0, vector(*angle).components());
                    }
                    for top in [5, 1_000] {
                        let query = vector(noise.below(628) as f32 / 100.0);
                        assert_eq!(search(&flat, &query, top, -1.0), search(&fresh, &query, top, -1.0));
                    }
                    assert_eq!(flat.len(), model.len());
                }
            }
            assert!(plain > 0 && (coded > 0) == (numbers > 256), "{coded}, {plain}");
        }
    }
}
