//! A tenant's policy: its roles and to whom they are assigned.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refusal::{Decision, Refusal};
use super::role::{self, BuiltIn, Effect, OWNER, Role, Rule};
use crate::error::{Error, Reason, Result};
use crate::id::{Issuer, Namespace, UserId};
use crate::identity::scope::Scopes;
use crate::limits::{
    DETACHED_SECONDS_MAX, GROUP_BYTES_MAX, POLICY_ACTIONS_MAX, POLICY_ASSIGNMENTS_MAX, POLICY_ROLES_MAX,
    POLICY_RULES_MAX,
};
use crate::line::{Escaped, check_name};
use crate::store::codec::{self, Record};

/// To whom a role is assigned.
///
/// A group belongs to the issuer that names it: equal names of two issuers are two groups.
///
/// ```
/// use watertight::{Issuer, Principal, UserId};
///
/// let login = Issuer::new("https://login.example.org/")?;
/// let bob = Principal::user(UserId::new(login.clone(), "bob")?);
/// let staff = Principal::group(login, "staff")?;
/// assert_eq!(bob.to_string(), "user:bob of https://login.example.org/");
/// assert_eq!(staff.to_string(), "group:staff of https://login.example.org/");
/// assert_eq!(Principal::Everyone.to_string(), "*");
/// assert_eq!(staff.to_string().parse::<Principal>()?, staff);
/// assert!("user:bob".parse::<Principal>().is_err());
/// assert!(Principal::group(Issuer::authority(), "").is_err());
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Principal {
    /// One user.
    User(UserId),
    /// Whoever an issuer says is in a group.
    Group {
        /// Who says so.
        issuer: Issuer,
        /// The group's name as that issuer spells it.
        name: String,
    },
    /// Every user of the tenant.
    Everyone,
}

impl Principal {
    /// One user.
    #[must_use]
    pub fn user(user: UserId) -> Self {
        Self::User(user)
    }

    /// Whoever this issuer says is in the group.
    ///
    /// # Errors
    /// `InvalidInput` when the name is empty, longer than 255 bytes, or has control, direction or invisible characters.
    pub fn group(issuer: Issuer, name: &str) -> Result<Self> {
        check_name("group", name, GROUP_BYTES_MAX)?;
        Ok(Self::Group { issuer, name: name.to_owned() })
    }

    /// What is asked of one that is newly assigned.
    fn check(&self) -> Result<()> {
        match self {
            Self::Group { name, .. } => check_name("group", name, GROUP_BYTES_MAX),
            Self::User(_) | Self::Everyone => Ok(()),
        }
    }

    /// What is asked of one from a file, which an earlier release may have written.
    fn check_stored(&self) -> Result<()> {
        match self {
            Self::Group { name, .. } if name.is_empty() => Err(Error::invalid("group", "must not be empty")),
            Self::Group { name, .. } if name.len() > GROUP_BYTES_MAX => {
                Err(Error::too_large("group", GROUP_BYTES_MAX, name.len()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{} of {}", user.subject(), user.issuer()),
            Self::Group { issuer, name } => write!(f, "group:{} of {issuer}", Escaped(name)),
            Self::Everyone => f.write_str("*"),
        }
    }
}

impl FromStr for Principal {
    type Err = Error;

    /// The printed form. An issuer has no spaces, so that there is one way to read it.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("principal", "user:SUBJECT of ISSUER, group:NAME of ISSUER, or *");
        if text == "*" {
            return Ok(Self::Everyone);
        }
        let (who, issuer) = text.rsplit_once(" of ").ok_or_else(wrong)?;
        let issuer = Issuer::new(issuer)?;
        match who.split_once(':') {
            Some(("user", subject)) => Ok(Self::User(UserId::new(issuer, subject)?)),
            Some(("group", name)) => Self::group(issuer, name),
            _ => Err(wrong()),
        }
    }
}

/// Who may do what in a tenant.
///
/// A tenant without a policy lets the scopes of identities decide. With one, its roles decide, and the scopes of an identity
/// are the most it may do: nothing is allowed that is not granted by a role *and* a scope. A user to whom no role grants
/// anything may do nothing, not even in private namespaces. A user of whom some role grants something has its private
/// namespaces and credentials to itself, as its scopes allow.
///
/// The owners that an operator named are owners here too, whatever the policy says.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// let alice = UserId::new(Issuer::authority(), "alice")?;
/// let bob = UserId::new(Issuer::authority(), "bob")?;
/// let policy = Policy::new()
///     .role(Role::new("editor")?.allow(Scopes::READ | Scopes::WRITE, "notes.*")?)?
///     .assign(Principal::user(alice.clone()), "owner")?
///     .assign(Principal::user(bob.clone()), "editor")?;
/// let namespace = Namespace::new("notes.red")?;
/// assert!(policy.explain(&bob, &[], Scopes::WRITE, Some(&namespace)).allowed);
/// assert!(!policy.explain(&bob, &[], Scopes::DELETE, Some(&namespace)).allowed);
/// assert_eq!(policy.roles().next().unwrap().name(), "editor");
/// assert_eq!(policy.assignments().count(), 2);
/// assert!(policy.clone().assign(Principal::Everyone, "no such role").is_err());
///
/// let identity = |user| authority.attest(Attestation::new("acme", user)?.scopes(Scopes::ALL));
/// let tenant = engine.tenant(&identity("alice")?)?;
/// tenant.set_policy(&policy)?;
/// let bobs = engine.tenant(&identity("bob")?)?;
/// bobs.memories("notes.red")?.put(Memory::new("k"))?;
/// assert_eq!(bobs.memories("plans")?.put(Memory::new("k")).unwrap_err().kind(), ErrorKind::NotFound);
///
/// // It takes effect on live handles.
/// let policy = tenant.policy()?.unassign(&Principal::user(bob), "editor").without_role("editor");
/// assert_eq!(policy.version(), 1);
/// tenant.set_policy(&policy)?;
/// assert_eq!(bobs.memories("notes.red")?.get("k").unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    version: u64,
    roles: BTreeMap<String, Role>,
    assignments: BTreeMap<Principal, BTreeSet<String>>,
    detached_seconds_max: u64,
}

impl Record for Policy {
    const KIND: u8 = 45;
    const NAME: &'static str = "policy";
}

/// Somebody as a policy sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) groups: &'a [String],
    /// Named by an operator as an owner of the tenant.
    pub(crate) is_owner: bool,
}

/// A role that somebody has.
#[derive(Clone, Copy)]
pub(super) enum Held<'a> {
    BuiltIn(&'a BuiltIn),
    Defined(&'a Role),
}

impl<'a> Held<'a> {
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::BuiltIn(role) => role.name,
            Self::Defined(role) => role.name(),
        }
    }

    pub(super) fn permissions(self) -> Scopes {
        match self {
            Self::BuiltIn(role) => role.permissions,
            Self::Defined(role) => role.granted(),
        }
    }

    pub(super) fn rules(self) -> &'a [Rule] {
        match self {
            Self::BuiltIn(_) => &[],
            Self::Defined(role) => role.rules(),
        }
    }

    pub(super) fn grants_something(self) -> bool {
        match self {
            Self::BuiltIn(_) => true,
            Self::Defined(role) => role.grants_something(),
        }
    }
}

impl Policy {
    /// A policy that grants nothing to anybody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Defines a role, in place of the one of its name.
    ///
    /// # Errors
    /// `InvalidInput` when there are too many roles, rules or actions: see [`limits`](crate::limits).
    pub fn role(mut self, role: Role) -> Result<Self> {
        self.roles.insert(role.name().to_owned(), role);
        self.check_sizes()?;
        Ok(self)
    }

    /// Takes a role out, with its assignments.
    #[must_use]
    pub fn without_role(mut self, name: &str) -> Self {
        if self.roles.remove(name).is_some() {
            self.assignments.retain(|_, roles| {
                roles.remove(name);
                !roles.is_empty()
            });
        }
        self
    }

    /// Assigns a role.
    ///
    /// # Errors
    /// `InvalidInput` when there is no role of this name or there are too many assignments.
    pub fn assign(mut self, to: Principal, role: &str) -> Result<Self> {
        to.check()?;
        if role::built_in(role).is_none() && !self.roles.contains_key(role) {
            return Err(Error::invalid("role", "there is none of this name"));
        }
        self.assignments.entry(to).or_default().insert(role.to_owned());
        self.check_sizes()?;
        Ok(self)
    }

    /// Takes an assignment away.
    #[must_use]
    pub fn unassign(mut self, from: &Principal, role: &str) -> Self {
        if let Some(roles) = self.assignments.get_mut(from) {
            roles.remove(role);
            if roles.is_empty() {
                self.assignments.remove(from);
            }
        }
        self
    }

    /// Takes all assignments of somebody away.
    pub(crate) fn without_principal(mut self, from: &Principal) -> Self {
        self.assignments.remove(from);
        self
    }

    /// Allows background jobs to live on for so long after they are detached, in whole seconds and at most 7 days; zero,
    /// the default, allows none. See [`TenantHandle::detach`](crate::TenantHandle::detach).
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::Policy;
    ///
    /// let policy = Policy::new().detached_jobs(Duration::from_secs(3_600))?;
    /// assert_eq!(policy.detached_jobs_max(), Duration::from_secs(3_600));
    /// assert!(policy.detached_jobs(Duration::MAX).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` above 7 days.
    pub fn detached_jobs(mut self, longest: Duration) -> Result<Self> {
        self.detached_seconds_max = longest.as_secs();
        self.check_sizes()?;
        Ok(self)
    }

    /// How long background jobs may live on after they are detached; zero when none may.
    #[must_use]
    pub fn detached_jobs_max(&self) -> Duration {
        Duration::from_secs(self.detached_seconds_max)
    }

    /// Counts the changes of the tenant's policy; 0 before the first one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The roles that the tenant defines, in byte order of their names.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// Who has which role.
    pub fn assignments(&self) -> impl Iterator<Item = (&Principal, &str)> {
        self.assignments.iter().flat_map(|(to, roles)| roles.iter().map(move |role| (to, role.as_str())))
    }

    /// Whether a user of these groups would be allowed all of these permissions, and why: in a shared namespace, or on the
    /// tenant as a whole where none is named. Scopes of an identity are not looked at, nor who the operator has named as
    /// owners.
    #[must_use]
    pub fn explain(
        &self,
        user: &UserId,
        groups: &[String],
        permissions: Scopes,
        namespace: Option<&Namespace>,
    ) -> Decision {
        self.explain_member(Member { user, groups, is_owner: false }, permissions, namespace)
    }

    pub(super) fn explain_member(
        &self,
        member: Member<'_>,
        permissions: Scopes,
        namespace: Option<&Namespace>,
    ) -> Decision {
        let held = self.held(member);
        let meant = |role: Held<'_>, effect: Effect, permission: Scopes| {
            let matches = |rule: &&Rule| {
                let name = namespace.is_some_and(|name| rule.namespaces.matches(name));
                name && rule.effect == effect && rule.permissions.contains(permission)
            };
            role.rules().iter().find(matches).map(|rule| rule.namespaces.clone())
        };
        let mut last = Decision::nothing_asked();
        for permission in [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN] {
            if !permissions.contains(permission) {
                continue;
            }
            let denied = held.iter().find_map(|role| Some((role, meant(*role, Effect::Deny, permission)?)));
            if let Some((role, pattern)) = denied {
                return Decision::refused(Refusal::Denied, Some(role.name()), Some(pattern));
            }
            let by_role = held.iter().find(|role| role.permissions().contains(permission));
            let by_rule = || held.iter().find_map(|role| Some((role, meant(*role, Effect::Allow, permission)?)));
            last = match (by_role, by_rule()) {
                (Some(role), _) => Decision::allowed(role.name(), None),
                (None, Some((role, pattern))) => Decision::allowed(role.name(), Some(pattern)),
                (None, None) => return Decision::refused(Refusal::NotGranted, None, None),
            };
        }
        last
    }

    /// The roles of somebody, each once, by name.
    pub(super) fn held<'a>(&'a self, member: Member<'_>) -> Vec<Held<'a>> {
        let issuer = member.user.issuer();
        let groups = member.groups.iter().map(|name| Principal::Group { issuer: issuer.clone(), name: name.clone() });
        let principals = groups.chain([Principal::User(member.user.clone()), Principal::Everyone]);
        let mut names: BTreeSet<&str> = principals
            .filter_map(|principal| self.assignments.get(&principal))
            .flat_map(|roles| roles.iter().map(String::as_str))
            .collect();
        if member.is_owner {
            names.insert(OWNER);
        }
        names.into_iter().filter_map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Option<Held<'_>> {
        match role::built_in(name) {
            Some(role) => Some(Held::BuiltIn(role)),
            None => self.roles.get(name).map(Held::Defined),
        }
    }

    fn is_admin(&self, member: Member<'_>) -> bool {
        self.held(member).iter().any(|role| role.permissions().contains(Scopes::ADMIN))
    }

    fn owners(&self) -> BTreeSet<&Principal> {
        self.assignments.iter().filter(|(_, roles)| roles.contains(OWNER)).map(|(to, _)| to).collect()
    }

    /// The policy that takes this one's place when somebody changes it.
    ///
    /// # Errors
    /// `Conflict` when it was made from another version; `InvalidInput` when the role `owner` is given or taken by somebody
    /// who does not have it, or nobody certain would be left to change it again.
    pub(crate) fn successor(now: Option<&Self>, next: &Self, by: Member<'_>) -> Result<Self> {
        let version = now.map_or(0, |now| now.version);
        if next.version != version {
            return Err(Reason::PolicyVersion { expected: next.version, actual: version }.into());
        }
        if let Some(now) = now {
            let by_owner = now.held(by).iter().any(|role| role.name() == OWNER);
            if !by_owner && now.owners() != next.owners() {
                return Err(Error::invalid("policy", "only owners give or take the role owner"));
            }
        }
        let is_new = |to: &&Principal| now.is_none_or(|now| !now.assignments.contains_key(to));
        next.assignments.keys().filter(is_new).try_for_each(Principal::check)?;
        // Groups may be empty and other issuers may not be trusted: who counts is whoever changes it, and users of the
        // same issuer.
        let named = |to: &Principal| match to {
            Principal::User(user) => {
                user.issuer() == by.user.issuer() && next.is_admin(Member { user, groups: &[], is_owner: false })
            }
            _ => false,
        };
        if !next.is_admin(by) && !next.assignments.keys().any(named) {
            return Err(Error::invalid("policy", "somebody must be left who may change it"));
        }
        let version = version.checked_add(1).ok_or(Reason::DamagedRecord(Self::NAME))?;
        let successor = Self { version, ..next.clone() };
        successor.check_stored()?;
        Ok(successor)
    }

    /// A policy as a file has it.
    ///
    /// # Errors
    /// `Damaged` when it does not decode or is none that could have been made.
    pub(crate) fn from_record(bytes: &[u8]) -> Result<Self> {
        let policy: Self = codec::decode(bytes)?;
        policy.check_stored().map_err(|_| Error::from(Reason::DamagedRecord(Self::NAME)))?;
        Ok(policy)
    }

    fn check_stored(&self) -> Result<()> {
        let foreign = || Error::from(Reason::DamagedRecord(Self::NAME));
        self.check_sizes()?;
        for (name, role) in &self.roles {
            role.check_stored()?;
            if role.name() != name {
                return Err(foreign());
            }
        }
        for (to, roles) in &self.assignments {
            to.check_stored()?;
            if roles.is_empty() || roles.iter().any(|role| self.find(role).is_none()) {
                return Err(foreign());
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        let rules = self.roles.values().map(|role| role.rules().len()).sum::<usize>();
        let actions = self.roles.values().map(|role| role.actions().count()).sum::<usize>();
        let assignments = self.assignments.values().map(BTreeSet::len).sum::<usize>();
        for (what, limit, count) in [
            ("roles", POLICY_ROLES_MAX, self.roles.len()),
            ("rules", POLICY_RULES_MAX, rules),
            ("actions", POLICY_ACTIONS_MAX, actions),
            ("assignments", POLICY_ASSIGNMENTS_MAX, assignments),
        ] {
            if count > limit {
                return Err(Error::too_large(what, limit, count));
            }
        }
        if self.detached_seconds_max > DETACHED_SECONDS_MAX {
            let (limit, actual) = (DETACHED_SECONDS_MAX, self.detached_seconds_max);
            return Err(Reason::TooLarge { what: "life of detached jobs in seconds", limit, actual }.into());
        }
        Ok(())
    }
}
