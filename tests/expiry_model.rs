//! Random expiries, clocks and sweeps against a naive model, and power loss in the middle of sweeps.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{SWEEP_ROWS_MAX, SWEEP_ROWS_PER_WRITE};
use watertight::{
    AuditAction, AuditEntry, Clock, ErrorKind, FeedEvent, Filter, List, Memories, Memory, MemoryId, MemoryRecord,
    NamespaceSettings, NamespaceUpdate, Patch, Reason, Recall, Scopes, Selection, TenantHandle, TestClock, Timestamp,
};

const KEYS: u64 = 30;

/// A memory as the model keeps it.
#[derive(Debug)]
struct Row {
    /// Orders by first put.
    row: u64,
    id: MemoryId,
    version: u64,
    created: Timestamp,
    expires: Option<Timestamp>,
    n: i64,
    text: usize,
    patched: bool,
    vector: Option<[f32; 2]>,
}

/// What the file has, expired or not: area 0 is shared, area 1 private. Sweeps clear it away in the order of expiry,
/// then of area, then of row.
struct Model {
    rows: BTreeMap<(usize, String), Row>,
    next_row: u64,
    defaults: [Option<Duration>; 2],
    now: Timestamp,
}

impl Row {
    fn bytes(&self, key: &str) -> usize {
        let content = if self.patched { r#"{"a":1}"#.len() } else { 0 };
        key.len() + self.text + content + "n".len() + 8 + self.vector.map_or(0, |_| 8)
    }
}

impl Model {
    fn is_live(&self, row: &Row) -> bool {
        row.expires.is_none_or(|expires| self.now < expires)
    }

    /// Oldest first.
    fn live(&self, area: usize) -> Vec<(&str, &Row)> {
        let rows = self.rows.iter().filter(|((of, _), row)| *of == area && self.is_live(row));
        let mut live: Vec<_> = rows.map(|((_, key), row)| (key.as_str(), row)).collect();
        live.sort_by_key(|(_, row)| row.row);
        live
    }

    fn find(&self, area: usize, key: &str) -> Option<&Row> {
        self.rows.get(&(area, key.to_owned())).filter(|row| self.is_live(row))
    }

    fn version(&self, area: usize, key: &str) -> u64 {
        self.find(area, key).map_or(0, |row| row.version)
    }

    /// Gives how many went, and whether more is due.
    fn sweep(&mut self, limit: usize) -> (u64, bool) {
        let due = self.rows.iter().filter(|(_, row)| !self.is_live(row));
        let mut due: Vec<_> = due.map(|(place, row)| (row.expires, place.0, row.row, place.clone())).collect();
        due.sort();
        let more = due.len() > limit;
        due.truncate(limit);
        for (.., place) in &due {
            self.rows.remove(place);
        }
        (due.len() as u64, more)
    }

    fn usage(&self) -> (u64, u64, u64) {
        let bytes: usize = self.rows.iter().map(|((_, key), row)| row.bytes(key)).sum();
        let vectors = self.rows.values().filter(|row| row.vector.is_some()).count();
        (self.rows.len() as u64, vectors as u64, bytes as u64)
    }
}

/// A memory to put, and when the model says that it expires.
struct Given {
    key: String,
    memory: Memory,
    expires: Option<Timestamp>,
    n: i64,
    text: usize,
    vector: Option<[f32; 2]>,
}

fn give(rng: &mut Rng, model: &Model, area: usize) -> Given {
    let key = format!("k{}", rng.below(KEYS));
    let (n, text) = (rng.below(4) as i64, rng.below(90) as usize);
    // Few different ones: many scores are equal.
    let vector = (rng.below(4) > 0).then(|| [1.0, rng.below(4) as f32]);
    let life = Duration::from_micros(1 + rng.below(20_000));
    let mut memory = Memory::new(&key).text("x".repeat(text)).metadata("n", n);
    if let Some(vector) = vector {
        memory = memory.vector(vector);
    }
    let (memory, expires) = match rng.below(6) {
        0 => (memory.never_expires(), None),
        1 | 2 => (memory.expires_after(life), Some(model.now.after(life))),
        3 => (memory.expires_at(model.now.after(life)), Some(model.now.after(life))),
        _ => (memory, model.defaults[area].map(|life| model.now.after(life))),
    };
    Given { key, memory, expires, n, text, vector }
}

fn put(model: &mut Model, area: usize, given: &Given, id: MemoryId) -> u64 {
    let before = model.find(area, &given.key);
    let (version, created) = before.map_or((1, model.now), |before| (before.version + 1, before.created));
    let row = before.map_or(model.next_row, |before| before.row);
    assert!(before.is_none_or(|before| before.id == id), "the id of a key stays while it lives");
    let anew = model.rows.values().all(|row| row.id != id);
    assert_eq!(anew, before.is_none(), "the id of what has expired is not given again");
    model.next_row += 1;
    let &Given { expires, n, text, vector, .. } = given;
    let row = Row { row, id, version, created, expires, n, text, patched: false, vector };
    model.rows.insert((area, given.key.clone()), row);
    version
}

fn same(found: &MemoryRecord, key: &str, row: &Row) {
    assert_eq!((found.key.as_str(), found.id, found.version), (key, row.id, row.version));
    assert_eq!((found.created_at, found.expires_at), (row.created, row.expires), "{key}");
    assert_eq!((found.text.as_ref().map(String::len), found.content.is_some()), (Some(row.text), row.patched), "{key}");
}

fn all_same(found: &[MemoryRecord], expected: &[(&str, &Row)]) {
    let names = |memory: &MemoryRecord| memory.key.clone();
    assert_eq!(found.len(), expected.len(), "{:?} for {expected:?}", found.iter().map(names).collect::<Vec<_>>());
    found.iter().zip(expected).for_each(|(found, (key, row))| same(found, key, row));
}

fn cosine(a: [f32; 2], b: [f32; 2]) -> f64 {
    let dot = |a: [f32; 2], b: [f32; 2]| f64::from(a[0]) * f64::from(b[0]) + f64::from(a[1]) * f64::from(b[1]);
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn recall_agrees(rng: &mut Rng, notes: &Memories, live: &[(&str, &Row)]) {
    let (question, top, least) = ([1.0, rng.below(4) as f32], rng.below(12) as usize, rng.below(5) as i64);
    let recall = Recall::vector(&question).top(top).filter(Filter::at_least("n", least));
    let rows = live.iter().filter(|(_, row)| row.n >= least);
    let mut expected: Vec<_> =
        rows.filter_map(|(key, row)| Some((cosine(question, row.vector?), row.row, *key))).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    expected.truncate(top);
    let hits = notes.recall(&recall).unwrap();
    // Equal vectors have equal scores on both sides, and different ones are far apart.
    let found: Vec<_> = hits.iter().map(|hit| hit.memory.key.as_str()).collect();
    assert_eq!(found, expected.iter().map(|(.., key)| *key).collect::<Vec<_>>());
    for (hit, (score, ..)) in hits.iter().zip(&expected) {
        assert!((f64::from(hit.score) - score).abs() < 1e-6, "{} {score}", hit.score);
    }
}

/// Every way to read, held against the model.
fn agrees(rng: &mut Rng, tenant: &TenantHandle, areas: &[Memories; 2], model: &Model) {
    for (area, notes) in areas.iter().enumerate() {
        let mut live = model.live(area);
        let listed = |list: List| notes.iter(list).collect::<Result<Vec<_>, _>>().unwrap();
        all_same(&listed(List::new().oldest_first().limit(1 + rng.below(9) as usize)), &live);
        let told = notes.changes(None, 1_000).unwrap().events.into_iter().map(|event| match event {
            FeedEvent::Put(memory) => memory,
            event => panic!("{event:?}"),
        });
        all_same(&told.collect::<Vec<_>>(), &live);
        recall_agrees(rng, notes, &live);
        assert_eq!(notes.count(&Selection::all()).unwrap(), live.len() as u64);
        live.reverse();
        all_same(&listed(List::new().limit(1 + rng.below(9) as usize)), &live);
        let keys: Vec<_> = (0..KEYS).map(|number| format!("k{number}")).collect();
        let many = notes.get_many(&keys.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for (key, found) in keys.iter().zip(many) {
            let row = model.find(area, key);
            assert_eq!(notes.exists(key).unwrap(), row.is_some());
            assert_eq!(notes.get(key).ok(), found);
            match (found, row) {
                (Some(found), Some(row)) => same(&found, key, row),
                (found, row) => assert!(found.is_none() && row.is_none(), "{found:?} instead of {row:?}"),
            }
        }
    }
    let usage = tenant.usage().unwrap();
    assert_eq!((usage.memories, usage.vectors, usage.bytes), model.usage());
}

fn run(seed: u64, operations: usize) {
    let disk = SimDisk::new(seed);
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let open = || World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap();
    let mut world = open();
    world.provision("acme").unwrap();
    let mut rng = Rng(seed);
    let mut model = Model { rows: BTreeMap::new(), next_row: 0, defaults: [None; 2], now: Timestamp::from_micros(0) };
    for operation in 0..operations {
        match rng.below(12) {
            0 => clock.set(clock.now().before(Duration::from_micros(rng.below(50_000)))),
            1 => clock.advance(Duration::from_micros(rng.below(30_000))),
            _ => clock.advance(Duration::from_micros(rng.below(2_000))),
        }
        if rng.below(12) == 0 {
            drop(world);
            world = open();
        }
        // Attesting gives the engine's time, which stands still until the next operation.
        let identity = world.identity("acme", "alice", Scopes::ALL);
        assert!(identity.issued_at() > model.now, "the clock never steps back");
        model.now = identity.issued_at();
        let tenant = world.engine.tenant(&identity).unwrap();
        let areas = [tenant.memories("notes").unwrap(), tenant.private("notes").unwrap()];
        let area = rng.below(2) as usize;
        let notes = &areas[area];
        if operation == 0 {
            areas.iter().for_each(|area| drop(area.create(&NamespaceSettings::new()).unwrap()));
        }
        let key = format!("k{}", rng.below(KEYS));
        let version = model.version(area, &key);
        // Whether something was written, which sweeps a little.
        let wrote = match rng.below(12) {
            0..=2 => {
                let given = give(&mut rng, &model, area);
                let version = model.version(area, &given.key);
                let outcome = notes.put(given.memory.clone().if_version(version)).unwrap();
                assert_eq!(outcome.version, put(&mut model, area, &given, outcome.id));
                assert_eq!(outcome.created, version == 0);
                true
            }
            3 | 4 => {
                let batch: Vec<_> = (0..1 + rng.below(30)).map(|_| give(&mut rng, &model, area)).collect();
                let outcomes = notes.put_many(batch.iter().map(|given| given.memory.clone()).collect()).unwrap();
                for (given, outcome) in batch.iter().zip(outcomes) {
                    assert_eq!(outcome.version, put(&mut model, area, given, outcome.id));
                }
                true
            }
            5 => {
                let (expected, actual) = (version + 1, version);
                let refused = notes.put(Memory::new(&key).if_version(expected)).unwrap_err();
                assert_eq!(*refused.reason(), Reason::Version { expected, actual });
                false
            }
            6 => {
                let outcome = notes.delete(&key);
                assert_eq!(outcome.is_ok(), version > 0, "{outcome:?}");
                outcome.is_ok_and(|()| model.rows.remove(&(area, key)).is_some())
            }
            7 => match notes.patch(&Patch::new(&key, json!({"a": 1}))) {
                Ok(outcome) => {
                    assert_eq!(outcome.version, version + 1);
                    let row = model.rows.get_mut(&(area, key)).unwrap();
                    (row.version, row.patched) = (outcome.version, true);
                    true
                }
                Err(error) => {
                    assert_eq!((error.kind(), version), (ErrorKind::NotFound, 0));
                    false
                }
            },
            8 => {
                let least = rng.below(4) as i64;
                let gone = model.live(area).into_iter().filter(|(_, row)| row.n >= least);
                let gone: Vec<_> = gone.map(|(key, _)| (area, key.to_owned())).collect();
                let selection = Selection::all().filter(Filter::at_least("n", least));
                assert_eq!(notes.delete_where(&selection).unwrap().count, gone.len() as u64);
                model.rows.retain(|place, _| !gone.contains(place));
                true
            }
            9 => {
                let life = (rng.below(3) > 0).then(|| Duration::from_micros(1 + rng.below(20_000)));
                model.defaults[area] = life;
                notes.update(&NamespaceUpdate::new().expires_after(life)).unwrap();
                true
            }
            10 => {
                let swept = tenant.sweep().unwrap();
                assert_eq!((swept.expired, swept.more), model.sweep(SWEEP_ROWS_MAX));
                false
            }
            _ => false,
        };
        if wrote || operation == 0 {
            model.sweep(SWEEP_ROWS_PER_WRITE);
        }
        agrees(&mut rng, &tenant, &areas, &model);
    }
    let tenant = world.handle("acme", "alice").unwrap();
    model.now = time(&world);
    let swept = tenant.sweep().unwrap();
    assert_eq!((swept.expired, swept.more), model.sweep(SWEEP_ROWS_MAX));
    assert_eq!(model.rows.len(), model.live(0).len() + model.live(1).len(), "all that is left lives");
    let usage = tenant.usage().unwrap();
    assert_eq!((usage.memories, usage.vectors, usage.bytes), model.usage());
    tenant.audit().verify().unwrap();
}

/// The engine's time now.
fn time(world: &World) -> Timestamp {
    world.identity("acme", "alice", Scopes::NONE).issued_at()
}

/// Each case has its own seed, and a failure names it.
fn cases(seeds: Range<u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, 60));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn expiry_and_sweeps_are_as_a_map_with_times_would_have_it_first_half() {
    cases(0..100);
}

#[test]
fn expiry_and_sweeps_are_as_a_map_with_times_would_have_it_second_half() {
    cases(100..200);
}

/// What is there in a crash history: the keys that live, and how many memories have expired and are not swept.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    live: BTreeSet<String>,
    expired: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Put(String),
    Delete(String),
    Sweep,
}

impl Held {
    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        let most = match step {
            Step::Put(key) => (next.live.insert(key.clone()), SWEEP_ROWS_PER_WRITE).1,
            Step::Delete(key) => (next.live.remove(key), SWEEP_ROWS_PER_WRITE).1,
            Step::Sweep => SWEEP_ROWS_MAX,
        };
        next.expired = next.expired.saturating_sub(most);
        next
    }
}

const DYING: usize = 100;

fn live(key: &str) -> Memory {
    Memory::new(key).text("lives").vector(vec![1.0, key.len() as f32])
}

/// Opens an image and gives what it holds after a check that all ways to ask agree on it.
fn held(image: &SimDisk, clock: &Arc<TestClock>) -> (Held, World) {
    let world = World::with_clock(Path::new("/data"), Arc::new(image.clone()), clock.clone()).unwrap();
    let tenant = world.handle("acme", "alice").unwrap();
    let notes = tenant.memories("notes").unwrap();
    let listed = notes.list(&List::new().limit(1_000)).unwrap().memories;
    let live: BTreeSet<_> = listed.into_iter().map(|memory| memory.key).collect();
    assert_eq!(notes.count(&Selection::all()).unwrap(), live.len() as u64);
    let hits = notes.recall(&Recall::vector(&[1.0, 0.5]).top(1_000)).unwrap();
    assert_eq!(hits.into_iter().map(|hit| hit.memory.key).collect::<BTreeSet<_>>(), live);
    let usage = tenant.usage().unwrap();
    assert_eq!(usage.memories, usage.vectors);
    let expired = usage.memories as usize - live.len();
    (Held { live, expired }, world)
}

/// An image shows one of the states; from there on sweeps give everything back exactly.
fn check(image: &SimDisk, clock: &Arc<TestClock>, states: &[Held]) {
    let (found, world) = held(image, clock);
    assert!(states.contains(&found), "{found:?} is none of {states:?}");
    let tenant = world.handle("acme", "alice").unwrap();
    let swept = tenant.sweep().unwrap();
    assert_eq!((swept.expired, swept.more), (found.expired as u64, false));
    let (usage, bytes) = (tenant.usage().unwrap(), found.live.iter().map(|key| key.len() + 5 + 8).sum::<usize>());
    assert_eq!((usage.memories, usage.bytes), (found.live.len() as u64, bytes as u64));
    let expiries =
        |entries: Vec<_>| entries.into_iter().filter(|entry: &AuditEntry| entry.action == AuditAction::Expire).count();
    assert_eq!(expiries(tenant.audit().entries(1, 1_000).unwrap()), DYING, "each expiry has one entry");
    tenant.audit().verify().unwrap();
    drop((tenant, world));
    assert_eq!(held(image, clock).0, Held { live: found.live, expired: 0 });
}

fn crash_while_sweeping(seed: u64) -> usize {
    let (disk, mut rng) = (SimDisk::new(seed), Rng(seed));
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let world = World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap();
    world.provision("acme").unwrap();
    let tenant = world.handle("acme", "alice").unwrap();
    let notes = tenant.memories("notes").unwrap();
    let mut state = Held { live: (0..20).map(|n| format!("live {n}")).collect(), expired: DYING };
    let mut memories: Vec<_> = state.live.iter().map(|key| live(key)).collect();
    let dying = |n| live(&format!("dying {n}")).expires_after(Duration::from_secs(1 + n as u64 % 7));
    memories.extend((0..DYING).map(dying));
    notes.put_many(memories).unwrap();
    // After a crash the engine's time may be a minute ahead: all that expires has done so before the first.
    clock.advance(Duration::from_secs(10));
    let mut dice = Rng(seed ^ 0xD1CE);
    disk.on_mutation(Some(Box::new(move |_| dice.below(3) == 0)));
    let mut images = 0;
    for number in 0..7 {
        let step = match rng.below(3) {
            _ if number == 4 => Step::Sweep,
            0 => Step::Delete(state.live.first().cloned().unwrap()),
            _ => Step::Put(format!("live {}", rng.below(30))),
        };
        match &step {
            Step::Put(key) => drop(notes.put(live(key)).unwrap()),
            Step::Delete(key) => notes.delete(key).unwrap(),
            Step::Sweep => assert_eq!(tenant.sweep().unwrap().expired, state.expired as u64),
        }
        let after = state.after(&step);
        let states = [state, after.clone()];
        for image in disk.take_images() {
            images += 1;
            check(&image, &clock, &states);
        }
        check(&disk.crash(), &clock, &states[1..]);
        state = after;
    }
    images
}

#[test]
fn a_crash_in_the_middle_of_a_sweep_loses_nothing_that_lives_and_miscounts_nothing() {
    let images: usize = (0..20).map(crash_while_sweeping).sum();
    println!("{images} crash images");
    assert!(images >= 300, "only {images} crash images");
}
