//! What a policy says of one user, worked out once so that a question costs a look-up.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::pattern::Form;
use super::policy::{Held, Member, Policy};
use super::role::Effect;
use crate::id::Namespace;
use crate::identity::scope::Scopes;

/// One user's place under a policy.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Some role grants something.
    is_member: bool,
    /// What roles grant on the tenant as a whole and in every shared namespace.
    permissions: Scopes,
    every_action: bool,
    actions: BTreeSet<String>,
    everywhere: Effects,
    exact: HashMap<String, Effects>,
    prefixes: HashMap<String, Effects>,
    /// Bit n - 1 is set when there is a prefix of n bytes. Names have at most 64 bytes.
    prefix_lengths: u64,
    detached_jobs_max: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Effects {
    allowed: Scopes,
    denied: Scopes,
}

impl Effects {
    fn add(&mut self, effect: Effect, permissions: Scopes) {
        let set = match effect {
            Effect::Allow => &mut self.allowed,
            Effect::Deny => &mut self.denied,
        };
        *set = set.union(permissions);
    }

    fn join(&mut self, other: Option<&Self>) {
        if let Some(other) = other {
            self.allowed = self.allowed.union(other.allowed);
            self.denied = self.denied.union(other.denied);
        }
    }
}

impl Standing {
    /// Of somebody in a tenant that may have no policy, in which case scopes alone decide.
    pub(crate) fn of(policy: Option<&Policy>, member: Member<'_>) -> Self {
        match policy {
            Some(policy) => Self::under(policy, member),
            None => {
                Self { is_member: true, permissions: Scopes::ALL, every_action: member.is_owner, ..Self::default() }
            }
        }
    }

    fn under(policy: &Policy, member: Member<'_>) -> Self {
        let mut standing = Self { detached_jobs_max: policy.detached_jobs_max(), ..Self::default() };
        for role in policy.held(member) {
            standing.is_member |= role.grants_something();
            standing.permissions = standing.permissions.union(role.permissions());
            match role {
                Held::BuiltIn(role) => standing.every_action |= role.every_action,
                Held::Defined(role) => standing.actions.extend(role.actions().map(str::to_owned)),
            }
            for rule in role.rules() {
                standing.effects_of(rule.namespaces.form()).add(rule.effect, rule.permissions);
            }
        }
        standing
    }

    fn effects_of(&mut self, form: Form<'_>) -> &mut Effects {
        match form {
            Form::Exact(name) => self.exact.entry(name.to_owned()).or_default(),
            Form::Prefix("") => &mut self.everywhere,
            Form::Prefix(prefix) => {
                self.prefix_lengths |= 1_u64.checked_shl(shift(prefix.len())).unwrap_or(0);
                self.prefixes.entry(prefix.to_owned()).or_default()
            }
        }
    }

    /// On the tenant as a whole.
    pub(crate) fn tenant(&self) -> Scopes {
        self.permissions
    }

    /// In what belongs to the user alone, of which no role speaks.
    pub(crate) fn own(&self) -> Scopes {
        if self.is_member { Scopes::ALL } else { Scopes::NONE }
    }

    /// In a shared namespace.
    pub(crate) fn shared(&self, namespace: &Namespace) -> Scopes {
        let effects = self.effects(namespace.as_str());
        self.permissions.union(effects.allowed).without(effects.denied)
    }

    /// What is denied in a shared namespace, whatever allows it.
    pub(crate) fn denied(&self, namespace: &Namespace) -> Scopes {
        self.effects(namespace.as_str()).denied
    }

    fn effects(&self, name: &str) -> Effects {
        let mut effects = self.everywhere;
        effects.join(self.exact.get(name));
        let mut lengths = self.prefix_lengths;
        while lengths != 0 {
            // Names are ASCII, so that every length is the end of a character.
            let length = lengths.trailing_zeros() as usize + 1;
            effects.join(name.get(..length).and_then(|prefix| self.prefixes.get(prefix)));
            lengths &= lengths - 1;
        }
        effects
    }

    pub(crate) fn has_action(&self, name: &str) -> bool {
        self.every_action || self.actions.contains(name)
    }

    pub(crate) fn detached_jobs_max(&self) -> Duration {
        self.detached_jobs_max
    }
}

fn shift(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX)
}
