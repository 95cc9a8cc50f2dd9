//! Embedded storage engine in which every tenant is physically separate.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod access;
mod catalog;
mod clock;
mod crypto;
mod error;
mod id;
mod identity;
pub mod limits;
mod store;

pub use catalog::audit::{OperatorAction, OperatorAuditEntry};
pub use catalog::tenants::TenantStatus;
pub use clock::{Clock, SystemClock, TestClock, Timestamp};
pub use crypto::root_key::RootKey;
pub use error::{Error, ErrorKind, Reason, Result};
pub use id::{EngineId, Epoch, Incarnation, Issuer, Key, MemoryId, Namespace, TenantId, UserId};
pub use identity::authority::{Attestation, Authority};
pub use identity::scope::Scopes;
pub use identity::verified::{VerifiedIdentity, VerifiedOperator};

/// The file system under an engine: the operating system's, or a simulated one in tests.
pub mod disk {
    pub use crate::store::file::{Disk, DiskFile, EntryInfo, EntryKind, SystemDisk};
}
