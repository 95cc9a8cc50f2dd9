//! Transactions that run their caller's code: all of it or nothing, with nobody else's changes in between.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use support::filled::{DATA, files_of, filled};
use support::seen::{assert_only_refused, seen, told};
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{BATCH_BYTES_MAX, BATCH_MEMORIES_MAX, TEXT_BYTES_MAX};
use watertight::{
    AuditAction, ErrorKind, FeedEvent, Filter, Memory, NamespaceSettings, NamespaceUpdate, Patch, Reason, Recall,
    Result, Scopes, Selection, TenantHandle, TestClock, Timestamp, Transaction,
};

/// An engine with two tenants, in which alice has a few memories.
struct Scene {
    world: World,
    disk: SimDisk,
    clock: Arc<TestClock>,
}

impl Scene {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(1), TestClock::at(Timestamp::from_seconds(1_800_000_000)));
        let world = open_at(&disk, &clock);
        for tenant in ["acme", "zoo"] {
            world.provision(tenant).unwrap();
            let alice = world.handle(tenant, "alice").unwrap();
            let notes = alice.memories("notes").unwrap();
            notes.put(Memory::new("a").text("one").vector(vec![1.0, 0.0])).unwrap();
            notes.put(Memory::new("b").content(json!({"n": 1}))).unwrap();
            notes.put(Memory::new("c").metadata("draft", true)).unwrap();
            alice.private("diary").unwrap().put(Memory::new("d").text("dear")).unwrap();
        }
        Self { world, disk, clock }
    }

    fn alice(&self) -> TenantHandle {
        self.world.handle("acme", "alice").unwrap()
    }

    /// Closed under its handles, and opened again.
    fn reopened(self) -> Self {
        let Self { world, disk, clock } = self;
        world.engine.close().unwrap();
        Self { world: open_at(&disk, &clock), disk, clock }
    }
}

fn open_at(disk: &SimDisk, clock: &Arc<TestClock>) -> World {
    World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap()
}

/// Every kind of step.
fn change_everything(t: &Transaction<'_>) -> Result<()> {
    let (notes, diary) = (t.memories("notes")?, t.private("diary")?);
    notes.put(Memory::new("a").text("changed").vector(vec![0.0, 1.0]))?;
    notes.put(Memory::new("new").text("12345"))?;
    notes.patch(&Patch::new("b", json!({"n": 2})))?;
    notes.delete_where(&Selection::all().filter(Filter::eq("draft", true)))?;
    diary.delete_version("d", 1)?;
    t.memories("other")?.put(Memory::new("passing"))?;
    t.memories("other")?.delete("passing")?;
    t.private("own")?.put(Memory::new("first"))?;
    Ok(())
}

#[test]
fn an_error_takes_everything_back() {
    let mut scene = Scene::new();
    let before = seen(&scene.alice());
    type Last = fn(&Transaction<'_>) -> Result<()>;
    let lasts: [(Last, Reason); 5] = [
        (|t| t.abort(), Reason::Aborted),
        (|t| t.memories("notes")?.get("absent").map(|_| ()), Reason::NotFound),
        (
            |t| t.memories("notes")?.put(Memory::new("a").if_version(9)).map(|_| ()),
            Reason::Version { expected: 9, actual: 2 },
        ),
        // Errors of the caller's own, among them one that looks like a failure of the file.
        (|_| Err(Reason::TenantExists.into()), Reason::TenantExists),
        (|_| Err(Reason::Io(std::io::ErrorKind::Other).into()), Reason::Io(std::io::ErrorKind::Other)),
    ];
    for (last, expected) in lasts {
        let alice = scene.alice();
        let answer = alice.transact(|t| {
            change_everything(t)?;
            last(t)
        });
        assert_eq!(*answer.unwrap_err().reason(), expected);
        assert_eq!(seen(&alice), before, "{expected:?}");
        scene = scene.reopened();
        assert_eq!(seen(&scene.alice()), before, "{expected:?}, reopened");
    }
    scene.alice().transact(change_everything).unwrap();
    let after = seen(&scene.alice());
    assert_ne!(after, before);
    assert_eq!(seen(&scene.reopened().alice()), after);
}

#[derive(Debug, PartialEq)]
struct Own(u32);

#[test]
fn a_panic_of_the_callers_code_goes_on_and_nothing_is_done() {
    let scene = Scene::new();
    let (alice, zoo) = (scene.alice(), scene.world.handle("zoo", "alice").unwrap());
    let (mut before, mut other) = (seen(&alice), seen(&zoo));
    let plain = || {
        alice.transact(|t| -> Result<()> {
            change_everything(t)?;
            panic_any(Own(1))
        })
    };
    // The code of a transaction with an idempotency key, inside another tenant's transaction.
    let nested = || {
        zoo.transact(|outer| {
            change_everything(outer)?;
            alice.transact_once("key", |t| -> Result<()> {
                change_everything(t)?;
                panic_any(Own(1))
            })
        })
        .map(|_| ())
    };
    for work in [&plain as &dyn Fn() -> Result<()>, &nested] {
        let payload = catch_unwind(AssertUnwindSafe(work)).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&Own(1)), "another panic");
        assert_eq!(seen(&alice), before);
        assert_eq!(seen(&zoo), other);
        // This thread and another go on with both tenants.
        for handle in [&alice, &zoo] {
            handle.transact(|t| t.memories("notes")?.put(Memory::new("here"))).unwrap();
            let there = || handle.memories("notes").unwrap().delete("here").unwrap();
            thread::scope(|scope| scope.spawn(there).join().unwrap());
        }
        (before, other) = (seen(&alice), seen(&zoo));
    }
    assert!(alice.transact_once("key", |_| Ok(())).unwrap().is_some(), "the panic left its key behind");
}

#[test]
fn a_transaction_reads_what_it_has_changed_so_far() {
    let scene = Scene::new();
    // Whoever has never written has no private namespaces yet, nor a number.
    let carol = scene.world.handle("acme", "carol").unwrap();
    let (first, last) = carol
        .transact(|t| {
            let own = t.private("own")?;
            assert!(!own.exists("k")?);
            assert_eq!(own.get("k").unwrap_err().kind(), ErrorKind::NotFound);
            let first = own.put(Memory::new("k").text("1").content(json!({"n": 1})))?;
            assert_eq!((first.created, first.version), (true, 1));
            let found = own.get("k")?;
            assert_eq!((found.id, found.author.subject(), found.text.as_deref()), (first.id, "carol", Some("1")));
            let second = own.patch(&Patch::new("k", json!({"n": 2})).if_version(1))?;
            assert_eq!((second.id, second.version, second.created), (first.id, 2, false));
            assert_eq!(own.get("k")?.content.unwrap().as_str(), r#"{"n":2}"#);
            own.delete_version("k", 2)?;
            assert!(!own.exists("k")?);
            let last = own.put(Memory::new("k").text("again").if_version(0))?;
            assert_ne!(last.id, first.id, "a key that is put anew is another memory");
            assert!(!t.memories("own")?.exists("k")?, "a shared namespace of the same name");

            // What was there before is read through the same eyes.
            let notes = t.memories("notes")?;
            assert_eq!(notes.get("a")?.author.subject(), "alice");
            notes.put(Memory::new("a").text("two"))?;
            assert_eq!((notes.get("a")?.version, notes.get("a")?.author.subject()), (2, "carol"));
            notes.put(Memory::new("c/1").metadata("draft", true))?;
            let drafts = Selection::all().filter(Filter::eq("draft", true));
            assert_eq!(notes.delete_where(&drafts)?.count, 2);
            assert_eq!(notes.delete_where(&drafts)?.count, 0);
            Ok((first, last))
        })
        .unwrap();
    let found = carol.private("own").unwrap().get("k").unwrap();
    assert_eq!((found.id, found.version, found.text.as_deref()), (last.id, 1, Some("again")));
    assert_ne!(found.id, first.id);
}

/// A step that must be refused, and how.
type Refused = (fn(&Transaction<'_>) -> Result<()>, ErrorKind);

const REFUSED: [Refused; 18] = [
    (|t| t.memories("No Name").map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.get("").map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.get("absent").map(|_| ()), ErrorKind::NotFound),
    (|t| t.memories("absent")?.get("a").map(|_| ()), ErrorKind::NotFound),
    (|t| t.memories("notes")?.exists("").map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.put(Memory::new("")).map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.put(Memory::new("a").if_version(7)).map(|_| ()), ErrorKind::Conflict),
    (|t| t.memories("notes")?.put(Memory::new("x").vector(vec![1.0; 3])).map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.put(Memory::new("x").vector(vec![0.0; 2])).map(|_| ()), ErrorKind::InvalidInput),
    (
        |t| t.memories("notes")?.put(Memory::new("x").expires_at(Timestamp::from_seconds(1))).map(|_| ()),
        ErrorKind::InvalidInput,
    ),
    // The first put of a new namespace, which must not be made by it.
    (|t| t.memories("made")?.put(Memory::new("x").if_version(1)).map(|_| ()), ErrorKind::Conflict),
    (|t| t.private("made")?.put(Memory::new("x").vector(vec![0.0; 2])).map(|_| ()), ErrorKind::InvalidInput),
    (|t| t.memories("notes")?.patch(&Patch::new("absent", json!({}))).map(|_| ()), ErrorKind::NotFound),
    (|t| t.memories("notes")?.patch(&Patch::new("b", json!({})).if_version(7)).map(|_| ()), ErrorKind::Conflict),
    (
        |t| {
            let half = "x".repeat(TEXT_BYTES_MAX / 2);
            t.memories("notes")?.patch(&Patch::new("half", json!({"more": half}))).map(|_| ())
        },
        ErrorKind::InvalidInput,
    ),
    (|t| t.memories("notes")?.delete("absent"), ErrorKind::NotFound),
    (|t| t.memories("notes")?.delete_version("a", 7), ErrorKind::Conflict),
    (
        |t| t.memories("notes")?.delete_where(&Selection::all().filter(Filter::eq("", 1))).map(|_| ()),
        ErrorKind::InvalidInput,
    ),
];

#[test]
fn a_refused_step_leaves_the_steps_before_it_and_the_transaction_as_they_are() {
    let put_half = |t: &Transaction<'_>| {
        let half = json!({"there": "x".repeat(TEXT_BYTES_MAX / 2)});
        t.memories("notes")?.put(Memory::new("half").content(half))
    };
    // By a user who has written before, and by one whose first step of all is refused.
    for user in ["alice", "carol"] {
        let (refusing, plain) = (Scene::new(), Scene::new());
        let handle = refusing.world.handle("acme", user).unwrap();
        handle
            .transact(|t| {
                for (number, (step, expected)) in REFUSED.into_iter().enumerate() {
                    assert_eq!(step(t).unwrap_err().kind(), expected, "step {number}");
                    t.memories("notes")?.put(Memory::new(format!("after {number}")))?;
                    if number == 5 {
                        put_half(t)?;
                    }
                }
                Ok(())
            })
            .unwrap();
        let other = plain.world.handle("acme", user).unwrap();
        other
            .transact(|t| {
                for number in 0..REFUSED.len() {
                    t.memories("notes")?.put(Memory::new(format!("after {number}")))?;
                    if number == 5 {
                        put_half(t)?;
                    }
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(told(&handle), told(&other));
    }
    // Where nothing else is done, not even the user is known afterwards.
    let scene = Scene::new();
    let (alice, carol) = (scene.alice(), scene.world.handle("acme", "carol").unwrap());
    let before = seen(&alice);
    carol
        .transact(|t| {
            for (step, _) in REFUSED {
                step(t).unwrap_err();
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen(&alice), before);
}

#[test]
fn each_step_needs_its_own_scope() {
    let scene = Scene::new();
    type Step = fn(&Transaction<'_>) -> Result<()>;
    let steps: [(Scopes, Step); 7] = [
        (Scopes::READ, |t| t.memories("notes")?.get("a").map(|_| ())),
        (Scopes::READ, |t| t.memories("notes")?.exists("a").map(|_| ())),
        (Scopes::WRITE, |t| t.memories("notes")?.put(Memory::new("c")).map(|_| ())),
        (Scopes::WRITE, |t| t.memories("notes")?.patch(&Patch::new("b", json!({}))).map(|_| ())),
        (Scopes::DELETE, |t| t.memories("notes")?.delete("a")),
        (Scopes::DELETE, |t| t.memories("notes")?.delete_version("b", 1)),
        (Scopes::DELETE, |t| t.memories("notes")?.delete_where(&Selection::all()).map(|_| ())),
    ];
    let [read, write, delete] = [Scopes::READ, Scopes::WRITE, Scopes::DELETE];
    for scopes in [write, delete, read | write, read | delete, write | delete, Scopes::ADMIN | write] {
        let handle = scene.world.engine.tenant(&scene.world.identity("acme", "bob", scopes)).unwrap();
        for (number, (needs, step)) in steps.iter().enumerate() {
            let answer = handle.transact(|t| {
                match step(t) {
                    Ok(()) => assert!(scopes.contains(*needs), "step {number} with {scopes}"),
                    Err(error) => {
                        assert!(!scopes.contains(*needs), "step {number} with {scopes}: {error}");
                        assert_eq!(error.kind(), ErrorKind::NotFound, "step {number}");
                    }
                }
                t.abort::<()>()
            });
            assert_eq!(*answer.unwrap_err().reason(), Reason::Aborted);
        }
    }
}

#[test]
fn usage_and_trail_have_each_step_and_nothing_else() {
    let scene = Scene::new();
    let alice = scene.alice();
    let before = seen(&alice);
    assert_eq!((before.usage.memories, before.usage.vectors, before.usage.namespaces), (4, 1, 2));
    scene.clock.advance(Duration::from_secs(5));
    alice.transact(change_everything).unwrap();
    let after = seen(&alice);
    // Gone: c and d. Come: new, and first in a namespace of its own; other is empty.
    assert_eq!((after.usage.memories, after.usage.vectors, after.usage.namespaces), (4, 1, 4));
    // "one" became "changed"; "new" with five letters; c with draft, d with "dear"; first.
    let grown = (7 - 3) + (3 + 5) + 5;
    let shrunk = (1 + 5 + 1) + (1 + 4);
    assert_eq!(after.usage.bytes, before.usage.bytes + grown - shrunk);
    let entries = alice.audit().entries(before.audit.entries + 1, 100).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| {
            let namespace = entry.namespace.as_ref().unwrap().as_str();
            (entry.action, namespace, entry.private, entry.key.as_deref().unwrap())
        })
        .collect();
    let expected = [
        (AuditAction::Put, "notes", false, "a"),
        (AuditAction::Put, "notes", false, "new"),
        (AuditAction::Patch, "notes", false, "b"),
        (AuditAction::Delete, "notes", false, "c"),
        (AuditAction::Delete, "diary", true, "d"),
        (AuditAction::Put, "other", false, "passing"),
        (AuditAction::Delete, "other", false, "passing"),
        (AuditAction::Put, "own", true, "first"),
    ];
    assert_eq!(found, expected);
    assert!(entries.iter().all(|entry| entry.at == entries[0].at && entry.user.as_ref() == Some(alice.user())));
    assert_eq!(after.audit.entries, before.audit.entries + expected.len() as u64);
    assert_eq!(seen(&scene.reopened().alice()), after);
}

#[test]
fn others_see_the_state_before_it_until_it_is_done() {
    let scene = Scene::new();
    let alice = scene.alice();
    let notes = alice.memories("notes").unwrap();
    let since = notes.changes(None, 10).unwrap().next;
    let before = seen(&alice);
    let look = |handle: &TenantHandle| {
        assert_eq!(seen(handle), before);
        let notes = handle.memories("notes").unwrap();
        assert_eq!(notes.get("a").unwrap().text.as_deref(), Some("one"));
        assert_eq!(notes.count(&Selection::all()).unwrap(), 3);
        assert!(notes.get_many(&["new", "c"]).unwrap()[0].is_none());
        assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap()[0].score, 1.0);
        assert!(notes.changes(Some(&since), 10).unwrap().events.is_empty());
        assert_eq!(handle.namespaces().unwrap().len(), 2);
    };
    alice
        .transact(|t| {
            change_everything(t)?;
            look(&alice);
            // Also through a handle that is made now, and in another thread.
            look(&scene.alice());
            thread::scope(|scope| scope.spawn(|| look(&alice)).join().unwrap());
            t.memories("notes")?.delete("b")
        })
        .unwrap();
    assert_eq!(notes.get("a").unwrap().text.as_deref(), Some("changed"));
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap()[0].score, 0.0);
    let told = notes.changes(Some(&since), 10).unwrap().events;
    assert_eq!(told.iter().filter(|event| matches!(event, FeedEvent::Put(_))).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|event| matches!(event, FeedEvent::Removed { .. })).count(), 2, "{told:?}");
}

#[test]
fn changes_of_the_same_tenant_inside_are_refused_and_others_are_not() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.world.handle("acme", "bob").unwrap());
    let zoo = scene.world.handle("zoo", "alice").unwrap();
    type Change = fn(&TenantHandle) -> Result<()>;
    let changes: [Change; 13] = [
        |h| h.memories("notes")?.put(Memory::new("x")).map(|_| ()),
        |h| h.private("notes")?.put_many(vec![Memory::new("x"), Memory::new("y")]).map(|_| ()),
        |h| h.memories("notes")?.once("key")?.put(Memory::new("x")).map(|_| ()),
        |h| h.memories("notes")?.patch(&Patch::new("b", json!({}))).map(|_| ()),
        |h| h.memories("notes")?.delete("a"),
        |h| h.memories("notes")?.delete_version("a", 1),
        |h| h.memories("notes")?.delete_where(&Selection::all()).map(|_| ()),
        |h| h.memories("made")?.create(&NamespaceSettings::new()).map(|_| ()),
        |h| h.memories("notes")?.update(&NamespaceUpdate::new()).map(|_| ()),
        |h| h.memories("notes")?.rename("renamed").map(|_| ()),
        |h| h.memories("notes")?.delete_namespace().map(|_| ()),
        |h| h.sweep().map(|_| ()),
        |h| h.transact(|_| Ok(())),
    ];
    let before = seen(&alice);
    let answer = alice.transact(|t| {
        for (number, change) in changes.iter().enumerate() {
            for handle in [&alice, &bob] {
                assert_eq!(change(handle).unwrap_err().kind(), ErrorKind::InvalidInput, "change {number}");
            }
        }
        // Another tenant's changes stand on their own, and the first tenant is under way all the time.
        zoo.memories("notes")?.put(Memory::new("from acme"))?;
        zoo.transact(|other| {
            other.memories("notes")?.delete("a")?;
            assert_eq!(alice.memories("notes")?.get("a")?.version, 1);
            assert_eq!(changes[0](&alice).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(changes[0](&zoo).unwrap_err().kind(), ErrorKind::InvalidInput);
            Ok(())
        })?;
        t.memories("notes")?.put(Memory::new("a"))?;
        t.abort::<()>()
    });
    assert_eq!(*answer.unwrap_err().reason(), Reason::Aborted);
    assert_eq!(seen(&alice), before);
    let notes = zoo.memories("notes").unwrap();
    assert!(notes.exists("from acme").unwrap() && !notes.exists("a").unwrap());
    // Afterwards they are changes like any other.
    changes[0](&alice).unwrap();
    changes[12](&bob).unwrap();
}

#[test]
fn a_transaction_has_at_most_ten_thousand_changes() {
    let scene = Scene::new();
    let alice = scene.alice();
    let too_many = Reason::TooLarge {
        what: "changes of a transaction",
        limit: BATCH_MEMORIES_MAX as u64,
        actual: BATCH_MEMORIES_MAX as u64 + 1,
    };
    alice
        .transact(|t| {
            let many = t.memories("many")?;
            for n in 0..BATCH_MEMORIES_MAX - 2 {
                many.put(Memory::new(format!("{n}")))?;
                if n % 1_000 == 0 {
                    // What is refused counts for nothing, and neither does what is read.
                    many.delete("absent").unwrap_err();
                    many.put(Memory::new("0").if_version(7)).unwrap_err();
                    many.get("0")?;
                }
            }
            many.delete("0")?;
            many.patch(&Patch::new("1", json!({"n": 1})))?;
            type Step = fn(&Transaction<'_>) -> Result<()>;
            let more: [Step; 3] = [
                |t| t.memories("many")?.put(Memory::new("more")).map(|_| ()),
                |t| t.memories("many")?.patch(&Patch::new("1", json!({}))).map(|_| ()),
                |t| t.memories("many")?.delete("1"),
            ];
            for step in more {
                assert_eq!(*step(t).unwrap_err().reason(), too_many);
            }
            // It can still be read, and done.
            assert_eq!(many.get("1")?.version, 2);
            Ok(())
        })
        .unwrap();
    let many = alice.memories("many").unwrap();
    assert_eq!(many.count(&Selection::all()).unwrap(), BATCH_MEMORIES_MAX as u64 - 3);
    alice.audit().verify().unwrap();
    // The next one counts from the beginning.
    alice.transact(|t| t.memories("many")?.delete("1")).unwrap();
}

#[test]
fn a_transaction_has_at_most_its_bytes() {
    let scene = Scene::new();
    let alice = scene.alice();
    let before = seen(&alice);
    let text = "x".repeat(TEXT_BYTES_MAX);
    let answer = alice.transact(|t| {
        let many = t.memories("many")?;
        // The keys make a memory larger than its text: one less than as many texts fit.
        let fit = BATCH_BYTES_MAX / TEXT_BYTES_MAX as u64 - 1;
        for n in 0..fit {
            many.put(Memory::new(format!("{n:02}")).text(&text))?;
        }
        let actual = (fit + 1) * (TEXT_BYTES_MAX as u64 + 2);
        let refused = many.put(Memory::new("xx").text(&text)).unwrap_err();
        let what = "bytes of a transaction";
        assert_eq!(*refused.reason(), Reason::TooLarge { what, limit: BATCH_BYTES_MAX, actual });
        assert!(!many.exists("xx")?);
        // What is left is as much as it says, to the byte.
        let left = BATCH_BYTES_MAX - fit * (TEXT_BYTES_MAX as u64 + 2);
        many.put(Memory::new("xx").text("x".repeat(left as usize - 1))).unwrap_err();
        many.put(Memory::new("xx").text("x".repeat(left as usize - 2)))?;
        many.put(Memory::new("y")).unwrap_err();
        many.delete("xx")?;
        t.abort::<()>()
    });
    assert_eq!(*answer.unwrap_err().reason(), Reason::Aborted);
    assert_eq!(seen(&alice), before);
}

/// A transaction under a key makes the user known to the file and keeps one of the tenant's keys for a day.
#[test]
fn a_handle_that_may_not_change_anything_has_no_transactions() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    let before = seen(&alice);
    for scopes in [Scopes::NONE, Scopes::READ, Scopes::ADMIN | Scopes::READ] {
        let handle = world.engine.tenant(&world.identity("acme", "eve", scopes)).unwrap();
        let mut was_run = false;
        let refused = handle.transact_once("key", |_| {
            was_run = true;
            Ok(())
        });
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(handle.transact(|_| Ok(())).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(!was_run);
        assert_only_refused(&alice, &before);
    }
    for scopes in [Scopes::WRITE, Scopes::DELETE] {
        world.engine.tenant(&world.identity("acme", "bob", scopes)).unwrap().transact(|_| Ok(())).unwrap();
    }
}

/// A patch writes the whole memory again.
#[test]
fn patches_of_large_contents_count_for_what_they_write() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let handle = world.handle("acme", "alice").unwrap();
    let large = json!({"x": "x".repeat(1 << 19)});
    handle.memories("notes").unwrap().put(Memory::new("k").content(large)).unwrap();
    let patched = |times: u64| {
        handle.transact(|t| {
            (0..times).try_for_each(|n| t.memories("notes")?.patch(&Patch::new("k", json!({"n": n}))).map(|_| ()))
        })
    };
    let most = BATCH_BYTES_MAX / (1 << 19);
    assert_eq!(patched(most).unwrap_err().kind(), ErrorKind::InvalidInput);
    patched(most - 1).unwrap();
}

/// The code may answer what it likes: an error of another tenant's file is no reason to close this one's.
#[test]
fn an_error_of_another_tenant_that_the_code_answers_is_given_on_and_harms_nothing() {
    let disk = filled(5, false);
    // With room for the whole file: only opening it again would read it.
    let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
    let (acme, zoo) = (world.handle("acme", "alice").unwrap(), world.handle("zoo", "alice").unwrap());
    let [acme_file, zoo_file] = ["acme", "zoo"].map(|tenant| files_of(&world, tenant).0.display().to_string());
    acme.memories("notes").unwrap().put(Memory::new("before")).unwrap();
    seen(&acme);
    let refused = acme.transact(|t| {
        t.memories("notes")?.put(Memory::new("k"))?;
        disk.fail_write(&zoo_file, 0);
        zoo.memories("notes")?.put(Memory::new("k"))
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    disk.fail_read(&acme_file, 0);
    assert!(!acme.memories("notes").unwrap().exists("k").unwrap());
    acme.memories("notes").unwrap().put(Memory::new("k")).unwrap();
    assert_eq!(disk.planned_faults(), 1, "the file was read again");
}
