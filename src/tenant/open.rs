//! One tenant's open file.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::commit::{Commits, commits};
use super::place::Place;
use super::snapshot::Snapshot;
use super::usage::Facts;
use super::user::UserNames;
use crate::crypto::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::{EngineId, Epoch, Incarnation};
use crate::index::space::Space;
use crate::store::codec::{self, Record};
use crate::store::database::{Database, FileSpec, Writer};
use crate::store::schema::META;

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
}

impl Record for Owner {
    const KIND: u8 = 15;
    const NAME: &'static str = "file owner";
}

const OWNER: &str = "owner";

/// One open tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(super) database: Database<Snapshot>,
    pub(super) cursor_key: Secret<64>,
    pub(super) users: UserNames,
    pub(super) commits: Commits,
    spaces: Mutex<HashMap<Place, SharedSpace>>,
}

/// A namespace's index; empty until the first recall.
pub(super) type SharedSpace = Arc<RwLock<Option<Space>>>;

impl Tenant {
    /// Writes a new, empty tenant file and closes it.
    pub(crate) fn create(spec: &FileSpec, owner: &Owner) -> Result<()> {
        let fill = |mut writer: Writer<'_>| {
            writer.open_table(META)?.insert(OWNER, codec::encode(owner)?.as_slice())?;
            Facts::new().write(&mut writer)
        };
        Database::<Snapshot>::create(spec, fill)
    }

    /// Opens a tenant's file.
    ///
    /// # Errors
    /// `Damaged` when it is missing, damaged, or another tenant's.
    pub(crate) fn open(spec: FileSpec, owner: &Owner, cursor_key: Secret<64>) -> Result<Self> {
        let database = Database::open(spec)?;
        database.read(|snapshot: &Snapshot| {
            let row = snapshot.meta.get(OWNER)?.ok_or(Reason::DamagedRecord(Owner::NAME))?;
            if codec::decode::<Owner>(row.value())? != *owner {
                return Err(Reason::ForeignFile("another tenant's data file").into());
            }
            Ok(())
        })?;
        Ok(Self { database, cursor_key, users: UserNames::default(), commits: commits(), spaces: Mutex::default() })
    }

    pub(super) fn space(&self, place: Place) -> SharedSpace {
        self.spaces.lock().entry(place).or_default().clone()
    }

    /// The index of a namespace that is gone goes too.
    pub(super) fn forget_space(&self, place: Place) {
        self.spaces.lock().remove(&place);
    }

    /// Whether this thread is inside a transaction of this tenant. It must not wait for its end.
    pub(crate) fn is_changing_here(&self) -> bool {
        self.database.is_writing()
    }

    /// Waits for running operations, then closes the file. Later operations answer that it is closed.
    pub(crate) fn close(&self) {
        self.database.close();
        self.spaces.lock().clear();
    }
}
