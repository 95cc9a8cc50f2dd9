//! Changes under an idempotency key: each is done once, however often it is asked for, whatever happens in between.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use support::seen::{assert_only_refused, seen, told};
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::disk::MemoryDisk;
use watertight::limits::{IDEMPOTENCY_KEY_BYTES_MAX, IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_SECONDS};
use watertight::{
    Engine, Error, ErrorKind, Filter, Memories, Memory, Patch, PutOutcome, Reason, Result, Scopes, Selection,
    TenantHandle, TenantId, TestClock, Timestamp,
};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const DAY: Duration = Duration::from_secs(IDEMPOTENCY_SECONDS);

/// A closed engine with two tenants, in which alice has a few memories. Copy it with `kill`.
static BASE: LazyLock<SimDisk> = LazyLock::new(|| {
    let disk = SimDisk::new(1);
    let world = open(&disk, &TestClock::at(START));
    for tenant in ["acme", "zoo"] {
        world.provision(tenant).unwrap();
        let alice = world.handle(tenant, "alice").unwrap();
        for notes in [alice.memories("notes").unwrap(), alice.private("notes").unwrap()] {
            notes.put(Memory::new("a").text("one").content(json!({"n": "before", "m": 1}))).unwrap();
            notes.put(Memory::new("b").content(json!({"n": "before"})).metadata("draft", true)).unwrap();
        }
    }
    drop(world);
    disk.crash()
});

fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> World {
    World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap()
}

/// A copy of the base, and alice in one of its tenants.
fn scene() -> (World, SimDisk, TenantHandle) {
    let disk = BASE.kill();
    let world = open(&disk, &TestClock::at(START));
    let alice = world.handle("acme", "alice").unwrap();
    (world, disk, alice)
}

/// What a change answered.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    /// All of it.
    full: String,
    /// Without ids, which differ where the same is done in two places.
    short: String,
}

fn done<T: std::fmt::Debug>(answer: T) -> Answer {
    let full = format!("{answer:?}");
    Answer { short: full.clone(), full }
}

fn puts(outcomes: Vec<PutOutcome>) -> Answer {
    let short: Vec<_> = outcomes.iter().map(|outcome| (outcome.created, outcome.version)).collect();
    Answer { full: format!("{outcomes:?}"), short: format!("{short:?}") }
}

/// Asks for one change under a key.
type Ask = fn(&TenantHandle, &str) -> Result<Answer>;

fn notes(handle: &TenantHandle, key: &str) -> Result<Memories> {
    handle.memories("notes")?.once(key)
}

fn put(notes: Result<Memories>, memory: Memory) -> Result<Answer> {
    Ok(puts(vec![notes?.put(memory)?]))
}

fn patch(handle: &TenantHandle, key: &str, merge: Value) -> Result<Answer> {
    Ok(puts(vec![notes(handle, key)?.patch(&Patch::new("a", merge))?]))
}

fn k() -> Memory {
    Memory::new("k").text("1")
}

/// One request of each kind.
const KINDS: [Ask; 7] = [
    |h, key| put(notes(h, key), k()),
    |h, key| Ok(puts(notes(h, key)?.put_many(vec![k(), Memory::new("a"), k().text("2")])?)),
    |h, key| patch(h, key, json!({"n": 1})),
    |h, key| notes(h, key)?.delete("a").map(done),
    |h, key| notes(h, key)?.delete_version("a", 1).map(done),
    |h, key| notes(h, key)?.delete_where(&Selection::all()).map(done),
    |h, key| {
        let steps = h.transact_once(key, |t| {
            t.private("own")?.put(k())?;
            t.memories("notes")?.delete("a")
        });
        // What the code gave is given once; that it was done is told each time.
        steps.map(|_| done("transaction"))
    },
];

/// Requests that differ in a single thing from those and from each other.
const OTHERS: [Ask; 34] = [
    |h, key| put(notes(h, key), Memory::new("l").text("1")),
    |h, key| put(notes(h, key), k().text("2")),
    |h, key| put(notes(h, key), Memory::new("k")),
    |h, key| put(notes(h, key), k().expires_after(Duration::from_secs(60))),
    |h, key| put(notes(h, key), k().expires_after(Duration::from_secs(61))),
    |h, key| put(notes(h, key), k().never_expires()),
    |h, key| put(notes(h, key), k().if_version(0)),
    |h, key| put(notes(h, key), k().metadata("n", 1)),
    |h, key| put(notes(h, key), k().metadata("n", -1)),
    |h, key| put(notes(h, key), k().metadata("n", 1.0)),
    |h, key| put(notes(h, key), k().metadata("n", "1")),
    |h, key| put(notes(h, key), k().metadata("n", true)),
    |h, key| put(notes(h, key), k().content(json!(1))),
    |h, key| put(notes(h, key), k().content(json!("1"))),
    |h, key| put(notes(h, key), k().vector(vec![1.0, 0.0])),
    |h, key| put(notes(h, key), k().vector(vec![1.0, 0.0]).model("m")),
    |h, key| put(h.private("notes")?.once(key), k()),
    |h, key| put(h.memories("other")?.once(key), k()),
    |h, key| Ok(puts(notes(h, key)?.put_many(vec![Memory::new("a"), k(), k().text("2")])?)),
    |h, key| Ok(puts(notes(h, key)?.put_many(vec![k(), Memory::new("a")])?)),
    |h, key| patch(h, key, json!({"n": -1})),
    |h, key| patch(h, key, json!({"n": true})),
    |h, key| patch(h, key, json!({"n": 1.0})),
    |h, key| patch(h, key, json!({"n": [null]})),
    |h, key| patch(h, key, json!({"n": 0})),
    |h, key| patch(h, key, json!({"n": false})),
    |h, key| patch(h, key, json!({"n": ""})),
    |h, key| patch(h, key, json!({"n": []})),
    |h, key| patch(h, key, json!({"n": {}})),
    |h, key| Ok(puts(vec![notes(h, key)?.patch(&Patch::new("a", json!({"n": 1})).if_version(1))?])),
    |h, key| notes(h, key)?.delete("b").map(done),
    |h, key| h.private("notes")?.once(key)?.delete("a").map(done),
    |h, key| notes(h, key)?.delete_where(&Selection::all().key_prefix("a")).map(done),
    |h, key| notes(h, key)?.delete_where(&Selection::all().filter(Filter::eq("draft", true))).map(done),
];

#[test]
fn the_same_request_gives_the_same_answer_and_is_done_once() {
    for (number, ask) in KINDS.into_iter().chain(OTHERS).enumerate() {
        let (world, disk, alice) = scene();
        let before = seen(&alice);
        let answer = ask(&alice, "key").unwrap();
        let after = seen(&alice);
        assert_ne!(after, before, "request {number}");
        let others = world.handle("acme", "alice").unwrap();
        for handle in [&alice, &others, &alice] {
            assert_eq!(ask(handle, "key").unwrap(), answer, "request {number}");
            assert_eq!(seen(&alice), after, "request {number}");
        }
        // What others do meanwhile does not change what it answers.
        let notes = alice.memories("notes").unwrap();
        notes.put_many(["a", "b", "k"].map(Memory::new).into()).unwrap();
        assert_eq!(ask(&alice, "key").unwrap(), answer, "request {number}");
        let after = seen(&alice);
        world.engine.close().unwrap();
        let again = open(&disk, &TestClock::at(START));
        let alice = again.handle("acme", "alice").unwrap();
        assert_eq!(ask(&alice, "key").unwrap(), answer, "request {number}, reopened");
        assert_eq!(seen(&alice), after, "request {number}, reopened");
    }
}

#[test]
fn the_code_of_a_repeated_transaction_is_not_run() {
    let (_world, _disk, alice) = scene();
    let mut runs = 0;
    let mut ask = || {
        alice.transact_once("key", |t| {
            runs += 1;
            t.memories("notes")?.put(k())
        })
    };
    assert_eq!(ask().unwrap().unwrap().version, 1);
    assert!(ask().unwrap().is_none() && ask().unwrap().is_none());
    assert_eq!(runs, 1);
}

#[test]
fn another_request_under_the_same_key_is_refused_and_changes_nothing() {
    let requests: Vec<Ask> = KINDS.into_iter().chain(OTHERS).collect();
    for (number, ask) in requests.iter().enumerate() {
        let (_world, _disk, alice) = scene();
        let answer = ask(&alice, "key").unwrap();
        let after = seen(&alice);
        for (other, ask) in requests.iter().enumerate().filter(|(other, _)| *other != number) {
            match ask(&alice, "key") {
                Err(error) => assert_eq!(*error.reason(), Reason::IdempotencyKeyReused, "{other} after {number}"),
                Ok(found) => panic!("request {other} was taken for {number}, and answered {found:?}"),
            }
        }
        assert_eq!(ask(&alice, "key").unwrap(), answer, "request {number}");
        assert_eq!(seen(&alice), after, "request {number}");
    }
}

#[test]
fn keys_of_two_users_and_of_two_tenants_never_meet() {
    let (world, _disk, alice) = scene();
    let handles = [
        alice,
        world.handle("acme", "bob").unwrap(),
        world.handle("acme", "alice2").unwrap(),
        world.handle("zoo", "alice").unwrap(),
        world.handle("zoo", "bob").unwrap(),
    ];
    let own = |n: usize| Memory::new(format!("of {n}"));
    let outcomes: Vec<_> =
        handles.iter().enumerate().map(|(n, handle)| notes(handle, "key").unwrap().put(own(n)).unwrap()).collect();
    for (n, handle) in handles.iter().enumerate() {
        assert!(outcomes[n].created);
        assert_eq!(notes(handle, "key").unwrap().put(own(n)).unwrap(), outcomes[n]);
        assert_eq!(seen(handle).memories.iter().filter(|memory| memory.key == format!("of {n}")).count(), 1);
    }
    // The same request of two users is two requests.
    let twice: Vec<_> = handles.iter().map(|handle| put(notes(handle, "same"), Memory::new("same")).unwrap()).collect();
    assert_eq!(
        twice.iter().map(|answer| answer.short.as_str()).collect::<Vec<_>>(),
        ["[(true, 1)]", "[(false, 2)]", "[(false, 3)]", "[(true, 1)]", "[(false, 2)]"]
    );
}

#[test]
fn a_refused_change_leaves_no_key() {
    let refused: [Ask; 8] = [
        |h, key| put(notes(h, key), k().if_version(7)),
        |h, key| put(notes(h, key), k().metadata("", 1)),
        |h, key| Ok(puts(notes(h, key)?.put_many(vec![k(), Memory::new("a").if_version(0)])?)),
        |h, key| Ok(puts(vec![notes(h, key)?.patch(&Patch::new("absent", json!({})))?])),
        |h, key| notes(h, key)?.delete("absent").map(done),
        |h, key| notes(h, key)?.delete_version("a", 7).map(done),
        |h, key| notes(h, key)?.delete_where(&Selection::all().filter(Filter::eq("", 1))).map(done),
        |h, key| {
            let steps = h.transact_once(key, |t| {
                t.memories("notes")?.put(k())?;
                t.abort::<()>()
            });
            steps.map(done)
        },
    ];
    let (world, _disk, alice) = scene();
    let before = seen(&alice);
    for (number, ask) in refused.iter().enumerate() {
        for _ in 0..2 {
            let error = ask(&alice, "key").unwrap_err();
            assert_ne!(*error.reason(), Reason::IdempotencyKeyReused, "request {number}");
        }
    }
    let panicking = || alice.transact_once("key", |_| -> Result<()> { resume_unwind(Box::new(())) });
    catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
    let reader = world.engine.tenant(&world.identity("acme", "alice", Scopes::READ)).unwrap();
    for ask in &KINDS[..6] {
        assert_eq!(ask(&reader, "key").unwrap_err().kind(), ErrorKind::NotFound);
    }
    let acme = TenantId::new("acme").unwrap();
    world.operator().suspend(&acme).unwrap();
    for ask in KINDS {
        assert_eq!(*ask(&alice, "key").unwrap_err().reason(), Reason::TenantSuspended);
    }
    world.operator().resume(&acme).unwrap();
    assert_only_refused(&alice, &before);
    // Whoever was refused may mend the request and send it under the same key.
    KINDS[0](&alice, "key").unwrap();
    alice.memories("notes").unwrap().put(Memory::new("absent")).unwrap();
    // A refusal by the state was not kept either: the same request may succeed later.
    let first = refused[4](&alice, "later");
    assert_eq!(first.unwrap(), done(()));
    assert_eq!(refused[4](&alice, "later").unwrap(), done(()));
}

#[test]
fn a_key_is_kept_for_a_day_to_the_microsecond() {
    for (number, ask) in KINDS.into_iter().enumerate() {
        for reopen in [false, true] {
            let context = format!("request {number}, reopened: {reopen}");
            let clock = TestClock::at(START);
            let disk = BASE.kill();
            let world = open(&disk, &clock);
            let alice = world.handle("acme", "alice").unwrap();
            let answer = ask(&alice, "key").unwrap();
            let head = alice.audit().verify().unwrap().entries;
            let at = alice.audit().entries(head, 1).unwrap()[0].at;
            // Identities live for an hour, and attesting one moves the engine's clock.
            clock.set(at.after(DAY).before(Duration::from_secs(1_800)));
            let world = if reopen {
                world.engine.close().unwrap();
                open(&disk, &clock)
            } else {
                world
            };
            let alice = world.handle("acme", "alice").unwrap();
            let before = seen(&alice);
            clock.set(at.after(DAY).before(Duration::from_micros(1)));
            assert_eq!(ask(&alice, "key").unwrap(), answer, "{context}");
            let other = KINDS[(number + 1) % KINDS.len()];
            assert_eq!(*other(&alice, "key").unwrap_err().reason(), Reason::IdempotencyKeyReused, "{context}");
            assert_eq!(seen(&alice), before, "{context}");
            clock.set(at.after(DAY));
            // It is free for another request; the same one would be done again.
            put(notes(&alice, "key"), Memory::new("other")).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_ne!(seen(&alice), before, "{context}");
            let after = seen(&alice);
            put(notes(&alice, "key"), Memory::new("other")).unwrap();
            assert_eq!(seen(&alice), after, "{context}");
        }
    }
}

/// What a change that ran into a fault may answer.
fn is_passing(error: &Error) -> bool {
    matches!(error.reason(), Reason::Io(_) | Reason::DiskFull | Reason::CommitUnknown)
}

/// What a request answers, and what there is before and after it, where nothing goes wrong.
fn undisturbed(ask: Ask) -> (String, String, String) {
    let (_world, _disk, alice) = scene();
    let before = told(&alice);
    let answer = ask(&alice, "key").unwrap();
    (answer.short, before, told(&alice))
}

#[test]
fn a_change_of_unknown_outcome_can_be_asked_for_again() {
    type Plan = fn(&SimDisk, &str, u64);
    let plans: [Plan; 2] = [SimDisk::fail_sync, SimDisk::fail_write];
    let (mut unknown, mut not_done) = (0, 0);
    for (number, ask) in KINDS.into_iter().enumerate() {
        let (answer, before, expected) = undisturbed(ask);
        for (kind, plan) in plans.into_iter().enumerate() {
            for after in 0.. {
                let context = format!("request {number}, fault {kind} after {after}");
                let (_world, disk, alice) = scene();
                plan(&disk, "data.1.redb", after);
                let first = ask(&alice, "key");
                let happened = disk.planned_faults() == 0;
                disk.clear_faults();
                if let Err(error) = &first {
                    assert!(is_passing(error) && happened, "{context}: {error}");
                    unknown += usize::from(error.kind() == ErrorKind::OutcomeUnknown);
                    not_done += usize::from(told(&alice) == before);
                }
                let second = ask(&alice, "key").unwrap_or_else(|error| panic!("{context}: again: {error}"));
                assert_eq!(second.short, answer, "{context}");
                assert_eq!(told(&alice), expected, "{context}");
                if let Ok(first) = first {
                    assert_eq!(first, second, "{context}");
                }
                // What was answered holds after a crash.
                let crashed = open(&disk.crash(), &TestClock::at(START));
                let alice = crashed.handle("acme", "alice").unwrap();
                assert_eq!(ask(&alice, "key").unwrap(), second, "{context}: after a crash");
                assert_eq!(told(&alice), expected, "{context}: after a crash");
                if !happened {
                    break;
                }
            }
        }
    }
    println!("{unknown} unknown outcomes, {not_done} not done");
    assert!(unknown >= 20 && not_done >= 20, "{unknown} unknown outcomes, {not_done} not done");
}

/// The power goes at every disk operation of a change; whoever asked for it asks again.
#[test]
fn a_change_that_a_crash_interrupts_can_be_asked_for_again() {
    let (mut done, mut not_done) = (0, 0);
    for (number, ask) in KINDS.into_iter().enumerate() {
        let (answer, before, expected) = undisturbed(ask);
        let (_world, disk, alice) = scene();
        disk.on_mutation(Some(Box::new(|_| true)));
        let first = ask(&alice, "key").unwrap();
        disk.on_mutation(None);
        let images = disk.take_images();
        let last = [disk.crash(), disk.crash(), disk.kill()];
        let acknowledged = images.len();
        for (image, disk) in images.into_iter().chain(last).enumerate() {
            let context = format!("request {number}, image {image} of {acknowledged}");
            let world = open(&disk, &TestClock::at(START));
            let alice = world.handle("acme", "alice").unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = told(&alice);
            let is_done = found == expected;
            assert!(is_done || found == before, "{context}: half done");
            assert!(is_done || image < acknowledged, "{context}: acknowledged and not there");
            let again = ask(&alice, "key").unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(again.short, answer, "{context}");
            assert!(!is_done || again == first, "{context}: another answer");
            assert_eq!(told(&alice), expected, "{context}");
            assert_eq!(ask(&alice, "key").unwrap(), again, "{context}");
            done += usize::from(is_done && image < acknowledged);
            not_done += usize::from(!is_done);
        }
    }
    println!("{done} done before the crash, {not_done} not");
    assert!(done >= 5 && not_done >= 20, "{done} done before the crash, {not_done} not");
}

#[test]
fn a_tenant_that_is_made_again_knows_no_keys_of_the_old_one() {
    let (world, _disk, alice) = scene();
    for (number, ask) in KINDS.into_iter().enumerate() {
        ask(&alice, &format!("key {number}")).unwrap_or_else(|error| panic!("request {number}: {error}"));
        // The next request finds again what it needs.
        alice.memories("notes").unwrap().delete_where(&Selection::all()).unwrap();
        alice.memories("notes").unwrap().put_many(["a", "b"].map(Memory::new).into()).unwrap();
    }
    world.operator().purge(&TenantId::new("acme").unwrap()).unwrap();
    world.provision("acme").unwrap();
    assert_eq!(KINDS[0](&alice, "key 0").unwrap_err().kind(), ErrorKind::NotFound, "a handle of the old one");
    let alice = world.handle("acme", "alice").unwrap();
    for number in 0..KINDS.len() {
        let outcome = notes(&alice, &format!("key {number}")).unwrap().put(Memory::new(format!("{number}"))).unwrap();
        assert!(outcome.created);
    }
}

#[test]
fn a_key_has_one_to_255_bytes() {
    let (_world, _disk, alice) = scene();
    for key in [String::new(), "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1), "é".repeat(128)] {
        assert_eq!(notes(&alice, &key).map(|_| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(alice.transact_once(&key, |_| Ok(())).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for key in ["k".repeat(IDEMPOTENCY_KEY_BYTES_MAX), "\0".into(), "é".repeat(127)] {
        let first = put(notes(&alice, &key), k()).unwrap();
        assert_eq!(put(notes(&alice, &key), k()).unwrap(), first);
    }
    assert_eq!(alice.memories("notes").unwrap().get("k").unwrap().version, 3);
}

/// Exactly as many as it says, also when old ones were let go by changes that turned out to be repeated.
#[test]
fn a_tenant_keeps_as_many_keys_as_it_may_and_no_fewer() {
    let clock = TestClock::at(START);
    // Many commits: without the cost of encryption.
    let builder = Engine::builder("/data").root_key(root_key()).clock(clock.clone()).danger();
    let (engine, authority) = builder.disk(Arc::new(MemoryDisk::new())).danger().plaintext_files().open().unwrap();
    let world = World { engine, authority };
    world.provision("acme").unwrap();
    let once = |handle: &TenantHandle, key: &str| handle.transact_once(key, |_| Ok(())).map(|ran| ran.is_some());
    let alice = world.handle("acme", "alice").unwrap();
    for n in 0..100 {
        assert!(once(&alice, &format!("old {n}")).unwrap());
    }
    clock.advance(DAY + DAY);
    let alice = world.handle("acme", "alice").unwrap();
    assert!(once(&alice, "0").unwrap());
    for _ in 0..100 {
        assert!(!once(&alice, "0").unwrap());
    }
    for n in 1..IDEMPOTENCY_KEYS_MAX {
        let ran = once(&alice, &n.to_string());
        assert!(ran.unwrap_or_else(|error| panic!("key {n}: {error}")), "key {n}");
    }
    let refused = once(&alice, "more").unwrap_err();
    let full = Reason::Full { what: "idempotency keys", limit: u64::from(IDEMPOTENCY_KEYS_MAX) };
    assert_eq!((refused.reason(), refused.retry_after()), (&full, Some(DAY)));
    assert_eq!(KINDS[0](&alice, "more").unwrap_err().kind(), ErrorKind::Limit);
    // Those that are kept answer, and changes without a key go on.
    assert!(!once(&alice, "0").unwrap());
    alice.memories("notes").unwrap().put(k()).unwrap();
    clock.advance(refused.retry_after().unwrap());
    let alice = world.handle("acme", "alice").unwrap();
    assert!(once(&alice, "more").unwrap());
    // A sweep that has let go of as many as it may says that there may be more.
    clock.advance(DAY + DAY);
    let alice = world.handle("acme", "alice").unwrap();
    let sweeps = 1 + std::iter::repeat_with(|| alice.sweep().unwrap().more).take_while(|more| *more).count();
    assert_eq!(sweeps, (IDEMPOTENCY_KEYS_MAX as usize).div_ceil(10_000));
}
