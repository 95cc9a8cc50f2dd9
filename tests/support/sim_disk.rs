//! A file system in memory that loses power: what was not synced is dropped, reordered, torn or scrambled.
//!
//! Every file has two contents, what the cache shows and what is stable. At a crash
//! - each unsynced 512-byte sector independently becomes old, new or garbage;
//! - a changed length becomes old or new; what was cut and extended again reads as zero or old;
//! - of the unsynced names in a directory a prefix or a subset in order survives. Operations that share a name
//!   keep their order: a later one never survives without the earlier. A rename within a directory is one
//!   operation. A rename between directories leaves the file in either or both until both are synced; syncing
//!   only the source can lose it;
//! - locks vanish.
//!
//! Contents are copy-on-write, so a crash image costs about as much as what was unsynced. Everything is
//! deterministic for a seed and an order of calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use watertight::disk::{Disk, DiskFile, EntryInfo, EntryKind};

/// What the disk writes as one piece.
pub const SECTOR_BYTES: u64 = 512;

const BLOCK_BYTES: u64 = 4_096;
const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES / SECTOR_BYTES;
const ROOT: Ino = 0;
const EIO: i32 = 5;

type Ino = u64;
type Block = [u8; BLOCK_BYTES as usize];
type Names = Arc<BTreeMap<Arc<str>, Ino>>;
/// Per block, one bit for each of its sectors.
type SectorSet = BTreeMap<u64, u8>;
type Hook = Box<dyn FnMut(u64) -> bool + Send>;

/// Splitmix64: small, and good enough for choosing what a crash destroys.
#[derive(Clone)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }

    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Sparse bytes. Whatever lies past `len` is zero, so that extending shows zeros.
#[derive(Clone, Default)]
struct Content {
    blocks: Arc<BTreeMap<u64, Arc<Block>>>,
    len: u64,
}

impl Content {
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        for (index, chunk) in (0..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            if chunk.iter().any(|byte| *byte != 0) {
                content.write(index * BLOCK_BYTES, chunk);
            }
        }
        content.len = bytes.len() as u64;
        content
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0; self.len as usize];
        self.read(0, &mut out);
        out
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        for (index, within, part) in blocks_of(offset, out.len()) {
            match self.blocks.get(&index) {
                Some(block) => out[part].copy_from_slice(&block[within]),
                None => out[part].fill(0),
            }
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let blocks = Arc::make_mut(&mut self.blocks);
        for (index, within, part) in blocks_of(offset, bytes.len()) {
            let block = blocks.entry(index).or_insert_with(|| Arc::new([0; BLOCK_BYTES as usize]));
            Arc::make_mut(block)[within].copy_from_slice(&bytes[part]);
        }
        self.len = self.len.max(offset + bytes.len() as u64);
    }

    fn block(&self, index: u64) -> Block {
        self.blocks.get(&index).map_or([0; BLOCK_BYTES as usize], |block| **block)
    }

    fn put(&mut self, index: u64, block: Option<Arc<Block>>) {
        let blocks = Arc::make_mut(&mut self.blocks);
        match block {
            Some(block) => blocks.insert(index, block),
            None => blocks.remove(&index),
        };
    }

    /// Sets the length and clears everything past it.
    fn cut(&mut self, len: u64) {
        self.len = len;
        let end = len.div_ceil(BLOCK_BYTES);
        if self.blocks.range(end..).next().is_some() {
            drop(Arc::make_mut(&mut self.blocks).split_off(&end));
        }
        let kept = (len % BLOCK_BYTES) as usize;
        let index = len / BLOCK_BYTES;
        if kept != 0 && self.blocks.get(&index).is_some_and(|block| block[kept..].iter().any(|byte| *byte != 0)) {
            let mut block = self.block(index);
            block[kept..].fill(0);
            self.put(index, Some(Arc::new(block)));
        }
    }
}

/// The blocks of a byte range: index, range within the block, range within the buffer.
fn blocks_of(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % BLOCK_BYTES) as usize;
        let take = (BLOCK_BYTES as usize - start).min(len - done);
        let piece = (at / BLOCK_BYTES, start..start + take, done..done + take);
        done += take;
        Some(piece)
    })
}

fn sector_range(sector: u64) -> Range<usize> {
    let start = (sector * SECTOR_BYTES) as usize;
    start..start + SECTOR_BYTES as usize
}

fn has(mask: u8, sector: u64) -> bool {
    mask >> sector & 1 == 1
}

fn mask_of(set: &SectorSet, block: u64) -> u8 {
    set.get(&block).copied().unwrap_or(0)
}

/// The sectors of a block that start at `offset` of the file or later.
fn mask_from(block: u64, offset: u64) -> u8 {
    let first = offset.div_ceil(SECTOR_BYTES).saturating_sub(block * SECTORS_PER_BLOCK);
    if first >= SECTORS_PER_BLOCK { 0 } else { u8::MAX << first }
}

/// Takes sectors out of the set, from `block` on.
fn subtract(set: &mut SectorSet, from_block: u64, mask: impl Fn(u64) -> u8) {
    set.range_mut(from_block..).for_each(|(block, bits)| *bits &= !mask(*block));
    set.retain(|_, bits| *bits != 0);
}

#[derive(Clone, Default)]
struct File {
    cache: Content,
    stable: Content,
    /// Written since the last sync.
    dirty: SectorSet,
    /// Cut away since the last sync, while stable storage still has them.
    cut: SectorSet,
    /// Were dirty in a sync that failed: clean, visible, and not on stable storage. Disjoint from `dirty`.
    lost: SectorSet,
    /// The handle that has the lock.
    lock: Option<u64>,
    /// The latest name, which faults are matched with.
    path: PathBuf,
}

impl File {
    fn synced(content: Content, path: PathBuf) -> Self {
        Self { cache: content.clone(), stable: content, path, ..Self::default() }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.cache.write(offset, bytes);
        for sector in offset / SECTOR_BYTES..(offset + bytes.len() as u64).div_ceil(SECTOR_BYTES) {
            self.mark_dirty(sector);
        }
    }

    fn mark_dirty(&mut self, sector: u64) {
        let (block, bit) = (sector / SECTORS_PER_BLOCK, 1_u8 << (sector % SECTORS_PER_BLOCK));
        *self.dirty.entry(block).or_default() |= bit;
        if let Some(lost) = self.lost.get_mut(&block) {
            *lost &= !bit;
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.cache.len {
            self.cache.cut(len);
            if !len.is_multiple_of(SECTOR_BYTES) {
                // File systems clear the rest of the last sector with an ordinary write.
                self.mark_dirty(len / SECTOR_BYTES);
            }
            let first = len / BLOCK_BYTES;
            for block in self.stable.blocks.range(first..).map(|(block, _)| *block) {
                *self.cut.entry(block).or_default() |= mask_from(block, len);
            }
            subtract(&mut self.lost, first, |block| mask_from(block, len));
            // A write within the stable length may have reached the disk before the cut; past it, the file
            // system hands out zeros again.
            let fresh = len.max(self.stable.len);
            subtract(&mut self.dirty, first, |block| mask_from(block, fresh));
        }
        self.cache.len = len;
    }

    fn unsettled(&self) -> BTreeSet<u64> {
        self.dirty.keys().chain(self.cut.keys()).copied().collect()
    }

    fn sync(&mut self) {
        for index in self.unsettled() {
            let (dirty, cut) = (mask_of(&self.dirty, index), mask_of(&self.cut, index));
            let lost = mask_of(&self.lost, index);
            if lost == 0 {
                self.stable.put(index, self.cache.blocks.get(&index).cloned());
                continue;
            }
            let (mut stable, cache) = (self.stable.block(index), self.cache.block(index));
            for sector in 0..SECTORS_PER_BLOCK {
                if has(dirty, sector) || has(cut & !lost, sector) {
                    stable[sector_range(sector)].copy_from_slice(&cache[sector_range(sector)]);
                } else if has(cut, sector) {
                    // The cut arrives; what was written there afterwards was lost by the failed sync.
                    stable[sector_range(sector)].fill(0);
                }
            }
            self.stable.put(index, Some(Arc::new(stable)));
        }
        self.stable.cut(self.cache.len);
        self.dirty.clear();
        self.cut.clear();
    }

    /// What Linux does when the device refuses: the pages are marked clean all the same. Length and cuts are
    /// metadata, which stays pending.
    fn fail_sync(&mut self) {
        for (block, mut mask) in std::mem::take(&mut self.dirty) {
            mask &= !mask_from(block, self.cache.len);
            if mask != 0 {
                *self.lost.entry(block).or_default() |= mask;
            }
        }
    }

    fn evict(&mut self) {
        for (index, lost) in std::mem::take(&mut self.lost) {
            let (mut cache, stable) = (self.cache.block(index), self.stable.block(index));
            let cut = mask_of(&self.cut, index);
            for sector in (0..SECTORS_PER_BLOCK).filter(|sector| has(lost, *sector)) {
                if has(cut, sector) {
                    cache[sector_range(sector)].fill(0);
                } else {
                    cache[sector_range(sector)].copy_from_slice(&stable[sector_range(sector)]);
                }
            }
            self.cache.put(index, Some(Arc::new(cache)));
        }
        self.cache.cut(self.cache.len);
    }

    /// What is found after a crash.
    fn settle(&self, rng: &mut Rng) -> Content {
        let mut image = self.stable.clone();
        let len = if self.cache.len != self.stable.len && rng.coin() { self.cache.len } else { self.stable.len };
        for index in self.unsettled() {
            let (dirty, cut) = (mask_of(&self.dirty, index), mask_of(&self.cut, index));
            let (mut block, cache) = (self.stable.block(index), self.cache.block(index));
            for sector in 0..SECTORS_PER_BLOCK {
                let start = index * BLOCK_BYTES + sector * SECTOR_BYTES;
                if start >= len {
                    break;
                }
                let bytes = &mut block[sector_range(sector)];
                // A length that did not shrink keeps what lies past the new one.
                if has(cut, sector) && start < self.cache.len && rng.coin() {
                    bytes.fill(0);
                }
                if has(dirty, sector) {
                    match rng.below(3) {
                        0 => {}
                        1 => bytes.copy_from_slice(&cache[sector_range(sector)]),
                        _ => rng.fill(bytes),
                    }
                }
            }
            image.put(index, Some(Arc::new(block)));
        }
        image.cut(len);
        image
    }
}

#[derive(Clone)]
enum NameChange {
    Add { name: Arc<str>, ino: Ino },
    Remove { name: Arc<str>, ino: Ino, moved: bool },
    Rename { from: Arc<str>, to: Arc<str>, ino: Ino },
}

impl NameChange {
    fn names(&self) -> [&Arc<str>; 2] {
        match self {
            Self::Add { name, .. } | Self::Remove { name, .. } => [name, name],
            Self::Rename { from, to, .. } => [from, to],
        }
    }

    fn ino(&self) -> Ino {
        match self {
            Self::Add { ino, .. } | Self::Remove { ino, .. } | Self::Rename { ino, .. } => *ino,
        }
    }

    fn apply(&self, names: &mut Names) {
        let names = Arc::make_mut(names);
        match self {
            Self::Add { name, ino } => {
                names.insert(name.clone(), *ino);
            }
            Self::Remove { name, .. } => {
                names.remove(name);
            }
            Self::Rename { from, to, ino } => {
                names.remove(from);
                names.insert(to.clone(), *ino);
            }
        }
    }
}

#[derive(Clone, Default)]
struct Directory {
    names: Names,
    stable: Names,
    pending: Vec<NameChange>,
}

impl Directory {
    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    /// The names found after a crash, and those that went away only because the file moved elsewhere.
    fn settle(&self, rng: &mut Rng) -> (Names, Vec<(Arc<str>, Ino)>) {
        let (mut names, mut moved) = (self.stable.clone(), Vec::new());
        if self.pending.is_empty() {
            return (names, moved);
        }
        let count = self.pending.len() as u64;
        let prefix = if rng.coin() { Some(rng.below(count + 1)) } else { None };
        let mut dropped = BTreeSet::new();
        for (number, change) in (0..).zip(&self.pending) {
            let survives = match prefix {
                Some(prefix) => number < prefix,
                None => rng.coin() && !change.names().iter().any(|name| dropped.contains(*name)),
            };
            if survives {
                change.apply(&mut names);
                if let NameChange::Remove { name, ino, moved: true } = change {
                    moved.push((name.clone(), *ino));
                }
            } else {
                dropped.extend(change.names());
            }
        }
        (names, moved)
    }
}

#[derive(Clone)]
enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Sync,
    Write,
    /// Stores only so many bytes.
    ShortWrite(usize),
    Read,
    SetLen,
    Names,
    SyncDirectory,
}

struct PlannedFault {
    fault: Fault,
    part: String,
    after: u64,
}

struct State {
    rng: Rng,
    nodes: BTreeMap<Ino, Node>,
    next_ino: Ino,
    next_handle: u64,
    mutations: u64,
    writes: u64,
    syncs: u64,
    reads: u64,
    faults: Vec<PlannedFault>,
    full: bool,
    capacity: Option<u64>,
    evict_confirmed: bool,
    hooked: bool,
    images: Vec<SimDisk>,
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

/// The names that lead from the root to the path; a relative path starts there too.
fn components(path: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(out.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    out
}

impl State {
    fn new(rng: Rng, nodes: BTreeMap<Ino, Node>, next_ino: Ino, evict_confirmed: bool) -> Self {
        Self {
            rng,
            nodes,
            next_ino,
            next_handle: 0,
            mutations: 0,
            writes: 0,
            syncs: 0,
            reads: 0,
            faults: Vec::new(),
            full: false,
            capacity: None,
            evict_confirmed,
            hooked: false,
            images: Vec::new(),
        }
    }

    fn directory(&mut self, ino: Ino) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Directory(directory)) => Ok(directory),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&mut self, ino: Ino) -> io::Result<&mut File> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn walk(&mut self, names: &[String]) -> io::Result<Ino> {
        let mut ino = ROOT;
        for name in names {
            ino = *self.directory(ino)?.names.get(name.as_str()).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(ino)
    }

    fn lookup(&mut self, path: &Path) -> io::Result<Ino> {
        self.walk(&components(path))
    }

    /// The directory a name is or would be in, the name, and what has it.
    fn locate(&mut self, path: &Path) -> io::Result<(Ino, Arc<str>, Option<Ino>)> {
        let mut names = components(path);
        let name: Arc<str> = names.pop().ok_or(io::ErrorKind::AlreadyExists)?.into();
        let parent = self.walk(&names)?;
        let found = self.directory(parent)?.names.get(&name).copied();
        Ok((parent, name, found))
    }

    fn add(&mut self, node: Node) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.nodes.insert(ino, node);
        ino
    }

    /// The planned fault that this operation runs into, if any.
    fn fault(&mut self, kind: fn(Fault) -> bool, path: &Path) -> Option<Fault> {
        if self.faults.is_empty() {
            return None;
        }
        let path = path.to_string_lossy();
        let mut hit = None;
        self.faults.retain_mut(|planned| {
            if !kind(planned.fault) || !path.contains(planned.part.as_str()) {
                return true;
            }
            if planned.after == 0 && hit.is_none() {
                hit = Some(planned.fault);
                return false;
            }
            planned.after = planned.after.saturating_sub(1);
            true
        });
        hit
    }

    fn name_fault(&mut self, path: &Path) -> io::Result<()> {
        self.fault(|fault| fault == Fault::Names, path).map_or(Ok(()), |_| Err(eio()))
    }

    fn room_for(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        let growth = len.saturating_sub(self.file(ino)?.cache.len);
        if growth == 0 {
            return Ok(());
        }
        let fits = self.capacity.is_none_or(|capacity| {
            let mut used = 0;
            self.each_file(|_, file| used += file.cache.len);
            used + growth <= capacity
        });
        if self.full || !fits { Err(full()) } else { Ok(()) }
    }

    fn each_file(&self, mut visit: impl FnMut(PathBuf, &File)) {
        let mut queue = VecDeque::from([(PathBuf::from("/"), ROOT)]);
        while let Some((path, ino)) = queue.pop_front() {
            match self.nodes.get(&ino) {
                Some(Node::File(file)) => visit(path, file),
                Some(Node::Directory(directory)) => {
                    queue.extend(directory.names.iter().map(|(name, ino)| (path.join(&**name), *ino)));
                }
                None => {}
            }
        }
    }

    fn fork(&mut self) -> SimDisk {
        let mut rng = Rng(self.rng.next());
        let (mut names, mut moved) = (BTreeMap::new(), Vec::new());
        for (ino, node) in &self.nodes {
            if let Node::Directory(directory) = node {
                let (survivors, gone) = directory.settle(&mut rng);
                moved.extend(gone.into_iter().map(|(name, file)| (*ino, name, file)));
                names.insert(*ino, survivors);
            }
        }
        for (ino, name, file) in moved {
            // An unsynced move takes the old name away only where the new one arrived.
            if !names.values().any(|names| names.values().any(|found| *found == file))
                && let Some(names) = names.get_mut(&ino)
            {
                Arc::make_mut(names).entry(name).or_insert(file);
            }
        }
        let mut nodes = BTreeMap::new();
        let mut queue = VecDeque::from([(PathBuf::from("/"), ROOT)]);
        while let Some((path, ino)) = queue.pop_front() {
            let node = match self.nodes.get(&ino) {
                Some(Node::File(file)) => Node::File(File::synced(file.settle(&mut rng), path)),
                Some(Node::Directory(_)) => {
                    let names = names.get(&ino).cloned().unwrap_or_default();
                    queue.extend(names.iter().map(|(name, ino)| (path.join(&**name), *ino)));
                    Node::Directory(Directory { stable: names.clone(), names, pending: Vec::new() })
                }
                None => continue,
            };
            // A file under two names keeps the content that it got first.
            nodes.entry(ino).or_insert(node);
        }
        SimDisk::from_state(State::new(rng, nodes, self.next_ino, self.evict_confirmed))
    }
}

struct Shared {
    state: Mutex<State>,
    /// Apart from the state, so that a hook can look at the disk.
    hook: Mutex<Option<Hook>>,
}

/// A simulated disk. Clones are the same disk; [`SimDisk::crash`] gives another one.
///
/// It starts with an empty, durable root directory. Relative paths start at the root.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    /// An empty disk. The seed decides what every crash destroys.
    pub fn new(seed: u64) -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Directory(Directory::default()))]);
        Self::from_state(State::new(Rng(seed), nodes, ROOT + 1, true))
    }

    fn from_state(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), hook: Mutex::new(None) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Counts a mutation and, if the hook wants it, forks a crash image before it.
    fn mutate(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.mutations += 1;
        if state.hooked {
            let number = state.mutations;
            drop(state);
            let wanted = self.0.hook.lock().as_mut().is_some_and(|hook| hook(number));
            state = self.state();
            if wanted {
                let image = state.fork();
                state.images.push(image);
            }
        }
        state
    }

    /// Called before every mutation (write, set_len, sync, rename, create, remove, create_directory,
    /// sync_directory, also those that then fail) with its number, the first being 1; when it returns true, a
    /// crash image is forked at this instant. The hook may look at the disk and call [`SimDisk::crash`], but must
    /// not mutate it nor replace itself.
    pub fn on_mutation(&self, hook: Option<Hook>) {
        let hooked = hook.is_some();
        *self.0.hook.lock() = hook;
        self.state().hooked = hooked;
    }

    /// The crash images that the hook asked for since the last call, in order.
    pub fn take_images(&self) -> Vec<Self> {
        std::mem::take(&mut self.state().images)
    }

    /// What a machine would find after losing power now: an independent disk on which everything is synced, without
    /// hook, faults and limits. Each call draws anew.
    pub fn crash(&self) -> Self {
        self.state().fork()
    }

    /// What the next process would find if this one were killed now and the machine kept running: everything is
    /// visible, what was not synced is still volatile, locks are gone. Independent of this disk.
    pub fn kill(&self) -> Self {
        let mut state = self.state();
        let rng = Rng(state.rng.next());
        let mut nodes = state.nodes.clone();
        for node in nodes.values_mut() {
            if let Node::File(file) = node {
                file.lock = None;
            }
        }
        Self::from_state(State::new(rng, nodes, state.next_ino, state.evict_confirmed))
    }

    fn plan(&self, fault: Fault, part: &str, after: u64) {
        self.state().faults.push(PlannedFault { fault, part: part.to_owned(), after });
    }

    /// Lets one file sync fail with EIO: of those of files whose latest path contains `part`, the one after
    /// `after` more (0: the next). Its dirty sectors become clean, stay visible, and are not on stable storage; a
    /// later sync does not write them. A changed length stays pending.
    pub fn fail_sync(&self, part: &str, after: u64) {
        self.plan(Fault::Sync, part, after);
    }

    /// Lets one write fail with EIO and store nothing; counted as in [`SimDisk::fail_sync`].
    pub fn fail_write(&self, part: &str, after: u64) {
        self.plan(Fault::Write, part, after);
    }

    /// Lets one write store only its first `bytes` bytes and fail with `StorageFull`.
    pub fn short_write(&self, part: &str, after: u64, bytes: usize) {
        self.plan(Fault::ShortWrite(bytes), part, after);
    }

    /// Lets one read fail with EIO.
    pub fn fail_read(&self, part: &str, after: u64) {
        self.plan(Fault::Read, part, after);
    }

    /// Lets one `set_len` fail with EIO and change nothing.
    pub fn fail_set_len(&self, part: &str, after: u64) {
        self.plan(Fault::SetLen, part, after);
    }

    /// Lets one create, create_directory, rename (matched by its source) or remove fail with EIO and change nothing.
    pub fn fail_name(&self, part: &str, after: u64) {
        self.plan(Fault::Names, part, after);
    }

    /// Lets one directory sync fail with EIO; the names stay volatile.
    pub fn fail_sync_directory(&self, part: &str, after: u64) {
        self.plan(Fault::SyncDirectory, part, after);
    }

    /// How many planned faults did not happen yet.
    pub fn planned_faults(&self) -> usize {
        self.state().faults.len()
    }

    /// Forgets the planned faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// While full, writes past the end and growing `set_len` fail with `StorageFull` and change nothing.
    pub fn disk_full(&self, yes: bool) {
        self.state().full = yes;
    }

    /// Limits the sum of the lengths of all files that have a name; growth past it fails as on a full disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Whether `evict` drops clean sectors and says so (the default), or keeps them and returns `Ok(false)`.
    pub fn evict_is_confirmed(&self, yes: bool) {
        self.state().evict_confirmed = yes;
    }

    /// Mutations begun.
    pub fn mutations(&self) -> u64 {
        self.state().mutations
    }

    /// Writes begun.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// File syncs begun.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Reads begun.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// All visible files as absolute paths, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut out = Vec::new();
        self.state().each_file(|path, _| out.push(path));
        out.sort();
        out
    }

    /// A file's visible bytes.
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut state = self.state();
        let ino = state.lookup(path.as_ref()).ok()?;
        Some(state.file(ino).ok()?.cache.to_bytes())
    }

    /// A visible file's bytes on stable storage: what every crash keeps where nothing was written since.
    pub fn stable_bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut state = self.state();
        let ino = state.lookup(path.as_ref()).ok()?;
        Some(state.file(ino).ok()?.stable.to_bytes())
    }

    /// Replaces a file's bytes, visible and stable, under every open handle. A missing file and its missing
    /// parents are made, durably.
    pub fn set_bytes(&self, path: impl AsRef<Path>, bytes: Vec<u8>) {
        let path = path.as_ref();
        let mut state = self.state();
        let content = Content::from_bytes(&bytes);
        let mut names = components(path);
        let name: Arc<str> = names.pop().expect("a path with a name").into();
        let mut parent = ROOT;
        for part in &names {
            let found = state.directory(parent).expect("a directory").names.get(part.as_str()).copied();
            parent = match found {
                Some(ino) => ino,
                None => state.attach(parent, part.as_str().into(), Node::Directory(Directory::default())),
            };
        }
        match state.directory(parent).expect("a directory").names.get(&name).copied() {
            Some(ino) => {
                let file = state.file(ino).expect("a file");
                *file = File { lock: file.lock, ..File::synced(content, file.path.clone()) };
            }
            None => {
                state.attach(parent, name, Node::File(File::synced(content, path.to_owned())));
            }
        }
    }

    /// Removes a file's name durably. Panics if there is no such file.
    pub fn remove_raw(&self, path: impl AsRef<Path>) {
        let mut state = self.state();
        let (parent, name, found) = state.locate(path.as_ref()).expect("a directory");
        let ino = found.expect("a file to remove");
        state.file(ino).expect("a file");
        let directory = state.directory(parent).expect("a directory");
        Arc::make_mut(&mut directory.names).remove(&name);
        Arc::make_mut(&mut directory.stable).retain(|other, found| *found != ino && *other != name);
        directory.pending.retain(|change| change.ino() != ino && !change.names().contains(&&name));
    }

    /// Makes `to` durably the same as `from` is now. Panics if there is no such file.
    pub fn copy_raw(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let bytes = self.bytes(from).expect("a file to copy");
        self.set_bytes(to, bytes);
    }

    /// Exchanges the visible bytes of two files, durably. Panics if either is missing.
    pub fn swap_raw(&self, a: impl AsRef<Path>, b: impl AsRef<Path>) {
        let (a, b) = (a.as_ref(), b.as_ref());
        let (of_a, of_b) = (self.bytes(a).expect("a file to swap"), self.bytes(b).expect("a file to swap"));
        self.set_bytes(a, of_b);
        self.set_bytes(b, of_a);
    }

    fn handle(&self, state: &mut State, ino: Ino) -> Box<dyn DiskFile> {
        state.next_handle += 1;
        Box::new(SimFile { disk: self.clone(), ino, id: state.next_handle })
    }
}

impl State {
    /// Adds a durable name.
    fn attach(&mut self, parent: Ino, name: Arc<str>, node: Node) -> Ino {
        let ino = self.add(node);
        let directory = self.directory(parent).expect("a directory");
        // An older unsynced change of this name must not undo this one at a crash.
        directory.pending.retain(|change| !change.names().contains(&&name));
        for names in [&mut directory.names, &mut directory.stable] {
            Arc::make_mut(names).insert(name.clone(), ino);
        }
        ino
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let ino = state.lookup(path)?;
        state.file(ino)?;
        Ok(self.handle(&mut state, ino))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.mutate();
        state.name_fault(path)?;
        let (parent, name, found) = state.locate(path)?;
        if found.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ino = state.add(Node::File(File { path: path.to_owned(), ..File::default() }));
        state.directory(parent)?.change(NameChange::Add { name, ino });
        Ok(self.handle(&mut state, ino))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        state.name_fault(path)?;
        let (parent, name, found) = state.locate(path)?;
        if found.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let ino = state.add(Node::Directory(Directory::default()));
        state.directory(parent)?.change(NameChange::Add { name, ino });
        Ok(())
    }

    /// Directories can be renamed only within their parent and to a free name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        state.name_fault(from)?;
        let (source, old, found) = state.locate(from)?;
        let ino = found.ok_or(io::ErrorKind::NotFound)?;
        let (target, new, replaced) = state.locate(to)?;
        if replaced == Some(ino) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            state.file(replaced)?;
        }
        match state.nodes.get_mut(&ino) {
            Some(Node::File(file)) => file.path = to.to_owned(),
            _ if source != target || replaced.is_some() => return Err(io::ErrorKind::Unsupported.into()),
            _ => {}
        }
        if source == target {
            state.directory(source)?.change(NameChange::Rename { from: old, to: new, ino });
        } else {
            state.directory(target)?.change(NameChange::Add { name: new, ino });
            state.directory(source)?.change(NameChange::Remove { name: old, ino, moved: true });
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        state.name_fault(path)?;
        let (parent, name, found) = state.locate(path)?;
        let ino = found.ok_or(io::ErrorKind::NotFound)?;
        state.file(ino)?;
        state.directory(parent)?.change(NameChange::Remove { name, ino, moved: false });
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        state.name_fault(path)?;
        let (parent, name, found) = state.locate(path)?;
        let ino = found.ok_or(io::ErrorKind::NotFound)?;
        if !state.directory(ino)?.names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.directory(parent)?.change(NameChange::Remove { name, ino, moved: false });
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.mutate();
        let ino = state.lookup(path)?;
        state.directory(ino)?;
        if state.fault(|fault| fault == Fault::SyncDirectory, path).is_some() {
            return Err(eio());
        }
        let directory = state.directory(ino)?;
        directory.stable = directory.names.clone();
        directory.pending.clear();
        Ok(())
    }

    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        let mut state = self.state();
        let ino = match state.lookup(path) {
            Ok(ino) => ino,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(state.nodes.get(&ino).map(|node| match node {
            Node::File(file) => EntryInfo { kind: EntryKind::File, len: file.cache.len, mode: Some(0o600) },
            Node::Directory(_) => EntryInfo { kind: EntryKind::Directory, len: 0, mode: Some(0o700) },
        }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let ino = state.lookup(path)?;
        Ok(state.directory(ino)?.names.keys().map(|name| name.to_string()).collect())
    }
}

/// An open file; it follows its inode through renames and removal.
struct SimFile {
    disk: SimDisk,
    ino: Ino,
    id: u64,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.ino)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.release();
    }
}

impl SimFile {
    fn release(&self) {
        if let Ok(file) = self.disk.state().file(self.ino)
            && file.lock == Some(self.id)
        {
            file.lock = None;
        }
    }

    fn fault(&self, state: &mut State, kind: fn(Fault) -> bool) -> io::Result<Option<Fault>> {
        if state.faults.is_empty() {
            return Ok(None);
        }
        let path = state.file(self.ino)?.path.clone();
        Ok(state.fault(kind, &path))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.ino)?.cache.len)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.reads += 1;
        if self.fault(&mut state, |fault| fault == Fault::Read)?.is_some() {
            return Err(eio());
        }
        let cache = &state.file(self.ino)?.cache;
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > cache.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        cache.read(offset, out);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.mutate();
        state.writes += 1;
        let fault = self.fault(&mut state, |fault| matches!(fault, Fault::Write | Fault::ShortWrite(_)))?;
        if fault == Some(Fault::Write) {
            return Err(eio());
        }
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        if !bytes.is_empty() {
            state.room_for(self.ino, end)?;
        }
        let file = state.file(self.ino)?;
        if let Some(Fault::ShortWrite(stored)) = fault {
            file.write(offset, &bytes[..stored.min(bytes.len())]);
            return Err(full());
        }
        file.write(offset, bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.mutate();
        if self.fault(&mut state, |fault| fault == Fault::SetLen)?.is_some() {
            return Err(eio());
        }
        state.room_for(self.ino, len)?;
        state.file(self.ino)?.set_len(len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.mutate();
        state.syncs += 1;
        if self.fault(&mut state, |fault| fault == Fault::Sync)?.is_some() {
            state.file(self.ino)?.fail_sync();
            return Err(eio());
        }
        state.file(self.ino)?.sync();
        Ok(())
    }

    fn evict(&self) -> io::Result<bool> {
        let mut state = self.disk.state();
        if !state.evict_confirmed {
            return Ok(false);
        }
        state.file(self.ino)?.evict();
        Ok(true)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.state();
        let file = state.file(self.ino)?;
        Ok(*file.lock.get_or_insert(self.id) == self.id)
    }

    fn unlock(&self) -> io::Result<()> {
        self.release();
        Ok(())
    }
}
