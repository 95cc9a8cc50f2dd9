//! redb's storage over sealed pages.
//!
//! On disk: header copies at 0 and 8,192, data slots from 16,384. redb rewrites its header (page 0) in place, so it
//! lives in two alternating copies: a write goes to the copy that is *not* the last synced one, and opening takes
//! the authentic copy with the highest counter whose file is long enough. A torn header write therefore never
//! destroys the last committed header. After each commit, and durably at close, both copies are made the same, so
//! that one rotten copy loses nothing.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

use super::fault::{damaged_file, damaged_page};
use super::file::DiskFile;
use crate::crypto::page::{HeaderStamp, PAGE_BYTES, PageCipher, SLOT_BYTES};

const PAGE: u64 = PAGE_BYTES as u64;
const SLOT: u64 = SLOT_BYTES as u64;
const HEADER_AT: [u64; 2] = [0, 8_192];
const DATA_AT: u64 = 16_384;

/// One open file under redb. Cheap to clone: redb owns one clone, the database that watches it another.
#[derive(Debug, Clone)]
pub(crate) struct PageFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn DiskFile>,
    sealing: Sealing,
    /// A sync failed. What the cache shows may not be on the device, so nothing more is written or acknowledged
    /// until the file is opened anew.
    sync_failed: AtomicBool,
}

#[derive(Debug)]
enum Sealing {
    /// Plaintext pages where redb puts them; for comparison only.
    None,
    Sealed(Box<Sealed>),
}

#[derive(Debug)]
struct Sealed {
    cipher: PageCipher,
    /// Logical length: what redb believes the file to be.
    len: AtomicU64,
    header: Mutex<Header>,
}

#[derive(Debug)]
struct Header {
    page: Box<[u8; PAGE_BYTES]>,
    counter: u64,
    /// Logical length when the page was last written. The file may have grown since, and the copies must agree.
    len: u64,
    /// The copy that holds the last synced header.
    durable: Copy,
    /// The other copy holds a newer header that is not synced yet.
    pending: bool,
    /// Both copies hold the same header.
    mirrored: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    First,
    Second,
}

impl Copy {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn offset(self) -> u64 {
        let [first, second] = HEADER_AT;
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

impl PageFile {
    /// A file of plaintext pages.
    pub(crate) fn plain(file: Box<dyn DiskFile>) -> Self {
        Self::over(file, Sealing::None)
    }

    /// An empty file that redb will lay out.
    pub(crate) fn create(file: Box<dyn DiskFile>, cipher: PageCipher) -> Self {
        let header = Header {
            page: Box::new([0; PAGE_BYTES]),
            counter: 0,
            len: 0,
            durable: Copy::Second,
            pending: false,
            mirrored: false,
        };
        Self::sealed(file, cipher, header, 0)
    }

    /// An existing file: its newest authentic header copy decides what is in it.
    ///
    /// # Errors
    /// `InvalidData` with a marker (see [`super::fault`]) when no copy authenticates or the file is cut short.
    pub(crate) fn open(file: Box<dyn DiskFile>, cipher: PageCipher) -> io::Result<Self> {
        let physical = file.len()?;
        if physical < DATA_AT {
            return Err(damaged_file("shorter than its header"));
        }
        let reach = ((physical - DATA_AT) / SLOT).saturating_add(1).saturating_mul(PAGE);
        let mut authentic = false;
        let mut usable: Vec<(HeaderStamp, Copy, Box<[u8; PAGE_BYTES]>)> = Vec::new();
        for copy in [Copy::First, Copy::Second] {
            let mut slot = Box::new([0; SLOT_BYTES]);
            let mut page = Box::new([0; PAGE_BYTES]);
            file.read_at(copy.offset(), &mut *slot)?;
            let Ok(stamp) = cipher.open_header(copy as usize, &slot, &mut page) else { continue };
            authentic = true;
            // A header that names more than the file has was not synced: its growth would have been synced first.
            if (PAGE..=reach).contains(&stamp.logical_len) {
                usable.push((stamp, copy, page));
            }
        }
        let mirrored = match usable.as_slice() {
            [(first, _, page), (second, _, other)] if first.counter == second.counter => {
                if first != second || page != other {
                    return Err(damaged_file("its header copies contradict each other"));
                }
                true
            }
            _ => false,
        };
        let Some((stamp, durable, page)) = usable.into_iter().max_by_key(|(stamp, ..)| stamp.counter) else {
            let why = if authentic { "cut short" } else { "no header copy authenticates" };
            return Err(damaged_file(why));
        };
        let header = Header { page, counter: stamp.counter, len: stamp.logical_len, durable, pending: false, mirrored };
        Ok(Self::sealed(file, cipher, header, stamp.logical_len))
    }

    fn sealed(file: Box<dyn DiskFile>, cipher: PageCipher, header: Header, len: u64) -> Self {
        let sealed = Sealed { cipher, len: AtomicU64::new(len), header: Mutex::new(header) };
        Self::over(file, Sealing::Sealed(Box::new(sealed)))
    }

    fn over(file: Box<dyn DiskFile>, sealing: Sealing) -> Self {
        Self(Arc::new(Inner { file, sealing, sync_failed: AtomicBool::new(false) }))
    }

    /// Whether a sync of this file failed since it was opened.
    pub(crate) fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Acquire)
    }

    /// Writes the committed header over the older copy, without a sync: it reaches the device with the next one.
    pub(crate) fn mirror(&self) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return Ok(()) };
        self.0.mirror(sealed, &mut sealed.header.lock())
    }

    /// After a failed sync and a confirmed eviction: writes both header copies, each with a sync, so that what was
    /// just read back from the device is certain to stay.
    pub(crate) fn rewrite_headers(&self) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return Ok(()) };
        let mut header = sealed.header.lock();
        for _ in 0..2 {
            self.0.write_header(sealed, &mut header)?;
            self.0.sync(&mut header)?;
        }
        Ok(())
    }

    /// Bytes on disk; redb's own figure for plaintext files.
    pub(crate) fn physical_len(&self) -> io::Result<u64> {
        self.0.file.len()
    }
}

impl Inner {
    fn check_usable(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        Ok(())
    }

    /// Writes the header page with the next counter to the copy that is not durable.
    fn write_header(&self, sealed: &Sealed, header: &mut Header) -> io::Result<()> {
        header.counter = header.counter.checked_add(1).ok_or_else(|| damaged_file("its header counter is used up"))?;
        header.len = sealed.len.load(Ordering::Acquire);
        header.pending = true;
        header.mirrored = false;
        self.write_copy(sealed, header, header.durable.other())
    }

    fn mirror(&self, sealed: &Sealed, header: &mut Header) -> io::Result<()> {
        if header.mirrored || header.pending || header.counter == 0 {
            return Ok(());
        }
        self.check_usable()?;
        self.write_copy(sealed, header, header.durable.other())?;
        header.mirrored = true;
        Ok(())
    }

    fn write_copy(&self, sealed: &Sealed, header: &Header, copy: Copy) -> io::Result<()> {
        let stamp = HeaderStamp { counter: header.counter, logical_len: header.len };
        let mut slot = Box::new([0; SLOT_BYTES]);
        sealed
            .cipher
            .seal_header(copy as usize, stamp, &header.page, &mut slot)
            .map_err(|_| io::Error::other("sealing failed"))?;
        self.file.write_at(copy.offset(), &*slot)
    }

    fn sync(&self, header: &mut Header) -> io::Result<()> {
        self.sync_file()?;
        if std::mem::take(&mut header.pending) {
            header.durable = header.durable.other();
        }
        Ok(())
    }

    fn sync_file(&self) -> io::Result<()> {
        self.check_usable()?;
        self.file.sync().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }
}

impl Sealed {
    fn check_range(&self, offset: u64, length: usize) -> io::Result<u64> {
        let end = offset.checked_add(length as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if end > self.len.load(Ordering::Acquire) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(end)
    }

    /// The page number and physical offset of a run of whole data pages.
    fn data_place(offset: u64, length: usize) -> io::Result<(u64, u64, usize)> {
        if !offset.is_multiple_of(PAGE) || !length.is_multiple_of(PAGE_BYTES) || offset < PAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a whole number of pages"));
        }
        let number = offset / PAGE;
        Ok((number, physical_end(number), length / PAGE_BYTES * SLOT_BYTES))
    }
}

/// Where page `number` starts on disk, which is also where a file of that many pages ends.
fn physical_end(number: u64) -> u64 {
    DATA_AT.saturating_add(number.saturating_sub(1).saturating_mul(SLOT))
}

impl StorageBackend for PageFile {
    fn len(&self) -> io::Result<u64> {
        match &self.0.sealing {
            Sealing::None => self.0.file.len(),
            Sealing::Sealed(sealed) => Ok(sealed.len.load(Ordering::Acquire)),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.file.read_at(offset, out) };
        let end = sealed.check_range(offset, out.len())?;
        if end <= PAGE {
            let header = sealed.header.lock();
            let (from, to) = (header_index(offset), header_index(end));
            out.copy_from_slice(header.page.get(from..to).ok_or(io::ErrorKind::InvalidInput)?);
            return Ok(());
        }
        let (number, at, bytes) = Sealed::data_place(offset, out.len())?;
        let mut slots = vec![0; bytes];
        self.0.file.read_at(at, &mut slots)?;
        sealed.cipher.open_pages(number, &slots, out).map_err(|_| damaged_page())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.check_usable()?;
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.file.set_len(len) };
        if !len.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a whole number of pages"));
        }
        let before = sealed.len.swap(len, Ordering::AcqRel);
        if len < before {
            // The shorter length must be durable before the file is cut, or a crash between the two leaves a
            // header that names more than there is, which reads as a truncated file.
            let mut header = sealed.header.lock();
            self.0.write_header(sealed, &mut header)?;
            self.0.sync(&mut header)?;
        }
        let physical = if len == 0 { 0 } else { physical_end(len / PAGE) };
        self.0.file.set_len(physical)
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.0.sealing {
            Sealing::None => self.0.sync_file(),
            Sealing::Sealed(sealed) => self.0.sync(&mut sealed.header.lock()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.check_usable()?;
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.file.write_at(offset, data) };
        let end = sealed.check_range(offset, data.len())?;
        if end <= PAGE {
            let mut header = sealed.header.lock();
            let (from, to) = (header_index(offset), header_index(end));
            header.page.get_mut(from..to).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(data);
            return self.0.write_header(sealed, &mut header);
        }
        let (number, at, bytes) = Sealed::data_place(offset, data.len())?;
        let mut slots = vec![0; bytes];
        sealed.cipher.seal_pages(number, data, &mut slots).map_err(|_| io::Error::other("sealing failed"))?;
        self.0.file.write_at(at, &slots)
    }

    fn close(&self) -> io::Result<()> {
        let settled = match &self.0.sealing {
            Sealing::Sealed(sealed) if !self.sync_failed() => {
                let mut header = sealed.header.lock();
                let due = !header.mirrored && header.counter > 0;
                self.0.mirror(sealed, &mut header).and_then(|()| if due { self.0.sync_file() } else { Ok(()) })
            }
            _ => Ok(()),
        };
        if self.sync_failed() {
            // Whoever opens the file next must read the device, not what the cache still shows of the failed sync.
            // Where this is not to be had, an in-process reopening is quarantined; see `Live::open`.
            let _ = self.0.file.evict();
        }
        self.0.file.unlock().and(settled)
    }

    // redb locks the whole file or nothing here; the suffix it tries first is not supported, as its contract allows.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        if is_whole(start, end) { Ok(self.0.file.try_lock()?) } else { Err(BackendError::Unsupported) }
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if is_whole(start, end) { Ok(self.0.file.unlock()?) } else { Err(BackendError::Unsupported) }
    }
}

fn is_whole(start: Bound<u64>, end: Bound<u64>) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}

/// An offset inside the header page; checked to be one by the caller.
fn header_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
