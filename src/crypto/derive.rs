//! Every derivation of the engine: HKDF-SHA256 (RFC 5869) with one label each.
//!
//! `info` is the length-prefixed list of label, format and context, so that no two derivations share an output.

use hkdf::Hkdf;
use sha2::Sha256;

use super::secret::Secret;
use crate::id::length_prefixed;

/// The format of every derivation below; part of each `info`.
const FORMAT: [u8; 4] = 1_u32.to_le_bytes();

/// What a derived key is for. The strings are part of the format and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Public identifier of a root or engine key, to tell a wrong key from a damaged file.
    KeyId,
    /// Key and commitment of an engine key's wrapping.
    WrapEngineKey,
    /// Key and commitment of a tenant data key's wrapping.
    WrapTenantKey,
    /// Page key of the catalog.
    CatalogPages,
    /// Page key of a tenant's file.
    TenantPages,
    /// Authentication of list cursors.
    Cursor,
    /// The secret under which a user's credentials are sealed.
    UserSecret,
    /// Key and commitment of one version of a credential.
    Credential,
    /// Key of the hashes of API keys.
    ApiKeyHash,
}

impl Label {
    const fn text(self) -> &'static str {
        match self {
            Self::KeyId => "watertight key id",
            Self::WrapEngineKey => "watertight wrap engine key",
            Self::WrapTenantKey => "watertight wrap tenant key",
            Self::CatalogPages => "watertight catalog pages",
            Self::TenantPages => "watertight tenant pages",
            Self::Cursor => "watertight cursor",
            Self::UserSecret => "watertight user secret",
            Self::Credential => "watertight credential",
            Self::ApiKeyHash => "watertight API key hash",
        }
    }
}

/// Derives `N` bytes for one purpose from a uniformly random key.
pub(crate) fn derive<const N: usize>(key: &Secret<32>, salt: &[u8], label: Label, context: &[&[u8]]) -> Secret<N> {
    const { assert!(N <= 255 * 32, "RFC 5869 limits the output to 255 blocks") };
    let mut fields: Vec<&[u8]> = vec![label.text().as_bytes(), &FORMAT];
    fields.extend_from_slice(context);
    let mut out = [0; N];
    let expanded = expand(key.expose(), salt, &length_prefixed(&fields), &mut out);
    debug_assert!(expanded, "the length is checked at compile time");
    Secret::new(out)
}

/// RFC 5869 extract and expand. False only when `out` is longer than 255 hashes.
fn expand(key: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) -> bool {
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, out).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: [Label; 9] = [
        Label::KeyId,
        Label::WrapEngineKey,
        Label::WrapTenantKey,
        Label::CatalogPages,
        Label::TenantPages,
        Label::Cursor,
        Label::UserSecret,
        Label::Credential,
        Label::ApiKeyHash,
    ];

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

    #[test]
    fn labels_and_contexts_separate() {
        let key = Secret::new([7; 32]);
        let mut seen = BTreeSet::new();
        for label in ALL {
            for context in [&[][..], &[&b"a"[..]], &[&b"a"[..], &b"b"[..]], &[&b"ab"[..]]] {
                for salt in [&b""[..], b"salt"] {
                    assert!(seen.insert(*derive::<32>(&key, salt, label, context).expose()));
                }
            }
        }
    }
}
