//! Who may do what: the gate that every operation passes.

pub(crate) mod admission;
pub(crate) mod gate;
pub(crate) mod state;
