//! A tenant that an identity may act at.

use super::scope::Scopes;
use crate::id::TenantId;

/// One of the tenants that an identity lists, and what its issuer allows there.
///
/// It conveys no power: [`Engine::tenant_as`](crate::Engine::tenant_as) asks the identity for one of its own.
///
/// ```
/// use watertight::*;
///
/// let (_, authority) = Engine::in_memory()?;
/// let alice = Attestation::new("acme", "alice")?.scopes(Scopes::ALL).member_of("globex", Scopes::READ)?;
/// let identity = authority.attest(alice)?;
/// let told: Vec<_> = identity.memberships().iter().map(|it| (it.tenant().as_str(), it.scopes())).collect();
/// assert_eq!(told, [("acme", Scopes::ALL), ("globex", Scopes::READ)]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub(crate) tenant: TenantId,
    pub(crate) scopes: Scopes,
    /// Whether the identity's groups are said of this tenant as well.
    pub(crate) has_groups: bool,
}

impl Membership {
    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// What the issuer allows there.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }
}
