//! Narrower handles, handles that outlive their identity, and the end of a handle.

use std::time::Duration;

use super::tenant::TenantHandle;
use crate::access::attenuation::Attenuation;
use crate::access::gate::Enter;
use crate::error::Result;

impl TenantHandle {
    /// A handle that may do less, to hand on to code that needs no more. It ends with this one, at the latest.
    ///
    /// # Authority
    /// It reaches what is left of this handle's reach, and can be narrowed further, up to 8 times. Nothing widens it. Whatever
    /// is left, it sets no policy, makes and ends no API keys, and revokes and erases nobody: that would outlive it.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let reader = tenant.attenuate(&Attenuation::new().scopes(Scopes::READ))?;
    /// let wider = reader.attenuate(&Attenuation::new().scopes(Scopes::ALL))?;
    /// assert_eq!(wider.memories("notes")?.put(Memory::new("k")).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The gate's errors; `InvalidInput` when the handle was narrowed too often.
    pub fn attenuate(&self, how: &Attenuation) -> Result<Self> {
        Ok(Self(self.0.behind(self.0.gate().attenuate(how)?)))
    }

    /// A handle for a background job, that is good for so long from now on, also after the identity has expired. The
    /// tenant's policy says how long that may be ([`Policy::detached_jobs`](crate::Policy::detached_jobs)), and the trail
    /// says that it was done.
    ///
    /// # Authority
    /// It reaches what this handle reaches, at most until the end that narrowing has set to it. It cannot be detached again,
    /// and it ends when this handle is revoked.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let (day, week) = (Duration::from_secs(86_400), Duration::from_secs(7 * 86_400));
    /// assert_eq!(tenant.detach(day).unwrap_err().kind(), ErrorKind::NotFound);
    ///
    /// let policy = tenant.policy()?.detached_jobs(day)?.assign(Principal::user(tenant.user().clone()), "admin")?;
    /// tenant.set_policy(&policy)?;
    /// let job = tenant.detach(day)?;
    /// assert!(job.whoami()?.expires_at > tenant.whoami()?.expires_at);
    /// assert!(tenant.detach(week).is_err() && job.detach(day).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the policy does not allow it, the handle is detached already, may do nothing, or an operator acts for
    /// the user; `InvalidInput` when the life is zero or longer than 7 days; `OutcomeUnknown` as for
    /// [`Memories::put`](crate::Memories::put).
    pub fn detach(&self, life: Duration) -> Result<Self> {
        let gate = self.0.run_at::<Enter, _>(self.0.somewhere(), |tenant, proof| {
            tenant.record_detached(proof, |at| {
                let gate = self.0.gate().detach(at, life)?;
                let until = gate.expires_at();
                Ok((gate, until))
            })
        })?;
        Ok(Self(self.0.behind(gate)))
    }

    /// Ends this handle and its clones, and all that was made from them, from their next operation on. The identity can open
    /// the tenant again.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// let parent = tenant.attenuate(&Attenuation::new())?;
    /// let child = parent.attenuate(&Attenuation::new())?;
    /// let notes = child.memories("notes")?;
    /// parent.withdraw();
    /// assert_eq!(*notes.exists("k").unwrap_err().reason(), Reason::HandleRevoked);
    /// assert!(tenant.memories("notes")?.exists("k").is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn withdraw(&self) {
        self.0.gate().revoke();
    }
}
