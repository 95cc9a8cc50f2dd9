//! What an index is asked, and the memory that answering takes.

use parking_lot::Mutex;

use super::bits::Bits;
use super::codes::Question;
use super::effort::Effort;
use super::nearest::{Candidate, Nearest};
use super::sieve::{Bounded, Sieve};
use super::vector::Vector;
use super::walk::Walk;
use crate::error::Result;
use crate::id::RowId;

/// Reads the vector of a row from the tenant's file, in place of what the buffer has.
pub(crate) type Reader<'a> = dyn FnMut(RowId, &mut Vec<f32>) -> Result<()> + 'a;

/// The nearest so many of at least a score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) query: &'a Vector,
    pub(crate) top: usize,
    pub(crate) minimum: f32,
    pub(crate) effort: Effort,
    pub(crate) among: Among<'a>,
}

/// Which rows are searched.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Among<'a> {
    All,
    /// These, as far as they are there; each once.
    Rows(&'a [RowId]),
    /// Those with one of these tags.
    Tags(&'a Bits),
}

/// How it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    /// Nothing nearer can have been missed.
    pub(crate) exact: bool,
    /// Originals that were read.
    pub(crate) read: usize,
}

/// Memory of searches, given back after each and used again: a search takes none of its own once there is enough.
#[derive(Debug, Default)]
pub(crate) struct ScratchPool(Mutex<Vec<Scratch>>);

#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) question: Question,
    pub(super) sieve: Sieve,
    pub(super) walk: Walk,
    pub(super) places: Vec<u32>,
    pub(super) bounded: Vec<Bounded>,
    pub(super) original: Vec<f32>,
    pub(super) nearest: Nearest,
}

/// So many searches at once leave their memory for the next ones.
const KEPT_MAX: usize = 8;

impl ScratchPool {
    /// Memory for one search. Its answer is added to `answer`, nearest first.
    pub(super) fn with<R>(
        &self,
        search: &Search<'_>,
        answer: &mut Vec<Candidate>,
        work: impl FnOnce(&mut Scratch) -> Result<R>,
    ) -> Result<R> {
        let mut scratch = self.0.lock().pop().unwrap_or_default();
        scratch.nearest.begin(search.top);
        let result = work(&mut scratch);
        if result.is_ok() {
            scratch.nearest.drain_sorted(answer);
        }
        let mut kept = self.0.lock();
        if kept.len() < KEPT_MAX {
            kept.push(scratch);
        }
        result
    }

    /// What is kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.lock().iter().map(|scratch| scratch.bytes()).sum()
    }
}

impl Scratch {
    fn bytes(&self) -> usize {
        self.walk.bytes() + self.places.capacity() * 4 + self.bounded.capacity() * 8 + self.sieve.bytes()
    }
}
