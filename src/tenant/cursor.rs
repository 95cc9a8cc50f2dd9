//! List cursors: opaque, authenticated, and good only for the list that gave them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::namespace::Area;
use crate::crypto::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{RowId, UserId, length_prefixed};

const TAG_BYTES: usize = 16;
const BYTES: usize = 8 + TAG_BYTES;

/// Where a list goes on. It belongs to one tenant, user and namespace, and ends when the tenant is re-keyed.
///
/// The text form is safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

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
    pub(super) fn behind(row: RowId, key: &Secret<64>, user: &UserId, area: &Area) -> Self {
        let row = row.0.to_le_bytes();
        let tag = mac(key, user, area, &row).finalize().into_bytes();
        let bytes: Vec<u8> = row.into_iter().chain(tag.into_iter().take(TAG_BYTES)).collect();
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The row that the list goes on behind.
    ///
    /// # Errors
    /// `InvalidInput` when it was not given out for this list.
    pub(super) fn row(&self, key: &Secret<64>, user: &UserId, area: &Area) -> Result<RowId> {
        let refused = || Error::invalid("cursor", "was not given out for this list");
        let mut bytes = [0; BYTES];
        match URL_SAFE_NO_PAD.decode_slice(&self.0, &mut bytes) {
            Ok(BYTES) => {}
            _ => return Err(refused()),
        }
        let (row, tag) = bytes.split_first_chunk::<8>().ok_or_else(refused)?;
        mac(key, user, area, row).verify_truncated_left(tag).map_err(|_| refused())?;
        Ok(RowId(u64::from_le_bytes(*row)))
    }
}

/// The key is the tenant's own, of one incarnation and epoch, so neither needs to be in the message.
fn mac(key: &Secret<64>, user: &UserId, area: &Area, row: &[u8; 8]) -> Hmac<Sha256> {
    let message =
        length_prefixed(&[&user.to_bytes(), &[u8::from(area.private)], area.namespace.as_str().as_bytes(), row]);
    let mut mac = Hmac::<Sha256>::new(key.expose().into());
    mac.update(&message);
    mac
}
