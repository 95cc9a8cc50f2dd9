//! Which memories a list, a count or a deletion means, and pages that hold while others write.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::sim_disk::SimDisk;
use support::world::World;
use watertight::limits::BATCH_MEMORIES_MAX;
use watertight::{
    AuditAction, ErrorKind, Filter, List, Memories, Memory, Recall, Scopes, Selection, TestClock, Timestamp,
};

fn world() -> (World, Arc<TestClock>) {
    let clock = TestClock::at(Timestamp::from_seconds(1_800_000_000));
    let world = World::with_clock(Path::new("/data"), Arc::new(SimDisk::new(1)), clock.clone()).unwrap();
    world.provision("acme").unwrap();
    (world, clock)
}

fn notes(world: &World, user: &str) -> Memories {
    world.handle("acme", user).unwrap().memories("notes").unwrap()
}

fn keys(notes: &Memories, list: &List) -> Vec<String> {
    notes.list(list).unwrap().memories.into_iter().map(|memory| memory.key).collect()
}

#[test]
fn each_condition_selects_and_all_of_them_together() {
    let (world, clock) = world();
    let (alice, bob) = (notes(&world, "alice"), notes(&world, "bob"));
    alice.put(Memory::new("a/1").metadata("n", 1)).unwrap();
    clock.advance(Duration::from_secs(10));
    let middle = Timestamp::from_seconds(1_800_000_010);
    bob.put(Memory::new("a/2").metadata("n", 2)).unwrap();
    bob.put(Memory::new("b/3").metadata("n", 3)).unwrap();
    let user = |name| world.identity("acme", name, Scopes::NONE).user().clone();
    let select = |selection: Selection| keys(&alice, &List::of(selection).oldest_first());
    assert_eq!(select(Selection::all()), ["a/1", "a/2", "b/3"]);
    assert_eq!(select(Selection::all().key_prefix("a/")), ["a/1", "a/2"]);
    assert_eq!(select(Selection::all().created_from(middle)), ["a/2", "b/3"]);
    assert_eq!(select(Selection::all().created_before(middle)), ["a/1"]);
    assert_eq!(select(Selection::all().author(user("bob"))), ["a/2", "b/3"]);
    assert_eq!(select(Selection::all().author(user("nobody"))), [""; 0]);
    assert_eq!(select(Selection::all().filter(Filter::at_least("n", 2))), ["a/2", "b/3"]);
    let all = Selection::all().key_prefix("a/").author(user("bob")).filter(Filter::at_least("n", 2));
    assert_eq!(select(all.clone().created_from(middle)), ["a/2"]);
    assert_eq!(select(all.created_before(middle)), [""; 0]);
    assert_eq!(keys(&alice, &List::new()), ["b/3", "a/2", "a/1"], "newest first by default");
}

#[test]
fn a_cursor_belongs_to_one_selection_and_order() {
    let (world, _) = world();
    let notes = notes(&world, "alice");
    notes.put_many((0..6).map(|n| Memory::new(format!("k{n}")).metadata("n", n)).collect()).unwrap();
    let selection = Selection::all().filter(Filter::at_least("n", 1));
    let page = notes.list(&List::of(selection.clone()).limit(2)).unwrap();
    let next = page.next.unwrap();
    assert_eq!(keys(&notes, &List::of(selection.clone()).after(next.clone())), ["k3", "k2", "k1"]);
    for other in [
        List::new(),
        List::of(selection.clone()).oldest_first(),
        List::of(Selection::all().filter(Filter::at_least("n", 0))),
        List::of(selection.clone().key_prefix("k")),
    ] {
        assert_eq!(notes.list(&other.after(next.clone())).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // Two pages of one list give no hint of how many rows lie between them.
    let text = next.as_str().to_owned();
    let later = notes.list(&List::of(selection).limit(3)).unwrap().next.unwrap();
    let shared = text.bytes().zip(later.as_str().bytes()).filter(|(a, b)| a == b).count();
    assert!(shared < text.len() / 2, "{text} {later:?}");
}

/// Rows that exist throughout are given exactly once, whatever four threads put, replace and delete meanwhile.
#[test]
fn pages_neither_skip_nor_repeat_while_four_threads_write() {
    let (world, _) = world();
    let stable = notes(&world, "alice");
    let expected: BTreeSet<_> = (0..300).map(|n| format!("stable {n}")).collect();
    stable.put_many(expected.iter().map(|key| Memory::new(key).text("first")).collect()).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..4 {
            let notes = notes(&world, &format!("writer {number}").replace(' ', "-"));
            let stop = &stop;
            scope.spawn(move || {
                for round in 0.. {
                    let key = format!("passing {number} {}", round % 20);
                    notes.put(Memory::new(&key)).unwrap();
                    // Replacing does not move a memory in the list.
                    notes.put(Memory::new(format!("stable {}", (number * 75 + round) % 300)).text("again")).unwrap();
                    notes.delete(&key).unwrap();
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for round in 0..12 {
            let list = || if round % 2 == 0 { List::new() } else { List::new().oldest_first() };
            let mut found = Vec::new();
            let mut next = None;
            loop {
                let page = stable.list(&next.map_or_else(list, |next| list().after(next)).limit(7 + round)).unwrap();
                found.extend(page.memories.into_iter().map(|memory| memory.key));
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            let kept: Vec<_> = found.into_iter().filter(|key| key.starts_with("stable")).collect();
            let distinct: BTreeSet<_> = kept.iter().cloned().collect();
            assert_eq!(kept.len(), distinct.len(), "a row came twice");
            assert_eq!(distinct, expected, "a row was skipped");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_deletion_is_bounded_and_says_whether_to_go_on() {
    let (world, _) = world();
    let notes = notes(&world, "alice");
    for batch in 0..2 {
        let keys = (0..BATCH_MEMORIES_MAX / 2 + 5).map(|n| Memory::new(format!("{batch} {n}")));
        notes.put_many(keys.collect()).unwrap();
    }
    let everything = Selection::all();
    assert_eq!(notes.count(&everything).unwrap(), BATCH_MEMORIES_MAX as u64 + 10);
    let first = notes.delete_where(&everything).unwrap();
    assert_eq!((first.count, first.more), (BATCH_MEMORIES_MAX as u64, true));
    let rest = notes.delete_where(&everything).unwrap();
    assert_eq!((rest.count, rest.more), (10, false));
    let handle = world.handle("acme", "alice").unwrap();
    assert_eq!(handle.usage().unwrap().memories, 0);
    assert_eq!(handle.usage().unwrap().bytes, 0);
    let head = handle.audit().verify().unwrap();
    let last = handle.audit().entries(head.entries, 1).unwrap();
    assert_eq!((last[0].action, last[0].key.as_deref()), (AuditAction::Delete, Some("1 5004")));
}

/// As many hits as are asked for whenever as many match, at every selectivity.
#[test]
fn a_filtered_recall_is_exact_at_every_selectivity() {
    let (world, _) = world();
    let notes = notes(&world, "alice");
    let angle = |n: usize| (n as f32 * 0.618).sin();
    let memories = (0..2_000_usize).map(|n| {
        let vector = vec![angle(n), angle(n * 7 + 1), 1.0];
        Memory::new(format!("{n:04}")).metadata("n", n as i64).vector(vector)
    });
    notes.put_many(memories.collect()).unwrap();
    let question = Recall::vector(&[1.0, 0.3, 0.2]);
    let ranked = notes.recall(&question.clone().top(2_000)).unwrap();
    for below in [2_000, 1_000, 200, 20, 2, 0] {
        let filter = Filter::less_than("n", below);
        let expected: Vec<_> = ranked
            .iter()
            .filter(|hit| hit.memory.key.parse::<i64>().unwrap() < below)
            .take(10)
            .map(|hit| (hit.memory.key.clone(), hit.score))
            .collect();
        let found = notes.recall(&question.clone().top(10).filter(filter)).unwrap();
        let found: Vec<_> = found.into_iter().map(|hit| (hit.memory.key, hit.score)).collect();
        assert_eq!(found, expected, "n < {below}");
    }
    let refused = notes.recall(&question.filter(Filter::eq("n", f64::NAN))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}
