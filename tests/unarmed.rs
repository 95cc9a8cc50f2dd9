//! A cold tenant that is only read is opened and closed again without one write or sync of its file; the first change
//! arms it. What failed when a tenant was closed is known when it is opened again, and handles never notice either.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::filled::{DATA, Rows, TENANTS, all_well, files_of, memory, rows_of, vector};
use support::sim_disk::SimDisk;
use support::world::{World, root_key};
use watertight::{
    Engine, ErrorKind, FeedEvent, List, Memories, Memory, Reason, Recall, Selection, TenantId, TestClock, Timestamp,
};

const ROWS: usize = 30;
const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// One tenant open at a time, a cache that is smaller than a tenant, and a clock that stands: the engine's own files have
/// no reason to change.
fn open(disk: &SimDisk) -> World {
    let builder = Engine::builder(DATA).root_key(root_key()).clock(TestClock::at(START));
    let builder = builder.open_tenants_max(1).tenant_cache_bytes(64 << 10);
    let (engine, authority) = builder.danger().disk(Arc::new(disk.clone())).open().unwrap();
    World { engine, authority }
}

/// Both tenants, closed.
fn filled() -> SimDisk {
    let disk = SimDisk::new(7);
    let world = open(&disk);
    for tenant in TENANTS {
        world.provision(tenant).unwrap();
        let rows = rows_of(tenant, ROWS);
        notes(&world, tenant).put_many(rows.iter().map(|(key, text)| memory(key, text)).collect()).unwrap();
    }
    assert!(world.engine.close().unwrap().is_clean());
    disk
}

fn notes(world: &World, tenant: &str) -> Memories {
    world.handle(tenant, "alice").unwrap().memories("notes").unwrap()
}

fn data(world: &World, tenant: &str) -> PathBuf {
    files_of(world, tenant).0
}

fn part(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn contents(disk: &SimDisk, world: &World) -> Vec<Vec<u8>> {
    TENANTS.iter().map(|tenant| disk.bytes(data(world, tenant)).unwrap()).collect()
}

/// Every way of reading.
fn read_all(world: &World, tenant: &str) {
    all_well(world, tenant, &rows_of(tenant, ROWS), "read");
    let notes = notes(world, tenant);
    assert_eq!(notes.count(&Selection::all()).unwrap(), ROWS as u64);
    assert_eq!(notes.changes(None, 100).unwrap().events.len(), ROWS);
    assert_eq!(notes.info().unwrap().dimensions, Some(8));
    assert_eq!(notes.get_many(&["key 1", "none"]).unwrap().len(), 2);
}

/// Touches the other tenant, for which this one has to make room.
fn evict(world: &World, tenant: &str) {
    let other = TENANTS.into_iter().find(|other| *other != tenant).unwrap();
    notes(world, other).get("key 1").unwrap();
}

#[test]
fn a_tenant_that_is_only_read_is_never_written_nor_synced() {
    let disk = filled();
    let world = open(&disk);
    let before = contents(&disk, &world);
    // The first writes the clock's floor into the catalog.
    read_all(&world, "acme");
    let (writes, syncs, mutations) = (disk.writes(), disk.syncs(), disk.mutations());
    for _ in 0..3 {
        TENANTS.iter().for_each(|tenant| read_all(&world, tenant));
    }
    let stats = world.engine.stats();
    assert!(stats.evictions >= 5 && stats.opens >= 6 && stats.open_tenants == 1, "{stats:?}");
    assert_eq!((disk.writes(), disk.syncs(), disk.mutations()), (writes, syncs, mutations));
    // The catalog closes with writes of its own; any of a tenant's file would fail, and the fault would be used up.
    disk.fail_write("/tenants/", 0);
    disk.fail_sync("/tenants/", 0);
    disk.fail_set_len("/tenants/", 0);
    let report = world.engine.close().unwrap();
    assert!(report.is_clean() && report.tenants == 1, "{report:?}");
    assert_eq!(disk.planned_faults(), 3);
    disk.clear_faults();
    let world = open(&disk);
    assert_eq!(contents(&disk, &world), before);
    TENANTS.iter().for_each(|tenant| read_all(&world, tenant));
}

#[test]
fn the_first_change_arms_the_file_and_readers_go_on() {
    let disk = filled();
    let world = open(&disk);
    let mut rows = rows_of("acme", ROWS);
    for round in 0..20 {
        evict(&world, "acme");
        let acme = notes(&world, "acme");
        let mut begun = acme.iter(List::new().oldest_first().limit(7));
        let first = begun.next().unwrap().unwrap();
        let (writes, syncs) = (disk.writes(), disk.syncs());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut looks = 0;
                        while !done.load(Ordering::Acquire) || looks < 3 {
                            let found = acme.recall(&Recall::vector(&vector("key 1")).top(1_000)).unwrap();
                            assert!(found.len() >= ROWS);
                            for (key, text) in rows_of("acme", ROWS).iter().take(5) {
                                assert_eq!(acme.get(key).unwrap().text.as_ref(), Some(text));
                            }
                            looks += 1;
                        }
                    })
                })
                .collect();
            let put = acme.put(memory(&format!("round {round}"), "armed"));
            done.store(true, Ordering::Release);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            put.unwrap();
        });
        assert!(disk.writes() > writes && disk.syncs() >= syncs + 3, "one to arm, two to commit");
        // What was begun before is read to its end, across the arming, and shows what there was.
        let rest = begun.map(|memory| memory.map(|memory| (memory.key, memory.text.unwrap()))).map(Result::unwrap);
        let listed: Rows = rest.chain([(first.key, first.text.unwrap())]).collect();
        let late = listed.iter().filter(|(key, _)| !rows.contains_key(*key)).count();
        assert!(late <= 1, "only the new one may have come in");
        assert!(rows.iter().all(|row| listed.get(row.0) == Some(row.1)), "round {round}");
        rows.insert(format!("round {round}"), "armed".into());
        // On the device, whatever becomes of the process.
        let image = disk.crash();
        all_well(&open(&image), "acme", &rows, "after a crash");
    }
    assert!(world.engine.close().unwrap().is_clean());
    all_well(&open(&disk.crash()), "acme", &rows, "after closing");
}

#[test]
fn a_process_that_is_killed_after_reads_leaves_what_it_found() {
    let disk = filled();
    let world = open(&disk);
    let before = contents(&disk, &world);
    for tenant in TENANTS {
        read_all(&world, tenant);
        for image in [disk.kill(), disk.crash()] {
            let again = open(&image);
            assert_eq!(contents(&image, &again), before);
            TENANTS.iter().for_each(|tenant| read_all(&again, tenant));
        }
    }
}

/// A put whose tenant is then closed for another one with a sync that fails.
fn closed_with_a_failed_sync(world: &World, disk: &SimDisk) -> Rows {
    let mut rows = rows_of("acme", ROWS);
    notes(world, "acme").put(memory("last", "acknowledged")).unwrap();
    rows.insert("last".into(), "acknowledged".into());
    disk.fail_sync(&part(&data(world, "acme")), 0);
    evict(world, "acme");
    assert_eq!(disk.planned_faults(), 0, "the closing has to sync");
    rows
}

#[test]
fn a_tenant_whose_closing_sync_failed_is_read_from_the_device() {
    let disk = filled();
    let world = open(&disk);
    let mut rows = closed_with_a_failed_sync(&world, &disk);
    all_well(&world, "acme", &rows, "opened again");
    all_well(&open(&disk.crash()), "acme", &rows, "a crash after that");
    notes(&world, "acme").put(memory("more", "still here")).unwrap();
    rows.insert("more".into(), "still here".into());
    evict(&world, "acme");
    all_well(&world, "acme", &rows, "once more");
    all_well(&open(&disk.crash()), "acme", &rows, "a crash at the end");
    assert!(world.engine.close().unwrap().is_clean());
}

#[test]
fn a_cache_that_cannot_be_dropped_is_not_trusted_after_a_failed_closing_sync() {
    let disk = filled();
    let world = open(&disk);
    disk.evict_is_confirmed(false);
    let rows = closed_with_a_failed_sync(&world, &disk);
    let acme = || world.handle("acme", "alice").map(|_| ());
    for _ in 0..2 {
        assert_eq!(*acme().unwrap_err().reason(), Reason::Quarantined);
        all_well(&world, "zoo", &rows_of("zoo", ROWS), "the other");
    }
    // It passes when the system says that its cache is empty.
    disk.evict_is_confirmed(true);
    all_well(&world, "acme", &rows, "read from the device");
    all_well(&open(&disk.crash()), "acme", &rows, "a crash");
}

/// The engine forgets idle tenants, but not that a sync of one failed.
#[test]
fn a_failed_closing_sync_is_remembered_though_hundreds_of_tenants_come_and_go() {
    let disk = filled();
    let world = open(&disk);
    disk.evict_is_confirmed(false);
    closed_with_a_failed_sync(&world, &disk);
    for tenant in 0..600 {
        let name = format!("passing-{tenant}");
        world.provision(&name).unwrap();
        drop(world.handle(&name, "alice").unwrap());
    }
    assert_eq!(*world.handle("acme", "alice").map(|_| ()).unwrap_err().reason(), Reason::Quarantined);
}

/// The opening that reads the device afresh begins with a sync. That it failed as well is no reason to forget the first.
#[test]
fn an_opening_that_fails_after_a_failed_closing_sync_leaves_the_cache_untrusted() {
    let disk = filled();
    let world = open(&disk);
    let rows = closed_with_a_failed_sync(&world, &disk);
    let acme = || world.handle("acme", "alice").map(|_| ());
    for after in 0..3 {
        disk.evict_is_confirmed(true);
        disk.fail_sync("/tenants/", after);
        assert!(matches!(acme().unwrap_err().reason(), Reason::Io(_)), "sync {after}");
        assert_eq!(disk.planned_faults(), 0, "sync {after}");
        disk.evict_is_confirmed(false);
        assert_eq!(*acme().unwrap_err().reason(), Reason::Quarantined, "sync {after}");
        notes(&world, "zoo").get("key 1").unwrap();
    }
    disk.evict_is_confirmed(true);
    all_well(&world, "acme", &rows, "read from the device");
    all_well(&open(&disk.crash()), "acme", &rows, "a crash");
}

/// After a commit of unknown outcome the tenant gives way to others like any other, and is then read from the device.
#[test]
fn a_tenant_whose_outcome_became_unknown_gives_way_and_answers_rightly() {
    for confirmed in [true, false] {
        let disk = filled();
        let world = open(&disk);
        let acme = notes(&world, "acme");
        acme.put(memory("armed", "before")).unwrap();
        disk.evict_is_confirmed(confirmed);
        disk.fail_sync(&part(&data(&world, "acme")), 0);
        assert_eq!(acme.put(memory("unknown", "?")).unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        let zoo = notes(&world, "zoo");
        assert_eq!(zoo.count(&Selection::all()).unwrap(), ROWS as u64);
        if confirmed {
            let mut rows = rows_of("acme", ROWS);
            rows.insert("armed".into(), "before".into());
            if acme.exists("unknown").unwrap() {
                rows.insert("unknown".into(), "?".into());
            }
            all_well(&world, "acme", &rows, "opened again");
            all_well(&open(&disk.crash()), "acme", &rows, "a crash after that");
        } else {
            for _ in 0..2 {
                assert_eq!(*acme.get("armed").unwrap_err().reason(), Reason::Quarantined);
                zoo.get("key 1").unwrap();
            }
        }
    }
}

#[test]
fn a_close_names_the_tenants_that_did_not_close_well() {
    let disk = filled();
    let world = open(&disk);
    notes(&world, "acme").put(memory("last", "acknowledged")).unwrap();
    disk.fail_sync(&part(&data(&world, "acme")), 0);
    let report = world.engine.close().unwrap();
    assert_eq!(disk.planned_faults(), 0);
    assert!(!report.is_clean() && report.engine.is_none());
    let failed: Vec<_> = report.failed.iter().map(|(tenant, error)| (tenant.clone(), error.reason())).collect();
    assert_eq!(failed, [(TenantId::new("acme").unwrap(), &Reason::CloseFailed)]);
    assert_eq!(report.tenants, 1);
    // Nothing is left to close, and what was acknowledged is there.
    let again = world.engine.close().unwrap();
    assert!(again.is_clean() && again.tenants == 0);
    let mut rows = rows_of("acme", ROWS);
    rows.insert("last".into(), "acknowledged".into());
    let world = open(&disk.crash());
    all_well(&world, "acme", &rows, "a crash after the close");
    let report = world.engine.close().unwrap();
    assert!(report.is_clean() && report.tenants == 1, "{report:?}");
}

#[test]
fn handles_cursors_positions_and_transactions_outlive_the_closing_of_their_file() {
    let disk = filled();
    let world = open(&disk);
    let [acme, zoo] = TENANTS.map(|tenant| notes(&world, tenant));
    let handle = world.handle("acme", "alice").unwrap();
    let opens = || world.engine.stats().opens;
    // Each step finds the tenant closed.
    let elsewhere = || {
        let before = opens();
        zoo.get("key 1").unwrap();
        assert_eq!(opens(), before + 1, "zoo was open, so that acme was not closed for it");
    };
    let mut rows: Rows = BTreeMap::new();
    let (mut list, mut feed) = (List::new().limit(4), None);
    let mut told = Rows::new();
    loop {
        elsewhere();
        let page = acme.list(&list).unwrap();
        rows.extend(page.memories.into_iter().map(|memory| (memory.key, memory.text.unwrap())));
        elsewhere();
        let page_of_feed = acme.changes(feed.as_ref(), 4).unwrap();
        told.extend(page_of_feed.events.into_iter().map(|event| match event {
            FeedEvent::Put(memory) => (memory.key, memory.text.unwrap()),
            FeedEvent::Removed { key, .. } => panic!("{key} was never removed"),
            _ => panic!("another event"),
        }));
        feed = Some(page_of_feed.next);
        let Some(next) = page.next else { break };
        list = List::new().limit(4).after(next);
    }
    assert_eq!((&rows, &told), (&rows_of("acme", ROWS), &rows_of("acme", ROWS)));

    elsewhere();
    let moved = handle.transact(|t| {
        // The file stays open under a transaction: the other tenant has to wait, and is told to come again.
        let error = zoo.get("key 1").unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::RetryLater, &Reason::NoRoom));
        assert!(error.retry_after().is_some_and(|after| after > Duration::ZERO));
        let text = t.memories("notes")?.get("key 1")?.text;
        t.memories("notes")?.put(Memory::new("copy").text(text.unwrap_or_default()))
    });
    moved.unwrap();
    elsewhere();
    let copied = acme.get("copy").unwrap();
    assert_eq!(copied.text.as_ref(), rows.get("key 1"));
    elsewhere();
    let later = acme.changes(feed.as_ref(), 100).unwrap();
    assert!(matches!(&later.events[..], [FeedEvent::Put(memory)] if memory.key == "copy"), "{later:?}");
    elsewhere();
    acme.put(Memory::new("by an old handle")).unwrap();
    elsewhere();
    assert!(acme.exists("by an old handle").unwrap());
    assert_eq!(handle.usage().unwrap().memories, ROWS as u64 + 2);
    assert!(world.engine.close().unwrap().is_clean());
}
