//! Memories of one namespace.

use std::sync::Arc;

use super::tenant::Access;
use crate::access::gate::{Delete, Read, Write};
use crate::error::{Reason, Result};
use crate::id::Namespace;
use crate::tenant::list::{List, Page};
use crate::tenant::memory::{Memory, MemoryRecord};
use crate::tenant::namespace::Area;
use crate::tenant::patch::Patch;
use crate::tenant::read::KnownPlace;
use crate::tenant::recall::{Hit, Recall};
use crate::tenant::selection::Selection;
use crate::tenant::write::{Deleted, PutOutcome};

/// The memories of one namespace, as one user sees them.
///
/// Every method passes the gate first. Beside the errors each names, all of them answer `Unauthenticated` when the
/// identity has expired, `Unavailable` when the tenant is suspended, `NotFound` when it is gone or the scope is
/// missing, and `Damaged` or `Unavailable` when the tenant's file fails.
///
/// ```
/// use watertight::*;
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let root_key = RootKey::generate().unwrap();
/// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
/// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
/// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
/// # let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
/// # let tenant = engine.tenant(&identity)?;
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
    access: Arc<Access>,
    area: Area,
    place: KnownPlace,
}

impl Memories {
    pub(super) fn new(access: Arc<Access>, area: Area) -> Self {
        Self { access, area, place: KnownPlace::new() }
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.area.namespace
    }

    /// Whether it is the user's own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.area.private
    }

    /// Puts a memory, replacing all of what its key had. Needs the scope `write`.
    ///
    /// When this returns `Ok`, the memory, the usage that counts it and the audit entry that names it are durable,
    /// all of them.
    ///
    /// # Errors
    /// `InvalidInput` when a part exceeds its limit or the vector has another dimension than the namespace; `Conflict`
    /// when another version was expected ([`Memory::if_version`]);
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
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root_key = RootKey::generate().unwrap();
    /// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
    /// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    /// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    /// # let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// # let notes = engine.tenant(&identity)?.memories("notes")?;
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
        self.access.run::<Write, _>(|tenant, proof| tenant.put(proof, &self.area, memories))
    }

    /// The memory of a key. Needs the scope `read`.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn get(&self, key: &str) -> Result<MemoryRecord> {
        self.access.run::<Read, _>(|tenant, proof| tenant.get(proof, &self.area, &self.place, key))
    }

    /// The memories of several keys, in the order of the keys, `None` where there is none; all of one state of the
    /// tenant. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root_key = RootKey::generate().unwrap();
    /// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
    /// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    /// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    /// # let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// # let notes = engine.tenant(&identity)?.memories("notes")?;
    /// notes.put(Memory::new("a").text("first"))?;
    /// let found = notes.get_many(&["a", "b"])?;
    /// assert_eq!(found[0].as_ref().unwrap().text.as_deref(), Some("first"));
    /// assert!(found[1].is_none());
    /// assert!(notes.exists("a")? && !notes.exists("b")?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` above 10,000 keys, or when a key breaks its rule.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<MemoryRecord>>> {
        self.access.run::<Read, _>(|tenant, proof| tenant.get_many(proof, &self.area, &self.place, keys))
    }

    /// Whether there is a memory of a key. Needs the scope `read`. See [`Memories::get_many`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` when the key breaks its rule.
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.access.run::<Read, _>(|tenant, proof| tenant.exists(proof, &self.area, &self.place, key))
    }

    /// Changes the JSON content of a memory by a merge patch (RFC 7396) and leaves text, metadata and vector as they
    /// are. Needs the scope `write`. Durable when it returns `Ok`.
    ///
    /// ```
    /// # use serde_json::json;
    /// # use watertight::*;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root_key = RootKey::generate().unwrap();
    /// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
    /// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    /// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    /// # let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// # let notes = engine.tenant(&identity)?.memories("notes")?;
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
        self.access.run::<Write, _>(|tenant, proof| tenant.patch(proof, &self.area, patch))
    }

    /// Deletes the memory of a key. Needs the scope `delete`. Durable when it returns `Ok`.
    ///
    /// # Errors
    /// `NotFound` when there is none; `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete(&self, key: &str) -> Result<()> {
        self.access.run::<Delete, _>(|tenant, proof| tenant.delete(proof, &self.area, key, None))
    }

    /// Deletes the memory of a key if it has this version now. Needs the scope `delete`.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when it has another version, which the error names;
    /// `OutcomeUnknown` as for [`Memories::put`].
    pub fn delete_version(&self, key: &str, version: u64) -> Result<()> {
        self.access.run::<Delete, _>(|tenant, proof| tenant.delete(proof, &self.area, key, Some(version)))
    }

    /// Deletes the selected memories, the oldest 10,000 of them at most, in one durable transaction with an audit entry
    /// each. Needs the scope `delete`.
    ///
    /// [`Memories::count`] of the same selection is the dry run.
    ///
    /// ```
    /// # use watertight::*;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let root_key = RootKey::generate().unwrap();
    /// # let (engine, authority) = Engine::builder(directory.path().join("data")).root_key(root_key).open().unwrap();
    /// # let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    /// # operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    /// # let identity = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// # let notes = engine.tenant(&identity)?.memories("notes")?;
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
        self.access.run::<Delete, _>(|tenant, proof| tenant.delete_where(proof, &self.area, selection))
    }

    /// How many memories are selected. Needs the scope `read`. It looks at every memory of the namespace. See
    /// [`Memories::delete_where`] for an example.
    ///
    /// # Errors
    /// `InvalidInput` when the selection breaks a limit.
    pub fn count(&self, selection: &Selection) -> Result<u64> {
        self.access.run::<Read, _>(|tenant, proof| tenant.count(proof, &self.area, selection))
    }

    /// One page of the memories, newest first unless asked otherwise. Needs the scope `read`. A namespace that does not
    /// exist is empty.
    ///
    /// Pages hold no snapshot between them, so a slow reader costs nothing. A memory that exists throughout is given
    /// exactly once, whatever others write meanwhile. A list that selects few of many memories looks at all of them.
    ///
    /// # Errors
    /// `InvalidInput` when the limit is out of range or the cursor was not given out for this list.
    pub fn list(&self, list: &List) -> Result<Page> {
        self.access.run::<Read, _>(|tenant, proof| tenant.list(proof, &self.area, list))
    }

    /// The nearest memories to a vector, nearest first; equal scores in order of age. Exact. Needs the scope `read`.
    ///
    /// It sees every put and delete that returned before it began. A namespace without vectors gives no hits.
    ///
    /// # Errors
    /// `InvalidInput` when the vector is empty, not finite, all zero or of another dimension than the namespace, or
    /// more than 10,000 hits are asked for.
    pub fn recall(&self, recall: &Recall) -> Result<Vec<Hit>> {
        self.access.run::<Read, _>(|tenant, proof| tenant.recall(proof, &self.area, recall))
    }
}
