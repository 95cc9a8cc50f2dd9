//! The committing envelope: AES-256-GCM under a one-time key.
//!
//! Every envelope has its own random 32-byte salt. HKDF turns it and the wrapping key into 64 bytes: a key that is
//! used once, so the nonce is fixed at zero, and a commitment, because GCM alone does not bind a ciphertext to its
//! key. Layout: `salt 32 | commitment 32 | ciphertext | tag 16`.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::derive::derive;
pub(crate) use super::format::SEAL_OVERHEAD_BYTES as OVERHEAD_BYTES;
use super::format::{
    Label, SEAL_COMMITMENT_BYTES as COMMITMENT_BYTES, SEAL_SALT_BYTES as SALT_BYTES, SEAL_TAG_BYTES as TAG_BYTES,
};
use super::secret::{Secret, fill_random};
use crate::error::{Reason, Result};

/// An envelope that did not open. Why is not said: no caller may act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Seals `plaintext` under `key`, bound to `aad`.
pub(crate) fn seal(key: &Secret<32>, label: Label, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt)?;
    seal_with_salt(key, label, aad, plaintext, &salt)
}

fn seal_with_salt(
    key: &Secret<32>,
    label: Label,
    aad: &[u8],
    plaintext: &[u8],
    salt: &[u8; SALT_BYTES],
) -> Result<Vec<u8>> {
    let (cipher, commitment) = one_time(key, salt, label);
    let mut sealed = Zeroizing::new(plaintext.to_vec());
    let tag = cipher.encrypt_inout_detached(&Nonce::default(), aad, sealed.as_mut_slice().into()).map_err(|_| {
        Reason::TooLarge { what: "sealed bytes", limit: aes_gcm::P_MAX, actual: plaintext.len() as u64 }
    })?;
    let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
    out.extend_from_slice(salt);
    out.extend_from_slice(commitment.expose());
    out.extend_from_slice(&sealed);
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens an envelope. The commitment is compared, in constant time, before anything is decrypted.
pub(crate) fn open(
    key: &Secret<32>,
    label: Label,
    aad: &[u8],
    envelope: &[u8],
) -> std::result::Result<Zeroizing<Vec<u8>>, Refused> {
    let (salt, rest) = envelope.split_first_chunk::<SALT_BYTES>().ok_or(Refused)?;
    let (claimed, rest) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(Refused)?;
    let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Refused)?;
    let (cipher, commitment) = one_time(key, salt, label);
    if !bool::from(commitment.expose().ct_eq(claimed)) {
        return Err(Refused);
    }
    let mut out = Zeroizing::new(sealed.to_vec());
    match cipher.decrypt_inout_detached(&Nonce::default(), aad, out.as_mut_slice().into(), &Tag::from(*tag)) {
        Ok(()) => Ok(out),
        Err(_) => Err(Refused),
    }
}

fn one_time(key: &Secret<32>, salt: &[u8], label: Label) -> (Aes256Gcm, Secret<COMMITMENT_BYTES>) {
    let both = derive::<64>(key, salt, label, &[]);
    let mut cipher_key = [0; 32];
    let mut commitment = [0; COMMITMENT_BYTES];
    for (to, from) in cipher_key.iter_mut().chain(&mut commitment).zip(both.expose()) {
        *to = *from;
    }
    let cipher = Aes256Gcm::new(&cipher_key.into());
    cipher_key.zeroize();
    (cipher, Secret::new(commitment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret<32> {
        Secret::new([byte; 32])
    }

    #[test]
    fn opens_what_it_sealed() {
        let envelope = seal(&key(1), Label::WrapTenantKey, b"aad", b"plaintext").unwrap();
        assert_eq!(envelope.len(), 9 + OVERHEAD_BYTES);
        assert_eq!(&**open(&key(1), Label::WrapTenantKey, b"aad", &envelope).unwrap(), b"plaintext");
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let envelope = seal(&key(1), Label::WrapTenantKey, b"aad", b"plaintext").unwrap();
        for bit in 0..envelope.len() * 8 {
            let mut bad = envelope.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key(1), Label::WrapTenantKey, b"aad", &bad), Err(Refused), "bit {bit}");
        }
        for length in 0..envelope.len() {
            assert_eq!(open(&key(1), Label::WrapTenantKey, b"aad", &envelope[..length]), Err(Refused));
        }
    }

    #[test]
    fn key_label_and_aad_are_bound() {
        let envelope = seal(&key(1), Label::WrapTenantKey, b"aad", b"plaintext").unwrap();
        assert!(open(&key(2), Label::WrapTenantKey, b"aad", &envelope).is_err());
        assert!(open(&key(1), Label::WrapEngineKey, b"aad", &envelope).is_err());
        assert!(open(&key(1), Label::WrapTenantKey, b"aae", &envelope).is_err());
    }

    /// The bytes of version 1 never change; this envelope must open for ever.
    #[test]
    fn a_frozen_envelope_opens() {
        let made = seal_with_salt(&key(9), Label::WrapEngineKey, b"frozen", b"known answer", &[5; 32]).unwrap();
        let hex: String = made.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, include_str!("../../tests/fixtures/envelope-v1.hex").trim());
    }
}
