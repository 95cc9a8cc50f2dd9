//! Embedded storage engine in which every tenant is physically separate.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod clock;
mod error;
mod id;
mod identity;
pub mod limits;
mod store;

pub use clock::{Clock, SystemClock, TestClock, Timestamp};
pub use error::{Error, ErrorKind, Reason, Result};
pub use id::{EngineId, Epoch, Incarnation, Issuer, Key, MemoryId, Namespace, TenantId, UserId};
pub use identity::claims::TokenClaims;
pub use identity::jwks::Jwks;
pub use identity::jwt::JwtVerifier;
pub use identity::scope::Scopes;

/// The file system under an engine: the operating system's, or a simulated one in tests.
pub mod disk {
    pub use crate::store::file::{Disk, DiskFile, EntryInfo, EntryKind, SystemDisk};
}
