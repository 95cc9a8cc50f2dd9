//! Random operations against a naive model: whatever the engine answers, a map and a sort would have answered too,
//! also after reopening.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    Clock, ErrorKind, FeedEvent, FeedPosition, Filter, List, Memories, Memory, MemoryRecord, MetadataValue, Patch,
    Reason, Recall, Selection, TestClock, Timestamp,
};

const USERS: [&str; 2] = ["alice", "bob"];

impl Rng {
    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn key(&mut self) -> String {
        format!("{}{}", ["a/", "b/", "é"][self.below(3) as usize], self.below(5))
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..3).map(|_| self.below(5) as f32 - 2.0).chain([1.0]).collect()
    }
}

/// A memory as the model keeps it. `row` orders by first put.
#[derive(Clone, Debug)]
struct Row {
    row: u64,
    author: &'static str,
    text: Option<String>,
    content: Option<Value>,
    n: Option<i64>,
    vector: Option<Vec<f32>>,
    created: Timestamp,
    version: u64,
    expires: Option<Timestamp>,
}

#[derive(Default)]
struct Model {
    /// What is live; expired rows are taken out before each operation.
    rows: BTreeMap<String, Row>,
    next_row: u64,
}

/// Somebody who follows the feed and keeps what it says.
#[derive(Default)]
struct Follower {
    kept: BTreeMap<String, (u64, Option<Timestamp>)>,
    position: Option<FeedPosition>,
}

impl Follower {
    fn catch_up(&mut self, rng: &mut Rng, notes: &Memories) {
        loop {
            let page = notes.changes(self.position.as_ref(), 1 + rng.below(9) as usize).unwrap();
            for event in page.events {
                match event {
                    FeedEvent::Put(memory) => {
                        self.kept.insert(memory.key, (memory.version, memory.expires_at));
                    }
                    FeedEvent::Removed { key, .. } => drop(self.kept.remove(&key)),
                    other => panic!("{other:?}"),
                }
            }
            self.position = Some(page.next);
            if !page.more {
                return;
            }
        }
    }

    /// What a cache would serve now.
    fn live(&self, now: Timestamp) -> BTreeMap<String, u64> {
        let live = self.kept.iter().filter(|(_, (_, expires))| expires.is_none_or(|expires| now < expires));
        live.map(|(key, (version, _))| (key.clone(), *version)).collect()
    }
}

type Condition = Box<dyn Fn(&str, &Row) -> bool>;

/// A selection and what it means.
struct Chosen {
    selection: Selection,
    matches: Condition,
}

fn choose(rng: &mut Rng, world: &World, model: &Model) -> Chosen {
    let mut selection = Selection::all();
    let mut conditions: Vec<Condition> = Vec::new();
    if rng.below(3) == 0 {
        let prefix = ["a/", "b/", "", "é"][rng.below(4) as usize];
        selection = selection.key_prefix(prefix);
        conditions.push(Box::new(move |key, _| key.starts_with(prefix)));
    }
    if rng.below(3) == 0 {
        let least = rng.below(4) as i64;
        let (filter, condition): (_, Condition) = match rng.below(4) {
            0 => (Filter::at_least("n", least), Box::new(move |_, row| row.n.is_some_and(|n| n >= least))),
            1 => (Filter::ne("n", least), Box::new(move |_, row| row.n != Some(least))),
            2 => (Filter::exists("n").not(), Box::new(|_, row| row.n.is_none())),
            _ => (Filter::one_of("n", [least, 9]), Box::new(move |_, row| row.n == Some(least))),
        };
        selection = selection.filter(filter);
        conditions.push(condition);
    }
    if rng.below(4) == 0 {
        let author = USERS[rng.below(2) as usize];
        let user = world.identity("acme", author, watertight::Scopes::NONE).user().clone();
        selection = selection.author(user);
        conditions.push(Box::new(move |_, row| row.author == author));
    }
    if rng.below(4) == 0
        && let Some(row) = model.rows.values().nth(rng.below(model.rows.len().max(1) as u64) as usize)
    {
        let at = row.created;
        if rng.coin() {
            selection = selection.created_from(at);
            conditions.push(Box::new(move |_, row| row.created >= at));
        } else {
            selection = selection.created_before(at);
            conditions.push(Box::new(move |_, row| row.created < at));
        }
    }
    Chosen { selection, matches: Box::new(move |key, row| conditions.iter().all(|condition| condition(key, row))) }
}

impl Model {
    fn selected(&self, chosen: &Chosen) -> Vec<(&String, &Row)> {
        let mut found: Vec<_> = self.rows.iter().filter(|(key, row)| (chosen.matches)(key, row)).collect();
        found.sort_by_key(|(_, row)| row.row);
        found
    }

    fn put(&mut self, key: &str, author: &'static str, now: Timestamp, given: &Given) -> u64 {
        let before = self.rows.get(key);
        let row = before.map_or_else(|| self.next_row, |before| before.row);
        let (created, version) = before.map_or((now, 1), |before| (before.created, before.version + 1));
        self.next_row += u64::from(before.is_none());
        let Given { text, content, n, vector, life } = given.clone();
        let expires = life.map(|life| now.after(life));
        self.rows.insert(key.into(), Row { row, author, text, content, n, vector, created, version, expires });
        version
    }

    fn expire(&mut self, now: Timestamp) {
        self.rows.retain(|_, row| row.expires.is_none_or(|expires| now < expires));
    }
}

#[derive(Clone, Debug)]
struct Given {
    text: Option<String>,
    content: Option<Value>,
    n: Option<i64>,
    vector: Option<Vec<f32>>,
    life: Option<Duration>,
}

fn give(rng: &mut Rng) -> Given {
    Given {
        text: rng.coin().then(|| "text ".repeat(rng.below(200) as usize)),
        content: rng.coin().then(|| json!({"x": rng.below(3), "y": {"z": rng.below(3)}})),
        n: rng.coin().then(|| rng.below(5) as i64),
        vector: (rng.below(3) > 0).then(|| rng.vector()),
        // Half seconds, because the clock moves by whole ones.
        life: (rng.below(3) == 0).then(|| Duration::from_millis(500 + 1_000 * rng.below(12))),
    }
}

fn memory(key: &str, given: &Given) -> Memory {
    let mut memory = Memory::new(key);
    if let Some(text) = &given.text {
        memory = memory.text(text);
    }
    if let Some(content) = &given.content {
        memory = memory.content(content.clone());
    }
    if let Some(n) = given.n {
        memory = memory.metadata("n", n);
    }
    if let Some(vector) = &given.vector {
        memory = memory.vector(vector.clone());
    }
    if let Some(life) = given.life {
        memory = memory.expires_after(life);
    }
    memory
}

fn same(found: &MemoryRecord, key: &str, row: &Row) {
    assert_eq!(found.key, key);
    assert_eq!(found.text, row.text, "{key}");
    assert_eq!(found.content.as_ref().map(|content| content.parse().unwrap()), row.content, "{key}");
    assert_eq!(found.metadata.get("n"), row.n.map(MetadataValue::Integer).as_ref(), "{key}");
    assert_eq!((found.has_vector, found.version), (row.vector.is_some(), row.version), "{key}");
    assert_eq!((found.author.subject(), found.created_at), (row.author, row.created), "{key}");
    assert_eq!(found.expires_at, row.expires, "{key}");
}

/// RFC 7396 for the two levels that the test makes.
fn merged(content: &Option<Value>, patch: &Value) -> Value {
    let mut out = content.clone().filter(Value::is_object).unwrap_or(json!({}));
    for (name, member) in patch.as_object().unwrap() {
        match member {
            Value::Null => drop(out.as_object_mut().unwrap().remove(name)),
            member => out[name] = member.clone(),
        }
    }
    out
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn recall_agrees(rng: &mut Rng, notes: &Memories, model: &Model) {
    let (question, top, least) = (rng.vector(), rng.below(8) as usize, rng.below(4) as i64);
    let mut recall = Recall::vector(&question).top(top);
    let filtered = rng.coin();
    if filtered {
        recall = recall.filter(Filter::at_least("n", least));
    }
    let mut expected: Vec<_> = model
        .rows
        .values()
        .filter(|row| !filtered || row.n.is_some_and(|n| n >= least))
        .filter_map(|row| Some((cosine(&question, row.vector.as_ref()?), row.row)))
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    expected.truncate(top);
    let hits = notes.recall(&recall).unwrap();
    assert_eq!(hits.len(), expected.len());
    for (hit, (score, _)) in hits.iter().zip(&expected) {
        assert!((f64::from(hit.score) - score).abs() < 1e-5, "{} {score}", hit.score);
        same(&hit.memory, &hit.memory.key, &model.rows[&hit.memory.key]);
    }
    // Scores that differ by rounding alone may change places, but no memory comes twice.
    let mut keys: Vec<_> = hits.iter().map(|hit| &hit.memory.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), hits.len());
}

fn list_agrees(rng: &mut Rng, notes: &Memories, model: &Model, chosen: &Chosen) {
    let mut expected = model.selected(chosen);
    let oldest_first = rng.coin();
    if !oldest_first {
        expected.reverse();
    }
    let limit = 1 + rng.below(6) as usize;
    let list = || {
        let list = List::of(chosen.selection.clone()).limit(limit);
        if oldest_first { list.oldest_first() } else { list }
    };
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let page = notes.list(&next.map_or_else(list, |cursor| list().after(cursor))).unwrap();
        assert!(page.memories.len() <= limit);
        found.extend(page.memories);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), expected.len());
    for (found, (key, row)) in found.iter().zip(expected) {
        same(found, key, row);
    }
}

fn run(seed: u64, operations: usize) {
    let disk = SimDisk::new(seed);
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let open = || World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap();
    let mut world = open();
    world.provision("acme").unwrap();
    let mut rng = Rng(seed);
    let mut model = Model::default();
    let mut follower = Follower::default();
    for step in 0..operations {
        clock.advance(Duration::from_secs(1));
        model.expire(clock.now());
        let author = USERS[rng.below(2) as usize];
        let notes = world.handle("acme", author).unwrap().memories("notes").unwrap();
        let key = rng.key();
        let version = model.rows.get(&key).map_or(0, |row| row.version);
        match rng.below(20) {
            0..=4 => {
                let given = give(&mut rng);
                let outcome = notes.put(memory(&key, &given)).unwrap();
                let now = notes.get(&key).unwrap().updated_at;
                assert_eq!(outcome.version, model.put(&key, author, now, &given));
                assert_eq!(outcome.created, version == 0);
            }
            5 => {
                let batch: Vec<_> = (0..rng.below(6)).map(|_| (rng.key(), give(&mut rng))).collect();
                notes.put_many(batch.iter().map(|(key, given)| memory(key, given)).collect()).unwrap();
                for (key, given) in &batch {
                    let now = notes.get(key).unwrap().updated_at;
                    model.put(key, author, now, given);
                }
            }
            6 => {
                let wrong = version + 1 + rng.below(3);
                let refused = notes.put(memory(&key, &give(&mut rng)).if_version(wrong)).unwrap_err();
                assert_eq!(*refused.reason(), Reason::Version { expected: wrong, actual: version });
            }
            7 => {
                let patch = json!({"x": rng.below(3), "y": null});
                match notes.patch(&Patch::new(&key, patch.clone()).if_version(version)) {
                    Ok(outcome) => {
                        let row = model.rows.get_mut(&key).unwrap();
                        row.content = Some(merged(&row.content, &patch));
                        row.author = author;
                        row.version += 1;
                        assert_eq!(outcome.version, row.version);
                    }
                    Err(error) => assert_eq!((error.kind(), version), (ErrorKind::NotFound, 0)),
                }
            }
            8 | 9 => match notes.delete(&key) {
                Ok(()) => assert!(model.rows.remove(&key).is_some()),
                Err(error) => assert_eq!((error.kind(), version), (ErrorKind::NotFound, 0)),
            },
            10 if rng.below(4) == 0 => {
                let chosen = choose(&mut rng, &world, &model);
                let gone: Vec<_> = model.selected(&chosen).into_iter().map(|(key, _)| key.clone()).collect();
                assert_eq!(notes.count(&chosen.selection).unwrap(), gone.len() as u64);
                let deleted = notes.delete_where(&chosen.selection).unwrap();
                assert_eq!((deleted.count, deleted.more), (gone.len() as u64, false));
                gone.iter().for_each(|key| drop(model.rows.remove(key)));
            }
            11 => {
                drop((notes, world));
                world = open();
            }
            12 => recall_agrees(&mut rng, &notes, &model),
            14 => {
                // A position belongs to one user.
                let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
                follower.catch_up(&mut rng, &notes);
                let expected = model.rows.iter().map(|(key, row)| (key.clone(), row.version)).collect();
                assert_eq!(follower.live(clock.now()), expected);
            }
            15 => {
                // Several changes at once, or none of them.
                let batch: Vec<_> = (0..rng.below(4)).map(|_| (rng.key(), give(&mut rng))).collect();
                let gives_up = rng.coin();
                let outcome = world.handle("acme", author).unwrap().transact(|t| {
                    let notes = t.memories("notes")?;
                    for (key, given) in &batch {
                        let before = notes.exists(key)?;
                        assert_eq!(notes.put(memory(key, given))?.created, !before);
                    }
                    assert_eq!(notes.delete(&key).is_ok(), version > 0 || batch.iter().any(|(put, _)| *put == key));
                    if gives_up { t.abort() } else { Ok(()) }
                });
                assert_eq!(outcome.is_ok(), !gives_up);
                if !gives_up {
                    for (put, given) in &batch {
                        // All changes of a transaction have one time.
                        let now = batch.iter().find_map(|(put, _)| notes.get(put).ok()).map(|found| found.updated_at);
                        model.put(put, author, now.unwrap_or(clock.now()), given);
                    }
                    model.rows.remove(&key);
                }
            }
            16 => {
                let given = give(&mut rng);
                let request = notes.once(&format!("step {step}")).unwrap();
                let first = request.put(memory(&key, &given)).unwrap();
                let now = notes.get(&key).unwrap().updated_at;
                assert_eq!(first.version, model.put(&key, author, now, &given));
                assert_eq!(request.put(memory(&key, &given)).unwrap(), first);
            }
            17 => assert!(!world.handle("acme", author).unwrap().sweep().unwrap().more),
            13 => {
                let chosen = choose(&mut rng, &world, &model);
                list_agrees(&mut rng, &notes, &model, &chosen);
            }
            _ => {
                let other = rng.key();
                let found = notes.get_many(&[&key, &other]).unwrap();
                for (key, found) in [&key, &other].into_iter().zip(&found) {
                    assert_eq!(notes.exists(key).unwrap(), model.rows.contains_key(key));
                    match (found, model.rows.get(key)) {
                        (Some(found), Some(row)) => same(found, key, row),
                        (None, None) => assert_eq!(notes.get(key).unwrap_err().kind(), ErrorKind::NotFound),
                        (found, row) => panic!("{found:?} instead of {row:?}"),
                    }
                }
            }
        }
    }
    let handle = world.handle("acme", "alice").unwrap();
    model.expire(clock.now());
    handle.sweep().unwrap();
    let usage = handle.usage().unwrap();
    let vectors = model.rows.values().filter(|row| row.vector.is_some()).count();
    assert_eq!((usage.memories, usage.vectors), (model.rows.len() as u64, vectors as u64));
    handle.audit().verify().unwrap();
}

/// Each case has its own seed, and a failure names it.
fn cases(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, 60));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_engine_answers_as_a_map_would_first_half() {
    cases(0..500);
}

#[test]
fn the_engine_answers_as_a_map_would_second_half() {
    cases(500..1_000);
}
