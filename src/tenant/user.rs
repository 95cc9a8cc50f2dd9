//! Users of a tenant's file: a number each, so that rows stay short and two users never meet.

use std::collections::HashMap;

use parking_lot::RwLock;
use redb::ReadableTable;

use super::memory::{MemoryRecord, StoredMemory};
use super::snapshot::Snapshot;
use super::usage::Facts;
use crate::error::{Reason, Result};
use crate::id::UserId;
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{USER_NUMBERS, USERS};

/// Numbers start at 1; 0 is the tenant-wide scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct UserNumber(pub(super) u32);

impl Record for UserId {
    const KIND: u8 = 17;
    const NAME: &'static str = "user";
}

/// Users seen as authors. A number changes its user only when that is erased, so entries do not go stale; when full, it
/// starts anew.
#[derive(Debug, Default)]
pub(super) struct UserNames(RwLock<HashMap<u32, UserId>>);

const NAMES_KEPT: usize = 1_024;

impl UserNames {
    /// The user of a number found in a record. Only of committed ones: an aborted number is given again.
    pub(super) fn user(&self, snapshot: &Snapshot, number: u32) -> Result<UserId> {
        if let Some(user) = self.0.read().get(&number) {
            return Ok(user.clone());
        }
        let user = named(&snapshot.user_numbers, number)?;
        let mut names = self.0.write();
        if names.len() >= NAMES_KEPT {
            names.clear();
        }
        names.insert(number, user.clone());
        Ok(user)
    }

    /// An erasure gives a number another name. The caller sees to it that nobody reads.
    pub(super) fn clear(&self) {
        self.0.write().clear();
    }
}

/// Names the authors of one answer's memories, which are often all the same.
pub(super) struct Authors<'a> {
    names: &'a UserNames,
    snapshot: &'a Snapshot,
    last: Option<(u32, UserId)>,
}

impl<'a> Authors<'a> {
    pub(super) fn new(names: &'a UserNames, snapshot: &'a Snapshot) -> Self {
        Self { names, snapshot, last: None }
    }

    /// The memory with its author's name.
    pub(super) fn name(&mut self, stored: StoredMemory) -> Result<MemoryRecord> {
        let author = match &self.last {
            Some((number, user)) if *number == stored.author => user.clone(),
            _ => {
                let user = self.names.user(self.snapshot, stored.author)?;
                self.last = Some((stored.author, user.clone()));
                user
            }
        };
        Ok(stored.into_record(author))
    }
}

/// The user of a number found in a record.
pub(super) fn named(numbers: &impl ReadableTable<u32, &'static [u8]>, number: u32) -> Result<UserId> {
    let row = numbers.get(number)?.ok_or(Reason::DamagedRecord("author"))?;
    codec::decode(row.value())
}

/// The number of a user, if it ever wrote anything here.
pub(super) fn find(
    users: &impl ReadableTable<&'static [u8], &'static [u8]>,
    user: &UserId,
) -> Result<Option<UserNumber>> {
    let Some(row) = users.get(user.to_bytes().as_slice())? else { return Ok(None) };
    match <[u8; 4]>::try_from(row.value()).map(u32::from_le_bytes) {
        Ok(number) if number > 0 => Ok(Some(UserNumber(number))),
        _ => Err(Reason::DamagedRecord("user number").into()),
    }
}

/// The number of a user, given at its first write.
pub(super) fn find_or_add(writer: &mut Writer<'_>, facts: &mut Facts, user: &UserId) -> Result<UserNumber> {
    if let Some(number) = find(&writer.open_table(USERS)?, user)? {
        return Ok(number);
    }
    let number = facts.take_user_number()?;
    writer.open_table(USERS)?.insert(user.to_bytes().as_slice(), number.to_le_bytes().as_slice())?;
    if writer.open_table(USER_NUMBERS)?.insert(number, codec::encode(user)?.as_slice())?.is_some() {
        // It is another user's already, whose private rows it leads to.
        return Err(Reason::DamagedRecord("user number").into());
    }
    Ok(UserNumber(number))
}
