//! Changes of what is allowed against many busy threads: no operation succeeds that began after the change returned, and
//! none is refused that ended before the next one began.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Action, Attenuation, AuditAction, Credential, ErrorKind, Issuer, List, Memory, Policy, Principal, Recall, Result,
    Role, Scopes, Selection, TenantHandle, TenantId, TenantSpec, UserId,
};

const THREADS: u64 = 16;
const ROUNDS: u64 = 12;

/// What holds between two changes. While a change is under way, nothing is known.
const ALLOWED: u64 = 0;
const REFUSED: u64 = 2;

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

type Operation = fn(&TenantHandle, u64) -> Result<()>;

const OPERATIONS: [Operation; 12] = [
    |tenant, _| tenant.memories("notes")?.get("k").map(|_| ()),
    |tenant, thread| tenant.memories("notes")?.put(Memory::new(format!("{thread}")).vector(vec![1.0, 0.0])).map(|_| ()),
    |tenant, _| tenant.memories("notes")?.recall(&Recall::vector(&[1.0, 0.0])).map(|_| ()),
    |tenant, _| tenant.memories("notes")?.count(&Selection::all()).map(|_| ()),
    |tenant, _| tenant.memories("notes")?.iter(List::new().limit(1)).collect::<Result<Vec<_>>>().map(|_| ()),
    |tenant, thread| tenant.private("own")?.put(Memory::new(format!("{thread}"))).map(|_| ()),
    |tenant, thread| tenant.transact(|t| t.memories("notes")?.put(Memory::new(format!("t{thread}")))).map(|_| ()),
    |tenant, _| tenant.memories("notes")?.delete_where(&Selection::all().key_prefix("none")).map(|_| ()),
    |tenant, _| tenant.credentials().with_secret("TOKEN", |_| ()),
    |tenant, _| tenant.namespaces().map(|_| ()),
    |tenant, _| tenant.require(Action::app("deploy")),
    |tenant, _| tenant.attenuate(&Attenuation::new().shared("notes")?)?.memories("notes")?.exists("k").map(|_| ()),
];

struct Scene {
    world: World,
    /// The number of the phase that began last; four to a round.
    phase: AtomicU64,
    stop: AtomicBool,
    /// Operations of each thread that began and ended within one phase in which it was known what is allowed.
    judged: [AtomicU64; THREADS as usize],
}

impl Scene {
    fn new() -> Self {
        let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
        let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("root"));
        world.operator().provision(spec).unwrap();
        let deployer = Role::new("deployer").unwrap().action("deploy").unwrap();
        let policy = Policy::new().role(deployer).unwrap();
        world.handle("acme", "root").unwrap().set_policy(&granted(policy)).unwrap();
        let bob = world.handle("acme", "bob").unwrap();
        bob.memories("notes").unwrap().put(Memory::new("k").vector(vec![1.0, 0.0])).unwrap();
        bob.credentials().put("TOKEN", &Credential::new("secret")).unwrap();
        Self { world, phase: AtomicU64::new(0), stop: AtomicBool::new(false), judged: Default::default() }
    }

    /// Works until it is stopped, and judges every answer.
    fn work(&self, tenant: &TenantHandle, thread: u64, refusal: ErrorKind) {
        let mut number = thread;
        while !self.stop.load(Ordering::SeqCst) {
            number += 1;
            let operation = OPERATIONS[(number % OPERATIONS.len() as u64) as usize];
            let before = self.phase.load(Ordering::SeqCst);
            let answer = operation(tenant, thread);
            let after = self.phase.load(Ordering::SeqCst);
            if before != after {
                continue;
            }
            let place = || format!("operation {} in phase {before}: {answer:?}", number % OPERATIONS.len() as u64);
            match before % 4 {
                ALLOWED => assert!(answer.is_ok(), "{}", place()),
                REFUSED => assert_eq!(answer.as_ref().err().map(|e| e.kind()), Some(refusal), "{}", place()),
                _ => continue,
            }
            self.judged[thread as usize].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Lets every thread do something in this phase.
    fn linger(&self) {
        let before: Vec<_> = self.judged.iter().map(|judged| judged.load(Ordering::SeqCst)).collect();
        let moved = |(judged, before): (&AtomicU64, &u64)| judged.load(Ordering::SeqCst) > *before;
        while !self.judged.iter().zip(&before).all(moved) && !self.stop.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    }

    fn storm(&self, refusal: ErrorKind, refuse: impl Fn(), allow: impl Fn()) {
        let bob = self.world.handle("acme", "bob").unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let bob = bob.clone();
                scope.spawn(move || {
                    // A thread that fails must not leave the others waiting for it.
                    let stopping = Stopping(&self.stop);
                    self.work(&bob, thread, refusal);
                    drop(stopping);
                });
            }
            let _stopping = Stopping(&self.stop);
            let next = || self.phase.fetch_add(1, Ordering::SeqCst);
            for _ in 0..ROUNDS {
                self.linger();
                next();
                refuse();
                next();
                self.linger();
                next();
                allow();
                next();
            }
        });
        assert!(self.phase.load(Ordering::SeqCst) == 4 * ROUNDS);
    }
}

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn granted(policy: Policy) -> Policy {
    let bob = || Principal::user(user("bob"));
    policy.assign(bob(), "member").unwrap().assign(bob(), "deployer").unwrap()
}

fn taken(policy: Policy) -> Policy {
    let bob = Principal::user(user("bob"));
    policy.unassign(&bob, "member").unassign(&bob, "deployer")
}

#[test]
fn a_role_that_is_taken_away_is_gone_when_the_change_returns() {
    let scene = Scene::new();
    let root = scene.world.handle("acme", "root").unwrap();
    let change = |how: fn(Policy) -> Policy| {
        root.set_policy(&how(root.policy().unwrap())).unwrap();
    };
    scene.storm(ErrorKind::NotFound, || change(taken), || change(granted));
    assert_eq!(root.policy().unwrap().version(), 1 + 2 * ROUNDS);
    root.audit().verify().unwrap();
    // In the order of the trail, too, nothing was changed by whoever had no role then.
    let (mut is_granted, mut from, mut changes) = (false, 1, 0);
    loop {
        let entries = root.audit().entries(from, 1_000).unwrap();
        for entry in &entries {
            let is_bobs = entry.user.as_ref() == Some(&user("bob")) && entry.action != AuditAction::Attempt;
            match &entry.key {
                Some(version) if entry.action == AuditAction::SetPolicy => {
                    is_granted = version.parse::<u64>().unwrap() % 2 == 1;
                }
                _ => assert!(is_granted || !is_bobs, "without a role: {entry:?}"),
            }
            changes += u64::from(is_bobs);
        }
        from += entries.len() as u64;
        if entries.is_empty() {
            break;
        }
    }
    assert!(changes > ROUNDS);
}

#[test]
fn a_suspended_tenant_serves_nothing_when_the_suspension_returns() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    let acme = TenantId::new("acme").unwrap();
    scene.storm(ErrorKind::Unavailable, || operator.suspend(&acme).unwrap(), || operator.resume(&acme).unwrap());
}

#[test]
fn a_revoked_handle_is_dead_when_the_revocation_returns() {
    let scene = Scene::new();
    let bob = scene.world.handle("acme", "bob").unwrap();
    for _ in 0..ROUNDS {
        let parent = bob.attenuate(&Attenuation::new()).unwrap();
        let child = parent.attenuate(&Attenuation::new().scopes(Scopes::ALL)).unwrap();
        let (revoked, began) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (child, revoked, began) = (child.clone(), &revoked, &began);
                scope.spawn(move || {
                    for number in thread.. {
                        let before = revoked.load(Ordering::SeqCst);
                        let answer = OPERATIONS[(number % OPERATIONS.len() as u64) as usize](&child, thread);
                        began.fetch_add(1, Ordering::SeqCst);
                        if before {
                            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unauthenticated);
                            return;
                        }
                    }
                });
            }
            while began.load(Ordering::SeqCst) < THREADS {
                thread::yield_now();
            }
            parent.withdraw();
            revoked.store(true, Ordering::SeqCst);
        });
    }
}
