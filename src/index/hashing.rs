//! An embedder without a model, for tests and for work offline.

use super::embedder::{EmbedError, Embedder};
use crate::error::{Error, Result};
use crate::limits::VECTOR_DIMENSIONS_MAX;

/// Hashes the words of a text, and the three-letter parts of each word, into a vector: texts that share words are
/// near each other. **It understands nothing**: "car" and "automobile" are as far apart as "car" and "Tuesday". It
/// needs no model, no network and no memory, and gives the same vector for the same text on every machine and in every
/// release.
///
/// This is feature hashing with signs (Weinberger et al., 2009, arXiv:0902.2206) over lower-cased words.
///
/// ```
/// use watertight::{Embedder, HashingEmbedder};
///
/// let embedder = HashingEmbedder::new(256)?;
/// let vectors = embedder.embed(&["the red car", "a red car", "Tuesday"])?;
/// let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
/// assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]));
/// assert!(HashingEmbedder::new(0).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct HashingEmbedder {
    model: String,
    dimensions: usize,
}

impl HashingEmbedder {
    /// Of this many dimensions; a few hundred are enough for short texts.
    ///
    /// # Errors
    /// `InvalidInput` when there are none or more than 4,096.
    pub fn new(dimensions: u32) -> Result<Self> {
        if dimensions == 0 {
            return Err(Error::invalid("vector dimensions", "must be at least 1"));
        }
        let wide = dimensions as usize;
        if wide > VECTOR_DIMENSIONS_MAX {
            return Err(Error::too_large("vector dimensions", VECTOR_DIMENSIONS_MAX, wide));
        }
        Ok(Self { model: format!("watertight-hashing-1-{dimensions}"), dimensions: wide })
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0_f32; self.dimensions];
        let lower = text.to_lowercase();
        for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            self.add(&mut vector, word.as_bytes(), WORD_WEIGHT);
            // Word ends count as letters, so that beginnings and endings differ from middles.
            let letters: Vec<char> = std::iter::once('<').chain(word.chars()).chain(std::iter::once('>')).collect();
            for part in letters.windows(PART_LETTERS) {
                self.add(&mut vector, String::from_iter(part).as_bytes(), 1.0);
            }
        }
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|x| *x /= length);
        } else if let Some(first) = vector.first_mut() {
            // A text without words, or whose signs cancel out, has to point somewhere.
            *first = 1.0;
        }
        vector
    }

    fn add(&self, vector: &mut [f32], feature: &[u8], weight: f32) {
        let hash = hash(feature);
        let sign = if hash >> 63 == 0 { weight } else { -weight };
        // A remainder by at most 4,096 fits.
        let place = usize::try_from(hash % self.dimensions as u64).unwrap_or(0);
        if let Some(component) = vector.get_mut(place) {
            *component += sign;
        }
    }
}

/// A shared word says more than a shared part of one.
const WORD_WEIGHT: f32 = 3.0;
const PART_LETTERS: usize = 3;

/// FNV-1a, mixed once more so that the high bit and the remainder are independent. Part of the model's id.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Embedder for HashingEmbedder {
    fn model(&self) -> &str {
        &self.model
    }

    fn dimensions(&self) -> u32 {
        u32::try_from(self.dimensions).unwrap_or(u32::MAX)
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors are kept in files for years: the same text must give the same one in every release.
    #[test]
    fn vectors_are_frozen() {
        let embedder = HashingEmbedder::new(8).unwrap();
        let vector = embedder.vector("Ein Kätzchen, klein.");
        let rounded: Vec<i32> = vector.iter().map(|x| (x * 1_000.0).round() as i32).collect();
        assert_eq!(rounded, FROZEN);
        assert_eq!(embedder.model(), "watertight-hashing-1-8");
    }
    const FROZEN: [i32; 8] = [205, 103, 923, -205, 0, -205, 0, -103];

    #[test]
    fn every_text_has_a_direction() {
        let embedder = HashingEmbedder::new(3).unwrap();
        for text in ["", "  ", "!?", "a", "…", "🦀", "日本語"] {
            let length: f32 = embedder.vector(text).iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text:?}");
        }
        assert!(HashingEmbedder::new(4_097).is_err());
    }
}
