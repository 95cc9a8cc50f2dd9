//! Durable commits on the system's disk: encrypted against plaintext files, and against a bare redb commit. The same
//! once more without waiting for the disk, which is the strictest view of what encryption costs.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::{
    Bare, Effort, Files, RECORD_BYTES, Target, World, compare, contender, data, directory, key, load, memory, unsynced,
};
use watertight::Memories;
use watertight::disk::{Disk, SystemDisk};

const CACHE_BYTES: usize = 16 << 20;
const BATCH: usize = 1_000;

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let rows = effort.of(1_000, 20);
    // Every put replaces a memory: the files stay below the size at which commits change their mode.
    let next = AtomicUsize::new(0);
    let number = || next.fetch_add(1, Ordering::Relaxed) % rows;
    let put = |notes: &Memories| notes.put(memory(number())).map(|_| ()).unwrap();
    let batch = effort.of(BATCH, 10);
    let put_batch = |notes: &Memories| notes.put_many((0..batch).map(memory).collect()).map(|_| ()).unwrap();

    let disks: [(&str, Arc<dyn Disk>); 2] = [("durable", Arc::new(SystemDisk)), ("syncs left out", unsynced())];
    for (name, disk) in disks {
        let is_durable = name == "durable";
        let (encrypted, plaintext) = (directory(), directory());
        load(&data(&encrypted), Files::Encrypted, rows);
        load(&data(&plaintext), Files::Plaintext, rows);
        let worlds = (
            World::open(&data(&encrypted), Files::Encrypted, CACHE_BYTES, disk.clone()),
            World::open(&data(&plaintext), Files::Plaintext, CACHE_BYTES, disk),
        );
        let (encrypted, plaintext) = (worlds.0.notes(), worlds.1.notes());

        let mut group = criterion.benchmark_group(format!("put {name}"));
        group.sample_size(10);
        group.bench_function("encrypted", |b| b.iter(|| put(&encrypted)));
        group.bench_function("plaintext", |b| b.iter(|| put(&plaintext)));
        group.bench_function("batch of 1,000 encrypted", |b| b.iter(|| put_batch(&encrypted)));
        group.bench_function("batch of 1,000 plaintext", |b| b.iter(|| put_batch(&plaintext)));
        group.finish();

        let target = |most| if is_durable { Target::Commit(most) } else { Target::None };
        compare(
            &format!("put of one 1 KiB memory in one commit, {name}: encrypted against plaintext files"),
            effort.of(601, 1),
            1,
            vec![
                (contender("plaintext", || put(&plaintext)), Target::None),
                (contender("encrypted", || put(&encrypted)), target(1.25)),
            ],
        );
        compare(
            &format!("put_many of 1,000 memories of 1 KiB in one commit, {name}: encrypted against plaintext files"),
            effort.of(151, 1),
            1,
            vec![
                (contender("plaintext", || put_batch(&plaintext)), Target::None),
                (
                    contender("encrypted", || put_batch(&encrypted)),
                    if is_durable { Target::Ratio(1.5) } else { Target::None },
                ),
            ],
        );
        if is_durable {
            let bare = Bare::new(rows, CACHE_BYTES);
            compare(
                "put of one 1 KiB memory with its usage, key and audit rows: against one bare redb row",
                effort.of(601, 1),
                1,
                vec![
                    (
                        contender("bare redb: two-phase commit of one row", || {
                            bare.put(&key(number()), &[1; RECORD_BYTES])
                        }),
                        Target::None,
                    ),
                    (contender("put: encrypted file, five tables", || put(&encrypted)), Target::None),
                ],
            );
        }
    }
    criterion.final_summary();
}
