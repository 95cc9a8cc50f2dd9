//! The engine key: random, wrapped by the root key, in versions that may stand side by side while one takes the place
//! of another. It wraps tenants' data keys and nothing else.
//!
//! A file holds one version: `magic 8 | format u32 | version u32 | engine id 16 | root key id 16 | kind u32 | root part |
//! envelope of 64`. The root part says how the root key comes to its 32 bytes ([`super::root_key`]). The envelope holds
//! the engine key and the catalog key, which is the same in all versions. Everything before the envelope is its AAD.
//! Integers are little-endian.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::catalog_key::CatalogKey;
use super::derive::derive;
use super::format::{
    ENGINE_KEY_ENVELOPE_BYTES, ENGINE_KEY_FORMAT, ENGINE_KEY_HEAD_BYTES, ENGINE_KEY_MAGIC, KEY_ID_BYTES, Label,
};
use super::root_key::{RootKey, RootPart};
use super::seal;
use super::secret::Secret;
use crate::error::{Error, Reason, Result};
use crate::id::EngineId;

const WHAT: &str = "engine key file";

/// One version of the engine key, unwrapped.
#[derive(Debug)]
pub(crate) struct EngineKey {
    secret: Secret<32>,
    engine: EngineId,
    version: u32,
}

impl EngineKey {
    fn generate(engine: EngineId, version: u32) -> Result<Self> {
        Ok(Self { secret: Secret::random()?, engine, version })
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn engine(&self) -> EngineId {
        self.engine
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.secret
    }
}

/// All versions of the engine key that are in use, with the catalog key.
#[derive(Debug)]
pub(crate) struct EngineKeys {
    engine: EngineId,
    catalog: Arc<CatalogKey>,
    newest: Arc<EngineKey>,
    older: BTreeMap<u32, Arc<EngineKey>>,
}

impl EngineKeys {
    /// The version that a new data directory starts with.
    pub(crate) const FIRST_VERSION: u32 = 1;

    pub(crate) fn generate(engine: EngineId) -> Result<Self> {
        let (catalog, newest) = (CatalogKey::generate(engine)?, EngineKey::generate(engine, Self::FIRST_VERSION)?);
        Ok(Self { engine, catalog: Arc::new(catalog), newest: Arc::new(newest), older: BTreeMap::new() })
    }

    /// Opens key files, in rising order of their versions.
    ///
    /// # Errors
    /// As [`open_file`]; `KeyFileMissing` when there is none; `KeyFileRefused` when they do not belong together.
    pub(crate) fn open(files: &[(u32, Vec<u8>)], roots: &[RootKey], engine: EngineId) -> Result<Self> {
        let ((version, file), before) = files.split_last().ok_or(Reason::KeyFileMissing(WHAT))?;
        let (newest, catalog) = open_file(file, roots, engine, *version)?;
        let mut older = BTreeMap::new();
        for (version, file) in before {
            let (key, same) = open_file(file, roots, engine, *version)?;
            if !bool::from(same.secret().expose().ct_eq(catalog.secret().expose())) {
                return Err(Reason::KeyFileRefused(WHAT).into());
            }
            older.insert(*version, Arc::new(key));
        }
        Ok(Self { engine, catalog: Arc::new(catalog), newest: Arc::new(newest), older })
    }

    /// The bytes of a version's key file, which the root key has been seen to open.
    ///
    /// # Errors
    /// `KeyUnavailable` when the root key cannot be had, or its provider does not give back what it was given.
    pub(crate) fn wrap(&self, version: u32, root: &RootKey) -> Result<Vec<u8>> {
        let key = self.version(version).ok_or(Reason::KeyFileMissing(WHAT))?;
        let (secret, part) = root.draw()?;
        let mut file = head(version, &self.engine, &key_id(&secret), &part);
        let both: Zeroizing<Vec<u8>> =
            Zeroizing::new([&key.secret.expose()[..], self.catalog.secret().expose()].concat());
        file.extend_from_slice(&seal::seal(&secret, Label::WrapEngineKey, &file, &both)?);
        // A provider may answer with anything: what it cannot undo is not written.
        let (again, _) = open_file(&file, std::slice::from_ref(root), self.engine, version)
            .map_err(|error| if *error.reason() == Reason::RootKeyWrong { not_given_back() } else { error })?;
        if bool::from(again.secret.expose().ct_eq(key.secret.expose())) { Ok(file) } else { Err(not_given_back()) }
    }

    /// Whether this root key is the one that wrapped a version's file.
    ///
    /// # Errors
    /// As [`open_file`].
    pub(crate) fn check_root(&self, version: u32, file: &[u8], root: &RootKey) -> Result<()> {
        open_file(file, std::slice::from_ref(root), self.engine, version).map(|_| ())
    }

    /// These keys with one more, random, which becomes the newest.
    pub(crate) fn with_new(&self) -> Result<Self> {
        let version =
            self.newest.version.checked_add(1).ok_or(Reason::Full { what: "versions", limit: u64::from(u32::MAX) })?;
        let mut older = self.older.clone();
        older.insert(self.newest.version, self.newest.clone());
        let newest = Arc::new(EngineKey::generate(self.engine, version)?);
        Ok(Self { engine: self.engine, catalog: self.catalog.clone(), newest, older })
    }

    /// These keys without an older one.
    pub(crate) fn without(&self, version: u32) -> Self {
        let mut older = self.older.clone();
        older.remove(&version);
        Self { engine: self.engine, catalog: self.catalog.clone(), newest: self.newest.clone(), older }
    }

    pub(crate) fn engine(&self) -> EngineId {
        self.engine
    }

    pub(crate) fn catalog(&self) -> &CatalogKey {
        &self.catalog
    }

    /// The one that wraps whatever is wrapped from now on.
    pub(crate) fn newest(&self) -> &EngineKey {
        &self.newest
    }

    pub(crate) fn version(&self, version: u32) -> Option<&EngineKey> {
        if version == self.newest.version {
            return Some(&self.newest);
        }
        self.older.get(&version).map(|key| &**key)
    }

    /// In rising order.
    pub(crate) fn versions(&self) -> impl Iterator<Item = u32> {
        self.older.keys().copied().chain([self.newest.version])
    }
}

fn not_given_back() -> Error {
    Reason::RootKeyProvider("it does not give back what it was given").into()
}

/// Opens the bytes of a key file that was written for this engine and version, with whichever root key fits.
///
/// # Errors
/// `RootKeyWrong` when another root key wrapped it; `RootKeyProvider` when the one that may have cannot be asked;
/// `KeyFileRefused` when the file is damaged or another engine's; `FormatVersion` when another release wrote it.
fn open_file(file: &[u8], roots: &[RootKey], engine: EngineId, version: u32) -> Result<(EngineKey, CatalogKey)> {
    let refused = || Reason::KeyFileRefused(WHAT);
    let (fixed, rest) = file.split_first_chunk::<ENGINE_KEY_HEAD_BYTES>().ok_or_else(refused)?;
    if !fixed.starts_with(ENGINE_KEY_MAGIC) {
        return Err(refused().into());
    }
    check_format(fixed, ENGINE_KEY_FORMAT)?;
    let (id, kind) = fixed.last_chunk::<{ KEY_ID_BYTES + 4 }>().ok_or_else(refused)?.split_at(KEY_ID_BYTES);
    let kind = kind.try_into().map(u32::from_le_bytes).map_err(|_| refused())?;
    let (part, envelope) = RootPart::from_bytes(kind, rest).ok_or_else(refused)?;
    let aad = head(version, &engine, id, &part);
    if envelope.len() != ENGINE_KEY_ENVELOPE_BYTES || !file.starts_with(&aad) {
        return Err(refused().into());
    }
    let mut wrong = Error::from(Reason::RootKeyWrong);
    for root in roots {
        match root.find(&part) {
            Ok(Some(secret)) if key_id(&secret) == *id => {
                let opened = seal::open(&secret, Label::WrapEngineKey, &aad, envelope).map_err(|_| refused())?;
                let (key, catalog) = opened.split_first_chunk::<32>().ok_or_else(refused)?;
                let catalog = Secret::copy(catalog.try_into().map_err(|_| refused())?);
                let key = EngineKey { secret: Secret::copy(key), engine, version };
                return Ok((key, CatalogKey::new(catalog, engine)));
            }
            Ok(_) => {}
            // Another one may fit.
            Err(error) => wrong = error,
        }
    }
    Err(wrong)
}

fn head(version: u32, engine: &EngineId, id: &[u8], part: &RootPart) -> Vec<u8> {
    let fields: [&[u8]; 7] = [
        ENGINE_KEY_MAGIC,
        &ENGINE_KEY_FORMAT.to_le_bytes(),
        &version.to_le_bytes(),
        engine.as_bytes(),
        id,
        &part.kind().to_le_bytes(),
        &part.to_bytes(),
    ];
    fields.concat()
}

/// A public name of a key. It tells "another key" from "a damaged file"; it proves nothing.
pub(super) fn key_id(key: &Secret<32>) -> [u8; KEY_ID_BYTES] {
    *derive::<KEY_ID_BYTES>(key, &[], Label::KeyId, &[]).expose()
}

/// The format number stands behind the magic of both kinds of key file.
pub(super) fn check_format(head: &[u8], supported: u32) -> Result<()> {
    let found = head.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    if found == supported { Ok(()) } else { Err(Reason::FormatVersion { found, supported }.into()) }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::crypto::provider::{ProviderError, RootKeyProvider};
    use crate::error::ErrorKind;

    fn engine() -> EngineId {
        EngineId::random().unwrap()
    }

    fn phrase(text: &str) -> RootKey {
        RootKey::from_passphrase(text.to_owned()).unwrap()
    }

    fn reason(opened: Result<impl Sized>) -> Reason {
        opened.err().expect("a refusal").reason().clone()
    }

    /// Wraps by adding a number to each byte, in one of the ways in which a provider may fail.
    struct Shift(&'static str, u8, Mutex<Fault>);

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        Down,
        No,
        Panics,
        WrapsIntoNothing,
        WrapsIntoMuch,
        Garbage,
        PanicsWithPanickingPayload,
    }

    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            panic!("a payload that does not want to go");
        }
    }

    impl Shift {
        fn fault(&self) -> Result<(), ProviderError> {
            match *self.2.lock() {
                Fault::Down => Err(ProviderError::Unavailable),
                Fault::No => Err(ProviderError::Refused),
                Fault::Panics => panic!("secret of the provider"),
                Fault::PanicsWithPanickingPayload => std::panic::panic_any(Payload),
                _ => Ok(()),
            }
        }
    }

    impl RootKeyProvider for Shift {
        fn name(&self) -> &str {
            self.0
        }
        fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
            self.fault()?;
            Ok(match *self.2.lock() {
                Fault::WrapsIntoNothing => Vec::new(),
                Fault::WrapsIntoMuch => vec![1; 2_049],
                Fault::Garbage => vec![7; 32],
                _ => secret.iter().map(|byte| byte.wrapping_add(self.1)).collect(),
            })
        }
        fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError> {
            self.fault()?;
            secret.iter_mut().zip(wrapped).for_each(|(to, from)| *to = from.wrapping_sub(self.1));
            Ok(())
        }
    }

    fn provider(name: &'static str, shift: u8, fault: Fault) -> RootKey {
        RootKey::from_provider(Arc::new(Shift(name, shift, Mutex::new(fault)))).unwrap()
    }

    #[test]
    fn every_kind_of_root_key_wraps_and_unwraps() {
        let keys = EngineKeys::generate(engine()).unwrap();
        let roots = [RootKey::generate().unwrap(), phrase("correct horse battery"), provider("kms", 3, Fault::None)];
        for (at, root) in roots.iter().enumerate() {
            let file = keys.wrap(1, root).unwrap();
            assert!(file.len() <= crate::limits::KEY_FILE_BYTES_MAX);
            let again = EngineKeys::open(&[(1, file.clone())], std::slice::from_ref(root), keys.engine()).unwrap();
            assert_eq!(again.newest().secret().expose(), keys.newest().secret().expose());
            assert_eq!(again.catalog().secret().expose(), keys.catalog().secret().expose());
            // Among others it is found; without it nothing is.
            EngineKeys::open(&[(1, file.clone())], &roots, keys.engine()).unwrap();
            let others: Vec<_> = (0..3).filter(|other| *other != at).collect();
            for other in others {
                let opened = EngineKeys::open(&[(1, file.clone())], std::slice::from_ref(&roots[other]), keys.engine());
                assert_eq!(reason(opened), Reason::RootKeyWrong);
            }
        }
    }

    #[test]
    fn each_deviation_has_its_own_error() {
        let (root, engine) = (RootKey::generate().unwrap(), engine());
        let keys = EngineKeys::generate(engine).unwrap();
        let file = keys.wrap(1, &root).unwrap();
        let open =
            |file: &[u8], root: &RootKey, engine, version| open_file(file, std::slice::from_ref(root), engine, version);
        assert_eq!(reason(open(&file, &RootKey::generate().unwrap(), engine, 1)), Reason::RootKeyWrong);
        let refused = Reason::KeyFileRefused(WHAT);
        assert_eq!(reason(open(&file, &root, EngineId::random().unwrap(), 1)), refused);
        assert_eq!(reason(open(&file, &root, engine, 2)), refused);
        for length in 0..file.len() {
            assert_eq!(reason(open(&file[..length], &root, engine, 1)), refused);
        }
        assert_eq!(reason(open(&[&file[..], &[0]].concat(), &root, engine, 1)), refused);
        let mut later = file.clone();
        later[8] = 9;
        assert_eq!(open(&later, &root, engine, 1).unwrap_err().kind(), ErrorKind::Incompatible);
        for at in ENGINE_KEY_HEAD_BYTES..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert_eq!(reason(open(&bad, &root, engine, 1)), refused);
        }
    }

    /// Whatever is changed in a file of any kind, it does not open.
    #[test]
    fn every_flipped_bit_is_refused() {
        let keys = EngineKeys::generate(engine()).unwrap();
        for root in [RootKey::generate().unwrap(), provider("kms", 3, Fault::None)] {
            let file = keys.wrap(1, &root).unwrap();
            for bit in 0..file.len() * 8 {
                let mut bad = file.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(open_file(&bad, std::slice::from_ref(&root), keys.engine(), 1).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_wrong_passphrase_is_a_wrong_root_key() {
        let keys = EngineKeys::generate(engine()).unwrap();
        let file = keys.wrap(1, &phrase("correct horse battery")).unwrap();
        let opened = open_file(&file, &[phrase("correct horse batterz")], keys.engine(), 1);
        assert_eq!(reason(opened), Reason::RootKeyWrong);
        // A salt of its own each time.
        assert_ne!(file, keys.wrap(1, &phrase("correct horse battery")).unwrap());
    }

    #[test]
    fn a_provider_that_fails_is_key_unavailable_and_says_nothing_of_its_own() {
        let keys = EngineKeys::generate(engine()).unwrap();
        let file = keys.wrap(1, &provider("kms", 3, Fault::None)).unwrap();
        let faults = [
            (Fault::Down, "it cannot serve now"),
            (Fault::No, "it refused"),
            (Fault::Panics, "it panicked"),
            (Fault::PanicsWithPanickingPayload, "it panicked"),
        ];
        for (fault, why) in faults {
            let bad = || provider("kms", 3, fault);
            let opened = open_file(&file, &[bad()], keys.engine(), 1).map(|_| ());
            for answer in [opened, keys.wrap(1, &bad()).map(|_| ())] {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::KeyUnavailable);
                assert_eq!(error.reason(), &Reason::RootKeyProvider(why));
                assert!(!format!("{error} {error:?}").contains("secret of the provider"));
            }
            // Another root key that fits is found past it.
            open_file(&file, &[bad(), provider("kms", 3, Fault::None)], keys.engine(), 1).unwrap();
        }
        for fault in [Fault::WrapsIntoNothing, Fault::WrapsIntoMuch, Fault::Garbage] {
            let error = keys.wrap(1, &provider("kms", 3, fault)).unwrap_err();
            assert!(matches!(error.reason(), Reason::RootKeyProvider(_)), "{error:?}");
        }
        // Another key behind the same name, and the same key behind another.
        assert_eq!(
            reason(open_file(&file, &[provider("kms", 4, Fault::None)], keys.engine(), 1)),
            Reason::RootKeyWrong
        );
        assert_eq!(
            reason(open_file(&file, &[provider("kmz", 3, Fault::None)], keys.engine(), 1)),
            Reason::RootKeyWrong
        );
        let long: &'static str = Box::leak("n".repeat(256).into_boxed_str());
        for name in ["", long] {
            let made = RootKey::from_provider(Arc::new(Shift(name, 3, Mutex::new(Fault::None))));
            assert_eq!(made.unwrap_err().kind(), ErrorKind::KeyUnavailable);
        }
    }

    #[test]
    fn versions_stand_side_by_side_and_share_the_catalog_key() {
        let (one, two) = (RootKey::generate().unwrap(), RootKey::generate().unwrap());
        let first = EngineKeys::generate(engine()).unwrap();
        let both = first.with_new().unwrap();
        let files = [(1, both.wrap(1, &one).unwrap()), (2, both.wrap(2, &two).unwrap())];
        let roots = [two, one];
        let again = EngineKeys::open(&files, &roots, first.engine()).unwrap();
        assert_eq!(again.versions().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(again.version(1).unwrap().secret().expose(), first.newest().secret().expose());
        assert_ne!(again.newest().secret().expose(), first.newest().secret().expose());
        assert_eq!(again.catalog().pages().expose(), first.catalog().pages().expose());
        let one_root = std::slice::from_ref(&roots[0]);
        assert_eq!(reason(EngineKeys::open(&files, one_root, first.engine())), Reason::RootKeyWrong);
        // A key of another origin, even of this engine and sealed under its root key, does not belong to these.
        let stranger = EngineKeys::generate(first.engine()).unwrap();
        let mixed = [(1, stranger.wrap(1, &roots[1]).unwrap()), files[1].clone()];
        assert_eq!(reason(EngineKeys::open(&mixed, &roots, first.engine())), Reason::KeyFileRefused(WHAT));
        assert_eq!(again.without(1).versions().collect::<Vec<_>>(), [2]);
    }
}
