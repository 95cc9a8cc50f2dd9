//! Tenants that are open in this process, one slot for each incarnation.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::access::gate::TenantState;
use crate::error::{Error, Reason, Result};
use crate::id::Incarnation;
use crate::tenant::open::Tenant;

/// One incarnation: its live state, and its file once somebody needed it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) state: Arc<TenantState>,
    /// Held by whoever destroys the tenant's files.
    pub(crate) purge: Mutex<()>,
    file: Mutex<File>,
}

#[derive(Debug)]
enum File {
    Closed,
    Open(Arc<Tenant>),
    /// Purged, or the engine is closed: it is not opened again.
    Ended,
}

impl Slot {
    /// The open tenant, opened by the first who asks while others of this tenant, and only they, wait.
    pub(crate) fn open(&self, open: impl FnOnce() -> Result<Tenant>) -> Result<Arc<Tenant>> {
        let mut file = self.file.lock();
        match &*file {
            File::Open(tenant) => return Ok(tenant.clone()),
            File::Ended => return Err(self.state.check().err().unwrap_or(Error::from(Reason::Closed))),
            File::Closed => {}
        }
        let tenant = Arc::new(open()?);
        *file = File::Open(tenant.clone());
        Ok(tenant)
    }

    /// Whether this thread is inside a transaction of the tenant.
    pub(crate) fn is_changing_here(&self) -> bool {
        matches!(&*self.file.lock(), File::Open(tenant) if tenant.is_changing_here())
    }

    /// Closes the file after its running operations have ended. It is not opened again.
    pub(crate) fn end(&self) {
        let before = std::mem::replace(&mut *self.file.lock(), File::Ended);
        if let File::Open(tenant) = before {
            tenant.close();
        }
    }
}

/// All slots of an engine.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<HashMap<Incarnation, Arc<Slot>>>,
}

impl Pool {
    /// The slot of an incarnation that is in service.
    pub(crate) fn slot(&self, incarnation: Incarnation) -> Arc<Slot> {
        let new = || {
            let (state, purge, file) = (TenantState::active(), Mutex::new(()), Mutex::new(File::Closed));
            Arc::new(Slot { state, purge, file })
        };
        self.slots.lock().entry(incarnation).or_insert_with(new).clone()
    }

    /// The slot of an incarnation, if anybody asked for it since the engine opened.
    pub(crate) fn known(&self, incarnation: Incarnation) -> Option<Arc<Slot>> {
        self.slots.lock().get(&incarnation).cloned()
    }

    pub(crate) fn forget(&self, incarnation: Incarnation) {
        self.slots.lock().remove(&incarnation);
    }

    /// Whether this thread is inside a transaction of any tenant.
    pub(crate) fn is_changing_here(&self) -> bool {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        slots.iter().any(|slot| slot.is_changing_here())
    }

    /// Stops the handles of all tenants for good and gives the slots, of which the files are still open.
    pub(crate) fn stop_all(&self) -> Vec<Arc<Slot>> {
        let slots: Vec<_> = self.slots.lock().drain().map(|(_, slot)| slot).collect();
        slots.iter().for_each(|slot| slot.state.close());
        slots
    }
}
