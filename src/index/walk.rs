//! Searching in a graph: down through its layers, then along the links of the lowest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::codes::{Codes, Question};
use super::graph::Graph;

/// More than a node has links.
const LINKS_MAX: usize = 2 * crate::limits::GRAPH_LINKS_MAX as usize;

/// The memory of a walk, taken once and used again.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The number of the last walk that came to a node. Emptying it for each walk would cost more than the walk.
    seen: Vec<u16>,
    number: u16,
    /// Where the walk can go on, nearest first.
    open: BinaryHeap<Step>,
    /// The nearest that it came to and that are wanted, farthest first.
    kept: BinaryHeap<Reverse<Step>>,
    pub(super) found: Vec<(u32, f32)>,
}

/// A node and what it scores about, in one number that compares as the score does; equal ones by node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step(u64);

impl Step {
    fn new(node: u32, score: f32) -> Self {
        let bits = score.to_bits();
        // Orders all floats: those below zero have all bits flipped, the others the sign.
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(!node))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is the node")]
    fn node(self) -> u32 {
        !(self.0 as u32)
    }

    fn score(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
    }
}

impl Walk {
    pub(super) fn bytes(&self) -> usize {
        self.seen.capacity() * 2 + (self.open.capacity() + self.kept.capacity() + self.found.capacity()) * 8
    }

    /// Leaves in `found` the nearest nodes that are wanted, in no order, and what they score about: `breadth` of them
    /// where the walk comes to so many before it has been at `most` nodes. Gives whether it ended by itself.
    pub(super) fn run(
        &mut self,
        graph: &Graph,
        codes: &Codes,
        question: &Question,
        breadth: usize,
        most: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> bool {
        self.begin(graph.nodes());
        let mut scores = [0.0; LINKS_MAX];
        let mut nodes = [0; LINKS_MAX];
        let mut near = Step::new(0, score_of(codes, question, 0));
        for layer in graph.upper.iter().rev() {
            loop {
                let links = layer.neighbours(near.node(), graph.width);
                let Some(scores) = scores.get_mut(..links.len()) else { break };
                codes.about(question, links, scores);
                let best = links.iter().zip(scores).map(|(node, score)| Step::new(*node, *score)).max();
                match best.filter(|best| *best > near) {
                    Some(best) => near = best,
                    None => break,
                }
            }
        }
        self.see(near.node());
        self.open.push(near);
        if wanted(near.node()) {
            self.kept.push(Reverse(near));
        }
        let (mut visited, mut ended) = (1, true);
        while let Some(step) = self.open.pop() {
            let is_full = self.kept.len() >= breadth;
            if is_full && self.kept.peek().is_some_and(|Reverse(worst)| step < *worst) {
                break;
            }
            if visited >= most {
                ended = false;
                break;
            }
            let mut count = 0;
            for node in graph.neighbours(step.node()) {
                if self.see(*node) {
                    codes.prefetch(*node);
                    if let Some(slot) = nodes.get_mut(count) {
                        *slot = *node;
                        count += 1;
                    }
                }
            }
            let (Some(nodes), Some(scores)) = (nodes.get(..count), scores.get_mut(..count)) else { break };
            codes.about(question, nodes, scores);
            visited += count;
            for (node, score) in nodes.iter().zip(scores) {
                let step = Step::new(*node, *score);
                let is_full = self.kept.len() >= breadth;
                if is_full && self.kept.peek().is_some_and(|Reverse(worst)| step < *worst) {
                    continue;
                }
                self.open.push(step);
                if !wanted(*node) {
                    continue;
                }
                if !is_full {
                    self.kept.push(Reverse(step));
                } else if let Some(mut worst) = self.kept.peek_mut() {
                    *worst = Reverse(step);
                }
            }
        }
        self.found.extend(self.kept.drain().map(|Reverse(step)| (step.node(), step.score())));
        ended
    }

    fn begin(&mut self, nodes: usize) {
        self.open.clear();
        self.kept.clear();
        self.found.clear();
        if self.seen.len() < nodes {
            self.seen.resize(nodes, 0);
        }
        self.number = self.number.wrapping_add(1);
        if self.number == 0 {
            self.seen.fill(0);
            self.number = 1;
        }
    }

    /// Gives whether the node is new to this walk.
    #[inline]
    fn see(&mut self, node: u32) -> bool {
        let Some(seen) = self.seen.get_mut(node as usize) else { return false };
        std::mem::replace(seen, self.number) != self.number
    }
}

fn score_of(codes: &Codes, question: &Question, node: u32) -> f32 {
    let mut score = [0.0];
    codes.about(question, &[node], &mut score);
    let [score] = score;
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_compare_as_scores_do() {
        let scores = [f32::NEG_INFINITY, -3.5, -1e-40, -0.0, 0.0, 1e-40, 0.25, 7.0, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(Step::new(1, pair[0]) < Step::new(9, pair[1]), "{pair:?}");
        }
        for (node, score) in (0..).zip(scores) {
            let step = Step::new(node, score);
            assert_eq!((step.node(), step.score().to_bits()), (node, score.to_bits()));
        }
        // Of equal ones the first node counts as nearer.
        assert!(Step::new(3, 0.5) > Step::new(4, 0.5));
    }

    #[test]
    fn a_walk_does_not_see_what_another_saw() {
        let mut walk = Walk::default();
        for _ in 0..70_000 {
            walk.begin(2);
            assert!(walk.see(1) && !walk.see(1) && !walk.see(2));
        }
    }
}
