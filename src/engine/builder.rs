//! Opening a data directory. There is no `open` before there is a root key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::{Engine, Parts};
use crate::clock::{Clock, SystemClock};
use crate::crypto::root_key::RootKey;
use crate::error::{Error, Result};
use crate::identity::authority::Authority;
use crate::identity::jwt::JwtVerifier;
use crate::limits::TENANT_CACHE_BYTES_DEFAULT;
use crate::store::file::{Disk, SystemDisk};

/// The state of an [`EngineBuilder`] that has no root key yet. It has no `open`.
#[derive(Debug)]
pub struct NeedsRootKey(());

/// The state of an [`EngineBuilder`] that can be opened.
#[derive(Debug)]
pub struct Ready(RootKey);

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
/// Without a root key there is nothing to open:
///
/// ```compile_fail
/// let opened = watertight::Engine::builder("data").open();
/// ```
#[derive(Debug)]
pub struct EngineBuilder<State> {
    state: State,
    directory: PathBuf,
    verifiers: Vec<JwtVerifier>,
    operator_verifier: Option<JwtVerifier>,
    tenant_cache_bytes: usize,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    plaintext: bool,
}

impl EngineBuilder<NeedsRootKey> {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            state: NeedsRootKey(()),
            directory: directory.to_owned(),
            verifiers: Vec::new(),
            operator_verifier: None,
            tenant_cache_bytes: TENANT_CACHE_BYTES_DEFAULT,
            disk: Arc::new(SystemDisk),
            clock: Arc::new(SystemClock),
            plaintext: false,
        }
    }

    /// The key that wraps every other key. A new directory is bound to it; an existing one must be opened with it.
    #[must_use]
    pub fn root_key(self, key: RootKey) -> EngineBuilder<Ready> {
        EngineBuilder {
            state: Ready(key),
            directory: self.directory,
            verifiers: self.verifiers,
            operator_verifier: self.operator_verifier,
            tenant_cache_bytes: self.tenant_cache_bytes,
            disk: self.disk,
            clock: self.clock,
            plaintext: self.plaintext,
        }
    }
}

impl<State> EngineBuilder<State> {
    /// Accepts tenants' tokens of one more issuer.
    ///
    /// # Authority
    /// The issuer can speak for the tenants whose records name it, and for no others.
    #[must_use]
    pub fn verifier(mut self, verifier: JwtVerifier) -> Self {
        self.verifiers.push(verifier);
        self
    }

    /// Accepts operators' tokens. It must not share issuer and audience with a tenants' verifier.
    ///
    /// # Authority
    /// The issuer can name operators, who manage every tenant's lifecycle and read no tenant's content.
    #[must_use]
    pub fn operator_verifier(mut self, verifier: JwtVerifier) -> Self {
        self.operator_verifier = Some(verifier);
        self
    }

    /// Page cache of each open tenant, in bytes; 4 MiB by default.
    #[must_use]
    pub fn tenant_cache_bytes(mut self, bytes: usize) -> Self {
        self.tenant_cache_bytes = bytes;
        self
    }

    /// Where the time comes from; the system's clock by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
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
    /// `Unavailable` when another process has the directory open; `KeyUnavailable` when the root key is wrong or a
    /// key file is missing; `Damaged` when the directory holds what is not ours; `Incompatible` when a later release
    /// wrote it; `InvalidInput` when verifiers contradict each other. Nothing is changed by a refusal.
    pub fn open(self) -> Result<(Engine, Authority)> {
        check_verifiers(&self.verifiers, self.operator_verifier.as_ref())?;
        Engine::open(Parts {
            directory: self.directory,
            root_key: self.state.0,
            verifiers: self.verifiers,
            operator_verifier: self.operator_verifier,
            tenant_cache_bytes: self.tenant_cache_bytes,
            disk: self.disk,
            clock: self.clock,
            plaintext: self.plaintext,
        })
    }
}

/// One verifier for each issuer, and operators apart from tenants.
fn check_verifiers(tenants: &[JwtVerifier], operators: Option<&JwtVerifier>) -> Result<()> {
    for (at, verifier) in tenants.iter().enumerate() {
        if tenants.iter().skip(at + 1).any(|other| other.issuer() == verifier.issuer()) {
            return Err(Error::invalid("verifiers", "two of them have the same issuer"));
        }
        let both = |other: &JwtVerifier| other.issuer() == verifier.issuer() && other.audience() == verifier.audience();
        if operators.is_some_and(both) {
            return Err(Error::invalid("operator verifier", "must not accept the tenants' tokens"));
        }
    }
    Ok(())
}

/// Options that lower safety. See [`EngineBuilder::danger`].
#[derive(Debug)]
pub struct Danger<State>(EngineBuilder<State>);

impl<State> Danger<State> {
    /// Writes data files in plaintext, neither encrypted nor authenticated. For comparison in benchmarks only: an
    /// engine that was made so stays so.
    #[must_use]
    pub fn plaintext_files(mut self) -> EngineBuilder<State> {
        self.0.plaintext = true;
        self.0
    }

    /// Puts another file system under the engine. Its durability is whatever the implementation makes of it.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> EngineBuilder<State> {
        self.0.disk = disk;
        self.0
    }
}
