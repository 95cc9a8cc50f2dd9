//! The first operation of a tenant that is not open: how long it takes and how many syncs it waits for.
//!
//! An engine opens a tenant's file unarmed: what redb writes when it opens and closes a file stays in memory until the
//! first transaction. So the first get and the first recall find an unarmed file, and the first put arms it. The
//! baseline is what an application does that keeps a plain redb file for each tenant and opens it when it is needed:
//! it opens the file, which redb marks as open with a write and a sync, and gets, scans or commits.
//!
//! The engine may have one tenant open. Between two measured operations another tenant is read, which closes the one
//! that is measured; so each operation also closes that other tenant, which was only read. Files are in the system's
//! cache on both sides: this is the cost of opening, not that of a slow device.
//!
//! Syncs are counted by the disk that the engine is given, and by redb's backend for the baseline: all of them, those of
//! the catalog too. Once a minute an operation stores the clock's floor there, so that the most can be above the median.
//! The disk of an idle virtual machine completes a sync at its next timer tick; where one takes more than 2 ms the
//! ratios say little beyond the counts, and the bench prints so. All of it once more with syncs left out, which is the
//! strictest view of everything else; the counts are then of what was asked for.

mod support;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use support::vectors::{Corpus, corpus};
use support::{
    BARE, Effort, Files, RECORD_BYTES, SLOW_COMMIT_NANOSECONDS, Syncs, World, data, directory, key, median, memory,
    readable, unsynced, watched, watched_backend,
};
use tempfile::TempDir;
use watertight::disk::{Disk, SystemDisk};
use watertight::{Memories, Recall};

const CACHE_BYTES: usize = 4 << 20;
const TOP: usize = 10;

fn main() {
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let rows = if effort == Effort::Smoke { 50 } else { 1_000 };
    let rounds = effort.of(201, 1);
    let corpus = corpus(rows);
    let sync = one_sync(effort.of(101, 1));
    let word = if sync > SLOW_COMMIT_NANOSECONDS { ": the disk's timer decides, go by the counts" } else { "" };
    println!("\nwriting 4 KiB and one sync: {}{word}", readable(sync));
    for syncs in [Syncs::counted, Syncs::left_out] {
        compare(&corpus, syncs, rounds);
    }
    stored_index(effort);
}

/// The first recall of a tenant whose index is stored, against reading and decrypting as many bytes as its vectors have,
/// and as its codes have, page by page and nothing else.
fn stored_index(effort: Effort) {
    let rows = if effort == Effort::Smoke { 1_100 } else { 10_000 };
    let corpus = corpus(rows);
    let engine = ColdEngine::new(&corpus, Syncs::left_out());
    let recall = |number: usize| Recall::vector(&corpus.questions[number % corpus.questions.len()]).top(TOP);
    while !engine.world.tenant.index_status().unwrap().iter().any(|status| status.stored) {
        engine.notes.recall(&recall(0)).unwrap();
    }
    engine.close();
    let dimensions = corpus.vectors[0].len();
    let files = [rows * dimensions * 4, rows * (dimensions + 24)].map(SealedFile::new);
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..effort.of(101, 1) {
        for (file, times) in files.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(file.read());
            times.push(start.elapsed().as_nanos() as f64);
        }
        let start = Instant::now();
        assert_eq!(engine.notes.recall(&recall(round)).unwrap().len(), TOP);
        times[2].push(start.elapsed().as_nanos() as f64);
        engine.close();
    }
    println!("\nfirst recall of a tenant of {rows} vectors with a stored index ({})", corpus.origin);
    let ours = median(times[2].clone());
    for (name, times) in ["its vectors' bytes", "its codes' bytes"].iter().zip(&times) {
        let read = median(times.clone());
        println!("  reading and decrypting {name}: {}; the recall is {:.2}x", readable(read), ours / read);
    }
    println!("  first recall: {} (target: 3x the bytes)", readable(ours));
}

/// Pages as ours are on disk, to be read from the beginning to the end.
struct SealedFile {
    path: PathBuf,
    key: LessSafeKey,
    _directory: TempDir,
}

const SLOT_BYTES: usize = 4_608;
const PAGE_BYTES: usize = 4_096;

impl SealedFile {
    fn new(bytes: usize) -> Self {
        let directory = directory();
        let path = directory.path().join("sealed");
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        let mut file = Vec::new();
        for page in 0..bytes.div_ceil(PAGE_BYTES) {
            let mut slot = vec![page as u8; PAGE_BYTES];
            key.seal_in_place_append_tag(nonce(page), Aad::empty(), &mut slot).unwrap();
            slot.resize(SLOT_BYTES, 0);
            file.extend(slot);
        }
        std::fs::write(&path, file).unwrap();
        Self { path, key, _directory: directory }
    }

    fn read(&self) -> u64 {
        let file = SystemDisk.open(&self.path).unwrap();
        let (mut slot, mut sum) = ([0; SLOT_BYTES], 0);
        let pages = file.len().unwrap() as usize / SLOT_BYTES;
        for page in 0..pages {
            file.read_at((page * SLOT_BYTES) as u64, &mut slot).unwrap();
            let sealed = &mut slot[..PAGE_BYTES + AES_256_GCM.tag_len()];
            let opened = self.key.open_in_place(nonce(page), Aad::empty(), sealed).unwrap();
            sum += u64::from(opened[page % PAGE_BYTES]);
        }
        sum
    }
}

fn nonce(page: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&(page as u64).to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn compare(corpus: &Corpus, syncs: fn() -> Syncs, rounds: usize) {
    let engine = ColdEngine::new(corpus, syncs());
    let bare = ColdBare::new(corpus, syncs());
    let rows = corpus.vectors.len();
    println!(
        "\nfirst operation of a tenant that is not open, {}: {rows} memories of 1 KiB with vectors ({}), {rounds} \
         interleaved rounds",
        if syncs().happen() { "durable" } else { "syncs left out" },
        corpus.origin
    );
    println!("  {:<16} {:<56} {:>9} {:>7}  {:>15} {:>15}", "", "", "p50", "ratio", "syncs (most)", "at its close");
    let mut next = 0;
    for operation in [Operation::Get, Operation::Recall, Operation::Put] {
        let mut runs = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            next += 1;
            // As in `measure`: what one leaves behind is not always found by the same one.
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let question = &corpus.questions[next % corpus.questions.len()];
                let task = Task { operation, number: next * 7 % rows, question, vectors: &corpus.vectors };
                runs[side].push(if side == 0 { bare.run(&task) } else { engine.run(&task) });
            }
        }
        let (title, names) = operation.names();
        let ratios = runs[1].iter().zip(&runs[0]).map(|(ours, base)| ours.nanoseconds / base.nanoseconds).collect();
        let ratios = [1.0, median(ratios)];
        for ((name, runs), ratio) in names.into_iter().zip(&runs).zip(ratios) {
            let p50 = median(runs.iter().map(|run| run.nanoseconds).collect());
            println!(
                "  {title:<16} {name:<56} {:>9} {ratio:>6.2}x  {:>15} {:>15}",
                readable(p50),
                counts(runs.iter().map(|run| run.syncs)),
                counts(runs.iter().map(|run| run.syncs_at_close)),
            );
        }
    }
}

/// What a sync of a page costs on this disk, so that the counts can be read as times.
fn one_sync(rounds: usize) -> f64 {
    let directory = directory();
    let file = SystemDisk.create(&directory.path().join("page")).unwrap();
    let times = (0..rounds).map(|round| {
        let start = Instant::now();
        file.write_at(0, &[round as u8; 4_096]).unwrap();
        file.sync().unwrap();
        start.elapsed().as_nanos() as f64
    });
    median(times.collect())
}

/// The median, and the most.
fn counts(syncs: impl Iterator<Item = u64> + Clone) -> String {
    let most = syncs.clone().max().unwrap_or(0);
    format!("{} ({most})", median(syncs.map(|count| count as f64).collect()))
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Get,
    Recall,
    Put,
}

impl Operation {
    /// Of the operation, of the baseline and of ours.
    fn names(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Self::Get => ("first get", ["bare redb: open, get", "engine: unarmed open, get"]),
            Self::Recall => (
                "first recall",
                ["bare redb: open, exact scan, ten records", "engine: unarmed open, index of all vectors, recall"],
            ),
            Self::Put => {
                ("first put", ["bare redb: open, two-phase commit of two rows", "engine: open, arm, put in one commit"])
            }
        }
    }
}

struct Task<'a> {
    operation: Operation,
    number: usize,
    question: &'a [f32],
    vectors: &'a [Vec<f32>],
}

struct Run {
    nanoseconds: f64,
    syncs: u64,
    syncs_at_close: u64,
}

/// Times `open`, counts its syncs and those of `close`.
fn timed<R>(syncs: &Syncs, open: impl FnOnce() -> R, close: impl FnOnce(R)) -> Run {
    let before = syncs.count();
    let start = Instant::now();
    let opened = open();
    let nanoseconds = start.elapsed().as_nanos() as f64;
    let after = syncs.count();
    close(opened);
    Run { nanoseconds, syncs: after - before, syncs_at_close: syncs.count() - after }
}

/// An engine that has room for one open tenant.
struct ColdEngine {
    notes: Memories,
    other: Memories,
    syncs: Syncs,
    world: World,
    _directory: TempDir,
}

impl ColdEngine {
    fn new(corpus: &Corpus, syncs: Syncs) -> Self {
        let directory = directory();
        {
            let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, unsynced());
            let memories = corpus.vectors.iter().enumerate();
            let memories = memories.map(|(number, vector)| memory(number).vector(vector.clone())).collect();
            world.notes().put_many(memories).unwrap();
            world.another("other").memories("notes").unwrap().put(memory(0)).unwrap();
        }
        let disk = watched(syncs.clone());
        let world = World::open_with(&data(&directory), Files::Encrypted, disk, |builder| {
            builder.tenant_cache_bytes(CACHE_BYTES).open_tenants_max(1)
        });
        let (notes, other) = (world.notes(), world.another("other").memories("notes").unwrap());
        let this = Self { notes, other, syncs, world, _directory: directory };
        this.close();
        this
    }

    /// Takes the room, so that the tenant is closed.
    fn close(&self) {
        drop(black_box(self.other.get(&key(0)).unwrap()));
    }

    fn run(&self, task: &Task<'_>) -> Run {
        let operation = || match task.operation {
            Operation::Get => drop(black_box(self.notes.get(&key(task.number)).unwrap())),
            Operation::Recall => {
                let hits = self.notes.recall(&Recall::vector(task.question).top(TOP)).unwrap();
                assert_eq!(hits.len(), TOP);
            }
            Operation::Put => {
                let memory = memory(task.number).vector(task.vectors[task.number].clone());
                black_box(self.notes.put(memory).unwrap());
            }
        };
        let opens = self.world.engine.stats().opens;
        let run = timed(&self.syncs, operation, |()| self.close());
        // The measured tenant and the other one: neither was open.
        assert_eq!(self.world.engine.stats().opens, opens + 2);
        run
    }
}

const VECTORS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("vectors");

/// A plain redb file of the same rows that is closed when nobody uses it.
struct ColdBare {
    path: PathBuf,
    syncs: Syncs,
    _directory: TempDir,
}

impl ColdBare {
    fn new(corpus: &Corpus, syncs: Syncs) -> Self {
        let directory = directory();
        let path = directory.path().join("bare.redb");
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        for (number, vector) in corpus.vectors.iter().enumerate() {
            let (key, record) = (key(number), [number as u8; RECORD_BYTES]);
            transaction.open_table(BARE).unwrap().insert(key.as_str(), record.as_slice()).unwrap();
            transaction.open_table(VECTORS).unwrap().insert(key.as_str(), bytes(vector).as_slice()).unwrap();
        }
        transaction.commit().unwrap();
        Self { path, syncs, _directory: directory }
    }

    fn run(&self, task: &Task<'_>) -> Run {
        let operation = || {
            let database = self.open();
            match task.operation {
                Operation::Get => {
                    let transaction = database.begin_read().unwrap();
                    let table = transaction.open_table(BARE).unwrap();
                    drop(black_box(table.get(key(task.number).as_str()).unwrap().unwrap().value().to_vec()));
                }
                Operation::Recall => assert_eq!(nearest(&database, task.question).len(), TOP),
                Operation::Put => {
                    let mut transaction = database.begin_write().unwrap();
                    transaction.set_two_phase_commit(true);
                    let (key, vector) = (key(task.number), bytes(&task.vectors[task.number]));
                    let record = [1; RECORD_BYTES];
                    transaction.open_table(BARE).unwrap().insert(key.as_str(), record.as_slice()).unwrap();
                    transaction.open_table(VECTORS).unwrap().insert(key.as_str(), vector.as_slice()).unwrap();
                    transaction.commit().unwrap();
                }
            }
            database
        };
        timed(&self.syncs, operation, drop)
    }

    /// What `redb::Database::open` does, with a count of the syncs.
    fn open(&self) -> redb::Database {
        let backend = watched_backend(&self.path, self.syncs.clone());
        redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend).unwrap()
    }
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The nearest records by an exact scan of all vectors in the file.
fn nearest(database: &redb::Database, question: &[f32]) -> Vec<Vec<u8>> {
    let transaction = database.begin_read().unwrap();
    let vectors = transaction.open_table(VECTORS).unwrap();
    let mut scores: Vec<(f32, String)> = vectors
        .iter()
        .unwrap()
        .map(|row| {
            let (key, vector) = row.unwrap();
            (dot(vector.value(), question), key.value().to_owned())
        })
        .collect();
    scores.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let records = transaction.open_table(BARE).unwrap();
    scores.iter().take(TOP).map(|(_, key)| records.get(key.as_str()).unwrap().unwrap().value().to_vec()).collect()
}

/// Sixteen sums at a time, so that the compiler makes vector instructions of it.
fn dot(stored: &[u8], question: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (stored, question) in stored.as_chunks::<64>().0.iter().zip(question.as_chunks::<16>().0) {
        let stored = stored.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
        sums.iter_mut().zip(stored.zip(question)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum()
}
