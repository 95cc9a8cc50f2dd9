//! Memories of one namespace: how they are found, listed and followed.

use super::listing::Listing;
use super::memories::Memories;
use crate::access::gate::Read;
use crate::error::Result;
use crate::tenant::cursor::FeedPosition;
use crate::tenant::feed::FeedPage;
use crate::tenant::list::{List, Page};
use crate::tenant::memory::MemoryRecord;
use crate::tenant::selection::Selection;

impl Memories {
    /// The memory of a key. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k").text("a small feline"))?;
    /// assert_eq!(notes.get("k")?.text.as_deref(), Some("a small feline"));
    /// assert_eq!(notes.get("absent").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn get(&self, key: &str) -> Result<MemoryRecord> {
        self.run::<Read, _>(|tenant, proof| tenant.get(proof, &self.area, &self.known, key))
    }

    /// The memories of several keys, in the order of the keys, `None` where there is none; all of one state of the
    /// tenant. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("a").text("first"))?;
    /// let found = notes.get_many(&["a", "b"])?;
    /// assert_eq!(found[0].as_ref().unwrap().text.as_deref(), Some("first"));
    /// assert!(found[1].is_none());
    /// assert_eq!(notes.get_many(&["a", ""]).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` above 10,000 keys, or when a key breaks its rule.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<MemoryRecord>>> {
        self.run::<Read, _>(|tenant, proof| tenant.get_many(proof, &self.area, &self.known, keys))
    }

    /// Whether there is a memory of a key. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("k"))?;
    /// assert!(notes.exists("k")? && !notes.exists("absent")?);
    /// assert_eq!(notes.exists("").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the key breaks its rule.
    pub fn exists(&self, key: &str) -> Result<bool> {
        self.run::<Read, _>(|tenant, proof| tenant.exists(proof, &self.area, &self.known, key))
    }

    /// How many memories are selected. Needs the scope `read`. It looks at every memory of the namespace.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("a/1"))?;
    /// notes.put(Memory::new("b/1"))?;
    /// assert_eq!(notes.count(&Selection::all().key_prefix("a/"))?, 1);
    /// assert!(notes.count(&Selection::all().key_prefix("x".repeat(513))).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the selection breaks a limit.
    pub fn count(&self, selection: &Selection) -> Result<u64> {
        self.run::<Read, _>(|tenant, proof| tenant.count(proof, &self.area, &self.known, selection))
    }

    /// One page of the memories, newest first unless asked otherwise. Needs the scope `read`. A namespace that does not
    /// exist is empty.
    ///
    /// Pages hold no snapshot between them, so a slow reader costs nothing. A memory that exists throughout is given
    /// exactly once, whatever others write meanwhile. A list that selects few of many memories looks at all of them.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put_many(["a", "b", "c"].map(Memory::new).into())?;
    /// let page = notes.list(&List::new().limit(2))?;
    /// assert_eq!(page.memories.iter().map(|memory| memory.key.as_str()).collect::<Vec<_>>(), ["c", "b"]);
    /// let rest = notes.list(&List::new().after(page.next.clone().unwrap()))?;
    /// assert_eq!(rest.memories[0].key, "a");
    ///
    /// // A cursor is good for its own list alone.
    /// let other = List::new().oldest_first().after(page.next.unwrap());
    /// assert_eq!(notes.list(&other).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when the limit is out of range or the cursor was not given out for this list.
    pub fn list(&self, list: &List) -> Result<Page> {
        self.run::<Read, _>(|tenant, proof| tenant.list(proof, &self.area, &self.known, list))
    }

    /// The memories of a list one after the other, page by page. Needs the scope `read`.
    ///
    /// It holds no snapshot and no lock between two memories, so a slow consumer costs others nothing. Each page passes
    /// the gate; after a refusal it ends. What exists throughout is given exactly once.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put_many((0..250).map(|n| Memory::new(format!("{n}"))).collect())?;
    /// let keys: Vec<String> = notes.iter(List::new().limit(100)).map(|memory| Ok(memory?.key)).collect::<Result<_>>()?;
    /// assert_eq!((keys.len(), keys[0].as_str()), (250, "249"));
    /// assert!(notes.iter(List::new().limit(0)).next().unwrap().is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn iter(&self, list: List) -> Listing {
        Listing::new(self.clone(), list)
    }

    /// What has happened in the namespace since a position, or, without one, what there is and then what happens. At
    /// most `limit` events, 1 to 1,000. Needs the scope `read`.
    ///
    /// It keeps caches and search systems in step: begin without a position, apply the events, keep [`FeedPage::next`]
    /// beside what was applied, and go on from there, also after a restart. Memories that change while the first pages
    /// are read may come twice, in order.
    ///
    /// The feed reaches back at least 65,536 changes of the tenant. A consumer that was away for longer, or whose
    /// namespace was deleted meanwhile, is told so and begins again.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let notes = tenant.memories("notes")?;
    /// notes.put(Memory::new("a").text("one"))?;
    /// let first = notes.changes(None, 100)?;
    /// assert!(matches!(&first.events[..], [FeedEvent::Put(memory)] if memory.key == "a"));
    ///
    /// notes.put(Memory::new("b"))?;
    /// notes.delete("a")?;
    /// let second = notes.changes(Some(&first.next), 100)?;
    /// assert!(matches!(&second.events[..], [FeedEvent::Put(put), FeedEvent::Removed { key, .. }]
    ///     if put.key == "b" && key == "a"));
    ///
    /// // A deleted namespace has no feed to go on with.
    /// notes.delete_namespace()?;
    /// assert_eq!(*notes.changes(Some(&second.next), 100).unwrap_err().reason(), Reason::FeedGone);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Conflict` with [`Reason::FeedGone`](crate::Reason::FeedGone) when the feed does not reach back that far, or the
    /// tenant's file was put back to a copy from before the position was given out: forget what was applied and begin
    /// without a position. `InvalidInput` when the limit is out of range or the position was
    /// not given out for this feed.
    pub fn changes(&self, since: Option<&FeedPosition>, limit: usize) -> Result<FeedPage> {
        self.run::<Read, _>(|tenant, proof| tenant.changes(proof, &self.area, &self.known, since, limit))
    }
}
