//! The disk of one process: after a fork the other process reads and writes nothing through it.
//!
//! Gates and files refuse earlier. This is for what was under way at the fork, such as the code of a transaction, and for
//! whatever is dropped in the other process.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::file::{Disk, DiskFile, EntryInfo};
use crate::process::{Forked, Process};

/// A disk that serves the process in which it was made.
#[derive(Debug)]
pub(crate) struct OwnedDisk {
    disk: Arc<dyn Disk>,
    process: Process,
}

#[derive(Debug)]
struct OwnedFile {
    file: Box<dyn DiskFile>,
    process: Process,
}

impl OwnedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self { disk, process: Process::this() })
    }

    fn own(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(OwnedFile { file, process: self.process.clone() })
    }
}

fn check(process: &Process) -> io::Result<()> {
    process.check_by_id().map_err(|_| io::Error::other(Forked))
}

/// A page is read so often that the operating system is not asked each time.
fn check_read(process: &Process) -> io::Result<()> {
    process.check().map_err(|_| io::Error::other(Forked))
}

impl Disk for OwnedDisk {
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

    /// A fork shares the lock: to release it here would release it in the process that holds it.
    fn unlock(&self) -> io::Result<()> {
        check(&self.process)?;
        self.file.unlock()
    }
}
