//! Durable steps on names: create directories, write small files whole, destroy key files.

use std::io;
use std::path::{Path, PathBuf};

use super::fault::from_io;
use super::file::{Disk, EntryInfo, EntryKind};
use crate::error::{Error, Reason, Result};

/// Ends the name of every file that is being written; such a leftover is never read.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The temporary name beside `path`.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

/// Makes sure a private directory exists and that its name is durable.
///
/// # Errors
/// `Damaged` when the name belongs to a link or a file, `Unavailable` when it is a directory of another user, or one that
/// others can write to.
pub(crate) fn ensure_directory(disk: &dyn Disk, path: &Path) -> Result<()> {
    if !directory_exists(disk, path)? {
        match disk.create_directory(path) {
            // Another tenant with the same first digits was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => drop(directory_exists(disk, path)?),
            made => made?,
        }
    }
    // Also when it was there: whoever made it may not have made it durable yet, or may have failed to.
    Ok(disk.sync_directory(parent(path))?)
}

/// The directory that holds a name; the working directory for a bare relative one.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether a private directory has this name.
///
/// # Errors
/// As [`ensure_directory`].
pub(crate) fn directory_exists(disk: &dyn Disk, path: &Path) -> Result<bool> {
    Ok(entry(disk, path, EntryKind::Directory, "a file or link where a directory belongs")?.is_some())
}

/// Whether a regular file has this name.
///
/// # Errors
/// `Damaged` when a link, a directory or anything else has it, `Unavailable` when it belongs to another user or others can
/// write to it.
pub(crate) fn file_exists(disk: &dyn Disk, path: &Path) -> Result<bool> {
    Ok(file_entry(disk, path)?.is_some())
}

fn file_entry(disk: &dyn Disk, path: &Path) -> Result<Option<EntryInfo>> {
    entry(disk, path, EntryKind::File, "a link or directory where a file belongs")
}

/// What has a name, if it is of this kind, ours, and nobody else can write to it; `other` is the refusal of another kind.
fn entry(disk: &dyn Disk, path: &Path, kind: EntryKind, other: &'static str) -> Result<Option<EntryInfo>> {
    let Some(info) = disk.inspect(path)? else { return Ok(None) };
    if info.kind != kind {
        return Err(Reason::ForeignFile(other).into());
    }
    if info.mode.is_some_and(|mode| mode & 0o022 != 0) {
        return Err(permissions(path, "others can write to it, where none may: chmod go-w"));
    }
    if disk.is_owned_by_another(path)? {
        return Err(permissions(path, "it belongs to another user than the one that the engine runs as: chown"));
    }
    Ok(Some(info))
}

fn permissions(path: &Path, rule: &'static str) -> Error {
    let path = if path.as_os_str().is_empty() { "the data directory".into() } else { path.display().to_string() };
    Reason::Permissions { path, rule }.into()
}

/// Reads a small file of the engine's owner whole; `None` when it does not exist.
///
/// # Errors
/// As for [`file_exists`], and `Unavailable` when others can read it: key files are of this kind.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let Some(info) = file_entry(disk, path)? else { return Ok(None) };
    if info.mode.is_some_and(|mode| mode & 0o077 != 0) {
        return Err(permissions(path, "others can read it, where none may: chmod go="));
    }
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(Reason::DamagedFile("larger than a file of its kind can be").into());
    }
    let mut bytes = vec![0; length];
    file.read_at(0, &mut bytes).map_err(from_io)?;
    Ok(Some(bytes))
}

/// Writes a small file so that after a crash its name has either all of the bytes or what it had before.
pub(crate) fn write_small(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    remove_if_present(disk, &temporary)?;
    let written = (|| {
        let file = disk.create(&temporary)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        drop(file);
        publish(disk, &temporary, path)
    })();
    if written.is_err() {
        // Leave no half-written file behind; the first error is the one that counts.
        let _ = disk.remove(&temporary);
    }
    Ok(written?)
}

/// Gives a finished, synced file its name, and makes the name durable.
pub(crate) fn publish(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    disk.sync_directory(parent(to))
}

/// Overwrites a key file with zeros, syncs it, and leaves its name. Gives whether it was there: an absent file may be
/// destroyed or only away, and the caller must know which.
///
/// The overwrite narrows what a reader of the raw device finds; flash and copy-on-write file systems may keep the
/// old block, which SECURITY.md says.
pub(crate) fn overwrite(disk: &dyn Disk, path: &Path) -> Result<bool> {
    if !file_exists(disk, path)? {
        return Ok(false);
    }
    let file = disk.open(path)?;
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(crate::limits::KEY_FILE_BYTES_MAX);
    file.write_at(0, &vec![0; length])?;
    file.sync()?;
    Ok(true)
}

/// Whether these are the bytes of a key file that was overwritten: no key file begins with a zero.
pub(crate) fn is_overwritten(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Cuts a file to nothing, syncs it, and leaves its name. Gives whether it was there.
pub(crate) fn empty(disk: &dyn Disk, path: &Path) -> Result<bool> {
    if !file_exists(disk, path)? {
        return Ok(false);
    }
    let file = disk.open(path)?;
    file.set_len(0)?;
    file.sync()?;
    Ok(true)
}

/// Overwrites a key file and removes its name. Gives whether it was there.
pub(crate) fn shred(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let seen = overwrite(disk, path)?;
    remove(disk, path)?;
    Ok(seen)
}

/// Removes a name, if it is there, durably.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    remove_if_present(disk, path)?;
    Ok(disk.sync_directory(parent(path))?)
}

fn remove_if_present(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path).map_err(Error::from) {
        Err(error) if *error.reason() != Reason::Io(io::ErrorKind::NotFound) => Err(error),
        _ => Ok(()),
    }
}
