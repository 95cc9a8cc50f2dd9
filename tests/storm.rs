//! Far more tenants than fit, touched in random order by many threads: memory and descriptors stay within what the engine
//! was given, and every tenant answers rightly.
//!
//! The memory is the process's own, as its allocator counts it, not what the engine says of itself.

#![allow(unsafe_code, reason = "an allocator cannot be made without; it counts and hands everything on")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use support::filled::Rng;
use support::world::{World, root_key};
use watertight::disk::{Disk, DiskFile, EntryInfo, SystemDisk};
use watertight::{Engine, List, Memory, Recall};

/// Counts what is allocated now, and the most it has been.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's allocator's; this only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is handed on.
        let at = unsafe { System.alloc(layout) };
        if !at.is_null() {
            grown(layout.size());
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is handed on.
        let at = unsafe { System.alloc_zeroed(layout) };
        if !at.is_null() {
            grown(layout.size());
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(at, layout) };
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment, unless the system moves pages: counted as if it never did.
        // SAFETY: the caller's promise is handed on.
        let new = unsafe { System.realloc(at, layout, size) };
        if !new.is_null() {
            grown(size);
            LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        new
    }
}

/// The operating system's files without syncs: nothing crashes here, and thousands of syncs take minutes on a slow disk.
#[derive(Debug)]
struct Unsynced;

#[derive(Debug)]
struct UnsyncedFile(Box<dyn DiskFile>);

impl Disk for Unsynced {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.open(path)?)))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnsyncedFile(SystemDisk.create(path)?)))
    }
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_directory(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_directory(path)
    }
    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        SystemDisk.inspect(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(path)
    }
}

impl DiskFile for UnsyncedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn evict(&self) -> io::Result<bool> {
        self.0.evict()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.0.try_lock()
    }
    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}

const TENANTS: usize = 2_000;
/// One tenant in so many is large.
const LARGE_EVERY: usize = 20;
const THREADS: usize = 8;
const MIB: u64 = 1 << 20;

fn name(tenant: usize) -> String {
    format!("tenant-{tenant}")
}

/// How many memories a tenant has, of how many dimensions.
fn shape(tenant: usize) -> (usize, usize) {
    if tenant.is_multiple_of(LARGE_EVERY) { (300, 64) } else { (3, 8) }
}

/// A vector of its own for each memory of each tenant; the memory is its own nearest.
fn vector(tenant: usize, memory: usize) -> Vec<f32> {
    let mut rng = Rng((tenant * 1_000 + memory) as u64);
    (0..shape(tenant).1).map(|_| rng.below(2_000) as f32 - 1_000.0).collect()
}

fn text(tenant: usize, memory: usize) -> String {
    format!("memory {memory} of {}", name(tenant))
}

/// A closed engine with all tenants, of which none has been opened since.
fn provision(directory: &Path) {
    let world = open(directory, 64, 32 * MIB);
    thread::scope(|scope| {
        for thread in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for tenant in (thread..TENANTS).step_by(4) {
                    world.provision(&name(tenant)).unwrap();
                    let notes = world.handle(&name(tenant), "alice").unwrap().memories("notes").unwrap();
                    let memories = (0..shape(tenant).0).map(|memory| {
                        Memory::new(format!("k{memory}")).text(text(tenant, memory)).vector(vector(tenant, memory))
                    });
                    notes.put_many(memories.collect()).unwrap();
                }
            });
        }
    });
    assert!(world.engine.close().unwrap().is_clean());
}

/// Open files of this process, where the system says.
fn descriptors() -> Option<usize> {
    fs::read_dir("/proc/self/fd").ok().map(Iterator::count)
}

/// The highest that was seen.
#[derive(Debug, Default)]
struct Most {
    descriptors: usize,
    tenants: usize,
    bytes: u64,
    samples: usize,
}

/// Looks until the storm is over.
fn watch(world: &World, over: &AtomicBool) -> Most {
    let mut most = Most::default();
    while !over.load(Ordering::Acquire) {
        let stats = world.engine.stats();
        most.tenants = most.tenants.max(stats.open_tenants);
        most.bytes = most.bytes.max(stats.memory_bytes);
        most.descriptors = most.descriptors.max(descriptors().unwrap_or(0));
        most.samples += 1;
        thread::sleep(Duration::from_millis(1));
    }
    most
}

/// Touches every tenant in an order of this thread's own. Gives what it has put, by tenant.
fn touch_all(world: &World, thread: usize) -> BTreeMap<usize, String> {
    let mut rng = Rng(thread as u64);
    let mut order: Vec<usize> = (0..TENANTS).collect();
    for last in (1..TENANTS).rev() {
        order.swap(last, rng.below(last as u64 + 1) as usize);
    }
    let mut put = BTreeMap::new();
    for tenant in order {
        let notes = world.handle(&name(tenant), "alice").unwrap().memories("notes").unwrap();
        let memory = rng.below(shape(tenant).0 as u64) as usize;
        let found = notes.get(&format!("k{memory}")).unwrap();
        assert_eq!(found.text, Some(text(tenant, memory)));
        let hits = notes.recall(&Recall::vector(&vector(tenant, memory)).top(2)).unwrap();
        assert_eq!(hits[0].memory.text, Some(text(tenant, memory)));
        // A second storm leaves what the first has put, or puts it again.
        if (tenant + thread).is_multiple_of(8) {
            let text = format!("thread {thread} at {}", name(tenant));
            notes.put(Memory::new(format!("t{thread}")).text(text.clone())).unwrap();
            put.insert(tenant, text);
        }
    }
    put
}

/// An engine that may have so much open.
fn open(directory: &Path, tenants_max: usize, bytes_max: u64) -> World {
    let builder = Engine::builder(directory).root_key(root_key()).open_tenants_max(tenants_max).memory_bytes(bytes_max);
    let (engine, authority) = builder.danger().disk(Arc::new(Unsynced)).open().unwrap();
    World { engine, authority }
}

/// Lets the storm loose and checks what it took and what it left. Gives the highest figures.
fn storm(directory: &Path, tenants_max: usize, bytes_max: u64) -> Most {
    let world = open(directory, tenants_max, bytes_max);
    // The catalog's cache is filled, so that what is added from here on is the tenants'.
    let (mut after, operator) = (None, world.operator());
    while let Some(last) = operator.list(after.as_ref(), 1_000).unwrap().pop() {
        after = Some(last.tenant);
    }
    let (files, base) = (descriptors(), LIVE.load(Ordering::Relaxed));
    PEAK.store(base, Ordering::Relaxed);
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (most, puts) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&world, &over));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let world = &world;
                    move || touch_all(world, thread)
                })
            })
            .collect();
        let puts: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::Release);
        let puts: Vec<_> = puts.into_iter().map(Result::unwrap).collect();
        (watcher.join().unwrap(), puts)
    });
    let (peak, stats) = ((PEAK.load(Ordering::Relaxed) - base) as u64, world.engine.stats());
    println!("{most:?}, peak of {peak} bytes, {} opens in {:?}", stats.opens, began.elapsed());

    let with_overshoot = bytes_max + bytes_max / 20;
    assert!(peak <= with_overshoot, "{peak} bytes allocated of {bytes_max}");
    assert!(most.bytes <= with_overshoot, "{} bytes counted of {bytes_max}", most.bytes);
    assert!(most.tenants <= tenants_max, "{} tenants open of {tenants_max}", most.tenants);
    if let Some(files) = files {
        // Each thread may be reading a key file beside those; one more is the directory that is listed to count them.
        let files_max = files + tenants_max + THREADS + 1;
        assert!(most.descriptors <= files_max, "{} descriptors instead of {files_max}", most.descriptors);
    }
    assert!(most.samples > 100 && stats.opens > (TENANTS * THREADS / 2) as u64, "{most:?}, {stats:?}");
    answers_right(&world, &puts);
    assert!(world.engine.close().unwrap().is_clean());
    most
}

fn answers_right(world: &World, puts: &[BTreeMap<usize, String>]) {
    for tenant in 0..TENANTS {
        let notes = world.handle(&name(tenant), "alice").unwrap().memories("notes").unwrap();
        let mut expected: BTreeMap<String, String> =
            (0..shape(tenant).0).map(|memory| (format!("k{memory}"), text(tenant, memory))).collect();
        for (thread, put) in puts.iter().enumerate() {
            expected.extend(put.get(&tenant).map(|text| (format!("t{thread}"), text.clone())));
        }
        let found = notes.iter(List::new().limit(1_000)).map(Result::unwrap);
        let found: BTreeMap<_, _> = found.map(|memory| (memory.key, memory.text.unwrap())).collect();
        assert_eq!(found, expected, "{}", name(tenant));
    }
}

/// One test, because tests of one process would count each other's memory.
#[test]
fn a_storm_of_cold_tenants_stays_within_its_descriptors_and_its_memory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let began = Instant::now();
    provision(&data);
    println!("{TENANTS} tenants in {:?}", began.elapsed());
    // Here the descriptors are used up first, there the memory.
    let most = storm(&data, 64, 32 * MIB);
    assert!(most.tenants > 48, "{most:?}");
    let most = storm(&data, 1_000, 16 * MIB);
    assert!(most.tenants > 64 && most.bytes > 14 * MIB, "{most:?}");
}
