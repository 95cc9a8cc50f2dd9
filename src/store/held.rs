//! A directory of the operating system that is used by its handle.
//!
//! A path is an instruction, and what it leads to changes: by a change of the working directory, a rename, a mount. Who
//! destroys a key by its path may therefore find nothing there and call it destroyed. From an open handle everything is
//! reached by `openat` and its family, one directory after the other, and no link is followed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, renameat, statat, unlinkat};

use super::file::{Disk, DiskFile, EntryInfo, EntryKind, OpenDirectory, SystemFile};
use crate::error::{Error, Reason};

/// An open directory, and those right below it that were used so far.
#[derive(Debug)]
pub(super) struct HeldDirectory {
    root: File,
    /// By name. While a handle is held the system gives its number to no other directory.
    inner: Mutex<BTreeMap<OsString, OwnedFd>>,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDWR.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl HeldDirectory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed());
        Ok(Self { root: options.open(path)?, inner: Mutex::default() })
    }

    /// A handle of a directory.
    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut at = None;
        for component in path.components() {
            match component {
                Component::Normal(name) => at = Some(self.enter(at.as_ref(), name)?),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            }
        }
        Ok(match at {
            Some(directory) => directory,
            None => self.root.as_fd().try_clone_to_owned()?,
        })
    }

    /// A directory by its name in `at`, or in the root.
    fn enter(&self, at: Option<&OwnedFd>, name: &OsStr) -> io::Result<OwnedFd> {
        let Some(at) = at else {
            let mut inner = self.inner.lock();
            let known = inner.get(name);
            let found = match openat(&self.root, name, DIRECTORY, Mode::empty()) {
                Err(_) if known.is_some() => return Err(exchanged()),
                found => found?,
            };
            match known {
                Some(known) if !is_same(known.as_fd(), found.as_fd())? => return Err(exchanged()),
                Some(_) => {}
                None => drop(inner.insert(name.to_owned(), found.try_clone()?)),
            }
            return Ok(found);
        };
        Ok(openat(at, name, DIRECTORY, Mode::empty())?)
    }

    /// The directory that a name is in, and the name.
    fn locate<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.directory(path.parent().unwrap_or(Path::new("")))?, name))
    }

    /// `None` when nothing has this name.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        if path.as_os_str().is_empty() {
            return Ok(Some(fstat(&self.root)?));
        }
        let found = self.locate(path).and_then(|(at, name)| Ok(statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(stat) => Ok(Some(stat)),
            // The name of a directory before it is missing. That one was exchanged is another matter.
            Err(error) if error.kind() == io::ErrorKind::NotFound && error.get_ref().is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> io::Result<bool> {
    let (a, b) = (fstat(a)?, fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn exchanged() -> io::Error {
    let reason = Reason::Missing("a directory that the engine has opened, unless another one took its place,");
    io::Error::new(io::ErrorKind::NotFound, Error::from(reason))
}

impl OpenDirectory for HeldDirectory {
    fn try_lock(&self) -> io::Result<bool> {
        match self.root.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.root.unlock()
    }
}

impl Disk for HeldDirectory {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (at, name) = self.locate(path)?;
        SystemFile::boxed(openat(at, name, FILE, Mode::empty())?.into())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (at, name) = self.locate(path)?;
        SystemFile::boxed(openat(at, name, FILE | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.locate(path)?;
        Ok(mkdirat(at, name, Mode::RWXU)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.locate(from)?, self.locate(to)?);
        Ok(renameat(from.0, from.1, to.0, to.1)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.locate(path)?;
        Ok(unlinkat(at, name, AtFlags::empty())?)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let (at, name) = self.locate(path)?;
        Ok(unlinkat(at, name, AtFlags::REMOVEDIR)?)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::from(self.directory(path)?).sync_all()
    }

    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        let Some(stat) = self.stat(path)? else { return Ok(None) };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        #[allow(clippy::useless_conversion, reason = "it has 16 bits on other systems")]
        let mode = u32::from(stat.st_mode) & 0o777;
        Ok(Some(EntryInfo { kind, len: u64::try_from(stat.st_size).unwrap_or(0), mode: Some(mode) }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.directory(path)?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn is_owned_by_another(&self, path: &Path) -> io::Result<bool> {
        let stat = self.stat(path)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(stat.st_uid != rustix::process::geteuid().as_raw())
    }

    fn open_directory(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDirectory>>> {
        let root = File::from(self.directory(path)?);
        Ok(Some(Arc::new(Self { root, inner: Mutex::default() })))
    }
}
