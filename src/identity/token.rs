//! The text of a token: its three parts, and everything that can be wrong with it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{Claims, Fault};
use crate::id::Issuer;
use crate::limits::TOKEN_BYTES_MAX;

/// The issuer that a token claims, without any proof: good for choosing a verifier and for nothing else.
pub(crate) fn unverified_issuer(token: &str) -> Option<Issuer> {
    let payload = decode_object(Parts::of(token).ok()?.payload).ok()?;
    Issuer::new(payload.text("iss").ok()?).ok()
}

/// The three parts of a token, still encoded, and the text that is signed.
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    pub(super) signed: &'a str,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, Cause> {
        // Before anything looks at the bytes.
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Cause::Length);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Cause::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(Cause::Parts)?;
        if payload.contains('.') {
            return Err(Cause::Parts);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

/// Canonical base64url (no padding, no whitespace, no stray bits) of one strict JSON object.
pub(super) fn decode_object(part: &str) -> Result<Claims, Cause> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Cause::Encoding)?;
    Claims::parse(&bytes).ok_or(Cause::Json)
}

/// Why a token was refused. It goes to the log and nowhere else: told to the caller, it would help who probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Length,
    Parts,
    Encoding,
    Json,
    Header(&'static str, Fault),
    Extension,
    TokenType,
    UnknownKey,
    Algorithm,
    Signature,
    Claim(&'static str, Fault),
    Issuer,
    Audience,
    Expired,
    NotYet,
    Lifetime,
    TenantOfOperator,
    /// There is no key set to check it with.
    NoKeys(Duration),
    /// The key is another issuer's.
    KeyIssuer,
    TokenUse,
    GroupsElsewhere,
    /// The tenant it names is not among those that it lists.
    Membership,
}
