mod support;
use std::time::Instant;
use support::vectors::{Corpus, corpus};
use watertight::internals::{Index, Query};
use watertight::{Effort, IndexSettings, Metric};
fn main() {
    for n in [1000usize, 5000, 10000] {
        let Corpus { vectors, questions, .. } = corpus(n);
        let ix = Index::of(&vectors, Metric::Cosine, IndexSettings::new().graph_from(u32::MAX)).unwrap();
        let qs: Vec<Query> = questions.iter().map(|q| Query::new(q, Metric::Cosine).unwrap()).collect();
        let mut ts = vec![];
        for _ in 0..20 {
            for q in &qs {
                let s = Instant::now();
                std::hint::black_box(ix.search(q, 10, Effort::Balanced).unwrap());
                ts.push(s.elapsed());
            }
        }
        ts.sort();
        println!(
            "n {n} min {:?} p10 {:?} p25 {:?} p50 {:?}",
            ts[0],
            ts[ts.len() / 10],
            ts[ts.len() / 4],
            ts[ts.len() / 2]
        );
    }
}
