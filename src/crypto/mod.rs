//! Keys, derivations, sealed envelopes and sealed pages. Nothing here touches a file.

pub(crate) mod catalog_key;
pub(crate) mod credential;
pub(crate) mod derive;
pub(crate) mod engine_key;
pub(crate) mod format;
#[cfg(feature = "internals")]
pub mod internals;
#[cfg(test)]
mod known_answers;
pub(crate) mod mac;
pub(crate) mod page;
pub(crate) mod passphrase;
pub(crate) mod provider;
pub(crate) mod root_key;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod stack;
pub(crate) mod tenant_key;
