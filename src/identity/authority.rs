//! Attestation: the application's own login code vouches for a user.

use std::sync::Arc;
use std::time::Duration;

use super::membership::Membership;
use super::scope::Scopes;
use super::verified::{IdentityFacts, VerifiedIdentity, VerifiedOperator};
use crate::clock::EngineClock;
use crate::error::{Error, Reason, Result};
use crate::id::{EngineId, Issuer, TenantId, UserId, check_token_id};
use crate::limits::{
    ATTESTED_LIFETIME_SECONDS_DEFAULT, ATTESTED_LIFETIME_SECONDS_MAX, GROUP_BYTES_MAX, GROUPS_MAX, MEMBERSHIPS_MAX,
    OPERATOR_TEXT_BYTES_MAX,
};
use crate::line::check_name;
use crate::process::Process;

/// The power to say who a user is, without a token.
///
/// # Authority
/// Whoever holds it can become any user of every tenant that trusts [`Issuer::authority`], and any operator. It is
/// returned once by [`open`](crate::EngineBuilder::open) and is not `Clone`: sharing it means an `Arc` in plain
/// sight. Keep it in the login code and pass [`VerifiedIdentity`] values on from there.
///
/// ```
/// use watertight::*;
///
/// let (engine, authority) = Engine::in_memory()?;
/// let operator = engine.operator(&authority.attest_operator("ops@example.org")?)?;
/// operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// let alice = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?;
/// assert_eq!(engine.tenant(&alice)?.user().subject(), "alice");
///
/// // No user is attested for ever.
/// let for_ever = Attestation::new("acme", "alice")?.lifetime(std::time::Duration::MAX);
/// assert_eq!(authority.attest(for_ever).unwrap_err().kind(), ErrorKind::InvalidInput);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Authority {
    engine: EngineId,
    clock: Arc<EngineClock>,
    process: Process,
}

/// What the application says of a user it has authenticated.
///
/// ```
/// use watertight::{Attestation, Scopes};
///
/// let alice = Attestation::new("acme", "alice")
///     .unwrap()
///     .scopes(Scopes::READ | Scopes::WRITE)
///     .groups(["staff"])
///     .lifetime(std::time::Duration::from_secs(600))
///     .session("login-7")
///     .unwrap()
///     .member_of("globex", Scopes::READ)
///     .unwrap();
/// assert!(Attestation::new("acme/evil", "alice").is_err());
/// # let _ = alice;
/// ```
#[derive(Debug, Clone)]
pub struct Attestation {
    tenant: TenantId,
    user: UserId,
    groups: Vec<String>,
    scopes: Scopes,
    lifetime: Duration,
    session: Option<String>,
    further: Vec<Membership>,
}

impl Attestation {
    /// A user of a tenant, without any scope, for 15 minutes.
    ///
    /// # Errors
    /// `InvalidInput` when either name breaks its rule.
    pub fn new(tenant: &str, subject: &str) -> Result<Self> {
        Ok(Self {
            tenant: TenantId::new(tenant)?,
            user: UserId::new(Issuer::authority(), subject)?,
            groups: Vec::new(),
            scopes: Scopes::NONE,
            lifetime: Duration::from_secs(ATTESTED_LIFETIME_SECONDS_DEFAULT),
            session: None,
            further: Vec::new(),
        })
    }

    /// What the user may do; replaces what was set before.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// The user's groups; at most 128, each of 1 to 255 bytes without control, direction and invisible characters.
    #[must_use]
    pub fn groups<G: Into<String>>(mut self, groups: impl IntoIterator<Item = G>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// How long the identity is good for; at most 24 hours.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The application's own name of the login, by which the identity can be revoked: 1 to 255 bytes of visible ASCII.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks that rule.
    pub fn session(mut self, id: &str) -> Result<Self> {
        check_token_id(id)?;
        self.session = Some(id.to_owned());
        Ok(self)
    }

    /// One more tenant of the user, with what the user may do there. The groups are of the first tenant alone.
    ///
    /// See [`Engine::tenant_as`](crate::Engine::tenant_as) for how one is selected.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks its rule, was given before, or there are more than
    /// [`MEMBERSHIPS_MAX`] tenants.
    pub fn member_of(mut self, tenant: &str, scopes: Scopes) -> Result<Self> {
        let tenant = TenantId::new(tenant)?;
        if tenant == self.tenant || self.further.iter().any(|member| member.tenant == tenant) {
            return Err(Error::invalid("tenants", "one of them was given twice"));
        }
        // With the first.
        if self.further.len() + 1 >= MEMBERSHIPS_MAX {
            return Err(Error::too_large("tenants", MEMBERSHIPS_MAX, self.further.len() + 2));
        }
        self.further.push(Membership { tenant, scopes, has_groups: false });
        Ok(self)
    }
}

impl Authority {
    pub(crate) fn new(engine: EngineId, clock: Arc<EngineClock>) -> Self {
        Self { engine, clock, process: Process::this() }
    }

    /// Makes an identity for a user that the application has authenticated.
    ///
    /// # Authority
    /// The result opens the named tenants as the named user, if they trust [`Issuer::authority`].
    ///
    /// # Errors
    /// `InvalidInput` when the lifetime or the groups break their rules. No group is left out instead: a rule that denies it
    /// would not be seen.
    pub fn attest(&self, attestation: Attestation) -> Result<VerifiedIdentity> {
        self.process.check()?;
        let Attestation { tenant, user, groups, scopes, lifetime, session, further } = attestation;
        check_lifetime(lifetime)?;
        check_groups(&groups)?;
        let issued_at = self.clock.stamp();
        let expires_at = issued_at.after(lifetime);
        let mut facts = IdentityFacts::of_one_tenant(self.engine, tenant, user, groups, scopes, issued_at, expires_at);
        facts.token_id = session;
        facts.memberships.extend(further);
        Ok(VerifiedIdentity::new(facts))
    }

    /// Makes an operator identity, good for 15 minutes.
    ///
    /// # Authority
    /// The result opens the lifecycle of every tenant, and the content of none but by acting for a user on record.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty, longer than 256 bytes, or has control, direction or invisible characters.
    pub fn attest_operator(&self, name: &str) -> Result<VerifiedOperator> {
        self.process.check()?;
        check_name("operator name", name, OPERATOR_TEXT_BYTES_MAX)?;
        let expires_at = self.clock.now().after(Duration::from_secs(ATTESTED_LIFETIME_SECONDS_DEFAULT));
        Ok(VerifiedOperator { engine: self.engine, name: name.into(), expires_at })
    }
}

/// The rule of groups, whoever names them.
pub(crate) fn check_groups(groups: &[String]) -> Result<()> {
    if groups.len() > GROUPS_MAX {
        return Err(Error::too_large("groups", GROUPS_MAX, groups.len()));
    }
    groups.iter().try_for_each(|group| check_name("group", group, GROUP_BYTES_MAX))
}

fn check_lifetime(lifetime: Duration) -> Result<()> {
    if lifetime.is_zero() {
        return Err(Error::invalid("lifetime", "must not be zero"));
    }
    if lifetime > Duration::from_secs(ATTESTED_LIFETIME_SECONDS_MAX) {
        let (limit, actual) = (ATTESTED_LIFETIME_SECONDS_MAX, lifetime.as_secs());
        return Err(Reason::TooLarge { what: "lifetime in seconds", limit, actual }.into());
    }
    Ok(())
}
