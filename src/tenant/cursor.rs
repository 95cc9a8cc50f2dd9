//! List cursors: opaque, authenticated, and good only for the list that gave them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::namespace::Area;
use crate::crypto::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{RowId, UserId, length_prefixed};

const TAG_BYTES: usize = 16;
const BYTES: usize = 8 + TAG_BYTES;

/// Where a list goes on. It belongs to one tenant, user, namespace, selection and order, and ends when the tenant is
/// re-keyed. It stays good while memories come and go.
///
/// The text form is safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// What a cursor belongs to, beside the tenant.
#[derive(Debug)]
pub(super) struct CursorScope<'a> {
    pub(super) user: &'a UserId,
    pub(super) area: &'a Area,
    /// Selection and order.
    pub(super) query: &'a [u8],
}

impl Cursor {
    /// Takes the text of a cursor that was given out before. Whether it is genuine shows when it is used.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A cursor behind this row.
    pub(super) fn behind(row: RowId, key: &Secret<64>, scope: &CursorScope<'_>) -> Self {
        let tag = tag(key, scope, row);
        let masked = row.0 ^ mask(key, &tag);
        let bytes: Vec<u8> = tag.into_iter().chain(masked.to_le_bytes()).collect();
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The row that the list goes on behind.
    ///
    /// # Errors
    /// `InvalidInput` when it was not given out for this list.
    pub(super) fn row(&self, key: &Secret<64>, scope: &CursorScope<'_>) -> Result<RowId> {
        let refused = || Error::invalid("cursor", "was not given out for this list");
        let mut bytes = [0; BYTES];
        match URL_SAFE_NO_PAD.decode_slice(&self.0, &mut bytes) {
            Ok(BYTES) => {}
            _ => return Err(refused()),
        }
        let (claimed, masked) = bytes.split_first_chunk::<TAG_BYTES>().ok_or_else(refused)?;
        let masked = <[u8; 8]>::try_from(masked).map_err(|_| refused())?;
        let row = RowId(u64::from_le_bytes(masked) ^ mask(key, claimed));
        if bool::from(tag(key, scope, row).ct_eq(claimed)) { Ok(row) } else { Err(refused()) }
    }
}

/// Authenticates the row for this list of this user. The key is the tenant's own, of one incarnation and epoch, so
/// neither needs to be in the message.
fn tag(key: &Secret<64>, scope: &CursorScope<'_>, row: RowId) -> [u8; TAG_BYTES] {
    let user = scope.user.to_bytes();
    let private = [u8::from(scope.area.private)];
    let namespace = scope.area.namespace.as_str().as_bytes();
    first(key, &[b"tag", &user, &private, namespace, scope.query, &row.0.to_le_bytes()])
}

/// Hides the row number: rows are counted over the whole tenant, other users' private namespaces included.
fn mask(key: &Secret<64>, tag: &[u8; TAG_BYTES]) -> u64 {
    u64::from_le_bytes(first(key, &[b"mask", tag]))
}

/// The first bytes of HMAC-SHA256 over length-prefixed fields.
fn first<const N: usize>(key: &Secret<64>, fields: &[&[u8]]) -> [u8; N] {
    let mut mac = Hmac::<Sha256>::new(key.expose().into());
    mac.update(&length_prefixed(fields));
    let code = mac.finalize().into_bytes();
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(code) {
        *to = from;
    }
    out
}
