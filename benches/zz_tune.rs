// throwaway: recall against ef
mod support;
use std::time::Instant;
use support::vectors::{Corpus, corpus};
use watertight::internals::{Index, Query};
use watertight::{Effort, IndexSettings, Metric};
fn main() {
    let n: usize = std::env::var("N").unwrap().parse().unwrap();
    let Corpus { vectors, questions, .. } = corpus(n);
    let t = Instant::now();
    let ix = Index::of(&vectors, Metric::Cosine, IndexSettings::new().graph_from(256)).unwrap();
    println!("built {:?} unreachable {} bytes/v {}", t.elapsed(), ix.unreachable(), ix.bytes() / n as u64);
    let qs: Vec<Query> = questions.iter().map(|q| Query::new(q, Metric::Cosine).unwrap()).collect();
    for top in [1, 10, 100] {
        let truth: Vec<Vec<u64>> =
            qs.iter().map(|q| ix.search(q, top, Effort::Exact).unwrap().rows.iter().map(|r| r.0).collect()).collect();
        for ef in [16u32, 32, 48, 64, 80, 96, 128, 160, 200, 256, 400] {
            let mut hit = 0;
            let mut reads = 0;
            let mut ts = vec![];
            for (q, t) in qs.iter().zip(&truth) {
                let s = Instant::now();
                let a = ix.search(q, top, Effort::Breadth(ef)).unwrap();
                ts.push(s.elapsed());
                reads += a.read;
                hit += a.rows.iter().filter(|r| t.contains(&r.0)).count();
            }
            ts.sort();
            println!(
                "top {top} ef {ef} recall {:.4} p50 {:?} reads {:.1}",
                hit as f64 / (top * 500) as f64,
                ts[250],
                reads as f64 / 500.
            );
        }
        let s = Instant::now();
        for q in &qs {
            std::hint::black_box(ix.search(q, top, Effort::Exact).unwrap());
        }
        println!("exact mean {:?}", s.elapsed() / 500);
    }
}
