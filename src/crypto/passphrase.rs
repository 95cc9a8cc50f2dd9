//! A passphrase as the root key: Argon2id (RFC 9106) makes 32 bytes of it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::format::ROOT_PASSPHRASE_SALT_BYTES;
use super::secret::{Secret, fill_random};
use super::stack::with_wiped_stack;
use crate::error::{Reason, Result};
use crate::limits::{
    ARGON2_LANES, ARGON2_LANES_MAX, ARGON2_MEMORY_KIB, ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES, ARGON2_PASSES_MAX,
    PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN,
};

/// A passphrase, as bytes. It is wiped when it is dropped.
pub(super) struct Passphrase(Zeroizing<Vec<u8>>);

/// How a passphrase was stretched; stored in the clear beside what it wraps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; ROOT_PASSPHRASE_SALT_BYTES],
}

impl Stretch {
    /// Today's cost and a fresh salt.
    pub(super) fn fresh() -> Result<Self> {
        let mut salt = [0; ROOT_PASSPHRASE_SALT_BYTES];
        fill_random(&mut salt)?;
        Ok(Self { memory_kib: ARGON2_MEMORY_KIB, passes: ARGON2_PASSES, lanes: ARGON2_LANES, salt })
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let costs = [self.memory_kib, self.passes, self.lanes].into_iter().flat_map(u32::to_le_bytes);
        costs.chain(self.salt).collect()
    }

    /// Reads what [`Self::to_bytes`] wrote, and gives the rest. Costs out of bounds are refused before anybody allocates
    /// memory for them; lower ones than are written today would only serve whoever guesses.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (costs, rest) = bytes.split_first_chunk::<12>()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let [memory_kib, passes, lanes] = costs.as_chunks::<4>().0 else { return None };
        let [memory_kib, passes, lanes] = [memory_kib, passes, lanes].map(|cost| u32::from_le_bytes(*cost));
        let within = (ARGON2_MEMORY_KIB..=ARGON2_MEMORY_KIB_MAX).contains(&memory_kib)
            && (ARGON2_PASSES..=ARGON2_PASSES_MAX).contains(&passes)
            && (1..=ARGON2_LANES_MAX).contains(&lanes);
        within.then_some((Self { memory_kib, passes, lanes, salt: *salt }, rest))
    }
}

impl Passphrase {
    /// # Errors
    /// `KeyUnavailable` when it is too short to be one, or too long.
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self> {
        let bytes = Zeroizing::new(bytes);
        if !(PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&bytes.len()) {
            return Err(Reason::RootKeySource("a passphrase has 12 to 1,024 bytes").into());
        }
        Ok(Self(bytes))
    }

    /// # Errors
    /// `KeyUnavailable` when there is not enough memory.
    pub(super) fn stretch(&self, how: &Stretch) -> Result<Secret<32>> {
        let failed = || Reason::RootKeySource("the passphrase could not be stretched: not enough memory");
        let params = Params::new(how.memory_kib, how.passes, how.lanes, Some(32)).map_err(|_| failed())?;
        // Not left to the crate, which neither wipes the memory nor asks whether there is so much.
        let mut memory = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(params.block_count()).map_err(|_| failed())?;
        memory.resize(params.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        with_wiped_stack(|| {
            Secret::try_fill(|out| {
                argon2.hash_password_into_with_memory(&self.0, &how.salt, out, memory.as_mut_slice())
            })
        })
        .map_err(|_| failed().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn lengths_are_bounded() {
        for length in [0, 11, 1_025] {
            assert!(Passphrase::new(vec![b'x'; length]).is_err(), "{length}");
        }
        for length in [12, 1_024] {
            assert!(Passphrase::new(vec![b'x'; length]).is_ok(), "{length}");
        }
    }

    /// Computed with OpenSSL (Argon2id 1.3, 64 MiB, 3 passes, 4 lanes, 32 bytes).
    #[test]
    fn a_frozen_passphrase_gives_its_key() {
        let how = Stretch { memory_kib: 65_536, passes: 3, lanes: 4, salt: *b"0123456789abcdef0123456789abcdef" };
        let hex: String =
            phrase("correct horse battery").stretch(&how).unwrap().expose().map(|b| format!("{b:02x}")).concat();
        assert_eq!(hex, include_str!("../../tests/fixtures/passphrase-v1.hex").trim());
        let other = phrase("correct horse batterz").stretch(&how).unwrap();
        assert_ne!(other.expose().map(|b| format!("{b:02x}")).concat(), hex);
    }

    #[test]
    fn costs_out_of_bounds_are_refused_before_they_are_paid() {
        let good = Stretch::fresh().unwrap();
        assert_eq!(Stretch::from_bytes(&good.to_bytes()), Some((good, &[][..])));
        for (memory_kib, passes, lanes) in [
            (u32::MAX, 3, 4),
            (ARGON2_MEMORY_KIB_MAX + 1, 3, 4),
            (ARGON2_MEMORY_KIB - 1, 3, 4),
            (0, 3, 4),
            (ARGON2_MEMORY_KIB, u32::MAX, 4),
            (ARGON2_MEMORY_KIB, 2, 4),
            (ARGON2_MEMORY_KIB, 3, u32::MAX),
            (ARGON2_MEMORY_KIB, 3, 0),
        ] {
            let bad = Stretch { memory_kib, passes, lanes, ..good };
            assert_eq!(Stretch::from_bytes(&bad.to_bytes()), None, "{bad:?}");
        }
        let bytes = good.to_bytes();
        assert!((0..bytes.len()).all(|length| Stretch::from_bytes(&bytes[..length]).is_none()));
    }
}
