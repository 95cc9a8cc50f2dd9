//! Durable commits on the system's disk: encrypted against plaintext files, and against a bare redb commit.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{
    Bare, Effort, Files, RECORD_BYTES, Target, World, compare, contender, data, directory, key, load, memory,
};
use watertight::disk::SystemDisk;
use watertight::{Memories, Memory};

const CACHE_BYTES: usize = 16 << 20;
/// Just under a power of two, to which redb pads a value: about 256 pages.
const LARGE_TEXT_BYTES: usize = (1 << 20) - 4_096;

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let rows = effort.of(1_000, 20);

    let (encrypted, plaintext) = (directory(), directory());
    load(&data(&encrypted), Files::Encrypted, rows);
    load(&data(&plaintext), Files::Plaintext, rows);
    let disk = Arc::new(SystemDisk);
    let encrypted = World::open(&data(&encrypted), Files::Encrypted, CACHE_BYTES, disk.clone());
    let plaintext = World::open(&data(&plaintext), Files::Plaintext, CACHE_BYTES, disk);
    let (encrypted, plaintext) = (encrypted.notes(), plaintext.notes());
    let bare = Bare::new(rows, CACHE_BYTES);

    // Every put replaces a memory: the files stay below the size at which commits change their mode.
    let next = AtomicUsize::new(0);
    let number = || next.fetch_add(1, Ordering::Relaxed) % rows;
    let put = |notes: &Memories| notes.put(memory(number())).map(|_| ()).unwrap();
    let put_bare = || bare.put(&key(number()), &[1; RECORD_BYTES]);
    let text = "x".repeat(LARGE_TEXT_BYTES);
    let put_large = |notes: &Memories| notes.put(Memory::new("large").text(text.as_str())).map(|_| ()).unwrap();

    let mut group = criterion.benchmark_group("put");
    group.sample_size(10);
    group.bench_function("encrypted", |b| b.iter(|| put(&encrypted)));
    group.bench_function("plaintext", |b| b.iter(|| put(&plaintext)));
    group.bench_function("bare redb", |b| b.iter(put_bare));
    group.bench_function("1 MiB encrypted", |b| b.iter(|| put_large(&encrypted)));
    group.bench_function("1 MiB plaintext", |b| b.iter(|| put_large(&plaintext)));
    group.finish();

    compare(
        "put of one 1 KiB memory, one durable commit each: encrypted against plaintext files",
        effort.of(601, 1),
        1,
        vec![
            (contender("plaintext", || put(&plaintext)), Target::None),
            (contender("encrypted", || put(&encrypted)), Target::Ratio(1.25)),
        ],
    );
    compare(
        "put of one memory of 1 MiB (about 256 pages in one commit; stands in for 1,000 rows)",
        effort.of(151, 1),
        1,
        vec![
            (contender("plaintext", || put_large(&plaintext)), Target::None),
            (contender("encrypted", || put_large(&encrypted)), Target::Ratio(1.5)),
        ],
    );
    compare(
        "put of one 1 KiB memory with its usage, key and audit rows: against one bare redb row",
        effort.of(601, 1),
        1,
        vec![
            (contender("bare redb: two-phase commit of one row", put_bare), Target::None),
            (contender("put: encrypted file, five tables", || put(&encrypted)), Target::None),
        ],
    );
    criterion.final_summary();
}
