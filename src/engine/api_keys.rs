//! API keys at work: made, listed, revoked, verified, and the times of their use.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Inner;
use super::pool::TenantSlot;
use crate::catalog::api_keys::{Maker, StoredApiKey};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::id::{ApiKeyId, Incarnation};
use crate::identity::api_key::{ApiKey, ApiKeyInfo, ApiKeySpec, NewApiKey, is_same_hash, user_of};
use crate::identity::scope::Scopes;
use crate::identity::verified::{IdentityFacts, VerifiedIdentity};
use crate::limits::API_KEY_USE_SECONDS;

/// When keys were last used, since that was last made durable. It has a key at most once, and only keys that exist.
#[derive(Debug)]
pub(super) struct ApiKeyUses(Mutex<Uses>);

#[derive(Debug)]
struct Uses {
    seen: HashMap<ApiKeyId, Timestamp>,
    kept_at: Timestamp,
}

impl ApiKeyUses {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Uses { seen: HashMap::new(), kept_at: now }))
    }

    /// Gives all of them once an hour.
    fn note(&self, id: ApiKeyId, now: Timestamp) -> Option<HashMap<ApiKeyId, Timestamp>> {
        let mut uses = self.0.lock();
        let last = uses.seen.entry(id).or_insert(now);
        *last = now.max(*last);
        if now < uses.kept_at.after(Duration::from_secs(API_KEY_USE_SECONDS)) {
            return None;
        }
        uses.kept_at = now;
        Some(std::mem::take(&mut uses.seen))
    }

    fn of(&self, id: ApiKeyId) -> Option<Timestamp> {
        self.0.lock().seen.get(&id).copied()
    }

    fn take(&self) -> HashMap<ApiKeyId, Timestamp> {
        std::mem::take(&mut self.0.lock().seen)
    }

    fn give_back(&self, uses: HashMap<ApiKeyId, Timestamp>) {
        let mut now = self.0.lock();
        for (id, at) in uses {
            let last = now.seen.entry(id).or_insert(at);
            *last = at.max(*last);
        }
    }
}

impl Inner {
    /// The identity of whoever shows this key. It says the same of every key that it refuses.
    pub(super) fn verify_api_key(&self, bearer: &str) -> Result<VerifiedIdentity> {
        let refused = || Error::from(Reason::TokenRefused);
        let key = ApiKey::parse(bearer).ok_or_else(refused)?;
        // Before anything is looked up: a key that is not there takes as long as one that is.
        let hash = key.hash(&self.keyring.keys().catalog().api_key_hashes());
        let Some(found) = self.catalog.api_key(key.id())? else { return Err(refused()) };
        let now = self.clock.now();
        if !is_same_hash(&hash, &found.hash) || now >= found.expires_at {
            return Err(refused());
        }
        if let Some(uses) = self.api_key_uses.note(key.id(), now) {
            self.keep_uses(uses);
        }
        let scopes = Scopes::from_bits(found.scopes);
        let (engine, user, groups) = (self.id, user_of(key.id())?, Vec::new());
        Ok(VerifiedIdentity::new(IdentityFacts {
            incarnation: Some(found.incarnation),
            ..IdentityFacts::of_one_tenant(
                engine,
                found.tenant,
                user,
                groups,
                scopes,
                found.created_at,
                found.expires_at,
            )
        }))
    }

    /// Makes a key for the tenant of an admitted identity.
    pub(crate) fn create_api_key(
        &self,
        maker: Maker<'_>,
        slot: &TenantSlot,
        key: &ApiKey,
        spec: &ApiKeySpec,
    ) -> Result<NewApiKey> {
        let created_at = self.clock.stamp();
        let stored = StoredApiKey {
            tenant: slot.tenant.clone(),
            incarnation: slot.incarnation,
            label: spec.label.clone(),
            scopes: spec.scopes.bits(),
            created_by: maker.bearer.user.clone(),
            created_at,
            expires_at: created_at.after(spec.lifetime),
            last_used_at: None,
            hash: key.hash(&self.keyring.keys().catalog().api_key_hashes()),
        };
        self.catalog.add_api_key(maker, key.id(), &stored)?;
        Ok(NewApiKey { info: ApiKeyInfo::new(key.id(), stored), text: key.text() })
    }

    /// The keys of an incarnation, oldest first.
    pub(crate) fn api_keys(&self, incarnation: Incarnation) -> Result<Vec<ApiKeyInfo>> {
        let found = self.catalog.api_keys(incarnation)?;
        let mut keys: Vec<_> = found.into_iter().map(|(id, key)| ApiKeyInfo::new(id, key)).collect();
        for key in &mut keys {
            key.last_used_at = key.last_used_at.max(self.api_key_uses.of(key.id));
        }
        keys.sort_by_key(|key| (key.created_at, key.id));
        Ok(keys)
    }

    pub(crate) fn has_api_key(&self, incarnation: Incarnation, id: ApiKeyId) -> Result<bool> {
        Ok(self.catalog.api_key(id)?.is_some_and(|key| key.incarnation == incarnation))
    }

    /// Removes a key. When this returns, no operation of its handles succeeds that began afterwards.
    pub(crate) fn revoke_api_key(&self, incarnation: Incarnation, id: ApiKeyId) -> Result<()> {
        let removed = self.catalog.remove_api_key(incarnation, id);
        self.revise(incarnation);
        removed
    }

    /// Makes the times of use durable before the catalog closes.
    pub(super) fn keep_last_uses(&self) {
        self.keep_uses(self.api_key_uses.take());
    }

    /// One caller an hour pays for one commit of the catalog. When it fails, the next one tries again.
    fn keep_uses(&self, uses: HashMap<ApiKeyId, Timestamp>) {
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.catalog.keep_api_key_uses(&uses) {
            tracing::warn!(kind = ?error.kind(), "the times of use of API keys could not be stored");
            self.api_key_uses.give_back(uses);
        }
    }
}
