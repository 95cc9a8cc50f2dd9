//! Frozen files of every kind, made by another implementation from `docs/DESIGN.md` alone. They must open for ever.

use std::sync::Arc;

use super::engine_key::EngineKeys;
use super::provider::{ProviderError, RootKeyProvider};
use super::root_key::RootKey;
use super::tenant_key::{TenantKey, wrapped_by};
use crate::id::{EngineId, Epoch, Incarnation, Issuer, UserId};

/// What the fixture says of a name.
fn known(name: &str) -> Vec<u8> {
    let lines = include_str!("../../tests/fixtures/keys-v1.txt").lines();
    let hex = lines.filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == name).unwrap().1;
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Wraps by turning the bytes around.
struct Reversing;

impl RootKeyProvider for Reversing {
    fn name(&self) -> &str {
        "kms.example.org/keys/7"
    }
    fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
        Ok(secret.iter().rev().copied().collect())
    }
    fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError> {
        secret.iter_mut().zip(wrapped.iter().rev()).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

fn engine() -> EngineId {
    EngineId::from_bytes(std::array::from_fn(|i| 0x10 + i as u8))
}

fn opened(name: &str, root: RootKey) -> EngineKeys {
    EngineKeys::open(&[(7, known(name))], &[root], engine()).unwrap()
}

#[test]
fn engine_key_files_of_every_kind_of_root_key_open() {
    let roots = [
        ("engine-key-bytes", RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap()),
        ("engine-key-passphrase", RootKey::from_passphrase("correct horse battery".to_owned()).unwrap()),
        ("engine-key-provider", RootKey::from_provider(Arc::new(Reversing)).unwrap()),
    ];
    for (name, root) in roots {
        let keys = opened(name, root);
        let engine_key: [u8; 32] = std::array::from_fn(|i| if i < 16 { 0x41 } else { 0x42 });
        assert_eq!(keys.newest().secret().expose(), &engine_key, "{name}");
        assert_eq!(keys.catalog().pages().expose()[..], known("catalog-page-key"), "{name}");
        // What is written today has the same form.
        assert_eq!(keys.wrap(7, &RootKey::generate().unwrap()).unwrap().len(), known("engine-key-bytes").len());
    }
}

#[test]
fn a_tenant_key_file_and_a_credential_open() {
    let keys = opened("engine-key-bytes", RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap());
    let incarnation = Incarnation::from_hex("202122232425262728292a2b2c2d2e2f").unwrap();
    let file = known("tenant-key");
    assert_eq!(wrapped_by(&file).unwrap(), 7);
    let key = TenantKey::unwrap(&file, &keys, incarnation, Epoch(3)).unwrap();
    assert_eq!(key.pages().expose()[..], known("tenant-page-key"));
    assert_eq!(key.cursors().expose()[..], known("cursor-key"));
    let alice = UserId::new(Issuer::authority(), "alice").unwrap();
    let secret = key.into_credentials().user(&[4; 32], &alice);
    assert_eq!(secret.open("TOKEN", 5, &known("credential")).unwrap().as_slice(), b"known answer");
    // What is written today has the same form.
    let (now, then) = (secret.seal("TOKEN", 5, b"known answer").unwrap(), known("credential"));
    assert_eq!((now.len(), &now[..13]), (then.len(), &then[..13]));
}
