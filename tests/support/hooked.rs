//! A disk that tells of every change before it makes it, and of every file that is opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use watertight::disk::{Disk, DiskFile, EntryInfo};

/// Called with the operation and its path, the new one for a rename.
pub type Hook = Arc<dyn Fn(&'static str, &Path) + Send + Sync>;

pub struct HookedDisk {
    pub disk: Arc<dyn Disk>,
    pub hook: Hook,
    /// Tells of syncs and does not do them.
    pub skips_syncs: bool,
}

struct HookedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    hook: Hook,
    skips_syncs: bool,
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedDisk")
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedFile")
    }
}

impl HookedDisk {
    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (path, hook, skips_syncs) = (path.to_owned(), self.hook.clone(), self.skips_syncs);
        Box::new(HookedFile { file, path, hook, skips_syncs })
    }
}

impl Disk for HookedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        (self.hook)("open", path);
        Ok(self.wrap(path, self.disk.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        (self.hook)("create", path);
        Ok(self.wrap(path, self.disk.create(path)?))
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        (self.hook)("create directory", path);
        self.disk.create_directory(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.hook)("rename", to);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.hook)("remove", path);
        self.disk.remove(path)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        (self.hook)("remove directory", path);
        self.disk.remove_directory(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        (self.hook)("sync directory", path);
        if self.skips_syncs { Ok(()) } else { self.disk.sync_directory(path) }
    }
    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        self.disk.inspect(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }
}

impl DiskFile for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (self.hook)("write", &self.path);
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.hook)("set length", &self.path);
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        (self.hook)("sync", &self.path);
        if self.skips_syncs { Ok(()) } else { self.file.sync() }
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

/// The system's disk. What a process has written outlives it without a sync, and most of the time would go into those.
pub fn without_syncs(hook: Hook) -> Arc<dyn Disk> {
    Arc::new(HookedDisk { disk: Arc::new(watertight::disk::SystemDisk), hook, skips_syncs: true })
}

/// A directory with all that is in it.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &to)
        } else {
            assert!(std::fs::copy(entry.path(), to).is_ok())
        }
    }
    // The engine refuses directories that others can write to.
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}
