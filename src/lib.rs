#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )
)]

// The layers, lowest first; `tests/layering.rs` checks that imports point downward.
mod access;
mod catalog;
mod clock;
mod compound;
mod crypto;
mod engine;
mod error;
mod handle;
mod hardening;
mod id;
mod identity;
mod index;
pub mod limits;
mod line;
mod meter;
mod process;
mod store;
mod tenant;
#[cfg(feature = "testing")]
pub mod testing;

pub use access::attenuation::Attenuation;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use access::internals as policies;
pub use access::pattern::NamespacePattern;
pub use access::permission::Action;
pub use access::policy::{Policy, Principal};
pub use access::refusal::{Decision, Refusal};
pub use access::role::{Effect, Role, Rule};
pub use catalog::audit::{OperatorAction, OperatorAuditEntry};
pub use catalog::revocations::Revocation;
pub use catalog::tenants::{TenantStatus, Tombstone};
pub use clock::{Clock, SystemClock, TestClock, Timestamp};
pub use compound::CompoundId;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use crypto::internals as crypto_internals;
pub use crypto::provider::{ProviderError, RootKeyProvider};
pub use crypto::root_key::RootKey;
pub use engine::builder::{Danger, EngineBuilder, NeedsRootKey, Ready};
pub use engine::core::{CloseReport, Engine};
pub use engine::impersonation::Impersonation;
pub use engine::operator::{Operator, TenantInfo, TenantSpec};
pub use engine::receipt::{Actor, Destroyed, Receipt, ReceiptFacts};
pub use engine::rotation::{EngineKeyUse, KeyRotation};
pub use engine::stats::EngineStats;
pub use error::{Error, ErrorKind, Reason, Result};
pub use handle::api_keys::ApiKeys;
pub use handle::audit::Audit;
pub use handle::credentials::Credentials;
pub use handle::erasure::Erasure;
pub use handle::listing::Listing;
pub use handle::memories::Memories;
pub use handle::policy::WhoAmI;
pub use handle::recall::{AcrossHit, recall_across};
pub use handle::reembed::Reembedding;
pub use handle::tenant::TenantHandle;
pub use handle::transaction::{Transaction, TransactionMemories};
pub use hardening::{Hardening, harden_process};
pub use id::{ApiKeyId, EngineId, Epoch, Incarnation, Issuer, MemoryId, Namespace, TenantId, UserId};
pub use identity::api_key::{ApiKeyInfo, ApiKeySpec, NewApiKey};
pub use identity::authority::{Attestation, Authority};
pub use identity::claim_path::ClaimPath;
pub use identity::claims::TokenClaims;
pub use identity::jwks::Jwks;
pub use identity::jwt::JwtVerifier;
pub use identity::key_source::{KeyFetchError, KeyFetcher, KeySource};
pub use identity::membership::Membership;
pub use identity::scope::Scopes;
pub use identity::verified::{VerifiedIdentity, VerifiedOperator};
pub use index::effort::Effort;
pub use index::embedder::{EmbedError, Embedder};
pub use index::hashing::HashingEmbedder;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use index::internals;
pub use index::metric::Metric;
pub use index::settings::IndexSettings;
pub use meter::Histogram;
pub use store::chain::ChainHead;
pub use tenant::audit::{AuditAction, AuditEntry, AuditOutcome};
pub use tenant::carry::RekeyProgress;
pub use tenant::credential::{Credential, CredentialInfo};
pub use tenant::cursor::{Cursor, FeedPosition};
pub use tenant::erase::{Authored, ErasedUser};
pub use tenant::feed::{FeedEvent, FeedPage};
pub use tenant::filter::Filter;
pub use tenant::index_status::{IndexStatus, IndexTier};
pub use tenant::list::{List, Page};
pub use tenant::memory::{Json, Memory, MemoryRecord, MetadataValue};
pub use tenant::namespace::NamespaceInfo;
pub use tenant::open::TenantStats;
pub use tenant::patch::Patch;
pub use tenant::question::{Explanation, Hit, Recall};
pub use tenant::reembed::ReembedProgress;
pub use tenant::selection::Selection;
pub use tenant::settings::{NamespaceSettings, NamespaceUpdate};
pub use tenant::sweep::Swept;
pub use tenant::template::SecretText;
pub use tenant::usage::Usage;
pub use tenant::write::{Deleted, PutOutcome};

/// The file system under an engine: the operating system's, one in memory, or a simulated one in tests.
pub mod disk {
    pub use crate::store::file::{Disk, DiskFile, EntryInfo, EntryKind, OpenDirectory, SystemDisk};
    pub use crate::store::memory::MemoryDisk;
}
