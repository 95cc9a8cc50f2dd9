//! The nearest rows of those that were looked at.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

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

/// The nearest of those that were added, at most so many.
#[derive(Debug, Default)]
pub(crate) struct Nearest {
    top: usize,
    /// The worst of those that are kept is the greatest in their order, so it is the heap's top.
    kept: BinaryHeap<Candidate>,
}

impl Nearest {
    pub(crate) fn new(top: usize) -> Self {
        Self { top, kept: BinaryHeap::new() }
    }

    /// Begins anew, in the memory that it has.
    pub(super) fn begin(&mut self, top: usize) {
        self.top = top;
        self.kept.clear();
    }

    /// Adds what is kept to a list, nearest first, and keeps nothing.
    pub(super) fn drain_sorted(&mut self, list: &mut Vec<Candidate>) {
        let start = list.len();
        list.extend(self.kept.drain());
        if let Some(added) = list.get_mut(start..) {
            added.sort_unstable();
        }
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

    /// The score that another has to reach: the worst of those that are kept, once there are as many as asked for.
    pub(crate) fn bar(&self) -> Option<f32> {
        self.kept.peek().filter(|_| self.kept.len() >= self.top).map(|worst| worst.score)
    }

    /// Nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Candidate> {
        self.kept.into_sorted_vec()
    }
}
