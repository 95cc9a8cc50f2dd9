//! Recall: the index gives candidates, the same snapshot of the file gives the records.

use super::change::stored_row;
use super::index::{Held, Indexed, read_vector};
use super::memory::StoredMemory;
use super::namespace::{Found, KnownPlace};
use super::open::Tenant;
use super::place::{Area, Place, number_of};
use super::question::{Explanation, Hit, Recall};
use super::read::count_answer;
use super::selection::Resolved;
use super::snapshot::Snapshot;
use crate::access::gate::{Proof, Read};
use crate::error::{Reason, Result};
use crate::id::RowId;
use crate::index::bits::Bits;
use crate::index::metric::Metric;
use crate::index::nearest::{Candidate, Nearest};
use crate::index::search::{Among, Search};
use crate::index::vector::{GivenVector, Vector};

/// What a namespace answered, and how it compares vectors.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) hits: Vec<Hit>,
    /// Absent when the namespace does not exist.
    pub(crate) comparison: Option<Comparison>,
}

/// Scores of two namespaces can be held against each other if these agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    metric: Metric,
    model: Option<String>,
}

impl Comparison {
    /// A model that is not named is taken to be the right one.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let models_differ = matches!((&self.model, &other.model), (Some(one), Some(other)) if one != other);
        self.metric == other.metric && !models_differ
    }

    /// What the next namespace has to agree with.
    pub(crate) fn joined(self, other: Option<Self>) -> Self {
        Self { metric: self.metric, model: self.model.or(other.and_then(|other| other.model)) }
    }
}

/// A checked question at one namespace.
struct Asked<'a> {
    recall: &'a Recall,
    vector: GivenVector,
    /// The model that embedded a question that was a text.
    model: Option<&'a str>,
    area: &'a Area,
    known: &'a KnownPlace,
}

/// What a search of one namespace gave.
struct Searched {
    candidates: Vec<Candidate>,
    /// How many vectors the namespace has.
    vectors: usize,
    exact: bool,
    /// Only what is likely to be selected was looked at.
    narrowed: bool,
}

impl Tenant {
    /// The nearest memories of one namespace, nearest first, ties by age. `embedded` is the vector, with its model,
    /// of a question that is a text.
    pub(crate) fn recall(
        &self,
        proof: &Proof<'_, Read>,
        area: &Area,
        known: &KnownPlace,
        recall: &Recall,
        embedded: Option<(&str, &GivenVector)>,
    ) -> Result<Recalled> {
        recall.check()?;
        let (model, vector) = match (recall.given_vector(), embedded) {
            (Some(vector), _) => (recall.model.as_deref(), GivenVector::new(vector)?),
            (None, Some((model, vector))) => (Some(model), vector.clone()),
            // Nobody embeds a text for a namespace that does not exist.
            (None, None) => return Ok(Recalled { hits: Vec::new(), comparison: None }),
        };
        let asked = Asked { recall, vector, model, area, known };
        // The index may have moved past the snapshot that was taken: the next one is newer, and the index answers it.
        // A file that stands still behind its index was put back to an older state; that index is dropped.
        let mut behind = None;
        loop {
            let answer = self.database.read(|snapshot| self.recall_at(snapshot, proof, &asked, &mut behind))?;
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    fn recall_at(
        &self,
        snapshot: &Snapshot,
        proof: &Proof<'_, Read>,
        asked: &Asked<'_>,
        behind: &mut Option<u64>,
    ) -> Result<Option<Recalled>> {
        let found = asked.known.find(snapshot, proof, asked.area)?;
        // A namespace that does not exist has the default metric, by which the question is checked all the same.
        let metric = found.as_ref().map_or(Metric::default(), |found| found.record.metric);
        let query = asked.vector.ready(metric)?;
        let Some(found) = found else { return Ok(Some(Recalled { hits: Vec::new(), comparison: None })) };
        found.record.check_model(asked.model)?;
        let comparison = Some(Comparison { metric, model: found.record.model.clone() });
        if found.record.dimensions == 0 {
            return Ok(Some(Recalled { hits: Vec::new(), comparison }));
        }
        found.record.check_dimensions(query.dimensions())?;
        let Some(selection) = asked.recall.selection.resolve(&snapshot.users, proof.at())? else {
            return Ok(Some(Recalled { hits: Vec::new(), comparison }));
        };
        let shared = self.space(found.vectors());
        let now = snapshot.facts.sequence;
        if behind.replace(now) == Some(now) {
            self.drop_space(&shared);
        }
        let held = self.hold(&shared, snapshot, &found, &selection)?;
        let minimum = asked.recall.minimum_score;
        let guard = match &held {
            Held::Ready(guard) => guard,
            Held::Ahead => return Ok(None),
            Held::NoRoom => {
                let search = |top| search_file(snapshot, &found, &query, top, minimum);
                let hits = self.hits(snapshot, &found, asked, &selection, search)?;
                return Ok(Some(Recalled { hits, comparison }));
            }
        };
        let Some(index) = guard.as_ref() else { return Ok(None) };
        let wanted = Wanted::of(index, snapshot, &found, &selection)?;
        let search = |top| {
            let search = Search { query: &query, top, minimum, effort: asked.recall.effort, among: wanted.among() };
            let mut candidates = Vec::new();
            let mut reader = |row, vector: &mut Vec<f32>| read_vector(snapshot, &found, row, vector);
            let how = index.space.search(&search, &self.index_settings, &mut reader, &mut candidates)?;
            Ok(Searched { candidates, vectors: index.space.len(), exact: how.exact, narrowed: wanted.is_narrowed() })
        };
        let hits = self.hits(snapshot, &found, asked, &selection, search);
        drop(held);
        if hits.as_ref().is_err_and(|error| matches!(error.reason(), Reason::DamagedRecord(_))) {
            // An index that names what its file does not have is not trusted again.
            self.drop_space(&shared);
        }
        Ok(Some(Recalled { hits: hits?, comparison }))
    }

    /// The records of the nearest rows. Where not all of them are hits, the search widens until enough are.
    fn hits(
        &self,
        snapshot: &Snapshot,
        found: &Found,
        asked: &Asked<'_>,
        selection: &Resolved<'_>,
        search: impl Fn(usize) -> Result<Searched>,
    ) -> Result<Vec<Hit>> {
        let recall = asked.recall;
        let mut width = recall.top;
        loop {
            let Searched { candidates, vectors, exact, narrowed } = search(width)?;
            let exhausted = candidates.len() < width;
            let mut hits = Vec::with_capacity(recall.top.min(candidates.len()));
            let (mut authors, mut bytes) = (self.authors(snapshot), 0);
            for (place, candidate) in candidates.iter().enumerate() {
                if hits.len() == recall.top {
                    break;
                }
                let record = snapshot.memories.get(found.place.row_key(candidate.row).as_slice())?;
                let record = record.ok_or(Reason::DamagedRecord("memory of a vector"))?;
                let memory: Option<StoredMemory> = selection.pick(record.value())?;
                let Some(memory) = memory else { continue };
                count_answer(&mut bytes, record.value())?;
                let explanation = recall.explain.then(|| Explanation {
                    namespace: asked.area.namespace.clone(),
                    rank: hits.len() + 1,
                    metric: found.record.metric,
                    model: found.record.model.clone(),
                    vectors,
                    exact,
                    passed_over: place - hits.len(),
                });
                let stored_bytes = record.value().len();
                let memory = authors.name(memory)?;
                hits.push(Hit { memory, score: candidate.score, explanation, stored_bytes });
            }
            if hits.len() == recall.top || exhausted {
                return Ok(hits);
            }
            // Where nothing narrows the search, most of what is near may be out of the selection.
            width = width.saturating_mul(if narrowed { WIDENING } else { WIDENING * WIDENING });
        }
    }
}

/// Rows to which a search is narrowed.
enum Wanted {
    All,
    Rows(Vec<RowId>),
    Tags(Bits),
}

/// So many keys of a prefix are looked up before all vectors are as good.
const KEYS_MAX: usize = 1_000;

impl Wanted {
    fn of(index: &Indexed, snapshot: &Snapshot, found: &Found, selection: &Resolved<'_>) -> Result<Self> {
        if selection.is_all() {
            return Ok(Self::All);
        }
        if !selection.key_prefix().is_empty()
            && let Some(rows) = rows_of_keys(snapshot, found.place, selection.key_prefix(), KEYS_MAX)?
        {
            return Ok(Self::Rows(rows));
        }
        let columns = index.columns.as_ref().filter(|columns| columns.cover(selection.filter()));
        Ok(columns.map_or(Self::All, |columns| Self::Tags(columns.select(selection))))
    }

    fn among(&self) -> Among<'_> {
        match self {
            Self::All => Among::All,
            Self::Rows(rows) => Among::Rows(rows),
            Self::Tags(tags) => Among::Tags(tags),
        }
    }

    fn is_narrowed(&self) -> bool {
        !matches!(self, Self::All)
    }
}

/// The rows of keys with this prefix, unless they are more than so many.
fn rows_of_keys(snapshot: &Snapshot, place: Place, prefix: &str, most: usize) -> Result<Option<Vec<RowId>>> {
    let first = place.text_key(prefix);
    let mut rows = Vec::new();
    for entry in snapshot.memory_keys.range(first.as_slice()..)? {
        let (key, row) = entry?;
        if !key.value().starts_with(&first) {
            break;
        }
        if rows.len() == most {
            return Ok(None);
        }
        rows.push(stored_row(row.value())?);
    }
    Ok(Some(rows))
}

/// By how much a search widens each time.
const WIDENING: usize = 4;

/// The nearest rows without an index: every vector is read from the file. Gives how many those were as well.
fn search_file(snapshot: &Snapshot, found: &Found, query: &Vector, top: usize, minimum_score: f32) -> Result<Searched> {
    let (first, last) = found.vectors().all();
    let (mut nearest, mut vectors) = (Nearest::new(top), 0);
    for entry in snapshot.vectors.range(first.as_slice()..=last.as_slice())? {
        let (key, bytes) = entry?;
        let vector = Vector::from_bytes(bytes.value(), found.record.dimensions)?;
        let score = found.record.metric.score(query, vector.components());
        vectors += 1;
        if score >= minimum_score {
            nearest.add(Candidate { row: RowId(number_of(key.value())?), score });
        }
    }
    Ok(Searched { candidates: nearest.into_sorted(), vectors, exact: true, narrowed: false })
}
