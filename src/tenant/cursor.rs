//! Where a list or a feed goes on: opaque, authenticated, and good only for the one that gave it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::place::Area;
use crate::crypto::format::{CURSOR_MASK, CURSOR_TAG};
use crate::crypto::mac::mac;
use crate::crypto::secret::Secret;
use crate::error::{Error, Result};
use crate::id::{UserId, length_prefixed};

const TAG_BYTES: usize = 16;
/// The mask is two HMAC-SHA256.
const NUMBERS_MAX: usize = 8;

/// Where a list goes on. It belongs to one tenant, user, namespace, selection and order, and ends when the tenant is
/// re-keyed, or its file is put back to a copy from before the cursor was given out. It stays good while memories come and
/// go.
///
/// The text form is safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub(super) String);

/// Where a consumer of a feed stands. It belongs to one tenant, user and namespace, and ends when the tenant is
/// re-keyed, or its file is put back to a copy from before the position was given out.
///
/// The text form is safe in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPosition(pub(super) String);

macro_rules! opaque_text {
    ($($name:ident),*) => {$(
        impl $name {
            /// Takes the text of one that was given out before. Whether it is genuine shows when it is used.
            #[must_use]
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )*};
}
opaque_text!(Cursor, FeedPosition);

/// What a text belongs to, beside the tenant.
#[derive(Debug)]
pub(super) struct CursorScope<'a> {
    pub(super) user: &'a UserId,
    pub(super) area: &'a Area,
    /// What kind of text it is; for lists also selection and order.
    pub(super) query: &'a [u8],
}

/// Seals numbers: nobody can read, make or change them, or use them elsewhere.
pub(super) fn seal<const N: usize>(numbers: [u64; N], key: &Secret<64>, scope: &CursorScope<'_>) -> String {
    let tag = tag(key, scope, &numbers);
    let masked = masked(numbers, key, &tag).into_iter().flat_map(u64::to_le_bytes);
    URL_SAFE_NO_PAD.encode(tag.into_iter().chain(masked).collect::<Vec<_>>())
}

/// The numbers that [`seal`] was given.
///
/// # Errors
/// `InvalidInput` when they were not sealed for this scope.
pub(super) fn open<const N: usize>(text: &str, key: &Secret<64>, scope: &CursorScope<'_>) -> Result<[u64; N]> {
    const { assert!(N <= NUMBERS_MAX) };
    let refused = || {
        Error::invalid(
            "cursor",
            "was not given out for this list or feed, or the tenant was re-keyed since; begin again",
        )
    };
    let mut bytes = [0; TAG_BYTES + 8 * NUMBERS_MAX];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| refused())?;
    let (claimed, rest) = bytes.split_first_chunk::<TAG_BYTES>().ok_or_else(refused)?;
    if length != TAG_BYTES + 8 * N {
        return Err(refused());
    }
    let mut hidden = [0; N];
    for (number, bytes) in hidden.iter_mut().zip(rest.as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    let numbers = masked(hidden, key, claimed);
    if bool::from(tag(key, scope, &numbers).ct_eq(claimed)) { Ok(numbers) } else { Err(refused()) }
}

/// Authenticates the numbers for this use by this user. The key is the tenant's own, of one incarnation and epoch, so
/// neither needs to be in the message.
fn tag(key: &Secret<64>, scope: &CursorScope<'_>, numbers: &[u64]) -> [u8; TAG_BYTES] {
    let user = scope.user.to_bytes();
    let private = [u8::from(scope.area.private)];
    let namespace = scope.area.namespace.as_str().as_bytes();
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let code = code(key, &[CURSOR_TAG, &user, &private, namespace, scope.query, &numbers]);
    let mut tag = [0; TAG_BYTES];
    tag.iter_mut().zip(code).for_each(|(to, from)| *to = from);
    tag
}

/// Hides the numbers: rows and changes are counted over the whole tenant, other users' private namespaces included.
fn masked<const N: usize>(numbers: [u64; N], key: &Secret<64>, tag: &[u8; TAG_BYTES]) -> [u64; N] {
    let mask = [code(key, &[CURSOR_MASK, tag]), code(key, &[CURSOR_MASK, tag, &[1]])];
    let mut out = numbers;
    for (number, mask) in out.iter_mut().zip(mask.iter().flat_map(|half| half.as_chunks::<8>().0)) {
        *number ^= u64::from_le_bytes(*mask);
    }
    out
}

/// HMAC-SHA256 over length-prefixed fields.
fn code(key: &Secret<64>, fields: &[&[u8]]) -> [u8; 32] {
    mac(key, &[&length_prefixed(fields)])
}
