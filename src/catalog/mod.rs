//! The engine's own file: which tenants exist, in what state, and what operators did.

pub(crate) mod audit;
mod engine_key;
pub(crate) mod tenants;
