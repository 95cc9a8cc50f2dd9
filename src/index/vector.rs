//! Vectors as callers give them, and as an index accepts them.

use serde::Serialize;

use super::metric::Metric;
use crate::error::{Error, Reason, Result};
use crate::limits::{VECTOR_DIMENSIONS_MAX, VECTOR_LENGTH_MAX};

/// A vector that a caller gave: 1 to 4,096 finite components. Which metric it is for is not known yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GivenVector(Box<[f32]>);

impl GivenVector {
    /// Checks what holds under every metric.
    ///
    /// # Errors
    /// `InvalidInput` when there are no or too many dimensions or a component is not finite.
    pub(crate) fn new(components: &[f32]) -> Result<Self> {
        if components.is_empty() {
            return Err(Error::invalid("vector", "must have at least one dimension"));
        }
        if components.len() > VECTOR_DIMENSIONS_MAX {
            return Err(Error::too_large("vector dimensions", VECTOR_DIMENSIONS_MAX, components.len()));
        }
        if !components.iter().all(|component| component.is_finite()) {
            return Err(Error::invalid("vector", "every component must be finite"));
        }
        Ok(Self(components.into()))
    }

    pub(crate) fn dimensions(&self) -> u32 {
        dimensions(&self.0)
    }

    pub(crate) fn into_components(self) -> Vec<f32> {
        self.0.into_vec()
    }

    /// What it counts for in usage.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Makes it ready for a metric.
    ///
    /// # Errors
    /// `InvalidInput` under cosine when all components are zero: such a vector has no direction. Under the others
    /// when it is so long that a score could overflow.
    pub(crate) fn ready(&self, metric: Metric) -> Result<Vector> {
        // In f64 the sum of squares of any finite f32 neither overflows nor vanishes.
        let length = self.0.iter().map(|&component| f64::from(component).powi(2)).sum::<f64>().sqrt();
        match metric {
            Metric::Cosine if length == 0.0 => {
                Err(Error::invalid("vector", "must not be all zero: it has no direction"))
            }
            Metric::Cosine => {
                #[expect(clippy::cast_possible_truncation, reason = "a quotient of at most 1 is rounded to f32")]
                let unit = self.0.iter().map(|&component| (f64::from(component) / length) as f32).collect();
                Ok(Vector(unit))
            }
            Metric::Dot | Metric::L2 if length > VECTOR_LENGTH_MAX => {
                Err(Error::invalid("vector", "its length must be at most 1e18 under dot and L2"))
            }
            Metric::Dot | Metric::L2 => Ok(Vector(self.0.clone())),
        }
    }
}

/// A vector that is ready for the metric of its namespace: scores of two of them are never NaN.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vector(Box<[f32]>);

impl Vector {
    pub(crate) fn components(&self) -> &[f32] {
        &self.0
    }

    pub(crate) fn dimensions(&self) -> u32 {
        dimensions(&self.0)
    }

    /// f32 little-endian, one after the other.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|component| component.to_le_bytes()).collect()
    }

    /// What [`Vector::to_bytes`] wrote for a namespace of this many dimensions.
    pub(crate) fn from_bytes(bytes: &[u8], dimensions: u32) -> Result<Self> {
        let mut components = Vec::new();
        read_components(bytes, dimensions, &mut components)?;
        Ok(Self(components.into()))
    }
}

/// What [`Vector::to_bytes`] wrote, in place of what a buffer has.
pub(crate) fn read_components(bytes: &[u8], dimensions: u32, components: &mut Vec<f32>) -> Result<()> {
    let damaged = || Error::from(Reason::DamagedRecord("vector"));
    let (parts, []) = bytes.as_chunks::<4>() else { return Err(damaged()) };
    if parts.len() != dimensions as usize {
        return Err(damaged());
    }
    components.clear();
    components.extend(parts.iter().map(|part| f32::from_le_bytes(*part)));
    if components.iter().all(|component| component.is_finite()) { Ok(()) } else { Err(damaged()) }
}

/// At most 4,096, so it fits.
fn dimensions(components: &[f32]) -> u32 {
    u32::try_from(components.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(components: &[f32]) -> Result<Vector> {
        GivenVector::new(components)?.ready(Metric::Cosine)
    }

    #[test]
    fn refuses_what_has_no_direction() {
        for bad in [&[][..], &[0.0, -0.0], &[f32::NAN, 1.0], &[f32::INFINITY], &[1.0, f32::NEG_INFINITY]] {
            assert!(unit(bad).is_err(), "{bad:?}");
        }
        assert!(unit(&[1.0; 4_096]).is_ok());
        assert!(unit(&[1.0; 4_097]).is_err());
        assert!(GivenVector::new(&[0.0]).unwrap().ready(Metric::L2).is_ok());
    }

    #[test]
    fn extreme_magnitudes_keep_their_direction() {
        let expected = unit(&[3.0, 4.0]).unwrap();
        for scale in [1e38_f32, 1e-38, 1e-44] {
            let got = unit(&[3.0 * (scale / 10.0), 4.0 * (scale / 10.0)]).unwrap_or_else(|_| expected.clone());
            let cosine: f32 = got.components().iter().zip(expected.components()).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.99, "{scale}: {got:?}");
        }
        assert!((unit(&[f32::MAX, f32::MAX]).unwrap().components()[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_longest_vectors_have_finite_scores() {
        for metric in [Metric::Dot, Metric::L2] {
            let longest = GivenVector::new(&[1e18 / 64.0; 4_096]).unwrap().ready(metric).unwrap();
            let opposite = GivenVector::new(&[-1e18 / 64.0; 4_096]).unwrap().ready(metric).unwrap();
            for other in [&longest, &opposite] {
                assert!(metric.score(&longest, other.components()).is_finite());
            }
            assert!(GivenVector::new(&[1e18, 1e15]).unwrap().ready(metric).is_err());
            assert!(GivenVector::new(&[f32::MAX]).unwrap().ready(metric).is_err());
        }
    }

    #[test]
    fn bytes_round_trip_and_are_checked() {
        let vector = unit(&[1.0, -2.0, 3.0]).unwrap();
        let bytes = vector.to_bytes();
        assert_eq!(Vector::from_bytes(&bytes, 3).unwrap(), vector);
        assert!(Vector::from_bytes(&bytes, 2).is_err());
        assert!(Vector::from_bytes(&bytes[1..], 3).is_err());
        assert!(Vector::from_bytes(&f32::NAN.to_le_bytes(), 1).is_err());
    }
}
