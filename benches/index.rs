//! The vector index alone, as settings have it by default: against an exact f32 scan of the same vectors and against
//! `hnsw_rs` as it is. `--large` adds 50,000 and 100,000 vectors, for which `hnsw_rs` builds for minutes, and many
//! indexes in turn; `--in-turn` measures those alone.

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hnsw_rs::prelude::{Distance, Hnsw};
use support::vectors::{Corpus, DIMENSIONS, corpus};
use support::{Effort, Target, compare, contender};
use watertight::internals::{Index, Query};
use watertight::{IndexSettings, Metric};

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
    let is_large = std::env::args().any(|argument| argument == "--large");
    let sizes: &[usize] = match effort {
        Effort::Smoke => &[300],
        _ if is_large => &[100, 1_000, 5_000, 10_000, 50_000, 100_000],
        _ => &[100, 1_000, 5_000, 10_000],
    };
    let only_in_turn = std::env::args().any(|argument| argument == "--in-turn");
    if !only_in_turn {
        sizes.iter().for_each(|count| one(*count, effort));
    }
    if is_large || only_in_turn {
        in_turn(1_000, 100, Target::Ratio(1.0 / 8.0), effort);
        in_turn(10_000, 10, Target::Ratio(1.0 / 5.0), effort);
    }
}

/// One index, its caches warm.
fn one(count: usize, effort: Effort) {
    let Corpus { vectors, questions, origin } = corpus(count);
    let array: Vec<f32> = vectors.concat();
    let queries: Vec<Query> = questions.iter().map(|question| Query::new(question, Metric::Cosine).unwrap()).collect();
    let (index, built) = timed(|| Index::of(&vectors, Metric::Cosine, IndexSettings::new()).unwrap());
    let (graph, graph_built) = timed(|| theirs(&vectors));

    let truth: Vec<Vec<usize>> = questions.iter().map(|question| exact(&array, question)).collect();
    let (ef, graph_recall) = breadth(&graph, &questions, &truth);
    let answers = || queries.iter().map(|query| index.search(query, TOP, watertight::Effort::Balanced).unwrap());
    let rows = answers().map(|answer| answer.rows.iter().map(|(row, _)| *row as usize).collect());
    let index_recall = recall(&truth, rows);
    let reads: Vec<usize> = answers().map(|answer| answer.read).collect();
    let mut grown = Index::of(&[], Metric::Cosine, IndexSettings::new()).unwrap();
    let ((), put) = timed(|| (0..).zip(&vectors).for_each(|(row, vector)| grown.put(row, vector).unwrap()));

    let kind = if index.has_graph() { "graph" } else { "flat" };
    println!("\n{count} vectors of {DIMENSIONS} dimensions ({origin}), {TOP} nearest");
    println!("  {kind}: recall@{TOP} {index_recall:.4}, {} bytes per vector", index.bytes() / count as u64);
    let mean = reads.iter().sum::<usize>() as f64 / reads.len() as f64;
    println!("  {kind}: {mean:.1} originals read on average, {} at most", reads.iter().max().unwrap());
    println!("  hnsw_rs: recall@{TOP} {graph_recall:.4} with ef_search {ef}");
    println!(
        "  built in {built:.2?}, by hnsw_rs in {graph_built:.2?} (ratio {:.3}); put one by one without a graph in {put:.2?}",
        built.as_secs_f64() / graph_built.as_secs_f64()
    );

    let next = turns(4, questions.len());
    let (of_scan, of_graph) = match count {
        1_000 => (Target::Ratio(0.75), Target::Ratio(1.0 / 3.0)),
        5_000 => (Target::Ratio(0.42), Target::Ratio(1.0 / 3.5)),
        10_000 => (Target::Ratio(0.25), Target::Ratio(1.0 / 4.5)),
        50_000 => (Target::Ratio(0.04), Target::Ratio(1.0 / 7.0)),
        100_000 => (Target::None, Target::Ratio(1.0 / 7.0)),
        _ => (Target::None, Target::None),
    };
    // Many times in a row, so that each finds its own data in the caches and not the other's.
    let rounds = effort.of(201, 1);
    let ask = |at: usize| drop(black_box(index.search(&queries[at], TOP, watertight::Effort::Balanced)));
    compare(
        "against an exact f32 scan of an array",
        rounds,
        effort.of(25, 1),
        vec![
            (contender("exact f32 scan", || drop(black_box(exact(&array, &questions[next(0)])))), Target::None),
            (contender(kind, || ask(next(1))), of_scan),
        ],
    );
    compare(
        "against hnsw_rs",
        rounds,
        effort.of(25, 1),
        vec![
            (contender("hnsw_rs", || drop(black_box(walk(&graph, ef, &questions[next(2)])))), Target::None),
            (contender(kind, || ask(next(3))), of_graph),
        ],
    );
}

/// Many indexes, of which each has left the caches when it is asked again.
fn in_turn(count: usize, indexes: usize, target: Target, effort: Effort) {
    let Corpus { vectors, questions, origin } = corpus((count * indexes).min(60_000));
    let part = |n: usize| {
        let start = n * count % (vectors.len() - count + 1);
        &vectors[start..start + count]
    };
    let queries: Vec<Query> = questions.iter().map(|question| Query::new(question, Metric::Cosine).unwrap()).collect();
    let ours: Vec<Index> =
        (0..indexes).map(|n| Index::of(part(n), Metric::Cosine, IndexSettings::new()).unwrap()).collect();
    let theirs: Vec<Hnsw<'_, f32, Dot>> = (0..indexes).map(|n| theirs(part(n))).collect();
    let array = part(0).concat();
    let truth: Vec<Vec<usize>> = questions.iter().map(|question| exact(&array, question)).collect();
    let (ef, graph_recall) = breadth(&theirs[0], &questions, &truth);
    let next = turns(2, questions.len().max(indexes) * 7);
    println!("\n{indexes} indexes of {count} vectors in turn ({origin}); hnsw_rs: recall@{TOP} {graph_recall:.4}");
    compare(
        "one question to each, one after the other",
        effort.of(501, 1),
        effort.of(5, 1),
        vec![
            (
                contender("hnsw_rs", || {
                    let at = next(0);
                    drop(black_box(walk(&theirs[at % indexes], ef, &questions[at % questions.len()])));
                }),
                Target::None,
            ),
            (
                contender("ours", || {
                    let at = next(1);
                    let query = &queries[at % queries.len()];
                    drop(black_box(ours[at % indexes].search(query, TOP, watertight::Effort::Balanced)));
                }),
                target,
            ),
        ],
    );
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// For each of so many contenders one number after the other, and from 0 again.
fn turns(contenders: usize, numbers: usize) -> impl Fn(usize) -> usize {
    let at = RefCell::new(vec![0; contenders]);
    move |contender| {
        let at = &mut at.borrow_mut()[contender];
        *at = (*at + 1) % numbers;
        *at
    }
}

fn theirs(vectors: &[Vec<f32>]) -> Hnsw<'_, f32, Dot> {
    let graph = Hnsw::<f32, Dot>::new(LINKS, vectors.len(), 16, EF_CONSTRUCTION, Dot);
    vectors.iter().enumerate().for_each(|(n, vector)| graph.insert((vector, n)));
    graph
}

fn walk(graph: &Hnsw<'_, f32, Dot>, ef: usize, question: &[f32]) -> Vec<usize> {
    graph.search(question, TOP, ef).iter().map(|found| found.d_id).collect()
}

/// The least breadth with which hnsw_rs finds enough, and how much it finds.
fn breadth(graph: &Hnsw<'_, f32, Dot>, questions: &[Vec<f32>], truth: &[Vec<usize>]) -> (usize, f64) {
    let efs = (1..).map(|step| 10 * step);
    let recalls = efs.map(|ef| (ef, recall(truth, questions.iter().map(|question| walk(graph, ef, question)))));
    recalls.into_iter().find(|(ef, recall)| *recall >= RECALL_MIN || *ef >= 1_000).unwrap()
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
