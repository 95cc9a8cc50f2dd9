//! From a token or the application's word to a verified identity.

pub(crate) mod api_key;
pub(crate) mod authority;
pub(crate) mod claim_path;
pub(crate) mod claims;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod key_source;
pub(crate) mod membership;
pub(crate) mod profile;
pub(crate) mod scope;
#[cfg(feature = "testing")]
pub(crate) mod test_issuer;
pub(crate) mod token;
pub(crate) mod vendors;
pub(crate) mod verified;
