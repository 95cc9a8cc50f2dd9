//! Several operations of one handle as one transaction.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::access::Access;
use crate::access::door::Door;
use crate::access::gate::{Delete, Operation, Proof, Read, Write};
use crate::error::{Reason, Result};
use crate::id::{Namespace, check_key};
use crate::tenant::change::Change;
use crate::tenant::memory::{Memory, MemoryRecord};
use crate::tenant::patch::Patch;
use crate::tenant::place::Area;
use crate::tenant::selection::Selection;
use crate::tenant::transact::Steps;
use crate::tenant::write::{Batch, Deleted, PutOutcome};

/// A transaction under way, given to the code of [`TenantHandle::transact`](crate::TenantHandle::transact).
///
/// At most 10,000 memories and 64 MiB are changed by one. A step that is refused leaves the transaction as it is, so
/// that the code may do something else instead; a step that fails because of the file or the device ends it.
///
/// # Authority
/// That of the handle whose transaction it is, for as long as its code runs: every step passes the handle's gate.
pub struct Transaction<'t> {
    access: Arc<Access>,
    steps: RefCell<Steps<'t>>,
}

/// One namespace as a transaction sees it: what was there before, and what the transaction has changed so far.
pub struct TransactionMemories<'a, 't> {
    transaction: &'a Transaction<'t>,
    area: Area,
    door: Arc<Door>,
}

impl<'t> Transaction<'t> {
    pub(super) fn new(access: Arc<Access>, steps: Steps<'t>) -> Self {
        Self { access, steps: RefCell::new(steps) }
    }

    pub(super) fn into_steps(self) -> Steps<'t> {
        self.steps.into_inner()
    }

    /// A namespace that all users of the tenant share.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| t.memories("notes")?.put(Memory::new("k")))?;
    /// assert!(tenant.transact(|t| t.memories("No Name").map(|_| ())).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn memories(&self, namespace: &str) -> Result<TransactionMemories<'_, 't>> {
        self.area(namespace, false)
    }

    /// A namespace of this user alone.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| t.private("diary")?.put(Memory::new("k")))?;
    /// assert!(tenant.private("diary")?.exists("k")?);
    /// assert!(tenant.transact(|t| t.private("").map(|_| ())).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`Namespace`].
    pub fn private(&self, namespace: &str) -> Result<TransactionMemories<'_, 't>> {
        self.area(namespace, true)
    }

    /// The answer with which the code gives its transaction up: nothing of it is done, and the caller is told
    /// [`Reason::Aborted`].
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let given_up = tenant.transact(|t| {
    ///     t.memories("notes")?.put(Memory::new("k"))?;
    ///     t.abort::<()>()
    /// });
    /// assert_eq!(*given_up.unwrap_err().reason(), Reason::Aborted);
    /// assert!(!tenant.memories("notes")?.exists("k")?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Always.
    pub fn abort<R>(&self) -> Result<R> {
        Err(Reason::Aborted.into())
    }

    fn area(&self, namespace: &str, private: bool) -> Result<TransactionMemories<'_, 't>> {
        let area = Area { namespace: Namespace::new(namespace)?, private };
        Ok(TransactionMemories { transaction: self, door: self.access.door(&area), area })
    }

    /// One step: the gate first, then the work with the proof. `size` is how many memories and bytes it changes.
    fn step<O: Operation, R>(
        &self,
        door: &Arc<Door>,
        size: (usize, u64),
        work: impl FnOnce(&mut Change<'t>, &Proof<'_, O>) -> Result<R>,
    ) -> Result<R> {
        let proof = door.pass::<O>()?;
        // Nothing of the caller's runs inside a step, so that it cannot be under way already.
        self.steps.borrow_mut().run(size, |change| work(change, &proof))
    }
}

impl TransactionMemories<'_, '_> {
    /// The memory of a key. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("k").text("here already"))?;
    ///     assert_eq!(notes.get("k")?.text.as_deref(), Some("here already"));
    ///     assert_eq!(notes.get("absent").unwrap_err().kind(), ErrorKind::NotFound);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn get(&self, key: &str) -> Result<MemoryRecord> {
        self.step::<Read, _>((0, 0), |change, proof| change.get(proof, &self.area, key))
    }

    /// Whether there is a memory of a key. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let created = tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     if notes.exists("k")? { Ok(false) } else { notes.put(Memory::new("k")).map(|outcome| outcome.created) }
    /// })?;
    /// assert!(created);
    /// assert!(tenant.transact(|t| t.memories("notes")?.exists("")).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the key breaks its rule.
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.step::<Read, _>((0, 0), |change, proof| change.exists(proof, &self.area, key))
    }

    /// Puts a memory, replacing all of what its key had. Needs the scope `write`. See
    /// [`Memories::put`](crate::Memories::put). An embedder is asked while others wait for the transaction.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("k"))?;
    ///     // A refusal takes nothing back of what was done before.
    ///     assert_eq!(notes.put(Memory::new("k").if_version(7)).unwrap_err().kind(), ErrorKind::Conflict);
    ///     Ok(())
    /// })?;
    /// assert!(tenant.memories("notes")?.exists("k")?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Memories::put`](crate::Memories::put), and `InvalidInput` above 10,000 memories or 64 MiB.
    pub fn put(&self, memory: Memory) -> Result<PutOutcome> {
        let mut batch = Batch::new(vec![memory])?;
        if !batch.texts_to_embed().is_empty() && !self.transaction.access.embedders().is_empty() {
            let model = self.step::<Write, _>((0, 0), |change, proof| change.model_of(proof, &self.area))?;
            batch = self.transaction.access.embedded(model, batch)?;
        }
        let size = (1, batch.bytes());
        let outcomes = self.step::<Write, _>(size, |change, proof| change.put_batch(proof, &self.area, &batch))?;
        // One memory gives one outcome.
        outcomes.into_iter().next().ok_or_else(|| Reason::DamagedRecord("put outcome").into())
    }

    /// Changes the JSON content of a memory by a merge patch. Needs the scope `write`. See
    /// [`Memories::patch`](crate::Memories::patch).
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("k").content(serde_json::json!({"n": 1})))?;
    ///     notes.patch(&Patch::new("k", serde_json::json!({"n": 2})))?;
    ///     assert_eq!(notes.get("k")?.content.unwrap().as_str(), r#"{"n":2}"#);
    ///     assert!(notes.patch(&Patch::new("absent", serde_json::json!({}))).is_err());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Memories::patch`](crate::Memories::patch).
    pub fn patch(&self, patch: &Patch) -> Result<PutOutcome> {
        let bytes = patch.check()?;
        // The whole memory is written again.
        let before = self.step::<Write, _>((0, 0), |change, proof| change.bytes_of(proof, &self.area, patch.key()))?;
        let size = (1, before.saturating_add(bytes));
        self.step::<Write, _>(size, |change, proof| change.patch(proof, &self.area, patch))
    }

    /// Deletes the memory of a key. Needs the scope `delete`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("k"))?;
    ///     notes.delete("k")?;
    ///     assert_eq!(notes.delete("k").unwrap_err().kind(), ErrorKind::NotFound);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.delete_key(key, None)
    }

    /// Deletes the memory of a key if it has this version now. Needs the scope `delete`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("k"))?;
    ///     assert_eq!(notes.delete_version("k", 2).unwrap_err().kind(), ErrorKind::Conflict);
    ///     notes.delete_version("k", 1)
    /// })?;
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when it has another version, which the error names.
    pub fn delete_version(&self, key: &str, version: u64) -> Result<()> {
        self.delete_key(key, Some(version))
    }

    /// Deletes the selected memories, the oldest 10,000 of them at most. Needs the scope `delete`. It does not count into
    /// the 10,000 memories of the transaction.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let deleted = tenant.transact(|t| {
    ///     let notes = t.memories("notes")?;
    ///     notes.put(Memory::new("a"))?;
    ///     notes.put(Memory::new("b"))?;
    ///     assert!(notes.delete_where(&Selection::all().filter(Filter::eq("", 1))).is_err());
    ///     notes.delete_where(&Selection::all())
    /// })?;
    /// assert_eq!(deleted.count, 2);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the selection breaks a limit.
    pub fn delete_where(&self, selection: &Selection) -> Result<Deleted> {
        selection.check()?;
        self.step::<Delete, _>((0, 0), |change, proof| change.delete_where(proof, &self.area, selection))
    }

    fn delete_key(&self, key: &str, version: Option<u64>) -> Result<()> {
        check_key(key)?;
        self.step::<Delete, _>((1, 0), |change, proof| change.delete(proof, &self.area, key, version))
    }

    fn step<O: Operation, R>(
        &self,
        size: (usize, u64),
        work: impl for<'c> FnOnce(&mut Change<'c>, &Proof<'_, O>) -> Result<R>,
    ) -> Result<R> {
        self.transaction.step(&self.door, size, work)
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("tenant", self.access.tenant_id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TransactionMemories<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionMemories").field("area", &self.area).finish_non_exhaustive()
    }
}
