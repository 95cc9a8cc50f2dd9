//! Narrower handles, detached jobs, and how they end.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Action, ApiKeySpec, Attenuation, AuditAction, Credential, ErrorKind, List, Memory, Policy, Principal, Reason,
    Result, Role, Scopes, Selection, TenantHandle, TenantId, TestClock, Timestamp, VerifiedIdentity,
};

const PERMISSIONS: [Scopes; 4] = [Scopes::READ, Scopes::WRITE, Scopes::DELETE, Scopes::ADMIN];
const NAMES: [&str; 4] = ["a", "a.b", "ab", "b"];
const PATTERNS: [&str; 6] = ["*", "a*", "a.*", "a", "ab", "b"];
const ACTIONS: [&str; 2] = ["deploy", "sign"];
const HOUR: Duration = Duration::from_secs(3_600);
/// Stamps of identities are a little ahead of a clock that stands still.
const MORE: Duration = Duration::from_millis(1);

struct Scene {
    world: World,
    clock: Arc<TestClock>,
}

impl Scene {
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
        world.provision("acme").unwrap();
        Self { world, clock }
    }

    /// Of one hour.
    fn identity(&self) -> VerifiedIdentity {
        self.world.identity("acme", "alice", Scopes::ALL)
    }

    fn alice(&self) -> TenantHandle {
        self.world.engine.tenant(&self.identity()).unwrap()
    }

    /// Alice is an owner, and jobs may be detached for a day.
    fn owned(&self) -> TenantHandle {
        let alice = self.alice();
        let policy = Policy::new().assign(Principal::user(alice.user().clone()), "owner").unwrap();
        alice.set_policy(&policy.detached_jobs(24 * HOUR).unwrap()).unwrap();
        alice
    }
}

fn reason<T: std::fmt::Debug>(answer: Result<T>) -> Reason {
    answer.unwrap_err().reason().clone()
}

/// Every decision that a handle knows of.
fn decisions(handle: &TenantHandle) -> Vec<bool> {
    let mut found = Vec::new();
    for permission in PERMISSIONS {
        found.push(handle.check(permission).is_ok());
        for name in NAMES {
            found.push(handle.memories(name).unwrap().check(permission).is_ok());
            found.push(handle.private(name).unwrap().check(permission).is_ok());
        }
    }
    found.push(handle.credentials().list().is_ok());
    found.extend(ACTIONS.map(|action| handle.require(Action::app(action)).is_ok()));
    found
}

/// What one narrowing leaves, read plainly.
struct Plain {
    scopes: Scopes,
    reach: Option<PlainReach>,
}

struct PlainReach {
    shared: Vec<&'static str>,
    private: Vec<&'static str>,
    credentials: bool,
    actions: Vec<&'static str>,
}

impl Plain {
    fn random(rng: &mut Rng) -> (Self, Attenuation) {
        let mut how = Attenuation::new();
        let mut plain = Self { scopes: Scopes::ALL, reach: None };
        if rng.below(2) == 0 {
            plain.scopes =
                PERMISSIONS.into_iter().filter(|_| rng.below(4) > 0).fold(Scopes::NONE, |all, one| all | one);
            how = how.scopes(plain.scopes);
        }
        if rng.below(3) > 0 {
            let mut pick =
                |from: &[&'static str]| from.iter().copied().filter(|_| rng.below(2) == 0).collect::<Vec<_>>();
            let (shared, private, actions) = (pick(&PATTERNS), pick(&PATTERNS), pick(&ACTIONS));
            let credentials = rng.below(2) == 0;
            how = shared.iter().fold(how, |how, pattern| how.shared(pattern).unwrap());
            how = private.iter().fold(how, |how, pattern| how.private(pattern).unwrap());
            how = actions.iter().fold(how, |how, action| how.action(action).unwrap());
            if credentials {
                how = how.credentials();
            }
            let named = credentials || !(shared.is_empty() && private.is_empty() && actions.is_empty());
            plain.reach = named.then_some(PlainReach { shared, private, credentials, actions });
        }
        (plain, how)
    }

    fn decisions(&self) -> Vec<bool> {
        let matches = |patterns: &[&str], name: &str| {
            patterns.iter().any(|pattern| match pattern.split_once('*') {
                Some((prefix, _)) => name.starts_with(prefix),
                None => name == *pattern,
            })
        };
        let mut found = Vec::new();
        for permission in PERMISSIONS {
            let left = self.scopes.contains(permission);
            found.push(left && self.reach.is_none());
            for name in NAMES {
                found.push(left && self.reach.as_ref().is_none_or(|reach| matches(&reach.shared, name)));
                found.push(left && self.reach.as_ref().is_none_or(|reach| matches(&reach.private, name)));
            }
        }
        found.push(self.scopes.contains(Scopes::READ) && self.reach.as_ref().is_none_or(|reach| reach.credentials));
        found.extend(ACTIONS.map(|action| self.reach.as_ref().is_none_or(|reach| reach.actions.contains(&action))));
        found
    }
}

#[test]
fn random_chains_only_narrow() {
    let scene = Scene::new();
    let mut rng = Rng(7);
    let root = scene.owned();
    assert!(decisions(&root).into_iter().all(|allowed| allowed));
    for _ in 0..300 {
        let (mut handle, mut expected) = (root.clone(), decisions(&root));
        for _ in 0..1 + rng.below(8) {
            let (plain, how) = Plain::random(&mut rng);
            handle = handle.attenuate(&how).unwrap();
            expected = expected.into_iter().zip(plain.decisions()).map(|(before, left)| before && left).collect();
            assert_eq!(decisions(&handle), expected, "{how:?}");
        }
    }
}

#[test]
fn a_handle_is_narrowed_eight_times_at_most() {
    let scene = Scene::new();
    let mut handle = scene.alice();
    for _ in 0..8 {
        handle = handle.attenuate(&Attenuation::new()).unwrap();
    }
    assert_eq!(handle.attenuate(&Attenuation::new()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(handle.usage().is_ok());
}

#[test]
fn a_handle_of_one_namespace_reaches_nothing_of_the_tenant() {
    let scene = Scene::new();
    let alice = scene.owned();
    alice.private("notes").unwrap().put(Memory::new("k")).unwrap();
    alice.credentials().put("TOKEN", &Credential::new("secret")).unwrap();
    let narrow = alice.attenuate(&Attenuation::new().shared("notes").unwrap()).unwrap();
    narrow.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    for refused in [
        narrow.usage().map(|_| ()),
        narrow.stats().map(|_| ()),
        narrow.sweep().map(|_| ()),
        narrow.audit().entries(1, 10).map(|_| ()),
        narrow.policy().map(|_| ()),
        narrow.set_policy(&alice.policy().unwrap()).map(|_| ()),
        narrow.explain(Scopes::READ, Some("notes")).map(|_| ()),
        narrow.credentials().with_secret("TOKEN", |_| ()),
        narrow.private("notes").unwrap().get("k").map(|_| ()),
        narrow.transact(|t| t.memories("plans")?.put(Memory::new("k"))).map(|_| ()),
        narrow.memories("notes").unwrap().rename("plans").map(|_| ()),
    ] {
        assert_eq!(reason(refused), Reason::NotFound);
    }
    narrow.transact(|t| t.memories("notes")?.delete("k")).unwrap();
    let told: Vec<_> = narrow.namespaces().unwrap().into_iter().map(|info| (info.namespace, info.private)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_str(), told[0].1), ("notes", false));
    assert_eq!((narrow.whoami().unwrap().allowed, narrow.scopes()), (Scopes::NONE, Scopes::ALL));
}

/// A key would outlive the narrowing, whatever it is that was taken away.
#[test]
fn a_narrowed_handle_makes_no_keys() {
    let scene = Scene::new();
    let alice = scene.owned();
    let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::READ);
    let narrowings = [
        Attenuation::new(),
        Attenuation::new().scopes(Scopes::READ | Scopes::ADMIN),
        Attenuation::new().lifetime(HOUR),
        Attenuation::new().operations(100),
        Attenuation::new().credentials(),
        Attenuation::new().shared("*").unwrap(),
    ];
    let detached = alice.detach(HOUR).unwrap();
    let mut handles = vec![detached.attenuate(&Attenuation::new()).unwrap(), detached];
    handles.extend(narrowings.iter().map(|how| alice.attenuate(how).unwrap()));
    for (at, narrow) in handles.iter().enumerate() {
        assert_eq!(reason(narrow.api_keys().create(&spec)), Reason::NotFound, "{at}");
    }
    assert!(handles.iter().filter(|narrow| narrow.usage().is_ok()).count() >= 6, "they have the scope");
    assert!(alice.api_keys().list().unwrap().is_empty());
    let said = alice.audit().entries(1, 1_000).unwrap();
    assert!(said.iter().all(|entry| entry.action != AuditAction::CreateApiKey));
    alice.api_keys().create(&spec).unwrap();
}

#[test]
fn a_change_of_the_policy_reaches_narrowed_handles() {
    let scene = Scene::new();
    let alice = scene.owned();
    let bob = scene.world.handle("acme", "bob").unwrap();
    alice.set_policy(&alice.policy().unwrap().assign(Principal::Everyone, "member").unwrap()).unwrap();
    let narrow = bob.attenuate(&Attenuation::new().scopes(Scopes::ALL)).unwrap();
    let notes = narrow.memories("notes").unwrap();
    notes.put(Memory::new("k")).unwrap();
    let none = Role::new("none").unwrap().deny(Scopes::WRITE, "notes").unwrap();
    let policy = alice.policy().unwrap().role(none).unwrap().assign(Principal::Everyone, "none").unwrap();
    alice.set_policy(&policy).unwrap();
    assert_eq!(reason(notes.put(Memory::new("k"))), Reason::NotFound);
    assert!(notes.exists("k").unwrap());
}

#[test]
fn a_budget_is_spent_exactly_once_by_many_threads() {
    let scene = Scene::new();
    let alice = scene.alice();
    let parent = alice.attenuate(&Attenuation::new().operations(500)).unwrap();
    let children = [200, 10_000].map(|most| parent.attenuate(&Attenuation::new().operations(most)).unwrap());
    let done = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for number in 0..16 {
            let (child, done) = (&children[number % 2], &done[number % 2]);
            scope.spawn(move || {
                let notes = child.memories("notes").unwrap();
                for _ in 0..100 {
                    match notes.exists("k") {
                        Ok(_) => {
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Limit),
                    }
                }
            });
        }
    });
    let done = done.map(AtomicU64::into_inner);
    // What is refused for want of the parent's is given back to the child.
    assert!(done[0] <= 200, "{done:?}");
    assert_eq!(done.iter().sum::<u64>(), 500);
    assert_eq!(children[1].whoami().unwrap().operations_left, Some(0));
    assert_eq!(parent.whoami().unwrap().operations_left, Some(0));
    assert_eq!(alice.whoami().unwrap().operations_left, None);
    let limit = children[0].usage().unwrap_err();
    assert_eq!(*limit.reason(), Reason::Full { what: "operations of this handle", limit: 200 });
}

#[test]
fn what_is_refused_costs_no_operation_and_every_step_costs_one() {
    let scene = Scene::new();
    let alice = scene.alice();
    let left = |handle: &TenantHandle| handle.whoami().unwrap().operations_left.unwrap();
    let handle = alice.attenuate(&Attenuation::new().operations(10).scopes(Scopes::READ | Scopes::WRITE)).unwrap();
    assert!(handle.memories("notes").unwrap().delete("k").is_err() && handle.usage().is_err());
    assert!(handle.check(Scopes::READ).is_ok() && handle.require(Scopes::ADMIN).is_err());
    assert_eq!(left(&handle), 10);
    handle.require(Scopes::READ).unwrap();
    handle.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    assert_eq!(left(&handle), 8);
    handle.transact(|t| t.memories("notes")?.put(Memory::new("k"))).unwrap();
    assert_eq!(left(&handle), 6);
    assert_eq!(handle.memories("notes").unwrap().iter(List::new()).count(), 1);
    assert_eq!(left(&handle), 5);
}

#[test]
fn a_revoked_parent_ends_its_children_and_their_open_work() {
    let scene = Scene::new();
    let alice = scene.owned();
    for key in ["k", "l", "m"] {
        alice.memories("notes").unwrap().put(Memory::new(key)).unwrap();
    }
    let parent = alice.attenuate(&Attenuation::new()).unwrap();
    let sibling = alice.attenuate(&Attenuation::new()).unwrap();
    let child = parent.attenuate(&Attenuation::new()).unwrap().attenuate(&Attenuation::new()).unwrap();
    let job = child.detach(HOUR).unwrap();
    let mut listing = child.memories("notes").unwrap().iter(List::new().limit(1));
    assert!(listing.next().unwrap().is_ok());
    let within = child.transact(|t| {
        t.memories("notes")?.put(Memory::new("never"))?;
        parent.clone().withdraw();
        t.memories("notes")?.put(Memory::new("nor this"))
    });
    assert_eq!(reason(within), Reason::HandleRevoked);
    assert_eq!(reason(listing.next().unwrap()), Reason::HandleRevoked);
    for ended in [&parent, &child, &job] {
        assert_eq!(reason(ended.memories("notes").unwrap().get("k")), Reason::HandleRevoked);
        assert_eq!(ended.attenuate(&Attenuation::new()).unwrap_err().kind(), ErrorKind::Unauthenticated);
    }
    assert_eq!(sibling.memories("notes").unwrap().count(&Selection::all()).unwrap(), 3);
    assert_eq!(alice.memories("notes").unwrap().count(&Selection::all()).unwrap(), 3);
}

#[test]
fn no_narrowing_outlives_what_it_was_made_from() {
    let scene = Scene::new();
    let alice = scene.alice();
    let long = alice.attenuate(&Attenuation::new().lifetime(Duration::MAX)).unwrap();
    assert_eq!(long.whoami().unwrap().expires_at, alice.whoami().unwrap().expires_at);
    let short = alice.attenuate(&Attenuation::new().lifetime(Duration::from_secs(60))).unwrap();
    let child = short.attenuate(&Attenuation::new().lifetime(HOUR)).unwrap();
    scene.clock.advance(Duration::from_secs(60) + MORE);
    for ended in [&short, &child] {
        assert_eq!(reason(ended.usage()), Reason::IdentityExpired);
        assert!(ended.attenuate(&Attenuation::new()).is_err());
    }
    assert!(long.usage().is_ok());
    scene.clock.advance(HOUR + MORE);
    assert_eq!(reason(long.usage()), Reason::IdentityExpired);
}

#[test]
fn a_detached_job_has_its_own_bounded_life() {
    let scene = Scene::new();
    let without_policy = scene.alice();
    assert_eq!(reason(without_policy.detach(HOUR)), Reason::NotFound);
    let alice = scene.owned();
    let notes = alice.attenuate(&Attenuation::new().shared("notes").unwrap()).unwrap();
    let job = notes.detach(24 * HOUR).unwrap();
    let bounded = alice.attenuate(&Attenuation::new().lifetime(2 * HOUR)).unwrap();
    let bounded_job = bounded.detach(24 * HOUR).unwrap();
    for refused in [job.detach(HOUR), job.attenuate(&Attenuation::new()).unwrap().detach(HOUR), alice.detach(25 * HOUR)]
    {
        assert_eq!(reason(refused), Reason::NotFound);
    }
    for (life, kind) in [(Duration::ZERO, ErrorKind::InvalidInput), (Duration::MAX, ErrorKind::InvalidInput)] {
        assert_eq!(alice.detach(life).unwrap_err().kind(), kind);
    }
    let entries = alice.audit().entries(1, 100).unwrap();
    let detached: Vec<_> = entries.iter().filter(|entry| entry.action == AuditAction::Detach).collect();
    assert_eq!(detached.len(), 2);
    assert_eq!(detached[0].user.as_ref(), Some(alice.user()));
    assert_eq!(detached[0].key, Some(format!("until {}", job.whoami().unwrap().expires_at.as_seconds())));

    scene.clock.advance(HOUR + MORE);
    assert_eq!(reason(alice.usage()), Reason::IdentityExpired);
    assert_eq!(reason(notes.memories("notes").unwrap().exists("k")), Reason::IdentityExpired);
    let jobs = job.memories("notes").unwrap();
    jobs.put(Memory::new("k")).unwrap();
    assert!(job.whoami().unwrap().detached);
    // Narrow as it was.
    assert_eq!(reason(job.memories("plans").unwrap().exists("k")), Reason::NotFound);
    assert!(bounded_job.usage().is_ok());
    scene.clock.advance(HOUR + MORE);
    assert_eq!(reason(bounded_job.usage()), Reason::IdentityExpired);
    let acme = TenantId::new("acme").unwrap();
    scene.world.operator().suspend(&acme).unwrap();
    assert_eq!(reason(jobs.exists("k")), Reason::TenantSuspended);
    scene.world.operator().resume(&acme).unwrap();
    // A policy that takes the role away ends what the job may do.
    let again = scene.alice();
    let handed = again
        .policy()
        .unwrap()
        .assign(Principal::user(watertight::UserId::new(again.user().issuer().clone(), "bob").unwrap()), "owner");
    again.set_policy(&handed.unwrap().unassign(&Principal::user(again.user().clone()), "owner")).unwrap();
    assert_eq!(reason(jobs.exists("k")), Reason::NotFound);
    scene.clock.advance(24 * HOUR + MORE);
    assert_eq!(reason(jobs.exists("k")), Reason::IdentityExpired);
}
