//! From redb's and the file system's failures to ours.

use std::fmt;
use std::io;

use crate::error::{Error, Reason};

/// Carried inside an `io::Error` through redb, which knows no other way.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Page,
    File(&'static str),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page => f.write_str("a page failed authentication"),
            Self::File(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Damage {}

pub(super) fn damaged_page() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damage::Page)
}

pub(super) fn damaged_file(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Damage::File(why))
}

/// An error of file access. It may carry one of our markers; any other content is dropped.
pub(crate) fn from_io(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()) {
        Some(Damage::Page) => Reason::DamagedPage.into(),
        Some(Damage::File(why)) => Reason::DamagedFile(why).into(),
        None => error.into(),
    }
}

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) => from_io(error),
            redb::StorageError::Corrupted(_) => Reason::DamagedFile("its trees are inconsistent").into(),
            redb::StorageError::ValueTooLarge(actual) => {
                Reason::TooLarge { what: "stored value", limit: u64::from(u32::MAX), actual: actual as u64 }.into()
            }
            // `PreviousIo` follows an I/O error that was reported already; the others only come with one.
            _ => Reason::Io(io::ErrorKind::Other).into(),
        }
    }
}

impl From<redb::TransactionError> for Error {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            _ => Reason::Io(io::ErrorKind::Other).into(),
        }
    }
}

impl From<redb::TableError> for Error {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            _ => Reason::DamagedFile("a table is missing or of another type").into(),
        }
    }
}

impl From<redb::DatabaseError> for Error {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(error) => error.into(),
            redb::DatabaseError::DatabaseAlreadyOpen => Reason::InUse.into(),
            redb::DatabaseError::UpgradeRequired(version) => {
                Reason::FormatVersion { found: u32::from(version), supported: 3 }.into()
            }
            _ => Reason::DamagedFile("it could not be repaired").into(),
        }
    }
}

/// Whether redb must be closed and opened again after this error: it latches any I/O error, a failed read included.
pub(super) fn ends_instance(error: &Error) -> bool {
    matches!(
        error.reason(),
        Reason::Io(_) | Reason::DiskFull | Reason::DamagedPage | Reason::DamagedFile(_) | Reason::CommitUnknown
    )
}
