//! Re-embedding a namespace, from a thread of the caller's.

use std::ops::ControlFlow;

use super::memories::Memories;
use crate::access::gate::{Admin, Write};
use crate::error::{Error, Result};
use crate::index::vector::GivenVector;
use crate::tenant::memory::MemoryRecord;
use crate::tenant::reembed::ReembedProgress;

/// A re-embedding of one namespace: the old vectors serve until the last memory has its new one.
///
/// It is kept in the tenant's file, a batch in each durable step: whoever asks for the same model again, after a crash
/// or on purpose, goes on where it was left. Memories are read, put and recalled meanwhile as always.
///
/// ```
/// use std::ops::ControlFlow;
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// let notes = tenant.memories("notes")?;
/// notes.put(Memory::new("cat").text("a small feline").vector(vec![1.0, 0.0]))?;
///
/// let reembedding = notes.reembedding("model-b")?;
/// let model = |memories: &[MemoryRecord]| {
///     Ok(memories.iter().map(|memory| Some(vec![memory.text.as_ref().map_or(0, String::len) as f32, 1.0, 2.0])).collect())
/// };
/// // In a thread, for what takes long:
/// let done = std::thread::spawn(move || {
///     reembedding.run(model, |progress| {
///         println!("{} of {}", progress.done, progress.of);
///         ControlFlow::Continue(())
///     })
/// });
/// assert!(done.join().unwrap()?.finished);
/// assert_eq!(notes.info()?.dimensions, Some(3));
/// assert_eq!(notes.recall(&Recall::vector(&[14.0, 1.0, 2.0]).model("model-b"))?[0].memory.key, "cat");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Reembedding {
    memories: Memories,
    model: String,
}

impl Memories {
    /// Begins to replace the namespace's vectors by those of another model, or goes on with it. Needs the scope `admin`,
    /// or `write` for a private namespace.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("cat").vector(vec![1.0, 0.0]))?;
    /// let reembedding = notes.reembedding("model-b")?;
    /// // One at a time.
    /// assert_eq!(notes.reembedding("model-c").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the namespace does not exist; `InvalidInput` for a model that cannot be, or while one to another
    /// model is under way.
    pub fn reembedding(&self, model: &str) -> Result<Reembedding> {
        if self.area.private {
            self.run::<Write, _>(|tenant, proof| tenant.begin_reembedding(proof, &self.area, model))?;
        } else {
            self.run::<Admin, _>(|tenant, proof| tenant.begin_reembedding(proof, &self.area, model))?;
        }
        Ok(Reembedding { memories: self.clone(), model: model.to_owned() })
    }
}

impl Reembedding {
    /// Gives the next memories, 100 at most, their new vectors. `embed` answers a vector for each, in their order, all of
    /// one dimension, or none for a memory that is to have no vector any more, which it loses at once.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// # notes.put(Memory::new("cat").vector(vec![1.0, 0.0]))?;
    /// let reembedding = notes.reembedding("model-b")?;
    /// let refused = reembedding.step(|_| Ok(Vec::new())).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    /// let progress = reembedding.step(|memories| Ok(vec![Some(vec![0.5; 8]); memories.len()]))?;
    /// assert_eq!((progress.done, progress.of, progress.finished), (1, 1, true));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Whatever `embed` answers, with nothing changed; `InvalidInput` for vectors that do not fit, or when it was
    /// cancelled; `NotFound` when the namespace is gone.
    pub fn step(
        &self,
        embed: impl FnOnce(&[MemoryRecord]) -> Result<Vec<Option<Vec<f32>>>>,
    ) -> Result<ReembedProgress> {
        let (memories, area) = (&self.memories, &self.memories.area);
        let batch = if area.private {
            memories.run::<Write, _>(|tenant, proof| tenant.next_to_reembed(proof, area, &self.model))?
        } else {
            memories.run::<Admin, _>(|tenant, proof| tenant.next_to_reembed(proof, area, &self.model))?
        };
        let Some(batch) = batch else {
            // It is finished, if it was not cancelled.
            return if self.memories.info()?.model.as_deref() == Some(self.model.as_str()) {
                Ok(ReembedProgress { done: 0, of: 0, finished: true })
            } else {
                Err(Error::invalid("re-embedding", "it has ended"))
            };
        };
        let vectors = if batch.memories.is_empty() { Vec::new() } else { embed(&batch.memories)? };
        let vectors = vectors.into_iter().map(|vector| vector.map(|vector| GivenVector::new(&vector)).transpose());
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        if area.private {
            memories.run::<Write, _>(|tenant, proof| tenant.reembed(proof, area, &batch, &vectors))
        } else {
            memories.run::<Admin, _>(|tenant, proof| tenant.reembed(proof, area, &batch, &vectors))
        }
    }

    /// As [`Reembedding::step`], by the engine's embedder of the model.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watertight::disk::MemoryDisk;
    /// use watertight::*;
    ///
    /// let (engine, authority) = Engine::builder("/memory")
    ///     .root_key(RootKey::generate()?)
    ///     .embedder(Arc::new(HashingEmbedder::new(64)?))
    ///     .danger()
    ///     .disk(Arc::new(MemoryDisk::new()))
    ///     .open()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("cat").text("a small feline").vector(vec![1.0, 0.0]))?;
    /// let model = HashingEmbedder::new(64)?.model().to_owned();
    /// assert!(notes.reembedding(&model)?.step_by_embedder()?.finished);
    /// assert_eq!(notes.recall(&Recall::about("a feline"))?[0].memory.key, "cat");
    /// // Nobody embeds for a model that has no embedder.
    /// assert_eq!(notes.reembedding("model-b")?.step_by_embedder().unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Reembedding::step`]; `InvalidInput` when there is no embedder of the model or a memory has no text;
    /// `RetryLater` when the embedder cannot serve.
    pub fn step_by_embedder(&self) -> Result<ReembedProgress> {
        self.step(|memories| {
            let texts = memories.iter().map(|memory| memory.text.as_deref());
            let texts = texts.collect::<Option<Vec<&str>>>();
            let texts = texts.ok_or_else(|| Error::invalid("re-embedding", "a memory has no text to embed"))?;
            let vectors = self.memories.access.embedders().embed(&self.model, &texts)?;
            Ok(vectors.into_iter().map(|vector| Some(vector.into_components())).collect())
        })
    }

    /// Steps until it is finished, or `watch` breaks it off: it can be gone on with.
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// # notes.put_many((0..300).map(|n| Memory::new(format!("{n}")).vector(vec![1.0, n as f32])).collect())?;
    /// let embed = |memories: &[MemoryRecord]| Ok(vec![Some(vec![0.5; 8]); memories.len()]);
    /// let progress = notes.reembedding("model-b")?.run(embed, |_| ControlFlow::Break(()))?;
    /// assert_eq!((progress.done, progress.of, progress.finished), (100, 300, false));
    /// let uneven = |memories: &[MemoryRecord]| Ok(vec![Some(vec![0.5; memories.len() + 8]); memories.len()]);
    /// let refused = notes.reembedding("model-b")?.run(uneven, |_| ControlFlow::Continue(())).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    /// assert!(notes.reembedding("model-b")?.run(embed, |_| ControlFlow::Continue(()))?.finished);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Reembedding::step`].
    pub fn run(
        &self,
        mut embed: impl FnMut(&[MemoryRecord]) -> Result<Vec<Option<Vec<f32>>>>,
        mut watch: impl FnMut(ReembedProgress) -> ControlFlow<()>,
    ) -> Result<ReembedProgress> {
        loop {
            let progress = self.step(&mut embed)?;
            if progress.finished || watch(progress).is_break() {
                return Ok(progress);
            }
        }
    }

    /// Gives it up: the namespace keeps the vectors that it has. Also when nothing is under way.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// # notes.put(Memory::new("cat").vector(vec![1.0, 0.0]))?;
    /// notes.reembedding("model-b")?.cancel()?;
    /// assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0]))?.len(), 1);
    /// notes.reembedding("model-c")?;
    ///
    /// let reembedding = notes.reembedding("model-c")?;
    /// notes.delete_namespace()?;
    /// assert_eq!(reembedding.cancel().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the namespace is gone.
    pub fn cancel(self) -> Result<()> {
        let (memories, area) = (&self.memories, &self.memories.area);
        if area.private {
            memories.run::<Write, _>(|tenant, proof| tenant.cancel_reembedding(proof, area))
        } else {
            memories.run::<Admin, _>(|tenant, proof| tenant.cancel_reembedding(proof, area))
        }
    }
}
