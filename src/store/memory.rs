//! A file system in memory, for engines that keep nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::file::{Disk, DiskFile, EntryInfo, EntryKind};

/// Files and directories by path. Everything is gone with the last clone; nothing is ever torn.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<PathBuf, Entry>>>);

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    File(Arc<Content>),
}

#[derive(Debug, Default)]
struct Content {
    bytes: RwLock<Vec<u8>>,
    locked: AtomicBool,
}

/// One open file. The lock goes with the handle that took it.
#[derive(Debug)]
struct Handle {
    content: Arc<Content>,
    holds_lock: AtomicBool,
}

impl MemoryDisk {
    /// An empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&self, path: &Path, entry: Entry) -> io::Result<()> {
        let mut entries = self.0.lock();
        if entries.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        entries.insert(path.to_owned(), entry);
        Ok(())
    }

    fn handle(content: Arc<Content>) -> Box<dyn DiskFile> {
        Box::new(Handle { content, holds_lock: AtomicBool::new(false) })
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.0.lock().get(path) {
            Some(Entry::File(content)) => Ok(Self::handle(content.clone())),
            Some(Entry::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let content = Arc::new(Content::default());
        self.add(path, Entry::File(content.clone()))?;
        Ok(Self::handle(content))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.add(path, Entry::Directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut entries = self.0.lock();
        match entries.remove(from) {
            Some(file @ Entry::File(_)) => {
                entries.insert(to.to_owned(), file);
                Ok(())
            }
            Some(directory) => {
                entries.insert(from.to_owned(), directory);
                Err(io::ErrorKind::IsADirectory.into())
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut entries = self.0.lock();
        match entries.get(path) {
            Some(Entry::File(_)) => {
                entries.remove(path);
                Ok(())
            }
            Some(Entry::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut entries = self.0.lock();
        if entries.keys().any(|other| other.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        match entries.get(path) {
            Some(Entry::Directory) => {
                entries.remove(path);
                Ok(())
            }
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        let entry = self.0.lock().get(path).cloned();
        Ok(entry.map(|entry| match entry {
            Entry::Directory => EntryInfo { kind: EntryKind::Directory, len: 0, mode: None },
            Entry::File(content) => {
                EntryInfo { kind: EntryKind::File, len: content.bytes.read().len() as u64, mode: None }
            }
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = self.0.lock();
        let inside = entries.keys().filter(|other| other.parent() == Some(path));
        Ok(inside.filter_map(|other| Some(other.file_name()?.to_string_lossy().into_owned())).collect())
    }
}

/// A place in a file as memory counts it.
fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.bytes.read().len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (start, bytes) = (place(offset)?, self.content.bytes.read());
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = place(offset)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut content = self.content.bytes.write();
        if content.len() < end {
            content.resize(end, 0);
        }
        content.get_mut(start..end).ok_or(io::ErrorKind::FileTooLarge)?.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content.bytes.write().resize(place(len)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// There is no cache below this memory.
    fn evict(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let taken = !self.content.locked.swap(true, Ordering::AcqRel);
        if taken {
            self.holds_lock.store(true, Ordering::Release);
        }
        Ok(taken)
    }

    fn unlock(&self) -> io::Result<()> {
        if self.holds_lock.swap(false, Ordering::AcqRel) {
            self.content.locked.store(false, Ordering::Release);
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Unlocking memory cannot fail.
        let _ = self.unlock();
    }
}
