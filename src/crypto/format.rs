//! Every label, magic number and length of what this engine derives, seals and chains. `docs/DESIGN.md` has the same,
//! byte by byte; what stands here is part of the format on disk and changes only with its version number.
//!
//! Integers are little-endian. `fields(a, b, ..)` is each field led by its length as u32 ([`crate::id::length_prefixed`]).

/// What a derived key is for. The strings are part of the format and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Public identifier of a root or engine key, to tell a wrong key from a damaged file.
    KeyId,
    /// Key and commitment of the wrapping of an engine key and the catalog key.
    WrapEngineKey,
    /// Key and commitment of a tenant data key's wrapping.
    WrapTenantKey,
    /// Page key of the catalog.
    CatalogPages,
    /// Authentication of receipts.
    Receipt,
    /// Page key of a tenant's file.
    TenantPages,
    /// Authentication of list cursors.
    Cursor,
    /// The secret under which a user's credentials are sealed.
    UserSecret,
    /// Key and commitment of one version of a credential.
    Credential,
}

impl Label {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::KeyId => "watertight key id",
            Self::WrapEngineKey => "watertight wrap engine key",
            Self::WrapTenantKey => "watertight wrap tenant key",
            Self::CatalogPages => "watertight catalog pages",
            Self::Receipt => "watertight receipt",
            Self::TenantPages => "watertight tenant pages",
            Self::Cursor => "watertight cursor",
            Self::UserSecret => "watertight user secret",
            Self::Credential => "watertight credential",
        }
    }

    #[cfg(test)]
    pub(super) const ALL: [Self; 9] = [
        Self::KeyId,
        Self::WrapEngineKey,
        Self::WrapTenantKey,
        Self::CatalogPages,
        Self::Receipt,
        Self::TenantPages,
        Self::Cursor,
        Self::UserSecret,
        Self::Credential,
    ];
}

/// The format of every derivation: `info` is `fields(label, DERIVATION_FORMAT, context..)`.
pub(super) const DERIVATION_FORMAT: [u8; 4] = 1_u32.to_le_bytes();
/// Length of a [`Label::KeyId`].
pub(super) const KEY_ID_BYTES: usize = 16;

/// Envelope: `salt 32 | commitment 32 | ciphertext | tag 16`.
pub(super) const SEAL_SALT_BYTES: usize = 32;
pub(super) const SEAL_COMMITMENT_BYTES: usize = 32;
pub(super) const SEAL_TAG_BYTES: usize = 16;
/// What an envelope adds to its plaintext.
pub(crate) const SEAL_OVERHEAD_BYTES: usize = SEAL_SALT_BYTES + SEAL_COMMITMENT_BYTES + SEAL_TAG_BYTES;

/// Engine key file: `magic 8 | format u32 | version u32 | engine id 16 | root key id 16 | kind u32 | root part |
/// envelope of 64`, sealed under the root key: engine key 32, catalog key 32.
pub(super) const ENGINE_KEY_MAGIC: &[u8; 8] = b"WTENGKEY";
pub(super) const ENGINE_KEY_FORMAT: u32 = 2;
pub(super) const ENGINE_KEY_HEAD_BYTES: usize = 8 + 4 + 4 + 16 + KEY_ID_BYTES + 4;
pub(super) const ENGINE_KEY_ENVELOPE_BYTES: usize = 64 + SEAL_OVERHEAD_BYTES;
/// Root part of a root key that is kept as bytes: nothing.
pub(super) const ROOT_KIND_BYTES: u32 = 1;
/// Root part of a passphrase: `memory in KiB u32 | passes u32 | lanes u32 | salt 32`.
pub(super) const ROOT_KIND_PASSPHRASE: u32 = 2;
pub(super) const ROOT_PASSPHRASE_SALT_BYTES: usize = 32;
/// Root part of a provider's key: `length u16 | name | length u16 | wrapped secret`.
pub(super) const ROOT_KIND_PROVIDER: u32 = 3;

/// Tenant key file: `magic 8 | format u32 | engine key version u32 | engine id 16 | engine key id 16 | incarnation 16 |
/// epoch u32 | envelope of 32`.
pub(super) const TENANT_KEY_MAGIC: &[u8; 8] = b"WTTENKEY";
pub(super) const TENANT_KEY_FORMAT: u32 = 1;
pub(super) const TENANT_KEY_HEAD_BYTES: usize = 8 + 4 + 4 + 16 + KEY_ID_BYTES + 16 + 4;
/// Length of a tenant key file.
pub(crate) const TENANT_KEY_FILE_BYTES: usize = TENANT_KEY_HEAD_BYTES + 32 + SEAL_OVERHEAD_BYTES;

/// Credential: `format u8 | epoch u32 | stamp u64 | envelope`.
pub(super) const CREDENTIAL_FORMAT: u8 = 1;
pub(super) const CREDENTIAL_HEAD_BYTES: usize = 1 + 4 + 8;
/// Length of a user's salt.
pub(crate) const USER_SALT_BYTES: usize = 32;

/// Plaintext of one page.
pub(crate) const PAGE_BYTES: usize = 4_096;
/// One sealed page on disk: `ciphertext 4,096 | nonce 24 | tag 16 | trailer 472`.
pub(crate) const SLOT_BYTES: usize = 4_608;
pub(super) const PAGE_NONCE_BYTES: usize = 24;
pub(super) const PAGE_TAG_BYTES: usize = 16;
pub(super) const PAGE_TRAILER_BYTES: usize = SLOT_BYTES - PAGE_BYTES - PAGE_NONCE_BYTES - PAGE_TAG_BYTES;
pub(super) const PAGE_FORMAT: u32 = 1;
/// `format u32 | engine id 16 | incarnation 16 | epoch u32 | kind u8 | domain u8 | number u64 | counter u64 | length u64`.
pub(super) const PAGE_AAD_BYTES: usize = 4 + 16 + 16 + 4 + 1 + 1 + 8 + 8 + 8;
const _: () = assert!(SLOT_BYTES.is_multiple_of(512));

/// Domain of the hash of an audit entry: `SHA-256(domain | number u64 | hash before 32 | body)`.
pub(crate) const AUDIT_ENTRY_DOMAIN: &[u8] = b"watertight audit entry 2";
/// Domain of the digest of a detail of an audit entry.
pub(crate) const AUDIT_DETAIL_DOMAIN: &[u8] = b"watertight audit detail 1";
/// Receipt: `format u32 | tag 32 | record`.
pub(crate) const RECEIPT_FORMAT: [u8; 4] = 1_u32.to_le_bytes();
/// Length of a receipt's tag.
pub(crate) const RECEIPT_TAG_BYTES: usize = 32;
/// First field of what a cursor's tag is computed over, and of what its mask is.
pub(crate) const CURSOR_TAG: &[u8] = b"tag";
/// See [`CURSOR_TAG`].
pub(crate) const CURSOR_MASK: &[u8] = b"mask";

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads the bytes must find all of them in one document.
    #[test]
    fn the_design_names_every_label_and_magic_number() {
        let design = include_str!("../../docs/DESIGN.md").split_whitespace().collect::<Vec<_>>().join(" ");
        for label in Label::ALL {
            assert!(design.contains(&format!("\"{}\"", label.text())), "{}", label.text());
        }
        for text in [&ENGINE_KEY_MAGIC[..], TENANT_KEY_MAGIC, AUDIT_ENTRY_DOMAIN, CURSOR_TAG, CURSOR_MASK] {
            let text = std::str::from_utf8(text).unwrap();
            assert!(design.contains(&format!("\"{text}\"")), "{text}");
        }
    }
}
