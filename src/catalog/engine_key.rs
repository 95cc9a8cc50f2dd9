//! What the catalog knows of the engine's keys: the newest version, and what operators did with them.

use serde::{Deserialize, Serialize};

use super::audit::OperatorAction;
use super::tenants::{Act, Catalog, record};
use crate::crypto::engine_key::EngineKeys;
use crate::error::Result;
use crate::store::codec::{self, Record};
use crate::store::schema::META;

/// The row of the newest engine key; absent while it is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct EngineKeyFacts {
    version: u32,
    /// Its rotation has ended.
    is_complete: bool,
}

impl Record for EngineKeyFacts {
    const KIND: u8 = 14;
    const NAME: &'static str = "engine key facts";
}

const ENGINE_KEY: &str = "engine key";

impl Catalog {
    /// The newest version of the engine key that was ever in use.
    pub(crate) fn engine_key_version(&self) -> Result<u32> {
        Ok(self.engine_key_facts()?.version)
    }

    /// A version of the engine key that is durable takes the place of those before it.
    pub(crate) fn begin_rotation(&self, act: Act<'_>, version: u32) -> Result<()> {
        // Once: who goes on after a crash finds the row.
        if self.engine_key_facts()?.version == version {
            return Ok(());
        }
        self.move_to(act, EngineKeyFacts { version, is_complete: false }, OperatorAction::RotateEngineKey { version })
    }

    /// No key file needs another version than this one.
    pub(crate) fn finish_rotation(&self, act: Act<'_>, version: u32) -> Result<()> {
        let complete = EngineKeyFacts { version, is_complete: true };
        if self.engine_key_facts()? == complete {
            return Ok(());
        }
        self.move_to(act, complete, OperatorAction::EngineKeyRotated { version })
    }

    /// Notes what an operator did with the engine's keys.
    pub(crate) fn record_key_action(&self, act: Act<'_>, action: OperatorAction) -> Result<()> {
        self.database.write(|mut writer| record(&mut writer, act, action, None))
    }

    /// Whether operators can still do anything here.
    ///
    /// # Errors
    /// `Unavailable` when the engine is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.database.read(|_| Ok(()))
    }

    fn engine_key_facts(&self) -> Result<EngineKeyFacts> {
        let first = EngineKeyFacts { version: EngineKeys::FIRST_VERSION, is_complete: true };
        self.database.read(|tables| tables.meta.get(ENGINE_KEY)?.map_or(Ok(first), |row| codec::decode(row.value())))
    }

    fn move_to(&self, act: Act<'_>, facts: EngineKeyFacts, action: OperatorAction) -> Result<()> {
        self.database.write(|mut writer| {
            writer.open_table(META)?.insert(ENGINE_KEY, codec::encode(&facts)?.as_slice())?;
            record(&mut writer, act, action, None)
        })
    }
}
