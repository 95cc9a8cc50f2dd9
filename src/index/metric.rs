//! How near two vectors are. A greater score is nearer under every metric.

use serde::{Deserialize, Serialize};

use super::kernel::{dot, squared_distance};
use super::vector::Vector;

/// How a namespace compares vectors. It is set when the namespace is made and stays.
///
/// | metric | score of a hit | greatest | vectors are kept |
/// |---|---|---|---|
/// | `Cosine` | cosine of the angle between the two | 1 | at unit length |
/// | `Dot` | inner product | none | as given |
/// | `L2` | minus the Euclidean distance | 0 | as given |
///
/// ```
/// use watertight::Metric;
///
/// assert_eq!(Metric::default(), Metric::Cosine);
/// assert_eq!(serde_json::to_string(&Metric::L2).unwrap(), r#""l2""#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The direction alone counts; a vector of zeros has none and is refused. The default.
    #[default]
    Cosine,
    /// Direction and length count.
    Dot,
    /// The distance between the two points counts.
    L2,
}

impl Metric {
    /// The score of two vectors that are ready for this metric; never NaN.
    pub(crate) fn score(self, a: &Vector, b: &[f32]) -> f32 {
        match self {
            // Rounding can carry a dot product of unit vectors just past 1.
            Self::Cosine => dot(a.components(), b).clamp(-1.0, 1.0),
            Self::Dot => dot(a.components(), b),
            // Not a negation: equal vectors score 0, not -0.
            Self::L2 => 0.0 - squared_distance(a.components(), b).sqrt(),
        }
    }
}
