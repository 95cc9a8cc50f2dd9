//! Which history of the tenant's file a cursor or a feed position belongs to.
//!
//! A file that was put back from a copy goes on with other changes under the same sequences and rows. Every step adds an
//! entry to the audit trail, whose hash covers all entries before it. So a text that carries the number and the hash of
//! the newest entry is good for exactly those files that have this entry: the file that gave it out, and no other future of
//! an older copy.

use super::snapshot::Snapshot;
use crate::error::Result;
use crate::store::chain::{self, ChainHead};

/// A moment of one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    entries: u64,
    /// The beginning of the hash of the newest entry; 0 where there is none.
    mark: u64,
}

impl Moment {
    /// Before the first change, which every history has in common.
    pub(super) const BEGINNING: Self = Self { entries: 0, mark: 0 };

    /// Now.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let ChainHead { entries, hash } = snapshot.facts.audit;
        Self { entries, mark: mark(&hash) }
    }

    pub(super) fn from_numbers([entries, mark]: [u64; 2]) -> Self {
        Self { entries, mark }
    }

    pub(super) fn numbers(self) -> [u64; 2] {
        [self.entries, self.mark]
    }

    /// Whether the file has come through this moment.
    pub(super) fn is_past(self, snapshot: &Snapshot) -> Result<bool> {
        if self.entries == 0 || self == Self::of(snapshot) {
            return Ok(true);
        }
        Ok(chain::hash_of(&snapshot.audit, self.entries)?.is_some_and(|hash| mark(&hash) == self.mark))
    }
}

fn mark(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
