//! What a search takes from the allocator once it has run a few times: nothing but its answer.

use allocation_counter::measure;
use watertight::internals::{Index, Query};
use watertight::{Effort, IndexSettings, Metric};

fn vector(n: u32) -> Vec<f32> {
    (0..32).map(|d| ((n * 31 + d * 17) as f32 * 0.37).sin()).collect()
}

#[test]
fn a_search_allocates_its_answer_and_nothing_else() {
    let vectors: Vec<Vec<f32>> = (0..2_000).map(vector).collect();
    for (tier, graph_from) in [("flat", u32::MAX), ("graph", 1_000)] {
        let settings = IndexSettings::new().graph_from(graph_from);
        let mut index = Index::of(&vectors, Metric::Cosine, settings).unwrap();
        assert_eq!(index.has_graph(), tier == "graph");
        // Some of it beside the graph.
        (0..100).for_each(|row| index.remove(row));
        (2_000..2_300).for_each(|row| index.put(row, &vector(row as u32)).unwrap());
        let queries: Vec<Query> = (0..200).map(|n| Query::new(&vector(9_000 + n), Metric::Cosine).unwrap()).collect();
        let ask = |query: &Query| drop(index.search(query, 10, Effort::Balanced).unwrap());
        queries.iter().for_each(ask);
        for query in &queries {
            let taken = measure(|| ask(query));
            assert_eq!(taken.count_total, 1, "{tier}: {taken:?}");
        }
    }
}
