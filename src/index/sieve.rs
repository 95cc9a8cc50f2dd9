//! What is left of many vectors when each is known only by what it can score at most.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::codes::Question;

/// Rows whose bounds are found in one go: their codes stay in the nearest cache.
pub(super) const BLOCK: usize = 64;
/// Of those, so many are passed over at once when none of them reaches the bar.
const PART: usize = 16;

/// Twice what f32 loses while a bound is made, of an offset: it was added, and may have been needed.
const OFFSET_OPEN: f32 = 1.0 / (1 << 17) as f32;
/// Codes of a few vectors with what goes with them.
pub(super) struct Block<'a> {
    pub(super) products: &'a [i32],
    pub(super) scales: &'a [f32],
    pub(super) offsets: &'a [f32],
    pub(super) residuals: &'a [f32],
    pub(super) lengths: &'a [f32],
}

/// What is left while vectors are looked at through their codes.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    top: usize,
    bar: f32,
    /// The least that the best score, as many as are asked for.
    kept: BinaryHeap<Reverse<Total>>,
    found: Vec<Bounded>,
}

impl Sieve {
    pub(crate) fn bytes(&self) -> usize {
        self.kept.capacity() * 4 + self.found.capacity() * size_of::<Bounded>()
    }

    pub(super) fn begin(&mut self, top: usize, bar: f32) {
        (self.top, self.bar) = (top, bar);
        self.kept.clear();
        self.found.clear();
    }

    pub(super) fn sift(&mut self, question: &Question, block: Block<'_>, place: impl Fn(u32) -> u32) {
        let Block { products, scales, offsets, residuals, lengths } = block;
        let mut bounds = [0.0; BLOCK];
        let marks = scales.iter().zip(offsets).zip(residuals.iter().zip(lengths));
        for (bound, (product, ((scale, offset), (residual, length)))) in
            bounds.iter_mut().zip(products.iter().zip(marks))
        {
            // The scale of a row first: a multiple of it does not underflow.
            let product = *product as f32 * scale * question.scale;
            *bound =
                question.constant + offset + product + question.by_residual * residual + question.by_length * length;
        }
        let bounds = bounds.get(..products.len()).unwrap_or_default();
        for (first, bounds) in (0_u32..).step_by(PART).zip(bounds.chunks(PART)) {
            // What is not a number, from vectors too large for f32, is never passed over.
            if bounds.iter().filter(|bound| **bound < self.bar).count() == bounds.len() {
                continue;
            }
            for (number, bound) in (first..).zip(bounds) {
                let at = number as usize;
                let marks = offsets.get(at).zip(residuals.get(at).zip(lengths.get(at)));
                let Some((offset, (residual, length))) = marks.filter(|_| passes(*bound, self.bar)) else { continue };
                self.found.push(Bounded { bound: *bound, place: place(number) });
                let open = question.slack
                    + question.by_residual * residual
                    + question.by_length * length
                    + offset.abs() * OFFSET_OPEN;
                let least = bound - 2.25 * open;
                let least = Reverse(Total(if least.is_nan() { f32::NEG_INFINITY } else { least }));
                if self.kept.len() < self.top {
                    self.kept.push(least);
                } else if let Some(mut worst) = self.kept.peek_mut().filter(|worst| least < **worst) {
                    *worst = least;
                } else {
                    continue;
                }
                if let Some(Reverse(Total(least))) = self.kept.peek().filter(|_| self.kept.len() == self.top) {
                    // As many as asked for score at least this.
                    self.bar = self.bar.max(question.reach(question.least_score(*least)));
                }
            }
        }
    }

    pub(super) fn end(&mut self) -> &[Bounded] {
        let bar = self.bar;
        self.found.retain(|bounded| passes(bounded.bound, bar));
        self.found.sort_unstable_by(Bounded::order);
        &self.found
    }
}

/// Not a number passes.
fn passes(bound: f32, bar: f32) -> bool {
    bound.partial_cmp(&bar) != Some(Ordering::Less)
}

/// A vector and what its score can be at most, on the scale of [`Question::reach`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounded {
    pub(crate) bound: f32,
    pub(crate) place: u32,
}

impl Bounded {
    /// Greatest first; equal ones by place, so that the work is the same every time.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        other.bound.total_cmp(&self.bound).then(self.place.cmp(&other.place))
    }
}

#[derive(Debug)]
struct Total(f32);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
