//! Lists and counts: in order of first puts, in pages that hold no snapshot between them.

use super::cursor::{self, Cursor, CursorScope};
use super::history::Moment;
use super::memory::MemoryRecord;
use super::namespace::KnownPlace;
use super::open::Tenant;
use super::place::{Area, number_of};
use super::selection::Selection;
use crate::access::gate::{Proof, Read};
use crate::error::{Error, Result};
use crate::id::RowId;
use crate::limits::{ANSWER_BYTES_MAX, LIST_PAGE_DEFAULT, LIST_PAGE_MAX};

/// Which part of a namespace to list, and in which order. By default the newest 100 memories.
///
/// The order is that of first puts; putting a key again does not move it.
///
/// ```
/// # use watertight::*;
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// # let notes = tenant.memories("notes")?;
/// notes.put_many(["a/1", "b/1", "a/2", "a/3"].map(Memory::new).into())?;
/// let list = || List::of(Selection::all().key_prefix("a/")).oldest_first().limit(2);
/// let first = notes.list(&list())?;
/// assert_eq!(first.memories.iter().map(|memory| memory.key.as_str()).collect::<Vec<_>>(), ["a/1", "a/2"]);
/// let second = notes.list(&list().after(first.next.unwrap()))?;
/// assert_eq!((second.memories[0].key.as_str(), second.next), ("a/3", None));
/// assert_eq!(notes.list(&List::new())?.memories[0].key, "a/3");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct List {
    selection: Selection,
    oldest_first: bool,
    limit: usize,
    after: Option<Cursor>,
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// The newest memories.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Selection::all())
    }

    /// The newest of these memories.
    #[must_use]
    pub fn of(selection: Selection) -> Self {
        Self { selection, oldest_first: false, limit: LIST_PAGE_DEFAULT, after: None }
    }

    /// Oldest first.
    #[must_use]
    pub fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// At most this many memories in the page; 1 to 1,000, 100 by default.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on where another page of the same selection and order ended.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    fn check(&self) -> Result<()> {
        if self.limit == 0 {
            return Err(Error::invalid("list limit", "must be at least 1"));
        }
        if self.limit > LIST_PAGE_MAX {
            return Err(Error::too_large("list limit", LIST_PAGE_MAX, self.limit));
        }
        self.selection.check()
    }

    /// What a cursor of this list is bound to.
    fn query(&self) -> Result<Vec<u8>> {
        let mut query = self.selection.to_bytes()?;
        query.push(u8::from(self.oldest_first));
        Ok(query)
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The memories, in the list's order.
    pub memories: Vec<MemoryRecord>,
    /// Where the list goes on; absent when it ended.
    pub next: Option<Cursor>,
}

impl Tenant {
    pub(crate) fn list(&self, proof: &Proof<'_, Read>, area: &Area, known: &KnownPlace, list: &List) -> Result<Page> {
        list.check()?;
        let keys = self.keys();
        let scope = CursorScope { user: proof.user(), area, query: &list.query()? };
        let after = match &list.after {
            Some(cursor) => {
                let [row, entries, mark] = cursor::open(&cursor.0, &keys.cursors, &scope)?;
                Some((RowId(row), Moment::from_numbers([entries, mark])))
            }
            None => None,
        };
        self.database.read(|snapshot| {
            if let Some((_, moment)) = after
                && !moment.is_past(snapshot)?
            {
                return Err(Error::invalid("cursor", "is from before the tenant's file was put back; begin again"));
            }
            let mut page = Page { memories: Vec::new(), next: None };
            let Some(found) = known.find(snapshot, proof, area)? else { return Ok(page) };
            let Some(selection) = list.selection.resolve(&snapshot.users, proof.at())? else { return Ok(page) };
            let bounds = found.place.rows(after.map(|(row, _)| row), list.oldest_first);
            let mut rows = snapshot.memories.range::<&[u8]>((
                bounds.0.as_ref().map(<[u8; 16]>::as_slice),
                bounds.1.as_ref().map(<[u8; 16]>::as_slice),
            ))?;
            let (mut authors, mut last, mut bytes) = (self.authors(snapshot), None, 0_usize);
            while let Some(row) = if list.oldest_first { rows.next() } else { rows.next_back() } {
                let (key, record) = row?;
                let Some(memory) = selection.pick(record.value())? else { continue };
                // One more than the page holds: now it is known that the list goes on. A page of large memories ends
                // early, so that no reader can make the process hold gigabytes.
                bytes = bytes.saturating_add(record.value().len());
                let is_full = page.memories.len() == list.limit || bytes > ANSWER_BYTES_MAX;
                if is_full && !page.memories.is_empty() {
                    let [entries, mark] = Moment::of(snapshot).numbers();
                    page.next = last.map(|row| Cursor(cursor::seal([row, entries, mark], &keys.cursors, &scope)));
                    break;
                }
                last = Some(number_of(key.value())?);
                page.memories.push(authors.name(memory)?);
            }
            Ok(page)
        })
    }

    /// How many memories are selected.
    pub(crate) fn count(
        &self,
        proof: &Proof<'_, Read>,
        area: &Area,
        known: &KnownPlace,
        selection: &Selection,
    ) -> Result<u64> {
        selection.check()?;
        self.database.read(|snapshot| {
            let Some(found) = known.find(snapshot, proof, area)? else { return Ok(0) };
            let Some(selection) = selection.resolve(&snapshot.users, proof.at())? else { return Ok(0) };
            let (first, last) = found.place.all();
            let mut count = 0;
            for row in snapshot.memories.range(first.as_slice()..=last.as_slice())? {
                count += u64::from(selection.pick(row?.1.value())?.is_some());
            }
            Ok(count)
        })
    }
}
