//! Secret bytes: wiped on drop, never printed, never compared with `==`, and kept in one place in memory.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Reason, Result};

/// `N` secret bytes in an allocation of their own. Whoever passes it on passes a pointer, so that the bytes never move and
/// the place that is wiped on drop is the only one they were in.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// What `write` puts straight into its place. There is no constructor that takes an array: an array is copied wherever
    /// it goes, and the copies stay on the stack.
    pub(crate) fn fill(write: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        write(&mut secret.0);
        secret
    }

    /// As [`Self::fill`]; what was written before a failure is wiped.
    pub(crate) fn try_fill<E>(write: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        write(&mut secret.0)?;
        Ok(secret)
    }

    pub(crate) fn copy(bytes: &[u8; N]) -> Self {
        Self::fill(|place| place.copy_from_slice(bytes))
    }

    /// Fresh bytes from the operating system; there is no other source of randomness.
    pub(crate) fn random() -> Result<Self> {
        Self::try_fill(|place| fill_random(place))
    }

    #[cfg(test)]
    pub(crate) fn new(bytes: [u8; N]) -> Self {
        Self::copy(&bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Fills a buffer from the operating system's generator.
pub(crate) fn fill_random(out: &mut [u8]) -> Result<()> {
    getrandom::fill(out).map_err(|_| Reason::Randomness.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_byte() {
        assert_eq!(format!("{:?}", Secret::new([0xAB; 32])), "[redacted]");
    }
}
