//! Vector indexes: one space per namespace, never shared.

pub(crate) mod flat;
pub(crate) mod kernel;
pub(crate) mod space;
pub(crate) mod vector;
