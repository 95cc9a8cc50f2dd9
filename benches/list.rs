//! Many memories at once: a page of a list and `get_many`, against a bare redb and against one `get` each.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use support::{BARE, Bare, Effort, Files, Shuffled, Target, World, compare, contender, data, directory, key, load};
use watertight::disk::SystemDisk;
use watertight::{Filter, List, Selection};

const CACHE_BYTES: usize = 64 << 20;
const PAGE: usize = 100;

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let rows = if effort == Effort::Smoke { 200 } else { 10_000 };
    let (rounds, batch) = (effort.of(301, 1), effort.of(20, 1));

    let directory = directory();
    load(&data(&directory), Files::Encrypted, rows);
    let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, Arc::new(SystemDisk));
    let notes = world.notes();
    let bare = Bare::new(rows, CACHE_BYTES);

    let mut shuffled = Shuffled::new(rows);
    let scattered: Vec<String> = (0..PAGE).map(|_| shuffled.take().to_owned()).collect();
    let together: Vec<String> = (0..PAGE).map(|n| key(rows / 3 + n)).collect();
    let list = List::new().limit(PAGE);
    let page = || drop(black_box(notes.list(&list).unwrap()));
    // Every hundredth row matches, so that a page looks at all of them.
    let filtered = List::of(Selection::all().filter(Filter::eq("priority", 2)).key_prefix("memory-0000")).limit(PAGE);
    let selected = || drop(black_box(notes.list(&filtered).unwrap()));
    let everything = || {
        black_box(notes.count(&Selection::all()).unwrap());
    };

    criterion.bench_function("list page of 100", |b| b.iter(page));

    for (which, keys) in
        [("that were put together, as the parts of a document", &together), ("scattered over all of them", &scattered)]
    {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let many = || drop(black_box(notes.get_many(&keys).unwrap()));
        let each = || keys.iter().for_each(|key| drop(black_box(notes.get(key).unwrap())));
        compare(
            &format!("100 memories of 1 KiB by key, {which}, cached"),
            rounds,
            batch,
            vec![(contender("100 gets", each), Target::None), (contender("get_many of 100", many), Target::Ratio(0.6))],
        );
    }
    compare(
        "a page of 100 memories of 1 KiB, newest first, cached",
        rounds,
        batch,
        vec![
            (contender("bare redb: range, copied", || drop(black_box(bare.newest(PAGE)))), Target::None),
            (contender("list: gate, decoded", page), Target::None),
        ],
    );
    compare(
        &format!("all {rows} memories looked at, cached"),
        effort.of(61, 1),
        1,
        vec![
            (contender("bare redb: range, copied", || drop(black_box(bare.newest(rows)))), Target::None),
            (contender("count", everything), Target::None),
            (contender("list of the 100 oldest, selected by key and filter", selected), Target::None),
        ],
    );
    criterion.final_summary();
}

impl Bare {
    /// The last rows, copied out as an application would.
    fn newest(&self, rows: usize) -> Vec<(String, Vec<u8>)> {
        let transaction = redb::ReadableDatabase::begin_read(&self.database).unwrap();
        let table = transaction.open_table(BARE).unwrap();
        let rows = redb::ReadableTable::iter(&table).unwrap().rev().take(rows).map(|row| {
            let (key, value) = row.unwrap();
            (key.value().to_owned(), value.value().to_vec())
        });
        rows.collect()
    }
}
