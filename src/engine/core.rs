//! The engine itself, and the orders in which a data directory is made and opened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::api_keys::ApiKeyUses;
use super::builder::{EngineBuilder, NeedsRootKey, Options};
use super::directory::{DataDirectory, DirectoryLock};
use super::keyring::Keyring;
use super::operator::Operator;
use super::pool::Pool;
use super::stats::EngineStats;
use crate::catalog::tenants::Catalog;
use crate::clock::EngineClock;
use crate::crypto::engine_key::EngineKeys;
use crate::crypto::page::PageScope;
use crate::crypto::root_key::RootKey;
use crate::error::{Error, Reason, Result};
use crate::id::{EngineId, Incarnation, TenantId};
use crate::identity::api_key::ApiKey;
use crate::identity::authority::Authority;
use crate::identity::jwt::JwtVerifier;
use crate::identity::token::unverified_issuer;
use crate::identity::verified::{IdentityFacts, VerifiedIdentity, VerifiedOperator};
use crate::index::embedder::Embedders;
use crate::index::settings::IndexSettings;
use crate::limits::{CATALOG_CACHE_BYTES, ENGINE_KEYS_MAX, KEY_FILE_BYTES_MAX};
use crate::process::Process;
use crate::store::database::{FileSpec, is_inside_transaction};
use crate::store::directory::{directory_exists, ensure_directory, file_exists, read_small, write_small};
use crate::store::file::Disk;
use crate::store::layout::{Layout, engine_key_version};
use crate::store::memory::MemoryDisk;
use crate::store::owned::OwnedDisk;

/// An open data directory. Cheap to clone; clones share everything.
///
/// It belongs to the process that opened it: after a fork, open the directory in the child or keep it in the parent. What the
/// child tries with its parent's engine answers [`Reason::Forked`], and dropping it there does nothing.
///
/// It grants nothing by itself: a tenant is reached with a [`VerifiedIdentity`], operators' work with a
/// [`VerifiedOperator`].
///
/// ```
/// use watertight::*;
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let data = directory.path().join("data");
/// let (engine, authority) = Engine::builder(&data).root_key(RootKey::generate()?).open()?;
/// let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
///
/// // Nobody is verified whom no configured verifier vouches for.
/// assert_eq!(engine.verify("a.bearer.token").unwrap_err().kind(), ErrorKind::Unauthenticated);
/// assert_eq!(engine.verify_operator("a.bearer.token").unwrap_err().kind(), ErrorKind::Unauthenticated);
///
/// engine.close()?;
/// assert_eq!(*operator.list(None, 10).unwrap_err().reason(), Reason::Closed);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

/// What all clones and handles share.
pub(crate) struct Inner {
    pub(crate) id: EngineId,
    /// Nothing is done in another one.
    pub(crate) process: Process,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) keyring: Keyring,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: Arc<EngineClock>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) plaintext: bool,
    pub(crate) tenant_cache_bytes: usize,
    pub(crate) index: IndexSettings,
    /// Taken for reading while a handle is made, for writing while a tenant's state changes: a handle is never made
    /// from a row that an operator has just replaced.
    pub(crate) lifecycle: RwLock<()>,
    /// Taken for reading by each provisioning, re-keying and purge, from its first step to its last, and for writing by close:
    /// the directory is not let go while somebody makes or destroys files in it. Taken before `lifecycle`.
    pub(super) steps: RwLock<()>,
    /// Provisionings that failed and could not be undone so far.
    pub(super) failed_provisions: Mutex<BTreeMap<TenantId, Incarnation>>,
    /// Somebody waits to close it: steps that can be given up are.
    pub(super) closing: AtomicBool,
    pub(crate) embedders: Embedders,
    pub(super) api_key_uses: ApiKeyUses,
    verifiers: Vec<JwtVerifier>,
    operator_verifier: Option<JwtVerifier>,
    /// Held as long as the engine is open.
    lock: Mutex<Option<DirectoryLock>>,
}

impl Engine {
    /// Starts opening the data directory at `directory`.
    #[must_use]
    pub fn builder(directory: impl AsRef<Path>) -> EngineBuilder<NeedsRootKey> {
        EngineBuilder::new(directory.as_ref())
    }

    /// An engine that keeps nothing: the same code over files in memory, under a root key that nobody has. For the
    /// tests of applications; they can take a clock and verifiers with the builder and
    /// [`MemoryDisk`] instead.
    ///
    /// # Authority
    /// The [`Authority`] is given out here, once.
    ///
    /// ```
    /// use watertight::*;
    ///
    /// let (engine, authority) = Engine::in_memory()?;
    /// let operator = engine.operator(&authority.attest_operator("test")?)?;
    /// operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// let alice = authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?;
    /// let notes = engine.tenant(&alice)?.memories("notes")?;
    /// notes.put(Memory::new("k").text("gone with the engine"))?;
    /// assert!(notes.exists("k")?);
    ///
    /// // Two of them share nothing.
    /// let (other, _) = Engine::in_memory()?;
    /// assert_eq!(other.tenant(&alice).unwrap_err().kind(), ErrorKind::Unauthenticated);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no randomness.
    pub fn in_memory() -> Result<(Self, Authority)> {
        let builder = Self::builder("/memory").root_key(RootKey::generate()?);
        builder.danger().disk(Arc::new(MemoryDisk::new())).open()
    }

    pub(super) fn open(options: Options, root_keys: &[RootKey]) -> Result<(Self, Authority)> {
        let embedders = Embedders::new(options.embedders)?;
        let disk = OwnedDisk::over(options.disk);
        let DataDirectory { disk, layout, lock } = DataDirectory::open(disk, &options.directory)?;
        let format = Format::read_or_make(&*disk, &layout, options.plaintext)?;
        let is_made = file_exists(&*disk, &layout.catalog())?;
        for directory in [layout.keys(), layout.tenants()] {
            // They were made before the catalog. One that is missing now is away, and an empty one would hide that.
            if is_made && !directory_exists(&*disk, &directory)? {
                return Err(Reason::Missing("a directory of the engine").into());
            }
            ensure_directory(&*disk, &directory)?;
            // Used once, so that from here on the name leads to this directory, or operations below it are refused.
            disk.list(&directory)?;
        }
        let keys = engine_keys(&*disk, &layout, format.engine, root_keys)?;
        let catalog = Arc::new(open_catalog(&disk, &layout, &keys, format.plaintext)?);
        if keys.newest().version() < catalog.engine_key_version()? {
            return Err(Reason::KeyFileMissing("file of the newest engine key").into());
        }
        let clock = Arc::new(EngineClock::new(options.clock, catalog.clock_floor()?));
        clock.keep_floor_in(catalog.clone());
        let authority = Authority::new(format.engine, clock.clone());
        let api_key_uses = ApiKeyUses::new(clock.now());
        let engine = Self(Arc::new(Inner {
            id: format.engine,
            process: Process::this(),
            layout,
            disk,
            keyring: Keyring::new(keys),
            catalog,
            clock,
            pool: Pool::new(options.pool, options.index),
            plaintext: format.plaintext,
            tenant_cache_bytes: options.tenant_cache_bytes,
            index: options.index,
            lifecycle: RwLock::new(()),
            steps: RwLock::new(()),
            failed_provisions: Mutex::new(BTreeMap::new()),
            closing: AtomicBool::new(false),
            embedders,
            api_key_uses,
            verifiers: options.verifiers,
            operator_verifier: options.operator_verifier,
            lock: Mutex::new(Some(lock)),
        }));
        engine.0.sweep()?;
        engine.0.finish_retirements()?;
        engine.0.pool.start_keeper();
        Ok((engine, authority))
    }

    /// Verifies a bearer token of a tenant's user, or an API key.
    ///
    /// Whether the tenant trusts the issuer, and has not revoked the identity, is asked when the tenant is opened. A tenant admits only tokens issued after it was made. Tokens count whole seconds and clocks differ, so one
    /// issued within the verifier's leeway, or the same second, of its tenant's provisioning is not admitted yet.
    ///
    /// # Errors
    /// `Unauthenticated`, the same for every rule a token or key can break. `RetryLater` while the issuer's keys have not
    /// been fetched yet.
    pub fn verify(&self, bearer: &str) -> Result<VerifiedIdentity> {
        self.0.process.check()?;
        if ApiKey::is_meant(bearer) {
            return self.0.verify_api_key(bearer);
        }
        let refused = || Error::from(Reason::TokenRefused);
        let issuer = unverified_issuer(bearer).ok_or_else(refused)?;
        let verifier = self.0.verifiers.iter().find(|verifier| verifier.speaks_for(&issuer)).ok_or_else(refused)?;
        let claims = verifier.check(bearer, self.0.clock.now())?;
        Ok(VerifiedIdentity::new(IdentityFacts {
            engine: self.0.id,
            tenant: claims.tenant().clone(),
            user: claims.user().clone(),
            groups: claims.groups().to_vec(),
            scopes: claims.scopes(),
            // The issuer's clock may be ahead by the leeway: a token must not seem younger than a tenant that was
            // made after it.
            issued_at: claims.issued_at().before(verifier.leeway_allowed()),
            expires_at: claims.expires_at(),
            token_id: claims.token_id,
            tenant_name: claims.tenant_name,
            memberships: claims.memberships,
            names_one: claims.names_one,
            incarnation: None,
        }))
    }

    /// Verifies a bearer token of an operator, with the operators' own verifier.
    ///
    /// # Errors
    /// `Unauthenticated`, the same for every rule a token can break, and when no operator verifier is configured.
    pub fn verify_operator(&self, bearer: &str) -> Result<VerifiedOperator> {
        self.0.process.check()?;
        let verifier = self.0.operator_verifier.as_ref().ok_or(Reason::TokenRefused)?;
        let claims = verifier.check_operator(bearer, self.0.clock.now())?;
        Ok(VerifiedOperator {
            engine: self.0.id,
            // With its issuer, so that no token takes the name of an operator whom the application attests.
            name: format!("{} of {}", claims.user.subject(), claims.user.issuer()).into(),
            expires_at: claims.expires_at,
        })
    }

    /// Opens the operators' door.
    ///
    /// # Authority
    /// The result manages the lifecycle of every tenant and reads the content of none but by acting for a user on record,
    /// until the identity expires.
    ///
    /// # Errors
    /// `Unauthenticated` when the identity has expired or is another engine's.
    pub fn operator(&self, operator: &VerifiedOperator) -> Result<Operator> {
        Operator::new(self.0.clone(), operator.clone())
    }

    /// What the engine holds and has done since it was opened.
    ///
    /// ```
    /// let (engine, _) = watertight::Engine::in_memory()?;
    /// let stats = engine.stats();
    /// assert_eq!((stats.open_tenants, stats.hit_rate()), (0, 1.0));
    /// # Ok::<(), watertight::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.0.pool.stats()
    }

    /// Closes every tenant and the catalog, after running operations have ended, and tells what failed on the way: what
    /// was acknowledged is durable all the same. Live handles then answer `Unavailable`. Dropping the last clone and
    /// handle does the same.
    ///
    /// # Errors
    /// `InvalidInput` inside a transaction, whose end it would wait for, and `Unavailable` after a fork; nothing is closed then.
    pub fn close(&self) -> Result<CloseReport> {
        // Of any tenant of any engine: others, which this would wait for, may wait for that one.
        if is_inside_transaction() {
            return Err(Error::invalid("close", "a transaction is under way in this thread"));
        }
        self.0.close()
    }
}

/// How an engine closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// Tenants that were open.
    pub tenants: usize,
    /// Tenants whose files did not close well. The next opening repairs them.
    pub failed: Vec<(TenantId, Error)>,
    /// What failed of the engine's own files: the catalog, the clock's floor, the lock.
    pub engine: Option<Error>,
}

impl CloseReport {
    /// Whether nothing failed.
    ///
    /// ```
    /// let (engine, _) = watertight::Engine::in_memory()?;
    /// assert!(engine.close()?.is_clean());
    /// # Ok::<(), watertight::Error>(())
    /// ```
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.engine.is_none()
    }
}

impl Inner {
    fn close(&self) -> Result<CloseReport> {
        self.process.check_by_id()?;
        let mut report = CloseReport::default();
        // Kept until the end: whoever else closes returns when everything is closed, not before.
        let mut held = self.lock.lock();
        let Some(lock) = held.take() else { return Ok(report) };
        self.closing.store(true, Ordering::SeqCst);
        self.pool.stop_threads();
        let (slots, own) = {
            let _no_step_under_way = self.steps.write();
            // A handle that is being made either has its slot in the pool by now or will find the catalog closed.
            let _exclusive = self.lifecycle.write();
            let slots = self.pool.stop_all();
            self.keep_last_uses();
            let stored = self.clock.close();
            (slots, stored.and(self.catalog.close()))
        };
        // What still runs may ask the engine for something; it is refused, and must not wait for us in turn.
        for slot in slots {
            let Some(outcome) = self.pool.end(&slot) else { continue };
            report.tenants += 1;
            report.failed.extend(outcome.err().map(|error| (slot.tenant.clone(), error)));
        }
        report.engine = own.and(lock.unlock()).err();
        Ok(report)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.process.is_another() {
            // After a fork there is nothing to close: files and locks are the other process's.
            return;
        }
        match self.close() {
            Ok(report) if report.is_clean() => {}
            Ok(report) => tracing::warn!(?report, "closing the engine"),
            Err(error) => tracing::warn!(kind = ?error.kind(), "closing the engine"),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The first file of a directory: `magic 8 | version u32 | flags u32 | engine id 16`, integers little-endian.
struct Format {
    engine: EngineId,
    plaintext: bool,
}

const MAGIC: &[u8; 8] = b"WTRTIGHT";
const VERSION: u32 = 1;
const FLAG_PLAINTEXT: u32 = 1;

impl Format {
    /// FORMAT is written first, and what follows it is made again if a crash prevented it: a directory is never
    /// taken for new once this file is there.
    fn read_or_make(disk: &dyn Disk, layout: &Layout, plaintext: bool) -> Result<Self> {
        if let Some(bytes) = read_small(disk, &layout.format(), KEY_FILE_BYTES_MAX)? {
            let format = Self::parse(&bytes)?;
            if format.plaintext != plaintext {
                return Err(Error::invalid("plaintext files", "an engine stays as it was made"));
            }
            return Ok(format);
        }
        let made = Self { engine: EngineId::random()?, plaintext };
        write_small(disk, &layout.format(), &made.bytes())?;
        Ok(made)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let foreign = || Error::from(Reason::ForeignFile("FORMAT is not ours"));
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or_else(foreign)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(foreign)?;
        if magic != MAGIC {
            return Err(foreign());
        }
        let found = u32::from_le_bytes(*version);
        if found != VERSION {
            return Err(Reason::FormatVersion { found, supported: VERSION }.into());
        }
        let (flags, rest) = rest.split_first_chunk::<4>().ok_or_else(foreign)?;
        let flags = u32::from_le_bytes(*flags);
        let engine = <[u8; 16]>::try_from(rest).map_err(|_| foreign())?;
        if flags & !FLAG_PLAINTEXT != 0 {
            return Err(foreign());
        }
        Ok(Self { engine: EngineId::from_bytes(engine), plaintext: flags & FLAG_PLAINTEXT != 0 })
    }

    fn bytes(&self) -> Vec<u8> {
        let flags = if self.plaintext { FLAG_PLAINTEXT } else { 0 };
        [&MAGIC[..], &VERSION.to_le_bytes(), &flags.to_le_bytes(), self.engine.as_bytes()].concat()
    }
}

/// Reads the engine's keys, or makes the first where nothing yet depends on one.
fn engine_keys(disk: &dyn Disk, layout: &Layout, engine: EngineId, roots: &[RootKey]) -> Result<EngineKeys> {
    let names = disk.list(&layout.keys())?;
    let mut versions: Vec<u32> = names.iter().filter_map(|name| engine_key_version(name, ".key")).collect();
    versions.sort_unstable();
    if versions.len() > ENGINE_KEYS_MAX {
        return Err(Reason::DamagedFile("more engine key files than there can be").into());
    }
    let mut files = Vec::with_capacity(versions.len());
    for version in versions {
        let file = read_small(disk, &layout.engine_key(version), KEY_FILE_BYTES_MAX)?;
        files.push((version, file.ok_or(Reason::KeyFileMissing("engine key file"))?));
    }
    let is_retired = |name: &String| engine_key_version(name, ".retired").is_some();
    let is_new = !file_exists(disk, &layout.catalog())?
        && disk.list(&layout.tenants())?.is_empty()
        && !names.iter().any(is_retired);
    if !files.is_empty() || !is_new {
        return EngineKeys::open(&files, roots, engine);
    }
    let keys = EngineKeys::generate(engine)?;
    let root = roots.first().ok_or(Reason::RootKeyWrong)?;
    write_small(disk, &layout.engine_key(EngineKeys::FIRST_VERSION), &keys.wrap(EngineKeys::FIRST_VERSION, root)?)?;
    Ok(keys)
}

/// Whether there is a directory for tenants' key files, and so was a tenant.
fn has_tenant_keys(disk: &Arc<dyn Disk>, layout: &Layout) -> Result<bool> {
    let mut directories = layout.key_directories();
    directories.try_fold(false, |found, path| Ok(found || directory_exists(&**disk, &path)?))
}

/// Opens the catalog, or makes it where there can be no tenant yet.
fn open_catalog(disk: &Arc<dyn Disk>, layout: &Layout, keys: &EngineKeys, plaintext: bool) -> Result<Catalog> {
    let sealing = (!plaintext).then(|| (Arc::new(keys.catalog().pages()), PageScope::catalog(keys.engine())));
    let spec = FileSpec {
        disk: disk.clone(),
        path: layout.catalog(),
        sealing,
        cache_bytes: CATALOG_CACHE_BYTES,
        always_quick_repair: true,
        check_bytes_max: u64::MAX,
    };
    if file_exists(&**disk, &layout.catalog())? {
        return Catalog::open(spec);
    }
    if !disk.list(&layout.tenants())?.is_empty() || has_tenant_keys(disk, layout)? {
        return Err(Reason::DamagedFile("the catalog is missing").into());
    }
    Catalog::create(spec)
}
