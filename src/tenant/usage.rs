//! What a tenant holds, counted in the transaction of every change.

use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::open::Tenant;
use crate::access::gate::{Admin, Proof};
use crate::error::{Reason, Result};
use crate::limits::NAMESPACES_MAX;
use crate::store::chain::ChainHead;
use crate::store::codec::{self, Record};
use crate::store::schema::META;

/// What a tenant holds. The figures are exact: they change in the transaction of the change they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Memories in all namespaces, private ones included.
    pub memories: u64,
    /// Memories that have a vector.
    pub vectors: u64,
    /// Bytes of keys, texts, contents, metadata and vectors as given, without what storage adds.
    pub bytes: u64,
    /// Namespaces, private ones included.
    pub namespaces: u32,
    /// Users that have written something.
    pub users: u32,
}

/// The tenant file's single row of changing facts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Rises by one with every memory that is put or deleted.
    pub(super) sequence: u64,
    pub(super) next_row: u64,
    /// Numbers of users and namespaces are never given twice, also after one is gone.
    pub(super) next_user: u32,
    pub(super) next_namespace: u32,
    pub(super) usage: Usage,
    pub(super) audit: ChainHead,
}

impl Record for Facts {
    const KIND: u8 = 16;
    const NAME: &'static str = "tenant facts";
}

const FACTS: &str = "facts";

impl Facts {
    pub(super) fn new() -> Self {
        Self {
            sequence: 0,
            next_row: 1,
            next_user: 1,
            next_namespace: 1,
            usage: Usage::default(),
            audit: ChainHead::default(),
        }
    }

    /// The number of a new user, which also counts it.
    pub(super) fn take_user_number(&mut self) -> Result<u32> {
        self.usage.users = self.usage.users.saturating_add(1);
        take_number(&mut self.next_user)
    }

    /// The number of a new namespace, which also counts it.
    pub(super) fn take_namespace_number(&mut self) -> Result<u32> {
        let count = self.usage.namespaces.saturating_add(1);
        if count > NAMESPACES_MAX {
            return Err(Reason::Full { what: "namespaces", limit: u64::from(NAMESPACES_MAX) }.into());
        }
        self.usage.namespaces = count;
        take_number(&mut self.next_namespace)
    }

    pub(super) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self> {
        let row = meta.get(FACTS)?.ok_or(Reason::DamagedRecord(Self::NAME))?;
        codec::decode(row.value())
    }

    pub(super) fn write(&self, transaction: &WriteTransaction) -> Result<()> {
        transaction.open_table(META)?.insert(FACTS, codec::encode(self)?.as_slice())?;
        Ok(())
    }
}

fn take_number(next: &mut u32) -> Result<u32> {
    let number = *next;
    *next = number.checked_add(1).ok_or(Reason::DamagedRecord("number"))?;
    Ok(number)
}

impl Tenant {
    pub(crate) fn usage(&self, _proof: &Proof<'_, Admin>) -> Result<Usage> {
        self.database.read(|tables| Ok(Facts::read(&tables.meta)?.usage))
    }
}
