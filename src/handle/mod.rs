//! The capabilities an application holds.

mod access;
pub(crate) mod api_keys;
pub(crate) mod attenuation;
pub(crate) mod audit;
pub(crate) mod credentials;
pub(crate) mod erasure;
pub(crate) mod listing;
pub(crate) mod memories;
pub(crate) mod namespace;
pub(crate) mod policy;
pub(crate) mod reads;
pub(crate) mod recall;
pub(crate) mod reembed;
pub(crate) mod tenant;
pub(crate) mod transaction;
