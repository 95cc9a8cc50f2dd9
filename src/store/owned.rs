//! The disk of one process: after a fork the other process reads and writes nothing through it.
//!
//! Gates and files refuse earlier. This is for what was under way at the fork, such as the code of a transaction, and for
//! whatever is dropped in the other process.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{Disk, DiskFile, EntryInfo, OpenDirectory};
use crate::process::Process;

/// A disk, or an open directory, that serves the process in which it was made.
#[derive(Debug)]
pub(crate) struct OwnedDisk<D: ?Sized = dyn Disk> {
    disk: Arc<D>,
    process: Process,
}

#[derive(Debug)]
struct OwnedFile {
    file: Box<dyn DiskFile>,
    process: Process,
}

impl OwnedDisk {
    pub(crate) fn over(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
        Arc::new(Self { disk, process: Process::this() })
    }
}

impl<D: Disk + ?Sized> OwnedDisk<D> {
    fn own(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(OwnedFile { file, process: self.process.clone() })
    }
}

fn check(process: &Process) -> io::Result<()> {
    process.check_by_id().map_err(io::Error::other)
}

/// A page is read so often that the operating system is not asked each time.
fn check_read(process: &Process) -> io::Result<()> {
    process.check().map_err(io::Error::other)
}

impl<D: Disk + ?Sized> Disk for OwnedDisk<D> {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        check(&self.process)?;
        Ok(self.own(self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        check(&self.process)?;
        Ok(self.own(self.disk.create(path)?))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        check(&self.process)?;
        self.disk.create_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(&self.process)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check(&self.process)?;
        self.disk.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        check(&self.process)?;
        self.disk.remove_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        check(&self.process)?;
        self.disk.sync_directory(path)
    }

    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        check(&self.process)?;
        self.disk.inspect(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        check(&self.process)?;
        self.disk.list(path)
    }

    fn is_owned_by_another(&self, path: &Path) -> io::Result<bool> {
        check(&self.process)?;
        self.disk.is_owned_by_another(path)
    }

    fn open_directory(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDirectory>>> {
        check(&self.process)?;
        let Some(disk) = self.disk.open_directory(path)? else { return Ok(None) };
        Ok(Some(Arc::new(OwnedDisk { disk, process: self.process.clone() })))
    }
}

/// A fork shares locks: to release one there would release it in the process that holds it.
impl OpenDirectory for OwnedDisk<dyn OpenDirectory> {
    fn try_lock(&self) -> io::Result<bool> {
        check(&self.process)?;
        self.disk.try_lock()
    }

    fn unlock(&self) -> io::Result<()> {
        check(&self.process)?;
        self.disk.unlock()
    }
}

impl DiskFile for OwnedFile {
    fn len(&self) -> io::Result<u64> {
        check_read(&self.process)?;
        self.file.len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        check_read(&self.process)?;
        self.file.read_at(offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check(&self.process)?;
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        check(&self.process)?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        check(&self.process)?;
        self.file.sync()
    }

    fn evict(&self) -> io::Result<bool> {
        check(&self.process)?;
        self.file.evict()
    }

    fn try_lock(&self) -> io::Result<bool> {
        check(&self.process)?;
        self.file.try_lock()
    }

    /// As for a directory.
    fn unlock(&self) -> io::Result<()> {
        check(&self.process)?;
        self.file.unlock()
    }
}
