//! How much of the truth an index finds, on embeddings of real text where they are there.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use watertight::internals::{Index, Query};
use watertight::{Effort, IndexSettings, Metric};

const TOP: usize = 10;
const QUESTIONS: usize = 100;

/// Vectors, questions that are not among them, and where both are from.
fn data(count: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let read = |name: &str, most: usize| -> Option<Vec<Vec<f32>>> {
        let bytes = std::fs::read(shared.join(name)).ok()?;
        let rows = bytes.chunks_exact(2 * 384).take(most);
        let half = |pair: &[u8]| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32();
        Some(rows.map(|row| row.chunks_exact(2).map(half).collect()).collect())
    };
    if let (Some(vectors), Some(questions)) = (read("glosses.f16", count), read("queries.f16", QUESTIONS)) {
        assert_eq!(vectors.len(), count);
        return (vectors, questions);
    }
    println!("the shared data set is not there: generated clusters instead");
    let mut noise = Noise(1);
    let centres: Vec<Vec<f32>> = (0..64).map(|_| noise.vector(384)).collect();
    let mut near = |n: usize| -> Vec<f32> {
        let point = noise.vector(384);
        centres[n % 64].iter().zip(point).map(|(centre, noise)| centre + 0.7 * noise).collect()
    };
    ((0..count).map(&mut near).collect(), (0..QUESTIONS).map(&mut near).collect())
}

/// Splitmix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.next() + self.next() + self.next()).collect()
    }
}

/// In f64 from the vectors as they were given.
fn score(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |of: fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| of(f64::from(*a), f64::from(*b))).sum::<f64>();
    match metric {
        Metric::Dot => sum(|a, b| a * b),
        Metric::L2 => -sum(|a, b| (a - b).powi(2)).sqrt(),
        _ => sum(|a, b| a * b) / (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt(),
    }
}

/// The share of the nearest that is found. What is as near as the last of them counts: among equals there is no order
/// that f32 could tell.
fn recall(
    rows: &BTreeMap<u64, Vec<f32>>,
    metric: Metric,
    questions: &[Vec<f32>],
    answer: impl Fn(&Query) -> Vec<(u64, f32)>,
) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for question in questions {
        let mut truth: Vec<f64> = rows.values().map(|vector| score(metric, vector, question)).collect();
        truth.sort_by(|a, b| b.total_cmp(a));
        truth.truncate(TOP);
        let Some(last) = truth.last() else { continue };
        let query = Query::new(question, metric).unwrap();
        let answer = answer(&query);
        assert_eq!(answer.len(), truth.len());
        assert_eq!(answer.iter().map(|(row, _)| row).collect::<HashSet<_>>().len(), truth.len());
        let bar = last - last.abs().max(1e-3) * 2e-6;
        wanted += truth.len();
        found += answer.iter().filter(|(row, _)| score(metric, &rows[row], question) >= bar).count();
    }
    found as f64 / wanted as f64
}

fn numbered(vectors: &[Vec<f32>]) -> BTreeMap<u64, Vec<f32>> {
    (0..).zip(vectors.iter().cloned()).collect()
}

fn flat() -> IndexSettings {
    IndexSettings::new().graph_from(u32::MAX)
}

/// Graphs of whatever is large enough for one.
fn graph() -> IndexSettings {
    IndexSettings::new().graph_from(256)
}

fn found_by_default(vectors: &[Vec<f32>], metric: Metric, settings: IndexSettings, questions: &[Vec<f32>]) -> f64 {
    let index = Index::of(vectors, metric, settings).unwrap();
    assert_eq!(index.unreachable(), 0);
    recall(&numbered(vectors), metric, questions, |query| index.search(query, TOP, Effort::Balanced).unwrap().rows)
}

#[test]
fn the_flat_tier_finds_everything() {
    let (vectors, questions) = data(3_000);
    let outlier = |vectors: &[Vec<f32>]| -> Vec<Vec<f32>> {
        let shifted = vectors.iter().map(|vector| {
            let mut vector = vector.clone();
            vector[7] += 40.0;
            vector
        });
        shifted.collect()
    };
    let skewed: Vec<Vec<f32>> =
        (0..).zip(&vectors).map(|(n, vector)| vector.iter().map(|x| x * 10_f32.powi(n % 7 - 3)).collect()).collect();
    for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
        for (name, vectors, questions) in [
            ("as they are", &vectors, questions.clone()),
            ("a coordinate that is large in all", &outlier(&vectors), outlier(&questions)),
            ("skewed lengths", &skewed, questions.clone()),
        ] {
            let recall = found_by_default(vectors, metric, flat(), &questions);
            assert!(recall >= 1.0, "{name}, {metric:?}: {recall}");
        }
    }
}

#[test]
fn the_graph_tier_finds_nearly_everything() {
    let (vectors, questions) = data(5_000);
    for metric in [Metric::Cosine, Metric::L2] {
        let recall = found_by_default(&vectors, metric, graph(), &questions);
        assert!(recall >= 0.99, "{metric:?}: {recall}");
    }
    // Lengths that differ a little, as those of real models under dot do.
    let lengths: Vec<Vec<f32>> = (0..)
        .zip(&vectors)
        .map(|(n, vector)| vector.iter().map(|x| x * (0.8 + 0.001 * (n % 400) as f32)).collect())
        .collect();
    let recall = found_by_default(&lengths, Metric::Dot, graph(), &questions);
    assert!(recall >= 0.99, "dot: {recall}");
}

#[test]
fn copies_clusters_and_their_order_do_not_matter() {
    let (vectors, questions) = data(2_500);
    for copies in [40, 400] {
        let mut copied = vec![vectors[0].clone(); copies];
        copied.extend_from_slice(&vectors[..2_000]);
        let mut questions = questions.clone();
        questions.push(vectors[0].clone());
        let recall = found_by_default(&copied, Metric::Cosine, graph(), &questions);
        assert!(recall >= 0.99, "{copies} copies: {recall}");
    }
    // 25 clusters that are tight, put one after the other.
    let mut noise = Noise(3);
    let tight: Vec<Vec<f32>> =
        (0..2_500).map(|n| vectors[n / 100].iter().map(|x| x + 0.01 * noise.next()).collect()).collect();
    let near: Vec<Vec<f32>> = questions
        .iter()
        .zip(0..)
        .map(|(_, n)| vectors[n % 25].iter().map(|x| x + 0.01 * noise.next()).collect())
        .collect();
    let recall = found_by_default(&tight, Metric::Cosine, graph(), &near);
    assert!(recall >= 0.99, "tight clusters: {recall}");
    // Near ones after each other.
    let mut ordered = vectors;
    let first = ordered[0].clone();
    ordered.sort_by(|a, b| score(Metric::Dot, a, &first).total_cmp(&score(Metric::Dot, b, &first)));
    let recall = found_by_default(&ordered, Metric::Cosine, graph(), &questions);
    assert!(recall >= 0.99, "ordered: {recall}");
}

#[test]
fn deleting_and_adding_half_five_times_leaves_nothing_behind() {
    let (vectors, questions) = data(4_000);
    let mut rows: BTreeMap<u64, Vec<f32>> = numbered(&vectors[..2_000]);
    let build = |rows: &BTreeMap<u64, Vec<f32>>| {
        Index::of_rows(rows.iter().map(|(row, vector)| (*row, vector.as_slice())), Metric::Cosine, graph()).unwrap()
    };
    let ask = |index: &Index, rows: &BTreeMap<u64, Vec<f32>>| {
        recall(rows, Metric::Cosine, &questions, |query| index.search(query, TOP, Effort::Balanced).unwrap().rows)
    };
    let mut index = build(&rows);
    let mut next = 2_000_u64;
    for round in 0..5_u64 {
        let gone: Vec<u64> = rows.keys().copied().filter(|row| (row + round) % 2 == 0).collect();
        for row in gone {
            rows.remove(&row);
            index.remove(row);
            rows.insert(next, vectors[(row * 7 + 3) as usize % vectors.len()].clone());
            index.put(next, &rows[&next]).unwrap();
            next += 1;
            if index.is_outgrown() {
                // Just before it is made anew it is at its worst.
                let recall = ask(&index, &rows);
                assert!(recall >= 0.985, "round {round}: {recall}");
                index = build(&rows);
            }
        }
        assert_eq!(index.unreachable(), 0);
        let (now, fresh) = (ask(&index, &rows), ask(&build(&rows), &rows));
        assert!(now >= fresh - 0.005, "round {round}: {now}, {fresh}");
    }
}

#[test]
fn selections_of_any_share_are_found() {
    let (vectors, questions) = data(4_000);
    let rows = numbered(&vectors);
    let mut index = Index::of(&vectors, Metric::Cosine, graph()).unwrap();
    for (share, of) in [("50%", 2), ("10%", 10), ("1%", 100), ("0.1%", 1_000), ("0%", u64::MAX)] {
        let is_in = |row: u64| row % of == 1 && of != u64::MAX;
        index.tag(|row| u32::from(is_in(row)));
        let selected: BTreeMap<u64, Vec<f32>> =
            rows.iter().filter(|(row, _)| is_in(**row)).map(|(row, vector)| (*row, vector.clone())).collect();
        if selected.is_empty() {
            let query = Query::new(&questions[0], Metric::Cosine).unwrap();
            assert!(index.search_tagged(&query, TOP, Effort::Balanced, &[1]).unwrap().rows.is_empty());
            continue;
        }
        let recall = recall(&selected, Metric::Cosine, &questions, |query| {
            index.search_tagged(query, TOP, Effort::Balanced, &[1]).unwrap().rows
        });
        assert!(recall >= 0.99, "{share}: {recall}");
    }
}

#[test]
fn the_same_content_gives_the_same_answers() {
    let (vectors, questions) = data(1_500);
    for settings in [flat(), graph()] {
        let (one, other) = (0..2)
            .map(|_| Index::of(&vectors, Metric::Cosine, settings).unwrap())
            .fold((None, None), |(_, last), index| (last, Some(index)));
        let (one, other) = (one.unwrap(), other.unwrap());
        let stored = one.stored().unwrap();
        assert_eq!(stored, other.stored().unwrap());
        let opened = Index::open(&stored, Metric::Cosine, &vectors, settings).unwrap();
        for question in &questions {
            let query = Query::new(question, Metric::Cosine).unwrap();
            let answers = [&one, &other, &opened].map(|index| index.search(&query, TOP, Effort::Balanced).unwrap());
            assert_eq!(answers[0], answers[1]);
            assert_eq!(answers[0], answers[2]);
        }
    }
}

#[test]
fn dimensions_from_1_to_4096_have_graphs() {
    let mut noise = Noise(9);
    for dimensions in [1, 2, 3, 33, 4_096] {
        let count = if dimensions == 4_096 { 300 } else { 600 };
        let vectors: Vec<Vec<f32>> = (0..count).map(|_| noise.vector(dimensions)).collect();
        let questions: Vec<Vec<f32>> = (0..10).map(|_| noise.vector(dimensions)).collect();
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            let recall = found_by_default(&vectors, metric, graph(), &questions);
            // Nothing is near to anything in random directions, which is hard on graphs: few dimensions are what counts.
            let least = if dimensions == 4_096 { 0.9 } else { 0.99 };
            assert!(recall >= least, "{dimensions}, {metric:?}: {recall}");
        }
    }
}
