//! Pages, files and transactions: everything that touches a disk.

pub(crate) mod backend;
pub(crate) mod chain;
pub(crate) mod codec;
pub(crate) mod copy;
pub(crate) mod database;
pub(crate) mod directory;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod group;
#[cfg(unix)]
mod held;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod owned;
pub(crate) mod schema;
pub(crate) mod shield;
pub(crate) mod sync;
pub(crate) mod turn;
