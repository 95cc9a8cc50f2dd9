//! All file access: one small trait, so that a simulated file system can stand under everything.
//!
//! [`SystemDisk`] is the operating system. Tests put a simulated disk here that drops, reorders and tears what
//! was not synced.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a directory entry is. Symbolic links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, device, socket or anything else.
    Other,
}

/// What is known of a path without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryInfo {
    /// What it is.
    pub kind: EntryKind,
    /// Length in bytes, for files.
    pub len: u64,
    /// Unix permission bits, where the platform has them.
    pub mode: Option<u32>,
}

/// The file system under an engine.
///
/// Every method fails with the operating system's error; none creates missing parents. Nothing is durable before
/// the matching sync: file content and length by [`DiskFile::sync`], names (created, renamed, removed) by
/// [`Disk::sync_directory`] of their directory.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading and writing. Symbolic links are refused.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file that only its owner can read (mode 0600), failing if the name exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates one directory (mode 0700), failing if the name exists.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// What the path is, or `None` when nothing has this name.
    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>>;
    /// The names in a directory, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether a file or directory belongs to another user than the one that this process acts as. Links are not
    /// followed. Without an implementation nothing belongs to another user.
    fn is_owned_by_another(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(false)
    }

    /// Opens a directory, to be used by its handle and not by its name from then on. `None`, the answer without an
    /// implementation, means that this disk has no such handles: the engine then uses the absolute path.
    fn open_directory(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDirectory>>> {
        let _ = path;
        Ok(None)
    }
}

/// A directory that was opened once. As a [`Disk`] it takes paths relative to this directory, and the empty path is the
/// directory itself.
///
/// It stays the same directory when the working directory changes, when it gets another name, and when something is
/// mounted over it. When a name in it goes to another directory than the one that was used under this name before, every
/// operation below that name is refused.
pub trait OpenDirectory: Disk {
    /// Takes an exclusive lock on the directory without waiting; `Ok(false)` when another holder has it. The lock is
    /// apart from the locks of the files in the directory.
    fn try_lock(&self) -> io::Result<bool>;
    /// Releases the lock.
    fn unlock(&self) -> io::Result<()>;
}

/// One open file.
#[expect(clippy::len_without_is_empty, reason = "an empty data file is an error, not a state to ask for")]
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; reading past the end is `UnexpectedEof`.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or extends the file; new bytes read as zero.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
    /// Drops clean cached pages, so that later reads come from the device. `Ok(true)` only when it is confirmed
    /// that no page stayed; `Ok(false)` where that cannot be known.
    fn evict(&self) -> io::Result<bool>;
    /// Takes an exclusive lock on the whole file without waiting; `Ok(false)` when another holder has it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Releases the lock.
    fn unlock(&self) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // The check against links in `inspect` has a gap before the open; this closes it.
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        }
        SystemFile::boxed(options.open(path)?)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        SystemFile::boxed(options.open(path)?)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(path)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the trait that the others go through")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the trait that the others go through")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(unix)]
        {
            #[expect(clippy::disallowed_methods, reason = "this is the trait that the others go through")]
            File::open(path)?.sync_all()
        }
        #[cfg(not(unix))]
        {
            // Other platforms do not let a directory be opened for a sync; their renames are journaled.
            let _ = path;
            Ok(())
        }
    }

    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kind = match metadata.file_type() {
            t if t.is_file() => EntryKind::File,
            t if t.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        #[cfg(unix)]
        let mode = {
            use std::os::unix::fs::PermissionsExt;
            Some(metadata.permissions().mode() & 0o777)
        };
        #[cfg(not(unix))]
        let mode = None;
        Ok(Some(EntryInfo { kind, len: metadata.len(), mode }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    #[cfg(unix)]
    fn is_owned_by_another(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        Ok(fs::symlink_metadata(path)?.uid() != rustix::process::geteuid().as_raw())
    }

    #[cfg(unix)]
    fn open_directory(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenDirectory>>> {
        Ok(Some(Arc::new(super::held::HeldDirectory::open(path)?)))
    }
}

/// A file of the operating system: one descriptor each.
#[derive(Debug)]
pub(super) struct SystemFile(File);

impl SystemFile {
    pub(super) fn boxed(file: File) -> io::Result<Box<dyn DiskFile>> {
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Box::new(Self(file)))
    }
}

impl DiskFile for SystemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let read = std::os::windows::fs::FileExt::seek_read(&self.0, out, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out = out.get_mut(read..).unwrap_or_default();
            offset += read as u64;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
            offset += written as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn evict(&self) -> io::Result<bool> {
        evict_pages(&self.0, self.len()?)
    }

    #[cfg(not(target_os = "linux"))]
    fn evict(&self) -> io::Result<bool> {
        Ok(false)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

/// Asks the kernel to drop the file's pages, then confirms page by page with reads that must not touch the
/// device: such a read succeeds only from the cache.
#[cfg(target_os = "linux")]
fn evict_pages(file: &File, len: u64) -> io::Result<bool> {
    use rustix::fs::{Advice, fadvise};
    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    const PAGE_BYTES: u64 = 4_096;
    fadvise(file, 0, None, Advice::DontNeed)?;
    let mut byte = [0_u8; 1];
    // A probe may start a read-ahead of what follows it, which a later probe would find: so go backwards.
    for page in (0..len.div_ceil(PAGE_BYTES)).rev() {
        let offset = page * PAGE_BYTES;
        match preadv2(file, &mut [io::IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => {}
            Ok(_) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_of_a_real_file_loses_nothing() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = directory.path().join("file");
        let file = SystemDisk.create(&path).unwrap();
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
        file.write_at(0, &bytes).unwrap();
        file.sync().unwrap();
        // Whether it can be confirmed depends on the file system.
        let confirmed = file.evict().unwrap();
        let mut found = vec![0; bytes.len()];
        file.read_at(0, &mut found).unwrap();
        assert_eq!(found, bytes);
        // What was just read is cached again, unless the file system has no cache to speak of; a claim that nothing
        // stayed must at least not come from dirty pages.
        file.write_at(0, &[1; 4_096]).unwrap();
        assert!(!file.evict().unwrap() || !confirmed || cfg!(not(target_os = "linux")));
    }
}
