//! redb's storage over sealed pages.
//!
//! On disk: header copies at 0 and 8,192, data slots from 16,384. redb rewrites its header (page 0) in place, so it
//! lives in two alternating copies: a write goes to the copy that is *not* the last synced one, and opening takes
//! the authentic copy with the highest counter whose file is long enough. A torn header write therefore never
//! destroys the last committed header. After each commit, and durably at close, both copies are made the same, so
//! that one rotten copy loses nothing.
//!
//! Pages are held back until the next sync, or until there are many, and then sealed and written in runs: nothing is
//! promised before a sync. A file that is opened is **unarmed**: what redb writes at open and close stays in memory, and
//! so a file that is only read is neither written nor synced. [`PageFile::arm`] comes before the first transaction.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock, RwLockUpgradableReadGuard};
use redb::{BackendError, StorageBackend};

use super::fault::{damaged_file, damaged_page};
use super::file::DiskFile;
use crate::crypto::page::{HeaderStamp, PAGE_BYTES, PageCipher, SLOT_BYTES};

const PAGE: u64 = PAGE_BYTES as u64;
const SLOT: u64 = SLOT_BYTES as u64;
const HEADER_AT: [u64; 2] = [0, 8_192];
const DATA_AT: u64 = 16_384;
/// Pages written with one call of the file system at most.
const RUN_PAGES_MAX: usize = 64;
/// Pages held back at most before they are written without waiting for a sync.
const HELD_PAGES_MAX: usize = 512;

/// One open file under redb. Cheap to clone: redb owns one clone, the database that watches it another.
#[derive(Debug, Clone)]
pub(crate) struct PageFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn DiskFile>,
    sealing: Sealing,
    pages_read: AtomicU64,
    pages_written: AtomicU64,
    syncs: AtomicU64,
    /// Something was written that is not synced yet.
    unsynced: AtomicBool,
    /// A write failed on which the next sync depends. redb gives the instance up, and closing it must not write what
    /// was held back.
    write_failed: AtomicBool,
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
    /// The counter of the header that the file was opened with.
    opened_at: u64,
    /// Logical length: what redb believes the file to be.
    len: AtomicU64,
    /// Taken before `held`.
    header: Mutex<Header>,
    /// Data pages that are not written yet, by number.
    held: RwLock<BTreeMap<u64, Box<[u8; PAGE_BYTES]>>>,
    /// How many those are; readers that find none look no further.
    held_count: AtomicUsize,
    armed: AtomicBool,
}

#[derive(Debug)]
struct Header {
    page: Box<[u8; PAGE_BYTES]>,
    /// The page is newer than both copies.
    changed: bool,
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

/// What has passed between redb and a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) pages_read: u64,
    pub(crate) pages_written: u64,
    pub(crate) syncs: u64,
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
            changed: false,
            counter: 0,
            len: 0,
            durable: Copy::Second,
            pending: false,
            mirrored: false,
        };
        Self::sealed(file, cipher, header, 0, true)
    }

    /// An existing file, unarmed: its newest authentic header copy decides what is in it.
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
        let (counter, len) = (stamp.counter, stamp.logical_len);
        let header = Header { page, changed: false, counter, len, durable, pending: false, mirrored };
        Ok(Self::sealed(file, cipher, header, len, false))
    }

    fn sealed(file: Box<dyn DiskFile>, cipher: PageCipher, header: Header, len: u64, armed: bool) -> Self {
        let sealed = Sealed {
            cipher,
            opened_at: header.counter,
            len: AtomicU64::new(len),
            header: Mutex::new(header),
            held: RwLock::default(),
            held_count: AtomicUsize::new(0),
            armed: AtomicBool::new(armed),
        };
        Self::over(file, Sealing::Sealed(Box::new(sealed)))
    }

    fn over(file: Box<dyn DiskFile>, sealing: Sealing) -> Self {
        let [unsynced, write_failed, sync_failed] = [(); 3].map(|()| AtomicBool::new(false));
        let [pages_read, pages_written, syncs] = [(); 3].map(|()| AtomicU64::new(0));
        let inner = Inner { file, sealing, pages_read, pages_written, syncs, unsynced, write_failed, sync_failed };
        Self(Arc::new(inner))
    }

    /// From here on writes reach the file: first, with a sync, those that were kept in memory.
    pub(crate) fn arm(&self) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return Ok(()) };
        if sealed.is_armed() {
            return Ok(());
        }
        let mut header = sealed.header.lock();
        // What a process wrote that was then killed may be nowhere but in the system's cache, the header that counts
        // included. It must be on the device before the other copy is written over.
        self.0.unsynced.store(true, Ordering::Release);
        self.0.sync_file()?;
        let end = physical_end(sealed.len.load(Ordering::Acquire) / PAGE);
        let before = self.0.file.len()?;
        // The file grows before a header names its length, and is cut after one does.
        if before < end {
            self.0.set_file_len(end)?;
        }
        self.0.flush(sealed)?;
        sealed.armed.store(true, Ordering::Release);
        self.0.sync(sealed, &mut header)?;
        if before > end {
            self.0.set_file_len(end)?;
        }
        Ok(())
    }

    /// Whether writes reach the file.
    pub(crate) fn is_armed(&self) -> bool {
        match &self.0.sealing {
            Sealing::None => true,
            Sealing::Sealed(sealed) => sealed.is_armed(),
        }
    }

    /// What has passed between redb and the file since it was opened.
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            pages_read: self.0.pages_read.load(Ordering::Relaxed),
            pages_written: self.0.pages_written.load(Ordering::Relaxed),
            syncs: self.0.syncs.load(Ordering::Relaxed),
        }
    }

    /// Whether data pages are held back. Right after opening they are what a repair has written.
    pub(crate) fn holds_pages(&self) -> bool {
        matches!(&self.0.sealing, Sealing::Sealed(sealed) if sealed.held_count.load(Ordering::Acquire) > 0)
    }

    /// Bytes of memory that held pages take.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.0.sealing {
            Sealing::None => 0,
            Sealing::Sealed(sealed) => sealed.held_count.load(Ordering::Relaxed).saturating_mul(PAGE_BYTES),
        }
    }

    /// The counter of the header when the file was opened, and now. It never falls. Zero for plaintext files, which have
    /// none.
    pub(crate) fn header_counters(&self) -> (u64, u64) {
        match &self.0.sealing {
            Sealing::None => (0, 0),
            Sealing::Sealed(sealed) => (sealed.opened_at, sealed.header.lock().counter),
        }
    }

    /// Whether a sync of this file failed since it was opened.
    pub(crate) fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Acquire)
    }

    /// Whether a write or a sync of this file failed since it was opened.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.check_usable().is_err()
    }

    /// Writes the committed header over the older copy, without a sync: it reaches the device with the next one.
    pub(crate) fn mirror(&self) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return Ok(()) };
        self.0.mirror(sealed, &mut sealed.header.lock())
    }

    /// After a failed sync and a confirmed eviction: arms the file and writes both header copies, each with a sync, so
    /// that what was just read back from the device is certain to stay.
    pub(crate) fn rewrite_headers(&self) -> io::Result<()> {
        let Sealing::Sealed(sealed) = &self.0.sealing else { return Ok(()) };
        self.arm()?;
        let mut header = sealed.header.lock();
        for _ in 0..2 {
            header.changed = true;
            self.0.sync(sealed, &mut header)?;
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
        if self.sync_failed.load(Ordering::Acquire) || self.write_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier write or sync of this file failed"));
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_usable()?;
        self.unsynced.store(true, Ordering::Release);
        self.file.write_at(offset, bytes)
    }

    fn set_file_len(&self, len: u64) -> io::Result<()> {
        self.check_usable()?;
        self.unsynced.store(true, Ordering::Release);
        self.file.set_len(len).inspect_err(|_| self.give_up())
    }

    /// Seals the held pages and writes them, in runs of neighbours.
    fn flush(&self, sealed: &Sealed) -> io::Result<()> {
        // Readers go on meanwhile.
        let held = sealed.held.upgradable_read();
        let mut numbers = held.keys().copied().peekable();
        let (mut plain, mut slots) = (Vec::new(), Vec::new());
        while let Some(first) = numbers.next() {
            let mut count = 1;
            while count < RUN_PAGES_MAX && numbers.next_if_eq(&first.saturating_add(count as u64)).is_some() {
                count += 1;
            }
            plain.clear();
            held.range(first..).take(count).for_each(|(_, page)| plain.extend_from_slice(&**page));
            slots.clear();
            slots.resize(count * SLOT_BYTES, 0);
            sealed.cipher.seal_pages(first, &plain, &mut slots).map_err(|_| io::Error::other("sealing failed"))?;
            self.write_at(physical_end(first), &slots).inspect_err(|_| self.give_up())?;
        }
        RwLockUpgradableReadGuard::upgrade(held).clear();
        sealed.held_count.store(0, Ordering::Release);
        Ok(())
    }

    /// Writes the header page with the next counter to the copy that is not durable.
    fn write_header(&self, sealed: &Sealed, header: &mut Header) -> io::Result<()> {
        header.counter = header.counter.checked_add(1).ok_or_else(|| damaged_file("its header counter is used up"))?;
        header.len = sealed.len.load(Ordering::Acquire);
        header.pending = true;
        header.mirrored = false;
        self.write_copy(sealed, header, header.durable.other()).inspect_err(|_| self.give_up())?;
        header.changed = false;
        Ok(())
    }

    fn give_up(&self) {
        self.write_failed.store(true, Ordering::Release);
    }

    fn mirror(&self, sealed: &Sealed, header: &mut Header) -> io::Result<()> {
        if header.mirrored || header.pending || header.changed || header.counter == 0 || !sealed.is_armed() {
            return Ok(());
        }
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
        self.write_at(copy.offset(), &*slot)
    }

    /// Makes everything durable that redb has written so far.
    fn sync(&self, sealed: &Sealed, header: &mut Header) -> io::Result<()> {
        self.flush(sealed)?;
        if header.changed {
            self.write_header(sealed, header)?;
        }
        self.sync_file()?;
        if std::mem::take(&mut header.pending) {
            header.durable = header.durable.other();
        }
        Ok(())
    }

    fn sync_file(&self) -> io::Result<()> {
        self.check_usable()?;
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))
    }
}

impl Sealed {
    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    /// Copies into `out` those pages from `number` on that are held, and gives how many those are.
    fn read_held(&self, number: u64, out: &mut [u8]) -> usize {
        if self.held_count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let held = self.held.read();
        let mut found = 0;
        for (number, page) in (number..).zip(out.as_chunks_mut::<PAGE_BYTES>().0) {
            if let Some(kept) = held.get(&number) {
                page.copy_from_slice(&**kept);
                found += 1;
            }
        }
        found
    }

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
        self.0.pages_read.fetch_add((out.len() / PAGE_BYTES) as u64, Ordering::Relaxed);
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.file.read_at(offset, out) };
        let end = sealed.check_range(offset, out.len())?;
        if end <= PAGE {
            let header = sealed.header.lock();
            let (from, to) = (header_index(offset), header_index(end));
            out.copy_from_slice(header.page.get(from..to).ok_or(io::ErrorKind::InvalidInput)?);
            return Ok(());
        }
        let (number, at, bytes) = Sealed::data_place(offset, out.len())?;
        match sealed.read_held(number, out) {
            0 => {}
            held if held == out.len() / PAGE_BYTES => return Ok(()),
            // redb writes and reads the same runs of pages, so that this does not happen: page by page, then.
            _ => {
                return (0..out.len() / PAGE_BYTES).try_for_each(|at| {
                    let from = at * PAGE_BYTES;
                    let page = out.get_mut(from..from + PAGE_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
                    self.read(offset + from as u64, page)
                });
            }
        }
        let mut slots = vec![0; bytes];
        self.0.file.read_at(at, &mut slots)?;
        sealed.cipher.open_pages(number, &slots, out).map_err(|_| damaged_page())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.check_usable()?;
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.set_file_len(len) };
        if !len.is_multiple_of(PAGE) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a whole number of pages"));
        }
        let mut header = sealed.header.lock();
        let before = sealed.len.swap(len, Ordering::AcqRel);
        if len < before {
            sealed.held.write().retain(|number, _| *number < len / PAGE);
        }
        if !sealed.is_armed() {
            return Ok(());
        }
        if len < before {
            // The shorter length must be durable before the file is cut, or a crash between the two leaves a
            // header that names more than there is, which reads as a truncated file.
            header.changed = true;
            self.0.sync(sealed, &mut header)?;
        }
        let physical = if len == 0 { 0 } else { physical_end(len / PAGE) };
        self.0.set_file_len(physical)
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.0.sealing {
            Sealing::None => self.0.sync_file(),
            Sealing::Sealed(sealed) if sealed.is_armed() => self.0.sync(sealed, &mut sealed.header.lock()),
            Sealing::Sealed(_) => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.check_usable()?;
        self.0.pages_written.fetch_add((data.len() / PAGE_BYTES) as u64, Ordering::Relaxed);
        let Sealing::Sealed(sealed) = &self.0.sealing else { return self.0.write_at(offset, data) };
        let end = sealed.check_range(offset, data.len())?;
        if end <= PAGE {
            let mut header = sealed.header.lock();
            let (from, to) = (header_index(offset), header_index(end));
            header.page.get_mut(from..to).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(data);
            header.changed = true;
            return Ok(());
        }
        let (number, ..) = Sealed::data_place(offset, data.len())?;
        let many = {
            let mut held = sealed.held.write();
            for (number, page) in (number..).zip(data.as_chunks::<PAGE_BYTES>().0) {
                held.insert(number, Box::new(*page));
            }
            sealed.held_count.store(held.len(), Ordering::Release);
            held.len() > HELD_PAGES_MAX
        };
        match (many, sealed.is_armed()) {
            (false, _) => Ok(()),
            (true, true) => self.0.flush(sealed),
            // Only a repair writes so much before a transaction.
            (true, false) => self.arm(),
        }
    }

    fn close(&self) -> io::Result<()> {
        let settled = match &self.0.sealing {
            // What an unarmed file holds goes with it.
            Sealing::Sealed(sealed) if self.0.check_usable().is_ok() && sealed.is_armed() => {
                let mut header = sealed.header.lock();
                let synced = self.0.sync(sealed, &mut header);
                synced.and_then(|()| self.0.mirror(sealed, &mut header)).and_then(|()| self.0.sync_file())
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
