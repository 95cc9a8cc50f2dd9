//! Which memories of a namespace are meant: what lists, counts and deletions share.

use serde::Serialize;

use super::filter::Filter;
use super::memory::StoredMemory;
use super::user::{self, UserNumber};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::limits::KEY_BYTES_MAX;
use crate::store::codec;

/// Some of the memories of a namespace: those for which every condition holds.
///
/// ```
/// use watertight::{Filter, Issuer, Selection, Timestamp, UserId};
///
/// let old_drafts = Selection::all()
///     .key_prefix("drafts/")
///     .created_before(Timestamp::from_seconds(1_700_000_000))
///     .filter(Filter::eq("lang", "en"));
///
/// let alice = UserId::new(Issuer::authority(), "alice").unwrap();
/// let hers = Selection::all().author(alice).created_from(Timestamp::from_seconds(1_700_000_000));
/// # let _ = (old_drafts, hers);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selection {
    key_prefix: String,
    created_from: Option<Timestamp>,
    created_before: Option<Timestamp>,
    author: Option<UserId>,
    filter: Option<Filter>,
}

impl Selection {
    /// All memories of the namespace.
    #[must_use]
    pub fn all() -> Self {
        Self { key_prefix: String::new(), created_from: None, created_before: None, author: None, filter: None }
    }

    /// Only keys that begin with this, compared as bytes.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Only memories first put at this time or later.
    #[must_use]
    pub fn created_from(mut self, from: Timestamp) -> Self {
        self.created_from = Some(from);
        self
    }

    /// Only memories first put before this time.
    #[must_use]
    pub fn created_before(mut self, before: Timestamp) -> Self {
        self.created_before = Some(before);
        self
    }

    /// Only memories whose present version this user put.
    #[must_use]
    pub fn author(mut self, author: UserId) -> Self {
        self.author = Some(author);
        self
    }

    /// Only memories whose metadata match; replaces the filter set before.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Checks everything that can be checked without the tenant's file.
    pub(crate) fn check(&self) -> Result<()> {
        if self.key_prefix.len() > KEY_BYTES_MAX {
            return Err(Error::too_large("key prefix", KEY_BYTES_MAX, self.key_prefix.len()));
        }
        self.filter.as_ref().map_or(Ok(()), Filter::check)
    }

    /// The same selection gives the same bytes, and another one others: a cursor is bound to them.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|_| Error::invalid("selection", "cannot be encoded"))
    }

    /// Makes the selection ready for one state of the file at one time. `None` when nothing can match.
    pub(super) fn resolve(
        &self,
        users: &impl redb::ReadableTable<&'static [u8], &'static [u8]>,
        at: Timestamp,
    ) -> Result<Option<Resolved<'_>>> {
        let author = match &self.author {
            Some(author) => match user::find(users, author)? {
                Some(number) => Some(number),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Resolved { selection: self, author, at }))
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::all()
    }
}

/// A selection whose author is known by number.
#[derive(Debug)]
pub(super) struct Resolved<'a> {
    selection: &'a Selection,
    author: Option<UserNumber>,
    at: Timestamp,
}

impl Resolved<'_> {
    /// Whether it selects all that is live.
    pub(super) fn is_all(&self) -> bool {
        *self.selection == Selection::all()
    }

    pub(super) fn filter(&self) -> Option<&Filter> {
        self.selection.filter.as_ref()
    }

    /// The keys begin with this.
    pub(super) fn key_prefix(&self) -> &str {
        &self.selection.key_prefix
    }

    /// Whether a memory with these times, in microseconds, and this author may be selected.
    pub(super) fn may_select(&self, created_at: u64, expires_at: Option<u64>, author: u32) -> bool {
        let Selection { created_from, created_before, .. } = self.selection;
        expires_at.is_none_or(|end| end > self.at.as_micros())
            && created_from.is_none_or(|from| created_at >= from.as_micros())
            && created_before.is_none_or(|before| created_at < before.as_micros())
            && self.author.is_none_or(|wanted| author == wanted.0)
    }

    /// Decodes a record and gives it if it is selected.
    pub(super) fn pick(&self, record: &[u8]) -> Result<Option<StoredMemory>> {
        let memory: StoredMemory = codec::decode(record)?;
        Ok(self.selects(&memory).then_some(memory))
    }

    /// Only what is live.
    fn selects(&self, memory: &StoredMemory) -> bool {
        let Selection { key_prefix, created_from, created_before, filter, .. } = self.selection;
        memory.is_live(self.at)
            && memory.key.as_bytes().starts_with(key_prefix.as_bytes())
            && created_from.is_none_or(|from| memory.created_at >= from)
            && created_before.is_none_or(|before| memory.created_at < before)
            && self.author.is_none_or(|author| memory.author == author.0)
            && filter.as_ref().is_none_or(|filter| filter.matches(&memory.metadata))
    }
}
