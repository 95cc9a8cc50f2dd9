//! What operators did, chained like every audit trail.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{Incarnation, TenantId, UserId};
use crate::store::codec::Record;

/// A step of a tenant's lifecycle, or of the engine's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OperatorAction {
    /// A tenant was made.
    Provision,
    /// A tenant was stopped.
    Suspend,
    /// A suspended tenant was started again.
    Resume,
    /// A re-keying began.
    Rekey,
    /// A re-keying ended: the tenant has another key and file, and those before are gone.
    Rekeyed,
    /// A re-keying was given up: the tenant has the key and file it had.
    RekeyAbandoned,
    /// A purge began; the tenant is unreachable from here on.
    Purge,
    /// A purge ended: keys and data are gone.
    Purged,
    /// A provisioning that a crash interrupted was cleared away.
    Abandoned,
    /// An operator was given an identity to act for a user.
    Impersonate,
    /// A rotation of the root key began.
    RotateRootKey,
    /// It ended: the root key before opens nothing any more.
    RootKeyRotated,
    /// A rotation of the engine key to a new version began.
    RotateEngineKey {
        /// The new version.
        version: u32,
    },
    /// It ended: no tenant's key file needs another version.
    EngineKeyRotated {
        /// The new version.
        version: u32,
    },
    /// A version of the engine key is to be destroyed, which nothing needs.
    RetireEngineKey {
        /// That version.
        version: u32,
    },
    /// Its file is destroyed.
    EngineKeyRetired {
        /// That version.
        version: u32,
    },
    /// Identities were revoked at a tenant.
    Revoke,
    /// The issuers that a tenant trusts were replaced.
    SetIssuers,
    /// A user became an owner of a tenant that is in service.
    AddOwner,
    /// A user ceased to be an owner of a tenant.
    RemoveOwner,
}

/// One entry of the operators' audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who; absent for what the engine did by itself after a crash, or for an admin of the tenant who erased a user.
    pub operator: Option<String>,
    /// What.
    pub action: OperatorAction,
    /// To whom; absent for what concerns the engine.
    pub tenant: Option<TenantId>,
    /// To which life of that name.
    pub incarnation: Option<Incarnation>,
    /// For whom the operator may act, or who became or ceased to be an owner; absent for what is about no user.
    pub user: Option<UserId>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

impl Record for OperatorAuditEntry {
    const KIND: u8 = 2;
    const VERSION: u8 = 2;
    const NAME: &'static str = "operator audit entry";
}
