//! HMAC-SHA256 (RFC 2104) under the engine's own keys.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::Secret;
use super::stack::with_wiped_stack;

/// The code of these parts, one after the other. Where they begin and end must be clear from the parts themselves.
pub(crate) fn mac(key: &Secret<64>, parts: &[&[u8]]) -> [u8; 32] {
    with_wiped_stack(|| {
        let mut mac = Hmac::<Sha256>::new(key.expose().into());
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    })
}
