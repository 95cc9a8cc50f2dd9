//! Identities that a trust root has vouched for. Nothing else can make one.

use std::sync::Arc;

use super::scope::Scopes;
use crate::clock::Timestamp;
use crate::id::{EngineId, TenantId, UserId};

/// A user of one tenant, verified by a configured trust root of one engine.
///
/// # Authority
/// It opens [`Engine::tenant`](crate::Engine::tenant) for the tenant, user and scopes it names, until it expires.
/// Cloning it conveys the same. It comes only from [`Engine::verify`](crate::Engine::verify),
/// [`Authority::attest`](crate::Authority::attest) or, for an operator who acts for a user,
/// [`Operator::impersonate`](crate::Operator::impersonate).
///
/// ```
/// use watertight::*;
///
/// let (_, authority) = Engine::in_memory()?;
/// let alice = Attestation::new("acme", "alice")?.scopes(Scopes::READ).groups(["staff"]);
/// let identity = authority.attest(alice)?;
/// assert_eq!((identity.tenant().as_str(), identity.user().subject()), ("acme", "alice"));
/// assert_eq!((identity.scopes(), identity.groups()), (Scopes::READ, &["staff".to_owned()][..]));
/// assert!(identity.issued_at() < identity.expires_at());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct VerifiedIdentity(Arc<IdentityFacts>, Option<Arc<Impersonator>>);

/// An operator who acts for a user.
pub(crate) struct Impersonator {
    pub(crate) operator: Arc<str>,
    pub(crate) reason: String,
}

/// What a trust root says of a user.
pub(crate) struct IdentityFacts {
    pub(crate) engine: EngineId,
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) groups: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl VerifiedIdentity {
    pub(crate) fn new(facts: IdentityFacts) -> Self {
        Self(Arc::new(facts), None)
    }

    /// The identity of a user for whom an operator acts.
    pub(crate) fn impersonated(facts: IdentityFacts, by: Impersonator) -> Self {
        Self(Arc::new(facts), Some(Arc::new(by)))
    }

    pub(crate) fn impersonator(&self) -> Option<&Impersonator> {
        self.1.as_deref()
    }

    /// The operator who acts for the user; absent where the user acts for itself.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let identity = authority.attest(Attestation::new("acme", "alice")?)?;
    /// assert_eq!(identity.operator(), None);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn operator(&self) -> Option<&str> {
        self.1.as_ref().map(|by| &*by.operator)
    }

    pub(crate) fn engine(&self) -> EngineId {
        self.0.engine
    }

    /// The tenant this identity belongs to.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// The user, with the issuer that vouches for it.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.0.user
    }

    /// The groups that the issuer names, in its order.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.0.groups
    }

    /// What the issuer allows; none unless it says so.
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        self.0.scopes
    }

    /// When it was issued.
    #[must_use]
    pub fn issued_at(&self) -> Timestamp {
        self.0.issued_at
    }

    /// From when on it is refused.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.0.expires_at
    }
}

impl std::fmt::Debug for VerifiedIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedIdentity")
            .field("tenant", &self.0.tenant)
            .field("user", &self.0.user)
            .field("scopes", &self.0.scopes)
            .field("operator", &self.operator())
            .field("expires_at", &self.0.expires_at)
            .finish_non_exhaustive()
    }
}

/// An operator, verified by the operators' own trust root.
///
/// # Authority
/// It opens [`Engine::operator`](crate::Engine::operator): the lifecycle of every tenant, the content of none but by acting
/// for a user on record.
///
/// ```
/// use watertight::*;
///
/// let (_, authority) = Engine::in_memory()?;
/// let operator = authority.attest_operator("ops@example.org")?;
/// assert_eq!(operator.name(), "ops@example.org");
/// assert!(operator.expires_at() > Timestamp::from_seconds(0));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedOperator {
    pub(crate) engine: EngineId,
    pub(crate) name: Arc<str>,
    pub(crate) expires_at: Timestamp,
}

impl VerifiedOperator {
    /// The operator's name, as audited.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From when on it is refused.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
