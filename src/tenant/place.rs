//! Where a namespace is: as callers name it, and as the file numbers it.

use std::ops::Bound;

use crate::error::{Reason, Result};
use crate::id::{Namespace, RowId};

/// A namespace as a caller names it: shared by the tenant, or private to the user of the proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Area {
    pub(crate) namespace: Namespace,
    pub(crate) private: bool,
}

/// A namespace as the file names it. Every row key starts with it, scope first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// 0 for the tenant, a user's number for its private namespaces.
    pub(super) scope: u32,
    /// Never given twice, also after the namespace is gone.
    pub(super) namespace: u32,
}

impl Place {
    pub(super) const BYTES: usize = 8;

    pub(super) fn prefix(self) -> [u8; Self::BYTES] {
        (u64::from(self.scope) << 32 | u64::from(self.namespace)).to_be_bytes()
    }

    pub(super) fn from_prefix(prefix: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = prefix;
        Self { scope: u32::from_be_bytes([a, b, c, d]), namespace: u32::from_be_bytes([e, f, g, h]) }
    }

    /// `scope | namespace | number`: rows and sequences of a namespace in their order.
    pub(super) fn numbered(self, number: u64) -> [u8; 16] {
        (u128::from(u64::from_be_bytes(self.prefix())) << 64 | u128::from(number)).to_be_bytes()
    }

    pub(super) fn row_key(self, row: RowId) -> [u8; 16] {
        self.numbered(row.0)
    }

    /// The first and last numbered key of this namespace.
    pub(super) fn all(self) -> ([u8; 16], [u8; 16]) {
        (self.numbered(0), self.numbered(u64::MAX))
    }

    /// The rows of this namespace that come after one in the order of a list.
    pub(super) fn rows(self, after: Option<RowId>, oldest_first: bool) -> (Bound<[u8; 16]>, Bound<[u8; 16]>) {
        let (first, last) = self.all();
        match after.map(|row| self.row_key(row)) {
            Some(row) if oldest_first => (Bound::Excluded(row), Bound::Included(last)),
            Some(row) => (Bound::Included(first), Bound::Excluded(row)),
            None => (Bound::Included(first), Bound::Included(last)),
        }
    }

    /// `scope | namespace | key`.
    pub(super) fn text_key(self, key: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES + key.len());
        bytes.extend_from_slice(&self.prefix());
        bytes.extend_from_slice(key.as_bytes());
        bytes
    }
}

/// The number at the end of a numbered key.
pub(super) fn number_of(key: &[u8]) -> Result<u64> {
    match key.last_chunk::<8>() {
        Some(number) if key.len() == 16 => Ok(u64::from_be_bytes(*number)),
        _ => Err(Reason::DamagedRecord("row key").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_keys_sort_by_scope_namespace_row() {
        let key = |scope, namespace, row| Place { scope, namespace }.row_key(RowId(row));
        assert!(key(0, 1, u64::MAX) < key(0, 2, 0));
        assert!(key(0, u32::MAX, 9) < key(1, 0, 0));
        assert!(key(3, 4, 5) < key(3, 4, 6));
        assert!(key(3, 4, 5).starts_with(&Place { scope: 3, namespace: 4 }.prefix()));
        assert_eq!(Place::from_prefix(Place { scope: 3, namespace: 4 }.prefix()), Place { scope: 3, namespace: 4 });
        assert_eq!(number_of(&key(3, 4, 5)).unwrap(), 5);
        assert!(number_of(&[0; 15]).is_err());
    }
}
