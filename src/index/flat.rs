//! The exact tier: every vector in one array, scanned whole. No build, no surprises.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::metric::Metric;
use super::vector::Vector;
use crate::id::RowId;

/// A row and how near it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) row: RowId,
    /// Under the metric of the namespace; greater is nearer.
    pub(crate) score: f32,
}

impl Eq for Candidate {}

/// Nearer first; equal scores by row, so that answers are the same every time.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Vectors of one namespace, all of one dimension and ready for one metric.
#[derive(Debug)]
pub(crate) struct Flat {
    metric: Metric,
    dimensions: usize,
    components: Vec<f32>,
    rows: Vec<RowId>,
    places: HashMap<RowId, usize>,
}

impl Flat {
    pub(crate) fn new(metric: Metric, dimensions: u32) -> Self {
        let dimensions = usize::try_from(dimensions).unwrap_or(usize::MAX).max(1);
        Self { metric, dimensions, components: Vec::new(), rows: Vec::new(), places: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory that it takes, about: a place in the map is key, value and a byte, in a table that is three quarters full.
    pub(crate) fn bytes(&self) -> u64 {
        let (components, rows) = (self.components.capacity() * 4, self.rows.capacity() * 8);
        (components + rows + self.places.capacity() * 23) as u64
    }

    /// What so many rows take at most: an eighth of the array may be empty, and half of the map.
    pub(crate) fn bytes_for(rows: u64, dimensions: u32) -> u64 {
        let row = u64::from(dimensions) * 4 + 8;
        rows.saturating_add(4).saturating_mul(row + row / 8 + 46)
    }

    /// Adds a row or replaces its vector. The caller has checked the dimension.
    pub(crate) fn put(&mut self, row: RowId, vector: &Vector) {
        debug_assert_eq!(vector.components().len(), self.dimensions);
        if let Some(slot) = self.places.get(&row).and_then(|place| {
            let start = place * self.dimensions;
            self.components.get_mut(start..start + self.dimensions)
        }) {
            slot.copy_from_slice(vector.components());
            return;
        }
        // By an eighth: doubling would leave half of a large index empty.
        if self.rows.len() == self.rows.capacity() {
            let more = (self.rows.len() / 8).max(4);
            self.rows.reserve_exact(more);
            self.components.reserve_exact(more * self.dimensions);
        }
        self.places.insert(row, self.rows.len());
        self.rows.push(row);
        self.components.extend_from_slice(vector.components());
    }

    /// Removes a row by moving the last one into its place.
    pub(crate) fn remove(&mut self, row: RowId) {
        let Some(place) = self.places.remove(&row) else { return };
        let last = self.rows.len().saturating_sub(1);
        if place != last {
            self.components.copy_within(last * self.dimensions.., place * self.dimensions);
        }
        self.components.truncate(last * self.dimensions);
        self.rows.swap_remove(place);
        if let Some(moved) = self.rows.get(place) {
            self.places.insert(*moved, place);
        }
    }

    /// The `top` nearest rows of at least this score, nearest first.
    pub(crate) fn search(&self, query: &Vector, top: usize, minimum: f32) -> Vec<Candidate> {
        let mut nearest = Nearest::new(top.min(self.rows.len()));
        for (row, components) in self.rows.iter().zip(self.components.chunks_exact(self.dimensions)) {
            let score = self.metric.score(query, components);
            if score >= minimum {
                nearest.add(Candidate { row: *row, score });
            }
        }
        nearest.into_sorted()
    }
}

/// The nearest of those that were added, at most so many.
#[derive(Debug)]
pub(crate) struct Nearest {
    top: usize,
    /// The worst of those that are kept is the greatest in their order, so it is the heap's top.
    kept: BinaryHeap<Candidate>,
}

impl Nearest {
    pub(crate) fn new(top: usize) -> Self {
        Self { top, kept: BinaryHeap::new() }
    }

    pub(crate) fn add(&mut self, candidate: Candidate) {
        if self.kept.len() < self.top {
            self.kept.push(candidate);
        } else if let Some(mut worst) = self.kept.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// Nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::vector::GivenVector;

    fn vector(angle: f32) -> Vector {
        GivenVector::new(&[angle.cos(), angle.sin()]).unwrap().ready(Metric::Cosine).unwrap()
    }

    fn rows(found: &[Candidate]) -> Vec<u64> {
        found.iter().map(|candidate| candidate.row.0).collect()
    }

    #[test]
    fn nearest_first_and_ties_by_row() {
        let mut flat = Flat::new(Metric::Cosine, 2);
        for (row, angle) in [(5, 0.0), (9, 0.4), (2, 0.0), (7, 3.0)] {
            flat.put(RowId(row), &vector(angle));
        }
        assert_eq!(rows(&flat.search(&vector(0.0), 10, -1.0)), [2, 5, 9, 7]);
        assert_eq!(rows(&flat.search(&vector(0.0), 1, -1.0)), [2]);
        assert_eq!(rows(&flat.search(&vector(0.0), 10, 0.9)), [2, 5, 9]);
        assert_eq!(rows(&flat.search(&vector(0.0), 0, -1.0)), [0_u64; 0]);
    }

    #[test]
    fn removal_and_replacement_agree_with_a_fresh_index() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        let mut flat = Flat::new(Metric::Cosine, 2);
        let mut model = std::collections::BTreeMap::new();
        for _ in 0..2_000 {
            let row = RowId(random() % 50);
            if random() % 3 == 0 {
                flat.remove(row);
                model.remove(&row);
            } else {
                let angle = (random() % 628) as f32 / 100.0;
                flat.put(row, &vector(angle));
                model.insert(row, angle);
            }
        }
        let mut fresh = Flat::new(Metric::Cosine, 2);
        for (row, angle) in &model {
            fresh.put(*row, &vector(*angle));
        }
        assert_eq!(flat.search(&vector(1.0), 100, -1.0), fresh.search(&vector(1.0), 100, -1.0));
        assert_eq!(flat.search(&vector(1.0), 100, -1.0).len(), model.len());
    }
}
