//! Identities that a trust root has vouched for. Nothing else can make one.

use std::sync::Arc;

use super::membership::Membership;
use super::scope::Scopes;
use crate::clock::Timestamp;
use crate::id::{EngineId, Incarnation, TenantId, UserId};

/// A user of one tenant or of several, verified by a configured trust root of one engine.
///
/// # Authority
/// It opens [`Engine::tenant`](crate::Engine::tenant) for the tenant, user and scopes it names, and
/// [`Engine::tenant_as`](crate::Engine::tenant_as) for the tenants it lists, until it expires or is revoked there.
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
/// assert_eq!((identity.token_id(), identity.tenant_name(), identity.memberships().len()), (None, None, 1));
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
#[derive(Clone)]
pub(crate) struct IdentityFacts {
    pub(crate) engine: EngineId,
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) groups: Vec<String>,
    pub(crate) scopes: Scopes,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) token_id: Option<String>,
    pub(crate) tenant_name: Option<String>,
    /// Every tenant it lists, `tenant` among them.
    pub(crate) memberships: Vec<Membership>,
    /// Whether it says which of them it is for.
    pub(crate) names_one: bool,
    /// The one life of the tenant's name that it is good for, where that is known.
    pub(crate) incarnation: Option<Incarnation>,
}

impl IdentityFacts {
    /// Of a user of one tenant, named by nothing else that could be revoked.
    pub(crate) fn of_one_tenant(
        engine: EngineId,
        tenant: TenantId,
        user: UserId,
        groups: Vec<String>,
        scopes: Scopes,
        issued_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            engine,
            memberships: vec![Membership { tenant: tenant.clone(), scopes, has_groups: true }],
            tenant,
            user,
            groups,
            scopes,
            issued_at,
            expires_at,
            token_id: None,
            tenant_name: None,
            names_one: true,
            incarnation: None,
        }
    }
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

    /// The same identity at another of the tenants that it lists, with what its issuer allows there.
    pub(crate) fn at(&self, tenant: &TenantId) -> Option<Self> {
        let member = self.0.memberships.iter().find(|member| member.tenant == *tenant)?;
        if self.0.names_one && self.0.tenant == *tenant {
            return Some(self.clone());
        }
        let mut facts = IdentityFacts::clone(&self.0);
        if facts.tenant != *tenant {
            (facts.tenant, facts.scopes, facts.tenant_name) = (member.tenant.clone(), member.scopes, None);
            if !member.has_groups {
                facts.groups = Vec::new();
            }
        }
        facts.names_one = true;
        Some(Self::new(facts))
    }

    pub(crate) fn names_one(&self) -> bool {
        self.0.names_one
    }

    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.0.incarnation
    }

    pub(crate) fn engine(&self) -> EngineId {
        self.0.engine
    }

    /// The tenant this identity is for; the first of several, if its token lists several and names none.
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

    /// The id of the token or of the application's session, by which it can be revoked.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.0.token_id.as_deref()
    }

    /// What the issuer calls the tenant, for display: nothing is looked up by it.
    #[must_use]
    pub fn tenant_name(&self) -> Option<&str> {
        self.0.tenant_name.as_deref()
    }

    /// The tenants that it lists, in its issuer's order; the one it is for, when it lists none.
    #[must_use]
    pub fn memberships(&self) -> &[Membership] {
        &self.0.memberships
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Issuer;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    /// Names `acme`, and lists `globex`, where its groups hold, and `initech`, where they do not.
    fn identity() -> VerifiedIdentity {
        let member = |name, scopes, has_groups| Membership { tenant: tenant(name), scopes, has_groups };
        VerifiedIdentity::new(IdentityFacts {
            engine: EngineId::random().unwrap(),
            tenant: tenant("acme"),
            user: UserId::new(Issuer::authority(), "alice").unwrap(),
            groups: vec!["staff".into()],
            scopes: Scopes::ALL,
            issued_at: Timestamp::from_seconds(1),
            expires_at: Timestamp::from_seconds(2),
            token_id: Some("t".into()),
            tenant_name: Some("Acme".into()),
            memberships: vec![
                member("acme", Scopes::ALL, true),
                member("globex", Scopes::READ, true),
                member("initech", Scopes::NONE, false),
            ],
            names_one: true,
            incarnation: None,
        })
    }

    #[test]
    fn at_another_tenant_an_identity_is_what_it_says_of_that_one() {
        let told = |name| {
            let there = identity().at(&tenant(name)).unwrap();
            (there.scopes(), there.groups().len(), there.tenant_name().is_some(), there.tenant() == &tenant(name))
        };
        assert_eq!(told("acme"), (Scopes::ALL, 1, true, true));
        assert_eq!(told("globex"), (Scopes::READ, 1, false, true));
        assert_eq!(told("initech"), (Scopes::NONE, 0, false, true));
        assert!(identity().at(&tenant("elsewhere")).is_none());
        // Who it is, until when, and by which token, is the same everywhere.
        let there = identity().at(&tenant("globex")).unwrap();
        assert_eq!((there.user().subject(), there.token_id()), ("alice", Some("t")));
        assert_eq!((there.expires_at(), there.memberships().len()), (Timestamp::from_seconds(2), 3));
    }
}
