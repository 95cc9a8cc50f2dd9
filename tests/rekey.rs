//! Another key for a tenant: nothing of it is lost or changed, the former key and file are gone, and whatever stops it on
//! the way, the tenant is as it was or as it is to be.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use support::filled::{DATA, all_well, filled, open as open_filled, rows_of};
use support::household::{CANARY, go_on, household, id, secrets, settle};
use support::seen::seen;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Actor, Authored, Credential, Destroyed, ErrorKind, List, Memory, OperatorAction, Reason, Recall, Result, Selection,
    TenantStatus,
};

fn open(disk: &SimDisk) -> Result<World> {
    World::open(Path::new(DATA), Arc::new(disk.clone()))
}

/// Two tenants that are settled, on a disk where everything is stable.
fn settled() -> SimDisk {
    let disk = SimDisk::new(7);
    let world = open(&disk).unwrap();
    settle(&world, "acme");
    settle(&world, "zoo");
    drop(world);
    disk.crash()
}

fn tenant_files(disk: &SimDisk) -> Vec<PathBuf> {
    let is_tenants = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.contains("/tenants/") || (path.contains("/keys/") && !path.contains("engine."))
    };
    disk.files().into_iter().filter(is_tenants).collect()
}

#[test]
fn everything_is_there_under_another_key_and_the_former_files_are_gone() {
    let disk = settled();
    let world = open(&disk).unwrap();
    let (alice, bob) = (world.handle("acme", "alice").unwrap(), world.handle("acme", "bob").unwrap());
    let before = (seen(&alice), seen(&bob), household(&world, "acme"), household(&world, "zoo"));
    let incarnation = world.operator().inspect(&id("acme")).unwrap().incarnation;
    let former: BTreeMap<_, _> = tenant_files(&disk)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains(&incarnation.to_string()))
        .map(|path| (path.clone(), disk.bytes(&path).unwrap()))
        .collect();
    assert_eq!(former.len(), 2);
    for epoch in 2..5_u32 {
        let mut told = Vec::new();
        let receipt = world.operator().rekey(&id("acme"), |progress| {
            told.push(progress);
            ControlFlow::Continue(())
        });
        assert!(told.is_sorted_by_key(|progress| progress.rows) && told.len() > 17);
        let last = told.last().unwrap();
        assert!(last.rows == last.of && last.of > 50, "{last:?}");
        let facts = world.operator().verify_receipt(&receipt.unwrap()).unwrap();
        assert_eq!((facts.destroyed, facts.by), (Destroyed::FormerKey, Actor::Operator("ops".into())));
        assert_eq!((facts.tenant, facts.incarnation), (id("acme"), incarnation));
        assert_eq!(facts.last_epoch.to_string(), (epoch - 1).to_string());
        // Live handles and fresh ones.
        assert_eq!((&seen(&alice), &seen(&bob)), (&before.0, &before.1));
        assert_eq!((household(&world, "acme"), household(&world, "zoo")), (before.2.clone(), before.3.clone()));
        assert!(former.keys().all(|path| !disk.files().contains(path)), "{:?}", disk.files());
        assert_eq!(tenant_files(&disk).len(), 4);
        let now = tenant_files(&disk).into_iter().filter(|path| path.to_string_lossy().contains(&format!(".{epoch}.")));
        assert_eq!(now.count(), 2);
    }
    drop((alice, bob, world));
    let world = open(&disk.crash()).unwrap();
    assert_eq!(household(&world, "acme"), before.2);
    for (user, name) in [("alice", "alice"), ("bob", CANARY)] {
        let expected = ["3", "2", "1"].map(|version| format!("{name} {version}"));
        assert_eq!(secrets(&world.handle("acme", user).unwrap()), expected);
    }
    let actions: Vec<_> = world.operator().audit(1, 100).unwrap().into_iter().map(|entry| entry.action).collect();
    let steps = [OperatorAction::Rekey, OperatorAction::Rekeyed];
    assert_eq!(actions[2..], [steps, steps, steps].concat());
    world.operator().verify_audit().unwrap();
}

#[test]
fn plaintext_files_are_rekeyed_as_well() {
    let disk = filled(30, true);
    let world = open_filled(&disk, true).unwrap();
    for _ in 0..2 {
        world.operator().rekey(&id("acme"), go_on).unwrap();
        all_well(&world, "acme", &rows_of("acme", 30), "re-keyed");
    }
    drop(world);
    all_well(&open_filled(&disk.crash(), true).unwrap(), "acme", &rows_of("acme", 30), "reopened");
}

#[test]
fn the_tenant_goes_on_in_its_new_file() {
    let world = open(&SimDisk::new(1)).unwrap();
    settle(&world, "acme");
    let alice = world.handle("acme", "alice").unwrap();
    let notes = alice.memories("notes").unwrap();
    let hits = |text: &str| {
        let hits = notes.recall(&Recall::vector(&[1.0, 5.0, 2.0]).top(200)).unwrap();
        hits.into_iter().filter(|hit| hit.memory.text.as_deref().is_some_and(|found| found.contains(text))).count()
    };
    let before = hits("alice");
    for round in 0..3_u64 {
        world.operator().rekey(&id("acme"), go_on).unwrap();
        // An index that was loaded before goes on from where it was.
        assert_eq!((hits("alice"), hits("round")), (before, round as usize));
        notes.put(Memory::new(format!("round {round}")).text("round").vector(vec![1.0, 0.0, 0.0])).unwrap();
        notes.put(Memory::new("alice 0").text("alice again").vector(vec![0.0, 1.0, 0.0])).unwrap();
        assert_eq!(hits("round"), round as usize + 1);
        let vault = alice.credentials();
        assert_eq!(vault.put("TOKEN", &Credential::new("new")).unwrap(), round + 3);
        // Under an idempotency key that was used before, nothing is done again.
        let once = alice.private("diary").unwrap().once("alice").unwrap();
        once.put(Memory::new("once").text("alice").vector(vec![1.0, 9.0, 2.0])).unwrap();
        assert_eq!(alice.private("diary").unwrap().get("once").unwrap().version, 1);
    }
    alice.audit().verify().unwrap();
    drop(alice);
    world.engine.close().unwrap();
}

/// More than one transaction of the new file holds, and more secrets than are sealed again at a time.
#[test]
fn a_large_tenant_goes_over_in_many_steps() {
    let disk = SimDisk::new(1);
    let world = open(&disk).unwrap();
    world.provision("acme").unwrap();
    let text = |number: usize| format!("{number} ").repeat(100_000);
    for user in ["alice", "bob"] {
        let handle = world.handle("acme", user).unwrap();
        let own = handle.private("own").unwrap();
        for number in 0..15 {
            own.put(Memory::new(format!("{number}")).text(text(number)).vector(vec![1.0, number as f32])).unwrap();
        }
        for number in 0..70_usize {
            let secret = format!("{user} {number} ").repeat(5_000);
            handle.credentials().put(&format!("N{number}"), &Credential::new(secret)).unwrap();
        }
    }
    let alice = world.handle("acme", "alice").unwrap();
    let before = seen(&alice);
    world.operator().rekey(&id("acme"), go_on).unwrap();
    assert_eq!(seen(&alice), before);
    let bob = world.handle("acme", "bob").unwrap();
    let gone = alice.erase_user(bob.user(), Authored::Goes, go_on).unwrap().erased;
    assert_eq!((gone.memories, gone.credentials), (15, 70));
    drop((alice, bob, world));
    let world = open(&disk.crash()).unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    let own = alice.private("own").unwrap();
    for number in 0..15 {
        assert_eq!(own.get(&number.to_string()).unwrap().text, Some(text(number)));
    }
    for number in 0..70 {
        let secret = alice.credentials().with_secret(&format!("N{number}"), <[u8]>::to_vec).unwrap();
        assert!(secret.starts_with(format!("alice {number} alice").as_bytes()));
    }
}

#[test]
fn cursors_and_positions_end_with_a_clear_error() {
    let world = open(&SimDisk::new(1)).unwrap();
    settle(&world, "acme");
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let cursor = notes.list(&List::new().limit(2)).unwrap().next.unwrap();
    let position = notes.changes(None, 10).unwrap().next;
    let mut iter = notes.iter(List::new().limit(1));
    iter.next().unwrap().unwrap();
    world.operator().rekey(&id("acme"), go_on).unwrap();
    let errors = [
        notes.list(&List::new().limit(2).after(cursor)).unwrap_err(),
        notes.changes(Some(&position), 10).unwrap_err(),
        iter.find_map(Result::err).unwrap(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("re-keyed since"), "{error}");
    }
    // Whoever begins again loses nothing.
    assert_eq!(notes.list(&List::new()).unwrap().memories.len(), notes.count(&Selection::all()).unwrap() as usize);
    notes.changes(None, 10).unwrap();
}

#[test]
fn what_is_gone_but_not_cleared_away_does_not_come_along() {
    let clock = watertight::TestClock::at(watertight::Timestamp::from_seconds(1_800_000_000));
    let world = World::with_clock(Path::new(DATA), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
    world.provision("acme").unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    let notes = alice.memories("notes").unwrap();
    for number in 0..50 {
        let memory = Memory::new(format!("{number}")).text("text");
        notes
            .put(if number % 2 == 0 { memory.expires_after(std::time::Duration::from_secs(60)) } else { memory })
            .unwrap();
    }
    clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(alice.usage().unwrap().memories, 50);
    world.operator().rekey(&id("acme"), go_on).unwrap();
    assert_eq!(alice.usage().unwrap().memories, 25);
    assert_eq!(alice.sweep().unwrap().expired, 0);
    alice.audit().verify().unwrap();
}

#[test]
fn who_gives_up_has_changed_nothing() {
    let disk = settled();
    let world = open(&disk).unwrap();
    let before = (household(&world, "acme"), tenant_files(&disk));
    let calls = AtomicU64::new(0);
    world
        .operator()
        .rekey(&id("acme"), |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
    let calls = calls.into_inner();
    let disk = settled();
    let world = open(&disk).unwrap();
    for at in 0..calls {
        let left = AtomicU64::new(at);
        let refused = world.operator().rekey(&id("acme"), |_| {
            if left.fetch_sub(1, Ordering::Relaxed) == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(*refused.unwrap_err().reason(), Reason::Cancelled, "call {at}");
        assert_eq!(household(&world, "acme"), before.0, "call {at}");
        assert_eq!(tenant_files(&disk).len(), before.1.len(), "call {at}");
        let action = world.operator().audit(1, 1_000).unwrap().last().unwrap().action;
        assert_eq!(action, OperatorAction::RekeyAbandoned);
    }
    // A panic of the callback goes on, and is one that gives up.
    let panicked = thread::scope(|scope| {
        scope.spawn(|| world.operator().rekey(&id("acme"), |_| std::panic::resume_unwind(Box::new("mine")))).join()
    });
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"mine"));
    assert_eq!(tenant_files(&disk).len(), before.1.len());
    assert_eq!(household(&world, "acme"), before.0);
    world.operator().rekey(&id("acme"), go_on).unwrap();
    assert_eq!(household(&world, "acme"), before.0);
}

#[test]
fn what_cannot_be_rekeyed_is_refused() {
    let world = open(&SimDisk::new(1)).unwrap();
    settle(&world, "acme");
    let operator = world.operator();
    assert_eq!(operator.rekey(&id("nobody"), go_on).unwrap_err().kind(), ErrorKind::NotFound);
    // A suspended one is.
    operator.suspend(&id("acme")).unwrap();
    operator.rekey(&id("acme"), go_on).unwrap();
    assert_eq!(operator.inspect(&id("acme")).unwrap().status, TenantStatus::Suspended);
    operator.resume(&id("acme")).unwrap();
    let alice = world.handle("acme", "alice").unwrap();
    alice
        .transact(|t| {
            assert_eq!(operator.rekey(&id("acme"), go_on).unwrap_err().kind(), ErrorKind::InvalidInput);
            let erased = alice.erase_user(alice.user(), Authored::Goes, go_on);
            assert_eq!(erased.unwrap_err().kind(), ErrorKind::InvalidInput);
            t.memories("notes")?.put(Memory::new("k"))
        })
        .unwrap();
    // Nor does its own callback wait for itself.
    let mut refusals = Vec::new();
    operator
        .rekey(&id("acme"), |_| {
            refusals.extend(operator.rekey(&id("acme"), go_on).err());
            refusals.extend(operator.purge(&id("acme")).err());
            refusals.extend(world.engine.close().err());
            refusals.extend(alice.memories("notes").unwrap().put(Memory::new("l")).err());
            // Reading is another matter.
            assert!(alice.memories("notes").unwrap().exists("k").unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(refusals.len() > 17 * 4 && refusals.iter().all(|error| error.kind() == ErrorKind::InvalidInput));
}

/// Writers wait and lose nothing, readers see what is there, whatever the files are by then.
#[test]
fn eight_threads_go_on_while_their_tenant_is_rekeyed_and_a_user_erased() {
    const ROUNDS: usize = 40;
    let world = open(&SimDisk::new(1)).unwrap();
    settle(&world, "acme");
    let stop = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let (rekeyings, written) = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let (world, stop, done) = (&world, &stop, &done);
                scope.spawn(move || {
                    let handle = world.handle("acme", &format!("worker-{worker}")).unwrap();
                    let (shared, own) = (handle.memories("notes").unwrap(), handle.private("own").unwrap());
                    handle.credentials().put("TOKEN", &Credential::new(format!("secret {worker}"))).unwrap();
                    let mut round = 0;
                    while round < ROUNDS || !stop.load(Ordering::Relaxed) {
                        let key = format!("worker {worker} {round}");
                        let vector = vec![worker as f32, round as f32, 1.0];
                        shared.put(Memory::new(&key).text(&key).vector(vector.clone())).unwrap();
                        handle
                            .transact(|t| {
                                let counted = t.private("own")?.exists("count")?;
                                assert_eq!(counted, round > 0);
                                t.private("own")?.put(Memory::new("count").text(round.to_string()).vector(vec![1.0]))
                            })
                            .unwrap();
                        assert_eq!(shared.get(&key).unwrap().text.as_deref(), Some(&*key));
                        assert_eq!(own.get("count").unwrap().version, round as u64 + 1);
                        let hits = shared.recall(&Recall::vector(&vector).top(5)).unwrap();
                        assert_eq!(hits.len(), 5);
                        assert_eq!(own.recall(&Recall::vector(&[1.0])).unwrap().len(), 1);
                        let secret = handle.credentials().with_secret("TOKEN", <[u8]>::to_vec).unwrap();
                        assert_eq!(secret, format!("secret {worker}").into_bytes());
                        if round % 5 == 4 {
                            shared.delete(&key).unwrap();
                            assert!(!shared.exists(&key).unwrap());
                        }
                        round += 1;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    (worker, round)
                })
            })
            .collect();
        let mut rekeyings = 0;
        let admin = world.handle("acme", "root").unwrap();
        while rekeyings < 6 {
            world.operator().rekey(&id("acme"), go_on).unwrap();
            admin.erase_user(world.handle("acme", "bob").unwrap().user(), Authored::Goes, go_on).unwrap();
            rekeyings += 2;
        }
        stop.store(true, Ordering::Relaxed);
        (rekeyings, workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!((rekeyings, done.into_inner()), (6, 8));
    let root = world.handle("acme", "root").unwrap();
    root.audit().verify().unwrap();
    let notes = root.memories("notes").unwrap();
    for (worker, rounds) in written {
        for round in 0..rounds {
            let key = format!("worker {worker} {round}");
            assert_eq!(notes.exists(&key).unwrap(), round % 5 != 4, "{key}");
        }
    }
    assert!(!notes.exists("bob 1").unwrap() && notes.exists("alice 1").unwrap());
}

/// Waits until handles are refused.
fn until_stopped(handle: &watertight::TenantHandle) {
    while handle.check(watertight::Scopes::READ).is_ok() {
        thread::yield_now();
    }
}

#[test]
fn a_purge_ends_a_rekeying_and_an_erasure() {
    for erase in [false, true] {
        let disk = SimDisk::new(1);
        let world = open(&disk).unwrap();
        let files = disk.files().len();
        settle(&world, "acme");
        let alice = world.handle("acme", "alice").unwrap();
        thread::scope(|scope| {
            let purge = Mutex::new(None);
            let stop = |_| {
                let begun = purge
                    .lock()
                    .unwrap()
                    .get_or_insert_with(|| scope.spawn(|| world.operator().purge(&id("acme"))))
                    .is_finished();
                assert!(!begun, "the purge waits for the files");
                until_stopped(&alice);
                ControlFlow::Continue(())
            };
            let refused = if erase {
                alice.erase_user(alice.user(), Authored::Goes, stop).map(|_| ())
            } else {
                world.operator().rekey(&id("acme"), stop).map(|_| ())
            };
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
            purge.into_inner().unwrap().unwrap().join().unwrap().unwrap();
        });
        assert_eq!(disk.files().len(), files, "{:?}", disk.files());
        world.provision("acme").unwrap();
        assert_eq!(world.handle("acme", "alice").unwrap().usage().unwrap().memories, 0);
    }
}

#[test]
fn a_tenant_that_is_being_purged_is_not_rekeyed() {
    let disk = SimDisk::new(1);
    let world = open(&disk).unwrap();
    let files = disk.files().len();
    settle(&world, "acme");
    let alice = world.handle("acme", "alice").unwrap();
    thread::scope(|scope| {
        let (begun, wait) = mpsc::channel();
        // The purge waits for this transaction.
        let (alice, world) = (&alice, &world);
        let transaction = scope.spawn(move || {
            alice.transact(|_| {
                begun.send(()).unwrap();
                until_stopped(alice);
                assert_eq!(*world.operator().rekey(&id("acme"), go_on).unwrap_err().reason(), Reason::TenantState);
                let refused = thread::scope(|scope| scope.spawn(|| world.operator().rekey(&id("acme"), go_on)).join());
                assert_eq!(*refused.unwrap().unwrap_err().reason(), Reason::TenantState);
                Ok(())
            })
        });
        wait.recv().unwrap();
        world.operator().purge(&id("acme")).unwrap();
        assert!(transaction.join().unwrap().is_err());
    });
    assert_eq!(world.operator().rekey(&id("acme"), go_on).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.files().len(), files);
}

#[test]
fn closing_the_engine_ends_a_rekeying() {
    let disk = settled();
    let before = household(&open(&disk).unwrap(), "acme");
    let world = open(&disk).unwrap();
    let operator = world.operator();
    thread::scope(|scope| {
        let mut closing = None;
        let answer = operator.rekey(&id("acme"), |_| {
            closing.get_or_insert_with(|| scope.spawn(|| world.engine.close().unwrap()));
            thread::sleep(std::time::Duration::from_millis(20));
            ControlFlow::Continue(())
        });
        // It came in time or did not.
        if let Err(error) = answer {
            assert_eq!(*error.reason(), Reason::Closed);
        }
        assert!(closing.unwrap().join().unwrap().is_clean());
    });
    drop((operator, world));
    assert_eq!(tenant_files(&disk).len(), 4);
    assert_eq!(household(&open(&disk).unwrap(), "acme"), before);
}

/// What an older catalog, put back, finds: it must not cost the tenant its only key.
#[test]
fn an_older_catalog_destroys_nothing() {
    let catalog = Path::new(DATA).join("catalog.redb");
    let disk = settled();
    let before = household(&open(&disk).unwrap(), "acme");
    let old = disk.bytes(&catalog).unwrap();
    let under_way = Arc::new(Mutex::new(None));
    {
        let world = open(&disk).unwrap();
        let (keep, look) = (under_way.clone(), disk.clone());
        world
            .operator()
            .rekey(&id("acme"), move |_| {
                keep.lock().unwrap().get_or_insert_with(|| look.crash().bytes(&catalog).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    let catalog = Path::new(DATA).join("catalog.redb");
    let files = disk.files();

    // From before: the tenant cannot be reached, and everything stays for whoever puts the right catalog back.
    let restored = disk.crash();
    restored.set_bytes(&catalog, old);
    {
        let world = open(&restored).unwrap();
        assert_eq!(world.handle("acme", "alice").unwrap_err().kind(), ErrorKind::KeyUnavailable);
        assert_eq!(world.operator().rekey(&id("acme"), go_on).unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(restored.files(), files);
        // A purge knows all of its epochs.
        world.operator().purge(&id("acme")).unwrap();
        assert_eq!(restored.files().len(), files.len() - 2, "{:?}", restored.files());
        assert!(household(&world, "zoo").contains("zoo"));
    }

    // From the middle of it: it goes on to what is there.
    let restored = disk.crash();
    restored.set_bytes(&catalog, under_way.lock().unwrap().clone().unwrap());
    let world = open(&restored).unwrap();
    assert_eq!(household(&world, "acme"), before);
    assert_eq!(restored.files(), files);
    world.operator().rekey(&id("acme"), go_on).unwrap();
    assert_eq!(household(&world, "acme"), before);
}

/// When the catalog can neither be written nor read, nobody knows which files count: the tenant serves nothing rather
/// than from files that may be those of yesterday.
#[test]
fn a_tenant_whose_files_cannot_be_told_apart_serves_nothing_until_they_can() {
    let base = settled();
    let before = household(&open(&base.kill()).unwrap(), "acme");
    let mut undecided = 0;
    for after in 0..10 {
        let disk = base.kill();
        let world = open(&disk).unwrap();
        let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
        notes.get("alice 1").unwrap();
        disk.evict_is_confirmed(false);
        disk.fail_sync("catalog.redb", after);
        let answer = world.operator().rekey(&id("acme"), go_on);
        disk.clear_faults();
        if answer.is_err() {
            match notes.get("alice 1") {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{after}: {error}");
                    assert!(notes.put(Memory::new("alice 1")).is_err());
                    undecided += 1;
                }
            }
        }
        for image in [disk.crash(), disk.kill()] {
            image.evict_is_confirmed(true);
            let world = open(&image).unwrap();
            assert_eq!(household(&world, "acme"), before, "{after}");
            assert_eq!(tenant_files(&image).len(), 4, "{after}");
        }
    }
    assert!(undecided >= 1);
}

/// An operation and the two states between which it goes over at one moment.
struct Case {
    run: fn(&World),
    /// `None` when the tenant is not there.
    state: fn(&World) -> Option<String>,
}

fn state(world: &World) -> Option<String> {
    match world.handle("acme", "alice") {
        Ok(_) => Some(household(world, "acme")),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            None
        }
    }
}

/// Kills the process, and lets the power fail, before every single operation on the disk. Gives the number of images.
fn killed_everywhere(case: &Case) -> usize {
    let base = settled();
    let before = (case.state)(&open(&base.kill()).unwrap());
    let after = {
        let disk = base.kill();
        let world = open(&disk).unwrap();
        (case.run)(&world);
        (case.state)(&world)
    };
    let disk = base.kill();
    let world = open(&disk).unwrap();
    // The file is open and the index loaded, as in service.
    (case.state)(&world);
    let images = Arc::new(Mutex::new(Vec::new()));
    let (keep, look) = (images.clone(), disk.clone());
    disk.on_mutation(Some(Box::new(move |number| {
        keep.lock().unwrap().push((number, look.kill(), look.crash()));
        false
    })));
    (case.run)(&world);
    disk.on_mutation(None);
    drop(world);
    let images = std::mem::take(&mut *images.lock().unwrap());
    let (count, mut was_after) = (images.len() * 2, false);
    for (number, killed, crashed) in images {
        for (how, image) in [("killed", &killed), ("crashed", &crashed)] {
            let context = format!("{how} before operation {number}");
            // On the way up it is killed once more.
            let again = Arc::new(Mutex::new(None));
            let (keep, look, at) = (again.clone(), image.clone(), image.mutations() + 1 + number % 23);
            image.on_mutation(Some(Box::new(move |now| {
                if now == at {
                    *keep.lock().unwrap() = Some(look.crash());
                }
                false
            })));
            let found = settles(case, image, &before, &after, &context);
            image.on_mutation(None);
            if how == "killed" {
                assert!(found || !was_after, "{context}: what had happened has not");
                was_after = found;
            }
            if let Some(second) = again.lock().unwrap().take() {
                let settled = settles(case, &second, &before, &after, &format!("{context}, twice"));
                assert_eq!(settles(case, &second, &before, &after, &context), settled, "{context}: it wavers");
            }
            assert_eq!(settles(case, image, &before, &after, &format!("{context}, reopened")), found);
        }
    }
    assert!(was_after, "no image is from after it");
    count
}

/// Opens an image: one of the two states, with exactly the files that belong to it. Gives whether it is the later.
fn settles(case: &Case, image: &SimDisk, before: &Option<String>, after: &Option<String>, context: &str) -> bool {
    let world = open(image).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = (case.state)(&world);
    assert!(found == *before || found == *after, "{context}: {found:?}");
    let tenants = world.operator().list(None, 10).unwrap().len();
    assert_eq!(tenants, 1 + usize::from(found.is_some()), "{context}");
    assert_eq!(image.files().len(), 4 + 2 * tenants, "{context}: {:?}", image.files());
    world.operator().verify_audit().unwrap();
    drop(world);
    if found.is_some() {
        // In a copy, as the trail tells of it.
        let world = open(&image.kill()).unwrap();
        assert_eq!(secrets(&world.handle("acme", "alice").unwrap()), ["alice 3", "alice 2", "alice 1"], "{context}");
    }
    found == *after
}

#[test]
fn a_rekeying_that_is_killed_anywhere_has_happened_or_not() {
    fn run(world: &World) {
        world.operator().rekey(&id("acme"), go_on).unwrap();
    }
    /// With the key's epoch in it, or the two would be the same.
    fn with_actions(world: &World) -> Option<String> {
        let inner = state(world)?;
        let done = world.operator().audit(1, 100).unwrap();
        let done = done.iter().any(|entry| entry.action == OperatorAction::Rekeyed);
        Some(format!("{done} {inner}"))
    }
    let images = killed_everywhere(&Case { run, state: with_actions });
    println!("{images} images");
    assert!(images >= 100, "only {images} images");
}

#[test]
fn an_erasure_that_is_killed_anywhere_has_happened_or_not() {
    fn run(world: &World) {
        let bob = world.handle("acme", "bob").unwrap();
        world.handle("acme", "alice").unwrap().erase_user(bob.user(), Authored::Goes, go_on).unwrap();
    }
    let images = killed_everywhere(&Case { run, state });
    println!("{images} images");
    assert!(images >= 100, "only {images} images");
}

#[test]
fn a_purge_that_is_killed_anywhere_has_happened_or_not() {
    fn run(world: &World) {
        world.operator().purge(&id("acme")).unwrap();
    }
    let images = killed_everywhere(&Case { run, state });
    println!("{images} images");
    assert!(images >= 40, "only {images} images");
}
