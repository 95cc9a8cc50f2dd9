//! One open tenant: everything that may be done with its file, each step demanding a proof from the gate.

pub(crate) mod audit;
pub(crate) mod change;
pub(crate) mod commit;
pub(crate) mod cursor;
pub(crate) mod feed;
pub(crate) mod filter;
pub(crate) mod list;
pub(crate) mod memory;
pub(crate) mod namespace;
pub(crate) mod once;
pub(crate) mod open;
pub(crate) mod patch;
pub(crate) mod place;
pub(crate) mod question;
pub(crate) mod read;
pub(crate) mod recall;
pub(crate) mod selection;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod sweep;
pub(crate) mod transact;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod write;
