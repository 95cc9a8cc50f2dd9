//! The engine's own file: which tenants exist, in what state, and what operators did.

pub(crate) mod api_keys;
pub(crate) mod audit;
mod binding;
mod engine_key;
pub(crate) mod revocations;
pub(crate) mod tenants;
