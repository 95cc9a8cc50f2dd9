//! An operator acts for a user: said beforehand, for a reason, for a while, and on record in both trails.

use std::time::Duration;

use super::operator::Operator;
use crate::error::{Error, Reason, Result};
use crate::id::{TenantId, UserId};
use crate::identity::authority::check_groups;
use crate::identity::scope::Scopes;
use crate::identity::verified::{IdentityFacts, Impersonator, VerifiedIdentity};
use crate::limits::{IMPERSONATION_SECONDS_DEFAULT, IMPERSONATION_SECONDS_MAX, OPERATOR_TEXT_BYTES_MAX};
use crate::line::check_name;

/// For whom an operator wants to act, and why.
///
/// ```
/// use std::time::Duration;
/// use watertight::{Impersonation, Issuer, Scopes, TenantId, UserId};
///
/// let alice = UserId::new(Issuer::authority(), "alice")?;
/// let look = Impersonation::new(TenantId::new("acme")?, alice, "ticket 4711: notes do not show")
///     .groups(["staff"])
///     .lifetime(Duration::from_secs(600));
/// let mend = look.clone().scopes(Scopes::READ | Scopes::WRITE);
/// # let _ = mend;
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Impersonation {
    tenant: TenantId,
    user: UserId,
    groups: Vec<String>,
    scopes: Scopes,
    lifetime: Duration,
    reason: String,
}

impl Impersonation {
    /// To read as this user for 15 minutes, for a reason of 1 to 256 bytes that both audit trails keep: one line, without
    /// control, direction and invisible characters.
    #[must_use]
    pub fn new(tenant: TenantId, user: UserId, reason: impl Into<String>) -> Self {
        Self {
            tenant,
            user,
            groups: Vec::new(),
            scopes: Scopes::READ,
            lifetime: Duration::from_secs(IMPERSONATION_SECONDS_DEFAULT),
            reason: reason.into(),
        }
    }

    /// What is to be done in the user's name, where reading is not enough; replaces what was set before.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = scopes;
        self
    }

    /// The groups that the user is in; at most 128, by the rule of [`Attestation::groups`](crate::Attestation::groups). Roles of groups do not count otherwise.
    #[must_use]
    pub fn groups<G: Into<String>>(mut self, groups: impl IntoIterator<Item = G>) -> Self {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// How long it is good for; at most one hour.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    fn check(&self) -> Result<()> {
        if self.reason.trim().is_empty() {
            return Err(Error::invalid("reason", "must not be empty"));
        }
        check_name("reason", &self.reason, OPERATOR_TEXT_BYTES_MAX)?;
        check_groups(&self.groups)?;
        if self.lifetime.is_zero() {
            return Err(Error::invalid("lifetime", "must not be zero"));
        }
        if self.lifetime > Duration::from_secs(IMPERSONATION_SECONDS_MAX) {
            let (limit, actual) = (IMPERSONATION_SECONDS_MAX, self.lifetime.as_secs());
            return Err(Reason::TooLarge { what: "lifetime in seconds", limit, actual }.into());
        }
        Ok(())
    }
}

impl Operator {
    /// An identity by which the operator acts for a user. It is recorded here with its reason, and once more in the tenant's
    /// own trail when a tenant is opened with it; every entry of what is done with it names both.
    ///
    /// # Authority
    /// The result opens the tenant as the user, to read unless more was asked for, for at most one hour. It never has the
    /// user's credentials or the application's actions, whoever the user is, it decides nothing about who may do what (policy,
    /// API keys, revocations, erasures), and it cannot be detached. What the tenant's
    /// policy does not grant the user it does not have either.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// let acme = operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?.tenant;
    /// let alice = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// alice.memories("notes")?.put(Memory::new("k"))?;
    ///
    /// let look = Impersonation::new(acme.clone(), alice.user().clone(), "ticket 4711");
    /// let as_alice = engine.tenant(&operator.impersonate(&look)?)?;
    /// assert!(as_alice.memories("notes")?.exists("k")?);
    /// assert_eq!(as_alice.memories("notes")?.delete("k").unwrap_err().kind(), ErrorKind::NotFound);
    /// assert_eq!(as_alice.credentials().list().unwrap_err().kind(), ErrorKind::NotFound);
    ///
    /// let begun = &alice.audit().entries(2, 1)?[0];
    /// assert_eq!((begun.action, begun.operator.as_deref()), (AuditAction::Impersonate, Some("ops")));
    /// assert_eq!(operator.audit(2, 1)?[0].reason.as_deref(), Some("ticket 4711"));
    ///
    /// let no_reason = Impersonation::new(acme, alice.user().clone(), " ");
    /// assert!(operator.impersonate(&no_reason).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when there is no reason, or it or a group breaks its rule, `NotFound` when there is no such tenant. That the
    /// tenant does not trust the user's issuer is told when it is opened.
    pub fn impersonate(&self, impersonation: &Impersonation) -> Result<VerifiedIdentity> {
        let act = self.act()?;
        impersonation.check()?;
        let Impersonation { tenant, user, groups, scopes, lifetime, reason } = impersonation.clone();
        // Stamped before another tenant can have the name: it would be another one than the trail names.
        let _exclusive = self.engine.lifecycle.write();
        self.engine.catalog.record_impersonation(act, &tenant, &user, &reason)?;
        let issued_at = self.engine.clock.stamp();
        let expires_at = issued_at.after(lifetime);
        let engine = self.engine.id;
        let facts = IdentityFacts::of_one_tenant(engine, tenant, user, groups, scopes, issued_at, expires_at);
        let by = Impersonator { operator: self.identity.name.clone(), reason };
        Ok(VerifiedIdentity::impersonated(facts, by))
    }
}
