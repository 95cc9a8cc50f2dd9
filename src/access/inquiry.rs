//! What is asked of a gate beside operations: actions of the application, what a handle is, and why something is refused.

use std::io;
use std::sync::atomic::Ordering;

use super::door::{Door, Part};
use super::gate::Gate;
use super::permission::{Action, check_name};
use super::refusal::{Decision, Refusal, Refused};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::Namespace;
use crate::identity::scope::Scopes;

/// What a handle is, as it tells its holder.
#[derive(Debug)]
pub(crate) struct Standpoint {
    pub(crate) roles: Vec<String>,
    pub(crate) allowed: Scopes,
    pub(crate) operations_left: Option<u64>,
    pub(crate) is_detached: bool,
}

impl Gate {
    /// Why one of these is not allowed in a part of the tenant.
    pub(super) fn why_not(&self, part: &Part, needed: Scopes) -> Refusal {
        if part == &Part::Credentials && self.identity.operator().is_some() {
            return Refusal::Impersonated;
        }
        let within = needed.intersection(self.own_scopes());
        if within == Scopes::NONE {
            return Refusal::Scope;
        }
        let within = self.narrow(part, within);
        if within == Scopes::NONE {
            return Refusal::Narrowed;
        }
        match (part, self.standing()) {
            (Part::Shared(namespace), Ok((_, standing))) if standing.denied(namespace).intersects(within) => {
                Refusal::Denied
            }
            _ => Refusal::NotGranted,
        }
    }

    pub(super) fn note_refusal(&self, at: Timestamp, part: &Part, needed: Scopes, action: Option<&str>, why: Refusal) {
        self.policy.refusals().note(Refused {
            at,
            user: Some(self.identity.user().clone()),
            operator: self.identity.impersonator().map(|by| by.operator.clone()),
            part: part.clone(),
            // A name that no role can have says nothing, and may be long.
            action: action.filter(|name| check_name("action", name).is_ok()).map(str::to_owned),
            needed,
            why,
            times: 1,
        });
    }

    /// Passes for an action, and counts it as an operation. `whole` is the door of the tenant as a whole.
    ///
    /// # Errors
    /// `NotFound` when it is not granted.
    pub(crate) fn require(whole: &Door, action: Action<'_>) -> Result<()> {
        let gate = whole.gate();
        let at = gate.admit()?;
        let (needed, name, refusal) = match action {
            Action::Engine(needed) => {
                let missing = needed.without(whole.allowed()?);
                let is_refused = missing != Scopes::NONE;
                (needed, None, is_refused.then(|| gate.why_not(&Part::Tenant, missing)))
            }
            Action::App(name) => {
                let is_kept =
                    || gate.line().filter_map(|gate| gate.made.as_ref()).all(|made| made.how.keeps_action(name));
                let refusal = if gate.identity.operator().is_some() {
                    Some(Refusal::Impersonated)
                } else if !gate.standing()?.1.has_action(name) {
                    Some(Refusal::NotGranted)
                } else {
                    (!is_kept()).then_some(Refusal::Narrowed)
                };
                (Scopes::NONE, Some(name), refusal)
            }
        };
        if let Some(why) = refusal {
            gate.note_refusal(at, &Part::Tenant, needed, name, why);
            return Err(Error::not_found());
        }
        gate.spend()
    }

    /// Whether the identity would be allowed all of these permissions through this gate, and why.
    pub(crate) fn explain(&self, permissions: Scopes, namespace: Option<&Namespace>) -> Result<Decision> {
        let part = namespace.map_or(Part::Tenant, |namespace| Part::Shared(namespace.clone()));
        let missing = permissions.without(self.own_scopes());
        if missing != Scopes::NONE {
            return Ok(Decision::refused(Refusal::Scope, None, None));
        }
        if self.narrow(&part, permissions) != permissions {
            return Ok(Decision::refused(Refusal::Narrowed, None, None));
        }
        let (_, policy) = self.policy.current().ok_or(Reason::Io(io::ErrorKind::Other))?;
        Ok(match policy {
            Some(policy) => policy.explain_member(self.member(), permissions, namespace),
            None => Decision::nothing_asked(),
        })
    }

    /// What the holder of the handle is told about it.
    ///
    /// # Errors
    /// The gate's own.
    pub(crate) fn standpoint(whole: &Door) -> Result<Standpoint> {
        let gate = whole.gate();
        gate.admit()?;
        let (_, policy) = gate.policy.current().ok_or(Reason::Io(io::ErrorKind::Other))?;
        let roles = policy.as_ref().map_or_else(Vec::new, |policy| policy.held(gate.member()));
        let budgets = gate.line().filter_map(|gate| gate.made.as_ref()?.operations_left.as_ref());
        Ok(Standpoint {
            roles: roles.into_iter().map(|role| role.name().to_owned()).collect(),
            allowed: whole.allowed()?,
            operations_left: budgets.map(|left| left.load(Ordering::SeqCst)).min(),
            is_detached: gate.is_detached(),
        })
    }
}
