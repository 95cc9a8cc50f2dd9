//! One redb file that outlives its failures.
//!
//! redb latches every I/O error, and a panic inside it poisons its locks. Either ends that one instance: it is
//! dropped behind `catch_unwind`, and the next operation opens the file anew or quarantines it. Other files never
//! notice.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{RwLock, RwLockReadGuard};
use redb::{ReadTransaction, ReadableDatabase, StorageBackend, Table, TableDefinition, WriteTransaction};

use super::backend::{PageFile, Traffic};
use super::copy::NewFile;
use super::directory::{file_exists, publish, temporary};
use super::fault::{ends_instance, from_io};
use super::file::Disk;
use super::shield::{Shielded, drop_shielded, panicked, shielded};
use super::turn::{Held, Turn, Waiting, Waits};
use crate::crypto::page::{PAGE_BYTES, PageCipher, PageScope};
use crate::crypto::secret::Secret;
use crate::error::{Error, Reason, Result};
use crate::limits::QUICK_REPAIR_ABOVE_BYTES;
use crate::process::Process;

/// The tables of one kind of file, opened once per commit and shared by all readers.
///
/// Opening a redb transaction and its tables costs more than a lookup, so a snapshot of all tables is kept until
/// the next commit replaces it. It pins one generation of pages and no more.
pub(crate) trait Tables: Sized + Send + Sync + 'static {
    /// Creates every table, empty.
    fn create(transaction: &WriteTransaction) -> Result<()>;
    /// Opens every table of a snapshot.
    fn open(transaction: &ReadTransaction) -> Result<Self>;
}

/// A transaction under way.
///
/// One table of it is open at a time, because opening one borrows it whole: a panic of redb while it opens a second
/// table poisons the lock that the first one's destructor needs, and that second panic would abort the process.
pub(crate) struct Writer<'txn>(pub(super) &'txn WriteTransaction);

impl Writer<'_> {
    pub(crate) fn open_table<K: redb::Key + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, &'static [u8]>,
    ) -> Result<Table<'_, K, &'static [u8]>> {
        Ok(self.0.open_table(definition)?)
    }
}

/// How a file closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    /// Not everything could be written. What was acknowledged is durable all the same.
    pub(crate) failed: bool,
    /// A sync failed: what the system's cache shows may not be on the device.
    pub(crate) sync_failed: bool,
    /// The counter of its header; absent where not all that was written is certain to be on the device.
    pub(crate) header_counter: Option<u64>,
}

/// Whether a new file counts now.
#[derive(Debug)]
pub(crate) enum Switched {
    Yes,
    No(Error),
    /// Which of the two counts will show when the engine is opened again.
    Unknown(Error),
}

/// What an open file takes and does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FileFigures {
    pub(crate) cache_bytes: u64,
    pub(crate) held_bytes: u64,
    pub(crate) traffic: Traffic,
    pub(crate) is_armed: bool,
}

/// Where a file is and how it is opened.
#[derive(Clone)]
pub(crate) struct FileSpec {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    /// Absent for plaintext files.
    pub(crate) sealing: Option<(Arc<Secret<32>>, PageScope)>,
    pub(crate) cache_bytes: usize,
    /// Keep redb's allocator state in every commit, whatever the size of the file.
    pub(crate) always_quick_repair: bool,
    /// A file of at most this many bytes is checked as a whole when it is opened.
    pub(crate) check_bytes_max: u64,
}

/// An open file with its tables `T`.
pub(crate) struct Database<T: Tables> {
    /// Locked after `state`.
    spec: RwLock<Arc<FileSpec>>,
    /// Of the one writer, whose transaction may run the caller's code.
    turn: Arc<Turn>,
    /// Asked before any lock is taken.
    process: Process,
    state: RwLock<State<T>>,
}

enum State<T> {
    Open(Live<T>),
    /// The instance ended; the next operation opens another.
    Ended {
        sync_failed: bool,
    },
    Quarantined {
        error: Error,
        sync_failed: bool,
    },
    Closed,
}

/// Fields drop in this order: the snapshot before the database under it.
struct Live<T> {
    snapshot: RwLock<Arc<T>>,
    redb: Shielded<redb::Database>,
    file: PageFile,
}

impl<T: Tables> Database<T> {
    /// Writes a new file with empty tables and whatever `fill` writes, and closes it. The name appears only when all is
    /// durable.
    pub(crate) fn create(spec: &FileSpec, fill: impl FnOnce(Writer<'_>) -> Result<()>) -> Result<()> {
        Self::make(spec, |file| fill(file.writer()?))
    }

    /// As [`Database::create`], in as many transactions as `fill` needs.
    fn make<R>(spec: &FileSpec, fill: impl FnOnce(&mut NewFile) -> Result<R>) -> Result<R> {
        if file_exists(&*spec.disk, &spec.path)? {
            return Err(Reason::ForeignFile("a file where a new one belongs").into());
        }
        let at = temporary(&spec.path);
        if file_exists(&*spec.disk, &at)? {
            spec.disk.remove(&at)?;
        }
        let process = Process::this();
        let made = shielded(|| {
            let file = spec.disk.create(&at)?;
            let file = match spec.cipher() {
                Some(cipher) => PageFile::create(file, cipher),
                None => PageFile::plain(file),
            };
            let mut file = NewFile::new(spec.builder().create_with_backend(file)?);
            T::create(file.writer()?.0)?;
            let answer = fill(&mut file);
            if let Err(error) = process.check_by_id() {
                // `fill` may have run its caller's code, which forked: this is a copy of the file under way.
                std::mem::forget(file);
                return Err(error);
            }
            let answer = answer?;
            // Closing writes the clean header, synced, in both copies.
            file.close()?;
            publish(&*spec.disk, &at, &spec.path)?;
            Ok(answer)
        });
        if made.is_err() {
            // A file whose creation failed never opens; it must not stay.
            let _ = spec.disk.remove(&at);
        }
        made
    }

    /// Opens a file that must exist: an empty or missing one is an error, never a new database. `sync_failed`: as its last
    /// closing said; set when a sync fails on the way, which whoever tries again must know. `turn`: the same for all openings
    /// of one file.
    pub(crate) fn open(spec: FileSpec, sync_failed: &Cell<bool>, turn: Arc<Turn>) -> Result<Self> {
        let live = Live::open(&spec, sync_failed)?;
        let (spec, state) = (RwLock::new(Arc::new(spec)), RwLock::new(State::Open(live)));
        Ok(Self { spec, turn, process: Process::this(), state })
    }

    /// Reads one consistent snapshot.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> Result<R>) -> Result<R> {
        self.process.check()?;
        self.with_live(self.is_writing(), |live| {
            let snapshot = live.snapshot.read().clone();
            read(&snapshot)
        })
    }

    /// Runs one durable transaction: all of `write` or nothing.
    ///
    /// # Errors
    /// Whatever `write` answers, with nothing changed. `OutcomeUnknown` when the commit itself failed. `InvalidInput`
    /// from inside another transaction of this file, `Conflict` inside those of other files that wait for this one.
    pub(crate) fn write<R>(&self, write: impl FnOnce(Writer<'_>) -> Result<R>) -> Result<R> {
        self.in_turn(|| self.with_live(false, |live| live.commit(&self.spec(), &self.process, write)))
    }

    /// Puts another file in the place of this one. Writers wait from the beginning to the end, readers only while the
    /// files are exchanged.
    ///
    /// `copy` fills the new file from a transaction of this one, which is given up afterwards: what it changes is in
    /// the new file alone. `switch` then makes the new file the one that counts, wherever that is written down, and
    /// `exchanged` runs while nobody reads.
    ///
    /// # Errors
    /// Whatever `copy` and `switch` answer, with this file in its place. When `switch` cannot tell, neither file serves
    /// any more. `InvalidInput` from inside a transaction of this file.
    pub(crate) fn replace<R>(
        &self,
        next: FileSpec,
        copy: impl FnOnce(Writer<'_>, &mut NewFile) -> Result<R>,
        switch: impl FnOnce(&R) -> Switched,
        exchanged: impl FnOnce(&R),
    ) -> Result<R> {
        self.in_turn(|| {
            let answer = self.with_live(false, |live| {
                live.lend(&self.process, |writer| Self::make(&next, |file| copy(writer, file)))
            })?;
            let live = Live::open(&next, &Cell::new(false))?;
            match switch(&answer) {
                Switched::Yes => {}
                Switched::No(error) => {
                    drop_shielded(live);
                    return Err(error);
                }
                Switched::Unknown(error) => {
                    drop_shielded(live);
                    self.leave(State::Quarantined { error: error.clone(), sync_failed: false });
                    return Err(error);
                }
            }
            let mut state = self.state.write();
            *self.spec.write() = Arc::new(next);
            if !matches!(*state, State::Closed) {
                drop_shielded(std::mem::replace(&mut *state, State::Open(live)));
            }
            exchanged(&answer);
            Ok(answer)
        })
    }

    /// Runs `work` as the one writer.
    fn in_turn<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        self.check_not_writing()?;
        let _one_at_a_time = self.take_turn()?;
        TRANSACTIONS.with(|open| open.set(open.get().saturating_add(1)));
        let outcome = work();
        TRANSACTIONS.with(|open| open.set(open.get().saturating_sub(1)));
        outcome
    }

    fn take_turn(&self) -> Result<Held<'_>> {
        self.turn.take(this_thread(), is_inside_transaction())
    }

    fn spec(&self) -> Arc<FileSpec> {
        self.spec.read().clone()
    }

    /// Ends what is open, if it is, and goes on as `state`.
    fn leave(&self, to: State<T>) {
        let mut state = self.state.write();
        if !matches!(*state, State::Closed) {
            drop_shielded(std::mem::replace(&mut *state, to));
        }
    }

    /// # Errors
    /// `InvalidInput` when this thread is inside a transaction of this file, which it would wait for; `Unavailable` after a
    /// fork.
    pub(crate) fn check_not_writing(&self) -> Result<()> {
        self.process.check_by_id()?;
        if self.is_writing() {
            return Err(Error::invalid("change", "a transaction of the same tenant is under way in this thread"));
        }
        Ok(())
    }

    /// Whether this thread is inside a transaction of this file.
    pub(crate) fn is_writing(&self) -> bool {
        self.turn.is_owned_by(this_thread())
    }

    /// Closes the file after running operations have ended; later ones answer `Closed`. After a fork the file is the other
    /// process's, and stays as it is.
    pub(crate) fn close(&self) -> Closing {
        if self.process.is_another() {
            return Closing { failed: false, sync_failed: false, header_counter: None };
        }
        // Nobody has a lease of a file that is closed, so that this waits for no code of a caller's.
        let _one_at_a_time = self.turn.take(this_thread(), false);
        let before = std::mem::replace(&mut *self.state.write(), State::Closed);
        match before {
            State::Open(live) => {
                let file = live.file.clone();
                let dropped = drop_shielded(live);
                let failed = !dropped || file.has_failed();
                let header_counter = (!failed).then(|| file.header_counters().1);
                Closing { failed, sync_failed: file.sync_failed(), header_counter }
            }
            State::Ended { sync_failed } | State::Quarantined { sync_failed, .. } => {
                Closing { failed: false, sync_failed, header_counter: None }
            }
            State::Closed => Closing { failed: false, sync_failed: false, header_counter: None },
        }
    }

    /// The newest snapshot, and the counter of the header that the file was opened with; `None` when it is not open. Unlike
    /// [`Database::read`], this opens no file that has failed.
    pub(crate) fn as_it_is(&self) -> Option<(Arc<T>, u64)> {
        let state = self.state.read_recursive();
        let State::Open(live) = &*state else { return None };
        Some((live.snapshot.read().clone(), live.file.header_counters().0))
    }

    /// What the open file takes and does.
    pub(crate) fn figures(&self) -> FileFigures {
        let state = self.state.read_recursive();
        let State::Open(live) = &*state else { return FileFigures::default() };
        let traffic = live.file.traffic();
        // redb does not say how full its cache is. It holds no more than there is, than it may, and than has passed.
        let passed = traffic.pages_read.saturating_add(traffic.pages_written).saturating_mul(PAGE_BYTES as u64);
        let there = StorageBackend::len(&live.file).unwrap_or(u64::MAX);
        FileFigures {
            cache_bytes: passed.min(there).min(self.spec().cache_bytes as u64),
            held_bytes: live.file.held_bytes() as u64,
            traffic,
            is_armed: live.file.is_armed(),
        }
    }

    /// `nested`: inside a transaction of this file, which holds the instance. It must not wait for those who wait for
    /// the instance, and leaves a failed one to the transaction, which fails after it.
    fn with_live<R>(&self, nested: bool, work: impl FnOnce(&Live<T>) -> Result<R>) -> Result<R> {
        let state = if nested { self.state.read_recursive() } else { self.usable_state()? };
        let State::Open(live) = &*state else { return Err(Reason::Closed.into()) };
        let result = shielded(|| work(live));
        let ends = result.as_ref().is_err_and(ends_instance);
        drop(state);
        if ends && !nested {
            self.end_instance();
        }
        result
    }

    /// A read guard on an open instance, opening one if the last has ended.
    fn usable_state(&self) -> Result<RwLockReadGuard<'_, State<T>>> {
        loop {
            {
                // Who ends an instance waits for the transaction of another thread, which may wait for one of this thread's.
                let state = if is_inside_transaction() { self.state.read_recursive() } else { self.state.read() };
                match &*state {
                    State::Open(_) => return Ok(state),
                    State::Quarantined { error, .. } => return Err(error.clone()),
                    State::Closed => return Err(Reason::Closed.into()),
                    State::Ended { .. } => {}
                }
            }
            self.open_again()?;
        }
    }

    /// Replaces an instance that has ended, unless somebody else has done so meanwhile.
    fn open_again(&self) -> Result<()> {
        let mut state = self.state.write();
        let State::Ended { sync_failed } = *state else { return Ok(()) };
        let sync_failed = Cell::new(sync_failed);
        *state = match Live::open(&self.spec(), &sync_failed) {
            Ok(live) => State::Open(live),
            // It may pass: the next operation tries again.
            Err(error)
                if matches!(
                    error.reason(),
                    Reason::Io(_) | Reason::DiskFull | Reason::Permissions { .. } | Reason::Missing(_)
                ) =>
            {
                *state = State::Ended { sync_failed: sync_failed.get() };
                return Err(error);
            }
            Err(error) => {
                tracing::error!(reason = %error, "a file could not be opened again and is quarantined");
                State::Quarantined { error, sync_failed: sync_failed.get() }
            }
        };
        Ok(())
    }

    /// Drops a failed instance once its last reader has left.
    fn end_instance(&self) {
        let mut state = self.state.write();
        if let State::Open(live) = &*state {
            let sync_failed = live.file.sync_failed();
            let before = std::mem::replace(&mut *state, State::Ended { sync_failed });
            drop_shielded(before);
        }
    }
}

impl<T: Tables> Live<T> {
    /// `sync_failed`: whether what the cache shows may be lost. Set when a sync fails on the way.
    fn open(spec: &FileSpec, sync_failed: &Cell<bool>) -> Result<Self> {
        let after_failed_sync = sync_failed.get();
        shielded(|| {
            if !file_exists(&*spec.disk, &spec.path)? {
                return Err(Reason::DamagedFile("missing").into());
            }
            let file = spec.disk.open(&spec.path)?;
            if file.len()? == 0 {
                return Err(Reason::DamagedFile("empty").into());
            }
            if after_failed_sync {
                // Pages of the failed sync look clean to the kernel and are only in its cache. What other writes
                // left dirty is written first, then the cache must be seen to be empty.
                file.sync()?;
                if !file.evict()? {
                    return Err(Reason::Quarantined.into());
                }
            }
            let file = match spec.cipher() {
                Some(cipher) => PageFile::open(file, cipher).map_err(from_io)?,
                None => PageFile::plain(file),
            };
            let opened = (|| {
                if after_failed_sync {
                    file.rewrite_headers().map_err(from_io)?;
                }
                let mut redb = Shielded::new(spec.builder().create_with_backend(file.clone())?);
                if file.holds_pages() {
                    // The file was repaired, and so checked. That is worth keeping even if nobody writes to it.
                    file.arm().map_err(from_io)?;
                } else if file.physical_len()? <= spec.check_bytes_max && !redb.check_integrity()? {
                    return Err(Reason::DamagedFile("its pages are not of one moment").into());
                }
                let snapshot = RwLock::new(Arc::new(snapshot(&redb)?));
                Ok(Self { snapshot, redb, file: file.clone() })
            })();
            sync_failed.set(after_failed_sync || file.sync_failed());
            opened
        })
    }

    /// Runs `work` in a transaction that is given up afterwards, whatever it answers.
    fn lend<R>(&self, process: &Process, work: impl FnOnce(Writer<'_>) -> Result<R>) -> Result<R> {
        self.file.arm().map_err(from_io)?;
        let transaction = self.redb.begin_write()?;
        let answer = work(Writer(&transaction));
        let transaction = still_here(transaction, process)?;
        let answer = answer?;
        transaction.abort()?;
        Ok(answer)
    }

    fn commit<R>(&self, spec: &FileSpec, process: &Process, write: impl FnOnce(Writer<'_>) -> Result<R>) -> Result<R> {
        let committing = Cell::new(false);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.file.arm().map_err(from_io)?;
            let mut transaction = self.redb.begin_write()?;
            if spec.always_quick_repair || self.file.physical_len()? > QUICK_REPAIR_ABOVE_BYTES {
                transaction.set_quick_repair(true);
            } else {
                transaction.set_two_phase_commit(true);
            }
            let answer = write(Writer(&transaction));
            let transaction = still_here(transaction, process)?;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    // After an I/O error the abort fails too, and says less.
                    let aborted = transaction.abort();
                    return Err(if ends_instance(&error) {
                        error
                    } else {
                        aborted.map_or_else(Error::from, |()| error)
                    });
                }
            };
            committing.set(true);
            transaction.commit().map_err(commit_error)?;
            Ok(answer)
        }));
        let answer = match outcome {
            Ok(outcome) => outcome?,
            Err(_) if committing.get() => return Err(Reason::CommitUnknown.into()),
            Err(_) => return Err(panicked()),
        };
        // The commit is durable from here on, whatever happens.
        if let Err(error) = shielded(|| self.file.mirror().map_err(from_io)) {
            tracing::warn!(kind = ?error.kind(), "the second header copy could not be written");
        }
        match shielded(|| snapshot(&self.redb)) {
            Ok(fresh) => {
                *self.snapshot.write() = Arc::new(fresh);
                Ok(answer)
            }
            // Readers must not go on with the old snapshot: the caller was told that its write is there.
            Err(_) => Err(Reason::CommitUnknown.into()),
        }
    }
}

thread_local! {
    /// How many transactions this thread is inside of.
    static TRANSACTIONS: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is inside a transaction of any file: then somebody may be waiting for its end, and it must not
/// wait behind those who do.
pub(crate) fn is_inside_transaction() -> bool {
    TRANSACTIONS.with(Cell::get) > 0
}

/// Tells other transactions that this one waits for the owner of a turn. Outside of a transaction nobody need be told.
///
/// # Errors
/// `Conflict` when the wait would never end.
pub(crate) fn wait_inside_transaction(turn: &Arc<Turn>) -> Result<Option<Waiting>> {
    is_inside_transaction().then(|| turn.wait(this_thread())).transpose()
}

/// The turn of a file that was not opened before. All files of the process are known to each other: the code of a
/// transaction may change tenants of several engines.
pub(crate) fn new_turn() -> Arc<Turn> {
    static WAITS: OnceLock<Arc<Waits>> = OnceLock::new();
    Turn::new(WAITS.get_or_init(Arc::default))
}

/// The code that a transaction has run may have forked. Then this is a copy of the transaction, which must not even be given
/// up: its pages and locks belong to the other process.
fn still_here(transaction: WriteTransaction, process: &Process) -> Result<WriteTransaction> {
    if let Err(error) = process.check_by_id() {
        std::mem::forget(transaction);
        return Err(error);
    }
    Ok(transaction)
}

/// A number of its own for each thread, never 0.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

fn snapshot<T: Tables>(redb: &redb::Database) -> Result<T> {
    T::open(&redb.begin_read()?)
}

impl FileSpec {
    fn cipher(&self) -> Option<PageCipher> {
        self.sealing.as_ref().map(|(key, scope)| PageCipher::new(key, *scope))
    }

    fn builder(&self) -> redb::Builder {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(self.cache_bytes);
        builder
    }
}

/// A failed commit may have reached the device, whatever the error says.
fn commit_error(error: redb::CommitError) -> Error {
    tracing::warn!(%error, "a commit failed");
    Reason::CommitUnknown.into()
}

impl<T: Tables> Drop for Database<T> {
    fn drop(&mut self) {
        if self.process.is_another() {
            // redb writes when it is dropped.
            std::mem::forget(std::mem::replace(self.state.get_mut(), State::Closed));
        }
        self.close();
    }
}

impl<T: Tables> fmt::Debug for Database<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.read() {
            State::Open(_) => "open",
            State::Ended { .. } => "ended",
            State::Quarantined { .. } => "quarantined",
            State::Closed => "closed",
        };
        f.debug_struct("Database").field("state", &state).finish_non_exhaustive()
    }
}
