//! Secret bytes: wiped on drop, never printed, never compared with `==`.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::{Reason, Result};

/// `N` secret bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    pub(crate) fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// Fresh bytes from the operating system; there is no other source of randomness.
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; N];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

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
