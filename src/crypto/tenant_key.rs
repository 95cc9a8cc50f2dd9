//! A tenant's data key: random, so that destroying its key file destroys the tenant, and wrapped by the engine key.
//!
//! File layout, 180 bytes:
//! `magic 8 | format u32 | engine key version u32 | engine id 16 | engine key id 16 | incarnation 16 | epoch u32 |
//! envelope of 32`. Everything before the envelope is its AAD. Integers are little-endian.

use super::credential::CredentialKey;
use super::derive::{Label, derive};
use super::engine_key::{EngineKey, check_format, key_id};
use super::seal::{self, OVERHEAD_BYTES};
use super::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::{Epoch, Incarnation};

const MAGIC: &[u8; 8] = b"WTTENKEY";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 68;
/// Length of a tenant key file.
pub(crate) const FILE_BYTES: usize = HEADER_BYTES + 32 + OVERHEAD_BYTES;
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
    /// `KeyFileRefused` when it is damaged or belongs to another engine, tenant or epoch; `FormatVersion` when a
    /// later release wrote it.
    pub(crate) fn unwrap(file: &[u8], engine: &EngineKey, incarnation: Incarnation, epoch: Epoch) -> Result<Self> {
        let refused = || Reason::KeyFileRefused(WHAT);
        let (head, envelope) = file.split_first_chunk::<HEADER_BYTES>().ok_or_else(refused)?;
        if file.len() != FILE_BYTES || !head.starts_with(MAGIC) {
            return Err(refused().into());
        }
        check_format(head, FORMAT)?;
        if *head != *header(engine, incarnation, epoch) {
            return Err(refused().into());
        }
        let opened = seal::open(engine.secret(), Label::WrapTenantKey, head, envelope).map_err(|_| refused())?;
        let secret = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| refused())?;
        Ok(Self { secret: Secret::new(secret), incarnation, epoch })
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
    pub(crate) fn credentials(&self) -> CredentialKey {
        CredentialKey::new(Secret::new(*self.secret.expose()), self.incarnation, self.epoch)
    }

    fn derive<const N: usize>(&self, label: Label) -> Secret<N> {
        derive(&self.secret, self.incarnation.as_bytes(), label, &[&self.epoch.0.to_le_bytes()])
    }
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
        let engine = EngineKey::generate(EngineId::random().unwrap()).unwrap();
        let (a, b) = (Incarnation::random().unwrap(), Incarnation::random().unwrap());
        let key = TenantKey::generate(a, Epoch::FIRST).unwrap();
        let file = key.wrap(&engine).unwrap();
        assert_eq!(file.len(), FILE_BYTES);
        assert_eq!(TenantKey::unwrap(&file, &engine, a, Epoch::FIRST).unwrap().secret.expose(), key.secret.expose());

        let other_engine = EngineKey::generate(EngineId::random().unwrap()).unwrap();
        let refused = |file: &[u8], engine: &EngineKey, incarnation, epoch| {
            let error = TenantKey::unwrap(file, engine, incarnation, epoch).unwrap_err();
            assert_eq!(error.reason(), &Reason::KeyFileRefused(WHAT));
        };
        refused(&file, &engine, b, Epoch::FIRST);
        refused(&file, &engine, a, Epoch(2));
        refused(&file, &other_engine, a, Epoch::FIRST);
        for at in (0..8).chain(12..file.len()) {
            let mut bad = file.clone();
            bad[at] ^= 0x80;
            refused(&bad, &engine, a, Epoch::FIRST);
        }
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
