//! From a token or the application's word to a verified identity.

pub(crate) mod authority;
pub(crate) mod claims;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod scope;
#[cfg(feature = "testing")]
pub(crate) mod test_issuer;
pub(crate) mod verified;
