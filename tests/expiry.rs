//! Expiry: from its microsecond on a memory is gone from every operation, and sweeps give back exactly what it took.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::{SWEEP_ROWS_MAX, SWEEP_ROWS_PER_WRITE};
use watertight::{
    AuditAction, AuditEntry, Error, ErrorKind, FeedEvent, FeedPosition, Filter, List, Memories, Memory, MemoryRecord,
    NamespaceSettings, NamespaceUpdate, Patch, Reason, Recall, Result, Selection, Swept, TenantHandle, TenantId,
    TestClock, Timestamp, Usage, recall_across,
};

/// A time of the scene, in microseconds after its beginning.
fn at(micros: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000).after(Duration::from_micros(micros))
}

/// When the memories of a scene expire. Attesting identities moves the engine's clock by a microsecond each, so times
/// that must be met exactly lie well ahead of the beginning.
const EXPIRY: u64 = 1_000_000;

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new() -> Self {
        let clock = TestClock::at(at(0));
        let disk = SimDisk::new(1);
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

    fn alice(&self) -> TenantHandle {
        self.world.handle("acme", "alice").unwrap()
    }

    fn notes(&self) -> Memories {
        self.alice().memories("notes").unwrap()
    }
}

/// All that a test does with one namespace.
struct Hands {
    tenant: TenantHandle,
    notes: Memories,
    /// Another namespace, to ask across.
    other: Memories,
    /// Before the memory that expires was put.
    since: FeedPosition,
}

fn memory(key: &str, slant: f32) -> Memory {
    Memory::new(key).text("text").content(json!({"a": 1})).metadata("n", 1).vector(vec![1.0, slant])
}

/// `dying` is the nearest to every question and lies between two that stay.
fn hands(scene: &Scene, private: bool) -> Hands {
    let tenant = scene.alice();
    let named = |name| if private { tenant.private(name) } else { tenant.memories(name) }.unwrap();
    let (notes, other) = (named("notes"), named("other"));
    other.put(memory("elsewhere", 3.0)).unwrap();
    notes.put(memory("before", 1.0)).unwrap();
    let since = notes.changes(None, 10).unwrap().next;
    notes.put(memory("dying", 0.0).expires_at(at(EXPIRY))).unwrap();
    notes.put(memory("after", 2.0)).unwrap();
    Hands { tenant, notes, other, since }
}

/// Whether the answer is not that there is none.
fn found<T>(answer: Result<T>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{error}"),
    }
}

fn keys(memories: impl IntoIterator<Item = MemoryRecord>) -> Vec<String> {
    memories.into_iter().map(|memory| memory.key).collect()
}

/// Whether the keys have `dying`; `rest` are the others that must be there in any case.
fn has(keys: Vec<String>, rest: &[&str]) -> bool {
    let dying = keys.iter().any(|key| key == "dying");
    let others: Vec<_> = keys.into_iter().filter(|key| key != "dying").collect();
    assert_eq!(others, rest);
    dying
}

/// In pages of one.
fn paged(notes: &Memories, list: &List) -> Vec<String> {
    let (mut found, mut page) = (Vec::new(), notes.list(&list.clone().limit(1)).unwrap());
    loop {
        found.extend(keys(page.memories));
        let Some(next) = page.next else { return found };
        page = notes.list(&list.clone().limit(1).after(next)).unwrap();
        assert!(!page.memories.is_empty(), "a cursor behind which nothing is");
    }
}

/// Two hits are asked for, and two memories that stay are there: the answer is full, whoever is in it.
fn recalled(notes: &Memories, recall: &Recall) -> bool {
    let hits = notes.recall(&recall.clone().top(2)).unwrap();
    let found = keys(hits.into_iter().map(|hit| hit.memory));
    let is_there = found[0] == "dying";
    assert_eq!(found, if is_there { ["dying", "before"] } else { ["before", "after"] });
    is_there
}

fn told(events: Vec<FeedEvent>) -> (Vec<String>, Vec<String>) {
    let (mut put, mut removed) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            FeedEvent::Put(memory) => put.push(memory.key),
            FeedEvent::Removed { key, .. } => removed.push(key),
            event => panic!("{event:?}"),
        }
    }
    (put, removed)
}

/// Whether a put that expects this version goes through; a refusal must name that the memory is absent.
fn put_over(answer: Result<watertight::PutOutcome>) -> bool {
    match answer {
        Ok(outcome) => outcome.version == 2,
        Err(error) => {
            assert_eq!(*error.reason(), Reason::Version { expected: 1, actual: 0 });
            false
        }
    }
}

type Look = fn(&Hands) -> bool;

/// Every operation, and whether it sees `dying`. Each has a scene of its own: a write would sweep for the next.
const LOOKS: [(&str, Look); 30] = [
    ("get", |h| found(h.notes.get("dying"))),
    ("exists", |h| h.notes.exists("dying").unwrap()),
    ("get_many", |h| {
        let found = h.notes.get_many(&["before", "dying", "after", "dying"]).unwrap();
        assert!(found[0].is_some() && found[2].is_some() && found[1] == found[3]);
        found[1].is_some()
    }),
    ("list", |h| has(keys(h.notes.list(&List::new()).unwrap().memories), &["after", "before"])),
    ("list oldest first", |h| {
        has(keys(h.notes.list(&List::new().oldest_first()).unwrap().memories), &["before", "after"])
    }),
    ("list in pages", |h| has(paged(&h.notes, &List::new()), &["after", "before"])),
    ("list in pages oldest first", |h| has(paged(&h.notes, &List::new().oldest_first()), &["before", "after"])),
    ("list selected", |h| {
        has(
            keys(h.notes.list(&List::of(Selection::all().filter(Filter::eq("n", 1)))).unwrap().memories),
            &["after", "before"],
        )
    }),
    ("iter", |h| has(keys(h.notes.iter(List::new().limit(1)).map(Result::unwrap)), &["after", "before"])),
    ("count", |h| h.notes.count(&Selection::all()).unwrap() == 3),
    ("count by prefix", |h| h.notes.count(&Selection::all().key_prefix("dy")).unwrap() == 1),
    ("recall", |h| recalled(&h.notes, &Recall::vector(&[1.0, 0.0]))),
    ("recall filtered", |h| recalled(&h.notes, &Recall::vector(&[1.0, 0.0]).filter(Filter::eq("n", 1)))),
    ("recall selected", |h| {
        !h.notes.recall(&Recall::vector(&[1.0, 0.0]).select(Selection::all().key_prefix("d"))).unwrap().is_empty()
    }),
    ("recall of at least a score", |h| {
        !h.notes.recall(&Recall::vector(&[1.0, 0.0]).minimum_score(0.99)).unwrap().is_empty()
    }),
    ("recall across", |h| {
        let hits = recall_across(&[&h.other, &h.notes], &Recall::vector(&[1.0, 0.0]).top(3)).unwrap();
        let found: Vec<_> = hits.iter().map(|found| found.hit.memory.key.as_str()).collect();
        let is_there = found.contains(&"dying");
        assert_eq!(found, if is_there { ["dying", "before", "after"] } else { ["before", "after", "elsewhere"] });
        is_there
    }),
    ("changes from the beginning", |h| {
        let (put, removed) = told(h.notes.changes(None, 10).unwrap().events);
        assert!(removed.is_empty());
        has(put, &["before", "after"])
    }),
    ("changes since before", |h| {
        let (put, removed) = told(h.notes.changes(Some(&h.since), 10).unwrap().events);
        let is_there = has(put, &["after"]);
        assert_eq!(removed, if is_there { &[][..] } else { &["dying"] });
        is_there
    }),
    ("put of a version", |h| put_over(h.notes.put(Memory::new("dying").if_version(1)))),
    ("put of an absent one", |h| h.notes.put(Memory::new("dying").if_version(0)).is_err()),
    ("patch", |h| found(h.notes.patch(&Patch::new("dying", json!({"a": 2}))))),
    ("delete", |h| found(h.notes.delete("dying"))),
    ("delete_version", |h| found(h.notes.delete_version("dying", 1))),
    ("delete once", |h| found(h.notes.once("request").unwrap().delete("dying"))),
    ("delete_where", |h| h.notes.delete_where(&Selection::all()).unwrap().count == 3),
    ("transaction get", |h| found(h.tenant.transact(|t| within(h, t)?.get("dying")))),
    ("transaction exists", |h| h.tenant.transact(|t| within(h, t)?.exists("dying")).unwrap()),
    ("transaction put", |h| put_over(h.tenant.transact(|t| within(h, t)?.put(Memory::new("dying").if_version(1))))),
    ("transaction patch", |h| found(h.tenant.transact(|t| within(h, t)?.patch(&Patch::new("dying", json!({})))))),
    ("transaction delete_where", |h| {
        h.tenant.transact(|t| within(h, t)?.delete_where(&Selection::all())).unwrap().count == 3
    }),
];

fn within<'a, 't>(h: &Hands, t: &'a watertight::Transaction<'t>) -> Result<watertight::TransactionMemories<'a, 't>> {
    if h.notes.is_private() { t.private("notes") } else { t.memories("notes") }
}

#[test]
fn at_the_microsecond_of_its_expiry_a_memory_is_gone_from_every_operation_and_not_before() {
    for private in [false, true] {
        for (name, sees) in LOOKS {
            for (now, expected) in [(EXPIRY - 1, true), (EXPIRY, false)] {
                let scene = Scene::new();
                let hands = hands(&scene, private);
                // The index is loaded while it lives.
                assert_eq!(hands.notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap().len(), 3);
                scene.clock.set(at(now));
                assert_eq!(sees(&hands), expected, "{name} at {now}, private: {private}");
            }
        }
    }
}

#[test]
fn a_key_put_after_its_expiry_is_a_new_memory() {
    // Swept before, or cleared away by the put itself.
    for swept in [false, true] {
        let scene = Scene::new();
        let Hands { tenant, notes, since, .. } = hands(&scene, false);
        let old = notes.put(memory("dying", 0.0).expires_at(at(EXPIRY))).unwrap();
        assert_eq!((old.created, old.version), (false, 2));
        scene.clock.set(at(EXPIRY));
        if swept {
            assert_eq!(tenant.sweep().unwrap().expired, 1);
        }
        let (before, entries) = (tenant.usage().unwrap(), tenant.audit().verify().unwrap().entries);
        let refused = notes.put(Memory::new("dying").if_version(2)).unwrap_err();
        assert_eq!(*refused.reason(), Reason::Version { expected: 2, actual: 0 });
        assert_eq!(tenant.usage().unwrap(), before, "what is refused sweeps nothing");
        assert_eq!(tenant.audit().verify().unwrap().entries, entries);

        let new = notes.put(Memory::new("dying").if_version(0)).unwrap();
        assert!(new.created && new.version == 1 && new.id != old.id);
        let found = notes.get("dying").unwrap();
        assert_eq!((found.id, found.version, found.expires_at), (new.id, 1, None));
        assert_eq!((found.created_at, found.updated_at), (at(EXPIRY), at(EXPIRY)));
        assert!(found.text.is_none() && found.content.is_none() && found.metadata.is_empty() && !found.has_vector);
        assert_eq!(keys(notes.list(&List::new()).unwrap().memories), ["dying", "after", "before"]);
        assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap().len(), 2, "the old vector is gone");
        let usage = tenant.usage().unwrap();
        assert_eq!((usage.memories, usage.vectors), (4, 3));
        let events = notes.changes(Some(&since), 10).unwrap().events;
        assert!(
            matches!(&events[..], [FeedEvent::Put(after), FeedEvent::Removed { id, key }, FeedEvent::Put(put)]
                if after.key == "after" && *id == old.id && key == "dying" && put.id == new.id),
            "{events:?}"
        );
        assert_eq!(tenant.sweep().unwrap(), Swept::default(), "nothing of the old one is left");
        let trail: Vec<_> =
            tenant.audit().entries(entries, 10).unwrap().into_iter().map(|entry| entry.action).collect();
        let expected = if swept {
            &[AuditAction::Expire, AuditAction::Put][..]
        } else {
            &[AuditAction::Put, AuditAction::Expire, AuditAction::Put]
        };
        assert_eq!(trail, expected);
    }
}

#[test]
fn usage_counts_what_has_expired_until_a_sweep_gives_it_back_exactly() {
    let scene = Scene::new();
    let (alice, notes) = (scene.alice(), scene.notes());
    let private = alice.private("diary").unwrap();
    private.put(Memory::new("stays").text("ü".repeat(9))).unwrap();
    notes.put(memory("stays", 1.0)).unwrap();
    let kept = alice.usage().unwrap();
    let dying = [
        Memory::new("a"),
        Memory::new("b").text("text"),
        Memory::new("c").vector(vec![1.0, 2.0]),
        memory("d", 5.0).metadata("name", "value"),
    ];
    for memory in dying {
        notes.put(memory.clone().expires_at(at(EXPIRY))).unwrap();
        private.put(memory.clone().expires_after(Duration::from_micros(EXPIRY))).unwrap();
    }
    notes.patch(&Patch::new("b", json!({"more": "bytes"}))).unwrap();
    let full = alice.usage().unwrap();
    assert_eq!((full.memories - kept.memories, full.vectors - kept.vectors), (8, 4));
    for (now, counted, expired) in [(EXPIRY - 1, full, 0), (2 * EXPIRY, full, 8)] {
        scene.clock.set(at(now));
        assert_eq!(alice.usage().unwrap(), counted, "at {now}");
        assert_eq!(alice.sweep().unwrap().expired, expired, "at {now}");
    }
    assert_eq!(alice.usage().unwrap(), kept);
    let scene = scene.reopened();
    assert_eq!(scene.alice().usage().unwrap(), kept);
    assert_eq!(scene.alice().sweep().unwrap(), Swept::default());
}

type Change = fn(&TenantHandle) -> Result<()>;

#[test]
fn every_write_sweeps_a_little_the_longest_expired_first() {
    let writes: [(&str, Change); 9] = [
        ("put", |t| t.memories("notes")?.put(Memory::new("stays")).map(drop)),
        ("put_many", |t| t.memories("notes")?.put_many(vec![Memory::new("stays"), Memory::new("stays")]).map(drop)),
        ("patch", |t| t.memories("notes")?.patch(&Patch::new("stays", json!({}))).map(drop)),
        ("delete", |t| t.memories("notes")?.delete("deleted")),
        ("delete_where", |t| t.memories("notes")?.delete_where(&Selection::all().key_prefix("none")).map(drop)),
        ("create", |t| t.memories("made")?.create(&NamespaceSettings::new()).map(drop)),
        ("update", |t| t.memories("notes")?.update(&NamespaceUpdate::new()).map(drop)),
        ("rename", |t| t.memories("other")?.rename("renamed").map(drop)),
        ("transact", |t| t.transact(|t| t.memories("notes")?.exists("stays").map(drop))),
    ];
    for (name, write) in writes {
        let scene = Scene::new();
        let (alice, notes) = (scene.alice(), scene.notes());
        let many = 2 * SWEEP_ROWS_PER_WRITE as u64 + 3;
        notes.put_many(vec![Memory::new("stays"), Memory::new("deleted")]).unwrap();
        alice.memories("other").unwrap().put(Memory::new("other")).unwrap();
        // The last put expires first.
        let dying = (0..many).map(|n| Memory::new(format!("{n:02}")).expires_at(at(EXPIRY + many - n)));
        notes.put_many(dying.collect()).unwrap();
        scene.clock.set(at(EXPIRY + many));
        let stay = notes.count(&Selection::all()).unwrap() + 1;
        write(&alice).unwrap_or_else(|error| panic!("{name}: {error}"));
        let gone = u64::from(name == "delete");
        let swept = SWEEP_ROWS_PER_WRITE as u64;
        assert_eq!(alice.usage().unwrap().memories, stay - gone + many - swept, "{name}");
        let entries = alice.audit().entries(1, 1_000).unwrap();
        let expired: Vec<_> = entries.into_iter().filter(|entry| entry.action == AuditAction::Expire).collect();
        let expected: Vec<_> = (many - swept..many).rev().map(|n| Some(format!("{n:02}"))).collect();
        assert_eq!(expired.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(alice.sweep().unwrap(), swept_of(many - swept, false), "{name}");
        alice.audit().verify().unwrap();
    }
}

fn swept_of(expired: u64, more: bool) -> Swept {
    let mut swept = Swept::default();
    (swept.expired, swept.more) = (expired, more);
    swept
}

/// All of one microsecond, in three namespaces of two users.
#[test]
fn a_sweep_goes_in_steps_and_says_whether_more_is_due() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.world.handle("acme", "bob").unwrap());
    let areas = [scene.notes(), alice.private("notes").unwrap(), bob.private("notes").unwrap()];
    let most = SWEEP_ROWS_MAX as u64;
    let (rest, stay) = (7, areas.len() as u64);
    assert_eq!((2 * most + rest) % stay, 0);
    for area in &areas {
        area.put(Memory::new("stays").vector(vec![1.0])).unwrap();
        let dying = (0..(2 * most + rest) / stay).map(|n| Memory::new(format!("{n}")).expires_at(at(EXPIRY)));
        area.put_many(dying.collect()).unwrap();
    }
    assert_eq!(alice.sweep().unwrap(), Swept::default(), "nothing is due");
    scene.clock.set(at(EXPIRY));
    assert_eq!(areas.each_ref().map(|area| area.count(&Selection::all()).unwrap()), [1, 1, 1]);
    for (expired, more, left) in [(most, true, most + rest), (most, true, rest), (rest, false, 0), (0, false, 0)] {
        assert_eq!(alice.sweep().unwrap(), swept_of(expired, more));
        assert_eq!(alice.usage().unwrap().memories, stay + left);
    }
    assert_eq!(alice.usage().unwrap().vectors, stay);
    // As many as one sweep clears are not more.
    let dying = (0..most).map(|n| Memory::new(format!("{n}")).expires_after(Duration::from_micros(1)));
    areas[1].put_many(dying.collect()).unwrap();
    scene.clock.advance(Duration::from_micros(1));
    assert_eq!(alice.sweep().unwrap(), swept_of(most, false));
    alice.audit().verify().unwrap();
    for area in areas {
        assert_eq!(keys(area.list(&List::new()).unwrap().memories), ["stays"]);
    }
}

#[test]
fn the_trail_says_what_expired_and_keeps_private_names_from_others() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.world.handle("acme", "bob").unwrap());
    let dying = |key: &str| Memory::new(key).expires_at(at(EXPIRY));
    alice.memories("notes").unwrap().put(dying("shared")).unwrap();
    bob.private("secret-name").unwrap().put(dying("secret key")).unwrap();
    bob.private("secret-name").unwrap().put(dying("secret again")).unwrap();
    scene.clock.set(at(EXPIRY + 5));
    // One is cleared away by a put of its key, the others by a sweep.
    bob.private("secret-name").unwrap().put(Memory::new("secret again")).unwrap();
    alice.sweep().unwrap();
    alice.audit().verify().unwrap();
    let expired = |handle: &TenantHandle| -> Vec<AuditEntry> {
        let entries = handle.audit().entries(1, 100).unwrap();
        entries.into_iter().filter(|entry| entry.action == AuditAction::Expire).collect()
    };
    for handle in [&alice, &bob] {
        let entries = expired(handle);
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|entry| entry.user.is_none() && entry.at == at(EXPIRY + 5)), "{entries:?}");
        let shared: Vec<_> = entries.iter().filter(|entry| !entry.private).collect();
        let [shared] = shared[..] else { panic!("{entries:?}") };
        let names = (shared.namespace.as_ref().map(|name| name.as_str()), shared.key.as_deref());
        assert_eq!(names, (Some("notes"), Some("shared")));
    }
    let of_bob: Vec<_> = expired(&alice).into_iter().filter(|entry| entry.private).collect();
    assert!(of_bob.iter().all(|entry| entry.namespace.is_none() && entry.key.is_none()), "{of_bob:?}");
    assert!(!format!("{:?}", alice.audit().entries(1, 100).unwrap()).contains("secret"));
}

#[test]
fn a_follower_of_the_feed_is_told_once_when_what_expired_is_swept() {
    let scene = Scene::new();
    let hands = hands(&scene, false);
    let told_before = hands.notes.changes(None, 10).unwrap();
    assert_eq!(told_before.events.len(), 3);
    scene.clock.set(at(EXPIRY));
    hands.tenant.sweep().unwrap();
    let page = hands.notes.changes(Some(&told_before.next), 10).unwrap();
    assert_eq!(told(page.events), (vec![], vec!["dying".to_owned()]));
    assert!(hands.notes.changes(Some(&page.next), 10).unwrap().events.is_empty());
}

#[test]
fn a_clock_that_steps_back_revives_nothing() {
    let mut scene = Scene::new();
    let hands = hands(&scene, false);
    scene.clock.set(at(EXPIRY));
    assert!(!hands.notes.exists("dying").unwrap());
    for back in [EXPIRY - 1, 0] {
        scene.clock.set(at(back));
        for (name, sees) in &LOOKS[..18] {
            assert!(!sees(&hands), "{name} at {back}");
        }
        let late = hands.notes.put(Memory::new("late").expires_at(at(EXPIRY))).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::InvalidInput, "its time has passed before");
    }
    // The rest of an hour that has been is not lived twice either.
    let hour = Duration::from_secs(3_600);
    hands.notes.put(Memory::new("hour").expires_after(hour)).unwrap();
    assert_eq!(hands.notes.get("hour").unwrap().expires_at, Some(at(EXPIRY).after(hour)));
    scene.clock.set(Timestamp::from_micros(0));
    // After the process was killed, and after it was closed.
    let killed = Scene::open(&scene.disk.kill(), &scene.clock);
    for world in [killed, {
        scene = scene.reopened();
        Scene::open(&scene.disk.kill(), &scene.clock)
    }] {
        let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
        assert!(!notes.exists("dying").unwrap() && notes.exists("hour").unwrap());
        assert_eq!(keys(notes.list(&List::new()).unwrap().memories), ["hour", "after", "before"]);
    }
}

#[test]
fn the_default_of_a_namespace_is_for_puts_that_say_nothing_else_and_each_put_renews_it() {
    let scene = Scene::new();
    let alice = scene.alice();
    let micros = Duration::from_micros;
    scene.clock.set(at(1_000));
    for notes in [alice.memories("notes").unwrap(), alice.private("notes").unwrap()] {
        let now = at(1_000);
        notes.create(&NamespaceSettings::new().expires_after(micros(100))).unwrap();
        let expiry = |memory: Memory| {
            notes.put(memory).unwrap();
            notes.get("k").unwrap().expires_at
        };
        let k = || Memory::new("k");
        assert_eq!(expiry(k()), Some(now.after(micros(100))));
        assert_eq!(expiry(k().expires_after(micros(5))), Some(now.after(micros(5))));
        assert_eq!(expiry(k().expires_at(at(9_999))), Some(at(9_999)));
        assert_eq!(expiry(k().never_expires()), None);
        assert_eq!(expiry(k().never_expires().expires_after(micros(7))), Some(now.after(micros(7))), "the last counts");
        assert_eq!(expiry(k()), Some(now.after(micros(100))), "nothing is left of what was said before");
        assert_eq!(notes.get("k").unwrap().version, 6);
    }
    let notes = alice.memories("notes").unwrap();
    scene.clock.set(at(1_050));
    notes.put(Memory::new("k").content(json!({"a": 1}))).unwrap();
    scene.clock.set(at(1_060));
    notes.patch(&Patch::new("k", json!({"a": 2}))).unwrap();
    assert_eq!(notes.get("k").unwrap().expires_at, Some(at(1_150)), "a put renews it, a patch does not");
    scene.clock.set(at(1_149));
    assert_eq!(alice.sweep().unwrap().expired, 1, "the private one, and nothing by a time that was replaced");
    assert!(notes.exists("k").unwrap());
    scene.clock.set(at(1_150));
    assert!(!notes.exists("k").unwrap());
    // One that is made by its first put keeps for ever.
    let other = alice.memories("other").unwrap();
    other.put(Memory::new("k")).unwrap();
    assert_eq!((other.get("k").unwrap().expires_at, other.info().unwrap().expires_after), (None, None));
}

#[test]
fn a_change_of_the_default_touches_later_puts_alone() {
    let scene = Scene::new();
    let notes = scene.notes();
    let micros = Duration::from_micros;
    scene.clock.set(at(EXPIRY));
    notes.create(&NamespaceSettings::new().expires_after(micros(100))).unwrap();
    let put = |key: &str| notes.put(Memory::new(key).content(json!({"a": 1}))).map(drop).unwrap();
    let expiry = |key: &str| notes.get(key).unwrap().expires_at;
    put("first");
    notes.update(&NamespaceUpdate::new().expires_after(None)).unwrap();
    put("second");
    notes.update(&NamespaceUpdate::new().expires_after(Some(micros(7)))).unwrap();
    put("third");
    let info = notes.update(&NamespaceUpdate::new().description(Some("seven".into()))).unwrap();
    assert_eq!(info.expires_after, Some(micros(7)), "what is not named stays");
    notes.patch(&Patch::new("second", json!({"a": 2}))).unwrap();
    assert_eq!(["first", "second", "third"].map(expiry), [Some(at(EXPIRY + 100)), None, Some(at(EXPIRY + 7))],);
    put("second");
    assert_eq!(expiry("second"), Some(at(EXPIRY + 7)));
    let refused = notes.update(&NamespaceUpdate::new().expires_after(Some(Duration::from_nanos(999)))).unwrap_err();
    assert_eq!(*refused.reason(), Reason::Invalid { what: "expiry", rule: "must be at least a microsecond" });
    let scene = scene.reopened();
    assert_eq!(scene.notes().info().unwrap().expires_after, Some(micros(7)));
}

#[test]
fn the_ends_of_time_do_not_overflow() {
    let scene = Scene::new();
    let last = Timestamp::from_micros(u64::MAX);
    let endless = scene.alice().memories("endless").unwrap();
    endless.create(&NamespaceSettings::new().expires_after(Duration::MAX)).unwrap();
    assert_eq!(endless.info().unwrap().expires_after, Some(Duration::MAX));
    let put_all = |notes: &Memories| {
        notes.put(Memory::new("at").expires_at(last)).unwrap();
        notes.put(Memory::new("after").expires_after(Duration::MAX)).unwrap();
        notes.put(Memory::new("default")).unwrap();
    };
    put_all(&endless);
    for key in ["at", "after", "default"] {
        assert_eq!(endless.get(key).unwrap().expires_at, Some(last));
    }
    assert_eq!(scene.alice().sweep().unwrap(), Swept::default());
    // Beyond any identity's hour, up to the last microsecond but one.
    scene.clock.set(Timestamp::from_micros(u64::MAX - 1_000));
    let scene = scene.reopened();
    let (alice, endless) = (scene.alice(), scene.alice().memories("endless").unwrap());
    put_all(&endless);
    endless.put(Memory::new("soon").expires_at(Timestamp::from_micros(u64::MAX - 500))).unwrap();
    scene.clock.set(Timestamp::from_micros(u64::MAX - 1));
    assert_eq!(keys(endless.list(&List::new()).unwrap().memories), ["default", "after", "at"]);
    assert_eq!(endless.get("at").unwrap().version, 2);
    assert_eq!(alice.sweep().unwrap(), swept_of(1, false));
    assert_eq!(alice.usage().unwrap().memories, 3);
}

#[test]
fn an_expiry_that_is_not_in_the_future_is_refused_and_leaves_nothing() {
    let scene = Scene::new();
    let (alice, notes) = (scene.alice(), scene.notes());
    scene.clock.set(at(EXPIRY));
    notes.put(Memory::new("k")).unwrap();
    let (usage, entries) = (alice.usage().unwrap(), alice.audit().verify().unwrap());
    let past = Reason::Invalid { what: "expiry", rule: "must be in the future" };
    let none = Reason::Invalid { what: "expiry", rule: "must be at least a microsecond" };
    let wrong = [
        (Memory::new("k").expires_at(at(EXPIRY)), &past),
        (Memory::new("k").expires_at(at(EXPIRY - 1)), &past),
        (Memory::new("k").expires_at(Timestamp::from_micros(0)), &past),
        (Memory::new("k").expires_after(Duration::ZERO), &none),
        (Memory::new("k").expires_after(Duration::from_nanos(999)), &none),
    ];
    for (memory, reason) in wrong {
        for answer in [
            notes.put(memory.clone()).map(drop),
            notes.put_many(vec![Memory::new("new"), memory.clone()]).map(drop),
            alice.memories("unmade").unwrap().put(memory.clone()).map(drop),
            alice.transact(|t| t.memories("notes")?.put(memory.clone()).map(drop)),
        ] {
            let refused = answer.unwrap_err();
            assert_eq!((refused.kind(), refused.reason()), (ErrorKind::InvalidInput, reason));
        }
    }
    let refused = alice.memories("unmade").unwrap().create(&NamespaceSettings::new().expires_after(Duration::ZERO));
    assert_eq!(refused.map_err(|error| error.reason().clone()), Err(none));
    assert_eq!((alice.usage().unwrap(), alice.audit().verify().unwrap()), (usage, entries));
    // The refusal is of one step alone, and the next microsecond is the future.
    let outcome = alice.transact(|t| {
        let notes = t.memories("notes")?;
        assert!(notes.put(Memory::new("k").expires_at(at(EXPIRY))).is_err());
        notes.put(Memory::new("k").expires_at(at(EXPIRY + 1)))
    });
    assert_eq!(outcome.unwrap().version, 2);
    assert!(notes.exists("k").unwrap());
    scene.clock.set(at(EXPIRY + 1));
    assert!(!notes.exists("k").unwrap());
}

#[test]
fn what_expires_in_a_suspended_tenant_is_gone_when_it_is_resumed() {
    let scene = Scene::new();
    let hands = hands(&scene, false);
    let (operator, acme) = (scene.world.operator(), TenantId::new("acme").unwrap());
    let full = hands.tenant.usage().unwrap();
    operator.suspend(&acme).unwrap();
    scene.clock.set(at(EXPIRY));
    let refused: Error = hands.tenant.sweep().unwrap_err();
    assert_eq!(*refused.reason(), Reason::TenantSuspended);
    let scene = scene.reopened();
    assert_eq!(*scene.world.handle("acme", "alice").unwrap_err().reason(), Reason::TenantSuspended);
    scene.world.operator().resume(&acme).unwrap();
    let (alice, notes) = (scene.alice(), scene.notes());
    assert!(!notes.exists("dying").unwrap());
    assert_eq!(alice.usage().unwrap(), full);
    assert_eq!(alice.sweep().unwrap(), swept_of(1, false));
    let after: Usage = alice.usage().unwrap();
    assert_eq!((after.memories, after.vectors), (full.memories - 1, full.vectors - 1));
}
