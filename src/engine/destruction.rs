//! Destroying the key and data files of a tenant, and being sure of it.
//!
//! That a file is absent says nothing of its destruction: it may be away, with the directory or the mount that it is in.
//! So files lose their content before their names. What must be there is looked for; every key file is overwritten and
//! every data file cut to nothing, in place; the catalog records that; then the names go. Until it is on record an absent
//! file is an error, and the next call begins again. Afterwards an absent file is one whose name has gone already.

use std::collections::BTreeSet;

use super::core::Inner;
use crate::catalog::tenants::{PurgeStep, TenantRecord, Unfinished};
use crate::error::{Error, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::store::directory::{
    directory_exists, empty, file_exists, is_overwritten, overwrite, read_small, remove, shred, temporary,
};
use crate::store::layout::Layout;

const KEY_FILE: Reason = Reason::KeyFileMissing("tenant key file");
const DATA_FILE: Reason = Reason::Missing("a tenant's data file");
const DIRECTORY: Reason = Reason::Missing("the directory of a tenant's key or data files");

impl Inner {
    /// Destroys the files of a tenant that is marked as being purged. The caller has the lock of its files.
    pub(super) fn destroy_tenant(&self, tenant: &TenantId, record: &TenantRecord) -> Result<()> {
        let incarnation = record.incarnation;
        let Some(Unfinished::Purge(step)) = self.catalog.step(tenant, incarnation)? else {
            // Somebody else has finished it.
            return Err(Error::not_found());
        };
        if step.emptied.is_none() {
            let last = self.empty_tenant(record, &step)?;
            let _exclusive = self.lifecycle.write();
            self.catalog.purge_emptied(tenant, last)?;
        }
        self.unlink(incarnation, &self.epochs(record)?)?;
        self.remove_directory(incarnation)
    }

    /// Takes the content of all files of a tenant, and gives the last of their epochs.
    fn empty_tenant(&self, record: &TenantRecord, step: &PurgeStep) -> Result<Epoch> {
        let incarnation = record.incarnation;
        self.check_there(incarnation)?;
        let mut epochs = self.epochs(record)?;
        let mut needed = BTreeSet::from([record.epoch]);
        match step.rekeying {
            Some(to) if to == record.epoch => drop(needed.insert(to.before()?)),
            Some(_) => {}
            // A catalog that was put back may not know the last epoch: then the row's is gone, and a later pair is there.
            None if self.see(incarnation, record.epoch).is_err() => {
                let later = epochs.iter().rev().filter(|epoch| **epoch > record.epoch);
                let newest = later.copied().find(|epoch| self.see(incarnation, *epoch).is_ok());
                needed = BTreeSet::from([newest.unwrap_or(record.epoch)]);
            }
            None => {}
        }
        // All of them before the first is touched.
        needed.iter().try_for_each(|epoch| self.see(incarnation, *epoch))?;
        epochs.append(&mut needed);
        self.take_content(incarnation, &epochs)?;
        Ok(epochs.last().copied().unwrap_or(record.epoch))
    }

    /// Destroys the pair that does not count after a re-keying to the epoch `to`, or after one that was given up. The caller
    /// has the lock of the files.
    pub(super) fn destroy_other(
        &self,
        tenant: &TenantId,
        incarnation: Incarnation,
        now: Epoch,
        to: Epoch,
    ) -> Result<()> {
        let other = if now == to { to.before()? } else { to };
        let on_record = match self.catalog.step(tenant, incarnation)? {
            Some(Unfinished::Rekey { emptied, .. }) => emptied,
            Some(Unfinished::Purge(step)) => step.rekeying.is_none(),
            Some(Unfinished::Provision) | None => return Err(Reason::TenantState.into()),
        };
        let pair = BTreeSet::from([other]);
        if !on_record {
            self.check_there(incarnation)?;
            // The former pair was in service. One that was given up may not have come that far.
            if now == to {
                self.see(incarnation, other)?;
            }
            self.take_content(incarnation, &pair)?;
            if now == to {
                let _exclusive = self.lifecycle.write();
                self.catalog.rekey_emptied(tenant)?;
            }
        }
        self.unlink(incarnation, &pair)
    }

    /// Whether the files of an epoch were destroyed by us, as far as can be told without a record: the key file is
    /// overwritten, or key and data are both gone, as they are in the end.
    pub(super) fn is_destroyed(&self, incarnation: Incarnation, epoch: Epoch) -> Result<bool> {
        self.check_there(incarnation)?;
        if let Some(key) = read_small(&*self.disk, &self.layout.tenant_key(incarnation, epoch), KEY_FILE_BYTES_MAX)? {
            return Ok(is_overwritten(&key));
        }
        Ok(!file_exists(&*self.disk, &self.layout.tenant_data(incarnation, epoch))?)
    }

    /// Undoes a provisioning that did not come to its end. Its steps were made in an order (directory of keys, directory of
    /// data, key file, data file) and are undone in the opposite one, so that a later one proves those before it.
    pub(super) fn undo_provision(&self, record: &TenantRecord) -> Result<()> {
        let (disk, incarnation, epoch) = (&*self.disk, record.incarnation, record.epoch);
        let (has_keys, has_data) = self.check_directories(incarnation)?;
        let key = has_keys && file_exists(disk, &self.layout.tenant_key(incarnation, epoch))?;
        let path = self.layout.tenant_data(incarnation, epoch);
        let data = has_data && (file_exists(disk, &path)? || file_exists(disk, &temporary(&path))?);
        if (has_data && !has_keys) || (key && !has_data) {
            return Err(DIRECTORY.into());
        }
        if data && !key {
            return Err(KEY_FILE.into());
        }
        if !has_data {
            // It did not come to the key file.
            return Ok(());
        }
        let pair = BTreeSet::from([epoch]);
        self.take_content(incarnation, &pair)?;
        self.unlink(incarnation, &pair)?;
        self.remove_directory(incarnation)
    }

    /// # Errors
    /// `Unavailable` or `KeyUnavailable` when the key file or the data file of an epoch is not there.
    pub(super) fn see(&self, incarnation: Incarnation, epoch: Epoch) -> Result<()> {
        if !file_exists(&*self.disk, &self.layout.tenant_key(incarnation, epoch))? {
            return Err(KEY_FILE.into());
        }
        if !file_exists(&*self.disk, &self.layout.tenant_data(incarnation, epoch))? {
            return Err(DATA_FILE.into());
        }
        Ok(())
    }

    /// # Errors
    /// `Unavailable` when a directory is not there that a tenant has as long as it has a row.
    fn check_there(&self, incarnation: Incarnation) -> Result<()> {
        if self.check_directories(incarnation)? == (true, true) { Ok(()) } else { Err(DIRECTORY.into()) }
    }

    /// Overwrites key files and cuts data files to nothing, where they are there. Keys first: once they are gone the data is
    /// unreadable, whatever happens next.
    fn take_content(&self, incarnation: Incarnation, epochs: &BTreeSet<Epoch>) -> Result<()> {
        let disk = &*self.disk;
        for epoch in epochs {
            // A rotation must not bring back what it has read before.
            let _files = self.keyring.files();
            let key = self.layout.tenant_key(incarnation, *epoch);
            overwrite(disk, &key)?;
            overwrite(disk, &temporary(&key))?;
        }
        if !self.check_directories(incarnation)?.1 {
            return Ok(());
        }
        for epoch in epochs {
            let data = self.layout.tenant_data(incarnation, *epoch);
            empty(disk, &data)?;
            empty(disk, &temporary(&data))?;
        }
        Ok(())
    }

    /// Removes the names of files that hold nothing any more, those of the data first: while a data file has its name, its
    /// key file has too.
    fn unlink(&self, incarnation: Incarnation, epochs: &BTreeSet<Epoch>) -> Result<()> {
        let disk = &*self.disk;
        let (has_keys, has_data) = self.check_directories(incarnation)?;
        // It is never removed. The tenant's own directory is, in the end.
        if !has_keys || !directory_exists(disk, &self.layout.tenant_fan_out(incarnation))? {
            return Err(DIRECTORY.into());
        }
        for epoch in epochs {
            if has_data {
                let data = self.layout.tenant_data(incarnation, *epoch);
                remove(disk, &data)?;
                remove(disk, &temporary(&data))?;
            }
            let _files = self.keyring.files();
            let key = self.layout.tenant_key(incarnation, *epoch);
            shred(disk, &key)?;
            shred(disk, &temporary(&key))?;
        }
        Ok(())
    }

    /// Removes the tenant's own directory. What is left in it is not ours to remove, and then the directory stays as well.
    fn remove_directory(&self, incarnation: Incarnation) -> Result<()> {
        let (disk, directory) = (&*self.disk, self.layout.tenant_directory(incarnation));
        if self.check_directories(incarnation)?.1 && disk.list(&directory)?.is_empty() {
            disk.remove_directory(&directory)?;
            disk.sync_directory(&self.layout.tenant_fan_out(incarnation))?;
        }
        Ok(())
    }

    /// The row's epoch, and those of which a tenant has files: key files, which nobody else names so, and data files that
    /// have one or that the row accounts for. Other files are not ours.
    fn epochs(&self, record: &TenantRecord) -> Result<BTreeSet<Epoch>> {
        let incarnation = record.incarnation;
        let last = record.epoch.next().unwrap_or(record.epoch);
        let (has_keys, has_data) = self.check_directories(incarnation)?;
        let mut found = BTreeSet::from([record.epoch]);
        if has_keys {
            let names = self.disk.list(&self.layout.key_directory(incarnation))?;
            found.extend(names.iter().filter_map(|name| Layout::epoch_of_key(incarnation, name)));
        }
        if has_data {
            let names = self.disk.list(&self.layout.tenant_directory(incarnation))?;
            found.extend(names.iter().filter_map(|name| Layout::epoch_of_data(name)).filter(|epoch| *epoch <= last));
        }
        Ok(found)
    }
}
