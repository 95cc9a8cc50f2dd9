//! Lists: newest first, in pages that hold no snapshot between them.

use super::cursor::Cursor;
use super::memory::MemoryRecord;
use super::namespace::{self, Area};
use super::open::Tenant;
use crate::access::gate::{Proof, Read};
use crate::error::{Error, Reason, Result};
use crate::id::RowId;
use crate::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX};

/// Which part of a namespace to list. By default the newest 100 memories.
///
/// The order is that of first puts; putting a key again does not move it.
#[derive(Debug, Clone)]
pub struct List {
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
        Self { limit: LIST_PAGE_DEFAULT, after: None }
    }

    /// At most this many memories in the page; 1 to 1,000, 100 by default.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on where another page ended.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Page {
    /// The memories, newest first.
    pub memories: Vec<MemoryRecord>,
    /// Where the list goes on; absent when it ended.
    pub next: Option<Cursor>,
}

impl Tenant {
    pub(crate) fn list(&self, proof: &Proof<'_, Read>, area: &Area, list: &List) -> Result<Page> {
        if list.limit == 0 {
            return Err(Error::invalid("list limit", "must be at least 1"));
        }
        if list.limit > LIST_PAGE_MAX {
            return Err(Error::too_large("list limit", LIST_PAGE_MAX, list.limit));
        }
        let before = match &list.after {
            Some(cursor) => cursor.row(&self.cursor_key, proof.user(), area)?,
            None => RowId(u64::MAX),
        };
        self.database.read(|tables| {
            let Some(found) = namespace::find(tables, proof.user(), area)? else {
                return Ok(Page { memories: Vec::new(), next: None });
            };
            let (first, end) = (found.place.row_key(RowId(0)), found.place.row_key(before));
            let mut rows = tables.memories.range(first.as_slice()..end.as_slice())?.rev();
            let mut memories = Vec::with_capacity(list.limit);
            let mut last = None;
            for row in rows.by_ref().take(list.limit) {
                let (key, record) = row?;
                last = Some(row_of(key.value())?);
                memories.push(self.record(tables, record.value())?);
            }
            let more = rows.next().transpose()?.is_some();
            let next = last.filter(|_| more).map(|row| Cursor::behind(row, &self.cursor_key, proof.user(), area));
            Ok(Page { memories, next })
        })
    }
}

/// The row at the end of a row key.
pub(super) fn row_of(key: &[u8]) -> Result<RowId> {
    match key.last_chunk::<8>() {
        Some(row) if key.len() == 16 => Ok(RowId(u64::from_be_bytes(*row))),
        _ => Err(Reason::DamagedRecord("row key").into()),
    }
}
