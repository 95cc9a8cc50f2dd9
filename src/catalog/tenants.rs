//! Tenant records and the catalog file that holds them.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Bound;

use parking_lot::Mutex;
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::audit::{OperatorAction, OperatorAuditEntry};
use super::binding::{self, RowSet};
use super::{api_keys, revocations};
use crate::clock::{FloorStore, Timestamp};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::id::{Epoch, Incarnation, Issuer, TenantId, UserId};
use crate::store::chain::{self, ChainHead};
use crate::store::codec::{self, Record};
use crate::store::database::{Database, FileSpec, Writer, new_turn};
use crate::store::schema::{CatalogTables, META, OPERATOR_AUDIT, TOMBSTONES, UNFINISHED};

/// Where a tenant is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TenantStatus {
    /// Its files are being made; nobody can reach it.
    Provisioning,
    /// In service.
    Active,
    /// Stopped by an operator; its data is kept.
    Suspended,
    /// Its keys and files are being destroyed; nobody can reach it.
    Purging,
}

/// A tenant's row in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TenantRecord {
    pub(crate) incarnation: Incarnation,
    pub(crate) epoch: Epoch,
    pub(crate) status: TenantStatus,
    pub(crate) plan: Option<String>,
    /// Issuers whose identities may open this tenant. Nobody else's may.
    pub(crate) issuers: Vec<Issuer>,
    /// Users with every scope.
    pub(crate) owners: Vec<UserId>,
    /// Identities issued before this belong to an earlier incarnation of the name.
    pub(crate) created_at: Timestamp,
}

impl Record for TenantRecord {
    const KIND: u8 = 1;
    const NAME: &'static str = "tenant record";
}

/// What is under way with a tenant's files, so that a crash leaves nothing half done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unfinished {
    /// They are being made.
    Provision,
    /// They are being destroyed.
    Purge(PurgeStep),
    /// They are being replaced by those of a later epoch. The tenant's row says which count.
    Rekey {
        to: Epoch,
        /// The former files were seen, and hold nothing any more: from here on it means nothing that they are absent.
        emptied: bool,
    },
}

/// How far a purge has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PurgeStep {
    /// The operator who ordered it.
    pub(crate) by: Option<String>,
    /// A re-keying to this epoch had not destroyed the former files.
    pub(crate) rekeying: Option<Epoch>,
    /// All key and data files, up to this epoch, were seen and hold nothing any more: from here on it means nothing that
    /// they are absent.
    pub(crate) emptied: Option<Epoch>,
}

impl Record for Unfinished {
    const KIND: u8 = 12;
    const VERSION: u8 = 2;
    const NAME: &'static str = "unfinished tenant";

    fn decode_older(version: u8, body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        enum First {
            Provision,
            Purge { by: Option<String> },
            Rekey { to: Epoch },
        }
        let first = if version == 1 { codec::decode_body(body)? } else { return None };
        Some(match first {
            First::Provision => Self::Provision,
            First::Purge { by } => Self::Purge(PurgeStep { by, rekeying: None, emptied: None }),
            First::Rekey { to } => Self::Rekey { to, emptied: false },
        })
    }
}

/// What stays of a purged tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tombstone {
    /// The name it had; another tenant may have it by now.
    pub tenant: TenantId,
    /// When its keys and files had been destroyed.
    pub purged_at: Timestamp,
    /// The operator who ordered it.
    pub purged_by: Option<String>,
    /// The last of its keys and files; those of every epoch before are gone as well.
    pub last_epoch: Epoch,
}

impl Record for Tombstone {
    const KIND: u8 = 3;
    const VERSION: u8 = 2;
    const NAME: &'static str = "tombstone";
}

/// The catalog's single row of changing facts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Facts {
    clock_floor: Timestamp,
    audit: ChainHead,
}

impl Record for Facts {
    const KIND: u8 = 4;
    const NAME: &'static str = "catalog facts";
}

const FACTS: &str = "facts";

/// Who acts, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Act<'a> {
    /// Absent when the engine finishes by itself what a crash interrupted.
    pub(crate) operator: Option<&'a str>,
    pub(crate) at: Timestamp,
}

/// The open catalog.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(super) database: Database<CatalogTables>,
    /// What the revocations of an incarnation added up to when they were last walked.
    pub(super) walked: Mutex<HashMap<Incarnation, RowSet>>,
}

impl Catalog {
    pub(crate) fn create(spec: FileSpec) -> Result<Self> {
        let first = Facts { clock_floor: Timestamp::from_micros(0), audit: ChainHead::default() };
        Database::<CatalogTables>::create(&spec, |mut writer| {
            binding::mark_bound(&mut writer)?;
            put_facts(&mut writer, &first)
        })?;
        Self::open(spec)
    }

    /// # Errors
    /// `Damaged` when its facts are older than the operators' trail, or younger.
    pub(crate) fn open(spec: FileSpec) -> Result<Self> {
        let database: Database<CatalogTables> = Database::open(spec, &Cell::new(false), new_turn())?;
        let is_bound = database.read(|tables| {
            chain::check_newest(&tables.operator_audit, facts(&tables.meta)?.audit)?;
            binding::is_bound(&tables.meta)
        })?;
        if !is_bound {
            database.write(|mut writer| binding::bind_all(&mut writer))?;
        }
        Ok(Self { database, walked: Mutex::default() })
    }

    pub(crate) fn clock_floor(&self) -> Result<Timestamp> {
        self.database.read(|tables| Ok(facts(&tables.meta)?.clock_floor))
    }

    pub(crate) fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRecord>> {
        self.database.read(|tables| record_in(tables, tenant.as_str()))
    }

    /// Up to `limit` tenants in byte order of their names, after the given one.
    pub(crate) fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<(TenantId, TenantRecord)>> {
        let from = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.as_str()));
        self.database.read(|tables| {
            let rows = tables.tenants.range::<&str>((from, Bound::Unbounded))?;
            rows.take(limit)
                .map(|row| {
                    let (name, row) = row?;
                    let record = binding::checked(&tables.meta, name.value(), Some(row.value()))?;
                    Ok((stored_name(name.value())?, record.ok_or(Reason::DamagedRecord(TenantRecord::NAME))?))
                })
                .collect()
        })
    }

    /// Tenants that a crash left half made, half re-keyed or half purged. One whose row is not to be believed keeps none of
    /// the others waiting, and nothing of it is made or destroyed.
    pub(crate) fn unfinished(&self) -> Result<Vec<(TenantId, TenantRecord, Unfinished)>> {
        self.database.read(|tables| {
            let mut found = Vec::new();
            for row in tables.unfinished.range::<&str>(..)? {
                let (name, step) = row?;
                let (name, step) = (stored_name(name.value())?, codec::decode(step.value())?);
                match record_in(tables, name.as_str()) {
                    Ok(Some(record)) => found.push((name, record, step)),
                    Err(error) if error.kind() != ErrorKind::Damaged => return Err(error),
                    _ => tracing::error!(tenant = %name, "what a crash interrupted cannot be told from its row"),
                }
            }
            Ok(found)
        })
    }

    /// What is under way with an incarnation; `None` also when the name has another one by now.
    pub(crate) fn step(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Option<Unfinished>> {
        self.database.read(|tables| {
            if record_in(tables, tenant.as_str())?.is_none_or(|record| record.incarnation != incarnation) {
                return Ok(None);
            }
            tables.unfinished.get(tenant.as_str())?.map(|row| codec::decode(row.value())).transpose()
        })
    }

    /// To which epoch an earlier call was re-keying a tenant, if it could not tidy up.
    pub(crate) fn rekeying(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<Option<Epoch>> {
        let step = self.step(tenant, incarnation)?;
        Ok(if let Some(Unfinished::Rekey { to, .. }) = step { Some(to) } else { None })
    }

    /// Writes the row of a tenant whose files do not exist yet.
    ///
    /// # Errors
    /// `Conflict` when the name is taken.
    pub(crate) fn begin_provision(&self, act: Act<'_>, tenant: &TenantId, record: &TenantRecord) -> Result<()> {
        self.database.write(|mut writer| {
            if binding::current(&mut writer, tenant)?.is_some() {
                return Err(Reason::TenantExists.into());
            }
            binding::put(&mut writer, tenant, record)?;
            begin(&mut writer, tenant, &Unfinished::Provision)?;
            audit(&mut writer, act, OperatorAction::Provision, tenant, record.incarnation)
        })
    }

    /// The tenant's files are durable: opens it for service.
    pub(crate) fn finish_provision(&self, tenant: &TenantId, incarnation: Incarnation) -> Result<()> {
        self.database.write(|mut writer| {
            writer.open_table(UNFINISHED)?.remove(tenant.as_str())?;
            let step = |record: &mut TenantRecord| {
                if record.incarnation != incarnation || record.status != TenantStatus::Provisioning {
                    return Err(Error::from(Reason::TenantState));
                }
                record.status = TenantStatus::Active;
                Ok(())
            };
            change(&mut writer, tenant, step).map(|_| ())
        })
    }

    /// Stops or resumes a tenant.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` when it is not in a state for this.
    pub(crate) fn set_suspended(&self, act: Act<'_>, tenant: &TenantId, suspended: bool) -> Result<TenantRecord> {
        let (status, action) = if suspended {
            (TenantStatus::Suspended, OperatorAction::Suspend)
        } else {
            (TenantStatus::Active, OperatorAction::Resume)
        };
        self.database.write(|mut writer| {
            let step = |record: &mut TenantRecord| match record.status {
                TenantStatus::Active | TenantStatus::Suspended => {
                    record.status = status;
                    Ok(())
                }
                TenantStatus::Provisioning | TenantStatus::Purging => Err(Reason::TenantState.into()),
            };
            let record = change(&mut writer, tenant, step)?;
            audit(&mut writer, act, action, tenant, record.incarnation)?;
            Ok(record)
        })
    }

    /// Replaces the issuers that a tenant trusts.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` when it is being made or destroyed.
    pub(crate) fn set_issuers(&self, act: Act<'_>, tenant: &TenantId, issuers: Vec<Issuer>) -> Result<TenantRecord> {
        self.database.write(|mut writer| {
            let step = |record: &mut TenantRecord| match record.status {
                TenantStatus::Active | TenantStatus::Suspended => {
                    record.issuers = issuers;
                    Ok(())
                }
                TenantStatus::Provisioning | TenantStatus::Purging => Err(Reason::TenantState.into()),
            };
            let record = change(&mut writer, tenant, step)?;
            audit(&mut writer, act, OperatorAction::SetIssuers, tenant, record.incarnation)?;
            Ok(record)
        })
    }

    /// Replaces the owners of a tenant. Each user who becomes or ceases to be one has an entry in the operators' trail.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Conflict` when it is being made or destroyed.
    pub(crate) fn set_owners(&self, act: Act<'_>, tenant: &TenantId, owners: Vec<UserId>) -> Result<TenantRecord> {
        self.database.write(|mut writer| {
            let mut before = Vec::new();
            let step = |record: &mut TenantRecord| match record.status {
                TenantStatus::Active | TenantStatus::Suspended => {
                    before = std::mem::replace(&mut record.owners, owners);
                    Ok(())
                }
                TenantStatus::Provisioning | TenantStatus::Purging => Err(Reason::TenantState.into()),
            };
            let record = change(&mut writer, tenant, step)?;
            let left = before.iter().filter(|user| !record.owners.contains(user));
            let came = record.owners.iter().filter(|user| !before.contains(user));
            let left = left.map(|user| (OperatorAction::RemoveOwner, user));
            for (action, user) in left.chain(came.map(|user| (OperatorAction::AddOwner, user))) {
                let about = Some((tenant, record.incarnation));
                append(&mut writer, &OperatorAuditEntry { user: Some(user.clone()), ..entry(act, action, about) })?;
            }
            Ok(record)
        })
    }

    /// Marks a tenant as being purged. From here on nobody can reach it, whatever happens.
    ///
    /// # Errors
    /// `NotFound` when there is none, or another incarnation than the given one; `Conflict` while it is being
    /// provisioned.
    pub(crate) fn begin_purge(
        &self,
        act: Act<'_>,
        tenant: &TenantId,
        only: Option<Incarnation>,
    ) -> Result<TenantRecord> {
        self.database.write(|mut writer| {
            let step = |record: &mut TenantRecord| {
                if only.is_some_and(|only| only != record.incarnation) {
                    return Err(Error::not_found());
                }
                if record.status == TenantStatus::Provisioning {
                    return Err(Error::from(Reason::TenantState));
                }
                record.status = TenantStatus::Purging;
                Ok(())
            };
            let record = change(&mut writer, tenant, step)?;
            let by = act.operator.map(str::to_owned);
            match step_of(&mut writer, tenant)? {
                // Whoever calls again only goes on with what another one has ordered.
                Some(Unfinished::Purge(_)) => {}
                Some(Unfinished::Rekey { to, emptied: false }) => {
                    let step = PurgeStep { by, rekeying: Some(to), emptied: None };
                    begin(&mut writer, tenant, &Unfinished::Purge(step))?;
                }
                _ => begin(&mut writer, tenant, &Unfinished::Purge(PurgeStep { by, rekeying: None, emptied: None }))?,
            }
            audit(&mut writer, act, OperatorAction::Purge, tenant, record.incarnation)?;
            Ok(record)
        })
    }

    /// Marks a tenant as being re-keyed to the next epoch. It stays in service.
    ///
    /// # Errors
    /// `NotFound` when the name has another incarnation, `Conflict` when it is not in a state for this.
    pub(crate) fn begin_rekey(
        &self,
        act: Act<'_>,
        tenant: &TenantId,
        incarnation: Incarnation,
    ) -> Result<TenantRecord> {
        self.database.write(|mut writer| {
            let record = change(&mut writer, tenant, |record| check_in_service(record, incarnation))?;
            if writer.open_table(UNFINISHED)?.get(tenant.as_str())?.is_some() {
                return Err(Reason::TenantState.into());
            }
            begin(&mut writer, tenant, &Unfinished::Rekey { to: record.epoch.next()?, emptied: false })?;
            audit(&mut writer, act, OperatorAction::Rekey, tenant, incarnation)?;
            Ok(record)
        })
    }

    /// The files of this epoch are whole: from here on they are the tenant's.
    ///
    /// # Errors
    /// `Conflict` when the tenant is not being re-keyed any more.
    pub(crate) fn switch_epoch(&self, tenant: &TenantId, incarnation: Incarnation, to: Epoch) -> Result<TenantRecord> {
        self.database.write(|mut writer| {
            match step_of(&mut writer, tenant)? {
                Some(Unfinished::Rekey { to: marked, .. }) if marked == to => {}
                _ => return Err(Reason::TenantState.into()),
            }
            change(&mut writer, tenant, |record| {
                check_in_service(record, incarnation)?;
                record.epoch = to;
                Ok(())
            })
        })
    }

    /// The former files of a re-keying were seen, and hold nothing any more. Only their names are left to be removed.
    pub(crate) fn rekey_emptied(&self, tenant: &TenantId) -> Result<()> {
        self.database.write(|mut writer| match step_of(&mut writer, tenant)? {
            Some(Unfinished::Rekey { to, .. }) => begin(&mut writer, tenant, &Unfinished::Rekey { to, emptied: true }),
            // The purge that has begun meanwhile has only the others to look for.
            Some(Unfinished::Purge(step)) => {
                begin(&mut writer, tenant, &Unfinished::Purge(PurgeStep { rekeying: None, ..step }))
            }
            Some(Unfinished::Provision) | None => Err(Reason::TenantState.into()),
        })
    }

    /// All files of a tenant that is being purged, up to this epoch, were seen, and hold nothing any more. Only their names
    /// are left to be removed.
    pub(crate) fn purge_emptied(&self, tenant: &TenantId, last: Epoch) -> Result<()> {
        self.database.write(|mut writer| match step_of(&mut writer, tenant)? {
            Some(Unfinished::Purge(step)) => {
                begin(&mut writer, tenant, &Unfinished::Purge(PurgeStep { emptied: Some(last), ..step }))
            }
            _ => Err(Reason::TenantState.into()),
        })
    }

    /// The files of the other epoch are gone. Does nothing when something else is under way by now.
    pub(crate) fn finish_rekey(&self, act: Act<'_>, tenant: &TenantId, incarnation: Incarnation) -> Result<()> {
        self.database.write(|mut writer| {
            let Some(Unfinished::Rekey { to, .. }) = step_of(&mut writer, tenant)? else { return Ok(()) };
            let record = change(&mut writer, tenant, |record| check_in_service(record, incarnation))?;
            writer.open_table(UNFINISHED)?.remove(tenant.as_str())?;
            let is_done = record.epoch == to;
            let action = if is_done { OperatorAction::Rekeyed } else { OperatorAction::RekeyAbandoned };
            audit(&mut writer, act, action, tenant, incarnation)
        })
    }

    /// The tenant's keys and files are gone: replaces its row by a tombstone, if it was purged, and frees the name.
    pub(crate) fn finish_removal(
        &self,
        act: Act<'_>,
        tenant: &TenantId,
        incarnation: Incarnation,
    ) -> Result<Option<Tombstone>> {
        self.database.write(|mut writer| {
            let was = binding::current(&mut writer, tenant)?.ok_or_else(Error::not_found)?;
            if was.incarnation != incarnation {
                return Err(Error::not_found());
            }
            binding::remove(&mut writer, tenant)?;
            let step = step_of(&mut writer, tenant)?;
            writer.open_table(UNFINISHED)?.remove(tenant.as_str())?;
            revocations::forget(&mut writer, incarnation)?;
            api_keys::forget(&mut writer, incarnation)?;
            let action = match was.status {
                TenantStatus::Provisioning => OperatorAction::Abandoned,
                TenantStatus::Purging => OperatorAction::Purged,
                TenantStatus::Active | TenantStatus::Suspended => return Err(Reason::TenantState.into()),
            };
            let mut tombstone = None;
            if action == OperatorAction::Purged {
                // Nothing says that it was destroyed before it is on record that it was.
                let Some(Unfinished::Purge(PurgeStep { by: purged_by, emptied: Some(last_epoch), .. })) = step else {
                    return Err(Reason::TenantState.into());
                };
                let stays = Tombstone { tenant: tenant.clone(), purged_at: act.at, purged_by, last_epoch };
                let row = codec::encode(&stays)?;
                writer.open_table(TOMBSTONES)?.insert(incarnation.as_bytes().as_slice(), row.as_slice())?;
                tombstone = Some(stays);
            }
            audit(&mut writer, act, action, tenant, incarnation)?;
            Ok(tombstone)
        })
    }

    /// Records that an operator may act for a user of a tenant.
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant, or it is being made or purged.
    pub(crate) fn record_impersonation(
        &self,
        act: Act<'_>,
        tenant: &TenantId,
        user: &UserId,
        reason: &str,
    ) -> Result<()> {
        self.database.write(|mut writer| {
            let record = binding::current(&mut writer, tenant)?.ok_or_else(Error::not_found)?;
            if !matches!(record.status, TenantStatus::Active | TenantStatus::Suspended) {
                return Err(Error::not_found());
            }
            let entry = entry(act, OperatorAction::Impersonate, Some((tenant, record.incarnation)));
            let reason = Some(reason.to_owned());
            append(&mut writer, &OperatorAuditEntry { user: Some(user.clone()), reason, ..entry })
        })
    }

    /// What stays of a purged incarnation.
    pub(crate) fn tombstone(&self, incarnation: Incarnation) -> Result<Option<Tombstone>> {
        self.database.read(|tables| {
            let row = tables.tombstones.get(incarnation.as_bytes().as_slice())?;
            row.map(|row| codec::decode(row.value())).transpose()
        })
    }

    /// Up to `limit` entries of the operators' audit trail from the given number on; the first is 1.
    pub(crate) fn audit_entries(&self, from: u64, limit: usize) -> Result<Vec<OperatorAuditEntry>> {
        self.database.read(|tables| {
            let rows = tables.operator_audit.range(from..)?;
            rows.take(limit).map(|row| chain::entry(row?.1.value())).collect()
        })
    }

    /// Walks the operators' audit chain and gives its head.
    pub(crate) fn verify_audit(&self) -> Result<ChainHead> {
        self.database.read(|tables| {
            let head = facts(&tables.meta)?.audit;
            chain::verify(&tables.operator_audit, head)?;
            Ok(head)
        })
    }

    pub(crate) fn close(&self) -> Result<()> {
        if self.database.close().failed { Err(Reason::CloseFailed.into()) } else { Ok(()) }
    }
}

impl FloorStore for Catalog {
    fn raise_floor(&self, floor: Timestamp) -> Result<()> {
        self.database.write(|mut writer| {
            let mut now = facts(&writer.open_table(META)?)?;
            now.clock_floor = floor;
            put_facts(&mut writer, &now)
        })
    }
}

fn stored_name(name: &str) -> Result<TenantId> {
    TenantId::new(name).map_err(|_| Reason::DamagedRecord("tenant name").into())
}

fn record_in(tables: &CatalogTables, tenant: &str) -> Result<Option<TenantRecord>> {
    let row = tables.tenants.get(tenant)?;
    binding::checked(&tables.meta, tenant, row.as_ref().map(|row| row.value()))
}

fn facts(meta: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Facts> {
    let row = meta.get(FACTS)?.ok_or(Reason::DamagedRecord(Facts::NAME))?;
    codec::decode(row.value())
}

fn put_facts(writer: &mut Writer<'_>, facts: &Facts) -> Result<()> {
    writer.open_table(META)?.insert(FACTS, codec::encode(facts)?.as_slice())?;
    Ok(())
}

/// Only such a tenant is re-keyed.
fn check_in_service(record: &TenantRecord, incarnation: Incarnation) -> Result<()> {
    if record.incarnation != incarnation {
        return Err(Error::not_found());
    }
    match record.status {
        TenantStatus::Active | TenantStatus::Suspended => Ok(()),
        TenantStatus::Provisioning | TenantStatus::Purging => Err(Reason::TenantState.into()),
    }
}

fn begin(writer: &mut Writer<'_>, tenant: &TenantId, step: &Unfinished) -> Result<()> {
    writer.open_table(UNFINISHED)?.insert(tenant.as_str(), codec::encode(step)?.as_slice())?;
    Ok(())
}

fn step_of(writer: &mut Writer<'_>, tenant: &TenantId) -> Result<Option<Unfinished>> {
    let unfinished = writer.open_table(UNFINISHED)?;
    unfinished.get(tenant.as_str())?.map(|row| codec::decode(row.value())).transpose()
}

/// Applies one step to a tenant's row and gives the new row.
fn change(
    writer: &mut Writer<'_>,
    tenant: &TenantId,
    step: impl FnOnce(&mut TenantRecord) -> Result<()>,
) -> Result<TenantRecord> {
    let mut record = binding::current(writer, tenant)?.ok_or_else(Error::not_found)?;
    step(&mut record)?;
    binding::put(writer, tenant, &record)?;
    Ok(record)
}

pub(super) fn audit(
    writer: &mut Writer<'_>,
    act: Act<'_>,
    action: OperatorAction,
    tenant: &TenantId,
    incarnation: Incarnation,
) -> Result<()> {
    record(writer, act, action, Some((tenant, incarnation)))
}

/// Adds an entry to the operators' audit trail.
pub(super) fn record(
    writer: &mut Writer<'_>,
    act: Act<'_>,
    action: OperatorAction,
    tenant: Option<(&TenantId, Incarnation)>,
) -> Result<()> {
    append(writer, &entry(act, action, tenant))
}

/// An entry of the operators' audit trail that is about no user.
fn entry(act: Act<'_>, action: OperatorAction, tenant: Option<(&TenantId, Incarnation)>) -> OperatorAuditEntry {
    OperatorAuditEntry {
        at: act.at,
        operator: act.operator.map(str::to_owned),
        action,
        tenant: tenant.map(|(name, _)| name.clone()),
        incarnation: tenant.map(|(_, incarnation)| incarnation),
        user: None,
        reason: None,
    }
}

fn append(writer: &mut Writer<'_>, entry: &OperatorAuditEntry) -> Result<()> {
    let mut now = facts(&writer.open_table(META)?)?;
    chain::append(&mut writer.open_table(OPERATOR_AUDIT)?, &mut now.audit, entry)?;
    put_facts(writer, &now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_version_left_unfinished_is_read_as_not_emptied() {
        let purge = PurgeStep { by: Some("ops".into()), rekeying: None, emptied: None };
        for (body, expected) in [
            (&[0][..], Unfinished::Provision),
            (&[1, 1, 3, b'o', b'p', b's'], Unfinished::Purge(purge.clone())),
            (&[1, 0], Unfinished::Purge(PurgeStep { by: None, ..purge })),
            (&[2, 7], Unfinished::Rekey { to: Epoch(7), emptied: false }),
        ] {
            let bytes = [&[1, Unfinished::KIND, 1], body].concat();
            assert_eq!(codec::decode::<Unfinished>(&bytes).unwrap(), expected);
            assert_eq!(codec::decode::<Unfinished>(&codec::encode(&expected).unwrap()).unwrap(), expected);
            let unknown = [&[1, Unfinished::KIND, 0], body].concat();
            assert!(codec::decode::<Unfinished>(&unknown).is_err());
        }
    }
}
