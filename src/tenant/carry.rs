//! Carries a tenant's rows over to a file of the next epoch, under another key: all of them, or all but one user's.
//!
//! Everything happens in the new file: the old one stays as it was until the new one takes its place, and goes then.

use std::ops::Bound;
use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata};

use super::change::Change;
use super::erase::{Erase, ErasedUser, Leaver};
use super::open::{FileKeys, OWNER, Owner, Tenant};
use super::tables::{Carried, Rows, TABLES, TableRule};
use super::usage::FACTS;
use super::user::{self, UserNumber};
use super::vault::{damaged, parse_secret_key, stored_salt};
use crate::clock::Timestamp;
use crate::crypto::credential::UserSecret;
use crate::error::{Reason, Result};
use crate::id::UserId;
use crate::limits::SWEEP_ROWS_MAX;
use crate::store::copy::{Fate, NewFile};
use crate::store::database::{FileSpec, Switched};
use crate::store::schema::{CREDENTIAL_SECRETS, USER_NUMBERS, USER_SALTS, USERS};

/// How far a re-keying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekeyProgress {
    /// Rows that were copied, of all tables.
    pub rows: u64,
    /// Rows that there are.
    pub of: u64,
}

/// The file to go to.
pub(crate) struct Next<'a> {
    pub(crate) spec: FileSpec,
    pub(crate) owner: Owner,
    pub(crate) keys: FileKeys,
    /// A user who is not to come along.
    pub(crate) erase: Option<Erase<'a>>,
    /// Asked when the writer's turn has come; gives the time then.
    pub(crate) turn: &'a dyn Fn() -> Result<Timestamp>,
    /// Told the progress; an error gives up.
    pub(crate) watch: &'a mut dyn FnMut(RekeyProgress) -> Result<()>,
}

/// Rows between two calls of `watch`.
const WATCH_EVERY: u64 = 256;
/// Secrets that are sealed again between two openings of their table: 4 MiB at most.
const SECRETS_AT_ONCE: usize = 64;

impl Tenant {
    /// Carries the rows over. `switch` makes the new file the one that counts; `exchanged` runs before anybody reads from
    /// it. Writers wait meanwhile; readers go on. What has expired, or was in a deleted namespace, does not come along.
    pub(crate) fn carry_over(
        &self,
        next: Next<'_>,
        switch: impl FnOnce() -> Switched,
        exchanged: impl FnOnce(),
    ) -> Result<Option<ErasedUser>> {
        let Next { spec, owner, keys, erase, turn, watch } = next;
        let (from, to, erases) = (self.keys(), Arc::new(keys), erase.is_some());
        let leaver = self.database.replace(
            spec,
            |writer, file| {
                let mut change = Change::open(writer)?;
                change.at = turn()?;
                // An older policy must not go over.
                change.policy()?;
                while change.sweep(SWEEP_ROWS_MAX)?.more {
                    watch(RekeyProgress { rows: 0, of: 0 })?;
                }
                let leaver = erase.map(|erase| change.begin_erasure(&erase)).transpose()?;
                let progress = RekeyProgress { rows: 0, of: change.count_rows()? };
                let mut carrier =
                    Carrier { change, file, from: &from, to: &to, leaver, progress, watch, secrets: None };
                carrier.carry(&owner)?;
                Ok(carrier.leaver)
            },
            |_| switch(),
            |_| {
                *self.keys.write() = to.clone();
                self.users.clear();
                if erases {
                    // Before anybody writes again: what an index still has of the user must not be stored.
                    self.forget_spaces();
                }
                exchanged();
            },
        )?;
        Ok(leaver.map(|leaver| leaver.erased))
    }
}

impl Change<'_> {
    fn count_rows(&mut self) -> Result<u64> {
        let mut rows: u64 = 0;
        for table in TABLES {
            rows = rows.saturating_add(match table.rows {
                Rows::Text(table) => self.writer.open_table(table)?.len()?,
                Rows::Bytes(table) => self.writer.open_table(table)?.len()?,
                Rows::Number32(table) => self.writer.open_table(table)?.len()?,
                Rows::Number64(table) => self.writer.open_table(table)?.len()?,
            });
        }
        Ok(rows)
    }
}

struct Carrier<'a, 'txn> {
    change: Change<'txn>,
    file: &'a mut NewFile,
    from: &'a FileKeys,
    to: &'a FileKeys,
    leaver: Option<Leaver>,
    progress: RekeyProgress,
    watch: &'a mut dyn FnMut(RekeyProgress) -> Result<()>,
    /// The secrets of the user whose credentials come one after the other: before and after.
    secrets: Option<(UserNumber, UserSecret, UserSecret)>,
}

impl Carrier<'_, '_> {
    fn carry(&mut self, owner: &Owner) -> Result<()> {
        for table in &TABLES {
            (self.watch)(self.progress)?;
            match (table.carried, table.rows) {
                (Carried::Resealed, _) => self.reseal(table)?,
                (Carried::LeftOut, _) => {}
                (_, Rows::Text(rows)) => self.copy(table, rows)?,
                (_, Rows::Bytes(rows)) => self.copy(table, rows)?,
                (_, Rows::Number32(rows)) => self.copy(table, rows)?,
                (_, Rows::Number64(rows)) => self.copy(table, rows)?,
            }
        }
        let mut writer = self.file.writer()?;
        if let Some(number) = self.leaver.as_ref().map(|leaver| leaver.number.0).filter(|number| *number > 0) {
            let stands_for = UserId::erased(number).to_bytes();
            writer.open_table(USERS)?.insert(stands_for.as_slice(), number.to_le_bytes().as_slice())?;
        }
        owner.write(&mut writer)?;
        self.change.facts.write(&mut writer)?;
        (self.watch)(self.progress)
    }

    fn copy<K: redb::Key + 'static>(
        &mut self,
        table: &TableRule,
        rows: redb::TableDefinition<'static, K, &'static [u8]>,
    ) -> Result<()> {
        let Change { writer, facts, .. } = &mut self.change;
        let (leaver, progress, watch) = (&mut self.leaver, &mut self.progress, &mut self.watch);
        let mut kept = 0_u64;
        self.file.copy(writer, rows, |key, value| {
            step(progress, watch)?;
            kept += 1;
            if table.carried == Carried::CopiedButFacts && [OWNER.as_bytes(), FACTS.as_bytes()].contains(&key) {
                return Ok(Fate::LeftOut);
            }
            let fate = leaver.as_mut().map_or(Ok(Fate::Copied), |leaver| leaver.fate(table, facts, key, value))?;
            kept -= u64::from(matches!(fate, Fate::LeftOut));
            Ok(fate)
        })?;
        match facts.rows_of(table.name()) {
            Some(counted) if counted != kept => Err(Reason::DamagedRecord("rows that are not those counted").into()),
            _ => Ok(()),
        }
    }

    /// Opens each secret and seals it under the next epoch. The plaintext is in one buffer, which is wiped.
    fn reseal(&mut self, table: &TableRule) -> Result<()> {
        let mut after = Bound::Unbounded;
        loop {
            let chunk = self.secrets_after(&after)?;
            let Some((last, _)) = chunk.last() else { return Ok(()) };
            let last = last.clone();
            for (key, envelope) in &chunk {
                step(&mut self.progress, &mut self.watch)?;
                let facts = &mut self.change.facts;
                let fate = self.leaver.as_mut().map(|leaver| leaver.fate(table, facts, key, envelope)).transpose()?;
                if matches!(fate, Some(Fate::LeftOut)) {
                    continue;
                }
                let (owner, name, stamp) = parse_secret_key(key)?;
                let (before, now) = self.secrets_of(owner)?;
                let sealed = now.seal(name, stamp, &before.open(name, stamp, envelope)?)?;
                self.file.writer()?.open_table(CREDENTIAL_SECRETS)?.insert(key.as_slice(), sealed.as_slice())?;
                self.file.wrote(key.len() + sealed.len())?;
            }
            after = Bound::Excluded(last);
        }
    }

    fn secrets_after(&mut self, after: &Bound<Vec<u8>>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let secrets = self.change.writer.open_table(CREDENTIAL_SECRETS)?;
        let rows = secrets.range::<&[u8]>((after.as_ref().map(Vec::as_slice), Bound::Unbounded))?;
        rows.take(SECRETS_AT_ONCE)
            .map(|row| {
                let (key, envelope) = row?;
                Ok((key.value().to_vec(), envelope.value().to_vec()))
            })
            .collect()
    }

    /// The secret of a user under the key before and under the next one.
    fn secrets_of(&mut self, owner: UserNumber) -> Result<(&UserSecret, &UserSecret)> {
        if self.secrets.as_ref().is_none_or(|(known, ..)| *known != owner) {
            let writer = &mut self.change.writer;
            let user = user::named(&writer.open_table(USER_NUMBERS)?, owner.0)?;
            let salt = stored_salt(writer.open_table(USER_SALTS)?.get(owner.0)?.ok_or_else(damaged)?.value())?;
            let secret = |keys: &FileKeys| keys.credentials.user(&salt, &user);
            self.secrets = Some((owner, secret(self.from), secret(self.to)));
        }
        self.secrets.as_ref().map(|(_, before, now)| (before, now)).ok_or_else(|| damaged().into())
    }
}

/// One row more.
fn step(progress: &mut RekeyProgress, watch: &mut dyn FnMut(RekeyProgress) -> Result<()>) -> Result<()> {
    progress.rows = progress.rows.saturating_add(1);
    if progress.rows.is_multiple_of(WATCH_EVERY) { watch(*progress) } else { Ok(()) }
}
