//! What put, get, delete, list and recall do within one tenant, held against models where order or figures matter.

mod support;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::{
    AuditAction, AuditEntry, AuditOutcome, Cursor, Error, ErrorKind, List, Memories, Memory, MemoryRecord,
    MetadataValue, Patch, Reason, Recall, TenantHandle, TenantId, TestClock, Timestamp, UserId,
};

struct Scene {
    world: World,
    clock: Arc<TestClock>,
    disk: SimDisk,
}

impl Scene {
    fn new() -> Self {
        let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
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

    fn tick(&self) {
        self.clock.advance(Duration::from_micros(10));
    }
}

fn keys(memories: &[MemoryRecord]) -> Vec<&str> {
    memories.iter().map(|memory| memory.key.as_str()).collect()
}

/// All pages of a list.
fn paged(memories: &Memories, limit: usize) -> Vec<MemoryRecord> {
    let (mut found, mut list) = (Vec::new(), List::new().limit(limit));
    loop {
        let page = memories.list(&list).unwrap();
        assert!(page.memories.len() <= limit);
        assert!(page.next.is_none() || page.memories.len() == limit, "a short page is the last");
        found.extend(page.memories);
        match page.next {
            Some(next) => list = List::new().limit(limit).after(next),
            None => return found,
        }
    }
}

/// Who did what an entry records.
fn by(entry: &AuditEntry) -> &UserId {
    entry.user.as_ref().expect("a user")
}

fn kind<T>(answer: Result<T, Error>) -> ErrorKind {
    answer.err().expect("a refusal").kind()
}

#[test]
fn putting_again_keeps_identity_and_birth_and_counts_the_version() {
    let scene = Scene::new();
    let notes = scene.notes();
    let first = notes.put(Memory::new("k").text("one")).unwrap();
    assert_eq!((first.created, first.version), (true, 1));
    let born = notes.get("k").unwrap();
    assert_eq!((born.id, born.version, born.created_at), (first.id, 1, born.updated_at));
    let bob = scene.world.handle("acme", "bob").unwrap().memories("notes").unwrap();
    for version in 2..6 {
        scene.tick();
        let again = bob.put(Memory::new("k").text(format!("{version}"))).unwrap();
        assert_eq!((again.id, again.created, again.version), (first.id, false, version));
        let now = notes.get("k").unwrap();
        assert_eq!((now.id, now.version, now.created_at), (first.id, version, born.created_at));
        assert!(now.updated_at > born.updated_at);
        assert_eq!(now.author.subject(), "bob", "the author is who put this version");
    }
    notes.delete("k").unwrap();
    let reborn = notes.put(Memory::new("k")).unwrap();
    assert!(reborn.created && reborn.version == 1 && reborn.id != first.id);
}

#[test]
fn putting_again_leaves_nothing_of_what_was_there() {
    let scene = Scene::new();
    let notes = scene.notes();
    let full = || {
        let memory = Memory::new("k").text("text").content(json!({"a": [1, 2.5, null]}));
        memory.metadata("lang", "en").vector(vec![1.0, 0.0])
    };
    notes.put(full()).unwrap();
    let found = notes.get("k").unwrap();
    assert_eq!(found.text.as_deref(), Some("text"));
    assert_eq!(found.content.as_ref().unwrap().parse().unwrap(), json!({"a": [1, 2.5, null]}));
    assert!(found.has_vector);
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap().len(), 1);

    notes.put(Memory::new("k")).unwrap();
    let found = notes.get("k").unwrap();
    assert_eq!((&found.text, &found.content, found.metadata.len(), found.has_vector), (&None, &None, 0, false));
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap(), []);
    let usage = scene.alice().usage().unwrap();
    assert_eq!((usage.memories, usage.vectors, usage.bytes), (1, 0, 1));

    notes.put(full()).unwrap();
    notes.put(full().vector(vec![0.0, 1.0])).unwrap();
    let hits = notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap();
    assert_eq!((hits.len(), hits[0].score), (1, 0.0), "the old vector is gone");
}

#[test]
fn what_is_given_is_what_comes_back() {
    let scene = Scene::new();
    let notes = scene.notes();
    let texts = ["", " ", "\0", "e\u{301}", "é", "\u{202e}rtl", "𝄞🦀", "line\r\nline\n", "\u{feff}bom", "ﬁ", "İ", "ß"];
    for (number, text) in texts.iter().enumerate() {
        notes.put(Memory::new(format!("{number}")).text(*text).content(json!({"t": text, *text: 1}))).unwrap();
    }
    let time = Timestamp::from_micros(u64::MAX);
    let long = "ü".repeat(2_048);
    let fields: [(&str, MetadataValue); 12] = [
        ("bool", true.into()),
        ("integer", 1_i64.into()),
        ("least", i64::MIN.into()),
        ("float", 1.0_f64.into()),
        ("negative zero", (-0.0_f64).into()),
        ("tiny", f64::MIN_POSITIVE.into()),
        ("text", "1".into()),
        ("true as text", "true".into()),
        ("empty", "".into()),
        ("long", long.into()),
        ("time", time.into()),
        ("ключ\0", "ключ\0".into()),
    ];
    let memory =
        fields.iter().fold(Memory::new("typed"), |memory, (name, value)| memory.metadata(*name, value.clone()));
    notes.put(memory.metadata("bool", false).metadata("bool", true)).unwrap();
    let scene = scene.reopened();
    let notes = scene.notes();
    for (number, text) in texts.iter().enumerate() {
        let found = notes.get(&number.to_string()).unwrap();
        assert_eq!(found.text.as_deref(), Some(*text));
        assert_eq!(found.content.unwrap().parse().unwrap(), json!({"t": text, *text: 1}));
    }
    let found = notes.get("typed").unwrap();
    let expected: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(found.metadata, expected);
    let MetadataValue::Float(zero) = found.metadata["negative zero"] else { panic!("the type has changed") };
    assert!(zero.is_sign_negative());
}

#[test]
fn a_list_is_newest_first_by_first_put_in_pages_of_any_size() {
    let scene = Scene::new();
    let notes = scene.notes();
    let mut expected = Vec::new();
    for number in 0..23 {
        // Not in the order of their names.
        let key = format!("{}", (number * 7) % 23);
        notes.put(Memory::new(&key)).unwrap();
        scene.alice().memories("others").unwrap().put(Memory::new(&key)).unwrap();
        expected.insert(0, key);
    }
    // Changing a memory does not move it; what is deleted and put again is new.
    notes.put(Memory::new(&expected[22]).text("changed")).unwrap();
    let moved = expected.remove(11);
    notes.delete(&moved).unwrap();
    notes.put(Memory::new(&moved)).unwrap();
    expected.insert(0, moved);
    for limit in (1..=25).chain([1_000]) {
        assert_eq!(keys(&paged(&notes, limit)), expected, "in pages of {limit}");
    }
    let scene = scene.reopened();
    let notes = scene.notes();
    assert_eq!(keys(&paged(&notes, 4)), expected);
    let refused = notes.list(&List::new().limit(1_001)).unwrap_err();
    assert_eq!(*refused.reason(), Reason::TooLarge { what: "list limit", limit: 1_000, actual: 1_001 });
    assert_eq!(kind(notes.list(&List::new().limit(0))), ErrorKind::InvalidInput);
    assert_eq!(kind(notes.list(&List::new().limit(usize::MAX))), ErrorKind::InvalidInput);
    let empty = scene.alice().memories("absent").unwrap().list(&List::new()).unwrap();
    assert!(empty.memories.is_empty() && empty.next.is_none());
}

#[test]
fn the_default_page_is_a_hundred() {
    let scene = Scene::new();
    let notes = scene.notes();
    for number in 0..101 {
        notes.put(Memory::new(format!("{number}"))).unwrap();
    }
    let page = notes.list(&List::new()).unwrap();
    assert_eq!(page.memories.len(), 100);
    assert_eq!(keys(&notes.list(&List::new().after(page.next.unwrap())).unwrap().memories), ["0"]);
    notes.delete("0").unwrap();
    assert!(notes.list(&List::new()).unwrap().next.is_none(), "no cursor behind which nothing is");
}

#[test]
fn rows_may_come_and_go_under_a_cursor() {
    let scene = Scene::new();
    let notes = scene.notes();
    for key in ["a", "b", "c", "d", "e", "f"] {
        notes.put(Memory::new(key)).unwrap();
    }
    let page = notes.list(&List::new().limit(2)).unwrap();
    assert_eq!(keys(&page.memories), ["f", "e"]);
    let next = List::new().limit(2).after(page.next.unwrap());
    for key in ["e", "d", "f"] {
        notes.delete(key).unwrap();
    }
    notes.put(Memory::new("newer")).unwrap();
    notes.put(Memory::new("e")).unwrap();
    let page = notes.list(&next).unwrap();
    assert_eq!((keys(&page.memories), page.next.is_none()), (vec!["c", "b"], false));
    // A cursor is good for more than one use, and after the engine has been reopened.
    let scene = scene.reopened();
    assert_eq!(keys(&scene.notes().list(&next).unwrap().memories), ["c", "b"]);
    let after = List::new().after(Cursor::from_text(page.next.unwrap().as_str()));
    assert_eq!(keys(&scene.notes().list(&after).unwrap().memories), ["a"]);
    for key in ["a", "b", "c"] {
        scene.notes().delete(key).unwrap();
    }
    let page = scene.notes().list(&next).unwrap();
    assert!(page.memories.is_empty() && page.next.is_none());
}

#[test]
fn a_cursor_is_good_for_its_list_alone() {
    let scene = Scene::new();
    scene.world.provision("zoo").unwrap();
    let lists = || {
        let mut lists = Vec::new();
        for (tenant, user) in [("acme", "alice"), ("acme", "bob"), ("zoo", "alice")] {
            let handle = scene.world.handle(tenant, user).unwrap();
            for namespace in ["notes", "note"] {
                lists.push(handle.memories(namespace).unwrap());
                lists.push(handle.private(namespace).unwrap());
            }
        }
        lists
    };
    for list in lists() {
        for key in ["a", "b", "c"] {
            list.put(Memory::new(key)).unwrap();
        }
    }
    let cursor = |memories: &Memories| memories.list(&List::new().limit(1)).unwrap().next.unwrap();
    let refused = lists()[0].list(&List::new().after(Cursor::from_text("x"))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for (mine, list) in lists().iter().enumerate() {
        for (other, from) in lists().iter().enumerate() {
            let answer = list.list(&List::new().after(cursor(from)));
            assert_eq!(answer.is_ok(), mine == other, "list {mine}, cursor {other}");
            assert!(answer.is_ok() || answer.unwrap_err() == refused);
        }
    }
    let genuine = cursor(&lists()[0]).as_str().to_owned();
    let mut forged: Vec<String> = vec![String::new(), "=".into(), genuine.clone() + "A", genuine.clone() + "\0"];
    forged.extend((0..genuine.len()).map(|end| genuine[..end].to_owned()));
    forged.extend(["é".repeat(16), "A".repeat(32), "_".repeat(32), "A".repeat(1 << 20), genuine.clone() + &genuine]);
    for (at, old) in genuine.char_indices() {
        for new in ['A', 'B', 'z', '-'].into_iter().filter(|new| *new != old) {
            let mut text = genuine.clone();
            text.replace_range(at..=at, &new.to_string());
            forged.push(text);
        }
    }
    for text in forged {
        assert_eq!(lists()[0].list(&List::new().after(Cursor::from_text(&text))).unwrap_err(), refused, "{text}");
    }
    // Made again, the tenant does not know the cursors of before.
    scene.world.operator().purge(&TenantId::new("acme").unwrap()).unwrap();
    scene.world.provision("acme").unwrap();
    scene.notes().put(Memory::new("a")).unwrap();
    assert_eq!(scene.notes().list(&List::new().after(Cursor::from_text(&genuine))).unwrap_err(), refused);
}

#[test]
fn private_namespaces_of_one_name_are_apart_from_each_other_and_from_the_shared_one() {
    let scene = Scene::new();
    let bob = scene.world.handle("acme", "bob").unwrap();
    let areas = [
        scene.notes(),
        scene.alice().private("notes").unwrap(),
        bob.private("notes").unwrap(),
        bob.memories("notes2").unwrap(),
    ];
    for (number, area) in areas.iter().enumerate() {
        // Their dimensions are their own too.
        let vector = vec![1.0; number + 1];
        area.put(Memory::new("k").text(number.to_string()).vector(vector)).unwrap();
        area.put(Memory::new(format!("only {number}"))).unwrap();
    }
    for (number, area) in areas.iter().enumerate() {
        assert_eq!(area.get("k").unwrap().text, Some(number.to_string()));
        assert_eq!(keys(&paged(area, 1)), [&format!("only {number}"), "k"]);
        let hits = area.recall(&Recall::vector(&vec![1.0; number + 1])).unwrap();
        assert_eq!((hits.len(), hits[0].memory.text.clone()), (1, Some(number.to_string())));
    }
    areas[1].delete("k").unwrap();
    assert_eq!(kind(areas[1].get("k")), ErrorKind::NotFound);
    for other in [0, 2, 3] {
        areas[other].get("k").unwrap();
        assert_eq!(kind(areas[other].delete("only 1")), ErrorKind::NotFound);
    }
    let usage = scene.alice().usage().unwrap();
    assert_eq!((usage.memories, usage.vectors, usage.namespaces, usage.users), (7, 3, 4, 2));
}

#[test]
fn every_limit_is_named_with_the_value_that_exceeds_it() {
    let scene = Scene::new();
    let notes = scene.notes();
    notes.put(Memory::new("k").vector(vec![1.0, 2.0])).unwrap();
    let nested = |levels| (1..levels).fold(json!(1), |value, _| json!([value]));
    let fields = |count: usize| {
        (0..count).fold(Memory::new("f"), |memory, number| memory.metadata(format!("{number}"), number as u32))
    };
    let cases: [(Memory, Memory, &str, u64, u64); 8] = [
        (Memory::new("k".repeat(512)), Memory::new("k".repeat(513)), "key", 512, 513),
        (Memory::new("ü".repeat(256)), Memory::new("ü".repeat(257)), "key", 512, 514),
        (
            Memory::new("t").text("t".repeat(1 << 20)),
            Memory::new("t").text("t".repeat((1 << 20) + 1)),
            "text",
            1 << 20,
            (1 << 20) + 1,
        ),
        (
            Memory::new("c").content(json!("c".repeat((1 << 20) - 2))),
            Memory::new("c").content(json!("c".repeat((1 << 20) - 1))),
            "content",
            1 << 20,
            (1 << 20) + 1,
        ),
        (Memory::new("d").content(nested(64)), Memory::new("d").content(nested(65)), "content depth", 64, 65),
        (fields(64), fields(65), "metadata fields", 64, 65),
        (
            Memory::new("n").metadata("n".repeat(64), 1),
            Memory::new("n").metadata("n".repeat(65), 1),
            "metadata name",
            64,
            65,
        ),
        (
            Memory::new("m").metadata("m", "m".repeat(4_096)),
            Memory::new("m").metadata("m", "m".repeat(4_097)),
            "metadata text",
            4_096,
            4_097,
        ),
    ];
    for (fits, exceeds, what, limit, actual) in cases {
        notes.put(fits).unwrap();
        let before = scene.alice().usage().unwrap();
        let refused = notes.put(exceeds).unwrap_err();
        assert_eq!(*refused.reason(), Reason::TooLarge { what, limit, actual });
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let said = refused.to_string();
        assert!(
            said.contains(what) && said.contains(&limit.to_string()) && said.contains(&actual.to_string()),
            "{said}"
        );
        assert_eq!(scene.alice().usage().unwrap(), before);
    }
    let wide = scene.alice().memories("wide").unwrap();
    wide.put(Memory::new("w").vector(vec![1.0; 4_096])).unwrap();
    let refused = wide.put(Memory::new("w").vector(vec![1.0; 4_097])).unwrap_err();
    assert_eq!(*refused.reason(), Reason::TooLarge { what: "vector dimensions", limit: 4_096, actual: 4_097 });
    let refused = wide.recall(&Recall::vector(&vec![1.0; 4_097])).unwrap_err();
    assert_eq!(*refused.reason(), Reason::TooLarge { what: "vector dimensions", limit: 4_096, actual: 4_097 });
    let refused = notes.put(Memory::new("k").vector(vec![1.0; 3])).unwrap_err();
    assert_eq!(*refused.reason(), Reason::Dimension { expected: 2, actual: 3 });
    assert_eq!(refused.to_string(), "a vector of 3 dimensions in a namespace of 2");
    for (what, refused) in [
        ("key", notes.put(Memory::new(""))),
        ("metadata name", notes.put(Memory::new("k").metadata("", 1))),
        ("metadata float", notes.put(Memory::new("k").metadata("f", f64::NAN))),
        ("metadata float", notes.put(Memory::new("k").metadata("f", f64::INFINITY))),
        ("vector", notes.put(Memory::new("k").vector(vec![]))),
        ("vector", notes.put(Memory::new("k").vector(vec![0.0, -0.0]))),
        ("vector", notes.put(Memory::new("k").vector(vec![f32::NAN, 1.0]))),
        ("vector", notes.put(Memory::new("k").vector(vec![f32::INFINITY, 1.0]))),
        ("vector", notes.put(Memory::new("k").vector(vec![f32::NEG_INFINITY, 1.0]))),
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused.reason(), Reason::Invalid { what: named, .. } if *named == what), "{refused}");
    }
    for key in ["".to_owned(), "k".repeat(513)] {
        assert_eq!(kind(notes.get(&key)), ErrorKind::InvalidInput);
        assert_eq!(kind(notes.delete(&key)), ErrorKind::InvalidInput);
    }
    assert_eq!(notes.get("k").unwrap().version, 1, "nothing of a refused memory was stored");
    for namespace in ["", "Notes", &"n".repeat(65)] {
        assert_eq!(kind(scene.alice().memories(namespace)), ErrorKind::InvalidInput);
        assert_eq!(kind(scene.alice().private(namespace)), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_batch_is_put_in_order_and_whole_or_not_at_all() {
    let scene = Scene::new();
    let notes = scene.notes();
    let batch = |keys: &[&str]| keys.iter().map(|key| Memory::new(*key).vector(vec![1.0, 0.0])).collect::<Vec<_>>();
    assert_eq!(notes.put_many(Vec::new()).unwrap(), []);
    assert_eq!(scene.alice().usage().unwrap(), watertight::Usage::default());
    let outcomes = notes.put_many(batch(&["a", "b", "a", "c"])).unwrap();
    let told: Vec<_> = outcomes.iter().map(|outcome| (outcome.created, outcome.version)).collect();
    assert_eq!(told, [(true, 1), (true, 1), (false, 2), (true, 1)]);
    assert_eq!(outcomes[0].id, outcomes[2].id);
    assert_eq!(keys(&paged(&notes, 2)), ["c", "b", "a"]);
    let see = || {
        let hits = notes.recall(&Recall::vector(&[1.0, 0.0]).top(100)).unwrap();
        (paged(&notes, 2), hits, scene.alice().usage().unwrap(), scene.alice().audit().entries(1, 1_000).unwrap())
    };
    let before = see();
    let (memories, hits, usage, entries) = &before;
    assert_eq!((memories.len(), hits.len(), usage.memories, usage.vectors, entries.len()), (3, 3, 3, 3, 4));
    assert_eq!(entries.iter().map(|entry| entry.key.as_deref().unwrap()).collect::<Vec<_>>(), ["a", "b", "a", "c"]);
    // The last of each is refused: before the transaction, and in it.
    for bad in [Memory::new(""), Memory::new("d").vector(vec![1.0; 3])] {
        let mut memories = batch(&["a", "d", "e"]);
        memories.push(bad);
        assert_eq!(kind(notes.put_many(memories)), ErrorKind::InvalidInput);
        assert_eq!(see(), before);
    }
    let refused = notes.put_many(vec![Memory::new("k"); 10_001]).unwrap_err();
    assert_eq!(*refused.reason(), Reason::TooLarge { what: "batch", limit: 10_000, actual: 10_001 });
    let refused = notes.put_many(vec![Memory::new("k").text("t".repeat(1 << 20)); 64]).unwrap_err();
    assert_eq!(*refused.reason(), Reason::TooLarge { what: "batch bytes", limit: 64 << 20, actual: (64 << 20) + 64 });
    assert_eq!(see(), before);
}

#[test]
fn a_refused_put_makes_no_namespace_and_no_user() {
    let scene = Scene::new();
    let fresh = scene.alice().private("fresh").unwrap();
    assert_eq!(kind(fresh.put(Memory::new("k").vector(vec![0.0]))), ErrorKind::InvalidInput);
    assert_eq!(kind(fresh.delete("k")), ErrorKind::NotFound);
    assert_eq!(scene.alice().usage().unwrap(), watertight::Usage::default());
    scene.notes().put(Memory::new("k").vector(vec![1.0])).unwrap();
    let before = (scene.alice().usage().unwrap(), scene.alice().audit().verify().unwrap());
    let bob = scene.world.handle("acme", "bob").unwrap();
    // This one is refused inside the transaction, after bob was given a number.
    assert_eq!(
        kind(bob.memories("notes").unwrap().put(Memory::new("k").vector(vec![1.0; 2]))),
        ErrorKind::InvalidInput
    );
    assert_eq!((scene.alice().usage().unwrap(), scene.alice().audit().verify().unwrap()), before);
}

#[test]
fn recall_refuses_questions_that_have_no_answer() {
    let scene = Scene::new();
    let notes = scene.notes();
    let absent = scene.alice().memories("absent").unwrap();
    assert_eq!(absent.recall(&Recall::vector(&[1.0])).unwrap(), []);
    notes.put(Memory::new("text alone")).unwrap();
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 2.0, 3.0])).unwrap(), [], "no vector has set a dimension yet");
    for number in 0..20 {
        notes.put(Memory::new(format!("{number}")).vector(vec![1.0, number as f32])).unwrap();
    }
    for bad in [&[][..], &[0.0, 0.0], &[-0.0, 0.0], &[f32::NAN, 1.0], &[1.0, f32::INFINITY], &[f32::NEG_INFINITY, 1.0]]
    {
        for memories in [&notes, &absent] {
            assert_eq!(kind(memories.recall(&Recall::vector(bad))), ErrorKind::InvalidInput, "{bad:?}");
        }
    }
    let refused = notes.recall(&Recall::vector(&[1.0; 3])).unwrap_err();
    assert_eq!(*refused.reason(), Reason::Dimension { expected: 2, actual: 3 });
    let question = || Recall::vector(&[1.0, 0.0]);
    assert_eq!(notes.recall(&question()).unwrap().len(), 10, "ten unless told otherwise");
    assert_eq!(notes.recall(&question().top(0)).unwrap(), []);
    assert_eq!(notes.recall(&question().top(10_000)).unwrap().len(), 20);
    for top in [10_001, usize::MAX] {
        let refused = notes.recall(&question().top(top)).unwrap_err();
        assert_eq!(*refused.reason(), Reason::TooLarge { what: "recall top", limit: 10_000, actual: top as u64 });
    }
    assert_eq!(kind(notes.recall(&question().minimum_score(f32::NAN))), ErrorKind::InvalidInput);
    assert_eq!(notes.recall(&question().minimum_score(f32::INFINITY)).unwrap(), []);
    assert_eq!(notes.recall(&question().minimum_score(1.1)).unwrap(), []);
    assert_eq!(notes.recall(&question().minimum_score(f32::NEG_INFINITY).top(100)).unwrap().len(), 20);
    // The dimension stays when the last vector has gone.
    for number in 0..20 {
        notes.delete(&number.to_string()).unwrap();
    }
    assert_eq!(notes.recall(&question()).unwrap(), []);
    assert_eq!(kind(notes.put(Memory::new("k").vector(vec![1.0; 3]))), ErrorKind::InvalidInput);
}

#[test]
fn scores_are_cosines_and_the_minimum_is_included() {
    let scene = Scene::new();
    let notes = scene.notes();
    // Of length 2, 2 and powers of ten: every score is exact, and lengths do not matter.
    for (key, vector) in [
        ("same", [1.0_f32, 1.0, 1.0, 1.0]),
        ("half", [1.0, 1.0, 1.0, -1.0]),
        ("none", [1.0, 1.0, -1.0, -1.0]),
        ("minus half", [1.0, -1.0, -1.0, -1.0]),
        ("opposite", [-1.0, -1.0, -1.0, -1.0]),
        ("huge", [1e38, 1e38, 1e38, 1e38]),
        ("tiny", [1e-38, 1e-38, 1e-38, 1e-38]),
    ] {
        notes.put(Memory::new(key).vector(vector)).unwrap();
    }
    let ask = |minimum: f32| {
        let hits = notes.recall(&Recall::vector(&[3.0; 4]).minimum_score(minimum)).unwrap();
        hits.into_iter().map(|hit| (hit.memory.key, hit.score)).collect::<Vec<_>>()
    };
    let all = [
        ("same", 1.0),
        ("huge", 1.0),
        ("tiny", 1.0),
        ("half", 0.5),
        ("none", 0.0),
        ("minus half", -0.5),
        ("opposite", -1.0),
    ]
    .map(|(key, score)| (key.to_owned(), score));
    for (minimum, count) in [(-1.0, 7), (-0.75, 6), (-0.5, 6), (0.0, 5), (0.25, 4), (0.5, 4), (0.75, 3), (1.0, 3)] {
        assert_eq!(ask(minimum), all[..count], "at least {minimum}");
    }
}

/// Splitmix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

const DIMENSIONS: usize = 5;
/// Whole numbers, so that the model compares cosines without rounding.
type Whole = [i64; DIMENSIONS];

fn whole(rng: &mut Rng) -> Whole {
    loop {
        let vector: Whole = std::array::from_fn(|_| rng.below(5) as i64 - 2);
        if vector != Whole::default() {
            return vector;
        }
    }
}

fn floats(vector: &Whole) -> Vec<f32> {
    vector.iter().map(|component| *component as f32).collect()
}

fn dot(a: &Whole, b: &Whole) -> i64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares the cosines of two vectors to a question: `sign(d) d^2 / |v|^2`, multiplied out.
fn compare(question: &Whole, a: &Whole, b: &Whole) -> Ordering {
    let square = |vector| dot(question, vector) * dot(question, vector).abs();
    (square(a) * dot(b, b)).cmp(&(square(b) * dot(a, a)))
}

fn cosine(question: &Whole, vector: &Whole) -> f64 {
    dot(question, vector) as f64 / ((dot(question, question) * dot(vector, vector)) as f64).sqrt()
}

/// What the tenant should hold: key -> when it was first put, and its vector.
type Model = BTreeMap<String, (usize, Option<Whole>)>;

/// Holds an answer against every vector there is.
fn check_recall(notes: &Memories, model: &Model, question: &Whole, top: usize, minimum: f32) {
    let hits = notes.recall(&Recall::vector(&floats(question)).top(top).minimum_score(minimum)).unwrap();
    let among: Vec<(&str, usize, &Whole)> = model
        .iter()
        .filter_map(|(key, (age, vector))| Some((key.as_str(), *age, vector.as_ref()?)))
        .filter(|(_, _, vector)| cosine(question, vector) >= f64::from(minimum))
        .collect();
    assert_eq!(hits.len(), among.len().min(top));
    let of = |key: &str| *among.iter().find(|(other, _, _)| *other == key).expect("what is there, and near enough");
    let found: Vec<_> = hits.iter().map(|hit| of(&hit.memory.key)).collect();
    assert_eq!(found.iter().map(|(key, _, _)| key).collect::<BTreeSet<_>>().len(), found.len(), "no key twice");
    for (hit, (_, _, vector)) in hits.iter().zip(&found) {
        assert!((f64::from(hit.score) - cosine(question, vector)).abs() < 1e-6);
    }
    for pair in found.windows(2) {
        let order = compare(question, pair[0].2, pair[1].2);
        assert_ne!(order, Ordering::Less, "nearest first");
        // Vectors of one direction but different length may differ in the last bit; equal ones may not.
        assert!(pair[0].2 != pair[1].2 || pair[0].1 < pair[1].1, "ties by age");
    }
    if let Some((_, age, last)) = found.last() {
        for (key, older, vector) in &among {
            if found.iter().any(|(other, _, _)| other == key) {
                continue;
            }
            assert_ne!(compare(question, vector, last), Ordering::Greater, "{key} is nearer than the last hit");
            assert!(vector != last || older > age, "{key} is as near as the last hit and older");
        }
    }
}

#[test]
fn recall_agrees_with_a_model_that_looks_at_everything() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let mut scene = Scene::new();
        let mut notes = scene.notes();
        let (mut model, mut age) = (Model::new(), 0);
        for _ in 0..400 {
            let key = format!("{}", rng.below(60));
            match rng.below(20) {
                0 => {
                    drop(notes);
                    scene = scene.reopened();
                    notes = scene.notes();
                }
                1..=5 => {
                    let answer = notes.delete(&key).map_err(|error| error.kind());
                    let expected = model.remove(&key).map(|_| ()).ok_or(ErrorKind::NotFound);
                    assert_eq!(answer, expected);
                }
                roll => {
                    let vector = (roll > 6).then(|| whole(&mut rng));
                    let memory = Memory::new(&key);
                    let memory = match &vector {
                        Some(vector) => memory.vector(floats(vector)),
                        None => memory,
                    };
                    let created = notes.put(memory).unwrap().created;
                    assert_eq!(created, !model.contains_key(&key));
                    age += 1;
                    model.entry(key).or_insert((age, None)).1 = vector;
                    // The index of another namespace follows the same log.
                    if roll > 15 {
                        scene.notes_elsewhere().put(Memory::new("x").vector(vec![1.0; 7])).unwrap();
                    }
                }
            }
            if rng.below(3) == 0 && model.values().any(|(_, vector)| vector.is_some()) {
                let question = whole(&mut rng);
                let top = [0, 1, 2, 3, 7, 10, 59, 60, 10_000][rng.below(9)];
                // Between any two cosines that these vectors can have.
                let minimum = [-1.1, -0.123_456, 0.123_456, 0.654_321][rng.below(4)];
                check_recall(&notes, &model, &question, top, minimum);
            }
        }
        let vectors = model.values().filter(|(_, vector)| vector.is_some()).count() as u64;
        let usage = scene.alice().usage().unwrap();
        assert_eq!(usage.memories, model.len() as u64 + usage.vectors - vectors, "elsewhere has one vector or none");
        let mut newest: Vec<_> = model.iter().map(|(key, (age, _))| (*age, key.as_str())).collect();
        newest.sort_by(|a, b| b.cmp(a));
        let newest: Vec<_> = newest.into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys(&paged(&notes, 7)), newest);
    }
}

impl Scene {
    fn notes_elsewhere(&self) -> Memories {
        self.alice().private("elsewhere").unwrap()
    }
}

#[test]
fn recall_sees_every_change_that_returned_before_it() {
    let scene = Scene::new();
    let notes = scene.notes();
    let ask = || notes.recall(&Recall::vector(&[1.0, 0.0]).top(1_000)).unwrap().len();
    for number in 0..50 {
        let key = format!("{number}");
        notes.put(Memory::new(&key).vector(vec![1.0, 0.5])).unwrap();
        assert_eq!(ask(), number + 1);
        notes.put(Memory::new(&key)).unwrap();
        assert_eq!(ask(), number);
        notes.put(Memory::new(&key).vector(vec![1.0, 0.5])).unwrap();
        notes.delete(&key).unwrap();
        notes.put(Memory::new(&key).vector(vec![1.0, 0.5])).unwrap();
        assert_eq!(ask(), number + 1);
    }
    // The same while others change other keys, and in every thread.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let notes = notes.clone();
            scope.spawn(move || {
                for number in 0..40 {
                    let key = format!("{thread} {number}");
                    let mine = [0.0, thread as f32 + 1.0];
                    notes.put(Memory::new(&key).vector(mine.to_vec())).unwrap();
                    let see = || {
                        let hits = notes.recall(&Recall::vector(&mine).top(1_000)).unwrap();
                        hits.iter().any(|hit| hit.memory.key == key)
                    };
                    assert!(see(), "{key} was put");
                    notes.delete(&key).unwrap();
                    assert!(!see(), "{key} was deleted");
                }
            });
        }
    });
    assert_eq!(ask(), 50);
}

#[test]
fn every_change_has_its_audit_entry_and_nothing_else_has_one() {
    let scene = Scene::new();
    let alice = scene.alice();
    let bob = scene.world.handle("acme", "bob").unwrap();
    let (notes, own, bobs) = (scene.notes(), alice.private("own").unwrap(), bob.memories("notes").unwrap());
    let start = scene.clock_now();
    notes.put(Memory::new("k").text("secret text").vector(vec![1.0])).unwrap();
    scene.tick();
    bobs.put(Memory::new("k")).unwrap();
    own.put(Memory::new("clé\n")).unwrap();
    let _ = notes.get("k");
    let _ = notes.list(&List::new());
    let _ = notes.recall(&Recall::vector(&[1.0]));
    assert!(notes.delete("absent").is_err() && notes.put(Memory::new("")).is_err());
    scene.tick();
    bobs.delete("k").unwrap();
    own.delete("clé\n").unwrap();
    let entries = alice.audit().entries(1, 1_000).unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                by(entry).subject(),
                entry.action,
                entry.namespace.as_ref().unwrap().as_str(),
                entry.private,
                entry.key.as_deref().unwrap(),
            )
        })
        .collect();
    use AuditAction::{Delete, Put};
    assert_eq!(
        told,
        [
            ("alice", Put, "notes", false, "k"),
            ("bob", Put, "notes", false, "k"),
            ("alice", Put, "own", true, "clé\n"),
            ("bob", Delete, "notes", false, "k"),
            ("alice", Delete, "own", true, "clé\n"),
        ]
    );
    assert!(entries.iter().all(|entry| entry.outcome == AuditOutcome::Done && by(entry).issuer().is_authority()));
    assert!(entries[0].at >= start && entries[0].at < entries[1].at && entries.is_sorted_by_key(|entry| entry.at));
    assert!(!format!("{entries:?}").contains("secret"));
    let head = alice.audit().verify().unwrap();
    assert_eq!(head.entries, 5);
    assert_eq!(alice.audit().entries(2, 2).unwrap(), entries[1..3]);
    assert_eq!(alice.audit().entries(0, 1).unwrap(), entries[..1]);
    assert_eq!(alice.audit().entries(6, 10).unwrap(), []);
    assert_eq!(alice.audit().entries(u64::MAX, usize::MAX).unwrap(), []);
    assert_eq!(alice.audit().entries(1, 0).unwrap(), []);
    let scene = scene.reopened();
    assert_eq!(scene.alice().audit().verify().unwrap(), head);
    assert_eq!(scene.alice().audit().entries(1, 1_000).unwrap(), entries);
}

impl Scene {
    fn clock_now(&self) -> Timestamp {
        watertight::Clock::now(&*self.clock)
    }
}

/// A change is dated by its place in the trail, not by when its caller came to wait for its turn.
#[test]
fn times_do_not_step_back_along_the_trail() {
    let world = World::open(Path::new("/data"), Arc::new(SimDisk::new(1))).unwrap();
    world.provision("acme").unwrap();
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..60 {
                    let key = format!("{}", number / 4);
                    notes.put(Memory::new(&key)).unwrap();
                    let found = notes.get(&key).unwrap();
                    assert!(found.created_at <= found.updated_at);
                }
            });
        }
    });
    let entries = world.handle("acme", "alice").unwrap().audit().entries(1, 1_000).unwrap();
    assert_eq!(entries.len(), 8 * 60);
    assert!(entries.is_sorted_by_key(|entry| entry.at));
}

#[test]
fn usage_is_exact() {
    let mut rng = Rng(7);
    let mut scene = Scene::new();
    // Area and key -> bytes and whether there is a vector.
    let mut model: BTreeMap<(usize, String), (u64, bool)> = BTreeMap::new();
    let mut touched = BTreeSet::new();
    let mut authors = BTreeSet::new();
    for step in 0..400 {
        let (alice, bob) = (scene.alice(), scene.world.handle("acme", "bob").unwrap());
        let areas = [
            (alice.memories("notes").unwrap(), "alice"),
            (alice.private("notes").unwrap(), "alice"),
            (bob.private("notes").unwrap(), "bob"),
            (bob.memories("b").unwrap(), "bob"),
        ];
        let area = rng.below(areas.len());
        let (memories, author) = &areas[area];
        let key = "ключ".repeat(rng.below(8) + 1);
        if rng.below(3) == 0 {
            let there = model.remove(&(area, key.clone())).is_some();
            assert_eq!(memories.delete(&key).is_ok(), there);
        } else {
            let text = "ü".repeat(rng.below(500));
            let vector = rng.below(2) == 0;
            let content = json!({"n": "x".repeat(rng.below(50))});
            let mut bytes = key.len() + text.len() + content.to_string().len();
            let mut memory = Memory::new(&key).text(text).content(content);
            memory = memory.metadata("name", "value").metadata("i", 1).metadata("f", 1.5).metadata("b", true);
            bytes += 4 + 5 + 1 + 8 + 1 + 8 + 1 + 1;
            if vector {
                memory = memory.vector(vec![1.0; 3]);
                bytes += 12;
            }
            memories.put(memory).unwrap();
            model.insert((area, key), (bytes as u64, vector));
            touched.insert(area);
            authors.insert(*author);
        }
        drop(areas);
        drop((alice, bob));
        if step % 50 == 0 {
            scene = scene.reopened();
        }
        let usage = scene.alice().usage().unwrap();
        let expected = (
            model.len() as u64,
            model.values().filter(|(_, vector)| *vector).count() as u64,
            model.values().map(|(bytes, _)| bytes).sum::<u64>(),
            touched.len() as u32,
            authors.len() as u32,
        );
        assert_eq!((usage.memories, usage.vectors, usage.bytes, usage.namespaces, usage.users), expected);
    }
}

#[test]
fn eight_threads_in_three_tenants_lose_nothing() {
    const TENANTS: [&str; 3] = ["acme", "zoo", "third"];
    const ROUNDS: usize = 15;
    let scene = Scene::new();
    for tenant in &TENANTS[1..] {
        scene.world.provision(tenant).unwrap();
    }
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let world = &scene.world;
            scope.spawn(move || {
                let user = format!("user-{thread}");
                let handles = TENANTS.map(|tenant| world.handle(tenant, &user).unwrap());
                for round in 0..ROUNDS {
                    for (tenant, handle) in TENANTS.iter().zip(&handles) {
                        let key = format!("{thread} {round}");
                        let memory =
                            || Memory::new(&key).text(format!("{tenant} {key}")).vector(vec![1.0, round as f32]);
                        let shared = handle.memories("notes").unwrap();
                        shared.put(memory()).unwrap();
                        // One key that all contend for.
                        shared.put(Memory::new("contended").text(&key)).unwrap();
                        let private = handle.private("notes").unwrap();
                        private.put(memory()).unwrap();
                        assert_eq!(shared.get(&key).unwrap().text, Some(format!("{tenant} {key}")));
                        if round % 3 == 0 {
                            private.delete(&key).unwrap();
                        }
                        shared.recall(&Recall::vector(&[1.0, 1.0])).unwrap();
                    }
                }
            });
        }
    });
    let scene = scene.reopened();
    for tenant in TENANTS {
        let handle = scene.world.handle(tenant, "alice").unwrap();
        let notes = handle.memories("notes").unwrap();
        let found = paged(&notes, 100);
        assert_eq!(found.len(), 8 * ROUNDS + 1);
        for memory in found.iter().filter(|memory| memory.key != "contended") {
            assert_eq!(memory.text, Some(format!("{tenant} {}", memory.key)));
            assert_eq!(memory.author.subject(), format!("user-{}", memory.key.split(' ').next().unwrap()));
            assert_eq!(memory.version, 1);
        }
        let contended = notes.get("contended").unwrap();
        assert_eq!(contended.version, 8 * ROUNDS as u64);
        assert!(contended.created_at <= contended.updated_at, "a version is not older than the first one");
        assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0]).top(1_000)).unwrap().len(), 8 * ROUNDS);
        let deleted = 8 * ROUNDS.div_ceil(3);
        for thread in 0..8 {
            let user = scene.world.handle(tenant, &format!("user-{thread}")).unwrap();
            assert_eq!(paged(&user.private("notes").unwrap(), 9).len(), ROUNDS - ROUNDS.div_ceil(3));
        }
        let usage = handle.usage().unwrap();
        let memories = 8 * ROUNDS * 2 + 1 - deleted;
        assert_eq!((usage.memories, usage.vectors), (memories as u64, memories as u64 - 1));
        assert_eq!((usage.namespaces, usage.users), (9, 8));
        assert_eq!(handle.audit().verify().unwrap().entries, (8 * ROUNDS * 3 + deleted) as u64);
        let entries = handle.audit().entries(1, 1_000).unwrap();
        for thread in 0..8 {
            let user = format!("user-{thread}");
            let mine: Vec<_> = entries.iter().filter(|entry| by(entry).subject() == user).collect();
            assert_eq!(mine.len(), ROUNDS * 3 + ROUNDS.div_ceil(3));
            let own_keys = |key: &str| key == "contended" || key.starts_with(&format!("{thread} "));
            assert!(mine.iter().all(|entry| entry.key.as_deref().is_none_or(own_keys)));
        }
    }
}

#[test]
fn an_expected_version_guards_puts_patches_and_deletes() {
    let scene = Scene::new();
    let notes = scene.notes();
    let conflict = |expected, actual| Reason::Version { expected, actual };
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Conflict);
        error.reason().clone()
    };
    assert_eq!(refused(notes.put(Memory::new("k").if_version(1)).unwrap_err()), conflict(1, 0));
    assert_eq!(notes.put(Memory::new("k").text("one").if_version(0)).unwrap().version, 1);
    assert_eq!(refused(notes.put(Memory::new("k").text("two").if_version(0)).unwrap_err()), conflict(0, 1));
    assert_eq!(notes.get("k").unwrap().text.as_deref(), Some("one"));

    let patch = Patch::new("k", serde_json::json!({"a": 1}));
    assert_eq!(refused(notes.patch(&patch.clone().if_version(2)).unwrap_err()), conflict(2, 1));
    assert_eq!(notes.patch(&patch.if_version(1)).unwrap().version, 2);
    assert_eq!(refused(notes.delete_version("k", 1).unwrap_err()), conflict(1, 2));
    // A refusal in a batch takes the whole batch back, what came before it included.
    let batch = vec![Memory::new("new"), Memory::new("k").if_version(7)];
    assert_eq!(refused(notes.put_many(batch).unwrap_err()), conflict(7, 2));
    assert!(!notes.exists("new").unwrap());
    let usage = scene.alice().usage().unwrap();
    assert_eq!((usage.memories, usage.bytes), (1, ("k".len() + "one".len() + r#"{"a":1}"#.len()) as u64));
    notes.delete_version("k", 2).unwrap();
    assert_eq!(notes.delete_version("k", 3).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_patch_changes_the_content_and_nothing_else() {
    let scene = Scene::new();
    let notes = scene.notes();
    let memory = Memory::new("k").text("text").metadata("n", 1).vector(vec![1.0, 0.0]);
    notes.put(memory.content(serde_json::json!({"a": {"b": 1, "c": 2}}))).unwrap();
    let before = notes.get("k").unwrap();
    notes.patch(&Patch::new("k", serde_json::json!({"a": {"b": null, "d": [1]}}))).unwrap();
    let after = notes.get("k").unwrap();
    assert_eq!(after.content.as_ref().unwrap().as_str(), r#"{"a":{"c":2,"d":[1]}}"#);
    assert_eq!((&after.text, &after.metadata, after.id), (&before.text, &before.metadata, before.id));
    assert_eq!((after.has_vector, after.version, after.created_at), (true, 2, before.created_at));
    assert_eq!(notes.recall(&Recall::vector(&[1.0, 0.0])).unwrap()[0].memory, after);
    assert_eq!(notes.patch(&Patch::new("absent", serde_json::json!({}))).unwrap_err().kind(), ErrorKind::NotFound);
    let big = "x".repeat(watertight::limits::CONTENT_BYTES_MAX);
    assert_eq!(notes.patch(&Patch::new("k", big.into())).unwrap_err().kind(), ErrorKind::InvalidInput);
    scene.alice().audit().verify().unwrap();
}

#[test]
fn many_are_got_in_their_order_and_of_one_state() {
    let scene = Scene::new();
    let notes = scene.notes();
    assert_eq!(notes.get_many(&["a"]).unwrap(), [None]);
    notes.put_many(["a", "b", "c"].map(|key| Memory::new(key).text(key)).into()).unwrap();
    let found = notes.get_many(&["c", "absent", "a", "c"]).unwrap();
    let texts: Vec<_> = found.iter().map(|memory| memory.as_ref()?.text.as_deref()).collect();
    assert_eq!(texts, [Some("c"), None, Some("a"), Some("c")]);
    assert_eq!(notes.get_many(&[]).unwrap(), []);
    assert_eq!(notes.get_many(&["a", ""]).unwrap_err().kind(), ErrorKind::InvalidInput);
    let too_many = vec!["a"; watertight::limits::BATCH_MEMORIES_MAX + 1];
    assert_eq!(notes.get_many(&too_many).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn namespaces_are_listed_and_other_users_private_ones_are_not() {
    let scene = Scene::new();
    let (alice, bob) = (scene.alice(), scene.world.handle("acme", "bob").unwrap());
    assert_eq!(alice.namespaces().unwrap(), []);
    bob.private("bobs").unwrap().put(Memory::new("k")).unwrap();
    alice.memories("b").unwrap().put(Memory::new("k").vector(vec![1.0, 2.0, 3.0])).unwrap();
    alice.memories("a").unwrap().put(Memory::new("k")).unwrap();
    alice.private("own").unwrap().put(Memory::new("k")).unwrap();
    let told = |handle: &TenantHandle| -> Vec<_> {
        let found = handle.namespaces().unwrap();
        found.into_iter().map(|info| (info.namespace.to_string(), info.private, info.dimensions)).collect()
    };
    let shared = [("a".to_owned(), false, None), ("b".to_owned(), false, Some(3))];
    assert_eq!(told(&alice), [&shared[..], &[("own".to_owned(), true, None)]].concat());
    assert_eq!(told(&bob), [&shared[..], &[("bobs".to_owned(), true, None)]].concat());
    let stranger = scene.world.handle("acme", "carol").unwrap();
    assert_eq!(told(&stranger), shared);
}
