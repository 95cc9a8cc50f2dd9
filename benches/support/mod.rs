//! What the benches share: engines with known content, and ratios measured side by side.

// Each bench uses its own part of this.
#![allow(dead_code, unreachable_pub)]

pub mod vectors;

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::Criterion;
use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use tempfile::TempDir;
use watertight::disk::{Disk, DiskFile, EntryInfo, SystemDisk};
use watertight::{
    Attestation, Authority, Engine, EngineBuilder, Issuer, Memories, Memory, Ready, RootKey, Scopes, TenantHandle,
    TenantSpec,
};

/// How much to measure. Criterion reads the same arguments for its own part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// One round over small fixtures: does it run?
    Smoke,
    Quick,
    Full,
}

impl Effort {
    /// `cargo test --benches` passes no `--bench`; criterion tests then as well.
    pub fn from_args() -> Self {
        let given = |name: &str| std::env::args().any(|argument| argument == name);
        if given("--test") || !given("--bench") {
            Self::Smoke
        } else if given("--quick") {
            Self::Quick
        } else {
            Self::Full
        }
    }

    /// A number of rounds or rows, cut down for shorter runs.
    pub fn of(self, full: usize, smoke: usize) -> usize {
        match self {
            Self::Smoke => smoke,
            Self::Quick => (full / 5).max(smoke),
            Self::Full => full,
        }
    }
}

/// Criterion with short samples: the ratios come from [`compare`], these are for its own reports over time.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// Whether only the names are asked for.
pub fn is_listing() -> bool {
    std::env::args().any(|argument| argument == "--list")
}

/// A directory on the disk that cargo builds to; the system's temporary directory may be in memory.
pub fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// One thing to measure.
pub struct Contender<'a> {
    pub name: &'static str,
    pub run: Box<dyn FnMut() + 'a>,
}

pub fn contender<'a>(name: &'static str, run: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Times every contender in every round, each `batch` times in a row, and gives the nanoseconds of one run by
/// contender and round. Neighbours on the machine slow a round for all of them; the order alternates, so that what
/// one leaves behind (caches, a busy disk) is not always found by the same one.
pub fn measure(contenders: &mut [Contender<'_>], rounds: usize, batch: usize) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for step in 0..contenders.len() {
            let at = if round % 2 == 0 { step } else { contenders.len() - 1 - step };
            let start = Instant::now();
            for _ in 0..batch {
                (contenders[at].run)();
            }
            times[at].push(start.elapsed().as_nanos() as f64 / batch as f64);
        }
    }
    times
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Ratio to the baseline, at most.
    Ratio(f64),
    /// As `Ratio`, of durable commits: undecided where the baseline takes longer than [`SLOW_COMMIT_NANOSECONDS`].
    Commit(f64),
    /// Nanoseconds, at most.
    Nanoseconds(f64),
    /// Nothing: for information.
    None,
}

/// The disk of an idle virtual machine completes a sync at its next timer tick, about 4 ms later. Both sides of a
/// ratio then wait for the timer, and it reads 1.00 whatever they do.
pub const SLOW_COMMIT_NANOSECONDS: f64 = 2e6;

/// Measures the contenders side by side and prints each against the first, the baseline.
///
/// The ratio is the median of the rounds' ratios: a round's noise is in both of its sides.
pub fn compare(title: &str, rounds: usize, batch: usize, contenders: Vec<(Contender<'_>, Target)>) {
    let (mut contenders, targets): (Vec<_>, Vec<_>) = contenders.into_iter().unzip();
    let times = measure(&mut contenders, rounds, batch);
    println!("\n{title} ({rounds} interleaved rounds of {batch}, p50)");
    println!("  {:<58} {:>11} {:>7}  {:<12} ", "", "p50", "ratio", "target");
    let baseline = times[0].clone();
    let is_slow = median(baseline.clone()) > SLOW_COMMIT_NANOSECONDS;
    for ((contender, target), times) in contenders.iter().zip(targets).zip(times) {
        let p50 = median(times.clone());
        let ratio = median(times.iter().zip(&baseline).map(|(time, base)| time / base).collect());
        let (text, met) = match target {
            Target::Ratio(most) => (format!("<= {most}x"), Some(ratio <= most)),
            Target::Commit(most) => (format!("<= {most}x"), (!is_slow).then_some(ratio <= most)),
            Target::Nanoseconds(most) => (format!("< {most} ns"), Some(p50 < most)),
            Target::None => (String::new(), None),
        };
        let word = match (target, met) {
            (_, Some(true)) => "met",
            (_, Some(false)) => "missed",
            (Target::Commit(_), None) => "undecided: the disk's timer hides it",
            _ => "",
        };
        println!("  {:<58} {:>11} {ratio:>6.2}x  {text:<9} {word}", contender.name, readable(p50));
    }
}

pub fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of all values is below.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

pub fn readable(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 10_000.0 => format!("{n:.0} ns"),
        n if n < 10_000_000.0 => format!("{:.1} us", n / 1e3),
        n => format!("{:.1} ms", n / 1e6),
    }
}

/// An engine with a tenant, and as many more as are asked for.
pub struct World {
    // Handles close before the engine.
    pub tenant: TenantHandle,
    pub engine: Engine,
    authority: Authority,
}

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    Encrypted,
    Plaintext,
}

impl World {
    /// Opens or makes an engine in `directory`, its tenant, and a handle with every scope.
    pub fn open(directory: &Path, files: Files, cache_bytes: usize, disk: Arc<dyn Disk>) -> Self {
        Self::open_with(directory, files, disk, |builder| builder.tenant_cache_bytes(cache_bytes))
    }

    /// The same with other options.
    pub fn open_with(
        directory: &Path,
        files: Files,
        disk: Arc<dyn Disk>,
        options: impl FnOnce(EngineBuilder<Ready>) -> EngineBuilder<Ready>,
    ) -> Self {
        let key = RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap();
        let builder = options(Engine::builder(directory).root_key(key)).danger().disk(disk);
        let builder = match files {
            Files::Encrypted => builder,
            Files::Plaintext => builder.danger().plaintext_files(),
        };
        let (engine, authority) = builder.open().unwrap();
        Self { tenant: enter(&engine, &authority, "acme"), engine, authority }
    }

    /// Another tenant of the same engine, made if there is none of this name.
    pub fn another(&self, tenant: &str) -> TenantHandle {
        enter(&self.engine, &self.authority, tenant)
    }

    pub fn notes(&self) -> Memories {
        self.tenant.memories("notes").unwrap()
    }
}

fn enter(engine: &Engine, authority: &Authority, tenant: &str) -> TenantHandle {
    let operator = engine.operator(&authority.attest_operator("ops").unwrap()).unwrap();
    // It exists already when the directory is opened again.
    let _ = operator.provision(TenantSpec::new(tenant).unwrap().trusts(Issuer::authority()));
    let who = Attestation::new(tenant, "alice").unwrap().scopes(Scopes::ALL).lifetime(Duration::from_secs(3_600));
    engine.tenant(&authority.attest(who).unwrap()).unwrap()
}

pub fn key(number: usize) -> String {
    format!("memory-{number:06}")
}

/// The stored record of [`memory`] has about this length.
pub const RECORD_BYTES: usize = 1_024;

/// A memory of text and two fields of metadata, about [`RECORD_BYTES`] long once stored.
pub fn memory(number: usize) -> Memory {
    let text = format!("{number:0940}");
    Memory::new(key(number)).text(text).metadata("lang", "en").metadata("priority", 2)
}

/// Makes an engine of `rows` memories at `directory` without waiting for the disk, and closes it.
pub fn load(directory: &Path, files: Files, rows: usize) {
    let world = World::open(directory, files, 64 << 20, unsynced());
    let notes = world.notes();
    notes.put_many((0..rows).map(memory).collect()).unwrap();
}

/// A redb file of one table, as an application without an engine would use it.
pub struct Bare {
    pub database: redb::Database,
    directory: TempDir,
}

pub const BARE: redb::TableDefinition<'static, &str, &[u8]> = redb::TableDefinition::new("memories");

impl Bare {
    pub fn new(rows: usize, cache_bytes: usize) -> Self {
        Self::make(rows, cache_bytes, FileBackend::new)
    }

    /// The same, except that nothing is synced.
    pub fn unsynced(rows: usize, cache_bytes: usize) -> Self {
        Self::make(rows, cache_bytes, |file| {
            Ok(WatchedBackend { file: FileBackend::new(file)?, syncs: Syncs::left_out() })
        })
    }

    fn make<B: StorageBackend>(
        rows: usize,
        cache_bytes: usize,
        backend: impl FnOnce(File) -> Result<B, redb::DatabaseError>,
    ) -> Self {
        let directory = directory();
        let path = directory.path().join("bare.redb");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
        let database =
            redb::Builder::new().set_cache_size(cache_bytes).create_with_backend(backend(file).unwrap()).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(BARE).unwrap();
            for number in 0..rows {
                table.insert(key(number).as_str(), [number as u8; RECORD_BYTES].as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        Self { database, directory }
    }

    pub fn get(&self, key: &str) -> Vec<u8> {
        let transaction = redb::ReadableDatabase::begin_read(&self.database).unwrap();
        let table = transaction.open_table(BARE).unwrap();
        table.get(key).unwrap().unwrap().value().to_vec()
    }

    /// One durable commit of the kind that survives a torn write.
    pub fn put(&self, key: &str, record: &[u8]) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_two_phase_commit(true);
        transaction.open_table(BARE).unwrap().insert(key, record).unwrap();
        transaction.commit().unwrap();
    }
}

/// Keys in a random order that is the same in every run.
pub struct Shuffled {
    keys: Vec<String>,
    next: usize,
}

impl Shuffled {
    pub fn new(rows: usize) -> Self {
        let mut keys: Vec<String> = (0..rows).map(key).collect();
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        for last in (1..rows).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            keys.swap(last, (seed >> 33) as usize % (last + 1));
        }
        Self { keys, next: 0 }
    }

    /// The next key, from the beginning again after the last.
    pub fn take(&mut self) -> &str {
        let at = self.next;
        self.next = (at + 1) % self.keys.len();
        &self.keys[at]
    }
}

/// A disk on which syncs cost nothing and do nothing: for fixtures, and to see a commit without its waiting.
pub fn unsynced() -> Arc<dyn Disk> {
    watched(Syncs::left_out())
}

/// The system's disk with syncs that are counted or left out.
pub fn watched(syncs: Syncs) -> Arc<dyn Disk> {
    Arc::new(WatchedDisk(syncs))
}

/// Syncs of files and directories: how many were asked for, and whether they happen.
#[derive(Debug, Clone)]
pub struct Syncs {
    count: Arc<AtomicU64>,
    happen: bool,
}

impl Syncs {
    pub fn counted() -> Self {
        Self { count: Arc::default(), happen: true }
    }

    pub fn left_out() -> Self {
        Self { count: Arc::default(), happen: false }
    }

    pub fn happen(&self) -> bool {
        self.happen
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.happen { sync() } else { Ok(()) }
    }
}

/// The system's disk, except for its syncs.
#[derive(Debug)]
struct WatchedDisk(Syncs);

#[derive(Debug)]
struct WatchedFile(Box<dyn DiskFile>, Syncs);

impl Disk for WatchedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile(SystemDisk.open(path)?, self.0.clone())))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile(SystemDisk.create(path)?, self.0.clone())))
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
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.sync(|| SystemDisk.sync_directory(path))
    }
    fn inspect(&self, path: &Path) -> io::Result<Option<EntryInfo>> {
        SystemDisk.inspect(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(path)
    }
}

impl DiskFile for WatchedFile {
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
        self.1.sync(|| self.0.sync())
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

/// redb's own file backend, except for its syncs.
#[derive(Debug)]
struct WatchedBackend {
    file: FileBackend,
    syncs: Syncs,
}

/// The backend of an existing file.
pub fn watched_backend(path: &Path, syncs: Syncs) -> impl StorageBackend + use<> {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    WatchedBackend { file: FileBackend::new(file).unwrap(), syncs }
}

impl StorageBackend for WatchedBackend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.syncs.sync(|| self.file.sync_data())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

/// Where an engine lives inside its temporary directory.
pub fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}
