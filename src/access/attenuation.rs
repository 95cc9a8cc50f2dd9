//! Narrowing a handle before it is handed on: fewer namespaces, permissions, operations, less time. Nothing widens one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::door::Part;
use super::pattern::NamespacePattern;
use super::permission::check_name;
use crate::error::{Error, Result};
use crate::identity::scope::Scopes;
use crate::limits::ATTENUATION_NAMES_MAX;

/// How a handle is to be narrowed. What is not said stays as it is, with one exception: as soon as anything is named that
/// the narrower handle reaches (namespaces, credentials, actions), it reaches nothing else, the tenant's audit trail and
/// policy included.
///
/// ```
/// use std::time::Duration;
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// let for_a_tool = Attenuation::new()
///     .shared("notes.*")?
///     .private("scratch")?
///     .scopes(Scopes::READ | Scopes::WRITE)
///     .lifetime(Duration::from_secs(60))
///     .operations(2);
/// let tool = tenant.attenuate(&for_a_tool)?;
/// tool.memories("notes.red")?.put(Memory::new("k"))?;
/// assert_eq!(tool.memories("plans")?.put(Memory::new("k")).unwrap_err().kind(), ErrorKind::NotFound);
/// assert_eq!(tool.credentials().list().unwrap_err().kind(), ErrorKind::NotFound);
/// assert_eq!(tool.memories("notes.red")?.delete("k").unwrap_err().kind(), ErrorKind::NotFound);
/// assert!(tool.private("scratch")?.list(&List::new())?.memories.is_empty());
/// assert_eq!(tool.memories("notes.red")?.get("k").unwrap_err().kind(), ErrorKind::Limit);
///
/// let signer = tenant.attenuate(&Attenuation::new().credentials().action("sign")?)?;
/// assert!(signer.credentials().list()?.is_empty());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Attenuation {
    pub(super) scopes: Option<Scopes>,
    pub(super) reach: Option<Reach>,
    pub(super) lifetime: Option<Duration>,
    pub(super) operations: Option<u64>,
}

/// What is within reach; nothing else is.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    shared: BTreeSet<NamespacePattern>,
    private: BTreeSet<NamespacePattern>,
    credentials: bool,
    actions: BTreeSet<String>,
}

impl Attenuation {
    /// No narrowing yet: a handle that can be revoked on its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these permissions, of those that the handle has; replaces what was set before.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Reaches these shared namespaces.
    ///
    /// # Errors
    /// `InvalidInput` when the pattern breaks the rule of [`NamespacePattern`], or more than 256 are named.
    pub fn shared(mut self, namespaces: &str) -> Result<Self> {
        let named = &mut self.reach.get_or_insert_default().shared;
        named.insert(NamespacePattern::new(namespaces)?);
        check_count("shared namespaces", named.len())?;
        Ok(self)
    }

    /// Reaches these private namespaces of the user.
    ///
    /// # Errors
    /// As for [`Attenuation::shared`].
    pub fn private(mut self, namespaces: &str) -> Result<Self> {
        let named = &mut self.reach.get_or_insert_default().private;
        named.insert(NamespacePattern::new(namespaces)?);
        check_count("private namespaces", named.len())?;
        Ok(self)
    }

    /// Reaches the user's credentials.
    #[must_use]
    pub fn credentials(mut self) -> Self {
        self.reach.get_or_insert_default().credentials = true;
        self
    }

    /// Keeps an action of the application, if the handle has it.
    ///
    /// # Errors
    /// `InvalidInput` when no role can have an action of this name, or more than 256 are named.
    pub fn action(mut self, name: &str) -> Result<Self> {
        check_name("action", name)?;
        let named = &mut self.reach.get_or_insert_default().actions;
        named.insert(name.to_owned());
        check_count("actions", named.len())?;
        Ok(self)
    }

    /// How long it is good for; never longer than the handle it is made from.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// How many operations may pass the gate, this handle's clones and whatever is made from it together. A transaction
    /// counts as one, and so does each of its steps; so do the look-ups of a text that the engine embeds.
    #[must_use]
    pub fn operations(mut self, operations: u64) -> Self {
        self.operations = Some(operations);
        self
    }

    /// What is left of these permissions in a part of the tenant.
    pub(super) fn narrow(&self, part: &Part, permissions: Scopes) -> Scopes {
        let permissions = self.scopes.map_or(permissions, |scopes| permissions.intersection(scopes));
        let Some(reach) = &self.reach else { return permissions };
        let is_within = match part {
            Part::Tenant => false,
            Part::Somewhere => true,
            Part::Shared(name) => reach.shared.iter().any(|pattern| pattern.matches(name)),
            Part::Private(name) => reach.private.iter().any(|pattern| pattern.matches(name)),
            Part::Credentials => reach.credentials,
        };
        if is_within { permissions } else { Scopes::NONE }
    }

    pub(super) fn keeps_action(&self, name: &str) -> bool {
        self.reach.as_ref().is_none_or(|reach| reach.actions.contains(name))
    }
}

fn check_count(what: &'static str, count: usize) -> Result<()> {
    if count > ATTENUATION_NAMES_MAX { Err(Error::too_large(what, ATTENUATION_NAMES_MAX, count)) } else { Ok(()) }
}
