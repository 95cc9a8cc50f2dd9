//! A tenant's data key: random, so that destroying its key file destroys the tenant, and wrapped by the engine key.
//!
//! File layout, 180 bytes:
//! `magic 8 | format u32 | engine key version u32 | engine id 16 | engine key id 16 | incarnation 16 | epoch u32 |
//! envelope of 32`. Everything before the envelope is its AAD. Integers are little-endian.

use super::credential::CredentialKey;
use super::derive::derive;
use super::engine_key::{EngineKey, EngineKeys, check_format, key_id};
pub(crate) use super::format::TENANT_KEY_FILE_BYTES as FILE_BYTES;
use super::format::{
    Label, TENANT_KEY_FORMAT as FORMAT, TENANT_KEY_HEAD_BYTES as HEADER_BYTES, TENANT_KEY_MAGIC as MAGIC,
};
use super::seal;
use super::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::{Epoch, Incarnation};

const WHAT: &str = "tenant key file";

/// One epoch's data key of one incarnation, unwrapped.
#[derive(Debug)]
pub(crate) struct TenantKey {
    secret: Secret<32>,
    incarnation: Incarnation,
    epoch: Epoch,
}

impl TenantKey {
    pub(crate) fn generate(incarnation: Incarnation, epoch: Epoch) -> Result<Self> {
        Ok(Self { secret: Secret::random()?, incarnation, epoch })
    }

    /// The bytes of the key file.
    pub(crate) fn wrap(&self, engine: &EngineKey) -> Result<Vec<u8>> {
        let mut file = header(engine, self.incarnation, self.epoch);
        let envelope = seal::seal(engine.secret(), Label::WrapTenantKey, &file, self.secret.expose())?;
        file.extend_from_slice(&envelope);
        Ok(file)
    }

    /// Opens the bytes of a key file that was written for this incarnation and epoch.
    ///
    /// # Errors
    /// `KeyFileRefused` when it is damaged or belongs to another engine, tenant or epoch; `KeyFileMissing` when the
    /// version of the engine key that wrapped it is not there any more; `FormatVersion` when a later release wrote it.
    pub(crate) fn unwrap(file: &[u8], keys: &EngineKeys, incarnation: Incarnation, epoch: Epoch) -> Result<Self> {
        let refused = || Reason::KeyFileRefused(WHAT);
        let (head, envelope) = file.split_first_chunk::<HEADER_BYTES>().ok_or_else(refused)?;
        let version = wrapped_by(file)?;
        let Some(engine) = keys.version(version) else {
            let was_there = (EngineKeys::FIRST_VERSION..keys.newest().version()).contains(&version);
            let missing = Reason::KeyFileMissing("file of the engine key's version that wrapped a tenant key");
            return Err(if was_there { missing } else { refused() }.into());
        };
        if *head != *header(engine, incarnation, epoch) {
            return Err(refused().into());
        }
        let opened = seal::open(engine.secret(), Label::WrapTenantKey, head, envelope).map_err(|_| refused())?;
        let secret = Secret::copy(opened.as_slice().try_into().map_err(|_| refused())?);
        Ok(Self { secret, incarnation, epoch })
    }

    /// The page key of the tenant's file.
    pub(crate) fn pages(&self) -> Secret<32> {
        self.derive(Label::TenantPages)
    }

    /// The key that authenticates the tenant's list cursors.
    pub(crate) fn cursors(&self) -> Secret<64> {
        self.derive(Label::Cursor)
    }

    /// What the secrets of the tenant's users are derived from.
    pub(crate) fn into_credentials(self) -> CredentialKey {
        CredentialKey::new(self.secret, self.incarnation, self.epoch)
    }

    fn derive<const N: usize>(&self, label: Label) -> Secret<N> {
        derive(&self.secret, self.incarnation.as_bytes(), label, &[&self.epoch.0.to_le_bytes()])
    }
}

/// The version of the engine key that wrapped a key file, by what the file says of itself.
///
/// # Errors
/// `KeyFileRefused` when it is not a tenant key file; `FormatVersion` when a later release wrote it.
pub(crate) fn wrapped_by(file: &[u8]) -> Result<u32> {
    if file.len() != FILE_BYTES || !file.starts_with(MAGIC) {
        return Err(Reason::KeyFileRefused(WHAT).into());
    }
    check_format(file, FORMAT)?;
    let version = file.get(12..16).and_then(|bytes| bytes.try_into().ok());
    Ok(version.map(u32::from_le_bytes).ok_or(Reason::KeyFileRefused(WHAT))?)
}

fn header(engine: &EngineKey, incarnation: Incarnation, epoch: Epoch) -> Vec<u8> {
    let mut head = Vec::with_capacity(FILE_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&engine.version().to_le_bytes());
    head.extend_from_slice(engine.engine().as_bytes());
    head.extend_from_slice(&key_id(engine.secret()));
    head.extend_from_slice(incarnation.as_bytes());
    head.extend_from_slice(&epoch.0.to_le_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::EngineId;

    #[test]
    fn a_key_file_opens_only_in_its_own_place() {
        let keys = EngineKeys::generate(EngineId::random().unwrap()).unwrap();
        let (a, b) = (Incarnation::random().unwrap(), Incarnation::random().unwrap());
        let key = TenantKey::generate(a, Epoch::FIRST).unwrap();
        let file = key.wrap(keys.newest()).unwrap();
        assert_eq!((file.len(), wrapped_by(&file).unwrap()), (FILE_BYTES, 1));
        assert_eq!(TenantKey::unwrap(&file, &keys, a, Epoch::FIRST).unwrap().secret.expose(), key.secret.expose());

        let others = EngineKeys::generate(EngineId::random().unwrap()).unwrap();
        let refused = |file: &[u8], keys: &EngineKeys, incarnation, epoch| {
            let error = TenantKey::unwrap(file, keys, incarnation, epoch).unwrap_err();
            assert_eq!(error.reason(), &Reason::KeyFileRefused(WHAT));
        };
        refused(&file, &keys, b, Epoch::FIRST);
        refused(&file, &keys, a, Epoch(2));
        refused(&file, &others, a, Epoch::FIRST);
        for at in (0..8).chain(12..file.len()) {
            let mut bad = file.clone();
            bad[at] ^= 0x80;
            refused(&bad, &keys, a, Epoch::FIRST);
        }
    }

    #[test]
    fn a_key_file_opens_with_the_version_that_wrapped_it_and_no_other() {
        let first = EngineKeys::generate(EngineId::random().unwrap()).unwrap();
        let (both, a) = (first.with_new().unwrap(), Incarnation::random().unwrap());
        let key = TenantKey::generate(a, Epoch::FIRST).unwrap();
        let (old, new) = (key.wrap(first.newest()).unwrap(), key.wrap(both.newest()).unwrap());
        assert_eq!((wrapped_by(&old).unwrap(), wrapped_by(&new).unwrap()), (1, 2));
        for file in [&old, &new] {
            assert_eq!(TenantKey::unwrap(file, &both, a, Epoch::FIRST).unwrap().secret.expose(), key.secret.expose());
        }
        let reason = |file: &[u8], keys: &EngineKeys| {
            TenantKey::unwrap(file, keys, a, Epoch::FIRST).unwrap_err().reason().clone()
        };
        assert!(matches!(reason(&old, &both.without(1)), Reason::KeyFileMissing(_)));
        // A version that never was is damage.
        assert_eq!(reason(&new, &first), Reason::KeyFileRefused(WHAT));
        let mut renamed = old.clone();
        renamed[12] = 2;
        assert_eq!(reason(&renamed, &both), Reason::KeyFileRefused(WHAT));
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_epoch() {
        let incarnation = Incarnation::random().unwrap();
        let one = TenantKey { secret: Secret::new([1; 32]), incarnation, epoch: Epoch(1) };
        let two = TenantKey { secret: Secret::new([1; 32]), incarnation, epoch: Epoch(2) };
        assert_ne!(one.pages().expose()[..], one.cursors().expose()[..32]);
        assert_ne!(one.pages().expose(), two.pages().expose());
    }
}
