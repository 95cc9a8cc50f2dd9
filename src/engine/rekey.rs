//! Re-keying one tenant: its rows go over to a fresh file under a fresh key, and the pair before is destroyed. An erasure
//! of a user is a re-keying on which that user's rows do not come along.
//!
//! Order: mark *rekeying* in the catalog, key file, data file, the tenant's row with the next epoch, exchange of the open
//! files, former key shredded, former data removed, mark taken away. Until the row has the next epoch nothing has
//! happened; from then on everything has. After a crash the row says which pair counts, and the other one goes.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Inner;
use super::pool::TenantSlot;
use super::receipt::{Actor, Destroyed, Receipt, ReceiptFacts};
use crate::catalog::tenants::{Act, TenantRecord, TenantStatus};
use crate::crypto::tenant_key::TenantKey;
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::meter::Meters;
use crate::store::database::Switched;
use crate::store::directory::{file_exists, temporary, write_small};
use crate::tenant::carry::{Next, RekeyProgress};
use crate::tenant::erase::{Erase, ErasedUser};
use crate::tenant::open::{FileKeys, Owner};

/// The caller's part in a re-keying: told the progress, it may give up.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(RekeyProgress) -> ControlFlow<()>;

impl Inner {
    /// Re-keys the tenant of a name, by order of an operator.
    pub(super) fn rekey_by_name(&self, act: Act<'_>, tenant: &TenantId, progress: Progress<'_>) -> Result<Receipt> {
        let slot = {
            let _stable = self.lifecycle.read();
            let record = self.catalog.tenant(tenant)?.ok_or_else(Error::not_found)?;
            if matches!(record.status, TenantStatus::Provisioning | TenantStatus::Purging) {
                return Err(Reason::TenantState.into());
            }
            self.pool.slot(tenant, record.incarnation, record.epoch)
        };
        let by = Actor::Operator(act.operator.unwrap_or_default().to_owned());
        self.rekey(act, &slot, None, by, progress).map(|(_, receipt)| receipt)
    }

    /// Erases a user of a tenant, by order of an admin of the tenant.
    pub(crate) fn erase_user(
        &self,
        slot: &Arc<TenantSlot>,
        erase: Erase<'_>,
        progress: Progress<'_>,
    ) -> Result<(ErasedUser, Receipt)> {
        let act = Act { operator: None, at: erase.proof.at() };
        let by = Actor::User(erase.proof.user().clone());
        let (erased, receipt) = self.rekey(act, slot, Some(erase), by, progress)?;
        Ok((erased.ok_or_else(Error::not_found)?, receipt))
    }

    fn rekey(
        &self,
        act: Act<'_>,
        slot: &Arc<TenantSlot>,
        erase: Option<Erase<'_>>,
        by: Actor,
        progress: Progress<'_>,
    ) -> Result<(Option<ErasedUser>, Receipt)> {
        if slot.is_changing_here() {
            return Err(Error::invalid("re-keying", "a transaction of the tenant is under way in this thread"));
        }
        let _under_way = self.begin_steps();
        let _files = slot.lock_files();
        let (tenant, incarnation) = (&slot.tenant, slot.incarnation);
        // An earlier call may not have been able to tidy up.
        if let Some(to) = self.catalog.rekeying(tenant)? {
            self.tidy_up(act, slot, to)?;
        }
        let from = self.epoch_of(slot)?;
        let to = from.next()?;
        self.check_free(incarnation, to)?;
        {
            let _exclusive = self.lifecycle.write();
            match self.catalog.begin_rekey(act, tenant, incarnation) {
                Err(error) if *error.reason() == Reason::CommitUnknown => match self.catalog.rekeying(tenant) {
                    Ok(Some(marked)) if marked == to => {}
                    _ => return Err(error),
                },
                begun => drop(begun?),
            }
        }
        let gone = match self.go_over(slot, to, erase, progress) {
            Ok(gone) => gone,
            Err(Stopped::Undecided(error)) => return Err(error),
            Err(Stopped::Undone(error)) => {
                if let Err(error) = self.tidy_up(act, slot, to) {
                    tracing::warn!(%tenant, reason = %error, "a re-keying that stopped is tidied up later");
                }
                return Err(error);
            }
        };
        self.tidy_up(act, slot, to)?;
        let destroyed = gone.clone().map_or(Destroyed::FormerKey, Destroyed::User);
        let at = self.clock.now();
        let facts = ReceiptFacts { destroyed, tenant: tenant.clone(), incarnation, last_epoch: from, at, by };
        Ok((gone, self.issue(&facts)?))
    }

    /// The epoch of the files that count.
    pub(super) fn epoch_of(&self, slot: &TenantSlot) -> Result<Epoch> {
        if let Some(epoch) = slot.epoch() {
            return Ok(epoch);
        }
        let record = self.catalog.tenant(&slot.tenant)?.filter(|record| record.incarnation == slot.incarnation);
        let epoch = record.ok_or_else(Error::not_found)?.epoch;
        slot.set_epoch(Some(epoch));
        Ok(epoch)
    }

    /// From the key file of the next epoch to the exchange of the open files.
    fn go_over(
        &self,
        slot: &Arc<TenantSlot>,
        to: Epoch,
        erase: Option<Erase<'_>>,
        progress: Progress<'_>,
    ) -> Result<Option<ErasedUser>, Stopped> {
        let incarnation = slot.incarnation;
        let lease = self.lease(slot, self.clock.now())?;
        let key = TenantKey::generate(incarnation, to)?;
        write_small(&*self.disk, &self.layout.tenant_key(incarnation, to), &key.wrap(&self.key)?)?;
        let proof = erase.as_ref().map(|erase| erase.proof);
        let turn = || proof.map_or_else(|| Ok(self.clock.now()), |proof| proof.turn());
        let mut watch = |done: RekeyProgress| {
            if slot.state.has_ended() || self.closing.load(Ordering::SeqCst) {
                // The file is waited for.
                return Err(slot.state.check().err().unwrap_or(Error::from(Reason::Closed)));
            }
            match progress(done) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Reason::Cancelled.into()),
            }
        };
        let next = Next {
            spec: self.tenant_spec(incarnation, to, &key),
            owner: Owner::new(self.id, incarnation, to),
            keys: FileKeys { cursors: key.cursors(), credentials: key.credentials() },
            erase,
            turn: &turn,
            watch: &mut watch,
        };
        let undecided = Cell::new(false);
        let switch = || {
            let switched = self.switch(slot, to);
            if matches!(switched, Switched::Unknown(_)) {
                undecided.set(true);
                slot.set_epoch(None);
            }
            switched
        };
        let carried = lease.tenant()?.carry_over(next, switch, || slot.set_epoch(Some(to)));
        carried.map_err(|error| if undecided.get() { Stopped::Undecided(error) } else { Stopped::Undone(error) })
    }

    /// Writes the next epoch into the tenant's row.
    fn switch(&self, slot: &TenantSlot, to: Epoch) -> Switched {
        let _exclusive = self.lifecycle.write();
        match self.catalog.switch_epoch(&slot.tenant, slot.incarnation, to) {
            Ok(_) => Switched::Yes,
            Err(error) if *error.reason() == Reason::CommitUnknown => match self.catalog.tenant(&slot.tenant) {
                Ok(Some(row)) if row.incarnation == slot.incarnation && row.epoch == to => Switched::Yes,
                Ok(_) => Switched::No(error),
                // Either pair may be the one that counts.
                Err(_) => Switched::Unknown(error),
            },
            Err(error) => Switched::No(error),
        }
    }

    /// Destroys the pair that does not count and takes the mark away.
    fn tidy_up(&self, act: Act<'_>, slot: &TenantSlot, to: Epoch) -> Result<()> {
        let now = self.epoch_of(slot)?;
        self.destroy_epoch(slot.incarnation, if now == to { before(to)? } else { to })?;
        let _exclusive = self.lifecycle.write();
        self.catalog.finish_rekey(act, &slot.tenant, slot.incarnation)
    }

    /// At open: a re-keying that was interrupted. Nothing is destroyed before the pair that stays was seen to open.
    pub(super) fn finish_rekey(&self, tenant: &TenantId, record: &TenantRecord, to: Epoch) -> Result<()> {
        let incarnation = record.incarnation;
        let from = before(to)?;
        let act = Act { operator: None, at: self.clock.now() };
        if record.epoch != from && record.epoch != to {
            return Err(Reason::DamagedRecord("unfinished tenant").into());
        }
        let other = if record.epoch == to { from } else { to };
        if self.opens(incarnation, record.epoch)? {
            self.destroy_epoch(incarnation, other)?;
        } else if other == to && self.opens(incarnation, to)? {
            // An older catalog was put back: this is how it went on.
            self.catalog.switch_epoch(tenant, incarnation, to)?;
            self.destroy_epoch(incarnation, from)?;
        } else {
            return Err(Reason::DamagedFile("neither file of a re-keying opens").into());
        }
        self.catalog.finish_rekey(act, tenant, incarnation)
    }

    /// Whether a pair of key and data file is whole.
    fn opens(&self, incarnation: Incarnation, epoch: Epoch) -> Result<bool> {
        let meters = Meters::new(self.pool.activity.clone());
        match self.open_tenant(incarnation, epoch, &Cell::new(false), meters, self.pool.room(None)) {
            Ok(tenant) => {
                tenant.close();
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::KeyUnavailable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Files of a later epoch than the row names belong to a catalog that is newer than this one: they are not touched.
    fn check_free(&self, incarnation: Incarnation, epoch: Epoch) -> Result<()> {
        for path in [self.layout.tenant_key(incarnation, epoch), self.layout.tenant_data(incarnation, epoch)] {
            if file_exists(&*self.disk, &path)? || file_exists(&*self.disk, &temporary(&path))? {
                return Err(Reason::ForeignFile("a tenant's file of a later epoch").into());
            }
        }
        Ok(())
    }
}

/// Why the tenant did not go over.
enum Stopped {
    /// It is where it was.
    Undone(Error),
    /// Where it is shows when the engine is opened again.
    Undecided(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Undone(error)
    }
}

fn before(epoch: Epoch) -> Result<Epoch> {
    epoch.0.checked_sub(1).map(Epoch).ok_or_else(|| Reason::DamagedRecord("epoch").into())
}
