//! Roles: what those may do to whom they are assigned.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::pattern::NamespacePattern;
use super::permission::check_name;
use crate::error::{Error, Reason, Result};
use crate::identity::scope::Scopes;
use crate::limits::{POLICY_ACTIONS_MAX, POLICY_RULES_MAX};

/// A role that a tenant defines.
///
/// Its permissions hold for the tenant as a whole and for every shared namespace. Its rules add to that, or take from it,
/// in some namespaces; what is denied by any role of a user is denied to that user, whatever else allows it. The order of
/// rules is irrelevant. No role reaches anybody's private namespaces or credentials.
///
/// Every tenant has the roles `owner` (all permissions and every action of the application), `admin` (all permissions),
/// `member` (read, write, delete) and `reader` (read).
///
/// ```
/// use watertight::{Role, Scopes};
///
/// let editor = Role::new("editor")?
///     .permissions(Scopes::READ)
///     .allow(Scopes::WRITE, "notes.*")?
///     .deny(Scopes::READ | Scopes::WRITE, "notes.salaries")?
///     .action("publish")?;
/// assert_eq!((editor.name(), editor.granted()), ("editor", Scopes::READ));
/// assert_eq!(editor.actions().collect::<Vec<_>>(), ["publish"]);
/// assert_eq!(editor.rules()[1].namespaces.as_str(), "notes.salaries");
/// assert!(Role::new("owner").is_err() && Role::new("two words").is_err());
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    name: String,
    permissions: Scopes,
    actions: BTreeSet<String>,
    rules: Vec<Rule>,
}

/// One rule of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rule {
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What.
    pub permissions: Scopes,
    /// In which shared namespaces.
    pub namespaces: NamespacePattern,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It allows, unless something denies.
    Allow,
    /// It denies, whatever allows.
    Deny,
}

/// A role that every tenant has.
pub(super) struct BuiltIn {
    pub(super) name: &'static str,
    pub(super) permissions: Scopes,
    pub(super) every_action: bool,
}

/// The role of those who may do everything. Only they assign it.
pub(super) const OWNER: &str = "owner";

pub(super) const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn { name: OWNER, permissions: Scopes::ALL, every_action: true },
    BuiltIn { name: "admin", permissions: Scopes::ALL, every_action: false },
    BuiltIn {
        name: "member",
        permissions: Scopes::READ.union(Scopes::WRITE).union(Scopes::DELETE),
        every_action: false,
    },
    BuiltIn { name: "reader", permissions: Scopes::READ, every_action: false },
];

/// The built-in role of a name.
pub(super) fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|role| role.name == name)
}

impl Role {
    /// A role that grants nothing yet.
    ///
    /// # Errors
    /// `InvalidInput` when the name is not 1 to 64 bytes of `[A-Za-z0-9._:/-]`, or that of a built-in role.
    pub fn new(name: &str) -> Result<Self> {
        let role =
            Self { name: name.to_owned(), permissions: Scopes::NONE, actions: BTreeSet::new(), rules: Vec::new() };
        role.check_name()?;
        Ok(role)
    }

    /// What it grants on the tenant as a whole and in every shared namespace; replaces what was set before.
    #[must_use]
    pub fn permissions(mut self, permissions: Scopes) -> Self {
        self.permissions = permissions;
        self
    }

    /// Grants an action of the application; 1 to 64 bytes of `[A-Za-z0-9._:/-]`.
    ///
    /// # Errors
    /// `InvalidInput` when the name breaks its rule or the role has too many.
    pub fn action(mut self, name: &str) -> Result<Self> {
        check_name("action", name)?;
        self.actions.insert(name.to_owned());
        self.check_size()?;
        Ok(self)
    }

    /// Adds permissions in some shared namespaces.
    ///
    /// # Errors
    /// `InvalidInput` when the pattern breaks the rule of [`NamespacePattern`] or the role has too many rules.
    pub fn allow(self, permissions: Scopes, namespaces: &str) -> Result<Self> {
        self.rule(Effect::Allow, permissions, namespaces)
    }

    /// Takes permissions away in some shared namespaces, whatever allows them.
    ///
    /// # Errors
    /// As for [`Role::allow`].
    pub fn deny(self, permissions: Scopes, namespaces: &str) -> Result<Self> {
        self.rule(Effect::Deny, permissions, namespaces)
    }

    fn rule(mut self, effect: Effect, permissions: Scopes, namespaces: &str) -> Result<Self> {
        self.rules.push(Rule { effect, permissions, namespaces: NamespacePattern::new(namespaces)? });
        self.check_size()?;
        Ok(self)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it grants on the tenant as a whole and in every shared namespace.
    #[must_use]
    pub fn granted(&self) -> Scopes {
        self.permissions
    }

    /// The application's actions that it grants, in byte order.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(String::as_str)
    }

    /// Its rules, in the order in which they were added.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether it gives anything at all. One that only denies makes nobody a member of the tenant.
    pub(super) fn grants_something(&self) -> bool {
        let allows = |rule: &Rule| rule.effect == Effect::Allow && rule.permissions != Scopes::NONE;
        self.permissions != Scopes::NONE || !self.actions.is_empty() || self.rules.iter().any(allows)
    }

    fn check_name(&self) -> Result<()> {
        check_name("role", &self.name)?;
        if built_in(&self.name).is_some() {
            return Err(Error::invalid("role", "the built-in roles cannot be defined anew"));
        }
        Ok(())
    }

    fn check_size(&self) -> Result<()> {
        if self.rules.len() > POLICY_RULES_MAX {
            return Err(Error::too_large("rules", POLICY_RULES_MAX, self.rules.len()));
        }
        if self.actions.len() > POLICY_ACTIONS_MAX {
            return Err(Error::too_large("actions", POLICY_ACTIONS_MAX, self.actions.len()));
        }
        Ok(())
    }

    /// What a role from a file is held to: all that its makers checked.
    pub(super) fn check_stored(&self) -> Result<()> {
        let scopes = self.rules.iter().map(|rule| rule.permissions).chain([self.permissions]);
        if !scopes.into_iter().all(|scopes| Scopes::ALL.contains(scopes)) {
            return Err(Reason::DamagedRecord("role").into());
        }
        self.check_name()?;
        self.actions.iter().try_for_each(|action| check_name("action", action))?;
        self.check_size()
    }
}
