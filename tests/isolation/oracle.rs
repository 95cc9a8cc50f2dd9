//! No oracle of existence: for every operation, what is absent, what is another's and what is forbidden look the same.
//!
//! Each operation is run in two worlds that differ only in what its caller must not know. Its answer is the same in both,
//! and so is everything that can be seen afterwards.

use watertight::{Error, Policy, Reason, Role, UserId};

use super::*;

/// A world with three tenants, none of them filled yet. The clock stands still, so that two worlds in which as much is done
/// count the same times.
fn world() -> Scene {
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
    let scene = Scene { world, clock };
    for tenant in ["acme", "zoo", "yak"] {
        scene.world.provision(tenant).unwrap();
    }
    scene
}

/// Without what is random in every world: ids of memories and sealed cursors.
fn plain(text: &str) -> String {
    ["MemoryId(", "Cursor(", "ApiKeyId("].iter().fold(text.to_owned(), |text, random| {
        let mut parts = text.split(random);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |all, part| all + random + part.split_once(')').map_or("", |(_, rest)| rest))
    })
}

fn said(answer: &Result<Fingerprint>) -> String {
    match answer {
        Ok(said) => plain(said),
        Err(error) => format!("{error} {error:?} {:?} {:?}", error.kind(), error.retry_after()),
    }
}

/// Runs the operation as alice, and gives its answer with what is to be seen afterwards: of acme, by both its users and by
/// whoever reads what was added to the trail.
fn run(scene: &Scene, row: &Row) -> (Result<Fingerprint>, String) {
    let before = scene.hands("acme", "root").audit.verify().map_or(0, |head| head.entries);
    let alice = scene.hands("acme", "alice");
    let answer = (row.run)(&alice);
    let trail = scene.hands("acme", "root").audit.entries(before + 1, 1_000).map(|mut entries| {
        // The id of a new API key is random.
        let new_keys = entries.iter_mut().filter(|entry| entry.action == AuditAction::CreateApiKey);
        new_keys.for_each(|entry| entry.key = None);
        format!("{entries:?}")
    });
    let seen = scene.everything_but_the_trail("acme").iter().map(|text| plain(text)).collect::<Vec<_>>();
    (answer, format!("{trail:?} {seen:#?}"))
}

fn assert_same(row: &Row, one: &Scene, other: &Scene, what: &str) -> Result<Fingerprint> {
    let ((answer, effects), (other_answer, other_effects)) = (run(one, row), run(other, row));
    assert_eq!(said(&answer), said(&other_answer), "{} of {what}", row.method);
    let different = effects.lines().zip(other_effects.lines()).find(|(one, other)| one != other);
    assert_eq!(different, None, "after {} of {what}", row.method);
    assert_eq!(effects.len(), other_effects.len(), "after {} of {what}", row.method);
    answer
}

#[test]
fn what_another_tenant_has_looks_like_what_nobody_has() {
    for row in table() {
        let (there, absent) = (world(), world());
        there.seed("zoo");
        absent.seed("yak");
        let answer = assert_same(&row, &there, &absent, "another tenant's");
        assert!(answer.err().is_none_or(|error| error == not_found()), "{}", row.method);
    }
}

#[test]
fn what_another_user_has_looks_like_what_nobody_has() {
    // The head of the trail is a hash over all of it, names included that the trail itself does not tell.
    for row in table().into_iter().filter(|row| row.method != "Audit::verify") {
        let [there, absent] = ["notes", "other"].map(|namespace| {
            let scene = world();
            let bob = scene.hands("acme", "bob");
            for key in ["k", "only alice"] {
                bob.tenant.private(namespace).unwrap().put(Memory::new(key).vector(vec![1.0, 0.0, 0.0])).unwrap();
            }
            let name = if namespace == "notes" { "ONLY_ALICE" } else { "ONLY_OTHER" };
            bob.credentials.put(name, &Credential::new("of bob")).unwrap();
            scene
        });
        let ((answer, _), (other, _)) = (run(&there, &row), run(&absent, &row));
        assert_eq!(said(&answer), said(&other), "{} of another user's", row.method);
    }
}

fn not_found() -> Error {
    TenantSpec::new("acme").and_then(|_| world().world.handle("nowhere", "alice").map(|_| ())).unwrap_err()
}

/// Root owns the tenant, and alice has these roles.
fn govern(scene: &Scene, of_alice: &[&str]) {
    let user = |name| Principal::user(UserId::new(Issuer::authority(), name).unwrap());
    let closed = Role::new("closed").unwrap().deny(Scopes::ALL, "*").unwrap();
    let policy = Policy::new().role(closed).unwrap().assign(user("root"), "owner").unwrap();
    let policy = of_alice.iter().fold(policy, |policy, role| policy.assign(user("alice"), role).unwrap());
    scene.hands("acme", "root").tenant.set_policy(&policy).unwrap();
}

#[test]
fn what_is_forbidden_looks_like_what_is_absent_whether_it_is_there_or_not() {
    let absent = not_found();
    assert_eq!((absent.to_string().as_str(), absent.reason()), ("not found", &Reason::NotFound));
    for row in table() {
        let [there, empty] = [true, false].map(|is_there| {
            let scene = world();
            scene.seed(if is_there { "acme" } else { "yak" });
            govern(&scene, &[]);
            scene
        });
        let answer = assert_same(&row, &there, &empty, "what is forbidden");
        if row.needs != Scopes::NONE {
            assert_eq!(answer.expect_err(row.method), absent, "{}", row.method);
        }
    }
}

#[test]
fn a_denied_namespace_looks_the_same_whether_it_is_there_or_not() {
    let absent = not_found();
    let mut refused = 0;
    for row in table() {
        let [there, empty] = [true, false].map(|is_there| {
            let scene = world();
            // Nothing of alice's own, and of the shared ones one that is there or is not.
            let name = if is_there { "notes" } else { "other" };
            let root = scene.hands("acme", "root").tenant.memories(name).unwrap();
            for key in ["k", "l", "only zoo"] {
                root.put(Memory::new(key).text("shared").vector(vec![1.0, 0.0, 0.0])).unwrap();
            }
            govern(&scene, &["admin", "closed"]);
            scene
        });
        // An admin reads the trail, where names of what the tenant shares stand.
        if row.method.starts_with("Audit::") {
            continue;
        }
        let answer = assert_same(&row, &there, &empty, "a denied namespace");
        // It is told to an admin what is wrong with a policy.
        if let Err(error) = answer
            && !["TenantHandle::set_policy", "TenantHandle::detach"].contains(&row.method)
        {
            assert_eq!(error, absent, "{}", row.method);
            refused += 1;
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}
