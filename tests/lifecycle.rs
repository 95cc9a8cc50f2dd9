//! A tenant's life: made, stopped, started again, destroyed, made again as another; and who may see to it.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::disk::SystemDisk;
use watertight::{
    Attestation, Engine, ErrorKind, Issuer, List, Memory, OperatorAction, Reason, Recall, Result, Scopes, TenantHandle,
    TenantId, TenantSpec, TenantStatus, TestClock, Timestamp, UserId,
};

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

fn kind<T>(answer: Result<T>) -> ErrorKind {
    answer.err().expect("a refusal").kind()
}

/// An engine in a directory of its own, by a clock that the test sets.
struct Scene {
    world: World,
    clock: Arc<TestClock>,
    directory: tempfile::TempDir,
}

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = TestClock::at(START);
        let world = World::with_clock(&directory.path().join("data"), Arc::new(SystemDisk), clock.clone()).unwrap();
        Self { world, clock, directory }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Closes the engine and opens the directory again, with a clock that has gone on from where this one is.
    fn reopened(self) -> Self {
        let Self { world, clock, directory } = self;
        // Handles that the test still holds would keep the directory.
        world.engine.close().unwrap();
        let world = World::with_clock(&directory.path().join("data"), Arc::new(SystemDisk), clock.clone()).unwrap();
        Self { world, clock, directory }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.data(), &mut found);
        found.sort();
        found
    }
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every kind of operation once; the first error, or nothing.
fn operate(tenant: &TenantHandle) -> [Result<()>; 6] {
    let notes = tenant.memories("notes").unwrap();
    [
        notes.put(Memory::new("k").text("text").vector(vec![1.0, 2.0])).map(|_| ()),
        notes.get("k").map(|_| ()),
        notes.list(&List::new()).map(|_| ()),
        notes.recall(&Recall::vector(&[1.0, 0.0])).map(|_| ()),
        tenant.usage().map(|_| ()),
        tenant.audit().verify().map(|_| ()),
    ]
}

fn assert_all(tenant: &TenantHandle, expected: Option<ErrorKind>) {
    for (at, answer) in operate(tenant).into_iter().enumerate() {
        assert_eq!(answer.err().map(|error| error.kind()), expected, "operation {at}");
    }
}

#[test]
fn operators_provision_list_and_inspect() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    let mut names: Vec<_> = (0..23).map(|number| format!("tenant-{number}")).collect();
    names.extend(["Z", "a", "acme", "acme-evil", "_"].map(str::to_owned));
    for name in &names {
        operator.provision(TenantSpec::new(name).unwrap()).unwrap();
    }
    names.sort();
    for limit in [1, 2, 5, 7, 27, 28, 29, 1_000] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = operator.list(after.as_ref(), limit).unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.tenant.clone());
            listed.extend(page.into_iter().map(|info| info.tenant.as_str().to_owned()));
        }
        assert_eq!(listed, names, "in pages of {limit}");
    }
    assert_eq!(kind(operator.list(None, 0)), ErrorKind::InvalidInput);
    assert_eq!(kind(operator.list(None, 1_001)), ErrorKind::InvalidInput);
    // A page goes on behind a name whether it exists or not.
    assert_eq!(operator.list(Some(&id("acme-f")), 1).unwrap()[0].tenant, id("tenant-0"));

    let issuer = Issuer::new("https://login.example.org/").unwrap();
    let owner = UserId::new(issuer.clone(), "auth0|5f").unwrap();
    let spec = TenantSpec::new("full").unwrap().plan("pro").trusts(issuer.clone()).owner(owner.clone());
    let made = operator.provision(spec).unwrap();
    assert_eq!(made, operator.inspect(&id("full")).unwrap());
    assert_eq!((made.status, made.plan.as_deref()), (TenantStatus::Active, Some("pro")));
    assert_eq!((made.issuers, made.owners), (vec![issuer], vec![owner]));
    assert!(made.created_at >= START);
    let purge = |name: &str| operator.purge(&id(name)).map(|_| ());
    for answer in [operator.inspect(&id("full-")).map(|_| ()), operator.suspend(&id("ful")), purge("F")] {
        assert_eq!(kind(answer), ErrorKind::NotFound);
    }
}

#[test]
fn a_name_is_given_once() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    let before = (scene.files(), scene.world.operator().inspect(&id("acme")).unwrap());
    for _ in 0..2 {
        let refused = scene.world.provision("acme").unwrap_err();
        assert_eq!((refused.kind(), refused.reason()), (ErrorKind::Conflict, &Reason::TenantExists));
        scene.world.operator().suspend(&id("acme")).unwrap();
    }
    scene.world.operator().resume(&id("acme")).unwrap();
    assert_eq!((scene.files(), scene.world.operator().inspect(&id("acme")).unwrap()), before);
}

#[test]
fn specifications_are_bounded() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    let spec = || TenantSpec::new("acme").unwrap();
    let issuer = |number: usize| Issuer::new(&format!("https://{number}/")).unwrap();
    let issuers = |count| (0..count).fold(spec(), |spec, number| spec.trusts(issuer(number)));
    let owners = |count| (0..count).fold(spec(), |spec, number| spec.owner(UserId::new(issuer(number), "a").unwrap()));
    for (what, spec) in [("plan", spec().plan("p".repeat(257))), ("issuers", issuers(65)), ("owners", owners(65))] {
        let refused = operator.provision(spec).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{what}");
        assert!(refused.to_string().contains(what), "{refused}");
    }
    assert_eq!(operator.list(None, 10).unwrap(), []);
    operator.provision(issuers(64).plan("p".repeat(256))).unwrap();
}

#[test]
fn suspension_stops_live_handles_at_their_next_operation_and_resumption_lets_them_go_on() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    let identity = scene.world.identity("acme", "alice", Scopes::ALL);
    let live = scene.world.engine.tenant(&identity).unwrap();
    let notes = live.memories("notes").unwrap();
    for _ in 0..3 {
        assert_all(&live, None);
        scene.world.operator().suspend(&id("acme")).unwrap();
        // Twice is the same as once.
        scene.world.operator().suspend(&id("acme")).unwrap();
        assert_eq!(scene.world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Suspended);
        assert_all(&live, Some(ErrorKind::Unavailable));
        assert_eq!(*notes.get("k").unwrap_err().reason(), Reason::TenantSuspended);
        assert_eq!(kind(scene.world.engine.tenant(&identity)), ErrorKind::Unavailable);
        scene.world.operator().resume(&id("acme")).unwrap();
        assert_eq!(scene.world.operator().inspect(&id("acme")).unwrap().status, TenantStatus::Active);
    }
    assert_all(&live, None);
    assert_eq!(notes.get("k").unwrap().version, 4, "three puts in the loop and one after it, none while suspended");
}

#[test]
fn a_suspended_state_and_everything_else_survive_reopening() {
    let scene = Scene::new();
    for name in ["acme", "zoo"] {
        scene.world.provision(name).unwrap();
        assert_all(&scene.world.handle(name, "alice").unwrap(), None);
    }
    scene.world.operator().suspend(&id("zoo")).unwrap();
    let see = |scene: &Scene| {
        let acme = scene.world.handle("acme", "alice").unwrap();
        let notes = acme.memories("notes").unwrap();
        let operator = scene.world.operator();
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            operator.list(None, 10).unwrap(),
            operator.audit(1, 1_000).unwrap(),
            operator.verify_audit().unwrap(),
            notes.list(&List::new()).unwrap(),
            notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap(),
            acme.usage().unwrap(),
            acme.audit().entries(1, 1_000).unwrap(),
        )
    };
    let (before, files) = (see(&scene), scene.files());
    let mut scene = scene;
    for _ in 0..3 {
        scene = scene.reopened();
        assert_eq!(see(&scene), before);
        assert_eq!(scene.files(), files);
        assert_eq!(kind(scene.world.handle("zoo", "alice")), ErrorKind::Unavailable);
    }
    scene.world.operator().resume(&id("zoo")).unwrap();
    scene.world.handle("zoo", "alice").unwrap().memories("notes").unwrap().get("k").unwrap();
}

#[test]
fn a_purge_ends_handles_for_ever_and_removes_every_file() {
    let scene = Scene::new();
    let empty = scene.files();
    scene.world.provision("acme").unwrap();
    scene.world.provision("zoo").unwrap();
    let zoo = scene.world.handle("zoo", "alice").unwrap();
    assert_all(&zoo, None);
    let with_both = scene.files();
    assert_eq!(with_both.len(), empty.len() + 4);
    let identity = scene.world.identity("acme", "alice", Scopes::ALL);
    let live = scene.world.engine.tenant(&identity).unwrap();
    assert_all(&live, None);
    let notes = live.memories("notes").unwrap();
    let acme = scene.world.operator().inspect(&id("acme")).unwrap().incarnation;
    assert_eq!(kind(scene.world.operator().tombstone(acme)), ErrorKind::NotFound);
    let incarnation = acme.to_string();
    let names_acme = |path: &PathBuf| path.to_string_lossy().contains(&incarnation);
    assert_eq!(with_both.iter().filter(|path| names_acme(path)).count(), 2, "a key and a data file");

    scene.world.operator().purge(&id("acme")).unwrap();
    let left = scene.files();
    assert_eq!(left.len(), empty.len() + 2);
    assert!(!left.iter().any(names_acme));
    assert!(left.iter().all(|path| with_both.contains(path)), "nothing else took their place");
    assert_all(&live, Some(ErrorKind::NotFound));
    assert_eq!(kind(notes.get("k")), ErrorKind::NotFound);
    assert_eq!(kind(scene.world.engine.tenant(&identity)), ErrorKind::NotFound);
    for answer in [
        scene.world.operator().purge(&id("acme")).map(|_| ()),
        scene.world.operator().suspend(&id("acme")),
        scene.world.operator().resume(&id("acme")),
        scene.world.operator().inspect(&id("acme")).map(|_| ()),
    ] {
        assert_eq!(kind(answer), ErrorKind::NotFound);
    }
    assert_all(&live, Some(ErrorKind::NotFound));
    assert_all(&zoo, None);
    let tombstone = scene.world.operator().tombstone(acme).unwrap();
    assert!(tombstone.tenant == id("acme") && tombstone.purged_at >= START);
    let scene = scene.reopened();
    assert_eq!(scene.world.operator().tombstone(acme).unwrap(), tombstone);
    assert_eq!(scene.files(), left);
    assert_eq!(scene.world.operator().list(None, 10).unwrap().len(), 1);
}

#[test]
fn a_suspended_or_never_opened_tenant_can_be_purged() {
    let scene = Scene::new();
    let empty = scene.files();
    scene.world.provision("suspended").unwrap();
    let live = scene.world.handle("suspended", "alice").unwrap();
    assert_all(&live, None);
    scene.world.operator().suspend(&id("suspended")).unwrap();
    scene.world.provision("unopened").unwrap();
    for name in ["suspended", "unopened"] {
        scene.world.operator().purge(&id(name)).unwrap();
    }
    assert_all(&live, Some(ErrorKind::NotFound));
    assert_eq!(scene.files(), empty);
}

#[test]
fn a_name_made_again_is_another_tenant() {
    let scene = Scene::new();
    let mut dead: Vec<TenantHandle> = Vec::new();
    let mut identities = Vec::new();
    let mut incarnations = Vec::new();
    let files = scene.files().len();
    for round in 1..=20 {
        // Attested while there is no such tenant.
        identities.push(scene.world.identity("acme", "alice", Scopes::ALL));
        scene.world.provision("acme").unwrap();
        incarnations.push(scene.world.operator().inspect(&id("acme")).unwrap().incarnation);
        let identity = scene.world.identity("acme", "alice", Scopes::ALL);
        let fresh = scene.world.engine.tenant(&identity).unwrap();
        let notes = fresh.memories("notes").unwrap();
        assert_eq!(fresh.usage().unwrap(), watertight::Usage::default());
        assert_eq!(fresh.audit().entries(1, 10).unwrap(), []);
        assert_eq!(kind(notes.get("k")), ErrorKind::NotFound);
        assert_eq!(notes.list(&List::new()).unwrap().memories, []);
        assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap(), []);
        for old in &dead {
            assert_all(old, Some(ErrorKind::NotFound));
        }
        for old in &identities {
            assert_eq!(kind(scene.world.engine.tenant(old)), ErrorKind::NotFound, "round {round}");
        }
        assert_all(&fresh, None);
        assert_eq!(notes.get("k").unwrap().version, 1, "round {round}");
        assert_eq!(scene.files().len(), files + 2);
        scene.world.operator().purge(&id("acme")).unwrap();
        assert_eq!(scene.files().len(), files);
        dead.push(fresh);
        identities.push(identity);
    }
    incarnations.sort();
    incarnations.dedup();
    assert_eq!(incarnations.len(), 20);
    // Reopening forgets nothing of who is dead.
    let scene = scene.reopened();
    scene.world.provision("acme").unwrap();
    for old in &identities {
        assert_eq!(kind(scene.world.engine.tenant(old)), ErrorKind::NotFound);
    }
    assert_eq!(scene.world.operator().verify_audit().unwrap().entries, 20 * 3 + 1);
}

#[test]
fn operators_are_audited() {
    let scene = Scene::new();
    let names =
        |name: &str| scene.world.engine.operator(&scene.world.authority.attest_operator(name).unwrap()).unwrap();
    let (ann, ben) = (names("ann@example.org"), names("ben@example.org"));
    ann.provision(TenantSpec::new("acme").unwrap()).unwrap();
    let incarnation = ann.inspect(&id("acme")).unwrap().incarnation;
    scene.clock.advance(Duration::from_secs(5));
    ben.suspend(&id("acme")).unwrap();
    ben.resume(&id("acme")).unwrap();
    // What was refused, and what only looked, has no entry.
    assert_eq!(kind(ann.provision(TenantSpec::new("acme").unwrap())), ErrorKind::Conflict);
    assert_eq!(kind(ann.purge(&id("absent"))), ErrorKind::NotFound);
    ann.list(None, 10).unwrap();
    ann.purge(&id("acme")).unwrap();
    let entries = ann.audit(1, 1_000).unwrap();
    let who: Vec<_> = entries.iter().map(|entry| (entry.operator.as_deref().unwrap(), entry.action)).collect();
    let (a, b) = ("ann@example.org", "ben@example.org");
    use OperatorAction::{Provision, Purge, Purged, Resume, Suspend};
    assert_eq!(who, [(a, Provision), (b, Suspend), (b, Resume), (a, Purge), (a, Purged)]);
    let acme = (Some(id("acme")), Some(incarnation));
    assert!(entries.iter().all(|entry| (entry.tenant.clone(), entry.incarnation) == acme));
    assert!(entries.is_sorted_by_key(|entry| entry.at));
    assert!(entries[1].at >= START.after(Duration::from_secs(5)));
    assert_eq!(ann.verify_audit().unwrap().entries, 5);
    assert_eq!(ann.audit(4, 1).unwrap(), entries[3..4]);
    assert_eq!(ann.audit(6, 1_000).unwrap(), []);
    assert_eq!(ann.audit(1, 0).unwrap(), []);
}

#[test]
fn an_operator_expires() {
    let scene = Scene::new();
    let operator = scene.world.operator();
    scene.world.provision("acme").unwrap();
    let incarnation = operator.inspect(&id("acme")).unwrap().incarnation;
    let kept = scene.world.authority.attest_operator("ops").unwrap();
    let receipt = operator.rekey(&id("acme"), |_| ControlFlow::Continue(())).unwrap();
    scene.clock.advance(Duration::from_secs(15 * 60 + 1));
    let refused = operator.list(None, 10).unwrap_err();
    assert_eq!(*refused.reason(), Reason::IdentityExpired);
    for answer in [
        operator.provision(TenantSpec::new("zoo").unwrap()).map(|_| ()),
        operator.inspect(&id("acme")).map(|_| ()),
        operator.inspect(&id("absent")).map(|_| ()),
        operator.suspend(&id("acme")),
        operator.resume(&id("acme")),
        operator.purge(&id("acme")).map(|_| ()),
        operator.purge(&id("absent")).map(|_| ()),
        operator.rekey(&id("acme"), |_| ControlFlow::Continue(())).map(|_| ()),
        operator.tombstone(incarnation).map(|_| ()),
        operator.receipt(incarnation).map(|_| ()),
        operator.verify_receipt(&receipt).map(|_| ()),
        operator.audit(1, 10).map(|_| ()),
        operator.rotate_root_key(&support::world::root_key()),
        operator.rotate_engine_key(&support::world::root_key(), |_| std::ops::ControlFlow::Continue(())).map(|_| ()),
        operator.engine_keys().map(|_| ()),
        operator.retire_engine_key(1),
        operator.retire_engine_key(9),
        operator.verify_audit().map(|_| ()),
        scene.world.engine.operator(&kept).map(|_| ()),
    ] {
        assert_eq!(answer.unwrap_err(), refused);
    }
    assert_eq!(scene.world.operator().list(None, 10).unwrap().len(), 1);
}

#[test]
fn identities_and_operators_of_another_engine_are_refused() {
    let (here, there) = (Scene::new(), Scene::new());
    for scene in [&here, &there] {
        scene.world.provision("acme").unwrap();
    }
    // Attested after both were provisioned, and by the same root key.
    let stranger = there.world.identity("acme", "alice", Scopes::ALL);
    assert_eq!(kind(here.world.engine.tenant(&stranger)), ErrorKind::Unauthenticated);
    let absent = there.world.identity("absent", "alice", Scopes::ALL);
    let refused = here.world.engine.tenant(&stranger).unwrap_err();
    assert_eq!(here.world.engine.tenant(&absent).unwrap_err(), refused);
    let operator = there.world.authority.attest_operator("ops").unwrap();
    assert_eq!(here.world.engine.operator(&operator).unwrap_err(), refused);
}

#[test]
fn an_issuer_that_is_not_trusted_learns_nothing() {
    let scene = Scene::new();
    let elsewhere = Issuer::new("https://login.example.org/").unwrap();
    // The owner's subject is right, its issuer is another.
    let owner = UserId::new(elsewhere.clone(), "alice").unwrap();
    scene.world.operator().provision(TenantSpec::new("acme").unwrap().trusts(elsewhere).owner(owner)).unwrap();
    let absent = scene.world.handle("absent", "alice").unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    assert_eq!(scene.world.handle("acme", "alice").unwrap_err(), absent);
    scene.world.operator().suspend(&id("acme")).unwrap();
    assert_eq!(scene.world.handle("acme", "alice").unwrap_err(), absent);
    scene.world.operator().resume(&id("acme")).unwrap();
    assert_eq!(scene.world.handle("acme", "alice").unwrap_err(), absent);
}

#[test]
fn an_identity_from_before_a_suspended_incarnation_learns_nothing() {
    let scene = Scene::new();
    let early = scene.world.identity("acme", "alice", Scopes::ALL);
    let absent = scene.world.handle("acme", "alice").unwrap_err();
    scene.world.provision("acme").unwrap();
    assert_eq!(scene.world.engine.tenant(&early).unwrap_err(), absent);
    scene.world.operator().suspend(&id("acme")).unwrap();
    assert_eq!(scene.world.engine.tenant(&early).unwrap_err(), absent);
}

#[test]
fn owners_have_every_scope_and_others_what_they_were_given() {
    let scene = Scene::new();
    let owner = UserId::new(Issuer::authority(), "alice").unwrap();
    let other = UserId::new(Issuer::new("https://login.example.org/").unwrap(), "bob").unwrap();
    let spec = TenantSpec::new("acme").unwrap().trusts(Issuer::authority()).owner(owner).owner(other);
    scene.world.operator().provision(spec).unwrap();
    let enter = |user: &str| {
        let identity = scene.world.authority.attest(Attestation::new("acme", user).unwrap()).unwrap();
        scene.world.engine.tenant(&identity).unwrap()
    };
    let alice = enter("alice");
    assert_eq!(alice.scopes(), Scopes::ALL);
    assert_all(&alice, None);
    // Nobody by default, neither a namesake nor whoever has an owner's subject from another issuer.
    for user in ["Alice", "alice2", "bob", "carol"] {
        assert_eq!(enter(user).scopes(), Scopes::NONE);
        assert_all(&enter(user), Some(ErrorKind::NotFound));
        assert_eq!(kind(enter(user).memories("notes").unwrap().delete("k")), ErrorKind::NotFound);
    }
    alice.memories("notes").unwrap().get("k").unwrap();
}

#[test]
fn attestations_are_bounded() {
    let scene = Scene::new();
    let attest = |lifetime| scene.world.authority.attest(Attestation::new("acme", "alice").unwrap().lifetime(lifetime));
    assert_eq!(kind(attest(Duration::ZERO)), ErrorKind::InvalidInput);
    assert_eq!(kind(attest(Duration::from_secs(24 * 60 * 60) + Duration::from_nanos(1))), ErrorKind::InvalidInput);
    assert_eq!(kind(attest(Duration::MAX)), ErrorKind::InvalidInput);
    attest(Duration::from_secs(24 * 60 * 60)).unwrap();
    let groups = |count| Attestation::new("acme", "alice").unwrap().groups((0..count).map(|group| group.to_string()));
    assert_eq!(kind(scene.world.authority.attest(groups(129))), ErrorKind::InvalidInput);
    assert_eq!(scene.world.authority.attest(groups(128)).unwrap().groups().len(), 128);
    for name in ["", &"o".repeat(257)] {
        assert_eq!(kind(scene.world.authority.attest_operator(name)), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_clock_that_steps_back_revives_nobody() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    let identity = scene.world.identity("acme", "alice", Scopes::ALL);
    let operator_identity = scene.world.authority.attest_operator("ops").unwrap();
    let operator = scene.world.engine.operator(&operator_identity).unwrap();
    let live = scene.world.engine.tenant(&identity).unwrap();
    assert_all(&live, None);
    // The last moment still counts, the next one does not.
    scene.clock.set(Timestamp::from_micros(identity.expires_at().as_micros() - 1));
    assert_all(&live, None);
    scene.clock.set(identity.expires_at());
    assert_all(&live, Some(ErrorKind::Unauthenticated));
    for back in [Timestamp::from_micros(identity.expires_at().as_micros() - 1), START, Timestamp::from_micros(0)] {
        scene.clock.set(back);
        assert_all(&live, Some(ErrorKind::Unauthenticated));
        assert_eq!(kind(scene.world.engine.tenant(&identity)), ErrorKind::Unauthenticated);
        assert_eq!(kind(operator.list(None, 1)), ErrorKind::Unauthenticated);
    }
    drop((live, operator));
    let mut scene = scene;
    for _ in 0..2 {
        scene = scene.reopened();
        assert_eq!(kind(scene.world.engine.tenant(&identity)), ErrorKind::Unauthenticated);
        assert_eq!(kind(scene.world.engine.operator(&operator_identity)), ErrorKind::Unauthenticated);
        // Who is attested now is good for its whole life, in which time has to go on from where it was.
        assert_all(&scene.world.handle("acme", "alice").unwrap(), None);
    }
}

#[test]
fn a_clock_that_steps_back_over_a_crash_revives_nobody() {
    let (disk, clock) = (SimDisk::new(1), TestClock::at(START));
    let open = |disk: SimDisk| World::with_clock(Path::new("/data"), Arc::new(disk), clock.clone()).unwrap();
    let world = open(disk.clone());
    world.provision("acme").unwrap();
    let identity = world.identity("acme", "alice", Scopes::ALL);
    let live = world.engine.tenant(&identity).unwrap();
    clock.set(identity.expires_at());
    // Seen by this operation and by nothing else.
    assert_eq!(kind(live.usage()), ErrorKind::Unauthenticated);
    let images = [disk.crash(), disk.kill()];
    for image in images {
        clock.set(START);
        assert_eq!(kind(open(image).engine.tenant(&identity)), ErrorKind::Unauthenticated);
    }
}

#[test]
fn an_identity_issued_before_and_provisioned_after_the_clock_stepped_back_stays_apart() {
    let scene = Scene::new();
    let early = scene.world.identity("acme", "alice", Scopes::ALL);
    scene.clock.set(Timestamp::from_seconds(5));
    scene.world.provision("acme").unwrap();
    assert_eq!(kind(scene.world.engine.tenant(&early)), ErrorKind::NotFound);
    // The other way round: issued later, by a clock that reads earlier.
    assert_all(&scene.world.handle("acme", "alice").unwrap(), None);
    let scene = scene.reopened();
    assert_eq!(kind(scene.world.engine.tenant(&early)), ErrorKind::NotFound);
    assert_all(&scene.world.handle("acme", "alice").unwrap(), None);
}

#[test]
fn a_closed_engine_answers_unavailable_and_lets_go_of_the_directory() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    scene.world.provision("cold").unwrap();
    let live = scene.world.handle("acme", "alice").unwrap();
    let operator = scene.world.operator();
    assert_all(&live, None);
    let open = || Engine::builder(scene.data()).root_key(root_key()).clock(scene.clock.clone()).open();
    assert_eq!(kind(open()), ErrorKind::Unavailable);
    scene.world.engine.clone().close().unwrap();
    scene.world.engine.close().unwrap();
    assert_all(&live, Some(ErrorKind::Unavailable));
    assert_eq!(kind(scene.world.handle("acme", "alice")), ErrorKind::Unavailable);
    assert_eq!(kind(scene.world.handle("cold", "alice")), ErrorKind::Unavailable);
    for answer in [
        operator.provision(TenantSpec::new("zoo").unwrap()).map(|_| ()),
        operator.list(None, 1).map(|_| ()),
        operator.suspend(&id("acme")),
        operator.purge(&id("acme")).map(|_| ()),
        operator.rekey(&id("acme"), |_| ControlFlow::Continue(())).map(|_| ()),
        operator.verify_audit().map(|_| ()),
    ] {
        assert_eq!(kind(answer), ErrorKind::Unavailable);
    }
    // The old handle stays dead beside the new engine.
    let (again, authority) = open().unwrap();
    let identity = authority.attest(Attestation::new("acme", "alice").unwrap().scopes(Scopes::ALL)).unwrap();
    assert_all(&again.tenant(&identity).unwrap(), None);
    assert_all(&live, Some(ErrorKind::Unavailable));
    assert_eq!(again.operator(&authority.attest_operator("ops").unwrap()).unwrap().list(None, 9).unwrap().len(), 2);
}

#[test]
fn a_handle_keeps_the_directory_until_it_is_dropped() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    let live = scene.world.handle("acme", "alice").unwrap();
    let Scene { world, clock, directory } = scene;
    drop(world);
    assert_all(&live, None);
    let open = || World::with_clock(&directory.path().join("data"), Arc::new(SystemDisk), clock.clone());
    assert_eq!(kind(open()), ErrorKind::Unavailable);
    drop(live);
    assert_all(&open().unwrap().handle("acme", "alice").unwrap(), None);
}

/// Runs writers on four threads while `stop` stops the tenant. What began after `stop` had returned must fail with
/// `expected`; that it did begin later is known from the flag, read before the operation.
fn stop_under_load(world: &World, stop: impl FnOnce(), expected: ErrorKind) {
    let (stopped, enough) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, after) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let handles: Vec<_> = (0..4).map(|_| world.handle("acme", "alice").unwrap()).collect();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (thread, handle) in handles.iter().enumerate() {
            let (stopped, enough, before, after) = (&stopped, &enough, &before, &after);
            threads.push(scope.spawn(move || {
                let notes = handle.memories("notes").unwrap();
                for number in 0.. {
                    let late = stopped.load(Ordering::SeqCst);
                    let last = enough.load(Ordering::SeqCst);
                    let key = format!("{thread} {number}");
                    let answer = match number % 3 {
                        0 => notes.list(&List::new().limit(1)).map(|_| ()),
                        _ => notes.put(Memory::new(key).vector(vec![1.0, 2.0])).map(|_| ()),
                    };
                    match answer {
                        Ok(()) => assert!(!late, "an operation succeeded that began after the tenant was stopped"),
                        Err(error) => assert_eq!(error.kind(), expected, "{error}"),
                    }
                    let counter = if late { after } else { before };
                    counter.fetch_add(1, Ordering::SeqCst);
                    if last {
                        break;
                    }
                }
            }));
        }
        // A thread that has ended by now has failed; waiting for its work would never end.
        let wait_for = |counter: &AtomicUsize| {
            while counter.load(Ordering::SeqCst) < 40 && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::yield_now();
            }
        };
        wait_for(&before);
        stop();
        stopped.store(true, Ordering::SeqCst);
        wait_for(&after);
        enough.store(true, Ordering::SeqCst);
    });
}

#[test]
fn no_operation_succeeds_that_began_after_suspend_returned() {
    let scene = Scene::new();
    scene.world.provision("acme").unwrap();
    for _ in 0..5 {
        let stop = || scene.world.operator().suspend(&id("acme")).unwrap();
        stop_under_load(&scene.world, stop, ErrorKind::Unavailable);
        scene.world.operator().resume(&id("acme")).unwrap();
        scene.world.handle("acme", "alice").unwrap().audit().verify().unwrap();
    }
}

#[test]
fn no_operation_succeeds_that_began_after_purge_returned() {
    let scene = Scene::new();
    let files = scene.files();
    for _ in 0..5 {
        scene.world.provision("acme").unwrap();
        let stop = || drop(scene.world.operator().purge(&id("acme")).unwrap());
        stop_under_load(&scene.world, stop, ErrorKind::NotFound);
        assert_eq!(scene.files(), files);
    }
}

#[test]
fn nothing_succeeds_that_began_after_close_returned() {
    for _ in 0..5 {
        let scene = Scene::new();
        scene.world.provision("acme").unwrap();
        stop_under_load(
            &scene.world,
            || assert!(scene.world.engine.close().unwrap().is_clean()),
            ErrorKind::Unavailable,
        );
        let scene = scene.reopened();
        scene.world.handle("acme", "alice").unwrap().audit().verify().unwrap();
    }
}

/// Handles that are being made while the engine closes must not keep a file open behind the lock.
#[test]
fn no_handle_that_was_made_during_close_works_after_it() {
    for _ in 0..20 {
        let scene = Scene::new();
        for tenant in 0..4 {
            scene.world.provision(&format!("tenant-{tenant}")).unwrap();
        }
        let (ready, closed) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for tenant in 0..4 {
                let (scene, ready, closed) = (&scene, &ready, &closed);
                scope.spawn(move || {
                    ready.fetch_add(1, Ordering::SeqCst);
                    let name = format!("tenant-{tenant}");
                    let made: Vec<_> = std::iter::repeat_with(|| scene.world.handle(&name, "alice"))
                        .take_while(Result::is_ok)
                        .map(Result::unwrap)
                        .take(10_000)
                        .collect();
                    while !closed.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    for handle in made {
                        assert_all(&handle, Some(ErrorKind::Unavailable));
                    }
                });
            }
            while ready.load(Ordering::SeqCst) < 4 {
                std::thread::yield_now();
            }
            scene.world.engine.close().unwrap();
            closed.store(true, Ordering::SeqCst);
        });
    }
}

/// The directory is another process's as soon as `close` has returned: nothing may go on in it.
#[test]
fn no_provisioning_or_purge_goes_on_behind_close() {
    for _ in 0..10 {
        let scene = Scene::new();
        let empty = scene.files().len();
        let steps = AtomicUsize::new(0);
        let left = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for thread in 0..4 {
                let (scene, steps) = (&scene, &steps);
                threads.push(scope.spawn(move || {
                    for number in 0.. {
                        let name = format!("{thread}-{number}");
                        let made = scene.world.provision(&name);
                        let purged = made.and_then(|()| match number % 2 {
                            0 => scene.world.operator().purge(&id(&name)).map(|_| ()),
                            _ => Ok(()),
                        });
                        steps.fetch_add(1, Ordering::SeqCst);
                        if let Err(error) = purged {
                            assert_eq!(*error.reason(), Reason::Closed);
                            break;
                        }
                    }
                }));
            }
            while steps.load(Ordering::SeqCst) < 8 && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::yield_now();
            }
            scene.world.engine.close().unwrap();
            scene.files()
        });
        assert_eq!(scene.files(), left);
        let scene = scene.reopened();
        let tenants = scene.world.operator().list(None, 1_000).unwrap();
        assert!(tenants.iter().all(|info| info.status == TenantStatus::Active));
        assert_eq!(scene.files().len(), empty + 2 * tenants.len());
    }
}

#[test]
fn one_of_many_racing_provisions_wins_and_one_of_many_purges() {
    let scene = Scene::new();
    let files = scene.files();
    let race = |work: &(dyn Fn() -> Result<()> + Sync)| -> Vec<Result<()>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    for _ in 0..5 {
        let made = race(&|| scene.world.provision("acme"));
        assert_eq!(made.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(made.into_iter().filter_map(Result::err).all(|error| error.kind() == ErrorKind::Conflict));
        assert_all(&scene.world.handle("acme", "alice").unwrap(), None);
        // Two purges may share the work; each says that the tenant is gone, or that it found none.
        let purged = race(&|| scene.world.operator().purge(&id("acme")).map(|_| ()));
        assert!(purged.iter().any(Result::is_ok));
        assert!(purged.into_iter().filter_map(Result::err).all(|error| error.kind() == ErrorKind::NotFound));
        assert_eq!(scene.files(), files);
        assert_eq!(scene.world.operator().list(None, 1).unwrap(), []);
    }
    scene.world.operator().verify_audit().unwrap();
}
