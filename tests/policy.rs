//! Roles, assignments and rules: what a policy grants, on live handles, as a second and plainer reading of it has it.

mod support;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::disk::MemoryDisk;
use watertight::{
    Action, Attestation, AuditAction, AuditOutcome, Authored, Authority, Engine, Error, ErrorKind, Issuer, Memories,
    Memory, Namespace, NamespaceUpdate, Policy, Principal, Reason, Refusal, Result, Role, Scopes, Selection,
    TenantHandle, TenantSpec, UserId,
};

const PERMISSIONS: [Scopes; 4] = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
const SHARED: [&str; 5] = ["a", "a.b", "a.b.c", "ab", "b"];
const PATTERNS: [&str; 9] = ["*", "a*", "a.*", "a.b", "a.b*", "a.b.*", "ab", "b", "b*"];
const ACTIONS: [&str; 3] = ["deploy", "publish", "sign"];
const GROUPS: [&str; 2] = ["staff", "guests"];

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

fn scopes(bits: u64) -> Scopes {
    let chosen = PERMISSIONS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    chosen.fold(Scopes::NONE, |all, (_, scope)| all | *scope)
}

/// A policy as plain data.
#[derive(Debug, Default)]
struct Plain {
    roles: Vec<PlainRole>,
    /// To `user:NAME`, `group:NAME`, `other:NAME` (a group of another issuer) or `*`.
    assignments: Vec<(String, String)>,
}

#[derive(Debug)]
struct PlainRole {
    name: String,
    permissions: Scopes,
    actions: Vec<&'static str>,
    /// Whether it allows, what, and where.
    rules: Vec<(bool, Scopes, &'static str)>,
}

/// Who asks, with what in hand.
#[derive(Debug)]
struct Caller {
    name: &'static str,
    groups: &'static [&'static str],
    scopes: Scopes,
    is_owner: bool,
}

/// The plain reading: every rule of every role that is assigned to the caller, one after the other.
impl Plain {
    fn roles_of(&self, caller: &Caller) -> Vec<&PlainRole> {
        let names = self.names_of(caller);
        self.roles.iter().filter(|role| names.contains(role.name.as_str())).collect()
    }

    fn names_of(&self, caller: &Caller) -> BTreeSet<&str> {
        let mine = |to: &str| match to.split_once(':') {
            Some(("user", name)) => name == caller.name,
            Some(("group", name)) => caller.groups.contains(&name),
            _ => to == "*",
        };
        let assigned = self.assignments.iter().filter(|(to, _)| mine(to)).map(|(_, role)| role.as_str());
        assigned.chain(caller.is_owner.then_some("owner")).collect()
    }

    fn built_in(name: &str) -> Option<Scopes> {
        match name {
            "owner" | "admin" => Some(Scopes::ALL),
            "member" => Some(Scopes::READ | Scopes::WRITE | Scopes::DELETE),
            "reader" => Some(Scopes::READ),
            _ => None,
        }
    }

    fn role_grants(&self, caller: &Caller, permission: Scopes) -> bool {
        let by_built_in = self.names_of(caller).into_iter().filter_map(Self::built_in);
        let by_own = self.roles_of(caller).into_iter().map(|role| role.permissions);
        by_built_in.chain(by_own).any(|granted| granted.contains(permission))
    }

    fn on_tenant(&self, caller: &Caller, permission: Scopes) -> bool {
        caller.scopes.contains(permission) && self.role_grants(caller, permission)
    }

    fn on_shared(&self, caller: &Caller, permission: Scopes, namespace: &str) -> bool {
        let (mut allowed, mut denied) = (self.role_grants(caller, permission), false);
        for role in self.roles_of(caller) {
            for (allows, permissions, pattern) in &role.rules {
                let matches = match pattern.split_once('*') {
                    Some((prefix, _)) => namespace.starts_with(prefix),
                    None => namespace == *pattern,
                };
                if matches && permissions.contains(permission) {
                    if *allows { allowed = true } else { denied = true }
                }
            }
        }
        caller.scopes.contains(permission) && allowed && !denied
    }

    /// In a private namespace of the caller; in another's nothing is ever allowed.
    fn on_own(&self, caller: &Caller, permission: Scopes) -> bool {
        let gives = |role: &&PlainRole| {
            let allows = role.rules.iter().any(|(allows, permissions, _)| *allows && *permissions != Scopes::NONE);
            allows || role.permissions != Scopes::NONE || !role.actions.is_empty()
        };
        let by_built_in = self.names_of(caller).into_iter().any(|name| Self::built_in(name).is_some());
        let is_member = by_built_in || self.roles_of(caller).iter().any(gives);
        caller.scopes.contains(permission) && is_member
    }

    fn may_do(&self, caller: &Caller, action: &str) -> bool {
        self.names_of(caller).contains("owner")
            || self.roles_of(caller).iter().any(|role| role.actions.contains(&action))
    }

    fn random(rng: &mut Rng) -> Self {
        let mut plain = Self::default();
        for number in 0..rng.below(5) {
            let rules = (0..rng.below(6))
                .map(|_| {
                    let pattern = PATTERNS[rng.below(PATTERNS.len() as u64) as usize];
                    (rng.below(3) > 0, scopes(rng.below(16)), pattern)
                })
                .collect();
            let actions = ACTIONS.into_iter().filter(|_| rng.below(4) == 0).collect();
            let permissions = if rng.below(2) == 0 { Scopes::NONE } else { scopes(rng.below(16)) };
            plain.roles.push(PlainRole { name: format!("role-{number}"), permissions, actions, rules });
        }
        let to = ["user:alice", "user:bob", "user:carol", "group:staff", "group:guests", "other:staff", "*"];
        for _ in 0..rng.below(7) {
            let built_in = ["owner", "admin", "member", "reader"];
            let role = match rng.below(3) {
                0 => built_in[rng.below(4) as usize].to_owned(),
                _ if plain.roles.is_empty() => continue,
                _ => plain.roles[rng.below(plain.roles.len() as u64) as usize].name.clone(),
            };
            plain.assignments.push((to[rng.below(to.len() as u64) as usize].to_owned(), role));
        }
        plain
    }

    /// The engine's form of it, after another one.
    fn after(&self, before: &Policy) -> Policy {
        let mut policy = before.clone();
        let assigned: Vec<_> = before.assignments().map(|(to, role)| (to.clone(), role.to_owned())).collect();
        for (to, role) in assigned {
            policy = policy.unassign(&to, &role);
        }
        let defined: Vec<_> = before.roles().map(|role| role.name().to_owned()).collect();
        for name in defined {
            policy = policy.without_role(&name);
        }
        for plain in &self.roles {
            let mut role = Role::new(&plain.name).unwrap().permissions(plain.permissions);
            for action in &plain.actions {
                role = role.action(action).unwrap();
            }
            for (allows, permissions, pattern) in &plain.rules {
                let added = if *allows { role.allow(*permissions, pattern) } else { role.deny(*permissions, pattern) };
                role = added.unwrap();
            }
            policy = policy.role(role).unwrap();
        }
        let principal = |to: &str| match to.split_once(':') {
            Some(("user", name)) => Principal::user(user(name)),
            Some(("group", name)) => Principal::group(Issuer::authority(), name).unwrap(),
            Some((_, name)) => Principal::group(Issuer::new("https://login.example.org/").unwrap(), name).unwrap(),
            None => Principal::Everyone,
        };
        self.assignments.iter().fold(policy, |policy, (to, role)| policy.assign(principal(to), role).unwrap())
    }
}

struct Asked {
    caller: Caller,
    tenant: TenantHandle,
    shared: Vec<Memories>,
    private: Memories,
}

impl Asked {
    fn new(engine: &Engine, authority: &Authority, caller: Caller) -> Self {
        let attested =
            Attestation::new("acme", caller.name).unwrap().scopes(caller.scopes).groups(caller.groups.to_vec());
        let attested = attested.lifetime(Duration::from_secs(86_000));
        let tenant = engine.tenant(&authority.attest(attested).unwrap()).unwrap();
        let shared = SHARED.iter().map(|name| tenant.memories(name).unwrap()).collect();
        let private = tenant.private("a").unwrap();
        Self { caller, tenant, shared, private }
    }

    /// Every decision about this caller, as text.
    fn decisions(&self) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        for permission in PERMISSIONS {
            found.push((format!("{permission} of the tenant"), self.tenant.check(permission).is_ok()));
            found.push((format!("{permission} of its own"), self.private.check(permission).is_ok()));
            for memories in &self.shared {
                let allowed = memories.check(permission);
                assert!(allowed.as_ref().err().is_none_or(|error| error.kind() == ErrorKind::NotFound));
                found.push((format!("{permission} of {}", memories.namespace()), allowed.is_ok()));
            }
        }
        found.extend(ACTIONS.map(|name| (name.to_owned(), self.tenant.require(Action::app(name)).is_ok())));
        found
    }

    fn expected(&self, plain: &Plain) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        for permission in PERMISSIONS {
            found.push((format!("{permission} of the tenant"), plain.on_tenant(&self.caller, permission)));
            found.push((format!("{permission} of its own"), plain.on_own(&self.caller, permission)));
            for name in SHARED {
                let allowed = plain.on_shared(&self.caller, permission, name);
                found.push((format!("{permission} of {name}"), allowed));
            }
        }
        found.extend(ACTIONS.map(|name| (name.to_owned(), plain.may_do(&self.caller, name))));
        found
    }

    /// What operations themselves answer, beside what was asked before them.
    fn try_operations(&self, plain: &Plain) {
        let agrees = |permission, name: &str, answer: Result<()>, private: bool| {
            let allowed = if private {
                plain.on_own(&self.caller, permission)
            } else {
                plain.on_shared(&self.caller, permission, name)
            };
            let refused = |error: &Error| *error.reason() == Reason::NotFound;
            assert_eq!(answer.is_ok(), allowed, "{permission} of {name} for {:?}: {answer:?}", self.caller);
            assert!(answer.as_ref().err().is_none_or(refused), "{answer:?}");
        };
        for memories in self.shared.iter().chain([&self.private]) {
            let (name, private) = (memories.namespace().as_str(), memories.is_private());
            agrees(Scopes::WRITE, name, memories.put(Memory::new("k").text(self.caller.name)).map(|_| ()), private);
            agrees(Scopes::READ, name, memories.count(&Selection::all()).map(|_| ()), private);
            agrees(Scopes::DELETE, name, memories.delete_where(&Selection::all()).map(|_| ()), private);
        }
        if let Ok(found) = self.tenant.namespaces() {
            for info in found.iter().filter(|info| !info.private) {
                assert!(plain.on_shared(&self.caller, Scopes::READ, info.namespace.as_str()), "{info:?} is told");
            }
        }
    }
}

fn callers(engine: &Engine, authority: &Authority) -> Vec<Asked> {
    let mut asked = Vec::new();
    for scopes in [Scopes::ALL, Scopes::READ | Scopes::DELETE, Scopes::WRITE | Scopes::ADMIN] {
        for (name, groups) in [("alice", &GROUPS[..1]), ("bob", &[][..]), ("carol", &GROUPS[..])] {
            let caller = Caller { name, groups, scopes, is_owner: false };
            asked.push(Asked::new(engine, authority, caller));
        }
    }
    let root = Caller { name: "root", groups: &[], scopes: Scopes::ALL, is_owner: true };
    asked.push(Asked::new(engine, authority, root));
    asked
}

fn plaintext_engine() -> (Engine, Authority) {
    let builder = Engine::builder("/memory").root_key(root_key()).danger().disk(Arc::new(MemoryDisk::new()));
    let (engine, authority) = builder.danger().plaintext_files().open().unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("root"));
    operator.provision(spec).unwrap();
    (engine, authority)
}

/// Role x operation x namespace x ownership, on live handles that remember what was decided before.
fn random_policies(seed: u64, policies: usize) {
    let (engine, authority) = plaintext_engine();
    let asked = callers(&engine, &authority);
    let root = &asked.last().unwrap().tenant;
    // Somebody else's, in a private namespace of the same name.
    let others = engine.tenant(&authority.attest(Attestation::new("acme", "root").unwrap()).unwrap()).unwrap();
    others.private("a").unwrap().put(Memory::new("of root")).unwrap();
    let (mut rng, mut policy) = (Rng(seed), Policy::new());
    for number in 0..policies {
        let plain = Plain::random(&mut rng);
        let next = plain.after(&policy);
        root.set_policy(&next).unwrap();
        policy = root.policy().unwrap();
        assert_eq!(policy.version(), number as u64 + 1);
        for one in &asked {
            assert_eq!(
                one.decisions(),
                one.expected(&plain),
                "seed {seed}, policy {number}: {plain:?} {:?}",
                one.caller
            );
            if !one.caller.is_owner {
                assert!(one.private.get("of root").is_err());
            }
        }
        // The policy's own explanation is a third reading.
        for one in asked.iter().filter(|one| one.caller.scopes == Scopes::ALL && !one.caller.is_owner) {
            let groups: Vec<_> = one.caller.groups.iter().map(|&name| name.to_owned()).collect();
            for permission in PERMISSIONS {
                for name in SHARED {
                    let namespace = Namespace::new(name).unwrap();
                    let why = policy.explain(&user(one.caller.name), &groups, permission, Some(&namespace));
                    assert_eq!(why.allowed, plain.on_shared(&one.caller, permission, name), "{plain:?} {why:?}");
                }
                let why = policy.explain(&user(one.caller.name), &groups, permission, None);
                assert_eq!(why.allowed, plain.on_tenant(&one.caller, permission), "{plain:?} {why:?}");
            }
        }
        if number % 100 == 0 {
            asked.iter().filter(|one| !one.caller.is_owner).for_each(|one| one.try_operations(&plain));
        }
    }
    assert!(others.private("a").unwrap().exists("of root").unwrap());
}

#[test]
fn random_policies_decide_as_their_plain_reading_does_1() {
    random_policies(1, 10_000);
}

#[test]
fn random_policies_decide_as_their_plain_reading_does_2() {
    random_policies(2, 10_000);
}

/// A tenant on a simulated disk, of which `root` is an owner that the operator named.
fn world(disk: &SimDisk) -> World {
    let world = World::open(Path::new("/data"), Arc::new(disk.clone())).unwrap();
    let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("root"));
    let _ = world.operator().provision(spec);
    world
}

fn member(name: &str, role: &str, policy: Policy) -> Policy {
    policy.assign(Principal::user(user(name)), role).unwrap()
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    answer.is_err_and(|error| *error.reason() == Reason::NotFound)
}

#[test]
fn without_a_policy_scopes_alone_decide() {
    let world = world(&SimDisk::new(1));
    let reader = world.engine.tenant(&world.identity("acme", "bob", Scopes::READ)).unwrap();
    assert_eq!(reader.whoami().unwrap().roles, [""; 0]);
    assert!(reader.memories("notes").unwrap().check(Scopes::READ).is_ok());
    assert!(is_refused(reader.memories("notes").unwrap().check(Scopes::WRITE)));
    // Actions are granted by roles only, and an operator's owner has them all.
    assert!(is_refused(world.handle("acme", "bob").unwrap().require(Action::app("deploy"))));
    world.handle("acme", "root").unwrap().require(Action::app("deploy")).unwrap();
}

#[test]
fn a_policy_is_in_force_at_once_and_after_a_restart() {
    let disk = SimDisk::new(1);
    {
        let world = world(&disk);
        let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
        let notes = bob.memories("notes").unwrap();
        notes.put(Memory::new("k")).unwrap();
        root.set_policy(&Policy::new().assign(Principal::Everyone, "reader").unwrap()).unwrap();
        assert!(is_refused(notes.put(Memory::new("l"))) && notes.exists("k").unwrap());
        assert!(is_refused(bob.usage()) && is_refused(bob.policy()) && is_refused(bob.set_policy(&Policy::new())));
        assert_eq!(bob.whoami().unwrap().roles, ["reader"]);
        assert_eq!(root.whoami().unwrap().roles, ["owner", "reader"]);
        world.engine.close().unwrap();
    }
    let world = world(&disk.kill());
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    assert!(is_refused(bob.memories("notes").unwrap().put(Memory::new("l"))));
    assert!(bob.memories("notes").unwrap().exists("k").unwrap());
    assert_eq!(root.policy().unwrap().version(), 1);
    assert_eq!(root.policy().unwrap().assignments().count(), 1);
}

#[test]
fn who_has_no_role_has_nothing_and_no_role_reaches_what_is_private() {
    let world = world(&SimDisk::new(1));
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    let diary = bob.private("diary").unwrap();
    diary.put(Memory::new("secret")).unwrap();
    let closed = Role::new("closed").unwrap().deny(Scopes::ALL, "*").unwrap();
    let policy = Policy::new().role(closed).unwrap().assign(Principal::Everyone, "closed").unwrap();
    root.set_policy(&policy).unwrap();
    // A role that only denies gives nobody anything.
    assert!(is_refused(diary.get("secret")) && is_refused(bob.namespaces()) && is_refused(bob.credentials().list()));
    assert!(is_refused(bob.transact(|_| Ok(()))));
    // Deny wins over the owner too, in what is shared; the policy stays within reach.
    assert!(is_refused(root.memories("notes").unwrap().put(Memory::new("k"))));
    let policy = member("bob", "reader", root.policy().unwrap());
    root.set_policy(&policy).unwrap();
    // Bob has his own again, to write as well, whatever is denied in what is shared.
    diary.put(Memory::new("secret")).unwrap();
    assert_eq!(bob.namespaces().unwrap().len(), 1);
    assert!(
        is_refused(root.private("diary").unwrap().get("secret"))
            && is_refused(bob.memories("n").unwrap().list(&watertight::List::new()))
    );
    assert!(root.namespaces().unwrap().is_empty());
}

#[test]
fn a_change_that_would_leave_no_admin_is_refused() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    let staff = Principal::group(Issuer::authority(), "staff").unwrap();
    let elsewhere = UserId::new(Issuer::new("https://login.example.org/").unwrap(), "alice").unwrap();
    let admins = Role::new("admins").unwrap().permissions(Scopes::ADMIN);
    let somewhere = Role::new("somewhere").unwrap().allow(Scopes::ALL, "*").unwrap();
    let base = Policy::new().role(admins).unwrap().role(somewhere).unwrap();
    let locked_out = |policy: &Policy| {
        let refused = alice.set_policy(policy).unwrap_err();
        assert_eq!(refused.to_string(), "policy: somebody must be left who may change it");
        assert_eq!(alice.policy().unwrap().version(), policy.version());
    };
    locked_out(&Policy::new());
    locked_out(&member("alice", "member", base.clone()));
    // A rule about namespaces is not the tenant's administration.
    locked_out(&member("alice", "somewhere", base.clone()));
    // A group may be empty, and another issuer may not be trusted.
    locked_out(&base.clone().assign(staff.clone(), "admin").unwrap());
    locked_out(&base.clone().assign(Principal::user(elsewhere), "owner").unwrap());
    alice.set_policy(&member("alice", "admins", base)).unwrap();
    let policy = alice.policy().unwrap();
    locked_out(&policy.clone().unassign(&Principal::user(user("alice")), "admins"));
    locked_out(&policy.clone().without_role("admins"));
    // To somebody else it may go, and then it is gone.
    let handed = member("bob", "admin", policy).unassign(&Principal::user(user("alice")), "admins");
    alice.set_policy(&handed).unwrap();
    assert!(is_refused(alice.set_policy(&handed)) && is_refused(alice.policy()));
    // Whoever changes it may be an admin by a group that it shows itself to be in.
    let attested = Attestation::new("acme", "carol").unwrap().scopes(Scopes::ALL).groups(["staff"]);
    let carol = world.engine.tenant(&world.authority.attest(attested).unwrap()).unwrap();
    let bob = world.handle("acme", "bob").unwrap();
    bob.set_policy(&bob.policy().unwrap().assign(staff, "admin").unwrap()).unwrap();
    carol.set_policy(&carol.policy().unwrap().unassign(&Principal::user(user("bob")), "admin")).unwrap();
    assert!(is_refused(bob.policy()));
}

#[test]
fn only_owners_give_and_take_the_role_of_owners() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let (alice, bob) = (world.handle("acme", "alice").unwrap(), world.handle("acme", "bob").unwrap());
    alice.set_policy(&member("bob", "admin", member("alice", "owner", Policy::new()))).unwrap();
    let policy = bob.policy().unwrap();
    for change in [
        member("bob", "owner", policy.clone()),
        policy.clone().unassign(&Principal::user(user("alice")), "owner"),
        policy.clone().assign(Principal::Everyone, "owner").unwrap(),
    ] {
        assert_eq!(bob.set_policy(&change).unwrap_err().to_string(), "policy: only owners give or take the role owner");
    }
    bob.set_policy(&member("carol", "member", policy)).unwrap();
    alice.set_policy(&member("bob", "owner", alice.policy().unwrap())).unwrap();
}

#[test]
fn a_policy_made_from_an_older_one_is_refused() {
    let world = world(&SimDisk::new(1));
    let root = world.handle("acme", "root").unwrap();
    let first = root.policy().unwrap();
    root.set_policy(&member("bob", "reader", first.clone())).unwrap();
    let refused = root.set_policy(&member("bob", "admin", first)).unwrap_err();
    assert_eq!(*refused.reason(), Reason::PolicyVersion { expected: 0, actual: 1 });
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

#[test]
fn who_is_erased_loses_its_roles_and_the_last_admin_cannot_be() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let (alice, bob) = (world.handle("acme", "alice").unwrap(), world.handle("acme", "bob").unwrap());
    alice.set_policy(&member("bob", "member", member("alice", "admin", Policy::new()))).unwrap();
    let notes = bob.memories("notes").unwrap();
    notes.put(Memory::new("k")).unwrap();
    let erase = |name| alice.erase_user(&user(name), Authored::Stays, |_| ControlFlow::Continue(()));
    assert_eq!(erase("alice").unwrap_err().to_string(), "policy: somebody must be left who may change it");
    assert_eq!(alice.policy().unwrap().version(), 1);
    assert!(notes.exists("k").unwrap());
    erase("bob").unwrap();
    assert!(is_refused(notes.get("k")));
    let policy = alice.policy().unwrap();
    assert_eq!((policy.version(), policy.assignments().count()), (2, 1));
    alice.audit().verify().unwrap();
}

#[test]
fn groups_of_two_issuers_never_meet() {
    let world = world(&SimDisk::new(1));
    let root = world.handle("acme", "root").unwrap();
    let other = Principal::group(Issuer::new("https://login.example.org/").unwrap(), "staff").unwrap();
    root.set_policy(&Policy::new().assign(other, "admin").unwrap()).unwrap();
    let attested = Attestation::new("acme", "bob").unwrap().scopes(Scopes::ALL).groups(["staff", "user:root", "*"]);
    let bob = world.engine.tenant(&world.authority.attest(attested).unwrap()).unwrap();
    assert!(is_refused(bob.memories("notes").unwrap().count(&Selection::all())) && is_refused(bob.usage()));
    assert!(bob.whoami().unwrap().roles.is_empty());
}

#[test]
fn the_same_user_is_in_the_groups_of_each_identity_and_no_others() {
    let world = world(&SimDisk::new(1));
    let staff = Principal::group(Issuer::authority(), "staff").unwrap();
    world.handle("acme", "root").unwrap().set_policy(&Policy::new().assign(staff, "member").unwrap()).unwrap();
    let with = |groups: &[&str]| {
        let attested = Attestation::new("acme", "bob").unwrap().scopes(Scopes::ALL).groups(groups.to_vec());
        world.engine.tenant(&world.authority.attest(attested).unwrap()).unwrap().memories("notes").unwrap()
    };
    let (guest, staff, nobody) = (with(&["guests"]), with(&["guests", "staff"]), with(&[]));
    for _ in 0..2 {
        assert!(is_refused(guest.put(Memory::new("k"))) && is_refused(nobody.put(Memory::new("k"))));
        staff.put(Memory::new("k")).unwrap();
    }
}

#[test]
fn the_trail_is_readable_when_refusals_cannot_be_written() {
    let disk = SimDisk::new(1);
    let world = world(&disk);
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    root.set_policy(&Policy::new()).unwrap();
    assert!(is_refused(bob.memories("notes").unwrap().get("k")));
    disk.fail_write("data.1.redb", 0);
    assert_eq!(root.audit().entries(1, 100).unwrap().len(), 1);
    assert_eq!(disk.planned_faults(), 0);
    let entries = root.audit().entries(1, 100).unwrap();
    assert_eq!((entries.len(), entries[1].action), (2, AuditAction::Attempt));
}

#[test]
fn a_namespace_is_not_renamed_past_its_rules() {
    let world = world(&SimDisk::new(1));
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    let keeper = Role::new("keeper").unwrap().allow(Scopes::ALL, "team.*").unwrap();
    let policy = Policy::new().role(keeper.deny(Scopes::ALL, "team.closed").unwrap()).unwrap();
    root.memories("plans").unwrap().put(Memory::new("k")).unwrap();
    root.memories("team.closed").unwrap().put(Memory::new("k")).unwrap();
    root.set_policy(&member("bob", "keeper", policy)).unwrap();
    let own = bob.memories("team.red").unwrap();
    own.put(Memory::new("k")).unwrap();
    // Out of reach, whether it is taken or free; into reach neither.
    for to in ["plans", "free", "team.closed"] {
        assert!(is_refused(own.rename(to)), "{to}");
    }
    assert!(is_refused(bob.memories("plans").unwrap().rename("team.mine")));
    assert!(is_refused(bob.memories("team.closed").unwrap().rename("team.open")));
    let renamed = own.rename("team.blue").unwrap();
    renamed.update(&NamespaceUpdate::new().description(Some("ours".into()))).unwrap();
    let told: Vec<_> = bob.namespaces().unwrap().into_iter().map(|info| info.namespace.to_string()).collect();
    assert_eq!(told, ["team.blue"]);
    let status = bob.index_status().unwrap();
    assert_eq!(status.iter().map(|index| index.namespace.as_str()).collect::<Vec<_>>(), ["team.blue"]);
    assert!(is_refused(bob.memories("plans").unwrap().reembedding("model")));
    assert!(is_refused(bob.memories("team.closed").unwrap().reembedding("model")));
}

#[test]
fn refusals_are_told_to_the_trail_alone() {
    let world = world(&SimDisk::new(1));
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    let closed = Role::new("closed").unwrap().deny(Scopes::ALL, "hr").unwrap();
    let policy = member("bob", "member", Policy::new()).role(closed).unwrap();
    root.set_policy(&policy.assign(Principal::Everyone, "closed").unwrap()).unwrap();
    let reader = world.engine.tenant(&world.identity("acme", "bob", Scopes::READ)).unwrap();
    for _ in 0..3 {
        assert!(is_refused(bob.memories("hr").unwrap().get("k")));
    }
    assert!(is_refused(bob.usage()) && is_refused(bob.require(Action::app("deploy"))));
    assert!(is_refused(bob.require(Action::app("no action has such a name"))));
    assert!(is_refused(reader.private("diary").unwrap().put(Memory::new("k"))));
    let narrow = bob.attenuate(&watertight::Attenuation::new().shared("notes").unwrap()).unwrap();
    assert!(is_refused(narrow.memories("plans").unwrap().get("k")));

    let entries = root.audit().entries(2, 100).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!((entry.action, entry.user.as_ref()), (AuditAction::Attempt, Some(&user("bob"))));
            let AuditOutcome::Refused { needed, why, times } = entry.outcome else { panic!("{entry:?}") };
            let namespace = entry.namespace.as_ref().map(|name| name.as_str().to_owned());
            (namespace, entry.key.clone(), entry.private, needed, why, times)
        })
        .collect();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        told,
        [
            (name("hr"), None, false, Scopes::READ, Refusal::Denied, 3),
            (None, None, false, Scopes::ADMIN, Refusal::NotGranted, 1),
            (None, name("deploy"), false, Scopes::NONE, Refusal::NotGranted, 1),
            (None, None, false, Scopes::NONE, Refusal::NotGranted, 1),
            // What is private is not named to others.
            (None, None, true, Scopes::WRITE, Refusal::Scope, 1),
            (name("plans"), None, false, Scopes::READ, Refusal::Narrowed, 1),
        ]
    );
    assert_eq!(root.audit().verify().unwrap().entries, 7);
}

#[test]
fn a_printed_handle_tells_nothing_of_the_policy() {
    let world = world(&SimDisk::new(1));
    let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
    let hidden = Role::new("hidden-role").unwrap().deny(Scopes::ALL, "hidden-namespace").unwrap();
    root.set_policy(&member("bob", "member", Policy::new()).role(hidden).unwrap()).unwrap();
    let narrow = bob.attenuate(&watertight::Attenuation::new().scopes(Scopes::READ)).unwrap();
    let notes = narrow.memories("notes").unwrap();
    assert!(is_refused(root.memories("notes").unwrap().get("k")) && is_refused(notes.put(Memory::new("k"))));
    let list = notes.iter(watertight::List::new());
    let printed = format!("{bob:?} {narrow:?} {notes:?} {list:?} {:?} {:?}", narrow.audit(), narrow.credentials());
    assert!(printed.contains("bob") && !printed.contains("hidden") && !printed.contains("root"), "{printed}");
}

#[test]
fn a_flood_of_refusals_is_bounded_and_counted() {
    let disk = SimDisk::new(1);
    let world = world(&disk);
    let bob = world.engine.tenant(&world.identity("acme", "bob", Scopes::NONE)).unwrap();
    let before = disk.writes();
    for number in 0..1_000 {
        assert!(is_refused(bob.memories(&format!("n{number}")).unwrap().get("k")));
    }
    assert_eq!(disk.writes(), before, "who may do nothing wrote something");
    drop(bob);
    // What waits is written down when the file closes.
    world.engine.close().unwrap();
    drop(world);
    let world = World::open(Path::new("/data"), Arc::new(disk)).unwrap();
    let entries = world.handle("acme", "root").unwrap().audit().entries(1, 1_000).unwrap();
    let times = |entry: &watertight::AuditEntry| match entry.outcome {
        AuditOutcome::Refused { times, .. } => u64::from(times),
        _ => panic!("{entry:?}"),
    };
    assert_eq!(entries.iter().map(times).sum::<u64>(), 1_000);
    assert!(entries.len() <= 257 && entries.iter().any(|entry| entry.user.is_none() && times(entry) > 1));
}

/// Whatever fails while a policy is changed: what is in force is what the file has.
#[test]
fn after_a_failed_change_the_policy_in_force_is_the_one_on_disk() {
    let made = SimDisk::new(1);
    let first = world(&made);
    let root = first.handle("acme", "root").unwrap();
    root.set_policy(&member("bob", "member", Policy::new())).unwrap();
    root.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    first.engine.close().unwrap();
    drop((root, first));
    let (mut unknown, mut cases) = (0, 0);
    for kind in 0..3 {
        for after in 0.. {
            let disk = made.kill();
            let world = World::open(Path::new("/data"), Arc::new(disk.clone())).unwrap();
            let (root, bob) = (world.handle("acme", "root").unwrap(), world.handle("acme", "bob").unwrap());
            let notes = bob.memories("notes").unwrap();
            assert!(notes.exists("k").unwrap());
            let next = root.policy().unwrap().unassign(&Principal::user(user("bob")), "member");
            match kind {
                0 => disk.fail_sync("data.1.redb", after),
                1 => disk.fail_write("data.1.redb", after),
                _ => disk.fail_read("data.1.redb", after),
            }
            let changed = root.set_policy(&next);
            if disk.planned_faults() > 0 {
                assert!(changed.is_ok());
                break;
            }
            cases += 1;
            unknown += usize::from(changed.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutcomeUnknown));
            let allowed = notes.exists("k");
            let stored = root.policy().unwrap();
            assert_eq!(allowed.is_ok(), stored.version() == 1, "{kind} after {after}: {changed:?} {allowed:?}");
            assert!(changed.is_err() || stored.version() == 2);
            // It goes on from there.
            root.set_policy(&stored.clone().unassign(&Principal::user(user("bob")), "member")).unwrap();
            assert!(is_refused(notes.exists("k")));
        }
    }
    assert!(unknown > 0 && cases > 3, "{unknown} of {cases}");
}

#[test]
fn limits_of_a_policy_hold() {
    let mut role = Role::new("many").unwrap();
    for number in 0..watertight::limits::POLICY_RULES_MAX {
        role = role.allow(Scopes::READ, &format!("n{number}")).unwrap();
    }
    assert_eq!(role.clone().allow(Scopes::READ, "one-more").unwrap_err().kind(), ErrorKind::InvalidInput);
    let policy = Policy::new().role(role).unwrap();
    let another = Role::new("another").unwrap().deny(Scopes::READ, "*").unwrap();
    assert_eq!(policy.role(another).unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut policy = Policy::new();
    for number in 0..watertight::limits::POLICY_ROLES_MAX {
        policy = policy.role(Role::new(&format!("r{number}")).unwrap()).unwrap();
    }
    assert!(policy.role(Role::new("one-more").unwrap()).is_err());
    for bad in ["", "a b", "a*", "é", &"a".repeat(65)] {
        assert!(Role::new(bad).is_err() && Role::new("r").unwrap().action(bad).is_err(), "{bad:?}");
    }
}
