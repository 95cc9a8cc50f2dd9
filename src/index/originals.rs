//! Vectors as they were put, in memory or not.

use super::codes::Question;
use super::metric::Metric;
use super::nearest::{Candidate, Nearest};
use super::search::{Reader, Search};
use super::sieve::Bounded;
use crate::error::Result;
use crate::id::RowId;

/// Vectors in f32, by place.
#[derive(Debug)]
pub(super) enum Originals {
    /// One after the other.
    Resident(Vec<f32>),
    /// In the tenant's file only.
    Stored,
}

/// What is needed to score candidates by their originals.
pub(super) struct Rerank<'a> {
    pub(super) metric: Metric,
    pub(super) rows: &'a [RowId],
    pub(super) originals: &'a Originals,
}

impl Originals {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Resident(originals) => originals.capacity() * 4,
            Self::Stored => 0,
        }
    }
}

impl Rerank<'_> {
    /// Scores candidates, those of the greatest bounds first, until none that is left can be among the nearest. Gives
    /// how many were scored.
    pub(super) fn run(
        &self,
        search: &Search<'_>,
        question: &Question,
        candidates: &[Bounded],
        buffer: &mut Vec<f32>,
        reader: &mut Reader<'_>,
        nearest: &mut Nearest,
    ) -> Result<usize> {
        let dimensions = search.query.components().len();
        let mut bar = nearest.bar().map_or(f32::NEG_INFINITY, |score| question.reach(score));
        let mut read = 0;
        for candidate in candidates {
            if candidate.bound < bar {
                break;
            }
            let place = candidate.place as usize;
            let Some(row) = self.rows.get(place) else { continue };
            let original = match self.originals {
                Originals::Resident(originals) => originals.get(place * dimensions..(place + 1) * dimensions),
                Originals::Stored => {
                    reader(*row, buffer)?;
                    Some(buffer.as_slice()).filter(|original| original.len() == dimensions)
                }
            };
            let Some(original) = original else { continue };
            read += 1;
            let score = self.metric.score(search.query, original);
            if score >= search.minimum {
                nearest.add(Candidate { row: *row, score });
            }
            bar = nearest.bar().map_or(bar, |score| question.reach(score));
        }
        Ok(read)
    }
}
