//! A stored index with arbitrary damage: it is refused, or it is searched without a panic.
//!
//! The first byte of the input says which of two segments is damaged (flat or with a graph), the rest is a list of
//! patches, each `offset u16 | length u8 | bytes`; a length of 255 cuts the segment there. An input whose first byte is
//! above 1 is taken for a segment as it is.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use watertight::internals::{Index, Query};
use watertight::{Effort, IndexSettings, Metric};

const CUT: u8 = 255;

static VECTORS: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| {
    let wave = |n: f32| vec![(n * 0.7).sin(), (n * 1.3).cos(), (n * 0.11).sin() + 0.01];
    // The last are copies of the first.
    (0..400_u16).map(|n| wave(f32::from(n % 360))).collect()
});

static SEGMENTS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [IndexSettings::new().graph_from(u32::MAX), IndexSettings::new().graph_from(256)].map(|settings| {
        let mut index = Index::of(&VECTORS, Metric::Dot, settings).unwrap();
        (0..10).for_each(|row| index.remove(row));
        (390..400).for_each(|row| index.put(row, &[1.0, 0.5, -0.5]).unwrap());
        index.stored().unwrap()
    })
});

fn damage(bytes: &mut Vec<u8>, mut input: &[u8]) {
    while let Some((head, rest)) = input.split_first_chunk::<3>() {
        let [a, b, length] = *head;
        let offset = usize::from(u16::from_le_bytes([a, b])) % bytes.len().max(1);
        if length == CUT {
            bytes.truncate(offset);
            return;
        }
        let (patch, rest) = rest.split_at(rest.len().min(usize::from(length)));
        for (to, from) in bytes.iter_mut().skip(offset).zip(patch) {
            *to = *from;
        }
        input = rest;
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((which, patches)) = input.split_first() else { return };
    let mut bytes = match SEGMENTS.get(usize::from(*which)) {
        Some(segment) => segment.clone(),
        None => input.to_vec(),
    };
    damage(&mut bytes, if *which > 1 { &[] } else { patches });
    let Ok(mut index) = Index::open(&bytes, Metric::Dot, &VECTORS, IndexSettings::new()) else { return };
    index.tag(|row| (row % 3) as u32);
    for step in 0..3 {
        let query = Query::new(&[0.3, -1.0, step as f32], Metric::Dot).unwrap();
        for effort in [Effort::Balanced, Effort::Breadth(1), Effort::Exact] {
            // A row that the file does not have is an error.
            if let Ok(answer) = index.search(&query, 10, effort) {
                assert!(answer.rows.len() <= 10);
            }
            drop(index.search_tagged(&query, 10, effort, &[1]));
        }
        (0..200).for_each(|row| index.remove(row));
        (0..5).for_each(|row| index.put(row, &[0.1, 0.2, 0.3]).unwrap());
    }
    assert!(index.unreachable() <= VECTORS.len());
    drop(index.stored());
});
