//! What is absent, or older than it was, permits nothing: a page that is put back to an earlier authentic version among
//! newer ones never brings back a permission that was taken away.
//!
//! Each scene takes something away, goes on for a while, and is then opened once for every slot that some earlier version
//! of the file can be put into. What comes back as one whole earlier state is counted apart: only an anchor outside of
//! the file could tell it from the past. redb stops the process on some old pages, so the openings are another process's.
#![cfg(target_os = "linux")]

mod support;
#[path = "support/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::hooked::{copy_directory, without_syncs};
use support::world::{World, root_key};
use tokens::Signer;
use watertight::{
    ApiKeySpec, Credential, Engine, ErrorKind, Issuer, Jwks, JwtVerifier, List, Memory, Policy, Principal, Reason,
    Result, Revocation, Role, Scopes, Selection, TenantId, TenantSpec, TestClock, Timestamp, UserId,
};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.org/";
const SLOT: usize = 4_608;
const DATA_AT: usize = 16_384;
const DAY: Duration = Duration::from_secs(86_400);

const SCENE: &str = "WATERTIGHT_TEST_SCENE";
const DIRECTORY: &str = "WATERTIGHT_TEST_DIRECTORY";
const FROM: &str = "WATERTIGHT_TEST_FROM";

fn id(tenant: &str) -> TenantId {
    TenantId::new(tenant).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(Issuer::authority(), name).unwrap()
}

fn mallory() -> UserId {
    UserId::new(Issuer::new(ISSUER).unwrap(), "mallory").unwrap()
}

fn signer() -> Signer {
    Signer::ed25519("k", 1)
}

/// A token that was issued before anything was revoked.
fn token() -> String {
    signer().token(&json!({
        "iss": ISSUER, "aud": "api", "sub": "mallory", "tenant_id": "zoo", "scope": "read write", "jti": "t1",
        "iat": NOW + 30, "exp": NOW + 3_600,
    }))
}

fn open(directory: &Path, seconds: u64) -> Result<World> {
    let keys = Jwks::from_json(&signer().jwks_json())?;
    let verifier = JwtVerifier::new(Issuer::new(ISSUER)?, "api", keys)?;
    let clock = TestClock::at(Timestamp::from_seconds(NOW + seconds));
    let builder = Engine::builder(directory).root_key(root_key()).verifier(verifier).clock(clock);
    let (engine, authority) = builder.danger().disk(without_syncs(Arc::new(|_, _| {}))).open()?;
    Ok(World { engine, authority })
}

/// Which file's pages are put back.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Tenant,
    Catalog,
}

/// Something that is taken away.
struct Scene {
    name: &'static str,
    of: Of,
    before: fn(&World) -> String,
    take_away: fn(&World, &str),
    /// Whether it is still there. The text is what `before` gave.
    has: fn(&World, &str) -> Result<bool>,
}

fn nothing(_: &World) -> String {
    String::new()
}

fn enters(world: &World, bearer: &str) -> Result<bool> {
    world.engine.tenant(&world.engine.verify(bearer)?).map(|_| true)
}

fn has_any(world: &World, namespace: &str) -> Result<bool> {
    Ok(!world.handle("acme", "root")?.memories(namespace)?.list(&List::new())?.memories.is_empty())
}

/// Every row whose absence or earlier state would permit something.
const SCENES: [Scene; 15] = [
    Scene {
        name: "the policy",
        of: Of::Tenant,
        before: nothing,
        take_away: |world, _| {
            let role = Role::new("clerk").unwrap().permissions(Scopes::READ).deny(Scopes::ALL, "salaries").unwrap();
            let policy = Policy::new().assign(Principal::user(user("root")), "owner").unwrap().role(role).unwrap();
            let policy = policy.assign(Principal::user(user("bob")), "clerk").unwrap();
            world.handle("acme", "root").unwrap().set_policy(&policy).unwrap();
        },
        has: |world, _| world.handle("acme", "bob")?.memories("salaries")?.get("k1").map(|_| true),
    },
    Scene {
        name: "a role of the policy",
        of: Of::Tenant,
        before: |world| {
            let root = world.handle("acme", "root").unwrap();
            let policy = root.policy().unwrap().assign(Principal::user(user("root")), "owner").unwrap();
            root.set_policy(&policy.assign(Principal::user(user("bob")), "admin").unwrap()).unwrap();
            String::new()
        },
        take_away: |world, _| {
            let root = world.handle("acme", "root").unwrap();
            let policy = root.policy().unwrap().unassign(&Principal::user(user("bob")), "admin");
            root.set_policy(&policy).unwrap();
        },
        has: |world, _| Ok(world.handle("acme", "bob")?.whoami()?.allowed.contains(Scopes::ADMIN)),
    },
    Scene {
        name: "a deleted namespace",
        of: Of::Tenant,
        before: nothing,
        take_away: |world, _| {
            world.handle("acme", "root").unwrap().memories("salaries").unwrap().delete_namespace().unwrap();
        },
        has: |world, _| has_any(world, "salaries"),
    },
    Scene {
        name: "the former name of a namespace",
        of: Of::Tenant,
        before: nothing,
        take_away: |world, _| {
            world.handle("acme", "root").unwrap().memories("salaries").unwrap().rename("secret").unwrap();
        },
        has: |world, _| has_any(world, "salaries"),
    },
    Scene {
        name: "a secret that was rotated",
        of: Of::Tenant,
        before: |world| {
            world.handle("acme", "root").unwrap().credentials().put("TOKEN", &Credential::new("old")).unwrap();
            String::new()
        },
        take_away: |world, _| {
            let vault = world.handle("acme", "root").unwrap().credentials();
            vault.rotate("TOKEN", &Credential::new("new"), DAY).unwrap();
        },
        has: |world, _| world.handle("acme", "root")?.credentials().with_secret("TOKEN", |secret| secret == b"old"),
    },
    Scene {
        name: "a secret that was deleted",
        of: Of::Tenant,
        before: |world| {
            world.handle("acme", "root").unwrap().credentials().put("TOKEN", &Credential::new("old")).unwrap();
            String::new()
        },
        take_away: |world, _| world.handle("acme", "root").unwrap().credentials().delete("TOKEN").unwrap(),
        has: |world, _| world.handle("acme", "root")?.credentials().with_secret("TOKEN", |_| true),
    },
    Scene {
        name: "a use of an idempotency key",
        of: Of::Tenant,
        before: |world| {
            world.handle("acme", "root").unwrap().memories("notes").unwrap().put(Memory::new("once")).unwrap();
            String::new()
        },
        take_away: |world, _| {
            let notes = world.handle("acme", "root").unwrap().memories("notes").unwrap();
            notes.once("key").unwrap().put(Memory::new("once").text("second")).unwrap();
        },
        // Done twice, it makes a third version; asked before, the second.
        has: |world, _| {
            let notes = world.handle("acme", "root")?.memories("notes")?;
            let is_done = notes.get("once")?.version >= 2;
            let version = notes.once("key")?.put(Memory::new("once").text("second"))?.version;
            Ok(!is_done || version != 2)
        },
    },
    Scene {
        name: "a user's number",
        of: Of::Tenant,
        before: nothing,
        take_away: |world, _| {
            for name in ["carol", "dora"] {
                let diary = world.handle("acme", name).unwrap().private("diary").unwrap();
                diary.put(Memory::new("hers").text(name)).unwrap();
            }
        },
        // Somebody new has either user's rows, where a number was given twice; nobody has, where it was not.
        has: |world, _| {
            let diary = world.handle("acme", "newcomer")?.private("diary")?;
            diary.put(Memory::new("own"))?;
            Ok(diary.count(&Selection::all())? > 1 || world.handle("acme", "root")?.usage()?.users < 3)
        },
    },
    Scene {
        name: "a suspended tenant",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| world.operator().suspend(&id("zoo")).unwrap(),
        has: |world, _| world.handle("zoo", "anybody").map(|_| true),
    },
    Scene {
        name: "an issuer's trust",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| world.operator().set_issuers(&id("zoo"), [Issuer::authority()]).unwrap(),
        has: |world, _| enters(world, &token()),
    },
    Scene {
        name: "a user who was revoked",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| world.operator().revoke(&id("zoo"), &Revocation::subject(&mallory())).unwrap(),
        has: |world, _| enters(world, &token()),
    },
    Scene {
        name: "a token that was revoked",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| {
            let until = Timestamp::from_seconds(NOW + 3_600);
            let token = Revocation::token(mallory().issuer(), "t1", until).unwrap();
            world.operator().revoke(&id("zoo"), &token).unwrap();
        },
        has: |world, _| enters(world, &token()),
    },
    Scene {
        name: "everybody at a tenant",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| world.operator().revoke(&id("zoo"), &Revocation::everyone()).unwrap(),
        has: |world, _| enters(world, &token()),
    },
    Scene {
        name: "an API key",
        of: Of::Catalog,
        before: |world| {
            let keys = world.handle("zoo", "root").unwrap().api_keys();
            keys.create(&ApiKeySpec::new("k").unwrap().scopes(Scopes::READ)).unwrap().expose().to_owned()
        },
        take_away: |world, key| {
            let keys = world.handle("zoo", "root").unwrap().api_keys();
            keys.list().unwrap().iter().for_each(|info| keys.revoke(info.id).unwrap());
            assert_eq!(world.engine.verify(key).unwrap_err().kind(), ErrorKind::Unauthenticated);
        },
        has: enters,
    },
    Scene {
        name: "a purged tenant",
        of: Of::Catalog,
        before: nothing,
        take_away: |world, _| drop(world.operator().purge(&id("zoo")).unwrap()),
        has: |world, _| world.handle("zoo", "anybody").map(|_| true),
    },
];

fn scene(name: &str) -> &'static Scene {
    SCENES.iter().find(|scene| scene.name == name).unwrap()
}

/// Whether the file shows the last thing that was done in it: then it is not one earlier state as a whole.
fn is_newest(world: &World, of: Of) -> Result<bool> {
    match of {
        Of::Tenant => world.handle("acme", "root")?.memories("notes")?.exists("last"),
        Of::Catalog => Ok(world.operator().inspect(&id("last")).is_ok()),
    }
}

fn file(directory: &Path, of: Of) -> PathBuf {
    match of {
        Of::Catalog => directory.join("catalog.redb"),
        Of::Tenant => {
            let incarnation = fs::read_to_string(directory.join("../acme")).unwrap();
            directory.join("tenants").join(&incarnation[..2]).join(&incarnation).join("data.1.redb")
        }
    }
}

fn slot_at(number: usize) -> usize {
    DATA_AT + number * SLOT
}

/// Fills a directory: the scene with some work before and after it, and every state of its file at which the engine was
/// closed. Gives the text of the scene.
fn fill(base: &Path, scene: &Scene) -> (String, Vec<Vec<u8>>) {
    let data = base.join("data");
    let mut states = Vec::new();
    let mut step = |seconds: u64, work: &dyn Fn(&World)| {
        let world = open(&data, seconds).unwrap();
        work(&world);
        assert!(world.engine.close().unwrap().is_clean());
        if base.join("acme").exists() {
            states.push(fs::read(file(&data, scene.of)).unwrap());
        }
    };
    step(0, &|world| {
        for tenant in ["acme", "zoo"] {
            let spec = TenantSpec::new(tenant).unwrap().trusts(Issuer::authority());
            world.operator().provision(spec.trusts(Issuer::new(ISSUER).unwrap())).unwrap();
        }
        let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation;
        fs::write(base.join("acme"), incarnation.to_string()).unwrap();
        let root = world.handle("acme", "root").unwrap();
        for number in 0..20 {
            let memory = Memory::new(format!("k{number}")).text("x".repeat(100)).vector(vec![1.0, number as f32]);
            root.memories("salaries").unwrap().put(memory).unwrap();
        }
        root.memories("notes").unwrap().put(Memory::new("first")).unwrap();
        // Smaller files are checked as a whole when they are opened, so that no single row would have to be compared.
        let large = |number| Memory::new(format!("large {number}")).text("x".repeat(100_000));
        root.memories("bulk").unwrap().put_many((0..16).map(large).collect()).unwrap();
    });
    let text = std::cell::RefCell::new(String::new());
    step(40, &|world| {
        *text.borrow_mut() = (scene.before)(world);
        let at_hand = (scene.has)(world, &text.borrow());
        assert!(matches!(at_hand, Ok(true)), "{}: it was never there: {at_hand:?}", scene.name);
    });
    let text = text.into_inner();
    step(60, &|world| (scene.take_away)(world, &text));
    for round in 0..3 {
        step(70 + round, &|world| {
            world.provision(&format!("other{round}")).unwrap();
            let notes = world.handle("acme", "root").unwrap().memories("notes").unwrap();
            for n in 0..6 {
                notes.put(Memory::new(format!("n{round} {n}"))).unwrap();
            }
        });
    }
    step(80, &|world| {
        world.provision("last").unwrap();
        world.handle("acme", "root").unwrap().memories("notes").unwrap().put(Memory::new("last")).unwrap();
    });
    (text, states)
}

/// Not a test of its own: the body of the process that opens what was put together. Without the variable it does nothing.
#[test]
fn child_entry() {
    let Ok(name) = std::env::var(SCENE) else { return };
    let (scene, base) = (scene(&name), PathBuf::from(std::env::var(DIRECTORY).unwrap()));
    let from: usize = std::env::var(FROM).unwrap().parse().unwrap();
    let text = fs::read_to_string(base.join("text")).unwrap();
    let mut said = File::options().append(true).open(base.join("said")).unwrap();
    let work = base.join("work");
    let cases = fs::read_to_string(base.join("cases")).unwrap();
    for case in cases.lines().skip(from) {
        let (state, slot) = case.split_once(' ').unwrap();
        let (old, at) = (fs::read(base.join(state)).unwrap(), slot_at(slot.parse().unwrap()));
        let _ = fs::remove_dir_all(work.join("data"));
        copy_directory(&base.join("data"), &work.join("data"));
        fs::write(work.join("acme"), fs::read(base.join("acme")).unwrap()).unwrap();
        let path = file(&work.join("data"), scene.of);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at..at + SLOT].copy_from_slice(&old[at..at + SLOT]);
        fs::write(&path, bytes).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let world = match open(&work.join("data"), 90) {
                Ok(world) => world,
                Err(error) => return format!("the engine is refused: {:?}", error.kind()),
            };
            let outcome = match (scene.has)(&world, &text) {
                Ok(true) if is_newest(&world, scene.of).unwrap_or(false) => "permitted".to_owned(),
                Ok(true) => "one earlier state".to_owned(),
                Ok(false) => "refused".to_owned(),
                Err(error) => format!("refused: {:?}", error.kind()),
            };
            // What closing the file makes of it is another test's.
            let _ = catch_unwind(AssertUnwindSafe(|| world.engine.close()));
            outcome
        }));
        writeln!(said, "{}", outcome.unwrap_or_else(|_| "panicked".to_owned())).unwrap();
    }
}

/// Opens every case and counts what became of it.
fn outcomes(base: &Path, scene: &Scene, cases: usize) -> BTreeMap<String, usize> {
    fs::write(base.join("said"), "").unwrap();
    loop {
        let said = fs::read_to_string(base.join("said")).unwrap().lines().count();
        if said >= cases {
            break;
        }
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_entry", "--test-threads", "1"])
            .envs([(SCENE, scene.name), (FROM, &said.to_string())])
            .env(DIRECTORY, base)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let now = fs::read_to_string(base.join("said")).unwrap().lines().count();
        if now < cases {
            assert!(!ended.success(), "the process ended early and says that all is well");
            let mut said = File::options().append(true).open(base.join("said")).unwrap();
            writeln!(said, "the process was stopped").unwrap();
        }
    }
    let mut counts = BTreeMap::new();
    for outcome in fs::read_to_string(base.join("said")).unwrap().lines() {
        *counts.entry(outcome.to_owned()).or_default() += 1;
    }
    counts
}

/// Puts every earlier version of every page back, one at a time, and sees to it that nothing is permitted.
fn stays_taken_away(name: &str) {
    let (scene, outside) = (scene(name), tempfile::tempdir().unwrap());
    let base = outside.path();
    let (text, states) = fill(base, scene);
    fs::write(base.join("text"), &text).unwrap();
    fs::create_dir(base.join("work")).unwrap();
    {
        let control = base.join("work").join("control");
        copy_directory(&base.join("data"), &control);
        let world = open(&control, 90).unwrap();
        assert!(is_newest(&world, scene.of).unwrap(), "{name}");
        assert!(!matches!((scene.has)(&world, &text), Ok(true)), "{name}: it was not taken away");
    }
    let (last, mut cases, mut count) = (states.last().unwrap(), String::new(), 0);
    for (number, state) in states.iter().enumerate() {
        fs::write(base.join(number.to_string()), state).unwrap();
        for slot in 0..(last.len().min(state.len()) - DATA_AT) / SLOT {
            let at = slot_at(slot)..slot_at(slot) + SLOT;
            if state[at.clone()] != last[at.clone()] && state[at].iter().any(|byte| *byte != 0) {
                writeln!(cases, "{number} {slot}").unwrap();
                count += 1;
            }
        }
    }
    assert!(scene.of == Of::Catalog || last.len() as u64 > watertight::limits::TENANT_CHECK_BYTES_MAX, "{name}");
    assert!(count > 20, "{name}: too few pages ever changed: {count}");
    fs::write(base.join("cases"), cases).unwrap();
    let counts = outcomes(base, scene, count);
    println!("{name}: {counts:?}");
    assert_eq!(counts.get("permitted"), None, "{name}: {counts:?}");
    assert!(counts.keys().any(|outcome| outcome.contains("refused")), "{name}: {counts:?}");
}

macro_rules! scenes {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            stays_taken_away($name);
        })*

        #[test]
        fn every_scene_is_tested() {
            assert_eq!(SCENES.map(|scene| scene.name), [$($name),*]);
        }
    };
}
scenes! {
    an_old_page_does_not_hide_the_policy: "the policy",
    an_old_page_does_not_bring_back_a_role: "a role of the policy",
    an_old_page_does_not_bring_back_a_deleted_namespace: "a deleted namespace",
    an_old_page_does_not_bring_back_a_name_of_a_namespace: "the former name of a namespace",
    an_old_page_does_not_bring_back_a_secret_that_was_rotated: "a secret that was rotated",
    an_old_page_does_not_bring_back_a_secret_that_was_deleted: "a secret that was deleted",
    an_old_page_does_not_have_a_change_done_twice: "a use of an idempotency key",
    an_old_page_does_not_give_a_user_the_number_of_another: "a user's number",
    an_old_page_does_not_resume_a_suspended_tenant: "a suspended tenant",
    an_old_page_does_not_restore_the_trust_in_an_issuer: "an issuer's trust",
    an_old_page_does_not_let_in_a_user_who_was_revoked: "a user who was revoked",
    an_old_page_does_not_let_in_a_token_that_was_revoked: "a token that was revoked",
    an_old_page_does_not_let_in_everybody_again: "everybody at a tenant",
    an_old_page_does_not_bring_back_an_api_key: "an API key",
    an_old_page_does_not_bring_back_a_purged_tenant: "a purged tenant",
}

/// What a file that an engine has closed is found to be when it was put back meanwhile.
#[test]
fn an_older_copy_that_is_put_in_the_place_of_a_closed_file_under_a_running_engine_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let data = outside.path().join("data");
    let builder = Engine::builder(&data).root_key(root_key()).open_tenants_max(1);
    let (engine, authority) = builder.danger().disk(without_syncs(Arc::new(|_, _| {}))).open().unwrap();
    let world = World { engine, authority };
    for tenant in ["acme", "zoo"] {
        world.provision(tenant).unwrap();
    }
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation.to_string();
    let path = data.join("tenants").join(&incarnation[..2]).join(&incarnation).join("data.1.redb");
    let evict = || drop(world.handle("zoo", "bob").unwrap());
    let acme = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    acme.put(Memory::new("first")).unwrap();
    evict();
    let copy = fs::read(&path).unwrap();
    acme.put(Memory::new("second")).unwrap();
    evict();
    let newest = fs::read(&path).unwrap();
    // A handle that lives on and a new one, also when it is asked for again.
    for _ in 0..2 {
        fs::write(&path, &copy).unwrap();
        let refused = acme.exists("second").unwrap_err();
        assert_eq!(*refused.reason(), Reason::DamagedFile("older than when this engine closed it"));
        assert_eq!(world.handle("acme", "bob").unwrap_err().kind(), ErrorKind::Damaged);
    }
    assert!(world.handle("zoo", "bob").is_ok(), "the others are served");
    fs::write(&path, &newest).unwrap();
    assert!(acme.exists("second").unwrap());
    evict();
    // Whoever restores a backup closes the engine first.
    fs::write(&path, &copy).unwrap();
    world.engine.close().unwrap();
    drop((acme, world));
    assert!(!World::at(&data).handle("acme", "alice").unwrap().memories("notes").unwrap().exists("second").unwrap());
}
