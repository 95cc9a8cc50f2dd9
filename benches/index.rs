//! The vector index alone: flat codes against an exact f32 scan of the same vectors and against `hnsw_rs` as it is.
//! `--large` adds 50,000 vectors, for which `hnsw_rs` builds more than a minute.

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;

use hnsw_rs::prelude::{Distance, Hnsw};
use support::vectors::{Corpus, DIMENSIONS, corpus};
use support::{Effort, Target, compare, contender};
use watertight::internals::{FlatIndex, Query};

const TOP: usize = 10;
/// Of `hnsw_rs`.
const LINKS: usize = 16;
const EF_CONSTRUCTION: usize = 200;
const RECALL_MIN: f64 = 0.99;

fn main() {
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let mut sizes = match effort {
        Effort::Smoke => vec![300],
        _ => vec![100, 1_000, 5_000, 10_000],
    };
    if std::env::args().any(|argument| argument == "--large") {
        sizes.push(50_000);
    }
    for count in sizes {
        let Corpus { vectors, questions, origin } = corpus(count);
        let array: Vec<f32> = vectors.concat();
        let flat = FlatIndex::of(&vectors).unwrap();
        let queries: Vec<Query> = questions.iter().map(|question| Query::new(question).unwrap()).collect();
        let graph = Hnsw::<f32, Dot>::new(LINKS, count, 16, EF_CONSTRUCTION, Dot);
        vectors.iter().enumerate().for_each(|(n, vector)| graph.insert((vector, n)));

        let truth: Vec<Vec<usize>> = questions.iter().map(|question| exact(&array, question)).collect();
        let walk = |ef: usize, question: &[f32]| -> Vec<usize> {
            graph.search(question, TOP, ef).iter().map(|found| found.d_id).collect()
        };
        let recall_of_graph = |ef| recall(&truth, questions.iter().map(|question| walk(ef, question)));
        let efs = (1..).map(|step| 10 * step);
        let (ef, graph_recall) =
            efs.map(|ef| (ef, recall_of_graph(ef))).find(|(ef, recall)| *recall >= RECALL_MIN || *ef >= 1_000).unwrap();
        let answers = || queries.iter().map(|query| flat.search(query, TOP));
        let rows = answers().map(|(rows, _)| rows.iter().map(|(row, _)| *row as usize).collect());
        let flat_recall = recall(&truth, rows);
        let reads: Vec<usize> = answers().map(|(_, read)| read).collect();

        println!("\n{count} vectors of {DIMENSIONS} dimensions ({origin}), {TOP} nearest");
        println!("  flat codes: recall@{TOP} {flat_recall:.4}, {} bytes per vector", flat.bytes() / count as u64);
        let mean = reads.iter().sum::<usize>() as f64 / reads.len() as f64;
        println!("  flat codes: {mean:.1} originals read on average, {} at most", reads.iter().max().unwrap());
        println!("  hnsw_rs: recall@{TOP} {graph_recall:.4} with ef_search {ef}");

        let at = RefCell::new([0; 4]);
        let next = |contender: usize| {
            let at = &mut at.borrow_mut()[contender];
            *at = (*at + 1) % questions.len();
            *at
        };
        let (of_scan, of_graph) = match count {
            1_000 => (Target::Ratio(0.75), Target::Ratio(1.0 / 3.0)),
            5_000 => (Target::Ratio(0.42), Target::Ratio(1.0 / 3.5)),
            10_000 => (Target::Ratio(0.25), Target::None),
            _ => (Target::None, Target::None),
        };
        let rounds = effort.of(501, 1);
        compare(
            "against an exact f32 scan of an array",
            rounds,
            effort.of(5, 1),
            vec![
                (contender("exact f32 scan", || drop(black_box(exact(&array, &questions[next(0)])))), Target::None),
                (contender("flat codes", || drop(black_box(flat.search(&queries[next(1)], TOP)))), of_scan),
            ],
        );
        compare(
            "against hnsw_rs",
            rounds,
            effort.of(5, 1),
            vec![
                (contender("hnsw_rs", || drop(black_box(walk(ef, &questions[next(2)])))), Target::None),
                (contender("flat codes", || drop(black_box(flat.search(&queries[next(3)], TOP)))), of_graph),
            ],
        );
    }
}

/// The share of the truth that was found.
fn recall(truth: &[Vec<usize>], found: impl Iterator<Item = Vec<usize>>) -> f64 {
    let shares = truth.iter().zip(found).map(|(truth, found)| {
        let found: HashSet<usize> = found.into_iter().collect();
        truth.iter().filter(|row| found.contains(row)).count() as f64 / truth.len() as f64
    });
    shares.sum::<f64>() / truth.len() as f64
}

/// A dot product that the compiler makes vector instructions of, for the scan and for `hnsw_rs`, whose own is slower.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

struct Dot;

impl Distance<f32> for Dot {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// The nearest of all, by number.
fn exact(array: &[f32], question: &[f32]) -> Vec<usize> {
    let mut kept: Vec<(f32, usize)> = Vec::with_capacity(TOP + 1);
    for (at, vector) in array.chunks_exact(DIMENSIONS).enumerate() {
        let score = dot(vector, question);
        if kept.len() < TOP || score > kept[kept.len() - 1].0 {
            let place = kept.partition_point(|(other, _)| *other >= score);
            kept.insert(place, (score, at));
            kept.truncate(TOP);
        }
    }
    kept.into_iter().map(|(_, at)| at).collect()
}
