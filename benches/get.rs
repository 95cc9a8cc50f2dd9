//! `Memories::get`: through handle, gate and sealed pages, against a bare redb get of a record of the same length;
//! and encrypted against plaintext files, from the cache and beyond it.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use support::{Bare, Effort, Files, Shuffled, Target, World, compare, contender, data, directory, load};
use watertight::disk::SystemDisk;

const WARM_CACHE_BYTES: usize = 64 << 20;
/// The rows are more than ten times as many bytes.
const SMALL_CACHE_BYTES: usize = 1 << 20;

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    // All rows in a quick run too: the small cache must be small against them.
    let rows = if effort == Effort::Smoke { 200 } else { 10_000 };
    let rounds = effort.of(301, 1);
    let batch = effort.of(1_000, 10);

    let (encrypted, plaintext) = (directory(), directory());
    load(&data(&encrypted), Files::Encrypted, rows);
    load(&data(&plaintext), Files::Plaintext, rows);
    let open = |cache_bytes| {
        let disk = Arc::new(SystemDisk);
        (
            World::open(&data(&encrypted), Files::Encrypted, cache_bytes, disk.clone()),
            World::open(&data(&plaintext), Files::Plaintext, cache_bytes, disk),
        )
    };

    let bare = Bare::new(rows, WARM_CACHE_BYTES);
    let small_bare = Bare::new(rows, SMALL_CACHE_BYTES);
    let cached = ("cached", WARM_CACHE_BYTES, &bare);
    let beyond = ("beyond the cache", SMALL_CACHE_BYTES, &small_bare);
    for (name, cache_bytes, bare) in [cached, beyond] {
        let (encrypted, plaintext) = open(cache_bytes);
        let (encrypted, plaintext) = (encrypted.notes(), plaintext.notes());
        // One pass fills the caches.
        let mut keys = Shuffled::new(rows);
        for _ in 0..rows {
            let key = keys.take();
            black_box((encrypted.get(key).unwrap(), plaintext.get(key).unwrap(), bare.get(key)));
        }
        let (mut a, mut b, mut c) = (Shuffled::new(rows), Shuffled::new(rows), Shuffled::new(rows));
        let mut group = criterion.benchmark_group(format!("get {name}"));
        group.bench_function("encrypted", |b| b.iter(|| encrypted.get(a.take()).unwrap()));
        group.bench_function("plaintext", |bench| bench.iter(|| plaintext.get(b.take()).unwrap()));
        group.bench_function("bare redb", |bench| bench.iter(|| bare.get(c.take())));
        group.finish();

        let mut bare_get = || drop(black_box(bare.get(c.take())));
        let mut encrypted_get = || drop(black_box(encrypted.get(a.take()).unwrap()));
        let mut plaintext_get = || drop(black_box(plaintext.get(b.take()).unwrap()));
        let is_cached = cache_bytes == WARM_CACHE_BYTES;
        compare(
            &format!("get of 1 KiB memories, {name}, {rows} rows: against bare redb"),
            rounds,
            batch,
            vec![
                (contender("bare redb: begin_read, open_table, get, copy", &mut bare_get), Target::None),
                (
                    contender("get: handle, gate, encrypted file, decoded record", &mut encrypted_get),
                    if is_cached { Target::Ratio(1.5) } else { Target::None },
                ),
            ],
        );
        compare(
            &format!("get of 1 KiB memories, {name}, {rows} rows: encrypted against plaintext files"),
            rounds,
            batch,
            vec![
                (contender("plaintext", &mut plaintext_get), Target::None),
                (contender("encrypted", &mut encrypted_get), Target::Ratio(if is_cached { 1.05 } else { 3.0 })),
            ],
        );
    }
    criterion.final_summary();
}
