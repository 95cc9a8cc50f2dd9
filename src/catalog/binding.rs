//! What ties each row that lets somebody in to another row, in another tree: a page of the catalog that was put back to an
//! older state is then an error, and not a tenant that is in service again or a user who was never revoked.
//!
//! Row "tenant NAME" of `meta` has the digest of the tenant's row, and is gone with it. Row "revocations INCARNATION" has
//! the number and the sum of the digests of that incarnation's revocations. Both change in the transaction of what they
//! are about. API keys need none: a key is good when two tables have it.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tenants::TenantRecord;
use crate::error::{Error, Reason, Result};
use crate::id::{Incarnation, TenantId, length_prefixed};
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{META, REVOCATIONS, TENANTS};

/// The digest of a tenant's row.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RowDigest([u8; 32]);

impl Record for RowDigest {
    const KIND: u8 = 8;
    const NAME: &'static str = "digest of a tenant record";
}

/// How many rows a set has, and the sum of their digests. It tells sets apart whatever the order in which rows come and
/// go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RowSet {
    rows: u64,
    sum: [u128; 2],
}

impl Record for RowSet {
    const KIND: u8 = 9;
    const NAME: &'static str = "digest of revocations";
}

impl RowSet {
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.combine(key, value, u128::wrapping_add);
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.combine(key, value, u128::wrapping_sub);
    }

    fn combine(&mut self, key: &[u8], value: &[u8], operation: fn(u128, u128) -> u128) {
        let digest: [u8; 32] = Sha256::digest(length_prefixed(&[key, value])).into();
        for (sum, part) in self.sum.iter_mut().zip(digest.as_chunks::<16>().0) {
            *sum = operation(*sum, u128::from_le_bytes(*part));
        }
    }
}

/// There while every tenant's row is bound, which it is in all catalogs but those of earlier releases.
const ALL_BOUND: &str = "tenants are bound";

type Meta = &'static str;
type Bytes = &'static [u8];

/// The record of a tenant, of the bytes of its row.
///
/// # Errors
/// `Damaged` when the row is not the one that was written last, or is not there although it was never taken away.
pub(super) fn checked(
    meta: &impl ReadableTable<Meta, Bytes>,
    tenant: &str,
    row: Option<&[u8]>,
) -> Result<Option<TenantRecord>> {
    let bound = meta.get(tenant_key(tenant).as_str())?;
    let bound = bound.map(|bound| codec::decode::<RowDigest>(bound.value())).transpose()?;
    if bound != row.map(digest) {
        return Err(Reason::DamagedRecord("tenant record that is not the newest").into());
    }
    row.map(codec::decode).transpose()
}

/// The record of a tenant, for a change of it.
///
/// # Errors
/// As for [`checked`].
pub(super) fn current(writer: &mut Writer<'_>, tenant: &TenantId) -> Result<Option<TenantRecord>> {
    let row = writer.open_table(TENANTS)?.get(tenant.as_str())?.map(|row| row.value().to_vec());
    checked(&writer.open_table(META)?, tenant.as_str(), row.as_deref())
}

/// Writes a tenant's row and what it is bound to.
pub(super) fn put(writer: &mut Writer<'_>, tenant: &TenantId, record: &TenantRecord) -> Result<()> {
    let row = codec::encode(record)?;
    writer.open_table(TENANTS)?.insert(tenant.as_str(), row.as_slice())?;
    bind(writer, tenant.as_str(), &row)
}

/// Takes a tenant's row away. Its revocations go by themselves.
pub(super) fn remove(writer: &mut Writer<'_>, tenant: &TenantId) -> Result<()> {
    writer.open_table(TENANTS)?.remove(tenant.as_str())?;
    writer.open_table(META)?.remove(tenant_key(tenant.as_str()).as_str())?;
    Ok(())
}

/// What the revocations of an incarnation must add up to.
pub(super) fn revocations(meta: &impl ReadableTable<Meta, Bytes>, incarnation: Incarnation) -> Result<RowSet> {
    let row = meta.get(revocations_key(incarnation).as_str())?;
    row.map_or(Ok(RowSet::default()), |row| codec::decode(row.value()))
}

/// Changes what the revocations of an incarnation must add up to.
pub(super) fn change_revocations(
    writer: &mut Writer<'_>,
    incarnation: Incarnation,
    change: impl FnOnce(&mut RowSet),
) -> Result<()> {
    let mut meta = writer.open_table(META)?;
    let mut set = revocations(&meta, incarnation)?;
    change(&mut set);
    let key = revocations_key(incarnation);
    if set == RowSet::default() {
        meta.remove(key.as_str())?;
    } else {
        meta.insert(key.as_str(), codec::encode(&set)?.as_slice())?;
    }
    Ok(())
}

/// Whether the catalog was written by a release that binds rows.
pub(super) fn is_bound(meta: &impl ReadableTable<Meta, Bytes>) -> Result<bool> {
    Ok(meta.get(ALL_BOUND)?.is_some())
}

/// Binds every row of a catalog of an earlier release, as it is.
pub(super) fn bind_all(writer: &mut Writer<'_>) -> Result<()> {
    let mut rows = Vec::new();
    for row in writer.open_table(TENANTS)?.iter()? {
        let (name, record) = row?;
        rows.push((name.value().to_owned(), record.value().to_vec()));
    }
    for (name, row) in rows {
        bind(writer, &name, &row)?;
        let incarnation = codec::decode::<TenantRecord>(&row)?.incarnation;
        let mut set = RowSet::default();
        let of = super::revocations::of(incarnation);
        for row in writer.open_table(REVOCATIONS)?.range::<&[u8]>(of.start().as_slice()..=of.end().as_slice())? {
            let (key, value) = row?;
            set.add(key.value(), value.value());
        }
        change_revocations(writer, incarnation, |bound| *bound = set)?;
    }
    mark_bound(writer)
}

/// In this catalog every row is bound.
pub(super) fn mark_bound(writer: &mut Writer<'_>) -> Result<()> {
    writer.open_table(META)?.insert(ALL_BOUND, [].as_slice())?;
    Ok(())
}

pub(super) fn damaged_revocations() -> Error {
    Reason::DamagedRecord("revocations that are not the newest").into()
}

fn bind(writer: &mut Writer<'_>, tenant: &str, row: &[u8]) -> Result<()> {
    let bound = codec::encode(&digest(row))?;
    writer.open_table(META)?.insert(tenant_key(tenant).as_str(), bound.as_slice())?;
    Ok(())
}

fn digest(row: &[u8]) -> RowDigest {
    RowDigest(Sha256::digest(row).into())
}

fn tenant_key(tenant: &str) -> String {
    format!("tenant {tenant}")
}

fn revocations_key(incarnation: Incarnation) -> String {
    format!("revocations {incarnation}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::catalog::revocations::{Bearer, Revocation};
    use crate::catalog::tenants::{Act, Catalog, TenantStatus};
    use crate::clock::Timestamp;
    use crate::id::{Epoch, Issuer, UserId};
    use crate::limits::CATALOG_CACHE_BYTES;
    use crate::store::database::FileSpec;
    use crate::store::memory::MemoryDisk;

    fn seconds(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn spec() -> FileSpec {
        FileSpec {
            disk: Arc::new(MemoryDisk::new()),
            path: PathBuf::from("catalog.redb"),
            sealing: None,
            cache_bytes: CATALOG_CACHE_BYTES,
            always_quick_repair: true,
            check_bytes_max: u64::MAX,
        }
    }

    fn record() -> TenantRecord {
        TenantRecord {
            incarnation: Incarnation::random().unwrap(),
            epoch: Epoch::FIRST,
            status: TenantStatus::Provisioning,
            plan: None,
            issuers: Vec::new(),
            owners: Vec::new(),
            created_at: seconds(1),
        }
    }

    /// A catalog with one tenant in service.
    fn filled(spec: FileSpec) -> (Catalog, TenantId, Incarnation) {
        let (catalog, acme, record) = (Catalog::create(spec).unwrap(), TenantId::new("acme").unwrap(), record());
        catalog.begin_provision(Act { operator: Some("ops"), at: seconds(1) }, &acme, &record).unwrap();
        catalog.finish_provision(&acme, record.incarnation).unwrap();
        (catalog, acme, record.incarnation)
    }

    #[test]
    fn a_catalog_of_an_earlier_release_is_bound_when_it_is_opened() {
        let spec = spec();
        let (catalog, acme, incarnation) = filled(spec.clone());
        let act = Act { operator: Some("ops"), at: seconds(10) };
        let alice = UserId::new(Issuer::authority(), "alice").unwrap();
        catalog.revoke(act, &acme, incarnation, &Revocation::subject(&alice)).unwrap();
        let unbind = |catalog: &Catalog, keys: &[String]| {
            let removed = catalog.database.write(|mut writer| {
                let mut meta = writer.open_table(META)?;
                keys.iter().try_for_each(|key| meta.remove(key.as_str()).map(drop).map_err(Error::from))
            });
            removed.unwrap();
            catalog.close().unwrap();
        };
        let (tenant, revocations) = (tenant_key("acme"), revocations_key(incarnation));
        unbind(&catalog, &[ALL_BOUND.to_owned(), tenant.clone(), revocations.clone()]);

        let catalog = Catalog::open(spec.clone()).unwrap();
        assert_eq!(catalog.tenant(&acme).unwrap().unwrap().status, TenantStatus::Active);
        let bearer = Bearer { incarnation, user: &alice, issued_at: seconds(5), token_id: None };
        assert!(catalog.is_revoked(bearer).unwrap());
        catalog.set_suspended(act, &acme, true).unwrap();
        unbind(&catalog, &[tenant, revocations]);

        // That was once: what is not bound any more is damaged.
        let catalog = Catalog::open(spec).unwrap();
        assert!(catalog.tenant(&acme).is_err() && catalog.tenants(None, 10).is_err());
        assert!(catalog.is_revoked(bearer).is_err());
        assert!(catalog.set_suspended(act, &acme, false).is_err());
        let again = record();
        assert!(catalog.begin_provision(act, &acme, &again).is_err());
        // Another tenant is not concerned.
        let zoo = TenantId::new("zoo").unwrap();
        assert!(catalog.begin_provision(act, &zoo, &again).is_ok() && catalog.tenant(&zoo).unwrap().is_some());
    }

    /// A page is put back under the open catalog, or a device lost a write: an older row, or none, among newer ones.
    #[test]
    fn a_row_that_is_older_than_what_it_is_bound_to_lets_nobody_in() {
        let (catalog, acme, incarnation) = filled(spec());
        let rows = |catalog: &Catalog| {
            let read = catalog.database.write(|mut writer| {
                let tenant = writer.open_table(TENANTS)?.get("acme")?.map(|row| row.value().to_vec());
                let mut revocations = Vec::new();
                for row in writer.open_table(REVOCATIONS)?.iter()? {
                    let (key, value) = row?;
                    revocations.push((key.value().to_vec(), value.value().to_vec()));
                }
                Ok((tenant.unwrap(), revocations))
            });
            read.unwrap()
        };
        let put_back = |tenant: Option<&Vec<u8>>, revocation: (&Vec<u8>, Option<&Vec<u8>>)| {
            let put = catalog.database.write(|mut writer| {
                let mut tenants = writer.open_table(TENANTS)?;
                match tenant {
                    Some(row) => drop(tenants.insert("acme", row.as_slice())?),
                    None => drop(tenants.remove("acme")?),
                }
                drop(tenants);
                let mut revocations = writer.open_table(REVOCATIONS)?;
                match revocation {
                    (key, Some(value)) => drop(revocations.insert(key.as_slice(), value.as_slice())?),
                    (key, None) => drop(revocations.remove(key.as_slice())?),
                }
                Ok(())
            });
            put.unwrap();
            // What was walked before is not believed of another state.
            catalog.walked.lock().clear();
        };
        let alice = UserId::new(Issuer::authority(), "alice").unwrap();
        let at = |at| Act { operator: Some("ops"), at: seconds(at) };
        let bearer = Bearer { incarnation, user: &alice, issued_at: seconds(15), token_id: None };
        catalog.revoke(at(10), &acme, incarnation, &Revocation::subject(&alice)).unwrap();
        let (in_service, older) = rows(&catalog);
        catalog.revoke(at(20), &acme, incarnation, &Revocation::subject(&alice)).unwrap();
        catalog.set_suspended(at(20), &acme, true).unwrap();
        let (suspended, newer) = rows(&catalog);
        let (key, old, new) = (&newer[0].0, &older[0].1, &newer[0].1);
        assert!(catalog.is_revoked(bearer).unwrap());

        for tenant in [Some(&in_service), None] {
            put_back(tenant, (key, Some(new)));
            assert!(catalog.tenant(&acme).is_err() && catalog.set_issuers(at(30), &acme, Vec::new()).is_err());
            assert!(catalog.step(&acme, incarnation).is_err());
        }
        for revocation in [Some(old), None] {
            put_back(Some(&suspended), (key, revocation));
            assert!(catalog.is_revoked(bearer).is_err());
        }
        put_back(Some(&suspended), (key, Some(new)));
        assert!(catalog.is_revoked(bearer).unwrap());
        assert_eq!(catalog.tenant(&acme).unwrap().unwrap().status, TenantStatus::Suspended);
    }

    #[test]
    fn a_set_of_rows_is_the_same_whatever_the_way_to_it() {
        let (mut one, mut two) = (RowSet::default(), RowSet::default());
        for key in [b"a", b"b", b"c"] {
            one.add(key, b"value");
        }
        one.remove(b"b", b"value");
        two.add(b"c", b"value");
        assert_ne!(one, two);
        two.add(b"a", b"value");
        assert_eq!(one, two);
        two.remove(b"a", b"value");
        two.add(b"a", b"older");
        assert_ne!(one, two);
        one.remove(b"a", b"value");
        one.remove(b"c", b"value");
        assert_eq!(one, RowSet::default());
    }
}
