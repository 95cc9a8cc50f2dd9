//! Where a verifier's keys come from: given once, read from a file, or fetched by the application.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::jwks::{Jwks, SetKey};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, Result};
use crate::limits::{KEY_SET_AGE_DEFAULT, KEY_SET_REFETCH_DEFAULT, KEY_SET_REFETCH_MIN};

/// Brings an issuer's key set, from wherever the application has it. The engine itself makes no network calls.
///
/// It is called on the thread of a verification, by one at a time, while others that need the new set wait: it must
/// bound its own time, and must not verify tokens with the verifier that it serves.
///
/// ```
/// use std::sync::Arc;
/// use watertight::{Issuer, JwtVerifier, KeyFetchError, KeyFetcher, KeySource, Timestamp};
///
/// #[derive(Debug)]
/// struct Login;
///
/// impl KeyFetcher for Login {
///     fn fetch(&self) -> Result<String, KeyFetchError> {
///         // An HTTPS client's answer from https://login.example.org/.well-known/jwks.json.
///         Err(KeyFetchError)
///     }
/// }
///
/// let keys = KeySource::fetched(Arc::new(Login));
/// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys)?;
/// // Without any keys nothing can be said of a token, and the caller is told when to come again.
/// let header = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEifQ.e30.AA";
/// let refused = verifier.check(header, Timestamp::from_seconds(0)).unwrap_err();
/// assert_eq!(refused.kind(), watertight::ErrorKind::RetryLater);
/// # Ok::<(), watertight::Error>(())
/// ```
pub trait KeyFetcher: Send + Sync + fmt::Debug {
    /// The key set as JSON.
    ///
    /// # Errors
    /// [`KeyFetchError`] when there is none to be had; what was fetched before stays in use.
    fn fetch(&self) -> Result<String, KeyFetchError>;
}

/// The key set could not be fetched. The reason is the fetcher's to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFetchError;

impl fmt::Display for KeyFetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key set could not be fetched")
    }
}

impl std::error::Error for KeyFetchError {}

/// Where a verifier takes its keys from. A [`Jwks`] is one by itself.
///
/// ```
/// use watertight::{ErrorKind, Issuer, JwtVerifier, KeySource};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("jwks.json");
/// # std::fs::write(&path, r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "2026-10",
/// #     "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#).unwrap();
/// let keys = KeySource::file(&path)?;
/// let verifier = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys)?;
/// verifier.reload()?;
///
/// // A bad file keeps the old set.
/// std::fs::write(&path, "{").unwrap();
/// assert_eq!(verifier.reload().unwrap_err().kind(), ErrorKind::InvalidInput);
/// assert_eq!(verifier.key_ids(), ["2026-10"]);
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeySource {
    origin: Origin,
    first: Option<Jwks>,
}

#[derive(Debug, Clone)]
enum Origin {
    Value,
    File(PathBuf),
    Fetched { fetcher: Arc<dyn KeyFetcher>, age_max: Duration, refetch_after: Duration },
}

impl From<Jwks> for KeySource {
    fn from(keys: Jwks) -> Self {
        Self { origin: Origin::Value, first: Some(keys) }
    }
}

impl KeySource {
    /// A file, read now and at each [`JwtVerifier::reload`](crate::JwtVerifier::reload), and at no other time.
    ///
    /// # Errors
    /// As for [`Jwks::from_file`].
    pub fn file(path: impl AsRef<Path>) -> Result<Self> {
        let keys = Jwks::from_file(&path)?;
        Ok(Self { origin: Origin::File(path.as_ref().to_owned()), first: Some(keys) })
    }

    /// Whatever the application fetches: at the first token, when the set has grown old, and when a token names a key
    /// that is not in it, though not more often than the source allows. A fetch that fails or panics, or brings a set that
    /// breaks a rule, keeps the old set.
    #[must_use]
    pub fn fetched(fetcher: Arc<dyn KeyFetcher>) -> Self {
        let (age_max, refetch_after) = (KEY_SET_AGE_DEFAULT, KEY_SET_REFETCH_DEFAULT);
        Self { origin: Origin::Fetched { fetcher, age_max, refetch_after }, first: None }
    }

    /// How old a fetched set may grow before it is fetched again; an hour by default. While that happens, and when it
    /// fails, tokens are checked with the old one.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use watertight::{KeyFetchError, KeyFetcher, KeySource};
    /// # #[derive(Debug)]
    /// # struct Login;
    /// # impl KeyFetcher for Login {
    /// #     fn fetch(&self) -> Result<String, KeyFetchError> { Err(KeyFetchError) }
    /// # }
    /// let keys = KeySource::fetched(Arc::new(Login)).age_max(Duration::from_secs(600));
    /// # let _ = keys;
    /// ```
    #[must_use]
    pub fn age_max(mut self, age: Duration) -> Self {
        if let Origin::Fetched { age_max, .. } = &mut self.origin {
            *age_max = age;
        }
        self
    }

    /// The time between two fetches at least; a minute by default. Anybody can send a token with an unknown key id, so
    /// this is what protects the issuer.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use watertight::{KeyFetchError, KeyFetcher, KeySource};
    /// # #[derive(Debug)]
    /// # struct Login;
    /// # impl KeyFetcher for Login {
    /// #     fn fetch(&self) -> Result<String, KeyFetchError> { Err(KeyFetchError) }
    /// # }
    /// let keys = KeySource::fetched(Arc::new(Login)).refetch_after(Duration::from_secs(10))?;
    /// # let _ = keys;
    /// assert!(KeySource::fetched(Arc::new(Login)).refetch_after(Duration::ZERO).is_err());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` below a second.
    pub fn refetch_after(mut self, time: Duration) -> Result<Self> {
        if time < KEY_SET_REFETCH_MIN {
            return Err(Error::invalid("time between fetches", "must be a second at least"));
        }
        if let Origin::Fetched { refetch_after, .. } = &mut self.origin {
            *refetch_after = time;
        }
        Ok(self)
    }
}

/// The keys of a verifier and its clones.
#[derive(Debug)]
pub(super) struct Keys {
    origin: Origin,
    current: RwLock<Option<Dated>>,
    /// When a fetch was last tried; held by whoever fetches.
    tried_at: Mutex<Option<Timestamp>>,
}

#[derive(Debug, Clone)]
struct Dated {
    keys: Arc<Jwks>,
    fetched_at: Timestamp,
}

/// What there is for a key id.
pub(super) enum Found {
    Key(SetKey),
    Unknown,
    /// There are no keys at all yet. Come again after this time.
    NoKeys(Duration),
}

impl Keys {
    pub(super) fn new(source: KeySource) -> Self {
        let first = source.first.map(|keys| Dated { keys: Arc::new(keys), fetched_at: Timestamp::from_micros(0) });
        Self { origin: source.origin, current: RwLock::new(first), tried_at: Mutex::new(None) }
    }

    /// Puts a set in place of the one there is, between one check and the next.
    pub(super) fn replace(&self, keys: Jwks, fetched_at: Timestamp) {
        *self.current.write() = Some(Dated { keys: Arc::new(keys), fetched_at });
    }

    pub(super) fn current(&self) -> Option<Arc<Jwks>> {
        self.current.read().as_ref().map(|dated| dated.keys.clone())
    }

    /// Asks the source again, whenever that was done last.
    pub(super) fn reload(&self) -> Result<()> {
        match &self.origin {
            Origin::Value => Err(Error::invalid("key set", "was given as a value and comes from nowhere else")),
            Origin::File(path) => {
                self.replace(Jwks::from_file(path)?, Timestamp::from_micros(0));
                Ok(())
            }
            Origin::Fetched { fetcher, .. } => {
                let tried_at = self.tried_at.lock();
                self.fetch(&**fetcher, tried_at.unwrap_or(Timestamp::from_micros(0)))
            }
        }
    }

    /// The key of exactly this id. The set is taken once, so that a reload between two looks cannot mix two sets.
    pub(super) fn find(&self, id: &str, now: Timestamp) -> Found {
        let current = self.current.read().clone();
        let known = current.as_ref().and_then(|dated| dated.keys.find(id));
        let Origin::Fetched { fetcher, age_max, refetch_after } = &self.origin else {
            return known.map_or(Found::Unknown, Found::Key);
        };
        let is_due = |tried_at: Option<Timestamp>| tried_at.is_none_or(|at| now >= at.after(*refetch_after));
        match (current, known) {
            (Some(dated), Some(key)) => {
                if now < dated.fetched_at.after(*age_max) {
                    return Found::Key(key);
                }
                // One caller fetches; the others go on with what there is.
                let Some(mut tried_at) = self.tried_at.try_lock().filter(|tried_at| is_due(**tried_at)) else {
                    return Found::Key(key);
                };
                *tried_at = Some(now);
                if self.fetch(&**fetcher, now).is_err() {
                    return Found::Key(key);
                }
            }
            (before, _) => {
                let mut tried_at = self.tried_at.lock();
                // Whoever waited has what the one before it fetched.
                let is_newer = self
                    .current()
                    .is_some_and(|now| before.as_ref().is_none_or(|before| !Arc::ptr_eq(&before.keys, &now)));
                if !is_newer && is_due(*tried_at) {
                    *tried_at = Some(now);
                    // What failed is logged; the set there is decides.
                    let _ = self.fetch(&**fetcher, now);
                }
            }
        }
        match self.current() {
            Some(keys) => keys.find(id).map_or(Found::Unknown, Found::Key),
            None => Found::NoKeys(*refetch_after),
        }
    }

    fn fetch(&self, fetcher: &dyn KeyFetcher, now: Timestamp) -> Result<()> {
        let outcome = catch_unwind(AssertUnwindSafe(|| fetcher.fetch()));
        let fetched = match outcome {
            Ok(Ok(json)) => Jwks::from_json(&json),
            Ok(Err(KeyFetchError)) => Err(Reason::KeysUnavailable.into()),
            Err(payload) => {
                // Dropping it may run code that panics once more.
                std::mem::forget(payload);
                Err(Reason::KeysUnavailable.into())
            }
        };
        match fetched {
            Ok(keys) => {
                self.replace(keys, now);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(reason = %error, "fetching a key set failed; the one before it stays");
                Err(error)
            }
        }
    }
}
