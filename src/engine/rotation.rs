//! Rotation of the root key, which wraps the engine key anew, and of the engine key, which wraps every tenant's data key
//! anew. Tenants go on meanwhile; data is not touched.
//!
//! Root key: each engine key file is replaced whole. Engine key: file of the new version, row of the catalog, from here on
//! everything is wrapped by it; then one key file after the other is replaced whole; a version that no file needs is
//! retired by a rename, and then destroyed. A crash between any two steps leaves what the next call goes on from.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::core::Inner;
use super::operator::Operator;
use crate::catalog::audit::OperatorAction;
use crate::catalog::tenants::{Act, TenantStatus};
use crate::crypto::root_key::RootKey;
use crate::crypto::tenant_key::{self, TenantKey, wrapped_by};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::id::{Epoch, Incarnation, TenantId};
use crate::limits::{KEY_FILE_BYTES_MAX, LIST_PAGE_MAX};
use crate::store::directory::{
    TEMPORARY, directory_exists, file_exists, is_overwritten, publish, read_small, shred, temporary, write_small,
};
use crate::store::layout::{engine_key_version, tenant_key_owner};

/// How far a rotation of the engine key has come.
///
/// See [`Operator::rotate_engine_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRotation {
    /// The version that everything is wrapped by in the end.
    pub version: u32,
    /// Key files of tenants that were there when it began.
    pub total: u64,
    /// Of those, the ones that are wrapped by that version, or gone.
    pub done: u64,
    /// Of those, the ones that could not be opened. They are left as they are.
    pub refused: u64,
}

impl KeyRotation {
    /// Whether nothing is left to do.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// # use watertight::*;
    /// # let (key, disk) = (|| RootKey::from_bytes(std::array::from_fn(|i| i as u8)), watertight::disk::MemoryDisk::new());
    /// # let builder = Engine::builder("/data").root_key(key()?).danger().disk(std::sync::Arc::new(disk));
    /// # let (engine, authority) = builder.open()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?)?;
    /// # operator.provision(TenantSpec::new("zoo")?)?;
    /// let stopped = operator.rotate_engine_key(&key()?, |_| ControlFlow::Break(()))?;
    /// assert!(!stopped.is_finished() && stopped.done == 1);
    /// let resumed = operator.rotate_engine_key(&key()?, |_| ControlFlow::Continue(()))?;
    /// assert!(resumed.is_finished() && resumed.version == stopped.version);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done == self.total
    }
}

/// Which versions of the engine key there are, and what needs them.
///
/// See [`Operator::engine_keys`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineKeyUse {
    /// The version that everything is wrapped by from now on.
    pub newest: u32,
    /// Each version with the number of tenants' key files that it wrapped.
    pub versions: BTreeMap<u32, u64>,
    /// Of those files, the ones that do not open all the same.
    pub damaged: u64,
    /// Files in a key file's place that do not say which version wrapped them.
    pub unreadable: u64,
}

impl Operator {
    /// Wraps the engine key under another root key. Data, tenants and their keys are not touched.
    ///
    /// From the first step on the engine may need either of the two keys to open: open it with the new one and
    /// [`crate::EngineBuilder::older_root_key`] until this has returned. After a failure or a crash, call it again. The
    /// wrapping before is overwritten; the blocks of a device that keeps old versions may hold it all the same, so that
    /// a root key that was stolen together with the disk asks for a rotation of the engine key as well.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watertight::*;
    ///
    /// let disk = Arc::new(watertight::disk::MemoryDisk::new());
    /// let open = |key| Engine::builder("/data").root_key(key).danger().disk(disk.clone()).open();
    /// let old = || RootKey::from_bytes(std::array::from_fn(|i| i as u8));
    /// let new = || RootKey::from_bytes(std::array::from_fn(|i| 255 - i as u8));
    ///
    /// let (engine, authority) = open(old()?)?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// operator.rotate_root_key(&new()?)?;
    /// engine.close()?;
    /// drop((engine, authority, operator));
    ///
    /// assert_eq!(*open(old()?).unwrap_err().reason(), Reason::RootKeyWrong);
    /// assert!(open(new()?).is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `KeyUnavailable` when the new key cannot be had, with nothing changed; `Conflict` while another rotation is under
    /// way; `Unavailable` when a file cannot be written.
    pub fn rotate_root_key(&self, root: &RootKey) -> Result<()> {
        self.engine.rotate_root_key(self.act()?, root)
    }

    /// Makes a new version of the engine key, under the root key of the one before, and wraps every tenant's key file
    /// anew under it; or goes on with that, if a call before was stopped, failed, or ended with the process. When nothing
    /// is left to do, this is all it tells: a further version is made when the one before it is retired.
    ///
    /// `progress` is called after each key file, with no lock held; `Break` stops there. Tenants go on meanwhile, also
    /// those whose keys are under the older version, and new ones come under the new one.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use watertight::*;
    ///
    /// # let (key, disk) = (|| RootKey::from_bytes(std::array::from_fn(|i| i as u8)), watertight::disk::MemoryDisk::new());
    /// # let builder = Engine::builder("/data").root_key(key()?).danger().disk(std::sync::Arc::new(disk));
    /// # let (engine, authority) = builder.open()?;
    /// let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    ///
    /// let rotation = operator.rotate_engine_key(&key()?, |now| {
    ///     println!("{} of {}", now.done, now.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert!(rotation.is_finished());
    ///
    /// let used = operator.engine_keys()?;
    /// assert_eq!((used.newest, used.versions[&1], used.versions[&2]), (2, 0, 1));
    /// operator.retire_engine_key(1)?;
    /// assert!(!operator.engine_keys()?.versions.contains_key(&1));
    ///
    /// let other = operator.rotate_engine_key(&RootKey::generate()?, |_| ControlFlow::Continue(()));
    /// assert_eq!(*other.unwrap_err().reason(), Reason::RootKeyWrong);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `KeyUnavailable` when the root key is not the one that wrapped the engine key, or cannot be had, and when tenants in
    /// service have no key file, which may be away and come back ([`Reason::KeyFilesMissing`]); `Conflict` while
    /// another rotation is under way; `Unavailable` or `OutcomeUnknown` when a file cannot be read or written: what was
    /// wrapped anew stays so. Key files that do not open are counted as refused, and are no error.
    pub fn rotate_engine_key(
        &self,
        root: &RootKey,
        mut progress: impl FnMut(&KeyRotation) -> ControlFlow<()>,
    ) -> Result<KeyRotation> {
        self.engine.rotate_engine_key(self.act()?, root, &mut progress)
    }

    /// Opens every key file and tells which version of the engine key it needs.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// operator.provision(TenantSpec::new("acme")?)?;
    /// let used = operator.engine_keys()?;
    /// assert_eq!((used.newest, used.versions[&1], used.damaged, used.unreadable), (1, 1, 0, 0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` when a file cannot be read.
    pub fn engine_keys(&self) -> Result<EngineKeyUse> {
        self.act()?;
        self.engine.engine_keys()
    }

    /// Destroys a version of the engine key that no key file needs: overwrites its file, syncs, and removes it. What was
    /// wrapped by that version, and was put aside somewhere, is unreadable from here on.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// assert_eq!(operator.retire_engine_key(1).unwrap_err().kind(), ErrorKind::Conflict);
    /// assert_eq!(operator.retire_engine_key(7).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Conflict` when it is the newest version, when a key file needs it or cannot be read, or while another rotation is
    /// under way; `NotFound` when there is no such version; `KeyUnavailable` when tenants in service have no key file, which may
    /// need it when it comes back ([`Reason::KeyFilesMissing`]).
    pub fn retire_engine_key(&self, version: u32) -> Result<()> {
        self.engine.retire_engine_key(self.act()?, version)
    }
}

/// A tenant's key file, by its name.
type KeyFile = (Incarnation, Epoch);

impl Inner {
    fn rotate_root_key(&self, act: Act<'_>, root: &RootKey) -> Result<()> {
        let _alone = self.keyring.rotating()?;
        let keys = self.keyring.keys();
        // A provider may take its time: nobody waits for it, and nothing is begun before it has answered.
        let files: Vec<(u32, Vec<u8>)> =
            keys.versions().map(|version| Ok((version, keys.wrap(version, root)?))).collect::<Result<_>>()?;
        let _under_way = self.begin_steps();
        self.catalog.record_key_action(act, OperatorAction::RotateRootKey)?;
        for (version, file) in files {
            self.replace_engine_key(version, &file)?;
        }
        self.catalog.record_key_action(act, OperatorAction::RootKeyRotated)
    }

    /// The file before stays open while its name goes to another, so that its bytes can be overwritten afterwards.
    fn replace_engine_key(&self, version: u32, file: &[u8]) -> Result<()> {
        let (disk, path) = (&*self.disk, self.layout.engine_key(version));
        if !file_exists(disk, &path)? {
            return Err(Reason::KeyFileMissing("engine key file").into());
        }
        let before = disk.open(&path)?;
        write_small(disk, &path, file)?;
        let overwritten = before.len().and_then(|length| {
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(KEY_FILE_BYTES_MAX);
            before.write_at(0, &vec![0; length])?;
            before.sync()
        });
        if let Err(error) = overwritten {
            // It has no name any more, and the new wrapping is durable.
            tracing::warn!(kind = ?error.kind(), version, "an engine key file that was replaced could not be overwritten");
        }
        Ok(())
    }

    fn rotate_engine_key(
        &self,
        act: Act<'_>,
        root: &RootKey,
        progress: &mut dyn FnMut(&KeyRotation) -> ControlFlow<()>,
    ) -> Result<KeyRotation> {
        let _alone = self.keyring.rotating()?;
        self.check_root(root)?;
        self.check_key_files()?;
        let keys = self.keyring.keys();
        let version = match keys.versions().nth(1) {
            None => self.begin_rotation(act, root)?,
            Some(_) => keys.newest().version(),
        };
        // Also if a crash came before it.
        self.catalog.begin_rotation(act, version)?;
        self.clear_leftovers()?;
        // Whatever is made from here on comes under the new version.
        let files = self.key_files()?;
        let mut rotation = KeyRotation { version, total: files.len() as u64, done: 0, refused: 0 };
        let mut failed = None;
        for file in files {
            match self.wrap_anew(file) {
                Ok(()) => rotation.done += 1,
                Err(error) => match error.kind() {
                    _ if is_unreadable(&error) => {
                        tracing::warn!(incarnation = %file.0, reason = %error, "a key file cannot be wrapped anew");
                        rotation.refused += 1;
                    }
                    // One file that cannot be read or written keeps no other waiting.
                    _ if matches!(error.reason(), Reason::Io(_)) => failed = Some(error),
                    _ => return Err(error),
                },
            }
            if progress(&rotation).is_break() {
                return Ok(rotation);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if rotation.is_finished() {
            // One that has gone meanwhile may be destroyed, or away.
            self.check_key_files()?;
            self.catalog.finish_rotation(act, rotation.version)?;
        }
        Ok(rotation)
    }

    /// # Errors
    /// `RootKeyWrong` when another root key wrapped the newest engine key: the next must not come under one that nobody
    /// expects.
    fn check_root(&self, root: &RootKey) -> Result<()> {
        let keys = self.keyring.keys();
        let version = keys.newest().version();
        let file = read_small(&*self.disk, &self.layout.engine_key(version), KEY_FILE_BYTES_MAX)?;
        keys.check_root(version, &file.ok_or(Reason::KeyFileMissing("engine key file"))?, root)
    }

    /// Makes the next version the newest. It is durable before anything is wrapped by it. One that did not come that far
    /// before wrapped nothing, and is written over.
    fn begin_rotation(&self, act: Act<'_>, root: &RootKey) -> Result<u32> {
        let keys = self.keyring.keys();
        let next = keys.with_new()?;
        let version = next.newest().version();
        let file = next.wrap(version, root)?;
        let _under_way = self.begin_steps();
        self.catalog.check_open()?;
        write_small(&*self.disk, &self.layout.engine_key(version), &file)?;
        self.catalog.begin_rotation(act, version)?;
        self.keyring.replace(next);
        Ok(version)
    }

    /// Wraps one key file under the newest version. A file that is gone is done.
    fn wrap_anew(&self, (incarnation, epoch): KeyFile) -> Result<()> {
        let _under_way = self.begin_steps();
        self.catalog.check_open()?;
        // Read while nobody destroys it: what is found here has not been destroyed when it is replaced.
        let _alone = self.keyring.files_alone();
        let (disk, path, keys) = (&*self.disk, self.layout.tenant_key(incarnation, epoch), self.keyring.keys());
        let Some(file) = read_small(disk, &path, tenant_key::FILE_BYTES)?.filter(|file| !is_overwritten(file)) else {
            return Ok(());
        };
        let key = TenantKey::unwrap(&file, &keys, incarnation, epoch)?;
        if wrapped_by(&file)? != keys.newest().version() {
            write_small(disk, &path, &key.wrap(keys.newest())?)?;
        }
        Ok(())
    }

    fn engine_keys(&self) -> Result<EngineKeyUse> {
        let keys = self.keyring.keys();
        let mut used = EngineKeyUse {
            newest: keys.newest().version(),
            versions: keys.versions().map(|version| (version, 0)).collect(),
            damaged: 0,
            unreadable: 0,
        };
        for (incarnation, epoch) in self.key_files()? {
            let path = self.layout.tenant_key(incarnation, epoch);
            let file = match read_small(&*self.disk, &path, tenant_key::FILE_BYTES) {
                Ok(Some(file)) if !is_overwritten(&file) => file,
                Ok(_) => continue,
                Err(error) if is_unreadable(&error) => {
                    used.unreadable += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Ok(version) = wrapped_by(&file) else {
                used.unreadable += 1;
                continue;
            };
            *used.versions.entry(version).or_default() += 1;
            if TenantKey::unwrap(&file, &keys, incarnation, epoch).is_err() {
                used.damaged += 1;
            }
        }
        Ok(used)
    }

    fn retire_engine_key(&self, act: Act<'_>, version: u32) -> Result<()> {
        let _alone = self.keyring.rotating()?;
        let keys = self.keyring.keys();
        if keys.version(version).is_none() {
            if file_exists(&*self.disk, &self.layout.retired_engine_key(version))? {
                let _under_way = self.begin_steps();
                return self.destroy_retired(act, version);
            }
            return Err(Error::not_found());
        }
        self.check_key_files()?;
        self.clear_leftovers()?;
        // A rename whose sync failed is seen, but may not be there after a crash.
        self.each_key_directory(|directory| Ok(self.disk.sync_directory(directory)?))?;
        let used = self.engine_keys()?;
        // Nothing new comes under a version that is not the newest, so that what is counted can only become less.
        let key_files = used.versions.get(&version).copied().unwrap_or(0).saturating_add(used.unreadable);
        if version == used.newest || key_files > 0 {
            return Err(Reason::EngineKeyInUse { version, key_files }.into());
        }
        let _under_way = self.begin_steps();
        self.catalog.record_key_action(act, OperatorAction::RetireEngineKey { version })?;
        // By one rename, or a crash would leave a file that is half destroyed in the place of a key.
        let (path, retired) = (self.layout.engine_key(version), self.layout.retired_engine_key(version));
        let renamed = publish(&*self.disk, &path, &retired);
        if file_exists(&*self.disk, &retired)? && !file_exists(&*self.disk, &path)? {
            self.keyring.replace(keys.without(version));
        }
        renamed?;
        self.destroy_retired(act, version)
    }

    fn destroy_retired(&self, act: Act<'_>, version: u32) -> Result<()> {
        let disk = &*self.disk;
        // Not before the new name is durable: after a crash the old one would name what is overwritten.
        disk.sync_directory(&self.layout.keys())?;
        shred(disk, &temporary(&self.layout.engine_key(version)))?;
        if !shred(disk, &self.layout.retired_engine_key(version))? {
            return Err(Reason::KeyFileMissing("retired engine key file").into());
        }
        self.catalog.record_key_action(act, OperatorAction::EngineKeyRetired { version })
    }

    /// At open: destroys what was retired before a crash. What cannot be destroyed now is tried again at the next open.
    pub(super) fn finish_retirements(&self) -> Result<()> {
        for name in self.disk.list(&self.layout.keys())? {
            let Some(version) = engine_key_version(&name, ".retired") else { continue };
            let act = Act { operator: None, at: self.clock.now() };
            if let Err(error) = self.destroy_retired(act, version) {
                tracing::error!(version, reason = %error, "cannot destroy a retired engine key");
            }
        }
        Ok(())
    }

    /// All key files of tenants, also of those that no row of the catalog names: an older catalog that was put back must
    /// not cost them their keys.
    fn key_files(&self) -> Result<Vec<KeyFile>> {
        let mut found = Vec::new();
        self.each_key_name(|_, name| {
            found.extend(tenant_key_owner(name));
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    }

    /// Destroys what a crash left half written: it holds keys as well.
    fn clear_leftovers(&self) -> Result<()> {
        self.each_key_name(|directory, name| {
            if name.strip_suffix(TEMPORARY).and_then(tenant_key_owner).is_none() {
                return Ok(());
            }
            let _under_way = self.begin_steps();
            self.catalog.check_open()?;
            // Nobody is writing it now.
            let _alone = self.keyring.files_alone();
            shred(&*self.disk, &directory.join(name)).map(|_| ())
        })
    }

    /// # Errors
    /// `KeyUnavailable` when tenants in service have no key file: it may only be away, and would then come back under a
    /// version of the engine key that is gone.
    fn check_key_files(&self) -> Result<()> {
        let (mut tenants, mut after) = (0, None);
        loop {
            let page = self.catalog.tenants(after.as_ref(), LIST_PAGE_MAX)?;
            for (tenant, _) in &page {
                tenants += u64::from(self.lacks_key_file(tenant)?);
            }
            let Some((last, _)) = page.into_iter().next_back() else { break };
            after = Some(last);
        }
        if tenants == 0 { Ok(()) } else { Err(Reason::KeyFilesMissing { tenants }.into()) }
    }

    fn lacks_key_file(&self, tenant: &TenantId) -> Result<bool> {
        let mut before = None;
        loop {
            let Some(row) = self.catalog.tenant(tenant)? else { return Ok(false) };
            if !matches!(row.status, TenantStatus::Active | TenantStatus::Suspended) {
                return Ok(false);
            }
            let path = self.layout.tenant_key(row.incarnation, row.epoch);
            match read_small(&*self.disk, &path, tenant_key::FILE_BYTES) {
                Ok(Some(file)) if !is_overwritten(&file) => return Ok(false),
                Ok(_) => {}
                // It is there. What cannot be read is counted elsewhere.
                Err(error) if is_unreadable(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            // A purge or a re-keying may have come in between.
            if before == Some((row.incarnation, row.epoch)) {
                return Ok(true);
            }
            before = Some((row.incarnation, row.epoch));
        }
    }

    fn each_key_name(&self, mut each: impl FnMut(&Path, &str) -> Result<()>) -> Result<()> {
        self.each_key_directory(|directory| {
            self.disk.list(directory)?.iter().try_for_each(|name| each(directory, name))
        })
    }

    fn each_key_directory(&self, mut each: impl FnMut(&Path) -> Result<()>) -> Result<()> {
        for directory in self.layout.key_directories() {
            if directory_exists(&*self.disk, &directory)? {
                each(&directory)?;
            }
        }
        Ok(())
    }
}

/// Whether a key file is there, and cannot be used as it is.
fn is_unreadable(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::KeyUnavailable | ErrorKind::Incompatible)
        || matches!(error.reason(), Reason::Permissions { .. })
}
