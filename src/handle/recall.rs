//! Questions: to one namespace, or to several at once.

use super::memories::Memories;
use crate::access::gate::Read;
use crate::error::{Error, Reason, Result};
use crate::index::vector::GivenVector;
use crate::limits::{ANSWER_BYTES_MAX, RECALL_NAMESPACES_MAX};
use crate::tenant::question::{Hit, Recall};
use crate::tenant::recall::Recalled;

impl Memories {
    /// The nearest memories to a vector or a text, nearest first; equal scores in order of age. Exact. Needs the scope
    /// `read`.
    ///
    /// It sees every put and delete that returned before it began. A namespace without vectors gives no hits.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("cat").vector(vec![1.0, 0.0]))?;
    /// notes.put(Memory::new("dog").vector(vec![0.6, 0.8]))?;
    /// let hits = notes.recall(&Recall::vector(&[0.9, 0.1]).top(1).explain())?;
    /// assert_eq!(hits[0].memory.key, "cat");
    /// let why = hits[0].explanation.as_ref().unwrap();
    /// assert_eq!((why.rank, why.vectors, why.exact), (1, 2, true));
    ///
    /// let refused = notes.recall(&Recall::vector(&[1.0, 2.0, 3.0])).unwrap_err();
    /// assert_eq!(*refused.reason(), Reason::Dimension { expected: 2, actual: 3 });
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// With an embedder, texts need no vectors:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use watertight::*;
    /// let builder = Engine::builder("/memory").root_key(RootKey::generate()?);
    /// let (engine, authority) = builder
    ///     .embedder(Arc::new(HashingEmbedder::new(256)?))
    ///     .danger()
    ///     .disk(Arc::new(disk::MemoryDisk::new()))
    ///     .open()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let notes = tenant.memories("notes")?;
    /// notes.create(&NamespaceSettings::new().model("watertight-hashing-1-256"))?;
    /// notes.put(Memory::new("a").text("The parcel arrives on Tuesday."))?;
    /// notes.put(Memory::new("b").text("The cat sleeps."))?;
    /// assert_eq!(notes.recall(&Recall::about("When does the parcel arrive?").top(1))?[0].memory.key, "a");
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the vector is empty, not finite, of another dimension or model than the namespace, under
    /// cosine all zero, or more than 10,000 hits are asked for; for a text also when the namespace's model has no
    /// embedder. `RetryLater` when the embedder cannot serve.
    pub fn recall(&self, recall: &Recall) -> Result<Vec<Hit>> {
        Ok(self.recalled(recall, &mut Vec::new())?.hits)
    }

    /// `embedded` remembers the vectors of a question that is a text, by model.
    fn recalled(&self, recall: &Recall, embedded: &mut Vec<(String, GivenVector)>) -> Result<Recalled> {
        recall.check()?;
        let model = match recall.text() {
            Some(text) => self.embed_question(text, embedded)?,
            None => None,
        };
        let vector = embedded.iter().find(|(embedded, _)| Some(embedded) == model.as_ref());
        let vector = vector.map(|(model, vector)| (model.as_str(), vector));
        self.run::<Read, _>(|tenant, proof| tenant.recall(proof, &self.area, &self.known, recall, vector))
    }

    /// Embeds a text by the namespace's model and gives the model; `None` when there is no namespace to ask.
    fn embed_question(&self, text: &str, embedded: &mut Vec<(String, GivenVector)>) -> Result<Option<String>> {
        let found = self.run::<Read, _>(|tenant, proof| tenant.find_namespace(proof, &self.area))?;
        let Some(info) = found else { return Ok(None) };
        let model = info.model.ok_or(Reason::NoEmbedder { model: None })?;
        if !embedded.iter().any(|(known, _)| *known == model) {
            let vectors = self.access.embedders().embed(&model, &[text])?;
            embedded.extend(vectors.into_iter().map(|vector| (model.clone(), vector)));
        }
        Ok(Some(model))
    }

    /// Whether it is the same namespace, whoever's handle it is.
    fn is_same(&self, other: &Self) -> bool {
        let (one, two) = (&self.access, &other.access);
        one.is_same_tenant(two) && self.area == other.area && (!self.area.private || one.user() == two.user())
    }
}

/// A hit of a question to several namespaces.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AcrossHit {
    /// Which of the namespaces asked it is from, counted from 0.
    pub source: usize,
    /// The hit there.
    pub hit: Hit,
}

/// Asks several namespaces at once and merges what each answers: of one handle, or of handles of several tenants that
/// the caller holds. At most 64.
///
/// Each namespace passes its own handle's gate and answers for itself; nothing of one decides what another gives. A
/// refusal by any of them refuses the whole. Equal scores are in the order of the namespaces given, then of age.
///
/// ```
/// # use watertight::*;
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # for tenant in ["acme", "zoo"] {
/// #     operator.provision(TenantSpec::new(tenant)?.trusts(Issuer::authority()))?;
/// # }
/// # let handle = |tenant| {
/// #     engine.tenant(&authority.attest(Attestation::new(tenant, "alice")?.scopes(Scopes::ALL))?)
/// # };
/// let (acme, zoo) = (handle("acme")?.memories("notes")?, handle("zoo")?.memories("notes")?);
/// acme.put(Memory::new("a").vector(vec![1.0, 0.0]))?;
/// zoo.put(Memory::new("z").vector(vec![0.8, 0.6]))?;
/// let hits = recall_across(&[&acme, &zoo], &Recall::vector(&[1.0, 0.0]))?;
/// let found: Vec<_> = hits.iter().map(|found| (found.source, found.hit.memory.key.as_str())).collect();
/// assert_eq!(found, [(0, "a"), (1, "z")]);
///
/// // Scores under different metrics cannot be held against each other.
/// let other = handle("zoo")?.memories("points")?;
/// other.create(&NamespaceSettings::new().metric(Metric::L2).dimensions(2))?;
/// let refused = recall_across(&[&acme, &other], &Recall::vector(&[1.0, 0.0])).unwrap_err();
/// assert_eq!(*refused.reason(), Reason::NotComparable);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As for [`Memories::recall`], and `InvalidInput` when none or more than 64 namespaces are asked, one is asked twice,
/// or they differ in metric or model.
pub fn recall_across(namespaces: &[&Memories], recall: &Recall) -> Result<Vec<AcrossHit>> {
    if namespaces.is_empty() {
        return Err(Error::invalid("namespaces", "at least one must be asked"));
    }
    if namespaces.len() > RECALL_NAMESPACES_MAX {
        return Err(Error::too_large("namespaces", RECALL_NAMESPACES_MAX, namespaces.len()));
    }
    let twice = |(at, one): (usize, &&Memories)| namespaces.iter().take(at).any(|other| other.is_same(one));
    if namespaces.iter().enumerate().any(twice) {
        return Err(Error::invalid("namespaces", "one of them is asked twice"));
    }
    let (mut comparison, mut embedded) = (None, Vec::new());
    let mut merged: Vec<AcrossHit> = Vec::new();
    for (source, memories) in namespaces.iter().enumerate() {
        let recalled = memories.recalled(recall, &mut embedded)?;
        if let Some(own) = recalled.comparison {
            if comparison.as_ref().is_some_and(|other| !own.agrees(other)) {
                return Err(Reason::NotComparable.into());
            }
            comparison = Some(own.joined(comparison));
        }
        merged.extend(recalled.hits.into_iter().map(|hit| AcrossHit { source, hit }));
        // Stable: equal scores stay in order. Cut after each, so that no more than two answers are held.
        merged.sort_by(|a, b| b.hit.score.total_cmp(&a.hit.score));
        merged.truncate(recall.top_hits());
    }
    let bytes = merged.iter().fold(0_usize, |sum, found| sum.saturating_add(found.hit.stored_bytes));
    if bytes > ANSWER_BYTES_MAX {
        return Err(Error::too_large("answer bytes", ANSWER_BYTES_MAX, bytes));
    }
    Ok(merged)
}
