//! The engine's keys while it is open, and who may write key files at a time.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::crypto::engine_key::{EngineKey, EngineKeys};
use crate::error::{Reason, Result};

/// The versions of the engine key, and the locks of key files.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: RwLock<Arc<EngineKeys>>,
    /// Shared by those who write or destroy a tenant's key file, each of its own; exclusive to who wraps one anew, and
    /// for the moment in which another version becomes the newest. Whoever finds a file there while it is exclusive may
    /// replace it: it is not being destroyed. And once a version is not the newest any more, nothing is wrapped by it.
    files: RwLock<()>,
    /// Held by whoever rotates or retires a key.
    rotating: Mutex<()>,
}

/// The right to write or destroy key files of tenants, until it is dropped.
#[derive(Debug)]
pub(crate) struct KeyFiles<'a> {
    keys: Arc<EngineKeys>,
    _shared: RwLockReadGuard<'a, ()>,
}

impl KeyFiles<'_> {
    /// What a key file is wrapped by that is written meanwhile.
    pub(crate) fn newest(&self) -> &EngineKey {
        self.keys.newest()
    }
}

impl Keyring {
    pub(super) fn new(keys: EngineKeys) -> Self {
        Self { keys: RwLock::new(Arc::new(keys)), files: RwLock::new(()), rotating: Mutex::new(()) }
    }

    /// All versions there are now.
    pub(crate) fn keys(&self) -> Arc<EngineKeys> {
        self.keys.read().clone()
    }

    /// Whether these are still all.
    pub(super) fn is_current(&self, keys: &Arc<EngineKeys>) -> bool {
        Arc::ptr_eq(&self.keys.read(), keys)
    }

    /// Held while a key file of a tenant is written or destroyed, until that is durable.
    pub(crate) fn files(&self) -> KeyFiles<'_> {
        let shared = self.files.read();
        KeyFiles { keys: self.keys(), _shared: shared }
    }

    /// Nobody writes or destroys a tenant's key file meanwhile.
    pub(super) fn files_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.files.write()
    }

    /// # Errors
    /// `Conflict` when somebody else rotates or retires a key.
    pub(super) fn rotating(&self) -> Result<MutexGuard<'_, ()>> {
        Ok(self.rotating.try_lock().ok_or(Reason::RotationUnderWay)?)
    }

    /// Puts other keys in place of these. What was wrapped by a version that was the newest is durable by then.
    pub(super) fn replace(&self, keys: EngineKeys) {
        let _alone = self.files_alone();
        *self.keys.write() = Arc::new(keys);
    }
}
