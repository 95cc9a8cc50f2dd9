//! Vector indexes: one space per namespace, never shared.

pub(crate) mod effort;
pub(crate) mod embedder;
pub(crate) mod flat;
pub(crate) mod hashing;
pub(crate) mod kernel;
pub(crate) mod metric;
pub(crate) mod space;
pub(crate) mod vector;
