//! Names that move and namespaces that end while others use them: nothing is ever seen under a name that is not its
//! own any more, and what ends is gone at once and given back exactly.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::json;
use support::rng::Rng;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{BATCH_MEMORIES_MAX, SWEEP_ROWS_MAX, SWEEP_ROWS_PER_WRITE};
use watertight::{
    AuditAction, ErrorKind, FeedEvent, List, Memories, Memory, NamespaceSettings, NamespaceUpdate, Patch, Reason,
    Recall, Result, Selection, Swept, TenantHandle, TestClock, Timestamp, recall_across,
};

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
        let disk = SimDisk::new(seed);
        let scene = Self { world: Self::open(&disk, &clock), clock, disk };
        scene.world.provision("acme").unwrap();
        scene
    }

    fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> World {
        World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap()
    }

    fn reopened(self) -> Self {
        let Self { world, clock, disk } = self;
        // Handles that the test still holds would keep the directory.
        world.engine.close().unwrap();
        Self { world: Self::open(&disk, &clock), clock, disk }
    }

    fn user(&self, name: &str) -> TenantHandle {
        self.world.handle("acme", name).unwrap()
    }

    fn alice(&self) -> TenantHandle {
        self.user("alice")
    }
}

fn reason<T>(answer: Result<T>) -> Reason {
    answer.err().expect("a refusal").reason().clone()
}

fn count(notes: &Memories) -> u64 {
    notes.count(&Selection::all()).unwrap()
}

fn keys(notes: &Memories) -> Vec<String> {
    notes.iter(List::new().oldest_first().limit(1_000)).map(|memory| memory.unwrap().key).collect()
}

fn swept_of(expired: u64, deleted: u64, more: bool) -> Swept {
    let mut swept = Swept::default();
    (swept.expired, swept.deleted, swept.more) = (expired, deleted, more);
    swept
}

/// Two namespaces that differ in all that a namespace can differ in, and exchange their names again and again.
#[derive(Clone, Copy, PartialEq)]
enum Colour {
    Red,
    Blue,
}

impl Colour {
    fn name(self) -> &'static str {
        if self == Self::Red { "red" } else { "blue" }
    }

    fn vector(self) -> &'static [f32] {
        if self == Self::Red { &[1.0, 0.5] } else { &[0.5, 1.0, 0.25] }
    }

    fn other(self) -> Self {
        if self == Self::Red { Self::Blue } else { Self::Red }
    }

    fn memory(self, key: &str) -> Memory {
        Memory::new(format!("{} {key}", self.name())).vector(self.vector()).model(self.name())
    }
}

/// While nobody renames, everything under a name is of the colour that has it, and so is everything put there.
fn is_all_of(notes: &Memories, colour: Colour, thread: usize, round: usize) {
    let (own, other) = (colour.name(), colour.other());
    assert_eq!(notes.info().unwrap().model.as_deref(), Some(own));
    assert!(notes.exists(&format!("{own} fixed")).unwrap());
    assert!(!notes.exists(&format!("{} fixed", other.name())).unwrap());
    assert!(keys(notes).iter().all(|key| key.starts_with(own)));
    let hits = notes.recall(&Recall::vector(colour.vector()).top(100)).unwrap();
    assert!(!hits.is_empty() && hits.iter().all(|hit| hit.memory.key.starts_with(own)));
    assert!(matches!(reason(notes.recall(&Recall::vector(other.vector()))), Reason::Dimension { .. }));
    let events = notes.changes(None, 1_000).unwrap().events;
    let is_own = |event: &FeedEvent| match event {
        FeedEvent::Put(memory) => memory.key.starts_with(own),
        FeedEvent::Removed { key, .. } => key.starts_with(own),
        _ => false,
    };
    assert!(events.iter().all(is_own));
    match round % 4 {
        0 => drop(notes.put(colour.memory(&thread.to_string())).unwrap()),
        1 => assert!(notes.put(other.memory(&thread.to_string())).is_err()),
        2 => drop(notes.patch(&Patch::new(format!("{own} fixed"), json!({"thread": thread}))).unwrap()),
        _ => {
            let outcome = notes.delete(&format!("{own} {thread}"));
            assert!(outcome.is_ok() || reason(outcome) == Reason::NotFound);
            assert_eq!(reason(notes.delete(&format!("{} {thread}", other.name()))), Reason::NotFound);
        }
    }
}

/// At any moment, each answer is of one colour alone.
fn is_of_one_colour(notes: &Memories) {
    let colours = |keys: Vec<String>| {
        let colours: BTreeSet<_> = keys.iter().map(|key| key.split(' ').next().unwrap().to_owned()).collect();
        assert!(colours.len() <= 1, "{colours:?}");
    };
    let page = notes.list(&List::new()).unwrap();
    colours(page.memories.into_iter().map(|memory| memory.key).collect());
    let found = notes.get_many(&["red fixed", "blue fixed"]).unwrap();
    assert!(found.iter().flatten().count() <= 1);
    match notes.recall(&Recall::vector(Colour::Red.vector()).top(100)) {
        Ok(hits) => assert!(hits.iter().all(|hit| hit.memory.key.starts_with("red"))),
        Err(error) => assert_eq!(*error.reason(), Reason::Dimension { expected: 3, actual: 2 }),
    }
    // It makes nothing where there is nothing, so that the names stay free to be exchanged.
    let put = notes.put(Colour::Red.memory("fixed").if_version(u64::MAX));
    assert!(matches!(reason(put), Reason::Version { .. } | Reason::Dimension { .. }));
}

#[test]
fn a_live_handle_never_meets_what_has_another_name_by_now() {
    let scene = Scene::new(1);
    let alice = scene.alice();
    for (name, colour) in [("a", Colour::Red), ("b", Colour::Blue)] {
        alice.memories(name).unwrap().put(colour.memory("fixed")).unwrap();
    }
    // Who holds it to read knows which colour has which name.
    let exchanged = RwLock::new(false);
    let mut exchanges = 0;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..3 {
            let tenant = scene.user(&format!("user-{thread}"));
            let (a, b) = (tenant.memories("a").unwrap(), tenant.memories("b").unwrap());
            let exchanged = &exchanged;
            threads.push(scope.spawn(move || {
                for round in 0..300 {
                    let exchanged = exchanged.read();
                    let (red, blue) = if *exchanged { (&b, &a) } else { (&a, &b) };
                    is_all_of(red, Colour::Red, thread, round);
                    is_all_of(blue, Colour::Blue, thread, round / 2);
                }
            }));
        }
        let reader = ["a", "b", "passing"].map(|name| scene.user("reader").memories(name).unwrap());
        threads.push(scope.spawn(move || (0..500).for_each(|_| reader.iter().for_each(is_of_one_colour))));
        while !threads.iter().all(|thread| thread.is_finished()) {
            let mut exchanged = exchanged.write();
            let passing = alice.memories("a").unwrap().rename("passing").unwrap();
            alice.memories("b").unwrap().rename("a").unwrap();
            passing.rename("b").unwrap();
            *exchanged = !*exchanged;
            exchanges += 1;
        }
    });
    assert!(exchanges >= 20, "only {exchanges} exchanges");
    let usage = alice.usage().unwrap();
    assert_eq!(usage.namespaces, 2);
    assert_eq!(usage.memories, ["a", "b"].map(|name| count(&alice.memories(name).unwrap())).iter().sum::<u64>());
    alice.audit().verify().unwrap();
}

const WRITERS: usize = 3;
const PUTS: usize = 1_000;

type Numbers = [usize; WRITERS];

/// The numbers of each writer's memories, in the order of the list.
fn numbers(notes: &Memories) -> [Vec<usize>; WRITERS] {
    let mut found: [Vec<usize>; WRITERS] = Default::default();
    for key in keys(notes) {
        let (writer, number) = key.split_once(' ').unwrap();
        found[writer.parse::<usize>().unwrap()].push(number.parse().unwrap());
    }
    found
}

/// Which number of each writer was the last that went with the name: known, or within bounds.
#[derive(Default)]
struct Ledger {
    least: Numbers,
    most: Numbers,
}

impl Ledger {
    /// The name went elsewhere with this content. Each writer had been answered for `before` when that began, and for
    /// `after` when it had ended; one more may have been under way.
    fn moved(&mut self, found: &[Vec<usize>; WRITERS], before: Numbers, after: Numbers) {
        for (writer, numbers) in found.iter().enumerate() {
            let (least, most) = (&mut self.least[writer], &mut self.most[writer]);
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
                assert!(before[writer] <= *most, "{writer}: {before:?} are nowhere");
                *least = before[writer].max(*least);
                continue;
            };
            assert!((*least..=*most).contains(&(first - 1)), "{writer}: {first} after {least} to {most}");
            assert!(numbers.iter().copied().eq(*first..=*last), "{writer}: {numbers:?}");
            assert!((before[writer]..=after[writer] + 1).contains(last), "{writer}: {last} of {before:?} to {after:?}");
            (*least, *most) = (*last, *last);
        }
    }

    /// What was under the name is deleted.
    fn deleted(&mut self, before: Numbers, after: Numbers) {
        for writer in 0..WRITERS {
            self.least[writer] = self.least[writer].max(before[writer]);
            self.most[writer] = after[writer] + 1;
        }
    }
}

/// Lets those who wait for the main thread go, however that ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writers put 1, 2, 3 and so on under one name, which is given away or deleted behind their backs. What was put
/// before that is never seen under the name again, what is put later never where the name went, and nothing is lost.
#[test]
fn what_is_put_under_a_name_is_where_the_name_was_at_that_moment() {
    let scene = Scene::new(2);
    let alice = scene.alice();
    let acknowledged: [AtomicUsize; WRITERS] = Default::default();
    let seen = || acknowledged.each_ref().map(|number| number.load(Ordering::SeqCst));
    let (mut ledger, mut archives, mut deleted) = (Ledger::default(), Vec::new(), 0);
    let (rounds, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _done = Done(&over);
        let mut threads = Vec::new();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let tenant = scene.user(&format!("writer-{writer}"));
            let notes = tenant.memories("d").unwrap();
            let (rounds, over) = (&rounds, &over);
            threads.push(scope.spawn(move || {
                for number in 1..=PUTS {
                    // Ten for each round: some are under way whenever the name moves, and none runs far ahead.
                    while number > 10 * rounds.load(Ordering::SeqCst) && !over.load(Ordering::SeqCst) {
                        thread::yield_now();
                    }
                    let memory = Memory::new(format!("{writer} {number}"));
                    if number % 3 == 0 {
                        tenant.transact(|t| t.memories("d")?.put(memory)).unwrap();
                    } else {
                        notes.put(memory).unwrap();
                    }
                    acknowledged.store(number, Ordering::SeqCst);
                }
            }));
        }
        let (name, reader) = (alice.memories("d").unwrap(), scene.user("reader").memories("d").unwrap());
        for round in 1.. {
            rounds.store(round, Ordering::SeqCst);
            let done = || threads.iter().all(|thread| thread.is_finished());
            while seen().iter().sum::<usize>() < round * 25 && !done() {
                thread::yield_now();
            }
            let before = seen();
            if round % 5 == 0 {
                let outcome = name.delete_namespace();
                ledger.deleted(before, seen());
                deleted += outcome
                    .map_or_else(|error| u64::from(error.kind() != ErrorKind::NotFound), |deleted| deleted.count);
            } else if let Ok(archive) = name.rename(&format!("archive-{round}")) {
                let after = seen();
                let found = numbers(&archive);
                ledger.moved(&found, before, after);
                archives.push((archive, found));
            }
            for (writer, numbers) in numbers(&reader).iter().enumerate() {
                assert!(numbers.iter().all(|number| *number > before[writer]), "{writer}: {numbers:?} {before:?}");
            }
            if done() {
                break;
            }
        }
    });
    let rest = alice.memories("d").unwrap();
    ledger.moved(&numbers(&rest), [PUTS; WRITERS], [PUTS; WRITERS]);
    assert!(archives.len() >= 20, "only {} archives", archives.len());
    let mut kept = count(&rest);
    for (archive, found) in &archives {
        let again = scene.user("reader").memories(archive.namespace().as_str()).unwrap();
        assert_eq!((&numbers(archive), &numbers(&again)), (found, found), "nothing came later");
        kept += count(archive);
    }
    assert_eq!(alice.usage().unwrap().memories, kept);
    assert_eq!(kept + deleted, (WRITERS * PUTS) as u64);
    alice.audit().verify().unwrap();
}

fn put_many(notes: &Memories, numbers: std::ops::Range<usize>, memory: impl Fn(usize) -> Memory) {
    let numbers: Vec<_> = numbers.collect();
    for batch in numbers.chunks(BATCH_MEMORIES_MAX) {
        notes.put_many(batch.iter().map(|number| memory(*number)).collect()).unwrap();
    }
}

type Look = fn(&TenantHandle, &Memories) -> bool;

/// Whether there is anything of the namespace, as each operation sees it. Those that write nothing when there is
/// nothing come first.
const LOOKS: [(&str, Look); 22] = [
    ("get", |_, n| is_there(n.get("7"))),
    ("get_many", |_, n| n.get_many(&["7", "8"]).unwrap().iter().any(Option::is_some)),
    ("exists", |_, n| n.exists("7").unwrap()),
    ("list", |_, n| !n.list(&List::new()).unwrap().memories.is_empty()),
    ("iter", |_, n| n.iter(List::new().oldest_first()).next().is_some()),
    ("count", |_, n| count(n) > 0),
    ("recall", |_, n| !n.recall(&Recall::vector(&[1.0, 0.0])).unwrap().is_empty()),
    ("recall of another dimension", |_, n| n.recall(&Recall::vector(&[1.0])).is_err()),
    ("recall_across", |_, n| !recall_across(&[n], &Recall::vector(&[1.0, 0.0])).unwrap().is_empty()),
    ("changes", |_, n| !n.changes(None, 10).unwrap().events.is_empty()),
    ("info", |_, n| is_there(n.info())),
    ("namespaces", |t, n| t.namespaces().unwrap().iter().any(|info| info.namespace == *n.namespace() && !info.private)),
    ("put of a version", |_, n| {
        reason(n.put(Memory::new("7").if_version(9))) != Reason::Version { expected: 9, actual: 0 }
    }),
    ("patch", |_, n| is_there(n.patch(&Patch::new("7", json!({}))))),
    ("delete", |_, n| is_there(n.delete("7"))),
    ("delete_version", |_, n| is_there(n.delete_version("8", 1))),
    ("update", |_, n| is_there(n.update(&NamespaceUpdate::new()))),
    ("rename", |_, n| is_there(n.rename("elsewhere").and_then(|there| there.rename(n.namespace().as_str())))),
    ("transaction get", |t, n| is_there(t.transact(|t| t.memories(n.namespace().as_str())?.get("9")))),
    ("transaction delete", |t, n| is_there(t.transact(|t| t.memories(n.namespace().as_str())?.delete("9")))),
    ("transaction exists", |t, n| t.transact(|t| t.memories(n.namespace().as_str())?.exists("10")).unwrap()),
    ("delete_where", |_, n| n.delete_where(&Selection::all().key_prefix("10")).unwrap().count > 0),
];

fn is_there<T>(answer: Result<T>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{error}"),
    }
}

const MANY: usize = 25_000;

#[test]
fn a_large_namespace_is_gone_at_once_and_given_back_step_by_step() {
    let scene = Scene::new(3);
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let [notes, of_bob] = [&alice, &bob].map(|tenant| tenant.memories("many").unwrap());
    alice.private("many").unwrap().put(Memory::new("7").text("private").vector(vec![1.0])).unwrap();
    let others = alice.usage().unwrap();
    let life = Duration::from_secs(60);
    // The last ones expire while their namespace is being cleared away.
    put_many(&notes, 0..MANY, |n| {
        let memory = Memory::new(n.to_string()).text("old").vector(vec![1.0, n as f32]);
        if n >= MANY - 10 { memory.expires_after(life) } else { memory }
    });
    for (name, sees) in LOOKS {
        assert!(sees(&bob, &of_bob), "{name}");
    }
    let there = count(&notes);
    let feed = of_bob.changes(None, 10).unwrap().next;
    let cursor = of_bob.list(&List::new().limit(10)).unwrap().next.unwrap();

    let most = SWEEP_ROWS_MAX as u64;
    let deleted = notes.delete_namespace().unwrap();
    assert_eq!((deleted.count, deleted.more), (most, true));
    for (name, sees) in &LOOKS[..21] {
        assert!(!sees(&bob, &of_bob), "{name}");
    }
    assert_eq!(reason(of_bob.changes(Some(&feed), 10)), Reason::FeedGone);
    assert_eq!(reason(notes.delete_namespace()), Reason::NotFound);
    let usage = alice.usage().unwrap();
    // One transaction of the looks was a write that had nothing to do but sweep.
    let little = SWEEP_ROWS_PER_WRITE as u64;
    let mut left = there - most - little;
    assert_eq!((usage.memories, usage.namespaces), (others.memories + left, others.namespaces));

    // The name is free at once, for another shape.
    of_bob.create(&NamespaceSettings::new().dimensions(3).model("new")).unwrap();
    for number in 5..10 {
        notes.put(Memory::new(number.to_string()).text("new").vector(vec![1.0, 0.0, 0.0])).unwrap();
    }
    left -= 6 * little;
    let is_new = |tenant: &TenantHandle| {
        let notes = tenant.memories("many").unwrap();
        let found = notes.list(&List::new().oldest_first()).unwrap().memories;
        assert_eq!(found.iter().map(|memory| memory.key.as_str()).collect::<Vec<_>>(), ["5", "6", "7", "8", "9"]);
        assert!(found.iter().all(|memory| memory.text.as_deref() == Some("new") && memory.version == 1));
        let hits = notes.recall(&Recall::vector(&[1.0, 0.0, 0.0]).top(100).explain()).unwrap();
        assert_eq!((hits.len(), hits[0].explanation.as_ref().unwrap().vectors), (5, 5));
        assert_eq!(notes.changes(None, 100).unwrap().events.len(), 5);
        let is_bob = tenant.user().subject() == "bob";
        // A position is its user's.
        assert!(!is_bob || reason(notes.changes(Some(&feed), 10)) == Reason::FeedGone);
        assert_eq!(tenant.private("many").unwrap().exists("7").unwrap(), !is_bob);
    };
    assert_eq!(of_bob.list(&List::new().after(cursor.clone())).unwrap().memories, [], "newer than where it stood");
    is_new(&bob);
    assert_eq!(alice.usage().unwrap().memories, others.memories + 5 + left);
    scene.clock.advance(2 * life);
    let scene = scene.reopened();
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let mut steps = vec![alice.sweep().unwrap()];
    assert_eq!(steps[0], swept_of(10, most - 10, true));
    is_new(&alice);
    while steps.last().unwrap().more {
        steps.push(bob.sweep().unwrap());
        assert!(steps.len() < 10, "{steps:?}");
        is_new(&bob);
    }
    assert_eq!(steps.iter().map(|step| step.expired + step.deleted).sum::<u64>(), left);
    let usage = alice.usage().unwrap();
    assert_eq!((usage.memories, usage.vectors), (others.memories + 5, others.vectors + 5));
    assert_eq!((usage.bytes, usage.namespaces), (others.bytes + 5 * (1 + 3 + 12), others.namespaces + 1));
    assert_eq!(alice.sweep().unwrap(), Swept::default());
    is_new(&alice);
    // It ended in one step with one entry; what was cleared away later has none.
    let head = alice.audit().verify().unwrap().entries;
    let mut ends = Vec::new();
    for from in (MANY as u64..=head).step_by(1_000) {
        ends.extend(alice.audit().entries(from, 1_000).unwrap().into_iter().map(|entry| entry.action));
    }
    let of = |action| ends.iter().filter(|found| **found == action).count();
    assert_eq!((of(AuditAction::DeleteNamespace), of(AuditAction::Expire)), (1, 0));
}

#[test]
fn a_name_made_again_is_another_namespace_for_every_live_handle() {
    let scene = Scene::new(4);
    let (alice, bob) = (scene.alice(), scene.user("bob"));
    let areas: [[Memories; 3]; 2] = [
        [alice.memories("n").unwrap(), alice.memories("n").unwrap().clone(), bob.memories("n").unwrap()],
        [alice.private("n").unwrap(), alice.private("n").unwrap(), alice.clone().private("n").unwrap()],
    ];
    for handles in &areas {
        for round in 1..12_usize {
            let (maker, ender) = (&handles[round % 3], &handles[round / 2 % 3]);
            let vector = vec![1.0; round];
            maker.put(Memory::new(round.to_string()).vector(vector.clone())).unwrap();
            for handle in handles {
                assert_eq!(keys(handle), [round.to_string()]);
                assert_eq!(handle.info().unwrap().dimensions, Some(round as u32));
                assert_eq!(handle.recall(&Recall::vector(&vector)).unwrap().len(), 1);
                let wrong = Recall::vector(&vec![1.0; round + 1]);
                let expected = Reason::Dimension { expected: round as u32, actual: round as u32 + 1 };
                assert_eq!(reason(handle.recall(&wrong)), expected);
            }
            let deleted = ender.delete_namespace().unwrap();
            assert_eq!((deleted.count, deleted.more), (1, false));
            assert!(handles.iter().all(|handle| count(handle) == 0 && !handle.exists(&round.to_string()).unwrap()));
        }
    }
    assert_eq!((alice.usage().unwrap().memories, alice.usage().unwrap().namespaces), (0, 0));
}

/// What a crash history holds: the content of the namespace that comes and goes, with its generation, and what is left
/// to be cleared away. Beside it stands one that stays.
#[derive(Clone, Debug, PartialEq)]
struct Held {
    content: Option<(usize, usize)>,
    left: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(usize),
    Delete,
    Sweep,
}

impl Held {
    fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        let most = match step {
            Step::Put(generation) => {
                let (generation, rows) = self.content.unwrap_or((generation, 0));
                next.content = Some((generation, rows + 1));
                SWEEP_ROWS_PER_WRITE
            }
            Step::Delete => {
                next.left += next.content.take().map_or(0, |(_, rows)| rows);
                SWEEP_ROWS_MAX
            }
            Step::Sweep => SWEEP_ROWS_MAX,
        };
        next.left = next.left.saturating_sub(most);
        next
    }
}

fn row(generation: usize, number: usize) -> Memory {
    // Each generation has dimensions of its own.
    Memory::new(format!("{generation} {number}")).vector(vec![1.0; generation + 1])
}

const STAY: usize = 5;

/// Opens an image and gives what it holds, after a check that all ways to ask agree on it.
fn held(image: &SimDisk, clock: &Arc<TestClock>) -> (Held, World) {
    let world = Scene::open(image, clock);
    let alice = world.handle("acme", "alice").unwrap();
    let (stays, notes) = (alice.private("stays").unwrap(), alice.memories("notes").unwrap());
    assert_eq!((count(&stays), stays.recall(&Recall::vector(&[1.0])).unwrap().len()), (STAY as u64, STAY));
    let rows = count(&notes) as usize;
    let mut content = None;
    match notes.info() {
        Ok(info) => {
            let generation = info.dimensions.unwrap() as usize - 1;
            content = Some((generation, rows));
            assert!(keys(&notes).iter().all(|key| key.starts_with(&format!("{generation} "))));
            let hits = notes.recall(&Recall::vector(&vec![1.0; generation + 1]).top(10_000)).unwrap();
            assert_eq!(hits.len(), rows.min(10_000));
        }
        Err(error) => assert_eq!((error.kind(), rows), (ErrorKind::NotFound, 0)),
    }
    let usage = alice.usage().unwrap();
    assert_eq!(usage.namespaces, 1 + u32::from(content.is_some()));
    assert_eq!(alice.namespaces().unwrap().len(), usage.namespaces as usize);
    assert_eq!(usage.memories, usage.vectors);
    (Held { content, left: usage.memories as usize - rows - STAY }, world)
}

/// An image shows one of the states. From there on sweeps come to an end, and the name can be used.
fn check(image: &SimDisk, clock: &Arc<TestClock>, states: &[Held]) {
    let (found, world) = held(image, clock);
    assert!(states.contains(&found), "{found:?} is none of {states:?}");
    let alice = world.handle("acme", "alice").unwrap();
    let (mut deleted, mut more) = (0, true);
    for _ in 0..5 {
        let swept = alice.sweep().unwrap();
        deleted += swept.deleted as usize;
        more = swept.more;
        if !more {
            break;
        }
    }
    assert_eq!((deleted, more), (found.left, false));
    let usage = alice.usage().unwrap();
    let (generation, rows) = found.content.unwrap_or((7, 0));
    assert_eq!(usage.memories as usize, STAY + rows);
    alice.audit().verify().unwrap();
    alice.memories("notes").unwrap().put(row(generation, usize::MAX)).unwrap();
    drop((alice, world));
    assert_eq!(held(image, clock).0, Held { content: Some((generation, rows + 1)), left: 0 });
}

/// Fills a namespace, then takes the steps, with one image in about `every` operations of the disk. Gives how many.
fn crash_at_the_end(seed: u64, rows: usize, every: u64, steps: &[Step]) -> usize {
    let scene = Scene::new(seed);
    let alice = scene.alice();
    let notes = alice.memories("notes").unwrap();
    alice.private("stays").unwrap().put_many((0..STAY).map(|number| row(0, number)).collect()).unwrap();
    put_many(&notes, 0..rows, |number| row(0, number));
    let mut dice = Rng(seed ^ 0xD1CE);
    scene.disk.on_mutation(Some(Box::new(move |_| dice.below(every) == 0)));
    let (mut state, mut images) = (Held { content: Some((0, rows)), left: 0 }, 0);
    for step in steps {
        match step {
            Step::Put(generation) => {
                let (generation, number) = state.content.unwrap_or((*generation, 0));
                notes.put(row(generation, 1_000_000 + number)).unwrap();
            }
            Step::Delete => drop(notes.delete_namespace().unwrap()),
            Step::Sweep => drop(alice.sweep().unwrap()),
        }
        let after = state.after(*step);
        let states = [state, after.clone()];
        for image in scene.disk.take_images() {
            images += 1;
            check(&image, &scene.clock, &states);
        }
        check(&scene.disk.crash(), &scene.clock, &states[1..]);
        state = after;
    }
    images
}

#[test]
fn a_crash_at_the_end_of_a_namespace_leaves_all_of_it_or_nothing() {
    let steps = [Step::Delete, Step::Put(1), Step::Put(1), Step::Delete, Step::Put(2), Step::Sweep, Step::Delete];
    let images: usize = (0..20).map(|seed| crash_at_the_end(seed, 40, 3, &steps)).sum();
    println!("{images} crash images");
    assert!(images >= 300, "only {images} crash images");
}

/// More than one sweep can clear away, so that what is left has to be found again after every crash.
#[test]
fn a_crash_while_a_large_namespace_is_cleared_away_only_delays_that() {
    // The sweep comes before the second end: the feed of the large one, which follows its memories, takes its turn too.
    let steps = [Step::Delete, Step::Put(1), Step::Put(1), Step::Sweep, Step::Delete];
    let images: usize = (0..3).map(|seed| crash_at_the_end(seed, SWEEP_ROWS_MAX + 50, 8, &steps)).sum();
    println!("{images} crash images");
    assert!(images >= 20, "only {images} crash images");
}
