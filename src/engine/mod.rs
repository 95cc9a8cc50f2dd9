//! The engine: opening a data directory, keeping tenants open, and their lifecycle.

mod api_keys;
pub(crate) mod builder;
pub(crate) mod core;
mod keeper;
pub(crate) mod lifecycle;
pub(crate) mod operator;
pub(crate) mod pool;
mod revoke;
pub(crate) mod slot;
pub(crate) mod stats;
