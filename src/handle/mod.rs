//! The capabilities an application holds.

pub(crate) mod audit;
pub(crate) mod memories;
pub(crate) mod tenant;
