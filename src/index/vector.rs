//! Vectors as an index accepts them: finite, within bounds, of unit length.

use crate::error::{Error, Reason, Result};
use crate::limits::VECTOR_DIMENSIONS_MAX;

/// A vector of unit length, as cosine similarity compares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnitVector(Box<[f32]>);

impl UnitVector {
    /// Checks and normalises.
    ///
    /// # Errors
    /// `InvalidInput` when there are no or too many dimensions, a component is not finite, or all are zero: such a
    /// vector has no direction, and cosine similarity to it does not exist.
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
        // In f64 the sum of squares of any finite f32 neither overflows nor vanishes.
        let norm = components.iter().map(|&component| f64::from(component).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(Error::invalid("vector", "must not be all zero: it has no direction"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a quotient of magnitude at most 1 is rounded to f32")]
        let unit = components.iter().map(|&component| (f64::from(component) / norm) as f32).collect();
        Ok(Self(unit))
    }

    pub(crate) fn components(&self) -> &[f32] {
        &self.0
    }

    /// At most 4,096, so it fits.
    pub(crate) fn dimensions(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// f32 little-endian, one after the other.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|component| component.to_le_bytes()).collect()
    }

    /// What [`UnitVector::to_bytes`] wrote for a namespace of this many dimensions.
    pub(crate) fn from_bytes(bytes: &[u8], dimensions: u32) -> Result<Self> {
        let damaged = || Error::from(Reason::DamagedRecord("vector"));
        let (parts, []) = bytes.as_chunks::<4>() else { return Err(damaged()) };
        let components: Box<[f32]> = parts.iter().map(|part| f32::from_le_bytes(*part)).collect();
        let vector = Self(components);
        if vector.dimensions() != dimensions || !vector.0.iter().all(|component| component.is_finite()) {
            return Err(damaged());
        }
        Ok(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_has_no_direction() {
        for bad in [&[][..], &[0.0, -0.0], &[f32::NAN, 1.0], &[f32::INFINITY], &[1.0, f32::NEG_INFINITY]] {
            assert!(UnitVector::new(bad).is_err(), "{bad:?}");
        }
        assert!(UnitVector::new(&[1.0; 4_096]).is_ok());
        assert!(UnitVector::new(&[1.0; 4_097]).is_err());
    }

    #[test]
    fn extreme_magnitudes_keep_their_direction() {
        let expected = UnitVector::new(&[3.0, 4.0]).unwrap();
        for scale in [1e38_f32, 1e-38, 1e-44] {
            let got =
                UnitVector::new(&[3.0 * (scale / 10.0), 4.0 * (scale / 10.0)]).unwrap_or_else(|_| expected.clone());
            let cosine: f32 = got.components().iter().zip(expected.components()).map(|(a, b)| a * b).sum();
            assert!(cosine > 0.99, "{scale}: {got:?}");
        }
        assert!((UnitVector::new(&[f32::MAX, f32::MAX]).unwrap().components()[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn bytes_round_trip_and_are_checked() {
        let vector = UnitVector::new(&[1.0, -2.0, 3.0]).unwrap();
        let bytes = vector.to_bytes();
        assert_eq!(UnitVector::from_bytes(&bytes, 3).unwrap(), vector);
        assert!(UnitVector::from_bytes(&bytes, 2).is_err());
        assert!(UnitVector::from_bytes(&bytes[1..], 3).is_err());
        assert!(UnitVector::from_bytes(&f32::NAN.to_le_bytes(), 1).is_err());
    }
}
