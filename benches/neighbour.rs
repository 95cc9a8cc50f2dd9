//! What a quiet tenant notices of a busy one: its put and its get, alone and beside four kinds of load, in one engine
//! and in one redb file that both share.
//!
//! The machine that this was written on has two cores, and the load may take both. So the quiet side is paced: one
//! thread begins a put each 4 ms, another a get each 4 ms, half way between, and they sleep otherwise. They do not
//! compete with each other, and their times hold what waking up costs. A time counts from the moment an operation
//! begins. One that is late because the one before it took long is not charged for that, which flatters whoever is slow.
//!
//! Each store is measured alone and under load in turn, round by round, and held against itself: the engine against a
//! quiet tenant whose neighbour rests, the shared file against the same file at rest. The p50 ratio is the median of the
//! rounds' ratios, as in the other benches; the p99 of one round is a matter of few operations, so its ratio is that of
//! the p99 of all rounds together. A quiet put is one durable commit everywhere. In the shared file both sides commit
//! with redb's two phases, as the engine does, and once more with one phase, as redb does if it is not told otherwise.
//! The caches of the two tenants together are as large as the cache of the shared file.
//!
//! All of it once more with syncs left out. The disk of an idle virtual machine completes a sync at its next timer tick
//! and that of a busy one sooner, so that a quiet tenant may look faster beside a load than alone; without syncs there is
//! left what the two take from each other by locks, caches and cores.
//!
//! The import begins anew when it is through, over the same keys: the load lasts as long as it is measured, not as long
//! as it would take. How much the busy side got done is printed, since a load that is held up disturbs nobody.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redb::ReadableDatabase;
use support::{
    BARE, Bare, Effort, Files, RECORD_BYTES, SLOW_COMMIT_NANOSECONDS, World, data, directory, key, load, median,
    memory, quantile, unsynced,
};
use tempfile::TempDir;
use watertight::disk::{Disk, SystemDisk};
use watertight::{List, Memories, Memory};

/// Of each tenant; the shared file has twice as much.
const CACHE_BYTES: usize = 16 << 20;
const QUIET_ROWS: usize = 1_000;
/// One put and one get.
const PACE: Duration = Duration::from_millis(4);
/// The load runs for so long before anything is measured beside it.
const HEAD_START: Duration = Duration::from_millis(50);
const SINGLE_THREADS: usize = 4;
const BATCH: usize = 1_000;
/// 16 batches of 128 texts of 30,000 bytes are 61 MB.
const IMPORT_BATCH: usize = 128;
const IMPORT_BATCHES: usize = 16;
const IMPORT_TEXT_BYTES: usize = 30_000;
/// The consumer of an iteration sleeps after so many rows.
const SLOW_AFTER: usize = 10;
const SLOW_FOR: Duration = Duration::from_millis(1);
/// p50 of the engine's quiet tenant beside a load, against itself alone.
const TARGET: f64 = 1.5;

fn main() {
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let busy_rows = if effort == Effort::Smoke { 2_000 } else { 10_000 };
    let (rounds, length) = match effort {
        Effort::Smoke => (1, Duration::from_millis(60)),
        Effort::Quick => (3, Duration::from_millis(500)),
        Effort::Full => (7, Duration::from_millis(700)),
    };
    for syncs in [Syncs::Durable, Syncs::LeftOut] {
        println!("\na quiet tenant's put and get beside a busy one, against itself alone, {}", syncs.name());
        println!("({rounds} interleaved rounds of {} ms alone and as long under load)", length.as_millis());
        for load in [Load::Singles, Load::Batches, Load::Import, Load::Iteration] {
            compare(load, syncs, busy_rows, rounds, length);
        }
    }
}

fn compare(load: Load, syncs: Syncs, busy_rows: usize, rounds: usize, length: Duration) {
    // Each load finds new files: what an import leaves behind would make the next one's files large.
    let stores: [(&str, Box<dyn Store>); 3] = [
        ("engine: a file for each tenant", Box::new(EngineStore::new(busy_rows, syncs))),
        ("one redb file, two-phase commits", Box::new(SharedStore::new(busy_rows, syncs, true))),
        ("one redb file, one-phase commits", Box::new(SharedStore::new(busy_rows, syncs, false))),
    ];
    let mut measured = [(); 3].map(|()| Measured::default());
    for round in 0..rounds {
        for step in 0..stores.len() {
            let at = if round % 2 == 0 { step } else { stores.len() - 1 - step };
            measured[at].alone.push(window(&*stores[at].1, None, length));
            measured[at].loaded.push(window(&*stores[at].1, Some(load), length));
        }
    }
    println!("\n{}", load.title());
    println!(
        "  {:<34} {:<4} {:>10} {:>10} {:>8} {:>10} {:>10} {:>8} {:>7}  {}",
        "microseconds",
        "",
        "p50 alone",
        "loaded",
        "ratio",
        "p99 alone",
        "loaded",
        "ratio",
        "counted",
        load.unit()
    );
    for ((name, _), measured) in stores.iter().zip(&measured) {
        measured.print(name, syncs == Syncs::Durable && name.starts_with("engine"));
    }
}

/// Whether commits wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Durable,
    LeftOut,
}

impl Syncs {
    fn name(self) -> &'static str {
        if self == Self::Durable { "durable" } else { "syncs left out" }
    }
}

/// What the neighbour does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Singles,
    Batches,
    Import,
    Iteration,
}

impl Load {
    fn title(self) -> &'static str {
        match self {
            Self::Singles => "(a) the neighbour commits single memories of 1 KiB from four threads",
            Self::Batches => "(b) the neighbour commits batches of 1,000 memories of 1 KiB",
            Self::Import => "(c) the neighbour imports 61 MB, in batches of 128 texts of 30,000 bytes",
            Self::Iteration => "(d) the neighbour iterates over 10,000 memories and sleeps for 1 ms after every ten",
        }
    }

    /// What is counted of it.
    fn unit(self) -> &'static str {
        if self == Self::Iteration { "neighbour's rows read/s" } else { "neighbour's rows written/s" }
    }

    fn threads(self) -> usize {
        if self == Self::Singles { SINGLE_THREADS } else { 1 }
    }
}

/// Where two tenants keep their memories.
trait Store: Sync {
    fn put(&self, number: usize);
    fn get(&self, number: usize);
    /// One step of a load: the number of rows that were written or read. `number` counts steps.
    fn step(&self, load: Load, number: usize, until: Instant) -> usize;
}

/// Times in microseconds.
#[derive(Default)]
struct Window {
    puts: Vec<f64>,
    gets: Vec<f64>,
    rows_per_second: f64,
}

/// The quiet side's operations for a while, beside a load or alone.
fn window(store: &dyn Store, load: Option<Load>, length: Duration) -> Window {
    let (steps, rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Instant::now();
    // The load ends by the clock and not when the quiet side is through: redb may let a writer wait as long as others
    // come.
    let until = start + HEAD_START + length;
    let mut window = Window::default();
    thread::scope(|scope| {
        for load in load.into_iter().flat_map(|load| std::iter::repeat_n(load, load.threads())) {
            let (steps, rows) = (&steps, &rows);
            scope.spawn(move || {
                while Instant::now() < until {
                    let step = steps.fetch_add(1, Ordering::Relaxed);
                    rows.fetch_add(store.step(load, step, until), Ordering::Relaxed);
                }
            });
        }
        let puts = scope.spawn(|| paced(start + HEAD_START, until, |row| store.put(row)));
        let gets = scope.spawn(|| paced(start + HEAD_START + PACE / 2, until, |row| store.get(row)));
        window.puts = puts.join().unwrap();
        window.gets = gets.join().unwrap();
    });
    window.rows_per_second = rows.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    window
}

/// Begins one operation after the other at an even pace and gives their times in microseconds.
fn paced(from: Instant, until: Instant, mut operation: impl FnMut(usize)) -> Vec<f64> {
    let mut times = Vec::new();
    let mut due = from;
    // Other rows than the last time, in no order.
    for row in (0..).map(|number: usize| number * 389 % QUIET_ROWS) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let began = Instant::now();
        if began >= until {
            break;
        }
        operation(row);
        times.push(began.elapsed().as_secs_f64() * 1e6);
        due = (due + PACE).max(Instant::now());
    }
    times
}

/// One window for each round.
#[derive(Default)]
struct Measured {
    alone: Vec<Window>,
    loaded: Vec<Window>,
}

impl Measured {
    fn print(&self, name: &str, has_target: bool) {
        let neighbour = median(self.loaded.iter().map(|window| window.rows_per_second).collect());
        for (operation, times) in [("put", (|w| &w.puts) as fn(&Window) -> &Vec<f64>), ("get", |w| &w.gets)] {
            let p50 = |windows: &[Window]| windows.iter().map(|w| quantile(times(w).clone(), 0.5)).collect::<Vec<_>>();
            let (alone, loaded) = (p50(&self.alone), p50(&self.loaded));
            let ratio = median(loaded.iter().zip(&alone).map(|(loaded, alone)| loaded / alone).collect());
            let all = |windows: &[Window]| windows.iter().flat_map(times).copied().collect::<Vec<_>>();
            let (all_alone, all_loaded) = (all(&self.alone), all(&self.loaded));
            let count = all_loaded.len();
            let (p99_alone, p99_loaded) = (quantile(all_alone, 0.99), quantile(all_loaded, 0.99));
            let alone = median(alone);
            let is_slow = operation == "put" && alone * 1e3 > SLOW_COMMIT_NANOSECONDS;
            let word = match (has_target, is_slow) {
                (false, _) => String::new(),
                (true, true) => format!("p50 <= {TARGET}x undecided: the disk's timer hides it"),
                (true, false) => format!("p50 <= {TARGET}x {}", if ratio <= TARGET { "met" } else { "missed" }),
            };
            println!(
                "  {name:<34} {operation:<4} {alone:>10.1} {:>10.1} {ratio:>7.2}x {p99_alone:>10.1} {p99_loaded:>10.1} \
                 {:>7.2}x {count:>7}  {:>9.0}  {word}",
                median(loaded),
                p99_loaded / p99_alone,
                neighbour,
            );
        }
    }
}

/// The text of the import.
fn big_text(number: usize) -> String {
    format!("{number:0IMPORT_TEXT_BYTES$}")
}

fn import_key(number: usize) -> String {
    format!("import-{number:06}")
}

/// The keys of one batch of the import.
fn import_batch(step: usize) -> impl Iterator<Item = usize> {
    let batch = step % IMPORT_BATCHES;
    batch * IMPORT_BATCH..(batch + 1) * IMPORT_BATCH
}

/// Two tenants of one engine.
struct EngineStore {
    quiet: Memories,
    busy: Memories,
    busy_rows: usize,
    _world: World,
    _directory: TempDir,
}

impl EngineStore {
    fn new(busy_rows: usize, syncs: Syncs) -> Self {
        let directory = directory();
        load(&data(&directory), Files::Encrypted, QUIET_ROWS);
        let busy = |world: &World| world.another("busy").memories("notes").unwrap();
        {
            let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, unsynced());
            busy(&world).put_many((0..busy_rows).map(memory).collect()).unwrap();
        }
        let disk: Arc<dyn Disk> = if syncs == Syncs::Durable { Arc::new(SystemDisk) } else { unsynced() };
        let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, disk);
        Self { quiet: world.notes(), busy: busy(&world), busy_rows, _world: world, _directory: directory }
    }
}

impl Store for EngineStore {
    fn put(&self, number: usize) {
        self.quiet.put(memory(number)).unwrap();
    }

    fn get(&self, number: usize) {
        drop(black_box(self.quiet.get(&key(number)).unwrap()));
    }

    fn step(&self, load: Load, number: usize, until: Instant) -> usize {
        match load {
            Load::Singles => {
                self.busy.put(memory(number % self.busy_rows)).unwrap();
                1
            }
            Load::Batches => {
                let from = number * BATCH;
                let memories = (from..from + BATCH).map(|number| memory(number % self.busy_rows)).collect();
                self.busy.put_many(memories).unwrap();
                BATCH
            }
            Load::Import => {
                let memories = import_batch(number).map(|n| Memory::new(import_key(n)).text(big_text(n))).collect();
                self.busy.put_many(memories).unwrap();
                IMPORT_BATCH
            }
            Load::Iteration => slowly(self.busy.iter(List::new()).map(Result::unwrap), until),
        }
    }
}

/// Consumes rows one by one until it is time to stop.
fn slowly<R>(rows: impl Iterator<Item = R>, until: Instant) -> usize {
    let mut count = 0;
    for row in rows {
        drop(black_box(row));
        count += 1;
        if count % SLOW_AFTER == 0 {
            thread::sleep(SLOW_FOR);
            if Instant::now() >= until {
                break;
            }
        }
    }
    count
}

/// Both tenants in the same table of one file, apart by the beginning of their keys.
struct SharedStore {
    bare: Bare,
    busy_rows: usize,
    two_phase: bool,
}

fn busy_key(number: usize) -> String {
    format!("neighbour-{number:06}")
}

impl SharedStore {
    fn new(busy_rows: usize, syncs: Syncs, two_phase: bool) -> Self {
        let make = if syncs == Syncs::Durable { Bare::new } else { Bare::unsynced };
        let this = Self { bare: make(QUIET_ROWS, 2 * CACHE_BYTES), busy_rows, two_phase };
        this.commit((0..busy_rows).map(|number| (busy_key(number), vec![number as u8; RECORD_BYTES])));
        this
    }

    fn commit(&self, rows: impl Iterator<Item = (String, Vec<u8>)>) {
        let mut transaction = self.bare.database.begin_write().unwrap();
        transaction.set_two_phase_commit(self.two_phase);
        {
            let mut table = transaction.open_table(BARE).unwrap();
            for (key, record) in rows {
                table.insert(key.as_str(), record.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    fn busy_row(&self, number: usize) -> (String, Vec<u8>) {
        (busy_key(number % self.busy_rows), vec![number as u8; RECORD_BYTES])
    }
}

impl Store for SharedStore {
    fn put(&self, number: usize) {
        self.commit(std::iter::once((key(number), vec![number as u8; RECORD_BYTES])));
    }

    fn get(&self, number: usize) {
        drop(black_box(self.bare.get(&key(number))));
    }

    fn step(&self, load: Load, number: usize, until: Instant) -> usize {
        match load {
            Load::Singles => {
                self.commit(std::iter::once(self.busy_row(number)));
                1
            }
            Load::Batches => {
                let from = number * BATCH;
                self.commit((from..from + BATCH).map(|number| self.busy_row(number)));
                BATCH
            }
            Load::Import => {
                self.commit(import_batch(number).map(|n| (import_key(n), big_text(n).into_bytes())));
                IMPORT_BATCH
            }
            Load::Iteration => {
                let transaction = self.bare.database.begin_read().unwrap();
                let table = transaction.open_table(BARE).unwrap();
                let rows = table.range("neighbour-".."neighbour.").unwrap().map(|row| {
                    let (key, record) = row.unwrap();
                    (key.value().to_owned(), record.value().to_vec())
                });
                slowly(rows, until)
            }
        }
    }
}
