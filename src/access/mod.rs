//! Who may do what: the gate that every operation passes, and the policy that it asks.

pub(crate) mod admission;
pub(crate) mod attenuation;
pub(crate) mod door;
pub(crate) mod gate;
pub(crate) mod inquiry;
#[cfg(feature = "internals")]
pub mod internals;
pub(crate) mod live;
pub(crate) mod pattern;
pub(crate) mod permission;
pub(crate) mod policy;
pub(crate) mod refusal;
pub(crate) mod role;
pub(crate) mod standing;
pub(crate) mod state;
