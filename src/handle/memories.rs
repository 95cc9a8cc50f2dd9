//! Memories of one namespace: how they are put, changed and deleted.

use std::sync::Arc;

use super::access::Access;
use crate::access::door::Door;
use crate::access::gate::{Delete, Operation, Proof, Write};
use crate::error::{Reason, Result};
use crate::id::Namespace;
use crate::identity::scope::Scopes;
use crate::tenant::memory::Memory;
use crate::tenant::namespace::KnownPlace;
use crate::tenant::once::Once;
use crate::tenant::open::Tenant;
use crate::tenant::patch::Patch;
use crate::tenant::place::Area;
use crate::tenant::selection::Selection;
use crate::tenant::write::{Batch, Deleted, PutOutcome};

/// The memories of one namespace, as one user sees them.
///
/// Every method passes the gate first. Beside the errors each names, all of them answer `Unauthenticated` when the
/// identity has expired, `Unavailable` when the tenant is suspended, `NotFound` when it is gone or the scope is
/// missing, and `Damaged` or `Unavailable` when the tenant's file fails.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// let notes = tenant.memories("notes")?;
/// notes.put(Memory::new("cat").text("a small feline").vector(vec![1.0, 0.0]))?;
/// notes.put(Memory::new("dog").text("a loyal canine").vector(vec![0.6, 0.8]))?;
///
/// let hits = notes.recall(&Recall::vector(&[0.9, 0.1]).top(1))?;
/// assert_eq!(hits[0].memory.key, "cat");
/// assert_eq!(notes.get("dog")?.text.as_deref(), Some("a loyal canine"));
///
/// notes.delete("cat")?;
/// assert_eq!(notes.get("cat").unwrap_err().kind(), ErrorKind::NotFound);
/// assert_eq!(notes.list(&List::new())?.memories.len(), 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Memories {
    pub(super) access: Arc<Access>,
    pub(super) area: Area,
    door: Arc<Door>,
    pub(super) known: Arc<KnownPlace>,
    once: Option<Once>,
}

impl Memories {
    pub(super) fn new(access: Arc<Access>, area: Area) -> Self {
        let door = access.door(&area);
        Self { access, area, door, known: Arc::default(), once: None }
    }

    /// An operation on this namespace.
    pub(super) fn run<O: Operation, R>(&self, work: impl FnOnce(&Tenant, &Proof<'_, O>) -> Result<R>) -> Result<R> {
        self.access.run_at(&self.door, work)
    }

    /// Whether this kind of operation is allowed in this namespace, beside another operation.
    pub(super) fn admit<O: Operation>(&self) -> Result<()> {
        self.door.admit::<O>().map(|_| ())
    }

    /// The name of the namespace.
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// assert_eq!(notes.namespace().as_str(), "notes");
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.area.namespace
    }

    /// Whether it is the user's own.
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// assert!(!notes.is_private() && tenant.private("notes")?.is_private());
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.area.private
    }

    /// The same namespace under an idempotency key of 1 to 255 bytes: a change through the result is done once, however
    /// often it is asked for, and answers the same each time. That makes it safe to repeat a change whose outcome is
    /// unknown.
    ///
    /// Keys are the user's own and are kept for 24 hours from the change, at most 65,536 of them in a tenant. A change
    /// that was refused leaves no key behind.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// let request = notes.once("request-17")?;
    /// let first = request.put(Memory::new("k").text("once"))?;
    /// let again = request.put(Memory::new("k").text("once"))?;
    /// assert_eq!((first, notes.get("k")?.version), (again, 1));
    ///
    /// // The key stands for one request.
    /// let refused = request.put(Memory::new("k").text("twice")).unwrap_err();
    /// assert_eq!(*refused.reason(), Reason::IdempotencyKeyReused);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the key is empty or too long. Changes answer `Conflict` when the key was used for another
    /// request, and `Limit` with `retry_after` when the tenant has as many keys as it may.
    pub fn once(&self, key: &str) -> Result<Self> {
        Ok(Self { once: Some(Once::new(key)?), ..self.clone() })
    }

    /// Whether all of these permissions are held in this namespace now: it passes the gate and does nothing else. It tells
    /// nothing of whether the namespace exists.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?;
    /// let notes = engine.tenant(&identity)?.memories("notes")?;
    /// notes.check(Scopes::READ)?;
    /// assert_eq!(notes.check(Scopes::WRITE).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`TenantHandle::check`](crate::TenantHandle::check).
    pub fn check(&self, needed: Scopes) -> Result<()> {
        self.access.know_policy()?;
        self.door.check(needed)
    }

    /// Puts a memory, replacing all of what its key had. Needs the scope `write`.
    ///
    /// When this returns `Ok`, the memory, the usage that counts it and the audit entry that names it are durable,
    /// all of them.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// let outcome = notes.put(Memory::new("k").text("first").vector(vec![0.6, 0.8]))?;
    /// assert!(outcome.created && outcome.version == 1);
    ///
    /// let refused = notes.put(Memory::new("k").vector(vec![1.0, 2.0, 3.0])).unwrap_err();
    /// assert_eq!(*refused.reason(), Reason::Dimension { expected: 2, actual: 3 });
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// A text without a vector is embedded first where the namespace names a model of which an
    /// [`Embedder`](crate::Embedder) is configured.
    ///
    /// # Errors
    /// `InvalidInput` when a part exceeds its limit or the vector has another dimension than the namespace; `Conflict`
    /// when another version was expected ([`Memory::if_version`]); `RetryLater` when the embedder cannot serve;
    /// `OutcomeUnknown` when the commit failed where it may or may not be durable.
    pub fn put(&self, memory: Memory) -> Result<PutOutcome> {
        let outcomes = self.put_many(vec![memory])?;
        // One memory gives one outcome.
        outcomes.into_iter().next().ok_or_else(|| Reason::DamagedRecord("put outcome").into())
    }

    /// Puts memories in order, all of them in one durable transaction or none. Needs the scope `write`.
    ///
    /// One commit costs about as much as a single put's, so this is the way to load many.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// let outcomes = notes.put_many((0..100).map(|n| Memory::new(format!("k{n}"))).collect())?;
    /// assert!(outcomes.iter().all(|outcome| outcome.created));
    ///
    /// // One bad memory, and nothing of the batch is there.
    /// assert!(notes.put_many(vec![Memory::new("good"), Memory::new("")]).is_err());
    /// assert_eq!(notes.get("good").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Memories::put`], and `InvalidInput` above 10,000 memories or 64 MiB.
    pub fn put_many(&self, memories: Vec<Memory>) -> Result<Vec<PutOutcome>> {
        let batch = Batch::new(memories)?;
        let once = match &self.once {
            Some(once) => Some((once.clone(), batch.fingerprint(&self.area)?)),
            None => None,
        };
        let batch = self.embedded(batch)?;
        self.run::<Write, _>(|tenant, proof| tenant.put(proof, &self.area, once, batch))
    }

    /// Gives vectors to the texts that have none, where the namespace's model has an embedder.
    fn embedded(&self, batch: Batch) -> Result<Batch> {
        if self.access.embedders().is_empty() || batch.texts_to_embed().is_empty() {
            return Ok(batch);
        }
        let model = self.run::<Write, _>(|tenant, proof| tenant.model_of(proof, &self.area, &self.known))?;
        self.access.embedded(model, batch)
    }

    /// Changes the JSON content of a memory by a merge patch (RFC 7396) and leaves text, metadata and vector as they
    /// are. Needs the scope `write`. Durable when it returns `Ok`.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k").content(json!({"room": "A1", "open": true})))?;
    /// notes.patch(&Patch::new("k", json!({"room": "B4", "open": null})).if_version(1))?;
    /// assert_eq!(notes.get("k")?.content.unwrap().as_str(), r#"{"room":"B4"}"#);
    ///
    /// // Whoever expects a version that is gone is told the one there is.
    /// let refused = notes.patch(&Patch::new("k", json!({"open": true})).if_version(1)).unwrap_err();
    /// assert_eq!(*refused.reason(), Reason::Version { expected: 1, actual: 2 });
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when another version was expected; `InvalidInput` when the patch or
    /// the content after it exceeds the limits of content; `OutcomeUnknown` as for [`Memories::put`].
    pub fn patch(&self, patch: &Patch) -> Result<PutOutcome> {
        self.run::<Write, _>(|tenant, proof| tenant.patch(proof, &self.area, self.once.as_ref(), patch))
    }

    /// Deletes the memory of a key. Needs the scope `delete`. Durable when it returns `Ok`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k"))?;
    /// notes.delete("k")?;
    /// assert_eq!(notes.delete("k").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete(&self, key: &str) -> Result<()> {
        self.run::<Delete, _>(|tenant, proof| tenant.delete(proof, &self.area, self.once.as_ref(), key, None))
    }

    /// Deletes the memory of a key if it has this version now. Needs the scope `delete`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k"))?;
    /// let refused = notes.delete_version("k", 2).unwrap_err();
    /// assert_eq!(*refused.reason(), Reason::Version { expected: 2, actual: 1 });
    /// notes.delete_version("k", 1)?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when it has another version, which the error names;
    /// `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete_version(&self, key: &str, version: u64) -> Result<()> {
        let once = self.once.as_ref();
        self.run::<Delete, _>(|tenant, proof| tenant.delete(proof, &self.area, once, key, Some(version)))
    }

    /// Deletes the selected memories, the oldest 10,000 of them at most, in one durable transaction with an audit entry
    /// each. Needs the scope `delete`.
    ///
    /// [`Memories::count`] of the same selection is the dry run.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("a").metadata("draft", true))?;
    /// notes.put(Memory::new("b").metadata("draft", false))?;
    /// let drafts = Selection::all().filter(Filter::eq("draft", true));
    /// assert_eq!(notes.count(&drafts)?, 1);
    /// assert_eq!(notes.delete_where(&drafts)?.count, 1);
    /// assert_eq!(notes.count(&Selection::all())?, 1);
    ///
    /// // A filter that no memory could match is a mistake, not an empty selection.
    /// let mistaken = Selection::all().filter(Filter::eq("", true));
    /// assert_eq!(notes.delete_where(&mistaken).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the selection breaks a limit; `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete_where(&self, selection: &Selection) -> Result<Deleted> {
        let once = self.once.as_ref();
        self.run::<Delete, _>(|tenant, proof| tenant.delete_where(proof, &self.area, once, selection))
    }
}
