//! Keys, derivations, sealed envelopes and sealed pages. Nothing here touches a file.

pub(crate) mod credential;
pub(crate) mod derive;
pub(crate) mod engine_key;
pub(crate) mod page;
pub(crate) mod root_key;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod tenant_key;
