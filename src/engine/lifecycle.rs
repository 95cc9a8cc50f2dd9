//! Crash-safe orders of making, stopping and destroying a tenant.
//!
//! Make: row *provisioning*, key file, data file, row *active*. Destroy: row *purging*, stop handles, close, destroy the
//! files, tombstone. After a crash the row says how far it came; the sweep at open finishes or undoes
//! it. Files that no such row names are never touched: a restored older catalog must not destroy tenants.

use std::cell::Cell;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;

use super::core::Inner;
use super::pool::{TenantLease, TenantSlot};
use super::receipt::{Actor, Destroyed, Receipt, ReceiptFacts};
use crate::catalog::tenants::{Act, TenantRecord, TenantStatus, Tombstone, Unfinished};
use crate::clock::Timestamp;
use crate::crypto::page::PageScope;
use crate::crypto::tenant_key::{self, TenantKey};
use crate::error::{Error, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::limits::TENANT_CHECK_BYTES_MAX;
use crate::meter::Meters;
use crate::store::database::{FileSpec, is_inside_transaction, new_turn, wait_inside_transaction};
use crate::store::directory::{directory_exists, ensure_directory, file_exists, read_small, write_small};
use crate::store::turn::Turn;
use crate::tenant::open::{FileKeys, Opening, Owner, Room, Tenant};

impl Inner {
    pub(super) fn provision(&self, act: Act<'_>, tenant: &TenantId, mut record: TenantRecord) -> Result<TenantRecord> {
        let _under_way = self.begin_steps();
        {
            let _exclusive = self.lifecycle.write();
            self.end_failed_provision(tenant, act.at)?;
        }
        let made = self.make_tenant(act, tenant, &mut record);
        let in_service = TenantRecord { status: TenantStatus::Active, ..record };
        let Err(error) = made else { return Ok(in_service) };
        // Undone now if that is possible; if not, the row stays *provisioning*, and the next call with the name or the next
        // open undoes it.
        let _exclusive = self.lifecycle.write();
        self.failed_provisions.lock().insert(tenant.clone(), in_service.incarnation);
        match self.end_failed_provision(tenant, act.at) {
            // The last commit is there although it failed.
            Ok(true) => return Ok(in_service),
            Ok(false) => {}
            Err(error) => tracing::warn!(kind = ?error.kind(), "a failed provisioning could not be undone yet"),
        }
        Err(error)
    }

    fn make_tenant(&self, act: Act<'_>, tenant: &TenantId, record: &mut TenantRecord) -> Result<()> {
        {
            let _exclusive = self.lifecycle.write();
            // Stamped when no other tenant can have the name any more: later than every identity that was attested
            // for a predecessor, earlier than every one attested for this tenant.
            record.created_at = self.clock.stamp();
            let begun = self.catalog.begin_provision(act, tenant, record).map(|()| record.clone());
            self.settle(tenant, begun, |row| row.incarnation == record.incarnation)?;
        }
        self.make_files(record)?;
        let _exclusive = self.lifecycle.write();
        self.catalog.finish_provision(tenant, record.incarnation)
    }

    /// Undoes a provisioning of this name that failed here, if the row says that there is something to undo. The caller has
    /// `lifecycle`.
    ///
    /// Whether that tenant is in service after all.
    fn end_failed_provision(&self, tenant: &TenantId, at: Timestamp) -> Result<bool> {
        let Some(incarnation) = self.failed_provisions.lock().get(tenant).copied() else { return Ok(false) };
        let row = self.catalog.tenant(tenant)?.filter(|row| row.incarnation == incarnation);
        if let Some(row) = row.as_ref().filter(|row| row.status == TenantStatus::Provisioning) {
            self.undo_provision(row)?;
            self.catalog.finish_removal(Act { operator: None, at }, tenant, incarnation)?;
        }
        self.failed_provisions.lock().remove(tenant);
        Ok(row.is_some_and(|row| row.status == TenantStatus::Active))
    }

    /// Keeps the directory open while files are made or destroyed in it. From inside a transaction, whose end a closing
    /// engine may be waiting for, without queueing behind that.
    pub(super) fn begin_steps(&self) -> RwLockReadGuard<'_, ()> {
        if is_inside_transaction() { self.steps.read_recursive() } else { self.steps.read() }
    }

    pub(super) fn set_suspended(&self, act: Act<'_>, tenant: &TenantId, suspended: bool) -> Result<TenantRecord> {
        let _exclusive = self.lifecycle.write();
        let record = self.settle(tenant, self.catalog.set_suspended(act, tenant, suspended), |record| {
            record.status == if suspended { TenantStatus::Suspended } else { TenantStatus::Active }
        })?;
        if let Some(slot) = self.pool.known(record.incarnation) {
            slot.state.set_suspended(suspended);
        }
        Ok(record)
    }

    pub(super) fn purge(&self, act: Act<'_>, tenant: &TenantId, only: Option<Incarnation>) -> Result<Receipt> {
        let known = self.catalog.tenant(tenant)?.and_then(|row| self.pool.known(row.incarnation));
        if known.as_ref().is_some_and(|slot| slot.is_changing_here()) {
            return Err(Error::invalid("purge", "a transaction of the tenant is under way in this thread"));
        }
        // Its end is waited for below. Where that would never come, nothing has been done yet.
        let told = known.map(|slot| wait_inside_transaction(&slot.turn)).transpose()?.flatten();
        let _under_way = self.begin_steps();
        let (record, slot) = {
            let _exclusive = self.lifecycle.write();
            let record = self.settle(tenant, self.catalog.begin_purge(act, tenant, only), |record| {
                record.status == TenantStatus::Purging
            })?;
            let slot = self.pool.slot(tenant, record.incarnation, record.epoch);
            slot.state.end();
            (record, slot)
        };
        let _waiting = match told {
            Some(told) => Some(told),
            // Somebody opened the tenant in between.
            None => wait_inside_transaction(&slot.turn)?,
        };
        // Whoever purges at the same time waits, and then finds the files gone and the row with them.
        let _files = slot.lock_files();
        // It is destroyed: how its file closes does not matter.
        let _ = self.pool.end(&slot);
        self.destroy_tenant(tenant, &record)?;
        let tombstone = {
            let _exclusive = self.lifecycle.write();
            let tombstone = self.catalog.finish_removal(act, tenant, record.incarnation)?;
            self.pool.forget(record.incarnation);
            tombstone
        };
        self.purge_receipt(record.incarnation, tombstone.ok_or_else(Error::not_found)?)
    }

    /// The receipt of a purge, from what stays of the tenant.
    pub(super) fn purge_receipt(&self, incarnation: Incarnation, tombstone: Tombstone) -> Result<Receipt> {
        let Tombstone { tenant, purged_at: at, purged_by, last_epoch } = tombstone;
        let by = purged_by.map_or(Actor::Unknown, Actor::Operator);
        self.issue(&ReceiptFacts { destroyed: Destroyed::Tenant, tenant, incarnation, last_epoch, at, by })
    }

    /// A step whose commit failed may be durable all the same: the row says whether it is. A row that cannot be read
    /// leaves the outcome unknown.
    pub(super) fn settle(
        &self,
        tenant: &TenantId,
        outcome: Result<TenantRecord>,
        is_done: impl FnOnce(&TenantRecord) -> bool,
    ) -> Result<TenantRecord> {
        match outcome {
            Err(error) if *error.reason() == Reason::CommitUnknown => match self.catalog.tenant(tenant) {
                Ok(Some(record)) if is_done(&record) => Ok(record),
                _ => Err(error),
            },
            outcome => outcome,
        }
    }

    /// At open: finishes half-done purges, and half-made tenants if their files are complete; undoes the others. What
    /// cannot be finished now stays unreachable until the next open, and keeps nobody else waiting.
    pub(super) fn sweep(&self) -> Result<()> {
        for (tenant, record, step) in self.catalog.unfinished()? {
            match self.finish(&tenant, &record, &step) {
                Ok(()) => tracing::info!(%tenant, "finished what a crash had interrupted"),
                Err(error) => tracing::error!(%tenant, reason = %error, "cannot finish what a crash interrupted"),
            }
        }
        Ok(())
    }

    fn finish(&self, tenant: &TenantId, record: &TenantRecord, step: &Unfinished) -> Result<()> {
        match record.status {
            TenantStatus::Active | TenantStatus::Suspended => {
                let Unfinished::Rekey { to, .. } = step else {
                    return Err(Reason::DamagedRecord("unfinished tenant").into());
                };
                return self.finish_rekey(tenant, record, *to);
            }
            // An older catalog that was put back may call a tenant half-made that has long been in service: files
            // that are complete are never destroyed here.
            TenantStatus::Provisioning if self.files_complete(record)? => {
                let meters = Meters::new(self.pool.activity.clone());
                let (whole, room) = (Cell::new(false), self.pool.room(None));
                self.open_tenant(record.incarnation, record.epoch, &whole, new_turn(), meters, room)?.close();
                return self.catalog.finish_provision(tenant, record.incarnation);
            }
            TenantStatus::Provisioning => self.undo_provision(record)?,
            TenantStatus::Purging => self.destroy_tenant(tenant, record)?,
        }
        let act = Act { operator: None, at: self.clock.now() };
        self.catalog.finish_removal(act, tenant, record.incarnation).map(|_| ())
    }

    fn files_complete(&self, record: &TenantRecord) -> Result<bool> {
        let (has_keys, has_data) = self.check_directories(record.incarnation)?;
        Ok(has_keys
            && has_data
            && file_exists(&*self.disk, &self.layout.tenant_key(record.incarnation, record.epoch))?
            && file_exists(&*self.disk, &self.layout.tenant_data(record.incarnation, record.epoch))?)
    }

    /// The open tenant of a slot, opened with its own key if it is not open.
    pub(crate) fn lease<'a>(&'a self, slot: &'a Arc<TenantSlot>, at: Timestamp) -> Result<TenantLease<'a>> {
        self.pool.lease(slot, at, |sync_failed| {
            let room = self.pool.room(Some(slot));
            let turn = slot.turn.clone();
            self.open_tenant(slot.incarnation, self.epoch_of(slot)?, sync_failed, turn, slot.meters.clone(), room)
        })
    }

    pub(super) fn open_tenant(
        &self,
        incarnation: Incarnation,
        epoch: Epoch,
        sync_failed: &Cell<bool>,
        turn: Arc<Turn>,
        meters: Meters,
        room: Arc<dyn Room>,
    ) -> Result<Tenant> {
        let path = self.layout.tenant_key(incarnation, epoch);
        self.check_directories(incarnation)?;
        let key = loop {
            // Before the file is read: a version that goes meanwhile is still among these.
            let keys = self.keyring.keys();
            let file = read_small(&*self.disk, &path, tenant_key::FILE_BYTES)?;
            let opened = file
                .ok_or(Reason::KeyFileMissing("tenant key file"))
                .map_err(Error::from)
                .and_then(|file| TenantKey::unwrap(&file, &keys, incarnation, epoch));
            match opened {
                // A version that has come meanwhile is not.
                Err(_) if !self.keyring.is_current(&keys) => {}
                opened => break opened?,
            }
        };
        let spec = self.tenant_spec(incarnation, epoch, &key);
        let keys = FileKeys { cursors: key.cursors(), credentials: key.into_credentials() };
        let opening = Opening { spec, sync_failed, turn, keys, meters, room, index_settings: self.index };
        Tenant::open(opening, &Owner::new(self.id, incarnation, epoch))
    }

    /// Opening a file refuses a link in its last name only; these are the names before it. Gives whether the
    /// directory of keys and the tenant's own exist.
    pub(super) fn check_directories(&self, incarnation: Incarnation) -> Result<(bool, bool)> {
        let disk = &*self.disk;
        let keys = directory_exists(disk, &self.layout.key_directory(incarnation))?;
        let tenant = directory_exists(disk, &self.layout.tenant_fan_out(incarnation))?
            && directory_exists(disk, &self.layout.tenant_directory(incarnation))?;
        Ok((keys, tenant))
    }

    fn make_files(&self, record: &TenantRecord) -> Result<()> {
        let (incarnation, epoch) = (record.incarnation, record.epoch);
        let disk = &*self.disk;
        ensure_directory(disk, &self.layout.key_directory(incarnation))?;
        ensure_directory(disk, &self.layout.tenant_fan_out(incarnation))?;
        ensure_directory(disk, &self.layout.tenant_directory(incarnation))?;
        let key = self.make_key(incarnation, epoch)?;
        let owner = Owner::new(self.id, incarnation, epoch);
        Tenant::create(&self.tenant_spec(incarnation, epoch, &key), &owner)
    }

    /// Draws the data key of an epoch and writes its key file. This, `take_content` and
    /// `unlink` are all changes of key files.
    pub(super) fn make_key(&self, incarnation: Incarnation, epoch: Epoch) -> Result<TenantKey> {
        let key = TenantKey::generate(incarnation, epoch)?;
        // Held until it is durable: a rotation must not miss it.
        let files = self.keyring.files();
        write_small(&*self.disk, &self.layout.tenant_key(incarnation, epoch), &key.wrap(files.newest())?)?;
        Ok(key)
    }

    pub(super) fn tenant_spec(&self, incarnation: Incarnation, epoch: Epoch, key: &TenantKey) -> FileSpec {
        let scope = PageScope::tenant(self.id, incarnation, epoch);
        FileSpec {
            disk: self.disk.clone(),
            path: self.layout.tenant_data(incarnation, epoch),
            sealing: (!self.plaintext).then(|| (Arc::new(key.pages()), scope)),
            cache_bytes: self.tenant_cache_bytes,
            always_quick_repair: false,
            check_bytes_max: TENANT_CHECK_BYTES_MAX,
        }
    }
}
