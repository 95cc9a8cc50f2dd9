//! Vector indexes: one space per namespace, never shared.

pub(crate) mod bits;
mod codes;
pub(crate) mod effort;
pub(crate) mod embedder;
pub(crate) mod flat;
pub(crate) mod frozen;
mod graph;
pub(crate) mod hashing;
mod integer;
#[cfg(feature = "internals")]
pub mod internals;
pub(crate) mod kernel;
pub(crate) mod metric;
pub(crate) mod nearest;
mod originals;
pub(crate) mod search;
pub(crate) mod segment;
pub(crate) mod settings;
mod sieve;
pub(crate) mod space;
pub(crate) mod vector;
mod walk;
