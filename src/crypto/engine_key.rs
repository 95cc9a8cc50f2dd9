//! The engine key: random, wrapped by the root key, the start of every other derivation.
//!
//! File layout, 160 bytes: `magic 8 | format u32 | version u32 | engine id 16 | root key id 16 | envelope of 32`.
//! Everything before the envelope is its AAD. Integers are little-endian.

use super::derive::{Label, derive};
use super::root_key::RootKey;
use super::seal::{self, OVERHEAD_BYTES};
use super::secret::Secret;
use crate::error::{Reason, Result};
use crate::id::EngineId;

const MAGIC: &[u8; 8] = b"WTENGKEY";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 48;
/// Length of an engine key file.
pub(crate) const FILE_BYTES: usize = HEADER_BYTES + 32 + OVERHEAD_BYTES;
const WHAT: &str = "engine key file";

/// The engine key, unwrapped.
#[derive(Debug)]
pub(crate) struct EngineKey {
    secret: Secret<32>,
    engine: EngineId,
    version: u32,
}

impl EngineKey {
    /// The version that a new data directory starts with.
    pub(crate) const FIRST_VERSION: u32 = 1;

    pub(crate) fn generate(engine: EngineId) -> Result<Self> {
        Ok(Self { secret: Secret::random()?, engine, version: Self::FIRST_VERSION })
    }

    /// The bytes of the key file.
    pub(crate) fn wrap(&self, root: &RootKey) -> Result<Vec<u8>> {
        let mut file = header(self.version, &self.engine, root);
        let envelope = seal::seal(root.secret(), Label::WrapEngineKey, &file, self.secret.expose())?;
        file.extend_from_slice(&envelope);
        Ok(file)
    }

    /// Opens the bytes of a key file that was written for this engine.
    ///
    /// # Errors
    /// `RootKeyWrong` when another root key wrapped it; `KeyFileRefused` when the file is damaged or another
    /// engine's; `FormatVersion` when a later release wrote it.
    pub(crate) fn unwrap(file: &[u8], root: &RootKey, engine: EngineId, version: u32) -> Result<Self> {
        let refused = || Reason::KeyFileRefused(WHAT);
        let (head, envelope) = file.split_first_chunk::<HEADER_BYTES>().ok_or_else(refused)?;
        if file.len() != FILE_BYTES || !head.starts_with(MAGIC) {
            return Err(refused().into());
        }
        check_format(head, FORMAT)?;
        let expected = header(version, &engine, root);
        let (before_id, id) = head.split_at(HEADER_BYTES - KEY_ID_BYTES);
        if !expected.starts_with(before_id) {
            return Err(refused().into());
        }
        if !expected.ends_with(id) {
            return Err(Reason::RootKeyWrong.into());
        }
        let opened = seal::open(root.secret(), Label::WrapEngineKey, head, envelope).map_err(|_| refused())?;
        let secret = <[u8; 32]>::try_from(opened.as_slice()).map_err(|_| refused())?;
        Ok(Self { secret: Secret::new(secret), engine, version })
    }

    pub(crate) fn engine(&self) -> EngineId {
        self.engine
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// The page key of the catalog.
    pub(crate) fn catalog_pages(&self) -> Secret<32> {
        derive(&self.secret, self.engine.as_bytes(), Label::CatalogPages, &[])
    }

    /// The key under which the catalog keeps hashes of API keys.
    pub(crate) fn api_key_hashes(&self) -> Secret<64> {
        derive(&self.secret, self.engine.as_bytes(), Label::ApiKeyHash, &[])
    }
}

const KEY_ID_BYTES: usize = 16;

/// A public name of a key. It tells "another key" from "a damaged file"; it proves nothing.
pub(super) fn key_id(key: &Secret<32>) -> [u8; KEY_ID_BYTES] {
    *derive::<KEY_ID_BYTES>(key, &[], Label::KeyId, &[]).expose()
}

/// The format number stands behind the magic of both kinds of key file.
pub(super) fn check_format(head: &[u8], supported: u32) -> Result<()> {
    let found = head.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    if found == supported { Ok(()) } else { Err(Reason::FormatVersion { found, supported }.into()) }
}

fn header(version: u32, engine: &EngineId, root: &RootKey) -> Vec<u8> {
    let mut head = Vec::with_capacity(FILE_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&FORMAT.to_le_bytes());
    head.extend_from_slice(&version.to_le_bytes());
    head.extend_from_slice(engine.as_bytes());
    head.extend_from_slice(&key_id(root.secret()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn wraps_and_unwraps() {
        let (root, engine) = (RootKey::generate().unwrap(), EngineId::random().unwrap());
        let key = EngineKey::generate(engine).unwrap();
        let file = key.wrap(&root).unwrap();
        assert_eq!(file.len(), FILE_BYTES);
        assert_eq!(EngineKey::unwrap(&file, &root, engine, 1).unwrap().secret.expose(), key.secret.expose());
    }

    #[test]
    fn each_deviation_has_its_own_error() {
        let (root, engine) = (RootKey::generate().unwrap(), EngineId::random().unwrap());
        let file = EngineKey::generate(engine).unwrap().wrap(&root).unwrap();
        let error = |file: &[u8], root: &RootKey, engine, version| {
            EngineKey::unwrap(file, root, engine, version).unwrap_err().reason().clone()
        };
        assert_eq!(error(&file, &RootKey::generate().unwrap(), engine, 1), Reason::RootKeyWrong);
        let refused = Reason::KeyFileRefused(WHAT);
        assert_eq!(error(&file, &root, EngineId::random().unwrap(), 1), refused);
        assert_eq!(error(&file, &root, engine, 2), refused);
        assert_eq!(error(&file[1..], &root, engine, 1), refused);
        assert_eq!(error(&[], &root, engine, 1), refused);
        let mut later = file.clone();
        later[8] = 9;
        assert_eq!(EngineKey::unwrap(&later, &root, engine, 1).unwrap_err().kind(), ErrorKind::Incompatible);
        for at in HEADER_BYTES..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(error(&bad, &root, engine, 1), refused);
        }
    }
}
