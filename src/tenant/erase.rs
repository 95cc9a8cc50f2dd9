//! Erasing a user of a tenant: what belongs to it is left out when the tenant's rows go over to a file of the next epoch,
//! so that nothing of it lingers in old pages, and all of it goes at once or nothing.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::{self, AuditAction, AuditEntry, AuditOutcome};
use super::change::Change;
use super::memory::StoredMemory;
use super::namespace;
use super::place::{Place, number_of};
use super::tables::{OfUser, TableRule};
use super::usage::Facts;
use super::user::{self, UserNumber};
use crate::access::gate::{Proof, Revoke};
use crate::error::{Error, Reason, Result};
use crate::id::{RowId, UserId};
use crate::limits::SWEEP_ROWS_MAX;
use crate::store::codec;
use crate::store::copy::Fate;
use crate::store::schema::{MEMORIES, USERS};

/// What becomes of the memories that an erased user was the last to put or patch in namespaces that all share.
///
/// ```
/// use watertight::Authored;
///
/// assert_ne!(Authored::Stays, Authored::Goes);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authored {
    /// They stay, with an author whose issuer is [`Issuer::erased`](crate::Issuer::erased) and whose subject is a number.
    /// That author can be selected by, and erased in its turn.
    Stays,
    /// They are erased as well.
    Goes,
}

/// What went with a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErasedUser {
    /// Who was erased.
    pub user: UserId,
    /// Private namespaces.
    pub namespaces: u64,
    /// Memories in them.
    pub memories: u64,
    /// Credentials, with all of their versions.
    pub credentials: u64,
    /// Idempotency keys whose outcomes were kept.
    pub idempotency_keys: u64,
    /// Memories elsewhere, where that was asked for.
    pub authored: u64,
}

/// The order to erase a user, by an admin of the tenant.
#[derive(Debug)]
pub(crate) struct Erase<'a> {
    pub(crate) proof: &'a Proof<'a, Revoke>,
    pub(crate) user: &'a UserId,
    pub(crate) authored: Authored,
}

/// A user who is being erased.
#[derive(Debug)]
pub(super) struct Leaver {
    /// 0, which is nobody's, when the user has written nothing.
    pub(super) number: UserNumber,
    pub(super) erased: ErasedUser,
}

impl Leaver {
    /// What becomes of a row, and counts it if it goes.
    pub(super) fn fate(&mut self, table: &TableRule, facts: &mut Facts, key: &[u8], value: &[u8]) -> Result<Fate> {
        let user = &self.erased.user;
        if let OfUser::Redacted(_) = table.of_user {
            return Ok(audit::redacted(value, user)?.map_or(Fate::Copied, Fate::Changed));
        }
        if self.number.0 == 0 || !table.of_user.is_of(self.number.0, user, key, value) {
            return Ok(Fate::Copied);
        }
        if table.of_user == OfUser::Pseudonym {
            return Ok(Fate::Changed(codec::encode(&UserId::erased(self.number.0))?));
        }
        let negative = || Error::from(Reason::DamagedRecord("usage"));
        let count = |figure: &mut u64| *figure = figure.saturating_add(1);
        match table.name() {
            // What stands for one who was erased before was counted out then.
            "users" if user.issuer().is_erased() => {}
            "users" => facts.usage.users = facts.usage.users.checked_sub(1).ok_or_else(negative)?,
            "namespaces" => {
                count(&mut self.erased.namespaces);
                facts.usage.namespaces = facts.usage.namespaces.checked_sub(1).ok_or_else(negative)?;
            }
            "memories" => {
                count(&mut self.erased.memories);
                facts.count_out(&codec::decode::<StoredMemory>(value)?)?;
            }
            "outcomes" => {
                count(&mut self.erased.idempotency_keys);
                facts.outcomes = facts.outcomes.checked_sub(1).ok_or_else(negative)?;
            }
            "credentials" => count(&mut self.erased.credentials),
            _ => {}
        }
        Ok(Fate::LeftOut)
    }
}

impl Change<'_> {
    /// Takes out what the user wrote elsewhere, if that is asked for, and records the erasure. What belongs to the user
    /// itself is left out on the way to the new file.
    pub(super) fn begin_erasure(&mut self, erase: &Erase<'_>) -> Result<Leaver> {
        // Refused, if at all, before anything is changed.
        self.unassign(erase.proof, erase.user)?;
        let number = user::find(&self.writer.open_table(USERS)?, erase.user)?;
        let mut erased = ErasedUser {
            user: erase.user.clone(),
            namespaces: 0,
            memories: 0,
            credentials: 0,
            idempotency_keys: 0,
            authored: 0,
        };
        if let (Some(number), Authored::Goes) = (number, erase.authored) {
            erased.authored = self.take_out_authored(erase, number)?;
        }
        if number.is_some() {
            // What handles remember of the user's namespaces is no longer true.
            self.facts.note_namespace_changed()?;
        }
        self.begin_step()?;
        self.record(AuditEntry {
            at: self.at,
            user: Some(erase.proof.user().clone()),
            operator: erase.proof.operator().map(str::to_owned),
            action: AuditAction::EraseUser,
            namespace: None,
            private: false,
            key: number.map(|number| number.0.to_string()),
            renamed_to: None,
            outcome: AuditOutcome::Done,
        })?;
        Ok(Leaver { number: number.unwrap_or(UserNumber(0)), erased })
    }

    /// Memories of shared namespaces whose last writer the user is. The feeds tell that they are gone.
    fn take_out_authored(&mut self, erase: &Erase<'_>, author: UserNumber) -> Result<u64> {
        let (mut after, mut count) = (Place { scope: 0, namespace: 0 }.numbered(0).to_vec(), 0);
        let end = Place { scope: 1, namespace: 0 }.numbered(0);
        loop {
            let (mut found, mut whole) = (Vec::new(), true);
            for row in self.writer.open_table(MEMORIES)?.range(after.as_slice()..end.as_slice())? {
                let (key, record) = row?;
                let memory: StoredMemory = codec::decode(record.value())?;
                if memory.author != author.0 {
                    continue;
                }
                if found.len() == SWEEP_ROWS_MAX {
                    after = key.value().to_vec();
                    whole = false;
                    break;
                }
                let (prefix, _) = key.value().split_first_chunk().ok_or(Reason::DamagedRecord("row key"))?;
                found.push((Place::from_prefix(*prefix), RowId(number_of(key.value())?)));
            }
            for (place, row) in &found {
                let memory = self.memory(*place, *row)?;
                let namespace = namespace::name_of(&mut self.writer, *place)?;
                self.begin_step()?;
                self.remove_row(*place, *row, &memory)?;
                self.record(AuditEntry {
                    at: self.at,
                    user: Some(erase.proof.user().clone()),
                    operator: erase.proof.operator().map(str::to_owned),
                    action: AuditAction::Delete,
                    namespace,
                    private: false,
                    key: Some(memory.key),
                    renamed_to: None,
                    outcome: AuditOutcome::Done,
                })?;
            }
            count += found.len() as u64;
            if whole {
                return Ok(count);
            }
        }
    }
}
