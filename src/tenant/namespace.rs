//! Namespaces: tenant-wide, or one user's own.

use std::ops::Bound;

use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::open::Tenant;
use super::usage::Facts;
use super::user::{self, UserNumber};
use crate::access::gate::{Proof, Read};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Namespace, RowId, UserId};
use crate::store::codec::{self, Record};
use crate::store::schema::{NAMESPACES, TenantTables, USERS};

/// A namespace as a caller names it: shared by the tenant, or private to the user of the proof.
#[derive(Debug, Clone)]
pub(crate) struct Area {
    pub(crate) namespace: Namespace,
    pub(crate) private: bool,
}

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceInfo {
    /// Its name.
    pub namespace: Namespace,
    /// Whether it is the caller's own.
    pub private: bool,
    /// Dimensions of its vectors; absent before the first vector.
    pub dimensions: Option<u32>,
    /// When it was first written to.
    pub created_at: Timestamp,
}

impl Tenant {
    /// The namespaces of the tenant and the caller's own, each in byte order of their names.
    pub(crate) fn namespaces(&self, proof: &Proof<'_, Read>) -> Result<Vec<NamespaceInfo>> {
        self.database.read(|tables| {
            let mut found = named_in(tables, 0)?;
            if let Some(UserNumber(own)) = user::find(&tables.users, proof.user())? {
                found.extend(named_in(tables, own)?);
            }
            Ok(found)
        })
    }
}

/// The namespaces of one scope: the tenant's for 0, else those of the user of this number.
fn named_in(tables: &TenantTables, scope: u32) -> Result<Vec<NamespaceInfo>> {
    let first = scope.to_be_bytes();
    let rows = tables.namespaces.range(first.as_slice()..)?;
    rows.map_while(|row| {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) => return Some(Err(error.into())),
        };
        let name = key.value().strip_prefix(&first)?;
        Some(described(name, scope != 0, value.value()))
    })
    .collect()
}

fn described(name: &[u8], private: bool, record: &[u8]) -> Result<NamespaceInfo> {
    let damaged = || Error::from(Reason::DamagedRecord(NamespaceRecord::NAME));
    let name = std::str::from_utf8(name).map_err(|_| damaged())?;
    let namespace = Namespace::new(name).map_err(|_| damaged())?;
    let record: NamespaceRecord = codec::decode(record)?;
    let dimensions = (record.dimensions > 0).then_some(record.dimensions);
    Ok(NamespaceInfo { namespace, private, dimensions, created_at: record.created_at })
}

/// A namespace as the file names it. Every row key starts with it, scope first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// 0 for the tenant, a user's number for its private namespaces.
    scope: u32,
    namespace: u32,
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

    /// `scope | namespace | row`, in order of rows.
    pub(super) fn row_key(self, row: RowId) -> [u8; 16] {
        (u128::from(u64::from_be_bytes(self.prefix())) << 64 | u128::from(row.0)).to_be_bytes()
    }

    /// The first and last key a row of this namespace can have.
    pub(super) fn all_rows(self) -> ([u8; 16], [u8; 16]) {
        (self.row_key(RowId(0)), self.row_key(RowId(u64::MAX)))
    }

    /// The rows of this namespace that come after one in the order of a list.
    pub(super) fn rows(self, after: Option<RowId>, oldest_first: bool) -> (Bound<[u8; 16]>, Bound<[u8; 16]>) {
        let (first, last) = self.all_rows();
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NamespaceRecord {
    pub(super) number: u32,
    /// Set by the first vector; 0 before.
    pub(super) dimensions: u32,
    created_at: Timestamp,
}

impl Record for NamespaceRecord {
    const KIND: u8 = 18;
    const NAME: &'static str = "namespace";
}

/// A namespace that exists.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) record: NamespaceRecord,
}

/// The namespace of this name in the scope of the caller; `None` reads as empty.
pub(super) fn find(tables: &TenantTables, user: &UserId, area: &Area) -> Result<Option<Found>> {
    match scope_of(&tables.users, user, area)? {
        Some(scope) => find_in(&tables.namespaces, scope, area),
        None => Ok(None),
    }
}

/// As [`find`], inside a transaction.
pub(super) fn find_for_change(transaction: &WriteTransaction, user: &UserId, area: &Area) -> Result<Option<Place>> {
    let Some(scope) = scope_of(&transaction.open_table(USERS)?, user, area)? else { return Ok(None) };
    Ok(find_in(&transaction.open_table(NAMESPACES)?, scope, area)?.map(|found| found.place))
}

/// The tenant's scope, or the user's own; `None` for a user who has written nothing.
fn scope_of(
    users: &impl ReadableTable<&'static [u8], &'static [u8]>,
    user: &UserId,
    area: &Area,
) -> Result<Option<u32>> {
    if area.private { Ok(user::find(users, user)?.map(|UserNumber(number)| number)) } else { Ok(Some(0)) }
}

fn find_in(
    namespaces: &impl ReadableTable<&'static [u8], &'static [u8]>,
    scope: u32,
    area: &Area,
) -> Result<Option<Found>> {
    let Some(row) = namespaces.get(name_key(scope, &area.namespace).as_slice())? else { return Ok(None) };
    let record: NamespaceRecord = codec::decode(row.value())?;
    Ok(Some(Found { place: Place { scope, namespace: record.number }, record }))
}

/// The namespace of this name, made at its first write. A vector's dimension is checked, or set if it is the first.
pub(super) fn find_or_add(
    transaction: &WriteTransaction,
    facts: &mut Facts,
    author: UserNumber,
    area: &Area,
    dimensions: Option<u32>,
    at: Timestamp,
) -> Result<Place> {
    let scope = if area.private { author.0 } else { 0 };
    let key = name_key(scope, &area.namespace);
    let mut namespaces = transaction.open_table(NAMESPACES)?;
    let known = namespaces.get(key.as_slice())?.map(|row| codec::decode::<NamespaceRecord>(row.value())).transpose()?;
    let is_new = known.is_none();
    let mut record = match known {
        Some(record) => record,
        None => NamespaceRecord { number: facts.take_namespace_number()?, dimensions: 0, created_at: at },
    };
    let first_vector = match dimensions {
        Some(actual) if record.dimensions == 0 => {
            record.dimensions = actual;
            true
        }
        Some(actual) => {
            check_dimensions(&record, actual)?;
            false
        }
        None => false,
    };
    if is_new || first_vector {
        namespaces.insert(key.as_slice(), codec::encode(&record)?.as_slice())?;
    }
    Ok(Place { scope, namespace: record.number })
}

pub(super) fn check_dimensions(record: &NamespaceRecord, actual: u32) -> Result<()> {
    if record.dimensions == actual {
        return Ok(());
    }
    Err(Reason::Dimension { expected: record.dimensions, actual }.into())
}

fn name_key(scope: u32, namespace: &Namespace) -> Vec<u8> {
    let mut key = scope.to_be_bytes().to_vec();
    key.extend_from_slice(namespace.as_str().as_bytes());
    key
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
    }
}
