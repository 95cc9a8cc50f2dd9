//! The tenant's policy in its file, and what the trail says of powers that were given, used and refused.

use redb::ReadableTable;

use super::audit::{AuditAction, AuditEntry, AuditOutcome, tenant_entry};
use super::change::Change;
use super::open::Tenant;
use super::usage::Facts;
use crate::access::door::Part;
use crate::access::gate::{Admin, Enter, Grant, Proof, Revoke};
use crate::access::policy::{Policy, Principal};
use crate::access::refusal::{Refusals, Refused};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::UserId;
use crate::store::codec;
use crate::store::schema::POLICY;

const CURRENT: &str = "current";

impl Tenant {
    /// The policy that the file has, for those that ask the gate.
    ///
    /// # Errors
    /// `Damaged` when it is none that could have been made, or not the one that the facts name.
    pub(crate) fn stored_policy(&self) -> Result<Option<Policy>> {
        self.database.read(|snapshot| policy_in(&snapshot.policy, &snapshot.facts))
    }

    /// The policy that the file has, for an admin; one that grants nothing to anybody where there is none.
    pub(crate) fn policy(&self, _proof: &Proof<'_, Admin>) -> Result<Policy> {
        Ok(self.stored_policy()?.unwrap_or_default())
    }

    /// Replaces the policy. Gives it with its new version.
    ///
    /// # Errors
    /// As for [`Policy::successor`].
    pub(crate) fn set_policy(&self, proof: &Proof<'_, Grant>, policy: &Policy) -> Result<Policy> {
        self.change(proof, |change| {
            let now = change.policy()?;
            change.replace_policy(proof, now.as_ref(), policy)
        })
    }

    /// An operator begins to act for a user.
    pub(crate) fn record_impersonation(&self, proof: &Proof<'_, Enter>) -> Result<()> {
        let reason = proof.reason().unwrap_or_default().to_owned();
        self.change(proof, |change| {
            change.begin_step()?;
            change.record(tenant_entry(proof, change.at, AuditAction::Impersonate, reason.clone()))
        })
    }

    /// A background job is given a life of its own, which `check` may still refuse.
    pub(crate) fn record_detached<R>(
        &self,
        proof: &Proof<'_, Enter>,
        check: impl FnOnce(Timestamp) -> Result<(R, Timestamp)>,
    ) -> Result<R> {
        self.change(proof, |change| {
            let (made, until) = check(change.at)?;
            change.begin_step()?;
            let until = format!("until {}", until.as_seconds());
            change.record(tenant_entry(proof, change.at, AuditAction::Detach, until))?;
            Ok(made)
        })
    }

    /// Writes down what was refused since the last time. What cannot be written now, on a full disk for one, is another time:
    /// the trail can be read all the same.
    pub(crate) fn record_refusals(&self, refusals: &Refusals) {
        if !refusals.is_waiting() || self.database.is_writing() {
            return;
        }
        let refused = refusals.take();
        let written = self.database.write(|writer| {
            let mut change = Change::open(writer)?;
            change.begin_step()?;
            refused.iter().try_for_each(|refused| change.record(attempt(refused)))?;
            change.finish()
        });
        if let Err(error) = written {
            tracing::warn!(kind = ?error.kind(), "what was refused could not be written to the audit trail yet");
            // Twice is better than never.
            refusals.give_back(refused);
        }
    }
}

impl Change<'_> {
    /// Sees to it that the gate knows the policy that the file has. A change whose turn comes between the commit of a policy
    /// and its publication would else be judged by the one before, though it comes after in the order of the trail.
    ///
    /// # Errors
    /// `Damaged` when the file has an older policy than the gate, which knows none that was not committed.
    pub(super) fn know_policy<O>(&mut self, proof: &Proof<'_, O>) -> Result<()> {
        let (known, stored) = (proof.policy_version(), self.facts.policy_version);
        if known > stored {
            return Err(not_the_named_one());
        }
        if known < stored
            && let Some(policy) = self.policy()?
        {
            proof.publish(policy);
        }
        Ok(())
    }

    /// Takes away what the policy assigns to a user who is erased.
    ///
    /// # Errors
    /// As for [`Policy::successor`].
    pub(super) fn unassign(&mut self, proof: &Proof<'_, Revoke>, user: &UserId) -> Result<()> {
        let Some(now) = self.policy()? else { return Ok(()) };
        let next = now.clone().without_principal(&Principal::user(user.clone()));
        if next != now {
            self.replace_policy(proof, Some(&now), &next)?;
        }
        Ok(())
    }

    fn replace_policy<O>(&mut self, proof: &Proof<'_, O>, now: Option<&Policy>, next: &Policy) -> Result<Policy> {
        let successor = Policy::successor(now, next, proof.member())?;
        let record = codec::encode(&successor)?;
        self.begin_step()?;
        self.writer.open_table(POLICY)?.insert(CURRENT, record.as_slice())?;
        self.facts.policy_version = successor.version();
        let version = successor.version().to_string();
        self.record(tenant_entry(proof, self.at, AuditAction::SetPolicy, version))?;
        Ok(successor)
    }

    /// The policy that the file has.
    ///
    /// # Errors
    /// As for [`Tenant::stored_policy`].
    pub(super) fn policy(&mut self) -> Result<Option<Policy>> {
        policy_in(&self.writer.open_table(POLICY)?, &self.facts)
    }
}

/// The policy, if it is the one that the facts name. Without a policy everything is allowed, so a row that is missing or
/// of another version must never be taken for the policy.
fn policy_in(table: &impl ReadableTable<&'static str, &'static [u8]>, facts: &Facts) -> Result<Option<Policy>> {
    let policy = table.get(CURRENT)?.map(|row| Policy::from_record(row.value())).transpose()?;
    let version = policy.as_ref().map_or(0, Policy::version);
    if version == facts.policy_version { Ok(policy) } else { Err(not_the_named_one()) }
}

fn not_the_named_one() -> Error {
    Reason::DamagedRecord("policy of another version than the tenant has").into()
}

fn attempt(refused: &Refused) -> AuditEntry {
    let (namespace, private) = match &refused.part {
        Part::Shared(namespace) => (Some(namespace.clone()), false),
        Part::Private(namespace) => (Some(namespace.clone()), true),
        Part::Credentials => (None, true),
        Part::Tenant | Part::Somewhere => (None, false),
    };
    AuditEntry {
        at: refused.at,
        user: refused.user.clone(),
        operator: refused.operator.as_deref().map(str::to_owned),
        action: AuditAction::Attempt,
        namespace,
        private,
        key: refused.action.clone(),
        renamed_to: None,
        outcome: AuditOutcome::Refused { needed: refused.needed, why: refused.why, times: refused.times },
    }
}
