//! The engine: opening a data directory, keeping tenants open, and their lifecycle.

mod api_keys;
pub(crate) mod builder;
pub(crate) mod core;
mod destruction;
mod directory;
pub(crate) mod impersonation;
mod keeper;
pub(crate) mod keyring;
pub(crate) mod lifecycle;
mod merger;
pub(crate) mod operator;
pub(crate) mod pool;
pub(crate) mod receipt;
pub(crate) mod rekey;
mod revoke;
pub(crate) mod rotation;
pub(crate) mod slot;
pub(crate) mod stats;
