//! What a recall asks, and what it answers.

use super::filter::Filter;
use super::memory::MemoryRecord;
use super::selection::Selection;
use super::settings::check_model;
use crate::error::{Error, Result};
use crate::id::Namespace;
use crate::index::effort::Effort;
use crate::index::metric::Metric;
use crate::limits::{QUESTION_BYTES_MAX, RECALL_TOP_MAX};

/// A question: which memories are nearest to this vector, or to the meaning of this text.
///
/// ```
/// use watertight::{Effort, Filter, Recall, Selection, Timestamp};
///
/// let question = Recall::vector(&[0.1, 0.7, -0.2])
///     .top(5)
///     .minimum_score(0.3)
///     .select(Selection::all().created_from(Timestamp::from_seconds(1_700_000_000)))
///     .filter(Filter::eq("lang", "en"));
///
/// let text = Recall::about("Where is the key?").effort(Effort::Exact).explain();
/// let checked = Recall::vector(&[0.1, 0.7, -0.2]).model("all-MiniLM-L6-v2");
/// # let _ = (question, text, checked);
/// ```
#[derive(Debug, Clone)]
pub struct Recall {
    subject: Subject,
    pub(super) model: Option<String>,
    pub(super) top: usize,
    pub(super) minimum_score: f32,
    pub(super) selection: Selection,
    pub(super) effort: Effort,
    pub(super) explain: bool,
}

#[derive(Debug, Clone)]
enum Subject {
    Vector(Vec<f32>),
    Text(String),
}

impl Recall {
    /// The ten nearest to a vector, by the metric of the namespace.
    #[must_use]
    pub fn vector(vector: &[f32]) -> Self {
        Self::new(Subject::Vector(vector.to_vec()))
    }

    /// The ten nearest to what a text of at most 64 KiB means, as the namespace's embedding model has it.
    #[must_use]
    pub fn about(text: impl Into<String>) -> Self {
        Self::new(Subject::Text(text.into()))
    }

    fn new(subject: Subject) -> Self {
        Self {
            subject,
            model: None,
            top: 10,
            minimum_score: f32::NEG_INFINITY,
            selection: Selection::all(),
            effort: Effort::default(),
            explain: false,
        }
    }

    /// At most this many hits; 10 by default, at most 10,000. Zero gives none.
    #[must_use]
    pub fn top(mut self, top: usize) -> Self {
        self.top = top;
        self
    }

    /// Only hits of at least this score; see [`Metric`] for what scores are. Every score by default.
    #[must_use]
    pub fn minimum_score(mut self, score: f32) -> Self {
        self.minimum_score = score;
        self
    }

    /// Only memories of this selection; replaces what was selected before. As many hits as are asked for are given
    /// whenever as many match.
    #[must_use]
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Only memories whose metadata match; replaces the selection's filter.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.selection = self.selection.filter(filter);
        self
    }

    /// Which embedding model the question's vector is of; a namespace of another model refuses it.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// How hard to try where the index is approximate.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// Gives each hit an [`Explanation`].
    #[must_use]
    pub fn explain(mut self) -> Self {
        self.explain = true;
        self
    }

    /// The vector, unless the question is a text.
    pub(crate) fn given_vector(&self) -> Option<&[f32]> {
        match &self.subject {
            Subject::Vector(vector) => Some(vector),
            Subject::Text(_) => None,
        }
    }

    /// The text, if the question is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.subject {
            Subject::Vector(_) => None,
            Subject::Text(text) => Some(text),
        }
    }

    pub(crate) fn top_hits(&self) -> usize {
        self.top
    }

    /// Checks what can be checked without the tenant's file.
    pub(crate) fn check(&self) -> Result<()> {
        if self.top > RECALL_TOP_MAX {
            return Err(Error::too_large("recall top", RECALL_TOP_MAX, self.top));
        }
        if self.minimum_score.is_nan() {
            return Err(Error::invalid("minimum score", "must be a number"));
        }
        if let Some(text) = self.text().filter(|text| text.len() > QUESTION_BYTES_MAX) {
            return Err(Error::too_large("question", QUESTION_BYTES_MAX, text.len()));
        }
        self.model.as_deref().map_or(Ok(()), check_model)?;
        self.effort.check()?;
        self.selection.check()
    }
}

/// A memory that was recalled.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The memory.
    pub memory: MemoryRecord,
    /// How near it is; greater is nearer. See [`Metric`].
    pub score: f32,
    /// Why it is at its place, if the question asked.
    pub explanation: Option<Explanation>,
    /// What it counts for in an answer that merges several.
    pub(crate) stored_bytes: usize,
}

/// Why a hit is at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The namespace it is in.
    pub namespace: Namespace,
    /// Its place among the hits of that namespace, 1 for the nearest.
    pub rank: usize,
    /// How vectors are compared there.
    pub metric: Metric,
    /// The embedding model there, where one is named.
    pub model: Option<String>,
    /// Vectors that the namespace has.
    pub vectors: usize,
    /// Whether nothing nearer can have been missed.
    pub exact: bool,
    /// Nearer memories whose records were read and that are not hits, because they are not selected or have expired. What
    /// an index knows not to be selected is not read.
    pub passed_over: usize,
}
