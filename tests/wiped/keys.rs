//! The keys of a data directory, derived from its files and the root key by other code than the engine's.

use std::fs;
use std::path::Path;

use ring::{aead, hkdf};
use watertight::{Incarnation, UserId};

const FORMAT: [u8; 4] = 1_u32.to_le_bytes();

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&(field.len() as u32).to_le_bytes()[..], field].concat()).collect()
}

/// HKDF-SHA256 with `info` as DESIGN.md has it.
pub(crate) fn derive(key: &[u8], salt: &[u8], label: &str, context: &[&[u8]], length: usize) -> Vec<u8> {
    let info = length_prefixed(&[&[label.as_bytes(), &FORMAT], context].concat());
    let mut out = vec![0; length];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    key.expand(&[&info], Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

/// The plaintext of an envelope that ends a file; what stands before it is its AAD.
fn opened(file: &[u8], plaintext: usize, key: &[u8], label: &str) -> Vec<u8> {
    let (aad, envelope) = file.split_at(file.len() - plaintext - 80);
    let both = derive(key, &envelope[..32], label, &[], 64);
    assert_eq!(both[32..], envelope[32..64], "the commitment is to this key");
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &both[..32]).unwrap());
    let mut text = envelope[64..].to_vec();
    let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
    key.open_in_place(nonce, aead::Aad::from(aad), &mut text).unwrap();
    text.truncate(plaintext);
    text
}

/// Engine key and catalog key of a version, if its file is there. `secret` is what the root key comes to.
pub(crate) fn engine_keys(directory: &Path, version: u32, secret: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let file = fs::read(directory.join(format!("keys/engine.{version}.key"))).ok()?;
    let both = opened(&file, 64, secret, "watertight wrap engine key");
    Some((both[..32].to_vec(), both[32..].to_vec()))
}

/// The data key of an epoch, if its file is there and this engine key has wrapped it.
pub(crate) fn data_key(
    directory: &Path,
    incarnation: Incarnation,
    epoch: u32,
    engine: &[u8],
    version: u32,
) -> Option<Vec<u8>> {
    let name = incarnation.to_string();
    let file = fs::read(directory.join("keys").join(&name[..2]).join(format!("{name}.{epoch}.key"))).ok()?;
    (file[12..16] == version.to_le_bytes()).then(|| opened(&file, 32, engine, "watertight wrap tenant key"))
}

/// What is derived from a data key: page key, cursor key.
pub(crate) fn of_tenant(data_key: &[u8], incarnation: Incarnation, epoch: u32) -> [Vec<u8>; 2] {
    let (salt, epoch) = (bytes(incarnation), epoch.to_le_bytes());
    [("watertight tenant pages", 32), ("watertight cursor", 64)]
        .map(|(label, length)| derive(data_key, &salt, label, &[&epoch], length))
}

/// What is derived from a catalog key: page key, receipt key, key of the hashes of API keys.
pub(crate) fn of_engine(directory: &Path, catalog_key: &[u8]) -> [Vec<u8>; 3] {
    let id = &fs::read(directory.join("FORMAT")).unwrap()[16..];
    [("watertight catalog pages", 32), ("watertight receipt", 64), ("watertight API key hash", 64)]
        .map(|(label, length)| derive(catalog_key, id, label, &[], length))
}

/// The secret under which a user's credentials are sealed.
pub(crate) fn of_user(data_key: &[u8], salt: &[u8], incarnation: Incarnation, user: &UserId) -> Vec<u8> {
    let context = [&bytes(incarnation)[..], user.issuer().as_str().as_bytes(), user.subject().as_bytes()];
    derive(data_key, salt, "watertight user secret", &context, 32)
}

fn bytes(incarnation: Incarnation) -> Vec<u8> {
    from_hex(&incarnation.to_string())
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
