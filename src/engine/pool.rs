//! Tenants that are open in this process: which ones, for how much memory, and which of them go when there is no room.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::keeper::Keeper;
use super::merger::Merger;
use super::slot::{Lease, Slot, Unopened};
use super::stats::EngineStats;
use crate::access::live::LivePolicy;
use crate::access::state::TenantState;
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::index::settings::IndexSettings;
use crate::limits::{ROOM_WAIT_MAX, TENANT_BYTES_MIN};
use crate::meter::{Activity, Meters};
use crate::process::Process;
use crate::store::database::new_turn;
use crate::store::turn::Turn;
use crate::tenant::merge::MergeRequest;
use crate::tenant::open::{Reached, Room, Tenant};

/// How much may be open at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolLimits {
    /// Each open tenant has one file descriptor.
    pub(crate) tenants: usize,
    pub(crate) bytes: u64,
    /// Of those, for the indexes of one tenant.
    pub(crate) tenant_index_bytes: u64,
}

/// One incarnation: its live state, and its file while somebody needs it.
#[derive(Debug)]
pub(crate) struct TenantSlot {
    pub(crate) tenant: TenantId,
    pub(crate) incarnation: Incarnation,
    /// Of the files that count; changed by a re-keying. 0 while only the catalog can tell.
    epoch: AtomicU32,
    pub(crate) state: Arc<TenantState>,
    pub(crate) policy: Arc<LivePolicy>,
    /// Of the writer of its file, whenever that is open.
    pub(crate) turn: Arc<Turn>,
    /// See [`TenantSlot::lock_files`].
    files: Mutex<()>,
    pub(crate) meters: Meters,
    file: Slot<Tenant>,
    /// When it was last used, and when its memory was last counted, in microseconds of the engine's clock.
    used_at: AtomicU64,
    counted_at: AtomicU64,
    /// What it counts for in the pool.
    bytes: AtomicU64,
    /// A sync failed when it was closed: the next opening must not believe the system's cache.
    sync_failed: AtomicBool,
}

/// All slots of an engine.
#[derive(Debug)]
pub(crate) struct Pool {
    limits: PoolLimits,
    process: Process,
    slots: Mutex<Slots>,
    /// Memory of all open tenants, by their last count.
    bytes: AtomicU64,
    keeper: Keeper,
    merger: Merger,
    pub(crate) activity: Arc<Activity>,
    opens: AtomicU64,
    evictions: AtomicU64,
    /// How far the files were that this engine has closed, each of the epoch named. Slots come and go; this stays, so
    /// that a file that is put back to an older copy meanwhile is not taken for the one that was closed.
    closed_at: Mutex<HashMap<Incarnation, (Option<Epoch>, Reached)>>,
    /// Operations of slots that are not known any more.
    retired_operations: AtomicU64,
}

#[derive(Debug, Default)]
struct Slots {
    known: HashMap<Incarnation, Arc<TenantSlot>>,
    /// Those that are open or being opened.
    open: HashMap<Incarnation, Arc<TenantSlot>>,
    /// When so many are known, those that nobody holds are let go.
    prune_at: usize,
}

/// Counted again after this long, if it is in use.
const COUNT_AGAIN_MICROS: u64 = 1_000;
/// What a tenant is opened with: beside what each counts for, the pages that opening reads.
const OPENING_BYTES: u64 = 2 * TENANT_BYTES_MIN;
/// Known slots below which nobody looks for idle ones.
const PRUNE_MIN: usize = 256;

impl Pool {
    pub(crate) fn new(limits: PoolLimits, index: IndexSettings) -> Arc<Self> {
        Arc::new(Self {
            limits,
            process: Process::this(),
            slots: Mutex::new(Slots { prune_at: PRUNE_MIN, ..Slots::default() }),
            bytes: AtomicU64::new(0),
            keeper: Keeper::default(),
            merger: Merger::new(index),
            activity: Arc::default(),
            opens: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            closed_at: Mutex::default(),
            retired_operations: AtomicU64::new(0),
        })
    }

    /// The slot of an incarnation that is in service.
    pub(crate) fn slot(&self, tenant: &TenantId, incarnation: Incarnation, epoch: Epoch) -> Arc<TenantSlot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.known.get(&incarnation) {
            return slot.clone();
        }
        if slots.known.len() >= slots.prune_at {
            // Nobody but this map can give out a slot that it alone holds. One whose last sync failed must not be
            // forgotten, nor one that has refused something and not written it down.
            let retired = &self.retired_operations;
            slots.known.retain(|_, slot| {
                let must_stay = slot.sync_failed.load(Ordering::Acquire) || slot.policy.refusals().is_waiting();
                let held = Arc::strong_count(slot) > 1 || must_stay;
                if !held {
                    retired.fetch_add(slot.meters.own.operations.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                held
            });
            slots.prune_at = slots.known.len().saturating_mul(2).max(PRUNE_MIN);
        }
        let slot = Arc::new(TenantSlot {
            tenant: tenant.clone(),
            incarnation,
            epoch: AtomicU32::new(epoch.0),
            state: TenantState::active(),
            policy: Arc::default(),
            turn: new_turn(),
            files: Mutex::new(()),
            meters: Meters::new(self.activity.clone()),
            file: Slot::new(),
            used_at: AtomicU64::new(0),
            counted_at: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            sync_failed: AtomicBool::new(false),
        });
        slots.known.insert(incarnation, slot.clone());
        slot
    }

    /// The slot of an incarnation, if anybody holds it or it is open.
    pub(crate) fn known(&self, incarnation: Incarnation) -> Option<Arc<TenantSlot>> {
        self.slots.lock().known.get(&incarnation).cloned()
    }

    pub(crate) fn forget(&self, incarnation: Incarnation) {
        self.closed_at.lock().remove(&incarnation);
        if let Some(slot) = self.slots.lock().known.remove(&incarnation) {
            self.retired_operations.fetch_add(slot.meters.own.operations.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The open tenant of a slot; `open` opens its file, and is told whether its last sync failed; it tells
    /// whether one failed again.
    ///
    /// # Errors
    /// What `open` answers; `RetryLater` when there is no room for one more and nobody makes any in time.
    pub(crate) fn lease<'a>(
        self: &'a Arc<Self>,
        slot: &'a Arc<TenantSlot>,
        at: Timestamp,
        open: impl Fn(&Cell<bool>) -> Result<Tenant>,
    ) -> Result<TenantLease<'a>> {
        slot.used_at.store(at.as_micros(), Ordering::Relaxed);
        let lease = slot.file.lease(|| {
            self.take_room(slot)?;
            let began = Instant::now();
            let sync_failed = Cell::new(slot.sync_failed.load(Ordering::Acquire));
            let opened = open(&sync_failed).and_then(|tenant| self.check_not_put_back(slot, &tenant).map(|()| tenant));
            if opened.is_err() {
                slot.sync_failed.store(sync_failed.get(), Ordering::Release);
                self.give_back(slot);
                return opened;
            }
            slot.sync_failed.store(false, Ordering::Release);
            slot.counted_at.store(0, Ordering::Relaxed);
            self.opens.fetch_add(1, Ordering::Relaxed);
            slot.meters.each(|activity| activity.opens.time(began.elapsed()));
            opened
        });
        match lease {
            Ok(lease) => Ok(TenantLease { lease: Some(lease), pool: self, slot, at }),
            Err(Unopened::Failed(error)) => Err(error),
            Err(Unopened::Ended) => Err(slot.state.check().err().unwrap_or(Error::from(Reason::Closed))),
        }
    }

    /// Waits for room for one more open tenant and takes it.
    fn take_room(&self, slot: &Arc<TenantSlot>) -> Result<()> {
        let began = Instant::now();
        loop {
            {
                let mut slots = self.slots.lock();
                let fits = slots.open.len() < self.limits.tenants
                    && self.bytes.load(Ordering::Relaxed).saturating_add(OPENING_BYTES) <= self.limits.bytes;
                // One tenant at a time is served whatever the budget.
                if fits || slots.open.is_empty() {
                    slots.open.insert(slot.incarnation, slot.clone());
                    // Before the next one looks.
                    self.count(slot, OPENING_BYTES);
                    break;
                }
            }
            if self.evict_one() {
                continue;
            }
            // All that is open is in use.
            if began.elapsed() >= ROOM_WAIT_MAX {
                return Err(Error::from(Reason::NoRoom).after(ROOM_WAIT_MAX));
            }
            thread::sleep(Duration::from_micros(500));
        }
        self.call_keeper();
        Ok(())
    }

    fn give_back(&self, slot: &TenantSlot) {
        self.slots.lock().open.remove(&slot.incarnation);
        self.count(slot, 0);
    }

    /// Sets what a slot counts for.
    fn count(&self, slot: &TenantSlot, bytes: u64) {
        let before = slot.bytes.swap(bytes, Ordering::Relaxed);
        if bytes >= before {
            self.bytes.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// Closes the tenant that can be spared most, if any is idle.
    fn evict_one(&self) -> bool {
        let open: Vec<_> = self.slots.lock().open.values().cloned().collect();
        let newest = open.iter().map(|slot| slot.used_at.load(Ordering::Relaxed)).max().unwrap_or(0);
        let mut candidates: Vec<_> = open.into_iter().map(|slot| (slot.spare(newest), slot)).collect();
        candidates.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        candidates.iter().any(|(_, slot)| self.close_if_idle(slot))
    }

    fn close_if_idle(&self, slot: &TenantSlot) -> bool {
        // A file that failed may go too: its slot keeps what is known of it. Its room is given back before anybody can
        // open it again and take some for it.
        let closed = slot.file.close_if_idle(|tenant| {
            let outcome = self.closed(slot, &tenant);
            drop(tenant);
            self.give_back(slot);
            outcome
        });
        if let Some(outcome) = closed {
            self.evictions.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = outcome {
                tracing::warn!(tenant = %slot.tenant, reason = %error, "closing an idle tenant failed");
            }
            return true;
        }
        false
    }

    /// Closes an open tenant, and remembers what the next opening must know.
    fn closed(&self, slot: &TenantSlot, tenant: &Tenant) -> Result<()> {
        tenant.record_refusals(slot.policy.refusals());
        let (outcome, reached) = tenant.close();
        slot.sync_failed.store(outcome.sync_failed, Ordering::Release);
        if let Some(reached) = reached {
            self.closed_at.lock().insert(slot.incarnation, (slot.epoch(), reached));
        }
        if outcome.failed { Err(Reason::CloseFailed.into()) } else { Ok(()) }
    }

    /// Refuses a file that is older than the one that this engine has closed. Whoever restores a backup closes the engine
    /// first.
    fn check_not_put_back(&self, slot: &TenantSlot, tenant: &Tenant) -> Result<()> {
        let before = self.closed_at.lock().get(&slot.incarnation).copied();
        let before = before.filter(|(epoch, _)| *epoch == slot.epoch());
        if let (Some((_, before)), Some(now)) = (before, tenant.opened_at())
            && now.is_behind(before)
        {
            return Err(Reason::DamagedFile("older than when this engine closed it").into());
        }
        Ok(())
    }

    /// Whether some of the room is about to be used up, in which case the keeper makes more before anybody waits.
    fn is_crowded(&self) -> bool {
        let tenants = self.slots.lock().open.len();
        let most = self.limits.tenants;
        tenants > most - most / 16 || self.bytes.load(Ordering::Relaxed) > self.limits.bytes / 16 * 15
    }

    /// Closes idle tenants until there is some room to spare.
    pub(super) fn relieve(&self) {
        loop {
            let tenants = self.slots.lock().open.len();
            let most = self.limits.tenants;
            let enough = tenants <= most - most / 8 && self.bytes.load(Ordering::Relaxed) <= self.limits.bytes / 8 * 7;
            if enough || self.keeper.is_stopped() || !self.evict_one() {
                return;
            }
        }
    }

    fn call_keeper(&self) {
        if self.is_crowded() {
            self.keeper.call();
        }
    }

    /// Starts the thread that closes idle tenants. Without it those who need room make it themselves.
    pub(crate) fn start_keeper(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        self.keeper.start(move || {
            pool.upgrade().is_some_and(|pool| {
                pool.relieve();
                true
            })
        });
    }

    /// Ends the threads. One of them may wait for a transaction, whose code may ask the engine for something: the caller has
    /// no lock that it would need.
    pub(crate) fn stop_threads(&self) {
        self.keeper.stop();
        self.merger.stop();
    }

    /// Stops the handles of all tenants for good and gives the slots, of which the files are still open.
    pub(crate) fn stop_all(&self) -> Vec<Arc<TenantSlot>> {
        let mut slots = self.slots.lock();
        slots.open.clear();
        let slots: Vec<_> = slots.known.drain().map(|(_, slot)| slot).collect();
        slots.iter().for_each(|slot| slot.state.close());
        slots
    }

    /// Closes a slot for good, after its running operations have ended. `None` when it was not open.
    pub(crate) fn end(&self, slot: &TenantSlot) -> Option<Result<()>> {
        let outcome = slot.file.end(|tenant| self.closed(slot, &tenant));
        self.give_back(slot);
        outcome
    }

    pub(crate) fn stats(&self) -> EngineStats {
        // Each tenant counts its own: a counter that all share would be a place where they meet.
        let (open_tenants, operations) = if self.process.is_another() {
            // After a fork nothing is open here, and the thread that had the lock may be missing.
            (0, 0)
        } else {
            let slots = self.slots.lock();
            let own = slots.known.values().map(|slot| slot.meters.own.operations.load(Ordering::Relaxed));
            (slots.open.len(), own.sum::<u64>())
        };
        EngineStats {
            open_tenants,
            open_tenants_max: self.limits.tenants,
            memory_bytes: self.bytes.load(Ordering::Relaxed),
            memory_bytes_max: self.limits.bytes,
            operations: operations.saturating_add(self.retired_operations.load(Ordering::Relaxed)),
            opens: self.opens.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            open_micros: self.activity.opens.read(),
            commit_micros: self.activity.commits.read(),
            commit_changes: self.activity.changes.read(),
        }
    }

    /// Memory for an index, which other tenants may have to make room for. Without a slot there is none.
    pub(crate) fn room(self: &Arc<Self>, slot: Option<&Arc<TenantSlot>>) -> Arc<dyn Room> {
        let slot = slot.map_or_else(Weak::new, Arc::downgrade);
        Arc::new(PoolRoom { pool: Arc::downgrade(self), slot, tenant_index_bytes: self.limits.tenant_index_bytes })
    }
}

impl TenantSlot {
    /// The lock of the tenant's key and data files, for whoever makes, exchanges, rewrites or destroys them: purge,
    /// re-keying, rotation of the engine key. What the catalog says of them is looked at again under it, or a key file
    /// that was destroyed could be written once more. Taken after `steps` and before `lifecycle`.
    pub(crate) fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock()
    }

    /// What handles are told when they are stopped for ever.
    pub(crate) fn ended(&self) -> Option<Error> {
        if self.state.has_ended() { self.state.check().err() } else { None }
    }

    /// The epoch of the files that count; `None` while only the catalog can tell.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        Some(Epoch(self.epoch.load(Ordering::Acquire))).filter(|epoch| epoch.0 > 0)
    }

    /// Other files may count now. The caller has the lock of the files, or is opening the tenant; nobody reads.
    pub(crate) fn set_epoch(&self, epoch: Option<Epoch>) {
        self.epoch.store(epoch.map_or(0, |epoch| epoch.0), Ordering::Release);
    }

    /// How well it can be spared: the longer it has not been used the better, and the less it costs to have it back.
    fn spare(&self, newest: u64) -> f64 {
        let idle = newest.saturating_sub(self.used_at.load(Ordering::Relaxed)) as f64;
        let cost = match self.file.open_lease() {
            Ok(Some(lease)) => lease.get().map_or(0, Tenant::reopening_cost),
            _ => 0,
        };
        (idle + 1.0) / (1.0 + f64::from(cost))
    }

    /// Does a piece of work of the engine's own, if the file is open.
    pub(super) fn with_open<R>(&self, work: impl FnOnce(&Tenant) -> R) -> Option<R> {
        let Ok(Some(lease)) = self.file.open_lease() else { return None };
        lease.get().map(work)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.file.open_lease(), Ok(Some(_)))
    }

    /// Whether this thread is inside a transaction of the tenant.
    pub(crate) fn is_changing_here(&self) -> bool {
        matches!(self.file.open_lease(), Ok(Some(lease)) if lease.get().is_some_and(Tenant::is_changing_here))
    }
}

/// Keeps a tenant open for one operation.
pub(crate) struct TenantLease<'a> {
    lease: Option<Lease<'a, Tenant>>,
    pool: &'a Arc<Pool>,
    slot: &'a Arc<TenantSlot>,
    at: Timestamp,
}

impl TenantLease<'_> {
    pub(crate) fn tenant(&self) -> Result<&Tenant> {
        self.lease.as_ref().and_then(Lease::get).ok_or_else(|| Reason::Closed.into())
    }
}

impl Drop for TenantLease<'_> {
    fn drop(&mut self) {
        if self.pool.process.check().is_err() {
            // The operation has forked. What is open is the other process's to close.
            return;
        }
        self.slot.meters.own.operations.fetch_add(1, Ordering::Relaxed);
        let at = self.at.as_micros();
        let counted = self.slot.counted_at.load(Ordering::Relaxed);
        let is_time = at.saturating_sub(counted) > COUNT_AGAIN_MICROS || counted == 0;
        let tenant = self.tenant().ok();
        let bytes = tenant.filter(|tenant| tenant.take_changed() || is_time).map(Tenant::bytes);
        if let Some(bytes) = bytes {
            self.slot.counted_at.store(at, Ordering::Relaxed);
            self.pool.count(self.slot, bytes);
        }
        self.lease = None;
        if bytes.is_some() {
            self.pool.call_keeper();
            // The keeper may be behind: nobody leaves the pool above its budget.
            let most = self.pool.limits.bytes;
            while self.pool.bytes.load(Ordering::Relaxed) > most && self.pool.evict_one() {}
        }
    }
}

/// What a tenant knows of the pool.
#[derive(Debug)]
struct PoolRoom {
    pool: Weak<Pool>,
    slot: Weak<TenantSlot>,
    tenant_index_bytes: u64,
}

impl Room for PoolRoom {
    fn take(&self, held: u64, more: u64) -> bool {
        let (Some(pool), Some(slot)) = (self.pool.upgrade(), self.slot.upgrade()) else { return false };
        if held.saturating_add(more) > self.tenant_index_bytes {
            return false;
        }
        // Taken before anybody looks, or two could take the same.
        pool.bytes.fetch_add(more, Ordering::Relaxed);
        slot.bytes.fetch_add(more, Ordering::Relaxed);
        while pool.bytes.load(Ordering::Relaxed) > pool.limits.bytes {
            if !pool.evict_one() {
                return false;
            }
        }
        true
    }

    fn count(&self, bytes: u64) {
        if let (Some(pool), Some(slot)) = (self.pool.upgrade(), self.slot.upgrade()) {
            pool.count(&slot, bytes);
        }
    }

    fn merge(&self, request: MergeRequest) {
        if let Some(pool) = self.pool.upgrade() {
            pool.merger.ask(self.slot.clone(), request);
        }
    }
}
