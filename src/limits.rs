//! Every bound of the engine, with its unit in the name.
//!
//! A limit is checked where input enters, before anything is allocated for it, and the error names the limit
//! and the value that was refused.

use std::time::Duration;

/// Longest tenant id, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 128;
/// Longest issuer, in bytes.
pub const ISSUER_BYTES_MAX: usize = 255;
/// Longest user subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// Longest namespace name, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 64;
/// Longest memory key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 512;
/// Longest text of a memory, in bytes of UTF-8.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest JSON content of a memory, in bytes once serialised.
pub const CONTENT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of JSON content.
pub const CONTENT_DEPTH_MAX: usize = 64;
/// Most metadata fields of a memory.
pub const METADATA_FIELDS_MAX: usize = 64;
/// Longest metadata field name, in bytes.
pub const METADATA_NAME_BYTES_MAX: usize = 64;
/// Longest metadata text value, in bytes.
pub const METADATA_TEXT_BYTES_MAX: usize = 4_096;
/// Most conditions of a filter, `all`, `any` and `not` included.
pub const FILTER_NODES_MAX: usize = 256;
/// Deepest nesting of a filter; one condition on a field is one level.
pub const FILTER_DEPTH_MAX: usize = 16;
/// Most values in the `one_of` lists of a filter, all its lists together.
pub const FILTER_VALUES_MAX: usize = 1_024;
/// Most dimensions of a vector.
pub const VECTOR_DIMENSIONS_MAX: usize = 4_096;
/// Greatest Euclidean length of a vector under dot and L2: scores of longer ones could overflow f32.
pub const VECTOR_LENGTH_MAX: f64 = 1e18;
/// Longest id of an embedding model, in bytes.
pub const MODEL_BYTES_MAX: usize = 128;
/// Longest description of a namespace, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// Most namespaces of one tenant, private ones included.
pub const NAMESPACES_MAX: u32 = 65_536;
/// Most memories of one batch.
pub const BATCH_MEMORIES_MAX: usize = 10_000;
/// Largest batch, in bytes of its keys, texts, contents, metadata and vectors.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;
/// Most hits that one recall returns.
pub const RECALL_TOP_MAX: usize = 10_000;
/// Most namespaces that one recall merges, of one handle or across handles.
pub const RECALL_NAMESPACES_MAX: usize = 64;
/// Longest text of a question, in bytes of UTF-8.
pub const QUESTION_BYTES_MAX: usize = 64 << 10;
/// Largest and smallest breadth of a search (`ef_search`) that a recall may ask for.
pub const EF_SEARCH_MAX: u32 = 10_000;
/// Bytes of a stored index in one row of the file. A value of 64 KiB would occupy twice as much.
pub(crate) const SEGMENT_CHUNK_BYTES: usize = 65_000;
/// Bytes of a stored index that one transaction writes at most: others wait no longer than that takes.
pub(crate) const SEGMENT_BATCH_BYTES: usize = 4 << 20;
/// A larger index is not stored, and is built anew when it is needed.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// Fewer vectors are read from the file as fast as a stored index would be.
pub(crate) const SEGMENT_ROWS_MIN: usize = 1_024;
/// Metadata fields that are kept beside an index for filters; a filter of more reads records.
pub(crate) const COLUMNS_MAX: usize = 16;
/// A longer text is not kept beside an index: it is looked at in its record.
pub(crate) const COLUMN_TEXT_BYTES_MAX: usize = 64;
/// Largest number of candidates that are weighed when a graph is built (`ef_construction`).
pub const EF_CONSTRUCTION_MAX: u32 = 1_000;
/// Fewest and most links of a node of a graph (`M`).
pub const GRAPH_LINKS_MIN: u32 = 4;
/// See [`GRAPH_LINKS_MIN`].
pub const GRAPH_LINKS_MAX: u32 = 64;
/// Fewest vectors for which a graph may be asked for.
pub const GRAPH_ROWS_MIN: u32 = 256;
/// Changes of one tenant that wait for their turn at most, in number and in bytes; more are told to come again.
pub const WAITING_CHANGES_MAX: usize = 1_024;
/// See [`WAITING_CHANGES_MAX`].
pub const WAITING_BYTES_MAX: u64 = 64 << 20;
/// Changes that share one transaction at most, in number and in bytes.
pub const SHARED_CHANGES_MAX: usize = 256;
/// See [`SHARED_CHANGES_MAX`]; a larger change has a transaction of its own.
pub const SHARED_BYTES_MAX: u64 = 4 << 20;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// How long the outcome of a change with an idempotency key is kept, in seconds.
pub const IDEMPOTENCY_SECONDS: u64 = 24 * 60 * 60;
/// Most idempotency keys that a tenant keeps at one time.
pub const IDEMPOTENCY_KEYS_MAX: u32 = 65_536;
/// A change stays in its namespace's feed until this many changes of the tenant have followed and its namespace
/// changes again.
pub const FEED_CHANGES_KEPT: u64 = 65_536;
/// Memories that one step of a re-embedding takes at most, and about how many bytes of them.
pub(crate) const REEMBED_ROWS_MAX: usize = 100;
/// See [`REEMBED_ROWS_MAX`].
pub(crate) const REEMBED_BYTES_MAX: usize = 1 << 20;
/// Most changes that one page of a feed returns.
pub const FEED_PAGE_MAX: usize = 1_000;
/// Expired or ownerless memories that every write clears away beside its own work.
pub const SWEEP_ROWS_PER_WRITE: usize = 16;
/// Memories that one sweep clears away at most.
pub const SWEEP_ROWS_MAX: usize = 10_000;
/// Most rows that one page of a list returns.
pub const LIST_PAGE_MAX: usize = 1_000;
/// Rows that a page of a list returns when the caller names no number.
pub const LIST_PAGE_DEFAULT: usize = 100;
/// Longest plan name and longest reason given by an operator, in bytes.
pub const OPERATOR_TEXT_BYTES_MAX: usize = 256;
/// Most issuers a tenant trusts, and most owners it has.
pub const TENANT_PARTIES_MAX: usize = 64;
/// Most groups an identity carries.
pub const GROUPS_MAX: usize = 128;

/// Longest bearer token, in bytes, checked before it is parsed.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;
/// Longest key id (`kid`) of a token or key set, in bytes.
pub const KEY_ID_BYTES_MAX: usize = 128;
/// Deepest nesting of a token's header and claims and of a key set.
pub const TOKEN_JSON_DEPTH_MAX: usize = 16;
/// Longest id of a token (`jti`), in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 255;
/// Longest audience that a verifier is made for, in bytes.
pub const AUDIENCE_BYTES_MAX: usize = 255;
/// Longest name of a group in a token, in bytes.
pub const GROUP_BYTES_MAX: usize = 255;
/// Latest time a token may name, in seconds since 1970: the last second of the year 9999.
pub const CLAIM_SECONDS_MAX: u64 = 253_402_300_799;
/// Smallest RSA modulus of a key set, in bits.
pub const RSA_BITS_MIN: usize = 2_048;
/// Largest RSA modulus of a key set, in bits.
pub const RSA_BITS_MAX: usize = 8_192;
/// Largest JSON Web Key Set, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1_024;
/// Most keys of one JSON Web Key Set.
pub const JWKS_KEYS_MAX: usize = 64;
/// Largest clock leeway that a verifier accepts, in seconds.
pub const LEEWAY_SECONDS_MAX: u64 = 30;
/// Clock leeway of a verifier when none is named, in seconds.
pub const LEEWAY_SECONDS_DEFAULT: u64 = 5;
/// Default longest life of a token from `iat` to `exp`, in seconds.
pub const TOKEN_LIFETIME_SECONDS_DEFAULT: u64 = 24 * 60 * 60;
/// Longest life of a token that a verifier can be made to accept, in seconds. Revocations are kept as long.
pub const TOKEN_LIFETIME_SECONDS_MAX: u64 = 31 * 24 * 60 * 60;
/// Longest name in the path to a claim, in bytes.
pub const CLAIM_NAME_BYTES_MAX: usize = 255;
/// Most tenants that one identity lists.
pub const MEMBERSHIPS_MAX: usize = 64;
/// Longest name of a tenant that a token gives for display, in bytes.
pub const TENANT_NAME_BYTES_MAX: usize = 255;
/// Age at which a fetched key set is fetched again, unless its source says otherwise.
pub const KEY_SET_AGE_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// Time between two fetches of a key set at least, unless its source says otherwise.
pub const KEY_SET_REFETCH_DEFAULT: Duration = Duration::from_secs(60);
/// Shortest time between two fetches that a source accepts.
pub const KEY_SET_REFETCH_MIN: Duration = Duration::from_secs(1);

/// Most API keys of one tenant.
pub const API_KEYS_MAX: usize = 1_000;
/// Longest label of an API key, in bytes.
pub const API_KEY_LABEL_BYTES_MAX: usize = 128;
/// Longest life of an API key, in seconds.
pub const API_KEY_LIFETIME_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
/// Life of an API key when its maker names none, in seconds.
pub const API_KEY_LIFETIME_SECONDS_DEFAULT: u64 = 90 * 24 * 60 * 60;
/// Time between two commits of the times at which API keys were used, in seconds.
pub const API_KEY_USE_SECONDS: u64 = 60 * 60;
/// Most revoked tokens and subjects of one tenant; revoking everybody's clears them.
pub const REVOCATIONS_MAX: usize = 10_000;
/// Revocations are kept this long after the last identity that they refuse has expired, in seconds: as long as anything may
/// outlive the identity that began it.
pub const REVOCATION_KEPT_SECONDS: u64 = 7 * 24 * 60 * 60;
/// Revocations that have had their time and that each new one clears away beside itself.
pub const REVOCATIONS_SWEPT: usize = 64;
/// Longest life that an attested identity may be given, in seconds.
pub const ATTESTED_LIFETIME_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Life of an attested identity when the caller names none, in seconds.
pub const ATTESTED_LIFETIME_SECONDS_DEFAULT: u64 = 15 * 60;

/// Longest name of a role or of an application's action, in bytes.
pub const ROLE_NAME_BYTES_MAX: usize = 64;
/// Most roles that a tenant defines.
pub const POLICY_ROLES_MAX: usize = 256;
/// Most namespace rules of all roles of a tenant.
pub const POLICY_RULES_MAX: usize = 4_096;
/// Most actions that the roles of a tenant name, all roles together.
pub const POLICY_ACTIONS_MAX: usize = 4_096;
/// Most assignments of roles in a tenant.
pub const POLICY_ASSIGNMENTS_MAX: usize = 4_096;
/// How often a handle can be narrowed, one narrowing on the other.
pub const ATTENUATIONS_MAX: usize = 8;
/// Most namespaces and actions that one narrowing names, each kind by itself.
pub const ATTENUATION_NAMES_MAX: usize = 256;
/// Longest life of a detached job, in seconds; a tenant's policy may allow less.
pub const DETACHED_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
// Whoever was revoked stays so for as long as a job may live that was detached before.
const _: () = assert!(DETACHED_SECONDS_MAX <= REVOCATION_KEPT_SECONDS);
/// Longest life of an impersonation, in seconds.
pub const IMPERSONATION_SECONDS_MAX: u64 = 60 * 60;
/// Life of an impersonation when the operator names none, in seconds.
pub const IMPERSONATION_SECONDS_DEFAULT: u64 = 15 * 60;
/// Users of a tenant for whom it is remembered what its policy says of them.
pub const STANDINGS_KEPT: usize = 256;
/// Different refusals that a tenant remembers until they are written to its audit trail; others are only counted.
pub const REFUSALS_MAX: usize = 256;

/// Largest secret of a credential, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 64 << 10;
/// Longest name of a credential, in bytes.
pub const CREDENTIAL_NAME_BYTES_MAX: usize = 64;
/// Most metadata texts of a credential.
pub const CREDENTIAL_METADATA_FIELDS_MAX: usize = 16;
/// Longest metadata text of a credential, in bytes.
pub const CREDENTIAL_METADATA_TEXT_BYTES_MAX: usize = 1_024;
/// Most credentials of one user at one tenant.
pub const CREDENTIALS_MAX: usize = 1_000;
/// How long a rotation may keep the secret before.
pub const CREDENTIAL_OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Longest template, before and after its credentials are filled in, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// Most expressions of one template, or of all variables of one environment.
pub const TEMPLATE_EXPRESSIONS_MAX: usize = 256;

/// Default redb cache of one tenant, in bytes.
pub const TENANT_CACHE_BYTES_DEFAULT: usize = 4 << 20;
/// Memory of all open tenants together, in bytes, unless the builder says otherwise.
pub const MEMORY_BYTES_DEFAULT: u64 = 256 << 20;
/// Smallest memory for open tenants that a builder accepts, in bytes.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Open tenants at a time unless the builder says otherwise; fewer where the system allows fewer open files.
pub const OPEN_TENANTS_DEFAULT: usize = 1_024;
/// What an open tenant counts for beside its caches and indexes, in bytes.
pub const TENANT_BYTES_MIN: u64 = 64 << 10;
/// How long an operation waits for room when all open tenants are in use.
pub const ROOM_WAIT_MAX: Duration = Duration::from_secs(1);
/// redb cache of the catalog, in bytes.
pub const CATALOG_CACHE_BYTES: usize = 4 << 20;
/// File size above which commits keep redb's allocator state (`quick_repair`), in bytes: repair after a crash
/// is then independent of the size of the file.
pub const QUICK_REPAIR_ABOVE_BYTES: u64 = 8 << 20;
/// File size up to which a tenant's file is checked as a whole when it is opened, in bytes: every page must be the one that
/// the page above it names. At this size the check takes about as long as the rest of the opening. The catalog is always
/// checked.
pub const TENANT_CHECK_BYTES_MAX: u64 = 1 << 20;
/// What one transaction of a new file that is filled from an older one writes, in bytes of keys and values.
pub const COPY_BATCH_BYTES: usize = 4 << 20;
/// Largest answer of a recall or of getting many, in stored bytes; a page of a list ends early instead.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Largest record accepted from a file before it is decoded, in bytes.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// How far the persisted clock floor runs ahead of the clock, in microseconds.
pub const CLOCK_LEASE_MICROS: u64 = 60 * 1_000_000;
/// Longest text of a receipt, in bytes.
pub const RECEIPT_BYTES_MAX: usize = 4_096;
/// Largest key file accepted, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 4_096;
/// Shortest and longest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 12;
/// See [`PASSPHRASE_BYTES_MIN`].
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// What Argon2id makes of a passphrase: memory in KiB, passes and lanes of today, and the most that a file may ask for.
pub const ARGON2_MEMORY_KIB: u32 = 64 << 10;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 << 10;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_PASSES: u32 = 3;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_PASSES_MAX: u32 = 16;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_LANES: u32 = 4;
/// See [`ARGON2_MEMORY_KIB`].
pub const ARGON2_LANES_MAX: u32 = 16;
/// Longest name of a provider of root keys, in bytes.
pub const PROVIDER_NAME_BYTES_MAX: usize = 255;
/// Longest wrapping that a provider of root keys may give, in bytes.
pub const PROVIDER_WRAPPED_BYTES_MAX: usize = 2_048;
/// Most root keys that an engine is opened with.
pub const ROOT_KEYS_MAX: usize = 8;
/// Most versions of the engine key that are read side by side; a rotation makes a further one only when there is one.
pub const ENGINE_KEYS_MAX: usize = 16;

const _: () = assert!(
    TEXT_BYTES_MAX + CONTENT_BYTES_MAX + METADATA_FIELDS_MAX * (METADATA_NAME_BYTES_MAX + METADATA_TEXT_BYTES_MAX)
        < RECORD_BYTES_MAX
);
const _: () = assert!(LIST_PAGE_DEFAULT <= LIST_PAGE_MAX);
const _: () = assert!(ATTESTED_LIFETIME_SECONDS_DEFAULT <= ATTESTED_LIFETIME_SECONDS_MAX);
const _: () = assert!(LEEWAY_SECONDS_DEFAULT <= LEEWAY_SECONDS_MAX);
const _: () = assert!(TOKEN_LIFETIME_SECONDS_DEFAULT <= TOKEN_LIFETIME_SECONDS_MAX);
const _: () = assert!(ATTESTED_LIFETIME_SECONDS_MAX <= TOKEN_LIFETIME_SECONDS_MAX);
const _: () = assert!(API_KEY_LIFETIME_SECONDS_DEFAULT <= API_KEY_LIFETIME_SECONDS_MAX);
const _: () = assert!(CLAIM_SECONDS_MAX + LEEWAY_SECONDS_MAX < u64::MAX / 1_000_000);
