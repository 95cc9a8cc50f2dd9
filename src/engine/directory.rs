//! The data directory of an engine: opened once, and locked as long as the engine is open.

use std::path::{Path, absolute};
use std::sync::Arc;

use crate::error::{Reason, Result};
use crate::process::Process;
use crate::store::directory::{TEMPORARY, directory_exists, ensure_directory, file_exists};
use crate::store::file::{Disk, DiskFile, OpenDirectory};
use crate::store::layout::Layout;

/// A data directory that nobody else has open. What is asked of its name is asked here and once.
pub(super) struct DataDirectory {
    /// With paths that the layout gives.
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layout: Layout,
    pub(super) lock: DirectoryLock,
}

/// One engine at a time. The locks are the operating system's, so they go with the process.
pub(super) struct DirectoryLock {
    /// The directory itself, whatever becomes of the names in it. Not every file system locks directories.
    directory: Option<Arc<dyn OpenDirectory>>,
    /// The file LOCK.
    file: Box<dyn DiskFile>,
    process: Process,
}

impl DataDirectory {
    /// Opens the directory, making it if it does not exist.
    ///
    /// # Errors
    /// `Unavailable` when another engine has it open, or its owner or mode is wrong; `Damaged` when it is not ours.
    pub(super) fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self> {
        ensure_directory(&*disk, path)?;
        let opened = disk.open_directory(path)?;
        let (disk, layout) = match &opened {
            Some(directory) => {
                let disk: Arc<dyn Disk> = directory.clone();
                (disk, Layout::new(Path::new("")))
            }
            // The working directory may change.
            None => (disk, Layout::new(&absolute(path)?)),
        };
        // What was opened, which need not be what had the name before.
        directory_exists(&*disk, layout.root())?;
        let directory = match opened {
            Some(directory) => match directory.try_lock() {
                Ok(true) => Some(directory),
                Ok(false) => return Err(Reason::InUse.into()),
                Err(error) => {
                    // Some network file systems lock files alone. Then LOCK is all there is.
                    tracing::warn!(kind = ?error.kind(), "the data directory itself cannot be locked");
                    None
                }
            },
            None => None,
        };
        // A directory that is not ours gets no file of ours.
        refuse_foreign(&*disk, &layout)?;
        let path = layout.lock();
        let file = if file_exists(&*disk, &path)? { disk.open(&path)? } else { disk.create(&path)? };
        if !file.try_lock()? {
            return Err(Reason::InUse.into());
        }
        Ok(Self { disk, layout, lock: DirectoryLock { directory, file, process: Process::this() } })
    }
}

impl DirectoryLock {
    /// A fork shares the locks: to release them there would release them here.
    pub(super) fn unlock(&self) -> Result<()> {
        self.process.check_by_id()?;
        let file = self.file.unlock();
        if let Some(directory) = &self.directory {
            directory.unlock()?;
        }
        Ok(file?)
    }
}

/// Only an empty directory, or one with our FORMAT, is opened.
fn refuse_foreign(disk: &dyn Disk, layout: &Layout) -> Result<()> {
    if file_exists(disk, &layout.format())? {
        return Ok(());
    }
    let ours = ["LOCK".to_owned(), format!("FORMAT{TEMPORARY}")];
    if disk.list(layout.root())?.iter().all(|name| ours.contains(name)) {
        return Ok(());
    }
    Err(Reason::ForeignFile("a directory with content but without our FORMAT file").into())
}
