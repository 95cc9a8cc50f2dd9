//! Policies as files have them, and what the gate makes of them, for the fuzz target `policy`. Not part of the API: it
//! changes without notice.

use super::policy::{Member, Policy};
use super::standing::Standing;
use crate::error::Result;
use crate::id::{Namespace, UserId};
use crate::identity::scope::Scopes;
use crate::store::codec;

/// The policy of a record, as a file gives it.
///
/// # Errors
/// `Damaged` when it is none that could have been made.
pub fn from_record(bytes: &[u8]) -> Result<Policy> {
    Policy::from_record(bytes)
}

/// The record of a policy.
///
/// # Errors
/// `InvalidInput` when it is too large for a file.
pub fn to_record(policy: &Policy) -> Result<Vec<u8>> {
    codec::encode(policy)
}

/// What the gate allows somebody in a shared namespace, and on the tenant as a whole where none is named.
#[must_use]
pub fn allowed(policy: &Policy, user: &UserId, groups: &[String], namespace: Option<&Namespace>) -> Scopes {
    let standing = Standing::of(Some(policy), Member { user, groups, is_owner: false });
    namespace.map_or(standing.tenant(), |namespace| standing.shared(namespace))
}

/// The policy that takes the place of another one, when this user changes it.
///
/// # Errors
/// As for [`TenantHandle::set_policy`](crate::TenantHandle::set_policy).
pub fn successor(now: Option<&Policy>, next: &Policy, user: &UserId, groups: &[String]) -> Result<Policy> {
    Policy::successor(now, next, Member { user, groups, is_owner: false })
}
