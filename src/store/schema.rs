//! The tables of both kinds of file. Keys are byte strings in big-endian order; values are records
//! ([`super::codec`]) unless said otherwise.

#[cfg(test)]
use redb::TableHandle;
use redb::{ReadOnlyTable, ReadTransaction, TableDefinition, WriteTransaction};

use super::database::Tables;
use crate::error::Result;

type Definition<K> = TableDefinition<'static, K, &'static [u8]>;
type Snapshot<K> = ReadOnlyTable<K, &'static [u8]>;

/// Single rows of a file, by name.
pub(crate) const META: Definition<&str> = TableDefinition::new("meta");

/// Tenant file: user as length-prefixed issuer and subject -> number (u32 LE). Numbers are never reused.
pub(crate) const USERS: Definition<&[u8]> = TableDefinition::new("users");
/// Tenant file: number -> user as length-prefixed issuer and subject.
pub(crate) const USER_NUMBERS: Definition<u32> = TableDefinition::new("user_numbers");
/// Tenant file: `scope u32 BE | name` -> namespace record.
pub(crate) const NAMESPACES: Definition<&[u8]> = TableDefinition::new("namespaces");
/// Tenant file: number of a namespace -> `scope u32 BE | name`.
pub(crate) const NAMESPACE_NUMBERS: Definition<u32> = TableDefinition::new("namespace_numbers");
/// Tenant file: `scope u32 BE | namespace u32 BE` of a namespace that is deleted, while content of it is left -> nothing;
/// or of a place whose vectors alone are -> 1.
pub(crate) const DOOMED: Definition<&[u8]> = TableDefinition::new("doomed");
/// Tenant file: `scope u32 BE | namespace u32 BE | key` -> row (u64 LE).
pub(crate) const MEMORY_KEYS: Definition<&[u8]> = TableDefinition::new("memory_keys");
/// Tenant file: `scope u32 BE | namespace u32 BE | row u64 BE` -> memory record.
pub(crate) const MEMORIES: Definition<&[u8]> = TableDefinition::new("memories");
/// Tenant file: `scope u32 BE | vectors u32 BE | row u64 BE` -> vector as f32 LE, ready for its metric. `vectors` is the
/// number of the namespace, or after a re-embedding another one that its record names.
pub(crate) const VECTORS: Definition<&[u8]> = TableDefinition::new("vectors");
/// Tenant file: `scope u32 BE | namespace u32 BE | sequence u64 BE` -> change record.
pub(crate) const CHANGES: Definition<&[u8]> = TableDefinition::new("changes");
/// Tenant file: as `VECTORS`, of the place where the vectors of another model gather -> nothing: this memory was put
/// since it was passed.
pub(crate) const REEMBED: Definition<&[u8]> = TableDefinition::new("reembed");
/// Tenant file: `scope u32 BE | namespace u32 BE` -> manifest record of the namespace's stored index; the same with
/// `| generation u64 BE | chunk u32 BE` -> bytes of it.
pub(crate) const SEGMENTS: Definition<&[u8]> = TableDefinition::new("segments");
/// Tenant file: `expires-at u64 BE | scope u32 BE | namespace u32 BE | row u64 BE` -> nothing.
pub(crate) const EXPIRIES: Definition<&[u8]> = TableDefinition::new("expiries");
/// Tenant file: `user u32 BE | idempotency key` -> record of the outcome.
pub(crate) const OUTCOMES: Definition<&[u8]> = TableDefinition::new("outcomes");
/// Tenant file: `time u64 BE | user u32 BE | idempotency key` -> nothing.
pub(crate) const OUTCOME_TIMES: Definition<&[u8]> = TableDefinition::new("outcome_times");
/// Tenant file: number of a user -> salt of the secret under which that user's credentials are sealed.
pub(crate) const USER_SALTS: Definition<u32> = TableDefinition::new("user_salts");
/// Tenant file: `user u32 BE | name` -> head record of a credential.
pub(crate) const CREDENTIALS: Definition<&[u8]> = TableDefinition::new("credentials");
/// Tenant file: `user u32 BE | name | 0 | stamp u64 BE` -> sealed envelope.
pub(crate) const CREDENTIAL_SECRETS: Definition<&[u8]> = TableDefinition::new("credential_secrets");
/// Tenant file: "current" -> record of the policy; nothing in a tenant without one.
pub(crate) const POLICY: Definition<&str> = TableDefinition::new("policy");
/// Tenant file: entry number -> `hash 32 | audit record`.
pub(crate) const AUDIT: Definition<u64> = TableDefinition::new("audit");

/// Catalog: tenant name -> tenant record.
pub(crate) const TENANTS: Definition<&str> = TableDefinition::new("tenants");
/// Catalog: name of a tenant that a crash may leave half made, re-keyed or purged -> what is under way.
pub(crate) const UNFINISHED: Definition<&str> = TableDefinition::new("unfinished");
/// Catalog: incarnation of a purged tenant -> tombstone record.
pub(crate) const TOMBSTONES: Definition<&[u8]> = TableDefinition::new("tombstones");
/// Catalog: entry number -> `hash 32 | operator audit record`.
pub(crate) const OPERATOR_AUDIT: Definition<u64> = TableDefinition::new("operator_audit");

/// Catalog: id of an API key -> API key record.
pub(crate) const API_KEYS: Definition<&[u8]> = TableDefinition::new("api_keys");
/// Catalog: `incarnation 16 | id of an API key 8` -> nothing.
pub(crate) const TENANT_API_KEYS: Definition<&[u8]> = TableDefinition::new("tenant_api_keys");
/// Catalog: `incarnation 16 | kind u8 | name` -> revocation record.
pub(crate) const REVOCATIONS: Definition<&[u8]> = TableDefinition::new("revocations");
/// Catalog: `end u64 BE | key of a revocation` -> nothing.
pub(crate) const REVOCATION_ENDS: Definition<&[u8]> = TableDefinition::new("revocation_ends");

/// Declares the snapshot of a file's tables, so that no table can be opened but not created. Those that only writers
/// use are not opened for readers, which every commit would pay for.
macro_rules! tables {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $key:ty = $definition:ident),* $(,)? }
     for writers: $($writers:ident),*) => {
        $(#[$doc])*
        pub(crate) struct $name {
            $(pub(crate) $field: Snapshot<$key>,)*
        }

        #[cfg(test)]
        impl $name {
            /// Every table, so that no other list of them leaves one out.
            pub(crate) fn names() -> std::collections::BTreeSet<&'static str> {
                [$($definition.name(),)* $($writers.name(),)*].into()
            }
        }

        impl Tables for $name {
            fn create(transaction: &WriteTransaction) -> Result<()> {
                $(transaction.open_table($definition)?;)*
                $(transaction.open_table($writers)?;)*
                Ok(())
            }

            fn open(transaction: &ReadTransaction) -> Result<Self> {
                Ok(Self { $($field: transaction.open_table($definition)?,)* })
            }
        }
    };
}

tables! {
    /// One snapshot of a tenant's file.
    TenantTables {
        meta: &'static str = META,
        users: &'static [u8] = USERS,
        user_numbers: u32 = USER_NUMBERS,
        namespaces: &'static [u8] = NAMESPACES,
        namespace_numbers: u32 = NAMESPACE_NUMBERS,
        memory_keys: &'static [u8] = MEMORY_KEYS,
        memories: &'static [u8] = MEMORIES,
        vectors: &'static [u8] = VECTORS,
        changes: &'static [u8] = CHANGES,
        segments: &'static [u8] = SEGMENTS,
        reembed: &'static [u8] = REEMBED,
        credentials: &'static [u8] = CREDENTIALS,
        policy: &'static str = POLICY,
        audit: u64 = AUDIT,
    }
    for writers: DOOMED, EXPIRIES, OUTCOMES, OUTCOME_TIMES, USER_SALTS, CREDENTIAL_SECRETS
}

tables! {
    /// One snapshot of the catalog.
    CatalogTables {
        meta: &'static str = META,
        tenants: &'static str = TENANTS,
        unfinished: &'static str = UNFINISHED,
        tombstones: &'static [u8] = TOMBSTONES,
        operator_audit: u64 = OPERATOR_AUDIT,
        api_keys: &'static [u8] = API_KEYS,
        tenant_api_keys: &'static [u8] = TENANT_API_KEYS,
        revocations: &'static [u8] = REVOCATIONS,
    }
    for writers: REVOCATION_ENDS
}
