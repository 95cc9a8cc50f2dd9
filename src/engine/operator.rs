//! The operators' door: the lifecycle of every tenant, the content of none.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::core::Inner;
use super::receipt::{Receipt, ReceiptFacts};
use crate::catalog::audit::OperatorAuditEntry;
use crate::catalog::revocations::Revocation;
use crate::catalog::tenants::{Act, TenantRecord, TenantStatus, Tombstone};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Epoch, Incarnation, Issuer, TenantId, UserId};
use crate::identity::verified::VerifiedOperator;
use crate::limits::{LIST_PAGE_MAX, OPERATOR_TEXT_BYTES_MAX, TENANT_PARTIES_MAX};
use crate::line::check_line;
use crate::store::chain::ChainHead;
use crate::tenant::carry::RekeyProgress;

/// A tenant to provision. Nobody can open it unless it trusts an issuer.
///
/// ```
/// use watertight::{Issuer, TenantSpec, UserId};
///
/// let spec = TenantSpec::new("acme")
///     .unwrap()
///     .plan("pro")
///     .trusts(Issuer::authority())
///     .owner(UserId::new(Issuer::authority(), "alice").unwrap());
/// assert!(TenantSpec::new("../acme").is_err());
/// # let _ = spec;
/// ```
#[derive(Debug, Clone)]
pub struct TenantSpec {
    tenant: TenantId,
    plan: Option<String>,
    issuers: Vec<Issuer>,
    owners: Vec<UserId>,
}

impl TenantSpec {
    /// A tenant of this name, which trusts nobody yet.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks the rule of [`TenantId`].
    pub fn new(tenant: &str) -> Result<Self> {
        Ok(Self { tenant: TenantId::new(tenant)?, plan: None, issuers: Vec::new(), owners: Vec::new() })
    }

    /// The plan's name, for the application's use; at most 256 bytes without control, direction and invisible characters.
    #[must_use]
    pub fn plan(mut self, plan: impl Into<String>) -> Self {
        self.plan = Some(plan.into());
        self
    }

    /// Lets identities of this issuer open the tenant; at most 64.
    ///
    /// # Authority
    /// The issuer can speak for any user of this tenant.
    #[must_use]
    pub fn trusts(mut self, issuer: Issuer) -> Self {
        if !self.issuers.contains(&issuer) {
            self.issuers.push(issuer);
        }
        self
    }

    /// Gives a user every scope, whatever its tokens say, and the role `owner`, whatever the tenant's policy says, until
    /// [`Operator::set_owners`] leaves it out; at most 64.
    #[must_use]
    pub fn owner(mut self, user: UserId) -> Self {
        if !self.owners.contains(&user) {
            self.owners.push(user);
        }
        self
    }

    fn check(&self) -> Result<()> {
        check_parties("issuers", self.issuers.len())?;
        check_parties("owners", self.owners.len())?;
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.len() > OPERATOR_TEXT_BYTES_MAX) {
            return Err(Error::too_large("plan", OPERATOR_TEXT_BYTES_MAX, plan.len()));
        }
        self.plan.as_ref().map_or(Ok(()), |plan| check_line("plan", plan))
    }
}

fn check_parties(what: &'static str, count: usize) -> Result<()> {
    if count > TENANT_PARTIES_MAX { Err(Error::too_large(what, TENANT_PARTIES_MAX, count)) } else { Ok(()) }
}

/// What an operator sees of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantInfo {
    /// Its name.
    pub tenant: TenantId,
    /// Which life of that name.
    pub incarnation: Incarnation,
    /// Where it is in its life.
    pub status: TenantStatus,
    /// Its plan.
    pub plan: Option<String>,
    /// Whose identities may open it.
    pub issuers: Vec<Issuer>,
    /// Who has every scope.
    pub owners: Vec<UserId>,
    /// When it was provisioned.
    pub created_at: Timestamp,
}

impl TenantInfo {
    fn new(tenant: TenantId, record: TenantRecord) -> Self {
        Self {
            tenant,
            incarnation: record.incarnation,
            status: record.status,
            plan: record.plan,
            issuers: record.issuers,
            owners: record.owners,
            created_at: record.created_at,
        }
    }
}

/// The lifecycle of every tenant.
///
/// # Authority
/// It provisions, re-keys, stops and destroys tenants. It has no way to a tenant's content but to act for a user on record
/// ([`Operator::impersonate`]), and no `Clone`.
///
/// ```
/// use watertight::*;
///
/// let (engine, authority) = Engine::in_memory()?;
/// let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// let acme = operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// let again = operator.provision(TenantSpec::new("acme")?).unwrap_err();
/// assert_eq!(*again.reason(), Reason::TenantExists);
/// assert_eq!(operator.list(None, 10)?, [acme.clone()]);
///
/// let alice = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
/// let tenant = engine.tenant(&alice)?;
/// operator.suspend(&acme.tenant)?;
/// assert_eq!(operator.inspect(&acme.tenant)?.status, TenantStatus::Suspended);
/// assert_eq!(tenant.usage().unwrap_err().kind(), ErrorKind::Unavailable);
/// operator.resume(&acme.tenant)?;
/// assert!(tenant.usage().is_ok());
///
/// operator.set_issuers(&acme.tenant, [])?;
/// assert_eq!(tenant.usage().unwrap_err().kind(), ErrorKind::NotFound);
/// operator.set_issuers(&acme.tenant, [Issuer::authority()])?;
/// operator.revoke(&acme.tenant, &Revocation::subject(alice.user()))?;
/// assert_eq!(tenant.usage().unwrap_err().kind(), ErrorKind::Unauthenticated);
///
/// operator.purge_incarnation(&acme.tenant, acme.incarnation)?;
/// assert_eq!(tenant.usage().unwrap_err().kind(), ErrorKind::NotFound);
/// assert_eq!(operator.tombstone(acme.incarnation)?.tenant, acme.tenant);
/// assert_eq!(operator.purge(&acme.tenant).unwrap_err().kind(), ErrorKind::NotFound);
///
/// assert_eq!(operator.audit(1, 10)?[0].action, OperatorAction::Provision);
/// assert_eq!(operator.verify_audit()?.entries, 8);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Operator {
    pub(super) engine: Arc<Inner>,
    pub(super) identity: VerifiedOperator,
}

impl Operator {
    pub(super) fn new(engine: Arc<Inner>, identity: VerifiedOperator) -> Result<Self> {
        let operator = Self { engine, identity };
        operator.act()?;
        Ok(operator)
    }

    /// Makes a tenant: its own key, its own file, an incarnation of its own.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `InvalidInput` when the specification exceeds a limit or the plan breaks its rule.
    pub fn provision(&self, spec: TenantSpec) -> Result<TenantInfo> {
        let act = self.act()?;
        spec.check()?;
        let record = TenantRecord {
            incarnation: Incarnation::random()?,
            epoch: Epoch::FIRST,
            status: TenantStatus::Provisioning,
            plan: spec.plan,
            issuers: spec.issuers,
            owners: spec.owners,
            created_at: act.at,
        };
        let record = self.engine.provision(act, &spec.tenant, record)?;
        Ok(TenantInfo::new(spec.tenant, record))
    }

    /// Up to `limit` tenants (1 to 1,000) in byte order of their names, after the given one.
    ///
    /// # Errors
    /// `InvalidInput` when the limit is out of range.
    pub fn list(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantInfo>> {
        self.act()?;
        if limit == 0 || limit > LIST_PAGE_MAX {
            return Err(Error::invalid("list limit", "must be 1 to 1,000"));
        }
        let found = self.engine.catalog.tenants(after, limit)?;
        Ok(found.into_iter().map(|(tenant, record)| TenantInfo::new(tenant, record)).collect())
    }

    /// One tenant.
    ///
    /// # Errors
    /// `NotFound` when there is none of this name.
    pub fn inspect(&self, tenant: &TenantId) -> Result<TenantInfo> {
        self.act()?;
        let record = self.engine.catalog.tenant(tenant)?.ok_or_else(Error::not_found)?;
        Ok(TenantInfo::new(tenant.clone(), record))
    }

    /// Stops a tenant. When this returns, no operation of any of its handles succeeds that began afterwards. Its
    /// data is kept.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` while it is being provisioned or purged.
    pub fn suspend(&self, tenant: &TenantId) -> Result<()> {
        self.engine.set_suspended(self.act()?, tenant, true).map(|_| ())
    }

    /// Starts a suspended tenant again; its handles go on working.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` while it is being provisioned or purged.
    pub fn resume(&self, tenant: &TenantId) -> Result<()> {
        self.engine.set_suspended(self.act()?, tenant, false).map(|_| ())
    }

    /// Replaces the issuers whose identities may open a tenant; at most 64. When this returns, no operation of a handle of
    /// another issuer succeeds that began afterwards.
    ///
    /// # Authority
    /// Each issuer can speak for any user of this tenant.
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant, `Conflict` while it is being provisioned or purged, `InvalidInput` above the
    /// limit.
    pub fn set_issuers(&self, tenant: &TenantId, issuers: impl IntoIterator<Item = Issuer>) -> Result<()> {
        let mut all = Vec::new();
        for issuer in issuers {
            if !all.contains(&issuer) {
                all.push(issuer);
            }
            check_parties("issuers", all.len())?;
        }
        self.engine.set_issuers(self.act()?, tenant, all)
    }

    /// Replaces the owners of a tenant; at most 64. When this returns, no operation that began afterwards is allowed to a
    /// user because it was an owner before. Who is left out is subject to the tenant's policy and to the scopes of its
    /// identities again; sign-ins and API keys of that user stay good until they are revoked ([`Revocation::subject`]). Each
    /// user who comes or goes has an entry of its own in the trail.
    ///
    /// A tenant may be left without an owner, and then nobody may be able to change its policy: an operator can name an owner
    /// at any time.
    ///
    /// # Authority
    /// An owner has every scope at the tenant, whatever its tokens say, and the role `owner`, whatever the tenant's policy
    /// says, from its next operation on.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// let alice = UserId::new(Issuer::authority(), "alice")?;
    /// let spec = TenantSpec::new("acme")?.trusts(Issuer::authority()).owner(alice.clone());
    /// let acme = operator.provision(spec)?.tenant;
    /// let handle = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// assert!(handle.usage().is_ok());
    ///
    /// let bob = UserId::new(Issuer::authority(), "bob")?;
    /// operator.set_owners(&acme, [bob.clone()])?;
    /// assert_eq!(handle.usage().unwrap_err().kind(), ErrorKind::NotFound);
    /// assert_eq!(handle.scopes(), Scopes::READ);
    ///
    /// let trail: Vec<_> = operator.audit(2, 2)?.into_iter().map(|entry| (entry.action, entry.user)).collect();
    /// assert_eq!(trail, [(OperatorAction::RemoveOwner, Some(alice)), (OperatorAction::AddOwner, Some(bob))]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant, `Conflict` while it is being provisioned or purged, `InvalidInput` above the
    /// limit.
    pub fn set_owners(&self, tenant: &TenantId, owners: impl IntoIterator<Item = UserId>) -> Result<()> {
        let mut all = Vec::new();
        for owner in owners {
            if !all.contains(&owner) {
                all.push(owner);
            }
            check_parties("owners", all.len())?;
        }
        self.engine.set_owners(self.act()?, tenant, all)
    }

    /// Ends identities at a tenant before their time. When this returns, no operation of their handles succeeds that
    /// began afterwards. A tenant's admins do the same with [`TenantHandle::revoke`](crate::TenantHandle::revoke).
    ///
    /// # Errors
    /// `NotFound` when there is none, or it is being provisioned or purged; `Limit` when 10,000 tokens and users are
    /// revoked already: revoking everyone's stands for all of them.
    pub fn revoke(&self, tenant: &TenantId, what: &Revocation) -> Result<()> {
        self.engine.revoke(self.act()?.operator, tenant, None, what)
    }

    /// Destroys a tenant: stops its handles for ever, waits for running operations, destroys its keys, removes its
    /// data, and frees the name. A tenant of the same name made later is another one.
    ///
    /// A failure leaves the tenant unreachable; calling again, or opening the engine again, goes on from there. Where
    /// others may provision the name meanwhile, call [`Operator::purge_incarnation`] instead.
    ///
    /// Gives a receipt, which [`Operator::receipt`] gives again.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` while it is being provisioned, `InvalidInput` inside a transaction of the
    /// tenant, whose end it would wait for, and `Conflict` inside one of another tenant for which that one waits.
    /// `Unavailable` or `KeyUnavailable` when its key file, its data file or their directory is not there: they may be away
    /// and come back, so nothing is called destroyed that was not seen.
    pub fn purge(&self, tenant: &TenantId) -> Result<Receipt> {
        self.engine.purge(self.act()?, tenant, None)
    }

    /// As [`Operator::purge`], but only this life of the name: a repeated call never destroys its successor.
    ///
    /// # Errors
    /// As for [`Operator::purge`]; `NotFound` also when this incarnation does not have the name (any more).
    pub fn purge_incarnation(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Receipt> {
        self.engine.purge(self.act()?, tenant, Some(incarnation))
    }

    /// Gives a tenant another key: everything it holds is copied into a fresh file under a fresh data key, the two take
    /// the place of those before at one moment, and those are destroyed. What was deleted or has expired does not come
    /// along, so that nothing of it lingers in old pages, and the file is as small as it can be.
    ///
    /// Handles go on working: readers throughout, writers wait until it is done. Cursors and feed positions end; who has
    /// one begins again. `progress` is told how far it is and may give up, as a panic of it does, which goes on when all is
    /// as it was; once the new files count it is not asked any more. It runs while writers wait, and must not wait for others who use the tenant. A purge of the tenant and a
    /// closing of the engine end a re-keying.
    ///
    /// A suspended tenant can be re-keyed. Where this fails the tenant is as it was, or, if only the former files could
    /// not be destroyed yet, has its new ones; calling again, or opening the engine again, tidies up.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use watertight::*;
    ///
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// let acme = operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?.tenant;
    /// let alice = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// let notes = engine.tenant(&alice)?.memories("notes")?;
    /// notes.put(Memory::new("k").text("still here"))?;
    ///
    /// let receipt = operator.rekey(&acme, |progress| {
    ///     println!("{} of {} rows", progress.rows, progress.of);
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(operator.verify_receipt(&receipt)?.destroyed, Destroyed::FormerKey);
    /// assert_eq!(notes.get("k")?.text.as_deref(), Some("still here"));
    ///
    /// let given_up = operator.rekey(&acme, |_| ControlFlow::Break(())).unwrap_err();
    /// assert_eq!(*given_up.reason(), Reason::Cancelled);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none; `Conflict` when `progress` gave up, or while it is being provisioned or purged;
    /// `InvalidInput` inside a transaction of the tenant, `Conflict` inside one that a transaction of the tenant waits for;
    /// `Unavailable` or `KeyUnavailable` when a file that is to be destroyed is not there, which may be away and come back;
    /// `OutcomeUnknown` when it cannot be told which files count: the
    /// tenant then serves nothing until the engine is opened again.
    pub fn rekey(
        &self,
        tenant: &TenantId,
        mut progress: impl FnMut(RekeyProgress) -> ControlFlow<()>,
    ) -> Result<Receipt> {
        self.engine.rekey_by_name(self.act()?, tenant, &mut progress)
    }

    /// The receipt of a purge once more, for instance because a crash came before the answer.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// let acme = operator.provision(TenantSpec::new("acme")?)?;
    /// assert_eq!(operator.receipt(acme.incarnation).unwrap_err().kind(), ErrorKind::NotFound);
    /// operator.purge(&acme.tenant)?;
    /// assert_eq!(operator.verify_receipt(&operator.receipt(acme.incarnation)?)?.destroyed, Destroyed::Tenant);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when no incarnation of this number was purged here.
    pub fn receipt(&self, incarnation: Incarnation) -> Result<Receipt> {
        let tombstone = self.tombstone(incarnation)?;
        self.engine.purge_receipt(incarnation, tombstone)
    }

    /// What a receipt says, if this engine issued it. What no receipt proves is said in [`Receipt::DOES_NOT_PROVE`].
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// let acme = operator.provision(TenantSpec::new("acme")?)?.tenant;
    /// let receipt = operator.purge(&acme)?;
    /// println!("{}", operator.verify_receipt(&receipt)?);
    ///
    /// let forged = Receipt::from_text(receipt.as_str().replace('A', "B"));
    /// assert_eq!(operator.verify_receipt(&forged).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when it was not issued by this engine, or under an engine key that is gone since.
    pub fn verify_receipt(&self, receipt: &Receipt) -> Result<ReceiptFacts> {
        self.act()?;
        self.engine.verify_receipt(receipt)
    }

    /// What stays of a purged tenant, by the incarnation that [`TenantInfo`] named.
    ///
    /// # Errors
    /// `NotFound` when no incarnation of this number was purged here.
    pub fn tombstone(&self, incarnation: Incarnation) -> Result<Tombstone> {
        self.act()?;
        self.engine.catalog.tombstone(incarnation)?.ok_or_else(Error::not_found)
    }

    /// Up to `limit` entries (at most 1,000) of the operators' audit trail from the given number on; the first is 1.
    ///
    /// # Errors
    /// `Damaged` when an entry cannot be read.
    pub fn audit(&self, from: u64, limit: usize) -> Result<Vec<OperatorAuditEntry>> {
        self.act()?;
        self.engine.catalog.audit_entries(from, limit.min(LIST_PAGE_MAX))
    }

    /// Walks the operators' audit chain and gives its head.
    ///
    /// # Errors
    /// `Damaged` when an entry was edited, inserted, removed or moved.
    pub fn verify_audit(&self) -> Result<ChainHead> {
        self.act()?;
        self.engine.catalog.verify_audit()
    }

    /// The gate of operators: the identity is this engine's and has not expired.
    pub(super) fn act(&self) -> Result<Act<'_>> {
        self.engine.process.check()?;
        let at = self.engine.clock.now();
        if self.identity.engine != self.engine.id {
            return Err(Reason::TokenRefused.into());
        }
        if at >= self.identity.expires_at {
            return Err(Reason::IdentityExpired.into());
        }
        Ok(Act { operator: Some(&self.identity.name), at })
    }
}
