//! Pages, files and transactions: everything that touches a disk.

pub(crate) mod file;
