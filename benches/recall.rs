//! The whole recall through the handle: gate, index, records. Against an exact f32 scan of the same vectors, and
//! against reading ten memories by key from a bare redb.

mod support;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;

use support::vectors::{Corpus, corpus};
use support::{Bare, Effort, Files, Shuffled, Target, World, compare, contender, data, directory, memory, unsynced};
use watertight::disk::SystemDisk;
use watertight::{Filter, Recall};

const CACHE_BYTES: usize = 64 << 20;
const TOP: usize = 10;

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let sizes = if effort == Effort::Smoke { vec![200] } else { vec![1_000, 10_000] };
    for count in sizes {
        let Corpus { vectors, questions, origin } = corpus(count);
        let directory = directory();
        {
            let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, unsynced());
            for (start, chunk) in vectors.chunks(1_000).enumerate() {
                let memories = chunk.iter().enumerate().map(|(n, vector)| {
                    let number = start * 1_000 + n;
                    memory(number).metadata("tenth", (number % 10) as u32).vector(vector.clone())
                });
                world.notes().put_many(memories.collect()).unwrap();
            }
        }
        let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, Arc::new(SystemDisk));
        let notes = world.notes();
        let bare = Bare::new(count, CACHE_BYTES);
        let (mut a, mut b, mut c) = (0, 0, 0);
        let next = |at: &mut usize| {
            *at = (*at + 1) % questions.len();
            &questions[*at]
        };
        let mut keys = Shuffled::new(count);
        let mut scan = || drop(black_box(exact(&vectors, next(&mut a))));
        let mut recall = || drop(black_box(notes.recall(&Recall::vector(next(&mut b)).top(TOP)).unwrap()));
        let mut filtered = || {
            let question = Recall::vector(next(&mut c)).top(TOP).filter(Filter::eq("tenth", 3));
            drop(black_box(notes.recall(&question).unwrap()));
        };
        criterion.bench_function(&format!("recall among {count}"), |bench| bench.iter(&mut recall));
        compare(
            &format!("the ten nearest of {count} ({origin}), with their records of 1 KiB"),
            effort.of(301, 1),
            effort.of(5, 1),
            vec![
                (contender("exact f32 scan of an array, no records", &mut scan), Target::None),
                (contender("recall: gate, index, records", &mut recall), Target::None),
                (contender("recall with a filter that one in ten matches", &mut filtered), Target::None),
                (
                    contender("bare redb: ten records by key", || {
                        (0..TOP).for_each(|_| drop(black_box(bare.get(keys.take()))));
                    }),
                    Target::None,
                ),
            ],
        );
    }
    criterion.final_summary();
}

/// What an application without an index would write.
fn exact(vectors: &[Vec<f32>], question: &[f32]) -> Vec<(f32, usize)> {
    #[derive(PartialEq)]
    struct Found(f32, usize);
    impl Eq for Found {}
    impl Ord for Found {
        fn cmp(&self, other: &Self) -> Ordering {
            other.0.total_cmp(&self.0)
        }
    }
    impl PartialOrd for Found {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    let mut kept = BinaryHeap::with_capacity(TOP + 1);
    for (at, vector) in vectors.iter().enumerate() {
        let (chunks, _) = vector.as_chunks::<16>();
        let mut sums = [0.0_f32; 16];
        for (x, y) in chunks.iter().zip(question.as_chunks::<16>().0) {
            sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
        }
        kept.push(Found(sums.iter().sum(), at));
        if kept.len() > TOP {
            kept.pop();
        }
    }
    kept.into_sorted_vec().into_iter().map(|Found(score, at)| (score, at)).collect()
}
