//! Opening a data directory. There is no `open` before there is a root key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::Engine;
use super::pool::PoolLimits;
use crate::clock::{Clock, SystemClock};
use crate::crypto::root_key::RootKey;
use crate::error::{Error, Result};
use crate::identity::authority::Authority;
use crate::identity::jwt::JwtVerifier;
use crate::index::embedder::Embedder;
use crate::index::settings::IndexSettings;
use crate::limits::{
    MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MIN, OPEN_TENANTS_DEFAULT, ROOT_KEYS_MAX, TENANT_CACHE_BYTES_DEFAULT,
};
use crate::store::file::{Disk, SystemDisk};

/// The state of an [`EngineBuilder`] that has no root key yet. It has no `open`.
#[derive(Debug)]
pub struct NeedsRootKey(());

/// The state of an [`EngineBuilder`] that can be opened.
#[derive(Debug)]
pub struct Ready(Vec<RootKey>);

/// Collects what an engine needs before it opens.
///
/// ```
/// use watertight::{Engine, RootKey};
///
/// let directory = tempfile::tempdir().unwrap();
/// let (engine, authority) =
///     Engine::builder(directory.path().join("data")).root_key(RootKey::generate().unwrap()).open().unwrap();
/// # drop((engine, authority));
/// ```
///
/// With everything that can be set:
///
/// ```
/// use std::sync::Arc;
/// use watertight::disk::MemoryDisk;
/// use watertight::{Engine, HashingEmbedder, IndexSettings, Issuer, Jwks, JwtVerifier, RootKey, SystemClock};
///
/// let keys = || {
///     Jwks::from_json(
///         r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1",
///                       "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
///     )
/// };
/// let users = JwtVerifier::new(Issuer::new("https://login.example.org/")?, "https://api.example.org", keys()?)?;
/// let operators = JwtVerifier::new(Issuer::new("https://ops.example.org/")?, "https://ops.example.org", keys()?)?;
/// let (engine, authority) = Engine::builder("/memory")
///     .root_key(RootKey::generate()?)
///     .verifier(users.clone())
///     .operator_verifier(operators)
///     .embedder(Arc::new(HashingEmbedder::new(256)?))
///     .tenant_cache_bytes(1 << 20)
///     .memory_bytes(64 << 20)
///     .open_tenants_max(500)
///     .index(IndexSettings::new().graph_from(50_000))
///     .clock(Arc::new(SystemClock))
///     .danger()
///     .disk(Arc::new(MemoryDisk::new()))
///     .open()?;
/// # drop((engine, authority));
///
/// // Tenants' tokens do not make operators.
/// let builder = Engine::builder("/memory").root_key(RootKey::generate()?).verifier(users.clone());
/// assert!(builder.operator_verifier(users).open().is_err());
/// # Ok::<(), watertight::Error>(())
/// ```
///
/// Without a root key there is nothing to open:
///
/// ```compile_fail
/// let opened = watertight::Engine::builder("data").open();
/// ```
#[derive(Debug)]
pub struct EngineBuilder<State> {
    state: State,
    options: Options,
}

/// Everything but the root key.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) directory: PathBuf,
    pub(super) verifiers: Vec<JwtVerifier>,
    pub(super) operator_verifier: Option<JwtVerifier>,
    pub(super) tenant_cache_bytes: usize,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) plaintext: bool,
    pub(super) embedders: Vec<Arc<dyn Embedder>>,
    pub(super) pool: PoolLimits,
    pub(super) index: IndexSettings,
}

impl EngineBuilder<NeedsRootKey> {
    pub(super) fn new(directory: &Path) -> Self {
        let options = Options {
            directory: directory.to_owned(),
            verifiers: Vec::new(),
            operator_verifier: None,
            tenant_cache_bytes: TENANT_CACHE_BYTES_DEFAULT,
            disk: Arc::new(SystemDisk),
            clock: Arc::new(SystemClock),
            plaintext: false,
            embedders: Vec::new(),
            pool: PoolLimits {
                tenants: open_tenants_default(),
                bytes: MEMORY_BYTES_DEFAULT,
                tenant_index_bytes: MEMORY_BYTES_DEFAULT / 2,
            },
            index: IndexSettings::new(),
        };
        Self { state: NeedsRootKey(()), options }
    }

    /// The key that wraps every other key. A new directory is bound to it; an existing one must be opened with it.
    #[must_use]
    pub fn root_key(self, key: RootKey) -> EngineBuilder<Ready> {
        EngineBuilder { state: Ready(vec![key]), options: self.options }
    }
}

impl EngineBuilder<Ready> {
    /// One more root key that may have wrapped what is there: while [`crate::Operator::rotate_root_key`] may have happened
    /// or not, an engine is opened with both, the new one first. A new directory is bound to the first. Eight at most.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watertight::disk::MemoryDisk;
    /// use watertight::{Engine, ErrorKind, RootKey};
    ///
    /// let disk = Arc::new(MemoryDisk::new());
    /// let old = || RootKey::from_bytes(std::array::from_fn(|i| i as u8));
    /// drop(Engine::builder("/data").root_key(old()?).danger().disk(disk.clone()).open()?);
    ///
    /// let new = RootKey::generate()?;
    /// drop(Engine::builder("/data").root_key(new).older_root_key(old()?).danger().disk(disk.clone()).open()?);
    ///
    /// let wrong = Engine::builder("/data").root_key(RootKey::generate()?).danger().disk(disk).open();
    /// assert_eq!(wrong.unwrap_err().kind(), ErrorKind::KeyUnavailable);
    /// # Ok::<(), watertight::Error>(())
    /// ```
    #[must_use]
    pub fn older_root_key(mut self, key: RootKey) -> Self {
        self.state.0.push(key);
        self
    }
}

impl<State> EngineBuilder<State> {
    /// Accepts tenants' tokens of one more issuer.
    ///
    /// # Authority
    /// The issuer can speak for the tenants whose records name it, and for no others.
    #[must_use]
    pub fn verifier(mut self, verifier: JwtVerifier) -> Self {
        self.options.verifiers.push(verifier);
        self
    }

    /// Accepts operators' tokens. It must not share issuer and audience with a tenants' verifier.
    ///
    /// # Authority
    /// The issuer can name operators, who manage every tenant's lifecycle and read no tenant's content.
    #[must_use]
    pub fn operator_verifier(mut self, verifier: JwtVerifier) -> Self {
        self.options.operator_verifier = Some(verifier);
        self
    }

    /// Page cache of each open tenant, in bytes; 4 MiB by default.
    #[must_use]
    pub fn tenant_cache_bytes(mut self, bytes: usize) -> Self {
        self.options.tenant_cache_bytes = bytes;
        self
    }

    /// Memory of all open tenants together, in bytes; 256 MiB by default, at least 1 MiB. Tenants that have not been used
    /// for longest, and cost least to have back, are closed when it is used up. One tenant's vector indexes may take half
    /// of it; a question to a namespace beyond that reads every vector from the file. Building a graph takes about 3 KiB for
    /// each vector meanwhile (of 384 dimensions): where that is too much, every vector is looked at as before. So by
    /// default namespaces of 20,000 to about 40,000 vectors have graphs, and 8 GiB serve one of a million.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.options.pool.bytes = bytes;
        self.options.pool.tenant_index_bytes = bytes / 2;
        self
    }

    /// Most tenants that are open at a time, each with a file descriptor; 1,024 by default, or half as many files as the
    /// system lets the process open, if that is less.
    #[must_use]
    pub fn open_tenants_max(mut self, tenants: usize) -> Self {
        self.options.pool.tenants = tenants;
        self
    }

    /// How vector indexes are built; see [`IndexSettings`].
    #[must_use]
    pub fn index(mut self, settings: IndexSettings) -> Self {
        self.options.index = settings;
        self
    }

    /// Embeds texts, and questions that are texts, in namespaces of its model. One for each model.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.options.embedders.push(embedder);
        self
    }

    /// Where the time comes from; the system's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = clock;
        self
    }

    /// Options that lower safety.
    #[must_use]
    pub fn danger(self) -> Danger<State> {
        Danger(self)
    }
}

impl EngineBuilder<Ready> {
    /// Opens the directory, making it if it does not exist, and clears away what a crash left half done.
    ///
    /// # Authority
    /// The [`Authority`] is given out here, once.
    ///
    /// # Errors
    /// `Unavailable` when another engine has the directory open, when something in it belongs to another user or is open to
    /// others, or when a directory in it is missing; `KeyUnavailable` when the root key is wrong or a
    /// key file is missing; `Damaged` when the directory holds what is not ours; `Incompatible` when a later release
    /// wrote it; `InvalidInput` when verifiers or embedders contradict each other. Nothing is changed by a refusal.
    pub fn open(self) -> Result<(Engine, Authority)> {
        check_verifiers(&self.options.verifiers, self.options.operator_verifier.as_ref())?;
        if self.options.pool.tenants == 0 {
            return Err(Error::invalid("open tenants", "at least one must be allowed"));
        }
        if self.options.pool.bytes < MEMORY_BYTES_MIN {
            return Err(Error::invalid("memory", "must be at least 1 MiB"));
        }
        self.options.index.check()?;
        if self.state.0.len() > ROOT_KEYS_MAX {
            return Err(Error::invalid("root keys", "at most 8"));
        }
        Engine::open(self.options, &self.state.0)
    }
}

/// Half of what the system allows: the application has files of its own.
fn open_tenants_default() -> usize {
    #[cfg(unix)]
    {
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = allowed.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
        OPEN_TENANTS_DEFAULT.min(half).max(1)
    }
    #[cfg(not(unix))]
    OPEN_TENANTS_DEFAULT
}

/// One verifier for each issuer, and operators apart from tenants.
fn check_verifiers(tenants: &[JwtVerifier], operators: Option<&JwtVerifier>) -> Result<()> {
    for (at, verifier) in tenants.iter().enumerate() {
        if tenants.iter().skip(at + 1).any(|other| other.overlaps(verifier)) {
            return Err(Error::invalid("verifiers", "two of them have the same issuer"));
        }
        // An operator's token must name no tenant, in the words that this issuer has for one.
        let accepts_tenants = |operators: &JwtVerifier| {
            operators.overlaps(verifier)
                && (operators.audience() == verifier.audience() || !operators.names_tenants_as(verifier))
        };
        if operators.is_some_and(accepts_tenants) {
            return Err(Error::invalid("operator verifier", "must not accept the tenants' tokens"));
        }
    }
    Ok(())
}

/// Options that lower safety. See [`EngineBuilder::danger`].
///
/// ```
/// use std::sync::Arc;
/// use watertight::disk::MemoryDisk;
/// use watertight::{Engine, RootKey};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let data = directory.path().join("data");
/// let key = || RootKey::from_bytes(std::array::from_fn(|i| i as u8));
/// let plain = || Engine::builder(&data).root_key(key()?).danger().plaintext_files().open();
/// drop(plain()?);
/// // It stays as it was made.
/// assert!(Engine::builder(&data).root_key(key()?).open().is_err());
///
/// let elsewhere = Arc::new(MemoryDisk::new());
/// drop(Engine::builder("/data").root_key(key()?).danger().disk(elsewhere).open()?);
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug)]
pub struct Danger<State>(EngineBuilder<State>);

impl<State> Danger<State> {
    /// Writes data files in plaintext, neither encrypted nor authenticated. For comparison in benchmarks only: an
    /// engine that was made so stays so.
    #[must_use]
    pub fn plaintext_files(mut self) -> EngineBuilder<State> {
        self.0.options.plaintext = true;
        self.0
    }

    /// Puts another file system under the engine. Its durability is whatever the implementation makes of it. One that does not
    /// implement [`Disk::open_directory`] is given absolute paths.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> EngineBuilder<State> {
        self.0.options.disk = disk;
        self.0
    }
}
