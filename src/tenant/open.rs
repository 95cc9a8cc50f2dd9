//! One tenant's open file.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::commit::{Commits, commits};
use super::index::SharedSpace;
use super::merge::MergeRequest;
use super::place::Place;
use super::snapshot::Snapshot;
use super::usage::Facts;
use super::user::UserNames;
use crate::access::gate::{Admin, Proof};
use crate::crypto::credential::CredentialKey;
use crate::crypto::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::{EngineId, Epoch, Incarnation};
use crate::index::settings::IndexSettings;
use crate::limits::TENANT_BYTES_MIN;
use crate::meter::{Histogram, Meters};
use crate::store::chain;
use crate::store::codec::{self, Record};
use crate::store::database::{Closing, Database, FileSpec, Writer};
use crate::store::schema::META;
use crate::store::turn::Turn;

/// Who the file belongs to. Pages are bound to it already; this keeps plaintext files apart as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    engine: [u8; 16],
    incarnation: Incarnation,
    epoch: Epoch,
}

impl Owner {
    pub(crate) fn new(engine: EngineId, incarnation: Incarnation, epoch: Epoch) -> Self {
        Self { engine: *engine.as_bytes(), incarnation, epoch }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<()> {
        writer.open_table(META)?.insert(OWNER, codec::encode(self)?.as_slice())?;
        Ok(())
    }
}

impl Record for Owner {
    const KIND: u8 = 15;
    const NAME: &'static str = "file owner";
}

pub(super) const OWNER: &str = "owner";

/// One open tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(super) database: Database<Snapshot>,
    /// Of the file's epoch: exchanged with the file.
    pub(super) keys: RwLock<Arc<FileKeys>>,
    pub(super) users: UserNames,
    pub(super) commits: Commits,
    /// The kept outcomes were seen to be all there.
    pub(super) outcomes_walked: Arc<AtomicBool>,
    pub(super) meters: Meters,
    pub(super) room: Arc<dyn Room>,
    pub(super) index_settings: IndexSettings,
    pub(super) spaces: Mutex<HashMap<Place, Arc<SharedSpace>>>,
    /// Memory of all spaces.
    pub(super) index_bytes: Arc<AtomicU64>,
    /// That memory, or a promise of some, has changed since it was last counted.
    pub(super) has_changed: AtomicBool,
}

/// Whoever has a share in the engine's memory asks here for more.
pub(crate) trait Room: Send + Sync + std::fmt::Debug {
    /// Takes `more` for a tenant whose indexes hold `held` bytes, until its memory is counted again. Others may be closed
    /// for it. Gives whether there is so much.
    fn take(&self, held: u64, more: u64) -> bool;
    /// What the tenant takes now, in place of what was taken for it.
    fn count(&self, bytes: u64);
    /// Has an index looked after in the background, sooner or later.
    fn merge(&self, request: MergeRequest);
}

impl Tenant {
    /// Writes a new, empty tenant file and closes it.
    pub(crate) fn create(spec: &FileSpec, owner: &Owner) -> Result<()> {
        let fill = |mut writer: Writer<'_>| {
            owner.write(&mut writer)?;
            Facts::new().write(&mut writer)
        };
        Database::<Snapshot>::create(spec, fill)
    }

    /// Opens a tenant's file.
    ///
    /// # Errors
    /// `Damaged` when it is missing, damaged, or another tenant's.
    pub(crate) fn open(opening: Opening<'_>, owner: &Owner) -> Result<Self> {
        let Opening { spec, sync_failed, turn, keys, meters, room, index_settings } = opening;
        let database = Database::open(spec, sync_failed, turn)?;
        database.read(|snapshot: &Snapshot| {
            let row = snapshot.meta.get(OWNER)?.ok_or(Reason::DamagedRecord(Owner::NAME))?;
            if codec::decode::<Owner>(row.value())? != *owner {
                return Err(Reason::ForeignFile("another tenant's data file").into());
            }
            // The facts hold every number that is given once. One look tells whether they are as new as the trail.
            chain::check_newest(&snapshot.audit, snapshot.facts.audit)
        })?;
        Ok(Self {
            database,
            keys: RwLock::new(Arc::new(keys)),
            users: UserNames::default(),
            commits: commits(),
            outcomes_walked: Arc::default(),
            meters,
            room,
            index_settings,
            spaces: Mutex::default(),
            index_bytes: Arc::default(),
            has_changed: AtomicBool::new(false),
        })
    }

    /// The keys of the file that is open now.
    pub(super) fn keys(&self) -> Arc<FileKeys> {
        self.keys.read().clone()
    }

    /// Whether its memory must be counted now, however lately it was.
    pub(crate) fn take_changed(&self) -> bool {
        self.has_changed.load(Ordering::Relaxed) && self.has_changed.swap(false, Ordering::AcqRel)
    }

    /// Memory that the open tenant takes.
    pub(crate) fn bytes(&self) -> u64 {
        let file = self.database.figures();
        TENANT_BYTES_MIN + file.cache_bytes + file.held_bytes + self.index_bytes.load(Ordering::Relaxed)
    }

    /// What it costs to close it now and have it back later: a file that was written has to be synced, and each MiB of
    /// index has to be read again.
    pub(crate) fn reopening_cost(&self) -> u32 {
        let index = self.index_bytes.load(Ordering::Relaxed) >> 20;
        let syncs = if self.database.figures().is_armed { 4 } else { 0 };
        u32::try_from(index).unwrap_or(u32::MAX).saturating_add(syncs)
    }

    pub(crate) fn stats(&self, _proof: &Proof<'_, Admin>) -> TenantStats {
        let file = self.database.figures();
        let own = &self.meters.own;
        TenantStats {
            cache_bytes: file.cache_bytes,
            held_bytes: file.held_bytes,
            index_bytes: self.index_bytes.load(Ordering::Relaxed),
            pages_read: file.traffic.pages_read,
            pages_written: file.traffic.pages_written,
            syncs: file.traffic.syncs,
            waiting_changes: self.commits.waiting(),
            operations: own.operations.load(Ordering::Relaxed),
            open_micros: own.opens.read(),
            commit_micros: own.commits.read(),
            commit_changes: own.changes.read(),
        }
    }

    /// Whether this thread is inside a transaction of this tenant. It must not wait for its end.
    pub(crate) fn is_changing_here(&self) -> bool {
        self.database.is_writing()
    }

    /// How far the file was when it was opened, if it is open and nobody has changed it since.
    pub(crate) fn opened_at(&self) -> Option<Reached> {
        let (snapshot, header_counter) = self.database.as_it_is()?;
        Some(Reached { header_counter, step: snapshot.facts.sequence })
    }

    /// Waits for running operations, then closes the file. Later operations answer that it is closed. Gives as well how
    /// far the file was, where that is certain.
    pub(crate) fn close(&self) -> (Closing, Option<Reached>) {
        self.spaces.lock().clear();
        let step = self.database.as_it_is().map(|(snapshot, _)| snapshot.facts.sequence);
        let closing = self.database.close();
        let reached = closing.header_counter.zip(step).map(|(header_counter, step)| Reached { header_counter, step });
        (closing, reached)
    }
}

/// How far a file has come. Neither number ever falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    header_counter: u64,
    step: u64,
}

impl Reached {
    /// Whether a file that was here before has gone back.
    pub(crate) fn is_behind(self, before: Self) -> bool {
        self.header_counter < before.header_counter || self.step < before.step
    }
}

/// What a tenant is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) spec: FileSpec,
    /// As its last closing said; set when a sync fails on the way.
    pub(crate) sync_failed: &'a Cell<bool>,
    /// The same at every opening of the tenant.
    pub(crate) turn: Arc<Turn>,
    pub(crate) keys: FileKeys,
    pub(crate) meters: Meters,
    pub(crate) room: Arc<dyn Room>,
    pub(crate) index_settings: IndexSettings,
}

/// What one epoch's data key is for, beside the pages.
#[derive(Debug)]
pub(crate) struct FileKeys {
    pub(crate) cursors: Secret<64>,
    pub(crate) credentials: CredentialKey,
}

/// What an open tenant takes and has done. Counters of the file begin anew whenever it is opened; the others when the
/// engine is, or nobody has held the tenant for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantStats {
    /// Page cache, in bytes, at most.
    pub cache_bytes: u64,
    /// Written pages that wait for the next sync, in bytes.
    pub held_bytes: u64,
    /// Vector indexes in memory, in bytes.
    pub index_bytes: u64,
    /// Pages of 4 KiB read from the file and decrypted, because they were not in the cache.
    pub pages_read: u64,
    /// Pages of 4 KiB written.
    pub pages_written: u64,
    /// Syncs of the file.
    pub syncs: u64,
    /// Changes that wait for their turn.
    pub waiting_changes: usize,
    /// Operations of handles.
    pub operations: u64,
    /// How long opening the file took, in microseconds.
    pub open_micros: Histogram,
    /// How long transactions took, in microseconds.
    pub commit_micros: Histogram,
    /// How many changes shared a transaction.
    pub commit_changes: Histogram,
}
