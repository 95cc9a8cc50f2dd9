//! Owners of a tenant: named and left out by operators, at the next operation of live handles, and on record.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use support::hooked::HookedDisk;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Action, ApiKeySpec, Attenuation, Authored, ErrorKind, Impersonation, Issuer, Memory, OperatorAction, Principal,
    Reason, Result, Revocation, Scopes, TenantHandle, TenantId, TenantSpec, UserId,
};

struct Scene {
    world: World,
    disk: SimDisk,
}

impl Scene {
    /// Of a tenant whose owner is alice, by the operator's word.
    fn new() -> Self {
        let scene = Self::open(SimDisk::new(1));
        let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("alice"));
        scene.world.operator().provision(spec).unwrap();
        scene
    }

    fn open(disk: SimDisk) -> Self {
        Self { world: World::open(Path::new("/data"), Arc::new(disk.clone())).unwrap(), disk }
    }

    /// What a power cut leaves, opened.
    fn after_a_crash(&self) -> Self {
        Self::open(self.disk.crash())
    }

    fn enter(&self, user: &str, scopes: Scopes) -> TenantHandle {
        self.world.engine.tenant(&self.world.identity("acme", user, scopes)).unwrap()
    }

    fn set(&self, owners: &[&str]) {
        self.world.operator().set_owners(&acme(), owners.iter().map(|name| user(name))).unwrap();
    }
}

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn put(handle: &TenantHandle, key: &str) -> Result<()> {
    handle.memories("notes")?.put(Memory::new(key)).map(drop)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T>) {
    assert_eq!(*answer.unwrap_err().reason(), Reason::NotFound);
}

#[test]
fn who_is_no_owner_any_more_has_its_scopes_at_once() {
    let scene = Scene::new();
    let alice = scene.enter("alice", Scopes::READ);
    let narrowed = alice.attenuate(&Attenuation::new()).unwrap();
    // What small handles remember must not carry them past the change.
    let notes = alice.memories("notes").unwrap();
    notes.put(Memory::new("k")).unwrap();
    narrowed.usage().unwrap();
    alice.require(Action::app("deploy")).unwrap();
    scene.set(&["bob"]);
    assert_eq!((alice.scopes(), narrowed.scopes()), (Scopes::READ, Scopes::READ));
    is_refused(notes.put(Memory::new("k")));
    is_refused(narrowed.usage());
    is_refused(alice.require(Action::app("deploy")));
    assert!(notes.exists("k").unwrap());
    assert_eq!(alice.whoami().unwrap().scopes, Scopes::READ);
    is_refused(scene.enter("alice", Scopes::READ).usage());
    scene.enter("bob", Scopes::NONE).usage().unwrap();
}

#[test]
fn who_is_no_owner_any_more_has_what_the_policy_grants() {
    let scene = Scene::new();
    let (alice, carol) = (scene.enter("alice", Scopes::ALL), scene.enter("carol", Scopes::ALL));
    let policy = alice.policy().unwrap().assign(Principal::user(user("carol")), "owner").unwrap();
    alice.set_policy(&policy.clone().assign(Principal::user(user("alice")), "reader").unwrap()).unwrap();
    put(&alice, "k").unwrap();
    assert_eq!(alice.whoami().unwrap().roles, ["owner", "reader"]);
    scene.set(&[]);
    is_refused(put(&alice, "k"));
    assert!(alice.memories("notes").unwrap().exists("k").unwrap());
    assert_eq!(alice.whoami().unwrap().roles, ["reader"]);
    is_refused(alice.set_policy(&policy));
    carol.set_policy(&carol.policy().unwrap()).unwrap();
}

#[test]
fn who_becomes_an_owner_is_one_from_its_next_operation_on() {
    let scene = Scene::new();
    let bob = scene.enter("bob", Scopes::NONE);
    is_refused(bob.usage());
    scene.set(&["alice", "bob", "bob"]);
    bob.usage().unwrap();
    assert_eq!(bob.scopes(), Scopes::ALL);
    let owners = scene.world.operator().inspect(&acme()).unwrap().owners;
    assert_eq!(owners, [user("alice"), user("bob")]);
}

#[test]
fn who_waits_for_a_turn_is_asked_again() {
    let scene = Scene::new();
    let (alice, admin) = (scene.enter("alice", Scopes::READ), scene.enter("admin", Scopes::ALL));
    put(&alice, "early").unwrap();
    let (entered, is_in) = mpsc::channel();
    let (release, released) = mpsc::channel();
    std::thread::scope(|threads| {
        let slow = admin.clone();
        threads.spawn(move || {
            slow.transact(|t| {
                t.memories("notes")?.put(Memory::new("slow"))?;
                entered.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
        });
        is_in.recv().unwrap();
        let waiting: Vec<_> = (0..2).map(|_| threads.spawn(|| put(&alice, "late"))).collect();
        while admin.stats().unwrap().waiting_changes == 0 {
            std::thread::yield_now();
        }
        scene.set(&[]);
        release.send(()).unwrap();
        waiting.into_iter().for_each(|put| is_refused(put.join().unwrap()));
    });
    let notes = admin.memories("notes").unwrap();
    assert!(notes.exists("slow").unwrap() && !notes.exists("late").unwrap());
}

#[test]
fn nothing_that_begins_after_the_change_is_allowed_as_before() {
    let scene = Scene::new();
    let alice = scene.enter("alice", Scopes::READ);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let busy: Vec<_> = (0..8)
            .map(|_| {
                threads.spawn(|| {
                    loop {
                        let too_late = is_over.load(Ordering::SeqCst);
                        let answer = alice.usage();
                        assert!(!too_late || answer.is_err(), "an owner's operation began after the change");
                        if too_late {
                            return is_refused(answer);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..20 {
            scene.set(&["alice"]);
            scene.set(&[]);
        }
        is_over.store(true, Ordering::SeqCst);
        busy.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Between the maker's turn at the tenant, at which it still is an owner, and the catalog's, at which it is none.
#[test]
fn no_key_is_made_by_who_is_no_owner_any_more() {
    let (is_late, is_armed) = (Mutex::new(None::<Box<dyn FnOnce() + Send>>), AtomicBool::new(false));
    let late = Arc::new((is_late, is_armed));
    let hook = {
        let late = late.clone();
        Arc::new(move |operation: &'static str, path: &Path| {
            let is_the_tenants = operation == "sync" && path.ends_with("data.1.redb");
            if is_the_tenants && late.1.swap(false, Ordering::SeqCst) {
                late.0.lock().unwrap().take().unwrap()();
            }
        })
    };
    let disk = HookedDisk { disk: Arc::new(SimDisk::new(1)), hook, skips_syncs: false };
    let world = World::open(Path::new("/data"), Arc::new(disk)).unwrap();
    let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(user("alice"));
    world.operator().provision(spec).unwrap();
    let enter = |name, scopes| world.engine.tenant(&world.identity("acme", name, scopes)).unwrap();
    let (alice, admin) = (enter("alice", Scopes::ADMIN), enter("admin", Scopes::ALL));
    let spec = ApiKeySpec::new("report").unwrap().scopes(Scopes::WRITE);
    alice.api_keys().create(&spec).unwrap();
    let operator = world.operator();
    *late.0.lock().unwrap() = Some(Box::new(move || operator.set_owners(&acme(), []).unwrap()));
    late.1.store(true, Ordering::SeqCst);
    is_refused(alice.api_keys().create(&spec));
    assert!(!late.1.load(Ordering::SeqCst), "the owners were changed meanwhile");
    assert_eq!(admin.api_keys().list().unwrap().len(), 1);
}

#[test]
fn owners_stay_as_they_were_set_after_a_crash_and_a_rekeying() {
    let scene = Scene::new();
    let alice = scene.enter("alice", Scopes::READ);
    scene.set(&["bob"]);
    let again = scene.after_a_crash();
    is_refused(again.enter("alice", Scopes::READ).usage());
    again.enter("bob", Scopes::NONE).usage().unwrap();
    scene.world.operator().rekey(&acme(), |_| ControlFlow::Continue(())).unwrap();
    is_refused(alice.usage());
    scene.enter("bob", Scopes::NONE).usage().unwrap();
}

#[test]
fn a_suspended_tenant_gets_other_owners_and_one_that_is_not_there_none() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    operator.suspend(&acme()).unwrap();
    scene.set(&["bob"]);
    operator.resume(&acme()).unwrap();
    scene.enter("bob", Scopes::NONE).usage().unwrap();
    let many = (0..65).map(|number| user(&format!("{number}")));
    assert_eq!(operator.set_owners(&acme(), many).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(operator.inspect(&acme()).unwrap().owners, [user("bob")]);
    let absent = TenantId::new("absent").unwrap();
    assert_eq!(operator.set_owners(&absent, [user("bob")]).unwrap_err().kind(), ErrorKind::NotFound);
    operator.purge(&acme()).unwrap();
    assert_eq!(operator.set_owners(&acme(), [user("bob")]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_operators_trail_names_each_user_who_comes_and_goes() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    let before = operator.verify_audit().unwrap().entries;
    scene.set(&["alice", "bob"]);
    scene.set(&["bob", "alice"]);
    scene.set(&["carol"]);
    let trail = operator.audit(before + 1, 10).unwrap();
    let told: Vec<_> = trail.iter().map(|entry| (entry.action, entry.user.clone().unwrap())).collect();
    let (came, left) = (OperatorAction::AddOwner, OperatorAction::RemoveOwner);
    let users = ["bob", "bob", "alice", "carol"].map(user);
    assert_eq!(told, [came, left, left, came].into_iter().zip(users).collect::<Vec<_>>());
    assert!(trail.iter().all(|entry| entry.operator.as_deref() == Some("ops") && entry.tenant == Some(acme())));
    operator.verify_audit().unwrap();
}

/// Operators are who brings a tenant back whose last owner they have left out.
#[test]
fn the_last_owner_may_go_and_an_operator_names_another() {
    let scene = Scene::new();
    let alice = scene.enter("alice", Scopes::ALL);
    // She is the one who may change it, as an owner by the operator's word.
    let policy = alice.policy().unwrap().assign(Principal::Everyone, "reader").unwrap();
    alice.set_policy(&policy).unwrap();
    scene.set(&[]);
    is_refused(alice.set_policy(&policy));
    let bob = scene.enter("bob", Scopes::ALL);
    is_refused(bob.policy());
    scene.set(&["bob"]);
    let policy = bob.policy().unwrap().assign(Principal::user(user("bob")), "admin").unwrap();
    bob.set_policy(&policy).unwrap();
    scene.set(&[]);
    // From here on the policy itself keeps somebody.
    let nobody = bob.policy().unwrap().unassign(&Principal::user(user("bob")), "admin");
    assert_eq!(bob.set_policy(&nobody).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_owner_who_is_revoked_or_erased_is_an_owner_until_an_operator_ends_it() {
    let scene = Scene::new();
    let admin = scene.enter("admin", Scopes::ALL);
    let alice = scene.enter("alice", Scopes::NONE);
    put(&alice, "k").unwrap();
    admin.revoke(&Revocation::subject(alice.user())).unwrap();
    assert_eq!(*alice.usage().unwrap_err().reason(), Reason::IdentityRevoked);
    scene.enter("alice", Scopes::NONE).usage().unwrap();
    admin.erase_user(alice.user(), Authored::Goes, |_| ControlFlow::Continue(())).unwrap();
    let again = scene.enter("alice", Scopes::NONE);
    again.usage().unwrap();
    scene.set(&[]);
    is_refused(again.usage());
}

#[test]
fn an_operator_who_acts_for_a_user_gains_nothing_when_that_user_becomes_an_owner() {
    let scene = Scene::new();
    let look = Impersonation::new(acme(), user("bob"), "ticket 4711").lifetime(Duration::from_secs(60));
    let as_bob = scene.world.engine.tenant(&scene.world.operator().impersonate(&look).unwrap()).unwrap();
    scene.set(&["bob"]);
    assert_eq!(as_bob.scopes(), Scopes::READ);
    is_refused(as_bob.usage());
}
