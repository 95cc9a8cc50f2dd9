//! From a token or the application's word to a verified identity.

pub(crate) mod scope;
