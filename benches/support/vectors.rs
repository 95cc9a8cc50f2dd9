//! Vectors to measure with: real embeddings where the shared data set is there, generated ones elsewhere and beyond
//! its size.

use std::fs;
use std::path::Path;

pub const DIMENSIONS: usize = 384;

/// Vectors with questions that are not among them, all of unit length.
pub struct Corpus {
    pub vectors: Vec<Vec<f32>>,
    pub questions: Vec<Vec<f32>>,
    pub origin: &'static str,
}

/// The first `count` vectors of the data set, and beyond its size mixtures of two of them; or as many generated ones.
pub fn corpus(count: usize) -> Corpus {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let read = |name: &str, most: usize| Some(halves(&fs::read(shared.join(name)).ok()?, most));
    match (read("glosses.f16", count), read("queries.f16", 500)) {
        (Some(mut vectors), Some(questions)) if !vectors.is_empty() => {
            let real = vectors.len();
            for n in real..count {
                let (near, far) = (&vectors[n % real], &vectors[(n * 7_919 + 13) % real]);
                let mixed = unit(near.iter().zip(far).map(|(near, far)| 0.75 * near + 0.25 * far).collect());
                vectors.push(mixed);
            }
            let origin = match count > real {
                true => "WordNet glosses, MiniLM, and mixtures of them",
                false => "WordNet glosses, MiniLM",
            };
            Corpus { vectors, questions, origin }
        }
        _ => Corpus { vectors: clustered(count, 1), questions: clustered(500, 2), origin: "generated clusters" },
    }
}

fn halves(bytes: &[u8], most: usize) -> Vec<Vec<f32>> {
    let rows = bytes.chunks_exact(2 * DIMENSIONS).take(most);
    rows.map(|row| {
        unit(row.chunks_exact(2).map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect())
    })
    .collect()
}

/// Points around 64 centres. The centres are the same for every seed.
fn clustered(count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut centres = Noise(0);
    let centres: Vec<Vec<f32>> = (0..64).map(|_| centres.vector()).collect();
    let mut noise = Noise(seed);
    (0..count)
        .map(|n| {
            let point = noise.vector();
            unit(centres[n % centres.len()].iter().zip(point).map(|(centre, noise)| centre + 0.7 * noise).collect())
        })
        .collect()
}

/// Splitmix64, summed to something like a normal distribution.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIMENSIONS).map(|_| self.next() + self.next() + self.next()).collect()
    }
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / length).collect()
}
