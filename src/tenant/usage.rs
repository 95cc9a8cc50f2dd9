//! What a tenant holds, counted in the transaction of every change.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::memory::StoredMemory;
use super::open::Tenant;
use crate::access::gate::{Admin, Proof};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::limits::NAMESPACES_MAX;
use crate::store::chain::ChainHead;
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::META;

/// What a tenant holds. The figures are exact: they change in the transaction of the change they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Memories in all namespaces, private ones included. What has expired, or was in a deleted namespace, counts
    /// until it is swept.
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
    /// Rises by one with every step of a change.
    pub(super) sequence: u64,
    pub(super) next_row: u64,
    /// Numbers of users and namespaces are never given twice, also after one is gone.
    pub(super) next_user: u32,
    pub(super) next_namespace: u32,
    /// Rises whenever a namespace that exists gets another shape, name or end.
    pub(super) namespaces_changed: u64,
    /// Deleted namespaces of which content is left.
    pub(super) doomed: u32,
    /// No memory expires before this; `None` when none ever does.
    pub(super) next_expiry: Option<Timestamp>,
    /// Idempotency keys that are kept.
    pub(super) outcomes: u32,
    /// Of the policy that the file has; 0 when it has none.
    pub(super) policy_version: u64,
    pub(super) usage: Usage,
    pub(super) audit: ChainHead,
}

impl Record for Facts {
    const KIND: u8 = 16;
    const NAME: &'static str = "tenant facts";
}

pub(super) const FACTS: &str = "facts";

impl Facts {
    pub(super) fn new() -> Self {
        Self {
            sequence: 0,
            next_row: 1,
            next_user: 1,
            next_namespace: 1,
            namespaces_changed: 0,
            doomed: 0,
            next_expiry: None,
            outcomes: 0,
            policy_version: 0,
            usage: Usage::default(),
            audit: ChainHead::default(),
        }
    }

    /// The number of a new user, which also counts it.
    pub(super) fn take_user_number(&mut self) -> Result<u32> {
        self.usage.users = self.usage.users.saturating_add(1);
        take_number(&mut self.next_user)
    }

    /// Refuses one more namespace when there are as many as there may be.
    pub(super) fn check_namespace_room(&self) -> Result<()> {
        if self.usage.namespaces >= NAMESPACES_MAX {
            return Err(Reason::Full { what: "namespaces", limit: u64::from(NAMESPACES_MAX) }.into());
        }
        Ok(())
    }

    /// The number of a new namespace, which also counts it.
    pub(super) fn take_namespace_number(&mut self) -> Result<u32> {
        self.usage.namespaces = self.usage.namespaces.saturating_add(1);
        take_number(&mut self.next_namespace)
    }

    /// The number of another place for a namespace's vectors. Places are numbered as namespaces are.
    pub(super) fn take_vectors_number(&mut self) -> Result<u32> {
        take_number(&mut self.next_namespace)
    }

    /// A namespace ends; its content is left for now.
    pub(super) fn give_back_namespace(&mut self) -> Result<()> {
        let negative = || Reason::DamagedRecord("usage");
        self.usage.namespaces = self.usage.namespaces.checked_sub(1).ok_or_else(negative)?;
        self.note_namespace_changed()
    }

    /// What handles remember of namespaces is no longer true.
    pub(super) fn note_namespace_changed(&mut self) -> Result<()> {
        self.namespaces_changed = self.namespaces_changed.checked_add(1).ok_or(Reason::DamagedRecord(Self::NAME))?;
        Ok(())
    }

    pub(super) fn read(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Self> {
        let row = meta.get(FACTS)?.ok_or(Reason::DamagedRecord(Self::NAME))?;
        codec::decode(row.value())
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<()> {
        writer.open_table(META)?.insert(FACTS, codec::encode(self)?.as_slice())?;
        Ok(())
    }
}

impl Facts {
    /// How many rows a table must have in a file from which all that was due has been swept; `None` where the facts do not
    /// count them.
    pub(super) fn rows_of(&self, table: &str) -> Option<u64> {
        match table {
            "memories" => Some(self.usage.memories),
            "namespaces" | "namespace_numbers" => Some(u64::from(self.usage.namespaces)),
            "outcomes" | "outcome_times" => Some(u64::from(self.outcomes)),
            _ => None,
        }
    }

    pub(super) fn count_in(&mut self, memory: &StoredMemory) -> Result<()> {
        let full = || Error::from(Reason::DamagedRecord("usage"));
        let usage = &mut self.usage;
        usage.memories = usage.memories.checked_add(1).ok_or_else(full)?;
        usage.vectors = usage.vectors.checked_add(u64::from(memory.has_vector)).ok_or_else(full)?;
        usage.bytes = usage.bytes.checked_add(memory.bytes).ok_or_else(full)?;
        Ok(())
    }

    pub(super) fn count_out(&mut self, memory: &StoredMemory) -> Result<()> {
        let negative = || Error::from(Reason::DamagedRecord("usage"));
        let usage = &mut self.usage;
        usage.memories = usage.memories.checked_sub(1).ok_or_else(negative)?;
        usage.vectors = usage.vectors.checked_sub(u64::from(memory.has_vector)).ok_or_else(negative)?;
        usage.bytes = usage.bytes.checked_sub(memory.bytes).ok_or_else(negative)?;
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
        self.database.read(|snapshot| Ok(snapshot.facts.usage))
    }
}
