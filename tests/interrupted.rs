//! Transactions that are interrupted: by an operator, by time, by a fault of the device, by a panic below, and by
//! other threads. Whatever happens while the caller's code runs, it is all done or nothing, and nobody is stuck.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::json;
use support::filled::{DATA, Rows, TENANTS, all_well, files_of, filled, memory, open, rows_of};
use support::panicking::panicking;
use support::seen::seen;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Engine, Error, ErrorKind, Issuer, Memory, Reason, Result, Scopes, TenantHandle, TenantId, TenantSpec, TestClock,
    Timestamp,
};

/// More than the cache holds, so that reads reach the disk.
const ROWS: usize = 70;

static BASE: LazyLock<SimDisk> = LazyLock::new(|| filled(ROWS, false));

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// Runs a case that may get stuck in a thread of its own, so that it fails instead.
fn not_stuck<R: Send + 'static>(case: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(case))));
    match wait.recv_timeout(Duration::from_secs(60)).expect("stuck") {
        Ok(answer) => answer,
        Err(payload) => resume_unwind(payload),
    }
}

/// Waits until a handle is refused.
fn until_refused(handle: &TenantHandle) -> Error {
    loop {
        match handle.check(Scopes::READ) {
            Ok(()) => thread::yield_now(),
            Err(error) => return error,
        }
    }
}

/// Puts before and after something happens, and goes on whatever the puts answer.
fn carry_on(handle: &TenantHandle, happens: impl FnOnce()) -> (Result<()>, Result<()>) {
    let mut second = Ok(());
    let answer = handle.transact(|t| {
        t.memories("notes")?.put(Memory::new("first"))?;
        happens();
        second = t.memories("notes")?.put(Memory::new("second")).map(|_| ());
        Ok(())
    });
    (second, answer)
}

#[test]
fn a_tenant_that_is_suspended_meanwhile_is_not_changed() {
    let world = World::open(Path::new(DATA), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let handle = world.handle("acme", "alice").unwrap();
    let before = seen(&handle);
    let (second, answer) = carry_on(&handle, || world.operator().suspend(&acme()).unwrap());
    for answer in [second, answer] {
        assert_eq!(*answer.unwrap_err().reason(), Reason::TenantSuspended);
    }
    world.operator().resume(&acme()).unwrap();
    assert_eq!(seen(&handle), before);
    // Also where the code makes no step after it, and under a key, which is not kept.
    let answer = handle.transact_once("key", |t| {
        t.memories("notes")?.put(Memory::new("first"))?;
        world.operator().suspend(&acme()).unwrap();
        Ok(())
    });
    assert_eq!(*answer.unwrap_err().reason(), Reason::TenantSuspended);
    world.operator().resume(&acme()).unwrap();
    assert_eq!(seen(&handle), before);
    assert!(handle.transact_once("key", |_| Ok(())).unwrap().is_some());
}

#[test]
fn an_identity_that_expires_meanwhile_changes_nothing() {
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let world = World::with_clock(Path::new(DATA), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
    world.provision("acme").unwrap();
    let handle = world.handle("acme", "alice").unwrap();
    let before = seen(&handle);
    let (second, answer) = carry_on(&handle, || clock.advance(Duration::from_secs(3_601)));
    for answer in [second, answer] {
        assert_eq!(*answer.unwrap_err().reason(), Reason::IdentityExpired);
    }
    let again = world.handle("acme", "alice").unwrap();
    assert_eq!(seen(&again), before);
    let answer = again.transact(|t| {
        t.memories("notes")?.put(Memory::new("first"))?;
        clock.advance(Duration::from_secs(3_601));
        Ok(())
    });
    assert_eq!(*answer.unwrap_err().reason(), Reason::IdentityExpired);
    let again = world.handle("acme", "alice").unwrap();
    assert_eq!(seen(&again), before);
    carry_on(&again, || clock.advance(Duration::from_secs(3_598))).1.unwrap();
}

#[test]
fn a_tenant_that_is_purged_meanwhile_is_gone() {
    not_stuck(|| {
        let disk = SimDisk::new(1);
        let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
        let files = disk.files().len();
        world.provision("acme").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        // The purge waits for the transaction, which ends because of it.
        thread::scope(|scope| {
            let (second, answer) = carry_on(&handle, || {
                scope.spawn(|| world.operator().purge(&acme()).unwrap());
                assert_eq!(until_refused(&handle).kind(), ErrorKind::NotFound);
            });
            assert_eq!(second.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound);
        });
        assert_eq!(disk.files().len(), files, "{:?}", disk.files());
        world.provision("acme").unwrap();
        assert!(seen(&world.handle("acme", "alice").unwrap()).memories.is_empty());
    });
}

#[test]
fn an_engine_that_is_closed_meanwhile_has_done_nothing() {
    not_stuck(|| {
        let disk = SimDisk::new(1);
        let world = World::open(Path::new(DATA), Arc::new(disk.clone())).unwrap();
        world.provision("acme").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        let before = seen(&handle);
        thread::scope(|scope| {
            let (second, answer) = carry_on(&handle, || {
                scope.spawn(|| world.engine.close().unwrap());
                assert_eq!(*until_refused(&handle).reason(), Reason::Closed);
            });
            assert_eq!(*second.unwrap_err().reason(), Reason::Closed);
            assert_eq!(*answer.unwrap_err().reason(), Reason::Closed);
        });
        let world = World::open(Path::new(DATA), Arc::new(disk)).unwrap();
        assert_eq!(seen(&world.handle("acme", "alice").unwrap()), before);
    });
}

/// Closing waits for the transaction; the transaction must not wait for the closing.
#[test]
fn code_that_asks_for_a_handle_while_the_engine_closes_is_refused_and_not_stuck() {
    not_stuck(|| {
        let world = World::open(Path::new(DATA), Arc::new(SimDisk::new(1))).unwrap();
        world.provision("acme").unwrap();
        world.provision("zoo").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        thread::scope(|scope| {
            carry_on(&handle, || {
                scope.spawn(|| world.engine.close().unwrap());
                until_refused(&handle);
                for tenant in ["acme", "zoo"] {
                    assert_eq!(*world.handle(tenant, "alice").unwrap_err().reason(), Reason::Closed);
                }
                world.operator().suspend(&acme()).unwrap_err();
            })
            .1
            .unwrap_err();
        });
    });
}

/// What would wait for the transaction itself is refused inside it.
#[test]
fn code_that_purges_its_own_tenant_or_closes_its_engine_is_refused_and_not_stuck() {
    not_stuck(|| {
        let world = World::open(Path::new(DATA), Arc::new(SimDisk::new(1))).unwrap();
        world.provision("acme").unwrap();
        world.provision("zoo").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        handle
            .transact(|t| {
                assert_eq!(world.operator().purge(&acme()).unwrap_err().kind(), ErrorKind::InvalidInput);
                assert_eq!(world.engine.close().unwrap_err().kind(), ErrorKind::InvalidInput);
                // Another tenant is another matter.
                world.operator().purge(&TenantId::new("zoo").unwrap())?;
                t.memories("notes")?.put(Memory::new("k"))
            })
            .unwrap();
        assert!(handle.memories("notes").unwrap().exists("k").unwrap());
        world.operator().purge(&acme()).unwrap();
        world.engine.close().unwrap();
    });
}

/// Two counters whose sum stays: whoever reads both in one snapshot sees it, and no increment is lost.
#[test]
fn nobody_elses_write_comes_between_the_steps() {
    const THREADS: i64 = 4;
    const ROUNDS: i64 = 60;
    let (engine, authority) = Engine::in_memory().unwrap();
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    operator.provision(TenantSpec::new("acme").unwrap().trusts(Issuer::authority())).unwrap();
    let world = World { engine, authority };
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    notes.put_many(["up", "down"].map(|key| Memory::new(key).content(json!(0))).into()).unwrap();
    let number =
        |memory: &watertight::MemoryRecord| memory.content.as_ref().unwrap().parse().unwrap().as_i64().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let handle = world.handle("acme", &format!("writer-{thread}")).unwrap();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let step = |give_up: bool| {
                            handle.transact(|t| {
                                let notes = t.memories("notes")?;
                                let (up, down) = (number(&notes.get("up")?), number(&notes.get("down")?));
                                notes.put(Memory::new("up").content(json!(up + 1)))?;
                                if give_up && round % 2 == 0 {
                                    return t.abort();
                                }
                                if give_up {
                                    resume_unwind(Box::new("the caller's own"));
                                }
                                notes.put(Memory::new("down").content(json!(down - 1)))
                            })
                        };
                        // Those that are given up do not count.
                        let _ = catch_unwind(AssertUnwindSafe(|| step(true).unwrap_err()));
                        step(false).unwrap();
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let both = notes.get_many(&["up", "down"]).unwrap();
                let [Some(up), Some(down)] = &both[..] else { panic!("{both:?}") };
                assert_eq!(number(up) + number(down), 0);
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let up = notes.get("up").unwrap();
    assert_eq!((number(&up), up.version as i64), (THREADS * ROUNDS, THREADS * ROUNDS + 1));
    world.handle("acme", "alice").unwrap().audit().verify().unwrap();
}

/// What a transaction that ran into a fault may answer.
fn is_passing(error: &Error) -> bool {
    matches!(error.reason(), Reason::Io(_) | Reason::DiskFull | Reason::CommitUnknown)
}

/// Many steps that reach the disk, by code that takes no notice of errors. Gives the first.
fn heedless(handle: &TenantHandle) -> (Option<Error>, Result<()>) {
    let mut met: Option<Error> = None;
    let answer = handle.transact(|t| {
        let notes = t.memories("notes")?;
        for n in 0..8 {
            let read = notes.get(&format!("key {}", n * 9)).map(|_| ());
            let put = notes.put(memory(&format!("new {n}"), &text(n))).map(|_| ());
            for step in [read, put] {
                match (&met, step) {
                    (None, Err(error)) => met = Some(error),
                    // From the first failure on every step says the same.
                    (Some(first), step) => assert_eq!(step.unwrap_err(), *first),
                    (None, Ok(())) => {}
                }
            }
        }
        Ok(())
    });
    (met, answer)
}

fn text(n: usize) -> String {
    format!("{n} ").repeat(10_000)
}

/// All of the transaction or nothing, as it said; and both tenants go on.
fn all_or_nothing(world: &World, met: Option<&Error>, answer: &Result<()>, context: &str) -> [Rows; 2] {
    let mut rows = TENANTS.map(|tenant| rows_of(tenant, ROWS));
    let handle = world.handle("acme", "alice").unwrap();
    let notes = handle.memories("notes").unwrap();
    let done = notes.exists("new 0").unwrap_or_else(|error| panic!("{context}: {error}"));
    match (met, answer) {
        (Some(met), answer) => {
            assert_eq!(answer.as_ref().unwrap_err(), met, "{context}");
            assert!(!done, "{context}: a step failed, and the others were done");
        }
        (None, Ok(())) => assert!(done, "{context}: acknowledged and not there"),
        (None, Err(error)) => {
            assert!(!done || error.kind() == ErrorKind::OutcomeUnknown, "{context}: done, but it said {error}");
        }
    }
    if done {
        rows[0].extend((0..8).map(|n| (format!("new {n}"), text(n))));
    }
    for (tenant, rows) in TENANTS.into_iter().zip(&mut rows) {
        all_well(world, tenant, rows, context);
        let handle = world.handle(tenant, "alice").unwrap();
        let went_on = handle.transact(|t| t.memories("notes")?.put(memory("afterwards", "here")));
        went_on.unwrap_or_else(|error| panic!("{context}: {tenant} does not go on: {error}"));
        rows.insert("afterwards".into(), "here".into());
        all_well(world, tenant, rows, context);
    }
    rows
}

fn data_of_acme() -> PathBuf {
    files_of(&open(&BASE.kill(), false).unwrap(), "acme").0
}

#[test]
fn a_step_that_meets_a_fault_ends_the_transaction_whatever_the_code_makes_of_it() {
    let data = data_of_acme().to_string_lossy().into_owned();
    type Plan = fn(&SimDisk, &str, u64);
    let plans: [(&str, Plan); 5] = [
        ("read", SimDisk::fail_read),
        ("write", SimDisk::fail_write),
        ("short write", |disk, part, after| disk.short_write(part, after, 512)),
        ("set_len", SimDisk::fail_set_len),
        ("sync", SimDisk::fail_sync),
    ];
    let (mut inside, mut at_the_end) = (0, 0);
    for (name, plan) in plans {
        let mut after = 0;
        loop {
            let context = format!("{name} {after}");
            let disk = BASE.kill();
            let world = open(&disk, false).unwrap();
            let handle = world.handle("acme", "alice").unwrap();
            plan(&disk, &data, after);
            let (met, answer) = heedless(&handle);
            let happened = disk.planned_faults() == 0;
            disk.clear_faults();
            for error in met.iter().chain(answer.as_ref().err()) {
                assert!(is_passing(error) && happened, "{context}: {error}");
            }
            inside += usize::from(met.is_some());
            at_the_end += usize::from(met.is_none() && answer.is_err());
            drop(handle);
            let rows = all_or_nothing(&world, met.as_ref(), &answer, &context);
            drop(world);
            let crashed = open(&disk.crash(), false).unwrap();
            for (tenant, rows) in TENANTS.into_iter().zip(&rows) {
                all_well(&crashed, tenant, rows, &context);
            }
            if !happened {
                break;
            }
            // The later ones are much alike.
            after += 1 + after / 8;
        }
    }
    println!("{inside} faults in steps, {at_the_end} at the commit");
    assert!(inside >= 5 && at_the_end >= 5, "only {inside} faults in steps and {at_the_end} at the commit");
}

#[test]
fn a_panic_below_a_step_ends_the_transaction_whatever_the_code_makes_of_it() {
    let data = data_of_acme();
    let (mut inside, mut at_the_end) = (0, 0);
    for on_reads in [true, false] {
        let mut after = 0;
        loop {
            let context = format!("reads {on_reads}, after {after}");
            let (world, _disk, countdown) = panicking(&BASE, data.clone(), on_reads);
            let handle = world.handle("acme", "alice").unwrap();
            countdown.store(after, Ordering::SeqCst);
            let (met, answer) = heedless(&handle);
            let happened = countdown.swap(-1, Ordering::SeqCst) < 0;
            for error in met.iter().chain(answer.as_ref().err()) {
                let expected = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::OutcomeUnknown);
                assert!(expected && happened, "{context}: {error}");
            }
            inside += usize::from(met.is_some());
            at_the_end += usize::from(met.is_none() && answer.is_err());
            drop(handle);
            all_or_nothing(&world, met.as_ref(), &answer, &context);
            if !happened {
                break;
            }
            after += 1 + after / 8;
        }
    }
    println!("{inside} panics in steps, {at_the_end} at the commit");
    assert!(inside >= 10 && at_the_end >= 2, "only {inside} panics in steps and {at_the_end} at the commit");
}

/// Whoever met a fault ends the file's instance, and waits for the transaction in it. Reads inside the transaction
/// must not wait for that thread in turn.
#[test]
fn reads_inside_do_not_wait_for_a_thread_that_met_a_fault() {
    let data = data_of_acme().to_string_lossy().into_owned();
    for steps_follow in [false, true] {
        let data = data.clone();
        not_stuck(move || {
            let disk = BASE.kill();
            let world = open(&disk, false).unwrap();
            let handle = world.handle("acme", "alice").unwrap();
            let notes = handle.memories("notes").unwrap();
            let (go, gone) = mpsc::channel();
            let (step, answer) = thread::scope(|scope| {
                let reads = notes.clone();
                scope.spawn(move || {
                    gone.recv().unwrap();
                    let mut keys = (0..ROWS).cycle();
                    while reads.get(&format!("key {}", keys.next().unwrap())).is_ok() {}
                });
                let mut step = Ok(());
                let answer = handle.transact(|t| {
                    t.memories("notes")?.put(memory("new 0", "x"))?;
                    disk.fail_read(&data, 0);
                    go.send(()).unwrap();
                    while disk.planned_faults() > 0 {
                        thread::yield_now();
                    }
                    for n in 0..1_000 {
                        let key = format!("key {}", n % ROWS);
                        match notes.get(&key) {
                            Ok(found) => assert_eq!(found.key, key),
                            Err(error) => assert!(is_passing(&error), "{error}"),
                        }
                        thread::yield_now();
                    }
                    if steps_follow {
                        step = t.memories("notes")?.put(memory("new 1", "x")).map(|_| ());
                    }
                    Ok(())
                });
                (step, answer)
            });
            let context = format!("steps follow: {steps_follow}");
            let error = answer.unwrap_err();
            assert!(is_passing(&error), "{context}: {error}");
            // A step that finds what it needs in memory does not notice yet; the commit does.
            assert!(step.as_ref().err().is_none_or(is_passing), "{context}: {step:?}");
            let rows = TENANTS.map(|tenant| rows_of(tenant, ROWS));
            for (tenant, rows) in TENANTS.into_iter().zip(&rows) {
                all_well(&world, tenant, rows, &context);
            }
            handle.transact(|t| t.memories("notes")?.put(memory("new 0", "x"))).unwrap();
        });
    }
}
