//! The change feed of a namespace: whoever applies its events has in the end what the list has, and nobody learns of
//! what is not theirs.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use support::rng::Rng;
use support::seen::all;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{ANSWER_BYTES_MAX, FEED_CHANGES_KEPT, FEED_PAGE_MAX, RECORD_BYTES_MAX};
use watertight::{
    Clock, Cursor, ErrorKind, FeedEvent, FeedPosition, List, Memories, Memory, MemoryId, MemoryRecord, Patch, Reason,
    Selection, TenantHandle, TenantId, TestClock, Timestamp,
};

fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> World {
    World::with_clock(Path::new("/data"), Arc::new(disk.clone()), clock.clone()).unwrap()
}

fn world() -> World {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    world
}

fn alice(world: &World) -> TenantHandle {
    world.handle("acme", "alice").unwrap()
}

/// Applies the events of a feed, once by key and once by id, and keeps its position as text.
#[derive(Debug, Clone, Default)]
struct Consumer {
    position: Option<String>,
    by_key: BTreeMap<String, MemoryRecord>,
    by_id: BTreeMap<MemoryId, MemoryRecord>,
}

impl Consumer {
    /// Applies one page. Gives whether there is more, or that the feed is gone.
    fn ask(&mut self, notes: &Memories, limit: usize) -> Result<bool, Reason> {
        let position = self.position.clone().map(FeedPosition::from_text);
        let page = notes.changes(position.as_ref(), limit).map_err(|error| error.reason().clone())?;
        assert!(page.events.len() <= limit);
        for event in page.events {
            match event {
                FeedEvent::Put(memory) => {
                    let before = self.by_id.insert(memory.id, memory.clone());
                    let version = memory.version;
                    assert!(before.is_none_or(|before| before.version <= version), "it went back to {version}");
                    self.by_key.insert(memory.key.clone(), memory);
                }
                FeedEvent::Removed { id, key } => {
                    self.by_id.remove(&id);
                    self.by_key.remove(&key);
                }
                other => panic!("{other:?}"),
            }
        }
        self.position = Some(page.next.as_str().to_owned());
        Ok(page.more)
    }

    /// Follows the feed to its end.
    fn follow(&mut self, notes: &Memories, limit: usize) -> Result<(), Reason> {
        while self.ask(notes, limit)? {}
        Ok(())
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    /// Panics unless it has what the list has. What has expired is not in the list, and not told before it is swept.
    fn agrees(&self, notes: &Memories, now: Timestamp, context: &str) {
        let listed: BTreeMap<_, _> = all(notes).into_iter().map(|memory| (memory.key.clone(), memory)).collect();
        for view in [self.by_key.values().collect::<Vec<_>>(), self.by_id.values().collect()] {
            let live = view.into_iter().filter(|memory| memory.expires_at.is_none_or(|at| now < at));
            let live: BTreeMap<_, _> = live.map(|memory| (memory.key.clone(), memory.clone())).collect();
            assert_eq!(live, listed, "{context}");
        }
    }

    fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.by_id.len());
        self.by_key.len()
    }
}

/// Whose feed, and whether of a private namespace.
const FEEDS: [(&str, bool); 5] = [("alice", false), ("alice", false), ("bob", false), ("alice", true), ("bob", true)];

fn namespace(world: &World, (user, private): (&str, bool)) -> Memories {
    let handle = world.handle("acme", user).unwrap();
    if private { handle.private("notes").unwrap() } else { handle.memories("notes").unwrap() }
}

fn random_memory(rng: &mut Rng) -> Memory {
    let memory = Memory::new(format!("{}{}", ["a/", "b/"][rng.below(2) as usize], rng.below(6)));
    let memory = memory.text("t".repeat(rng.below(9) as usize)).content(json!({"n": rng.below(9)}));
    // Half seconds: the clock moves by whole ones, so that both sides agree on what has expired.
    let life = Duration::from_millis(500 + rng.below(6) * 1_000);
    if rng.below(3) == 0 { memory.expires_after(life) } else { memory }
}

fn change_at_random(rng: &mut Rng, world: &World, feed: (&str, bool)) {
    let notes = namespace(world, feed);
    let key = format!("{}{}", ["a/", "b/"][rng.below(2) as usize], rng.below(6));
    match rng.below(12) {
        0..=3 => drop(notes.put(random_memory(rng)).unwrap()),
        4 | 5 => drop(notes.put_many((0..rng.below(9)).map(|_| random_memory(rng)).collect()).unwrap()),
        6 | 7 => drop(notes.patch(&Patch::new(key, json!({"n": rng.below(9)})))),
        8 | 9 => drop(notes.delete(&key)),
        10 => {
            let prefix = ["a/", "b/", ""][rng.below(3) as usize];
            notes.delete_where(&Selection::all().key_prefix(prefix)).unwrap();
        }
        _ => {
            let handle = world.handle("acme", feed.0).unwrap();
            // One that is given up leaves no trace in the feed.
            let give_up = rng.below(3) == 0;
            let _ = handle.transact(|t| {
                let notes = if feed.1 { t.private("notes")? } else { t.memories("notes")? };
                let _ = notes.delete(&key);
                notes.put(random_memory(rng))?;
                notes.put(random_memory(rng))?;
                if give_up { t.abort() } else { Ok(()) }
            });
        }
    }
}

fn run(seed: u64, steps: usize) {
    let (disk, clock) = (SimDisk::new(seed), TestClock::at(Timestamp::from_seconds(1_800_000_000)));
    let mut world = open(&disk, &clock);
    world.provision("acme").unwrap();
    let mut rng = Rng(seed);
    let mut consumers = FEEDS.map(|feed| (feed, Consumer::default(), false));
    for step in 0..steps {
        match rng.below(24) {
            0..=9 => {
                let feed = FEEDS[rng.below(5) as usize];
                change_at_random(&mut rng, &world, feed);
            }
            10 | 11 => clock.advance(Duration::from_secs(rng.below(4))),
            12 => drop(alice(&world).sweep().unwrap()),
            13 if rng.below(3) == 0 => {
                drop(world);
                world = open(&disk, &clock);
            }
            14 if rng.below(6) == 0 => {
                let feed = FEEDS[rng.below(5) as usize];
                if namespace(&world, feed).delete_namespace().is_ok() {
                    consumers
                        .iter_mut()
                        .filter(|(of, ..)| of.1 == feed.1 && (!feed.1 || of.0 == feed.0))
                        .for_each(|(_, consumer, may_be_gone)| *may_be_gone |= consumer.position.is_some());
                }
            }
            // The first one stays away most of the time.
            _ => {
                let number = if rng.below(8) == 0 { 0 } else { 1 + rng.below(4) as usize };
                let (feed, consumer, may_be_gone) = &mut consumers[number];
                let notes = namespace(&world, *feed);
                let to_the_end = rng.below(3) == 0;
                for _ in 0..if to_the_end { usize::MAX } else { 1 + rng.below(3) as usize } {
                    match consumer.ask(&notes, 1 + rng.below(7) as usize) {
                        Ok(true) => {}
                        Ok(false) => {
                            consumer.agrees(&notes, clock.now(), &format!("seed {seed}, step {step}, {feed:?}"));
                            break;
                        }
                        Err(reason) => {
                            assert!(reason == Reason::FeedGone && *may_be_gone, "seed {seed}, step {step}: {reason:?}");
                            consumer.forget();
                            *may_be_gone = false;
                        }
                    }
                }
            }
        }
    }
    for swept in [false, true] {
        while swept && alice(&world).sweep().unwrap().more {}
        for (feed, consumer, _) in &mut consumers {
            let notes = namespace(&world, *feed);
            if consumer.follow(&notes, 5).is_err() {
                consumer.forget();
                consumer.follow(&notes, 5).unwrap();
            }
            let context = format!("seed {seed}, at the end, swept: {swept}, {feed:?}");
            // Once all is swept, it has been told of every expiry.
            let now = if swept { Timestamp::from_seconds(0) } else { clock.now() };
            consumer.agrees(&notes, now, &context);
            // Nothing is told twice after the end.
            let position = consumer.position.clone().map(FeedPosition::from_text);
            let page = notes.changes(position.as_ref(), 5).unwrap();
            assert!(page.events.is_empty() && !page.more, "{context}");
        }
    }
}

fn cases(seeds: Range<u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed, 120));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_consumer_has_in_the_end_what_the_list_has_first_half() {
    cases(0..150);
}

#[test]
fn a_consumer_has_in_the_end_what_the_list_has_second_half() {
    cases(150..300);
}

#[test]
fn a_consumer_keeps_up_with_four_threads_that_write() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put_many((0..100).map(|n| Memory::new(format!("k{n}"))).collect()).unwrap();
    let mut consumers = [Consumer::default(), Consumer::default()];
    // One has begun before the writers do, and is in the middle of what was there.
    consumers[0].ask(&notes, 10).unwrap();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4_u64)
            .map(|thread| {
                let handle = world.handle("acme", &format!("writer-{thread}")).unwrap();
                scope.spawn(move || {
                    let mut rng = Rng(thread);
                    for round in 0..250 {
                        let notes = handle.memories("notes").unwrap();
                        // All of them at the same keys.
                        let key = format!("k{}", rng.below(120));
                        match rng.below(6) {
                            0 => drop(notes.delete(&key)),
                            1 => drop(notes.patch(&Patch::new(&key, json!({"round": round})))),
                            2 => {
                                let keys = (0..9).map(|_| format!("k{}", rng.below(120)));
                                notes.put_many(keys.map(Memory::new).collect()).unwrap();
                            }
                            3 => drop(handle.private("notes").unwrap().put(Memory::new(&key)).unwrap()),
                            _ => drop(notes.put(Memory::new(&key).text(format!("{thread} {round}"))).unwrap()),
                        }
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            for (consumer, limit) in consumers.iter_mut().zip([7, 100]) {
                consumer.ask(&notes, limit).unwrap();
            }
        }
    });
    for (consumer, limit) in consumers.iter_mut().zip([1, 1_000]) {
        consumer.follow(&notes, limit).unwrap();
        consumer.agrees(&notes, Timestamp::from_seconds(0), "at the end");
        assert!(consumer.len() > 50);
    }
}

fn refused(notes: &Memories, text: &str, context: &str) {
    let answer = notes.changes(Some(&FeedPosition::from_text(text)), 10);
    match answer {
        Ok(page) => panic!("{context}: {text:?} was taken, and gave {page:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{context}: {text:?}: {error}"),
    }
}

#[test]
fn a_position_is_good_for_its_own_feed_alone() {
    let world = world();
    world.provision("zoo").unwrap();
    let (alice, bob) = (alice(&world), world.handle("acme", "bob").unwrap());
    let zoo = world.handle("zoo", "alice").unwrap();
    let feeds = [
        alice.memories("notes").unwrap(),
        alice.private("notes").unwrap(),
        alice.memories("others").unwrap(),
        alice.memories("absent").unwrap(),
        alice.private("absent").unwrap(),
        bob.memories("notes").unwrap(),
        bob.private("notes").unwrap(),
        zoo.memories("notes").unwrap(),
        zoo.private("notes").unwrap(),
    ];
    for notes in feeds.iter().filter(|notes| notes.namespace().as_str() != "absent") {
        notes.put_many(["a", "b", "c"].map(Memory::new).into()).unwrap();
    }
    // In the middle of what was there, and after it.
    let positions = |notes: &Memories| [1, 10].map(|limit| notes.changes(None, limit).unwrap().next);
    let given: Vec<_> = feeds.iter().map(positions).collect();
    for (own, notes) in feeds.iter().enumerate() {
        for (of, positions) in given.iter().enumerate() {
            for position in positions {
                if of == own {
                    notes.changes(Some(position), 10).unwrap();
                } else {
                    refused(notes, position.as_str(), &format!("of feed {of} at {own}"));
                }
            }
        }
    }
    // One of another time of the same name.
    world.operator().purge(&TenantId::new("zoo").unwrap()).unwrap();
    world.provision("zoo").unwrap();
    let notes = world.handle("zoo", "alice").unwrap().memories("notes").unwrap();
    notes.put_many(["a", "b", "c"].map(Memory::new).into()).unwrap();
    given[7].iter().for_each(|position| refused(&notes, position.as_str(), "of the tenant before"));
}

#[test]
fn a_position_cannot_be_made_or_changed() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put_many((0..9).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
    let position = notes.changes(None, 3).unwrap().next;
    let text = position.as_str();
    for at in 0..text.len() {
        for other in ['A', 'B', '_', '+', '=', ' ', 'é'] {
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            if changed != text {
                refused(&notes, &changed, "changed");
            }
        }
        refused(&notes, &text[..at], "cut");
        refused(&notes, &text[at + 1..], "cut at its beginning");
    }
    for more in ["A", "AAAA", "AAAAAAAAAAA", "=", "==", "\n", text] {
        refused(&notes, &format!("{text}{more}"), "made longer");
        refused(&notes, &format!("{more}{text}"), "made longer at its beginning");
    }
    for bytes in [0, 16, 24, 40, 48, 56, 4_096] {
        refused(&notes, &URL_SAFE_NO_PAD.encode(vec![0; bytes]), "zeros");
    }
    // A list's cursor is another thing, also the other way round.
    let cursor = notes.list(&List::new().oldest_first().limit(3)).unwrap().next.unwrap();
    refused(&notes, cursor.as_str(), "a cursor");
    for list in [List::new(), List::new().oldest_first()] {
        let mistaken = notes.list(&list.after(Cursor::from_text(text)));
        assert_eq!(mistaken.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let rest = notes.changes(Some(&position), 10).unwrap();
    assert_eq!(rest.events.len(), 6, "the true one is as good as before");
}

#[test]
fn the_limit_of_a_page_is_bounded() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put_many((0..=FEED_PAGE_MAX).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
    for limit in [0, FEED_PAGE_MAX + 1, usize::MAX] {
        assert_eq!(notes.changes(None, limit).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    let page = notes.changes(None, FEED_PAGE_MAX).unwrap();
    assert_eq!((page.events.len(), page.more), (FEED_PAGE_MAX, true));
    let page = notes.changes(Some(&page.next), FEED_PAGE_MAX).unwrap();
    assert_eq!((page.events.len(), page.more), (1, false));
}

/// Whether they are what was there already or what has changed since.
#[test]
fn a_page_of_large_memories_ends_early() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put(Memory::new("small")).unwrap();
    let before = notes.changes(None, 10).unwrap().next;
    let text = "x".repeat(1 << 20);
    for batch in 0..2 {
        let memories = (0..40).map(|n| Memory::new(format!("{batch} {n}")).text(&text));
        notes.put_many(memories.collect()).unwrap();
    }
    for since in [None, Some(before)] {
        let (mut found, mut pages, mut since) = (BTreeSet::new(), 0, since);
        loop {
            let page = notes.changes(since.as_ref(), FEED_PAGE_MAX).unwrap();
            let mut bytes = 0;
            for event in page.events {
                let FeedEvent::Put(memory) = event else { panic!("{event:?}") };
                bytes += memory.text.as_ref().map_or(0, String::len);
                found.insert(memory.key);
            }
            assert!(bytes <= ANSWER_BYTES_MAX + RECORD_BYTES_MAX, "a page of {bytes} bytes");
            pages += 1;
            since = Some(page.next);
            if !page.more {
                break;
            }
        }
        found.remove("small");
        assert_eq!((found.len(), pages), (80, 2));
    }
}

fn gone(notes: &Memories, position: &FeedPosition) {
    assert_eq!(*notes.changes(Some(position), 10).unwrap_err().reason(), Reason::FeedGone);
}

fn keys(notes: &Memories, since: Option<&FeedPosition>) -> Vec<String> {
    let page = notes.changes(since, 100).unwrap();
    assert!(!page.more);
    let key = |event| match event {
        FeedEvent::Put(memory) => memory.key,
        FeedEvent::Removed { key, .. } => format!("-{key}"),
        other => panic!("{other:?}"),
    };
    page.events.into_iter().map(key).collect()
}

#[test]
fn only_the_last_of_several_changes_of_a_memory_is_told_and_in_order() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put_many(["a", "b"].map(Memory::new).into()).unwrap();
    let since = notes.changes(None, 10).unwrap().next;
    notes.put_many(["b", "a", "c", "b", "d"].map(Memory::new).into()).unwrap();
    notes.patch(&Patch::new("a", json!({}))).unwrap();
    notes.delete("c").unwrap();
    notes.put(Memory::new("c")).unwrap();
    notes.delete("d").unwrap();
    assert_eq!(keys(&notes, Some(&since)), ["b", "a", "-c", "c", "-d"]);
}

#[test]
fn a_feed_begins_with_its_namespace_and_ends_with_it() {
    let world = world();
    let alice = alice(&world);
    for private in [false, true] {
        let named = |name: &str| if private { alice.private(name) } else { alice.memories(name) }.unwrap();
        let notes = named("notes");
        // Before there is one, it is empty, and goes on when there is.
        let early = notes.changes(None, 10).unwrap();
        assert!(early.events.is_empty() && !early.more);
        notes.put_many(["a", "b", "c"].map(Memory::new).into()).unwrap();
        assert_eq!(keys(&notes, Some(&early.next)), ["a", "b", "c"]);
        let (begun, told) = (notes.changes(None, 1).unwrap().next, notes.changes(None, 10).unwrap().next);

        // Under another name it is another feed, until it has its name again.
        let moved = notes.rename("moved").unwrap();
        moved.put(Memory::new("d")).unwrap();
        moved.delete("b").unwrap();
        for position in [&begun, &told] {
            gone(&notes, position);
            refused(&moved, position.as_str(), "of the old name");
        }
        assert_eq!(keys(&notes, None), [""; 0]);
        assert_eq!(keys(&notes, Some(&early.next)), [""; 0]);
        assert_eq!(keys(&moved, None), ["a", "c", "d"]);
        let theirs = moved.changes(None, 10).unwrap().next;
        moved.rename("notes").unwrap();
        assert_eq!(keys(&notes, Some(&told)), ["d", "-b"]);
        // In the middle of what was there: the rest of it, then what has changed, of which some comes twice.
        assert_eq!(keys(&notes, Some(&begun)), ["c", "d", "d", "-b"]);
        gone(&named("moved"), &theirs);

        // Another namespace of the name is not this one.
        notes.rename("moved").unwrap();
        notes.put(Memory::new("other")).unwrap();
        [&begun, &told].into_iter().for_each(|position| gone(&notes, position));
        assert_eq!(keys(&notes, Some(&early.next)), ["other"]);
        let other = notes.changes(None, 10).unwrap().next;
        notes.delete_namespace().unwrap();
        [&begun, &told, &other].into_iter().for_each(|position| gone(&notes, position));
        assert_eq!(keys(&notes, None), [""; 0]);
        notes.put(Memory::new("a")).unwrap();
        [&begun, &told, &other].into_iter().for_each(|position| gone(&notes, position));
        assert_eq!(keys(&notes, None), ["a"]);
        assert_eq!(keys(&named("moved"), Some(&theirs)), [""; 0]);
    }
}

/// A feed reaches back as far as it says. Behind that it says that it does not, or is complete all the same.
#[test]
fn a_feed_that_does_not_reach_back_says_so() {
    const BATCH: usize = 8_192;
    let world = world();
    let alice = alice(&world);
    let (busy, quiet) = (alice.memories("busy").unwrap(), alice.private("quiet").unwrap());
    quiet.put_many((0..9).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
    let mut silent = Consumer::default();
    silent.follow(&quiet, 100).unwrap();
    let write = |batch: usize| {
        let keys = (0..BATCH).map(|n| Memory::new(format!("{}", (n + batch * 5_000) % 20_000)));
        busy.put_many(keys.collect()).unwrap();
        // Some of them are gone again, in as many changes.
        busy.delete_where(&Selection::all().key_prefix(format!("{batch}"))).unwrap();
    };
    write(0);
    let mut begun = Consumer::default();
    begun.ask(&busy, 100).unwrap();
    let mut standing: Vec<(u64, Consumer)> = Vec::new();
    let entries = || alice.audit().verify().unwrap().entries;
    for batch in 1..12 {
        let mut consumer = Consumer::default();
        consumer.follow(&busy, FEED_PAGE_MAX).unwrap();
        standing.push((entries(), consumer));
        write(batch);
    }
    let (mut complete, mut gone) = (0, 0);
    // Each change has one entry in the trail.
    let last = entries();
    assert!(last > FEED_CHANGES_KEPT / 2 * 3, "only {last} changes");
    for (at, consumer) in &mut standing {
        match consumer.follow(&busy, FEED_PAGE_MAX) {
            Ok(()) => {
                consumer.agrees(&busy, Timestamp::from_seconds(0), &format!("{} changes behind", last - *at));
                complete += 1;
            }
            Err(reason) => {
                assert_eq!(reason, Reason::FeedGone);
                assert!(last - *at > FEED_CHANGES_KEPT, "gone after {} changes", last - *at);
                gone += 1;
            }
        }
    }
    println!("{complete} complete, {gone} gone");
    assert!(complete >= 4 && gone >= 2, "{complete} complete, {gone} gone");
    assert_eq!(begun.ask(&busy, 100), Err(Reason::FeedGone), "in the middle of what was there");
    begun.forget();
    begun.follow(&busy, FEED_PAGE_MAX).unwrap();
    begun.agrees(&busy, Timestamp::from_seconds(0), "begun again");

    // In the quiet namespace nothing has happened, and nothing is lost.
    let stayed_away = silent.clone();
    silent.follow(&quiet, 1).unwrap();
    silent.agrees(&quiet, Timestamp::from_seconds(0), "quiet");
    // Whoever asked lately goes on when it changes again; who did not is told.
    quiet.delete("3").unwrap();
    silent.follow(&quiet, 1).unwrap();
    silent.agrees(&quiet, Timestamp::from_seconds(0), "changed again");
    assert_eq!(silent.len(), 8);
    assert_eq!(stayed_away.clone().ask(&quiet, 1), Err(Reason::FeedGone));
}

/// As many changes as it says, to the last.
#[test]
fn a_feed_reaches_back_as_many_changes_as_it_says() {
    let world = world();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put(Memory::new("first")).unwrap();
    let mut consumer = Consumer::default();
    consumer.follow(&notes, 10).unwrap();
    notes.delete("first").unwrap();
    let mut left = FEED_CHANGES_KEPT - 1;
    while left > 0 {
        let count = left.min(10_000);
        notes.put_many((0..count).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
        left -= count;
    }
    let mut behind = consumer.clone();
    behind.follow(&notes, FEED_PAGE_MAX).unwrap();
    behind.agrees(&notes, Timestamp::from_seconds(0), "as many as it says");
    notes.put_many(["0", "1"].map(Memory::new).into()).unwrap();
    assert_eq!(consumer.ask(&notes, FEED_PAGE_MAX), Err(Reason::FeedGone));
    behind.follow(&notes, FEED_PAGE_MAX).unwrap();
    behind.agrees(&notes, Timestamp::from_seconds(0), "further on");
}

/// Rows and changes are counted over the whole tenant: a position must tell neither how many there were nor that
/// there were any.
#[test]
fn nobody_learns_of_anothers_private_changes() {
    let world = world();
    let (alice, bob) = (alice(&world), world.handle("acme", "bob").unwrap());
    let quiet = [alice.private("notes").unwrap(), alice.memories("notes").unwrap(), bob.memories("notes").unwrap()];
    quiet[0].put(Memory::new("mine")).unwrap();
    quiet[1].put(Memory::new("ours")).unwrap();
    let mut positions = quiet.each_ref().map(|notes| vec![notes.changes(None, 10).unwrap().next]);
    for round in 0..40 {
        // In every other round nothing happens.
        if round % 2 == 0 {
            let notes = bob.private("notes").unwrap();
            notes.put_many((0..round).map(|n| Memory::new(format!("{n}"))).collect()).unwrap();
            bob.transact(|t| t.private("notes")?.put(Memory::new("again"))).unwrap();
        }
        for (notes, positions) in quiet.iter().zip(&mut positions) {
            let page = notes.changes(positions.last(), 10).unwrap();
            assert!(page.events.is_empty() && !page.more, "{page:?}");
            positions.push(page.next);
        }
    }
    let words = |position: &FeedPosition| {
        let bytes = URL_SAFE_NO_PAD.decode(position.as_str()).unwrap();
        bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>()
    };
    for positions in &positions {
        let distinct: BTreeSet<_> = positions.iter().map(FeedPosition::as_str).collect();
        assert_eq!(distinct.len(), positions.len(), "two that are equal tell that nothing happened in between");
        for pair in positions.windows(2) {
            for (a, b) in words(&pair[0]).into_iter().zip(words(&pair[1])) {
                let apart = [a ^ b, a.wrapping_sub(b), b.wrapping_sub(a)];
                assert!(apart.iter().all(|apart| *apart > 1 << 24), "{a:x} and {b:x} are counted");
            }
        }
    }
}

/// A tenant is put back to a copy of its file. `copied_while_open`: the copy is that of a running engine.
fn put_back(copied_while_open: bool) {
    let (disk, clock) = (SimDisk::new(5), TestClock::at(Timestamp::from_seconds(2_000)));
    let tick = || clock.advance(Duration::from_secs(1));
    let fill = |notes: &Memories, keys: Range<u32>| {
        for key in keys {
            tick();
            notes.put(Memory::new(format!("k{key}"))).unwrap();
        }
    };
    let begin = |world: &World| alice(world).memories("notes").unwrap();
    let list = |notes: &Memories, after: Option<&Cursor>| {
        let list = List::new().oldest_first().limit(2);
        notes.list(&after.map_or(list.clone(), |cursor| list.after(cursor.clone())))
    };

    let world = open(&disk, &clock);
    world.provision("acme").unwrap();
    let path = support::filled::files_of(&world, "acme").0;
    let notes = begin(&world);
    fill(&notes, 0..5);
    let mut early = Consumer::default();
    early.follow(&notes, 100).unwrap();
    let early_cursor = list(&notes, None).unwrap().next.unwrap();
    let (world, notes) = if copied_while_open {
        (world, notes)
    } else {
        world.engine.close().unwrap();
        let world = open(&disk, &clock);
        let notes = begin(&world);
        (world, notes)
    };
    let copy = disk.bytes(&path).unwrap();
    fill(&notes, 5..30);
    let mut late = early.clone();
    late.follow(&notes, 100).unwrap();
    let late_cursor = list(&notes, None).unwrap().next.unwrap();
    let all_of_it = late.by_key.len();
    assert_eq!(all_of_it, 30);
    world.engine.close().unwrap();
    drop((notes, world));

    disk.set_bytes(&path, copy);
    let world = open(&disk, &clock);
    let notes = begin(&world);
    // At once, when it is behind the position; when it has passed it; and after it was opened anew.
    for keys in [100..100, 100..110, 110..160, 160..160] {
        let reopened = open_again(&world, &disk, &clock, keys.is_empty() && keys.start > 100);
        let notes = reopened.as_ref().map_or(notes.clone(), begin);
        fill(&notes, keys.clone());
        assert_eq!(late.clone().follow(&notes, 100), Err(Reason::FeedGone), "{keys:?}");
        let refused = list(&notes, Some(&late_cursor)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{keys:?}");
        // Whoever asked before the copy was made goes on, and misses nothing.
        let mut on = early.clone();
        on.follow(&notes, 100).unwrap();
        assert_eq!(on.by_key.len() as u64, notes.count(&Selection::all()).unwrap(), "{keys:?}");
        assert!(list(&notes, Some(&early_cursor)).is_ok(), "{keys:?}");
    }
}

/// The same engine closed and opened, if that is wanted.
fn open_again(world: &World, disk: &SimDisk, clock: &Arc<TestClock>, wanted: bool) -> Option<World> {
    wanted.then(|| {
        world.engine.close().unwrap();
        open(disk, clock)
    })
}

#[test]
fn a_position_of_another_future_of_a_file_that_was_put_back_begins_again() {
    put_back(false);
}

#[test]
fn a_position_of_another_future_of_a_file_that_was_copied_while_it_was_open_begins_again() {
    put_back(true);
}

#[test]
fn a_position_is_good_whatever_is_done_that_is_no_step() {
    let (disk, clock) = (SimDisk::new(6), TestClock::at(Timestamp::from_seconds(2_000)));
    let world = open(&disk, &clock);
    world.provision("acme").unwrap();
    let notes = alice(&world).memories("notes").unwrap();
    notes.put_many((0..4).map(|n| Memory::new(format!("k{n}")).vector(vec![1.0, n as f32])).collect()).unwrap();
    let gone = alice(&world).memories("gone").unwrap();
    gone.put(Memory::new("k").expires_after(Duration::from_secs(5))).unwrap();
    gone.delete_namespace().unwrap();
    let mut consumer = Consumer::default();
    consumer.follow(&notes, 100).unwrap();
    // What expires in a deleted namespace, and the vectors of another model, are cleared away and made meanwhile.
    clock.advance(Duration::from_secs(10));
    alice(&world).sweep().unwrap();
    consumer.follow(&notes, 100).unwrap();
    world.engine.close().unwrap();
    let world = open(&disk, &clock);
    let notes = alice(&world).memories("notes").unwrap();
    notes.put(Memory::new("k9")).unwrap();
    consumer.follow(&notes, 100).unwrap();
    assert_eq!(consumer.by_key.len(), 5);
    alice(&world).audit().verify().unwrap();
}
