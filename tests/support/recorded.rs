//! A disk that remembers what was written and what was forgotten: every write with its bytes, and what stable storage
//! still has of a file whose last name is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use watertight::disk::{Disk, DiskFile, EntryInfo};

/// One file, whatever its name is now.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The name it had last.
    pub path: PathBuf,
    /// What a sync made durable last.
    pub stable: Vec<u8>,
    /// Everything that a sync ever made durable, one after the other.
    pub history: Vec<Vec<u8>>,
    cache: Vec<u8>,
    /// What was durable when its last name was taken away by a removal.
    pub removed: Option<Vec<u8>>,
}

/// A write to a file.
#[derive(Debug, Clone)]
pub struct Write {
    pub path: PathBuf,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Journal {
    files: Vec<Kept>,
    names: BTreeMap<PathBuf, usize>,
    /// Those without a name, in the order in which they lost it.
    forgotten: Vec<usize>,
    writes: Vec<Write>,
}

impl Journal {
    /// The file of this name, which may be older than the recording.
    fn file(&mut self, path: &Path, content: impl FnOnce() -> Vec<u8>) -> usize {
        if let Some(number) = self.names.get(path) {
            return *number;
        }
        let stable = content();
        let history = vec![stable.clone()];
        let file = Kept { path: path.to_owned(), cache: stable.clone(), stable, history, removed: None };
        self.files.push(file);
        self.names.insert(path.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }
}

/// Over any other disk.
#[derive(Clone)]
pub struct RecordedDisk {
    disk: Arc<dyn Disk>,
    journal: Arc<Mutex<Journal>>,
}

struct RecordedFile {
    file: Box<dyn DiskFile>,
    journal: Arc<Mutex<Journal>>,
    number: usize,
}

impl fmt::Debug for RecordedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedDisk")
    }
}

impl fmt::Debug for RecordedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordedFile")
    }
}

impl RecordedDisk {
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, journal: Arc::default() }
    }

    /// Everything that was written so far.
    pub fn writes(&self) -> Vec<Write> {
        self.journal.lock().writes.clone()
    }

    /// The files that have no name any more, in the order in which they lost it.
    pub fn forgotten(&self) -> Vec<Kept> {
        let journal = self.journal.lock();
        journal.forgotten.iter().map(|number| journal.files[*number].clone()).collect()
    }

    fn content(&self, path: &Path) -> Vec<u8> {
        let Ok(file) = self.disk.open(path) else { return Vec::new() };
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(0, &mut bytes).unwrap();
        bytes
    }

    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let number = self.journal.lock().file(path, || self.content(path));
        Box::new(RecordedFile { file, journal: self.journal.clone(), number })
    }
}

impl Disk for RecordedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(path, self.disk.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.wrap(path, self.disk.create(path)?))
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directory(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let number = journal.file(from, || self.content(from));
        let replaced = self.disk.inspect(to)?.is_some().then(|| journal.file(to, || self.content(to)));
        self.disk.rename(from, to)?;
        journal.forgotten.extend(replaced);
        journal.names.remove(from);
        journal.names.insert(to.to_owned(), number);
        journal.files[number].path = to.to_owned();
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut journal = self.journal.lock();
        if self.disk.inspect(path)?.is_some() {
            let number = journal.file(path, || self.content(path));
            journal.files[number].removed = Some(journal.files[number].stable.clone());
            journal.forgotten.push(number);
            journal.names.remove(path);
        }
        self.disk.remove(path)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_directory(path)
    }
    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        self.disk.inspect(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
}

impl DiskFile for RecordedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)?;
        let mut journal = self.journal.lock();
        let file = &mut journal.files[self.number];
        let end = offset as usize + bytes.len();
        file.cache.resize(file.cache.len().max(end), 0);
        file.cache[offset as usize..end].copy_from_slice(bytes);
        let path = file.path.clone();
        journal.writes.push(Write { path, offset, bytes: bytes.to_vec() });
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.journal.lock().files[self.number].cache.resize(len as usize, 0);
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        let mut journal = self.journal.lock();
        let file = &mut journal.files[self.number];
        file.stable = file.cache.clone();
        // Small files are keys; the whole history of a data file would be large.
        if file.stable.len() <= 4_096 {
            file.history.push(file.stable.clone());
        }
        Ok(())
    }
    fn evict(&self) -> io::Result<bool> {
        self.file.evict()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
