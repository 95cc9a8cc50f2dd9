//! A full disk, an I/O error, a short write, a panic below the engine: an error for the tenant it hits, never
//! corruption or a false acknowledgement, and the same engine goes on when the fault has passed.
//!
//! Each operation is run once for every disk operation it makes, with that one failing.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use support::filled::{DATA, Rows, TENANTS, all_well, files_of, filled, memory, notes, open, rows_of};
use support::panicking::panicking;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{Error, ErrorKind, Reason, TenantId, TenantStatus};

const ROWS: usize = 25;

static BASE: LazyLock<SimDisk> = LazyLock::new(|| filled(ROWS, false));
/// More than the cache holds, so that reads reach the disk.
const MANY_ROWS: usize = 70;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Write,
    ShortWrite(usize),
    Read,
    SetLen,
    Sync,
    Names,
    SyncDirectory,
}

const FAULTS: [Fault; 9] = [
    Fault::Write,
    Fault::ShortWrite(0),
    Fault::ShortWrite(512),
    Fault::ShortWrite(4_607),
    Fault::Read,
    Fault::SetLen,
    Fault::Sync,
    Fault::Names,
    Fault::SyncDirectory,
];

impl Fault {
    fn plan(self, disk: &SimDisk, part: &str, after: u64) {
        match self {
            Self::Write => disk.fail_write(part, after),
            Self::ShortWrite(bytes) => disk.short_write(part, after, bytes),
            Self::Read => disk.fail_read(part, after),
            Self::SetLen => disk.fail_set_len(part, after),
            Self::Sync => disk.fail_sync(part, after),
            Self::Names => disk.fail_name(part, after),
            Self::SyncDirectory => disk.fail_sync_directory(part, after),
        }
    }
}

/// What an operation that ran into a fault may answer.
fn is_passing(error: &Error) -> bool {
    matches!(error.reason(), Reason::Io(_) | Reason::DiskFull | Reason::CommitUnknown)
}

fn rows() -> [Rows; 2] {
    rows_of_both(ROWS)
}

fn rows_of_both(count: usize) -> [Rows; 2] {
    TENANTS.map(|tenant| rows_of(tenant, count))
}

fn id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// Runs `case` with the n-th operation of each kind failing, until there is no n-th any more.
fn every_fault(case: impl Fn(&SimDisk, &dyn Fn(&SimDisk), &str) -> bool) {
    every_fault_on(&BASE, case);
}

fn every_fault_on(base: &SimDisk, case: impl Fn(&SimDisk, &dyn Fn(&SimDisk), &str) -> bool) {
    let mut cases = 0;
    for fault in FAULTS {
        for after in 0.. {
            let context = format!("{fault:?} after {after}");
            let disk = base.kill();
            if !case(&disk, &|disk| fault.plan(disk, DATA, after), &context) {
                break;
            }
            cases += 1;
        }
    }
    println!("{cases} faults");
    assert!(cases >= 3, "only {cases} faults");
}

/// Whether the planned fault happened; it cannot happen any more.
fn happened(disk: &SimDisk) -> bool {
    let happened = disk.planned_faults() == 0;
    disk.clear_faults();
    happened
}

/// The same engine still works, and so does one that opens what a crash leaves.
fn goes_on(world: World, disk: &SimDisk, mut expected: [Rows; 2], context: &str) {
    for (tenant, rows) in TENANTS.into_iter().zip(&mut expected) {
        all_well(&world, tenant, rows, context);
        let put = notes(&world, tenant).unwrap().put(memory("afterwards", "still here"));
        put.unwrap_or_else(|error| panic!("{context}: {tenant} does not go on: {error}"));
        rows.insert("afterwards".into(), "still here".into());
        all_well(&world, tenant, rows, context);
    }
    world.operator().verify_audit().unwrap();
    let crashed = disk.crash();
    drop(world);
    for image in [crashed, disk.crash()] {
        let world = open(&image, false).unwrap_or_else(|error| panic!("{context}: fresh open: {error}"));
        for (tenant, rows) in TENANTS.into_iter().zip(&expected) {
            all_well(&world, tenant, rows, &format!("{context}: fresh open"));
        }
    }
}

/// A change of acme's rows that runs into a fault.
fn change(apply: impl Fn(&watertight::Memories) -> Result<(), Error>, key: &str, after: Option<&str>) {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        let [acme, zoo] = TENANTS.map(|tenant| notes(&world, tenant).unwrap());
        let [mut rows, other] = rows();
        plan(disk);
        let answer = apply(&acme);
        let met = happened(disk);
        let before = rows.get(key).cloned();
        // One read may still meet what the fault left; the fault itself has passed.
        let now = match acme.get(key) {
            Ok(found) => found.text,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{context}: reading after the fault: {error}"),
        };
        let changed = now.as_deref() == after;
        match answer {
            Ok(()) => assert!(changed, "{context}: acknowledged and not there"),
            Err(error) => {
                assert!(is_passing(&error), "{context}: {error}");
                assert!(met, "{context}: {error} without a fault");
                assert!(changed || now == before, "{context}: half done");
                assert!(!changed || error.kind() == ErrorKind::OutcomeUnknown, "{context}: done, but it said {error}");
            }
        }
        match now {
            Some(text) => drop(rows.insert(key.into(), text)),
            None => drop(rows.remove(key)),
        }
        zoo.get("key 1").unwrap_or_else(|error| panic!("{context}: the neighbour: {error}"));
        drop((acme, zoo));
        goes_on(world, disk, [rows, other], context);
        met
    });
}

#[test]
fn a_put_that_fails_is_all_or_nothing() {
    change(|notes| notes.put(memory("new", "small")).map(|_| ()), "new", Some("small"));
}

#[test]
fn a_put_that_makes_the_file_grow_and_fails_is_all_or_nothing() {
    let text = "large ".repeat(60_000);
    change(|notes| notes.put(memory("key 3", &text)).map(|_| ()), "key 3", Some(&text));
}

#[test]
fn a_delete_that_fails_is_all_or_nothing() {
    change(|notes| notes.delete("key 5"), "key 5", None);
}

#[test]
fn a_provision_that_fails_leaves_the_name_free() {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        let files = disk.files().len();
        plan(disk);
        let answer = world.provision("third");
        let met = happened(disk);
        let image = disk.crash();
        match answer {
            Ok(()) => drop(world.handle("third", "alice").unwrap()),
            Err(error) => {
                assert!(is_passing(&error), "{context}: {error}");
                // Where even undoing failed, the next open undoes it.
                let refused = world.handle("third", "alice").map(|_| ()).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::NotFound, "{context}");
                match world.provision("third") {
                    Ok(()) => assert_eq!(disk.files().len(), files + 2, "{context}: {:?}", disk.files()),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict, "{context}");
                        let again = open(&image, false).unwrap_or_else(|error| panic!("{context}: {error}"));
                        assert_eq!(image.files().len(), files, "{context}: {:?}", image.files());
                        again.provision("third").unwrap_or_else(|error| panic!("{context}: {error}"));
                    }
                }
            }
        }
        goes_on(world, disk, rows(), context);
        met
    });
}

#[test]
fn a_purge_that_fails_can_be_called_again() {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        world.provision("third").unwrap();
        let files = disk.files().len();
        let third = notes(&world, "third").unwrap();
        third.put(memory("k", "t")).unwrap();
        plan(disk);
        let answer = world.operator().purge(&id("third"));
        let met = happened(disk);
        if let Err(error) = answer {
            assert!(is_passing(&error), "{context}: {error}");
            // A crash instead of the second call finishes it, or it never began.
            let image = disk.crash();
            let again = open(&image, false).unwrap_or_else(|error| panic!("{context}: {error}"));
            match notes(&again, "third") {
                Ok(notes) => assert_eq!(notes.get("k").unwrap().text.as_deref(), Some("t"), "{context}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{context}");
                    assert_eq!(image.files().len(), files - 2, "{context}: {:?}", image.files());
                }
            }
            match world.operator().purge(&id("third")) {
                Ok(_) => {}
                // Done already, when the failure came behind the last commit.
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {error}"),
            }
        }
        assert_eq!(third.get("k").unwrap_err().kind(), ErrorKind::NotFound, "{context}");
        assert_eq!(disk.files().len(), files - 2, "{context}: {:?}", disk.files());
        drop(third);
        world.provision("third").unwrap();
        goes_on(world, disk, rows(), context);
        met
    });
}

/// A re-keying, or an erasure of a user, that runs into a fault: the tenant goes on in its former file or in the next
/// one, and the other one goes at the latest when it is called again.
fn goes_over(run: fn(&World) -> Result<(), Error>) {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        let files = disk.files().len();
        let acme = notes(&world, "acme").unwrap();
        acme.get("key 1").unwrap();
        plan(disk);
        let answer = run(&world);
        let met = happened(disk);
        if let Err(error) = answer {
            assert!(is_passing(&error), "{context}: {error}");
            assert!(acme.get("key 1").is_ok(), "{context}");
            for image in [disk.crash(), disk.kill()] {
                let again = open(&image, false).unwrap_or_else(|error| panic!("{context}: {error}"));
                all_well(&again, "acme", &rows()[0], &format!("{context}: after a crash"));
                assert_eq!(image.files().len(), files, "{context}: {:?}", image.files());
            }
            run(&world).unwrap_or_else(|error| panic!("{context}: again: {error}"));
        }
        assert_eq!(disk.files().len(), files, "{context}: {:?}", disk.files());
        drop(acme);
        goes_on(world, disk, rows(), context);
        met
    });
}

fn go_on(_: watertight::RekeyProgress) -> std::ops::ControlFlow<()> {
    std::ops::ControlFlow::Continue(())
}

#[test]
fn a_rekeying_that_fails_can_be_called_again() {
    goes_over(|world| world.operator().rekey(&id("acme"), go_on).map(|_| ()));
}

#[test]
fn an_erasure_that_fails_can_be_called_again() {
    goes_over(|world| {
        let bob = world.handle("acme", "bob").unwrap();
        let alice = world.handle("acme", "alice").unwrap();
        alice.erase_user(bob.user(), watertight::Authored::Goes, go_on).map(|_| ())
    });
}

#[test]
fn a_suspension_that_fails_can_be_called_again() {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        plan(disk);
        let answer = world.operator().suspend(&id("acme"));
        let met = happened(disk);
        if let Err(error) = answer {
            assert!(is_passing(&error), "{context}: {error}");
            world.operator().suspend(&id("acme")).unwrap();
        }
        assert_eq!(*world.handle("acme", "alice").map(|_| ()).unwrap_err().reason(), Reason::TenantSuspended);
        world.operator().resume(&id("acme")).unwrap();
        goes_on(world, disk, rows(), context);
        met
    });
}

/// Opens the engine and both tenants of a disk with a fault.
fn opening(disk: &SimDisk, plan: &dyn Fn(&SimDisk), context: &str) -> bool {
    plan(disk);
    let first = open(disk, false).inspect(|world| {
        // A tenant that cannot be opened now can be a moment later, in the same engine.
        for tenant in TENANTS {
            if let Err(error) = world.handle(tenant, "alice") {
                assert!(is_passing(&error), "{context}: {error}");
                world.handle(tenant, "alice").unwrap_or_else(|error| panic!("{context}: {tenant} again: {error}"));
            }
        }
    });
    let met = happened(disk);
    let world = first.unwrap_or_else(|error| {
        assert!(is_passing(&error), "{context}: {error}");
        open(disk, false).unwrap_or_else(|error| panic!("{context}: the second open: {error}"))
    });
    goes_on(world, disk, rows(), context);
    met
}

#[test]
fn an_open_that_fails_can_be_repeated() {
    every_fault(opening);
}

#[test]
fn an_open_that_fails_after_a_crash_can_be_repeated() {
    let image = {
        let disk = BASE.kill();
        let world = open(&disk, false).unwrap();
        for tenant in TENANTS {
            let notes = notes(&world, tenant).unwrap();
            notes.put(memory("key 2", "for a moment")).unwrap();
            notes.put(memory("key 2", &rows_of(tenant, ROWS)["key 2"])).unwrap();
        }
        disk.crash()
    };
    every_fault(|_, plan, context| opening(&image.kill(), plan, context));
}

#[test]
fn a_close_that_fails_loses_nothing() {
    every_fault(|disk, plan, context| {
        let world = open(disk, false).unwrap();
        let mut expected = rows();
        for (tenant, rows) in TENANTS.into_iter().zip(&mut expected) {
            notes(&world, tenant).unwrap().put(memory("last", "before the close")).unwrap();
            rows.insert("last".into(), "before the close".into());
        }
        plan(disk);
        if let Err(error) = world.engine.close() {
            assert!(is_passing(&error), "{context}: {error}");
        }
        drop(world);
        let met = happened(disk);
        for image in [disk.crash(), disk.kill()] {
            let world = open(&image, false).unwrap_or_else(|error| panic!("{context}: {error}"));
            goes_on(world, &image, expected.clone(), context);
        }
        let world = open(disk, false).unwrap_or_else(|error| panic!("{context}: {error}"));
        goes_on(world, disk, expected, context);
        met
    });
}

#[test]
fn a_read_that_fails_says_so_and_the_next_one_works() {
    every_fault_on(&filled(MANY_ROWS, false), |disk, plan, context| {
        let world = open(disk, false).unwrap();
        let acme = notes(&world, "acme").unwrap();
        plan(disk);
        for (key, text) in rows_of("acme", MANY_ROWS) {
            let found = acme.get(&key).or_else(|error| {
                assert!(is_passing(&error), "{context}: {key}: {error}");
                acme.get(&key)
            });
            assert_eq!(found.unwrap_or_else(|error| panic!("{context}: {key}: {error}")).text, Some(text), "{context}");
        }
        let met = happened(disk);
        drop(acme);
        goes_on(world, disk, rows_of_both(MANY_ROWS), context);
        met
    });
}

/// The second fault hits the reopening that the first one made necessary.
#[test]
fn a_fault_while_a_tenant_is_reopened_is_not_the_end_of_it() {
    let (data, _) = files_of(&open(&BASE.kill(), false).unwrap(), "acme");
    let data = data.to_string_lossy().into_owned();
    let mut reopened = 0;
    for first in [Fault::Write, Fault::Sync] {
        for second in FAULTS {
            for after in 0..40 {
                let context = format!("{first:?}, then {second:?} after {after}");
                let disk = BASE.kill();
                let world = open(&disk, false).unwrap();
                let acme = notes(&world, "acme").unwrap();
                first.plan(&disk, &data, 1);
                let error = acme.put(memory("key 1", "x")).unwrap_err();
                assert!(is_passing(&error), "{context}: {error}");
                assert_eq!(disk.planned_faults(), 0, "{context}");
                second.plan(&disk, &data, after);
                let answer = acme.get("key 2");
                let met = happened(&disk);
                if let Err(error) = answer {
                    assert!(is_passing(&error), "{context}: {error}");
                    reopened += 1;
                }
                let now = acme.get("key 1").unwrap_or_else(|error| panic!("{context}: {error}")).text.unwrap();
                let [mut rows, other] = rows();
                assert!(now == "x" || now == rows["key 1"], "{context}");
                rows.insert("key 1".into(), now);
                drop(acme);
                goes_on(world, &disk, [rows, other], &context);
                if !met {
                    break;
                }
            }
        }
    }
    assert!(reopened > 10, "only {reopened} reopenings failed");
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on_reading() {
    for large in [false, true] {
        let disk = BASE.kill();
        let world = open(&disk, false).unwrap();
        let [acme, zoo] = TENANTS.map(|tenant| notes(&world, tenant).unwrap());
        let [mut rows, other] = rows();
        disk.disk_full(true);
        let mut failed = 0;
        for n in 0..60 {
            let (key, text) = (format!("filling {n}"), "y".repeat(if large { 300_000 } else { 20_000 }));
            match acme.put(memory(&key, &text)) {
                Ok(_) => drop(rows.insert(key, text)),
                Err(error) => {
                    let expected = *error.reason() == Reason::DiskFull || error.kind() == ErrorKind::OutcomeUnknown;
                    assert!(expected, "put {n}: {error}");
                    failed += 1;
                    match acme.get(&key) {
                        Ok(_) if error.kind() == ErrorKind::OutcomeUnknown => drop(rows.insert(key, text)),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "put {n}"),
                        Ok(_) => panic!("put {n} is there, but it said {error}"),
                    }
                }
            }
            for (key, text) in rows.iter().take(5) {
                assert_eq!(acme.get(key).unwrap().text.as_ref(), Some(text));
            }
        }
        assert!(failed > 5, "only {failed} puts failed");
        zoo.get("key 1").unwrap();
        assert_eq!(*world.provision("third").unwrap_err().reason(), Reason::DiskFull);
        disk.disk_full(false);
        acme.put(memory("room again", "z")).unwrap();
        rows.insert("room again".into(), "z".into());
        world.provision("third").unwrap();
        drop((acme, zoo));
        goes_on(world, &disk, [rows, other], "after a full disk");
    }
}

/// Space for some of a write, but not for all of it.
#[test]
fn a_disk_that_fills_at_any_byte_loses_nothing() {
    let used: u64 = BASE.files().iter().map(|path| BASE.bytes(path).unwrap().len() as u64).sum();
    for room in (0..40).map(|n| n * 40_000) {
        let disk = BASE.kill();
        let context = format!("room for {room}");
        let world = open(&disk, false).unwrap();
        disk.set_capacity(Some(used + room));
        let [mut rows, other] = rows();
        let acme = notes(&world, "acme").unwrap();
        for n in 0..8 {
            let (key, text) = (format!("filling {n}"), "y".repeat(150_000));
            if acme.put(memory(&key, &text)).is_ok() || acme.get(&key).is_ok() {
                rows.insert(key, text);
            }
        }
        // What is there can be read from a fresh open on the full disk too, once the engine was closed.
        drop(acme);
        all_well(&world, "acme", &rows, &context);
        if world.provision("third").is_err() {
            assert_eq!(
                world.handle("third", "alice").map(|_| ()).unwrap_err().kind(),
                ErrorKind::NotFound,
                "{context}"
            );
        }
        disk.set_capacity(None);
        if world.handle("third", "alice").is_err() {
            world.provision("third").unwrap_or_else(|error| panic!("{context}: the name is not free: {error}"));
        }
        goes_on(world, &disk, [rows, other], &context);
    }
}

/// Its steps fail from one on, and those that undo them as well; then the disk is well again.
#[test]
fn a_provisioning_that_failed_leaves_the_name_free_when_the_disk_is_well_again() {
    type Fault = fn(&SimDisk, &str, u64);
    let faults: [(&str, Fault); 5] = [
        ("names", SimDisk::fail_name),
        ("lengths", SimDisk::fail_set_len),
        ("writes", SimDisk::fail_write),
        ("syncs", SimDisk::fail_sync),
        ("syncs of directories", SimDisk::fail_sync_directory),
    ];
    let mut failed = 0;
    for (kind, fault) in faults {
        for first in 0..24 {
            let context = format!("{kind} from {first} on");
            let disk = BASE.kill();
            let world = open(&disk, false).unwrap();
            for after in first..first + 200 {
                fault(&disk, "", after);
            }
            failed += usize::from(world.provision("third").is_err());
            let again = world.provision("third");
            disk.clear_faults();
            if again.is_err() && world.handle("third", "alice").is_err() {
                world.provision("third").unwrap_or_else(|error| panic!("{context}: the name is not free: {error}"));
            }
            world.handle("third", "alice").unwrap_or_else(|error| panic!("{context}: {error}"));
            goes_on(world, &disk, rows(), &context);
        }
    }
    assert!(failed > 30, "only {failed} provisionings failed");
}

#[test]
fn a_panic_below_ends_no_more_than_one_instance_of_one_file() {
    let (data, _) = files_of(&open(&BASE.kill(), false).unwrap(), "acme");
    let mut caught = 0;
    for on_reads in [true, false] {
        for after in 0..60 {
            let context = format!("reads {on_reads}, after {after}");
            let (world, disk, countdown) = panicking(&BASE, data.clone(), on_reads);
            let [acme, zoo] = TENANTS.map(|tenant| notes(&world, tenant).unwrap());
            let [mut rows, other] = rows();
            countdown.store(after, Ordering::SeqCst);
            let mut met = false;
            for (key, text) in rows.clone().iter().take(10) {
                match acme.get(key) {
                    Ok(found) => assert_eq!(found.text.as_ref(), Some(text), "{context}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Damaged, "{context}: {error}");
                        met = true;
                    }
                }
            }
            if let Err(error) = acme.put(memory("key 1", "x")) {
                let expected = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::OutcomeUnknown);
                assert!(expected, "{context}: {error}");
                met = true;
            }
            countdown.store(-1, Ordering::SeqCst);
            let now = acme.get("key 1").unwrap_or_else(|error| panic!("{context}: {error}")).text.unwrap();
            assert!(now == "x" || met && now == rows["key 1"], "{context}");
            rows.insert("key 1".into(), now);
            caught += usize::from(met);
            drop((acme, zoo));
            goes_on(world, &disk, [rows, other], &context);
        }
    }
    println!("{caught} panics met");
    assert!(caught >= 10, "only {caught} panics met");
}

/// In the former file or in the next one: the tenant goes on in one of them.
#[test]
fn a_panic_below_a_rekeying_leaves_the_tenant_whole() {
    let (mut caught, mut unwound) = (0, 0);
    for on_reads in [true, false] {
        for after in 0..50 {
            let context = format!("reads {on_reads}, after {after}");
            let (world, disk, countdown) = panicking(&BASE, "/data.".into(), on_reads);
            let files = disk.files().len();
            let acme = notes(&world, "acme").unwrap();
            countdown.store(after, Ordering::SeqCst);
            // A disk that panics under the storage engine is an error. One that panics under our own calls unwinds to here.
            let answer = catch_unwind(AssertUnwindSafe(|| world.operator().rekey(&id("acme"), go_on)));
            countdown.store(-1, Ordering::SeqCst);
            match answer {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let expected = matches!(error.kind(), ErrorKind::Damaged | ErrorKind::OutcomeUnknown);
                    assert!(expected, "{context}: {error}");
                    caught += 1;
                }
                Err(_) => unwound += 1,
            }
            assert!(acme.get("key 1").is_ok(), "{context}");
            world.operator().rekey(&id("acme"), go_on).unwrap_or_else(|error| panic!("{context}: again: {error}"));
            assert_eq!(disk.files().len(), files, "{context}: {:?}", disk.files());
            drop(acme);
            goes_on(world, &disk, rows(), &context);
        }
    }
    println!("{caught} panics met, {unwound} of them not under the storage engine");
    assert!(caught > 20 && unwound < 5, "{caught} panics met, {unwound} of them not under the storage engine");
}

/// The last commit of a provisioning can be durable although it fails: then the tenant must stay whole.
#[test]
fn a_provision_of_unknown_outcome_never_leaves_a_tenant_without_files() {
    let mut failed = 0;
    for after in 0..60 {
        let context = format!("after {after}");
        let (world, disk, countdown) = panicking(&BASE, Path::new(DATA).join("catalog.redb"), false);
        countdown.store(after, Ordering::SeqCst);
        let answer = world.provision("third");
        countdown.store(-1, Ordering::SeqCst);
        failed += usize::from(answer.is_err());
        for image in [disk.kill(), disk.crash(), disk.crash()] {
            let again = open(&image, false).unwrap_or_else(|error| panic!("{context}: {error}"));
            match again.handle("third", "alice") {
                Ok(_) => {}
                Err(error) => {
                    assert!(answer.is_err(), "{context}: acknowledged, then {error}");
                    assert_eq!(error.kind(), ErrorKind::NotFound, "{context}: {error}");
                    again.provision("third").unwrap_or_else(|error| panic!("{context}: not free: {error}"));
                }
            }
        }
        goes_on(world, &disk, rows(), &context);
    }
    assert!(failed > 10, "only {failed} provisions failed");
}

/// A suspension whose commit failed may be durable all the same; what the row says, the live handles do.
#[test]
fn live_handles_follow_the_row_after_a_failed_suspension() {
    let mut failed = 0;
    for after in 0..6 {
        let disk = SimDisk::new(after);
        let world = World::open(Path::new("/data"), Arc::new(disk.clone())).unwrap();
        world.provision("acme").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        let acme = TenantId::new("acme").unwrap();
        let operator = world.operator();
        disk.fail_sync("catalog.redb", after);
        failed += u32::from(operator.suspend(&acme).is_err());
        disk.clear_faults();
        let suspended = operator.inspect(&acme).unwrap().status == TenantStatus::Suspended;
        assert_eq!(handle.usage().is_err(), suspended, "after {after} syncs");
    }
    assert!(failed > 0, "no fault was hit");
}
