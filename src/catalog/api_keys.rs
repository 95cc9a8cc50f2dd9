//! API keys: what is kept of them, which is everything but the keys.

use std::collections::HashMap;

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::revocations::{self, Bearer};
use super::tenants::{Catalog, TenantStatus};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{ApiKeyId, Incarnation, TenantId, UserId};
use crate::limits::API_KEYS_MAX;
use crate::store::codec::{self, Record};
use crate::store::database::Writer;
use crate::store::schema::{API_KEYS, REVOCATIONS, TENANT_API_KEYS};

/// An API key in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredApiKey {
    pub(crate) tenant: TenantId,
    /// The one life of the tenant's name that it opens.
    pub(crate) incarnation: Incarnation,
    pub(crate) label: String,
    pub(crate) scopes: u8,
    pub(crate) created_by: UserId,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
    /// HMAC-SHA256 of the secret part.
    pub(crate) hash: [u8; 32],
}

impl Record for StoredApiKey {
    const KIND: u8 = 7;
    const NAME: &'static str = "API key";
}

/// Who makes a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) bearer: Bearer<'a>,
    /// It was allowed as an owner of the tenant.
    pub(crate) as_owner: bool,
}

impl Catalog {
    pub(crate) fn api_key(&self, id: ApiKeyId) -> Result<Option<StoredApiKey>> {
        self.database.read(|tables| {
            tables.api_keys.get(id.as_bytes().as_slice())?.map(|row| codec::decode(row.value())).transpose()
        })
    }

    /// The keys of an incarnation, in no order that means anything.
    pub(crate) fn api_keys(&self, incarnation: Incarnation) -> Result<Vec<(ApiKeyId, StoredApiKey)>> {
        self.database.read(|tables| {
            ids(&tables.tenant_api_keys, incarnation)?
                .into_iter()
                .map(|id| {
                    let row = tables.api_keys.get(id.as_bytes().as_slice())?;
                    Ok((id, codec::decode(row.ok_or(Reason::DamagedRecord(StoredApiKey::NAME))?.value())?))
                })
                .collect()
        })
    }

    /// Adds a key, unless whoever makes it was revoked before its turn. Expired ones are cleared away for it.
    ///
    /// # Errors
    /// `Unauthenticated` when the maker was revoked, `NotFound` when the incarnation is not in service, does not trust the
    /// maker's issuer any more or has another owner by now, `Limit` when there are too many.
    pub(crate) fn add_api_key(&self, maker: Maker<'_>, id: ApiKeyId, key: &StoredApiKey) -> Result<()> {
        self.database.write(|mut writer| {
            let tenant = revocations::in_service(&mut writer, &key.tenant, key.incarnation)?;
            let Maker { bearer, as_owner } = maker;
            if !tenant.issuers.contains(bearer.user.issuer()) || (as_owner && !tenant.owners.contains(bearer.user)) {
                return Err(Error::not_found());
            }
            if tenant.status != TenantStatus::Active {
                return Err(Reason::TenantSuspended.into());
            }
            if revocations::is_revoked(&writer.open_table(REVOCATIONS)?, bearer)? {
                return Err(Reason::IdentityRevoked.into());
            }
            let there = ids(&writer.open_table(TENANT_API_KEYS)?, key.incarnation)?;
            let mut left = there.len();
            for old in there {
                let row = writer.open_table(API_KEYS)?.get(old.as_bytes().as_slice())?.map(|row| row.value().to_vec());
                let expired = row.map(|row| codec::decode::<StoredApiKey>(&row)).transpose()?;
                if expired.is_none_or(|old| old.expires_at <= key.created_at) {
                    remove(&mut writer, key.incarnation, old)?;
                    left -= 1;
                }
            }
            if left >= API_KEYS_MAX {
                return Err(Reason::Full { what: "API keys", limit: API_KEYS_MAX as u64 }.into());
            }
            if writer.open_table(API_KEYS)?.get(id.as_bytes().as_slice())?.is_some() {
                // One in 2^64: the caller's next attempt has another.
                return Err(Reason::Randomness.into());
            }
            writer.open_table(API_KEYS)?.insert(id.as_bytes().as_slice(), codec::encode(key)?.as_slice())?;
            writer.open_table(TENANT_API_KEYS)?.insert(owned(key.incarnation, id).as_slice(), [].as_slice())?;
            Ok(())
        })
    }

    /// Removes a key of the incarnation.
    ///
    /// # Errors
    /// `NotFound` when it has no such key.
    pub(crate) fn remove_api_key(&self, incarnation: Incarnation, id: ApiKeyId) -> Result<()> {
        self.database.write(
            |mut writer| {
                if remove(&mut writer, incarnation, id)? { Ok(()) } else { Err(Error::not_found()) }
            },
        )
    }

    /// Keeps the times at which keys were last used. Those that are gone are passed over.
    pub(crate) fn keep_api_key_uses(&self, uses: &HashMap<ApiKeyId, Timestamp>) -> Result<()> {
        self.database.write(|mut writer| {
            let mut keys = writer.open_table(API_KEYS)?;
            for (id, at) in uses {
                let Some(row) = keys.get(id.as_bytes().as_slice())?.map(|row| row.value().to_vec()) else { continue };
                let mut key: StoredApiKey = codec::decode(&row)?;
                key.last_used_at = key.last_used_at.max(Some(*at));
                keys.insert(id.as_bytes().as_slice(), codec::encode(&key)?.as_slice())?;
            }
            Ok(())
        })
    }
}

/// Whether the bearer's identity came from an API key that is not there any more.
pub(super) fn is_gone(
    tenant_api_keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    bearer: Bearer<'_>,
) -> Result<bool> {
    if !bearer.user.issuer().is_api_keys() {
        return Ok(false);
    }
    let Ok(id) = bearer.user.subject().parse() else { return Ok(true) };
    Ok(tenant_api_keys.get(owned(bearer.incarnation, id).as_slice())?.is_none())
}

/// Removes the keys of an incarnation that a user made up to a time.
pub(super) fn forget_made_by(
    writer: &mut Writer<'_>,
    incarnation: Incarnation,
    user: &UserId,
    until: Timestamp,
) -> Result<()> {
    let all = ids(&writer.open_table(TENANT_API_KEYS)?, incarnation)?;
    for id in all {
        let row = writer.open_table(API_KEYS)?.get(id.as_bytes().as_slice())?.map(|row| row.value().to_vec());
        let key: StoredApiKey = codec::decode(&row.ok_or(Reason::DamagedRecord(StoredApiKey::NAME))?)?;
        if key.created_by == *user && key.created_at <= until {
            remove(writer, incarnation, id)?;
        }
    }
    Ok(())
}

/// Removes every key of an incarnation.
pub(super) fn forget(writer: &mut Writer<'_>, incarnation: Incarnation) -> Result<()> {
    let all = ids(&writer.open_table(TENANT_API_KEYS)?, incarnation)?;
    for id in all {
        remove(writer, incarnation, id)?;
    }
    Ok(())
}

/// Removes a key, if the incarnation has it.
fn remove(writer: &mut Writer<'_>, incarnation: Incarnation, id: ApiKeyId) -> Result<bool> {
    if writer.open_table(TENANT_API_KEYS)?.remove(owned(incarnation, id).as_slice())?.is_none() {
        return Ok(false);
    }
    writer.open_table(API_KEYS)?.remove(id.as_bytes().as_slice())?;
    Ok(true)
}

fn ids(
    tenant_api_keys: &impl ReadableTable<&'static [u8], &'static [u8]>,
    incarnation: Incarnation,
) -> Result<Vec<ApiKeyId>> {
    let (first, last) = (owned(incarnation, ApiKeyId::MIN), owned(incarnation, ApiKeyId::MAX));
    let mut found = Vec::new();
    for row in tenant_api_keys.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        let (key, _) = row?;
        let id = key.value().last_chunk().ok_or(Reason::DamagedRecord("API key id"))?;
        found.push(ApiKeyId::from_bytes(*id));
    }
    Ok(found)
}

fn owned(incarnation: Incarnation, id: ApiKeyId) -> Vec<u8> {
    [incarnation.as_bytes().as_slice(), id.as_bytes()].concat()
}
