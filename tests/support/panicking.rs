//! A disk that panics at a chosen operation, as redb does on some damaged files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use watertight::disk::{Disk, DiskFile, EntryInfo};

use super::filled::open_over;
use super::sim_disk::SimDisk;
use super::world::World;

/// A disk whose files panic at a chosen operation, as redb does on some damaged files.
#[derive(Debug)]
struct PanickingDisk {
    disk: SimDisk,
    /// Reads or writes to go before the panic; negative: none is planned.
    countdown: Arc<AtomicI64>,
    on_reads: bool,
    part: String,
}

#[derive(Debug)]
struct PanickingFile {
    file: Box<dyn DiskFile>,
    /// Absent for files that never panic.
    reads: Option<Arc<AtomicI64>>,
    writes: Option<Arc<AtomicI64>>,
}

fn count(countdown: Option<&Arc<AtomicI64>>) {
    assert!(countdown.is_none_or(|left| left.fetch_sub(1, Ordering::SeqCst) != 0), "a planned panic");
}

impl PanickingDisk {
    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let watched = path.to_string_lossy().contains(&self.part).then(|| self.countdown.clone());
        let (reads, writes) = if self.on_reads { (watched, None) } else { (None, watched) };
        Box::new(PanickingFile { file, reads, writes })
    }
}

impl Disk for PanickingDisk {
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
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
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

impl DiskFile for PanickingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        count(self.reads.as_ref());
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        count(self.writes.as_ref());
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        count(self.writes.as_ref());
        self.file.sync()
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

/// An engine whose files with `part` in their path can be made to panic: it, the disk under it, and how many
/// operations are left before the panic, none for a negative number.
pub fn panicking(base: &SimDisk, part: PathBuf, on_reads: bool) -> (World, SimDisk, Arc<AtomicI64>) {
    let disk = base.kill();
    let countdown = Arc::new(AtomicI64::new(-1));
    let part = part.to_string_lossy().into_owned();
    let under = PanickingDisk { disk: disk.clone(), countdown: countdown.clone(), on_reads, part };
    (open_over(Arc::new(under), false).unwrap(), disk, countdown)
}
