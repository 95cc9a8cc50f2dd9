//! For the tests of applications: an engine in memory with a clock to set, and whoever a test needs to be.
//!
//! It is an ordinary engine, opened through the public builder. Nothing here can make an identity, a token or a tenant
//! of any other engine.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{TestClock, Timestamp};
use crate::crypto::root_key::RootKey;
use crate::engine::builder::{EngineBuilder, Ready};
use crate::engine::core::Engine;
use crate::engine::operator::{Operator, TenantSpec};
use crate::error::Result;
use crate::handle::tenant::TenantHandle;
use crate::id::{Issuer, TenantId, UserId};
use crate::identity::authority::{Attestation, Authority};
use crate::identity::scope::Scopes;
pub use crate::identity::test_issuer::TestIssuer;
use crate::identity::verified::VerifiedIdentity;
use crate::store::memory::MemoryDisk;

/// What the identities and tokens of a test live for, by its own clock.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Longer than a verifier's leeway: a tenant admits only tokens that are certainly younger than itself.
const AFTER_PROVISIONING: Duration = Duration::from_secs(60);

/// An engine in memory, its clock, its authority and an issuer of tokens that it accepts.
///
/// ```
/// use std::time::Duration;
/// use watertight::testing::TestEngine;
/// use watertight::{ErrorKind, Memory, Scopes};
///
/// let test = TestEngine::new()?;
/// test.provision("acme")?;
/// let notes = test.handle("acme", "alice", Scopes::ALL)?.memories("notes")?;
/// notes.put(Memory::new("k").expires_after(Duration::from_secs(60)))?;
/// test.clock().advance(Duration::from_secs(61));
/// assert!(!notes.exists("k")?);
///
/// // The way that a request takes: a bearer token.
/// let token = test.token("acme", "alice", Scopes::READ)?;
/// let reader = test.engine().tenant(&test.engine().verify(&token)?)?;
/// assert_eq!(reader.memories("notes")?.put(Memory::new("k")).unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), watertight::Error>(())
/// ```
#[derive(Debug)]
pub struct TestEngine {
    engine: Engine,
    authority: Authority,
    issuer: TestIssuer,
    clock: Arc<TestClock>,
}

impl TestEngine {
    /// A new engine. Its clock stands at the beginning of 2027.
    ///
    /// # Errors
    /// `Unavailable` when the operating system gives no randomness.
    pub fn new() -> Result<Self> {
        Self::with(|builder| builder)
    }

    /// A new engine with more configured, such as an embedder.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use watertight::HashingEmbedder;
    /// use watertight::testing::TestEngine;
    ///
    /// let embedder = Arc::new(HashingEmbedder::new(64)?);
    /// let test = TestEngine::with(|builder| builder.embedder(embedder))?;
    /// # drop(test);
    /// # Ok::<(), watertight::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`EngineBuilder::open`].
    pub fn with(configure: impl FnOnce(EngineBuilder<Ready>) -> EngineBuilder<Ready>) -> Result<Self> {
        let issuer = TestIssuer::new(Issuer::new("https://login.test/")?, "https://api.test")?;
        let clock = TestClock::at(Timestamp::from_seconds(1_798_761_600));
        let builder = Engine::builder("/memory")
            .root_key(RootKey::generate()?)
            .verifier(issuer.verifier()?)
            .clock(clock.clone())
            .danger()
            .disk(Arc::new(MemoryDisk::new()));
        let (engine, authority) = configure(builder).open()?;
        Ok(Self { engine, authority, issuer, clock })
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Its clock, which stands still unless it is moved.
    #[must_use]
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// What its `open` gave out.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The issuer of the tokens that it accepts.
    #[must_use]
    pub fn issuer(&self) -> &TestIssuer {
        &self.issuer
    }

    /// An operator of it.
    ///
    /// # Errors
    /// `Unavailable` when the engine is closed.
    pub fn operator(&self) -> Result<Operator> {
        self.engine.operator(&self.authority.attest_operator("test")?)
    }

    /// Makes a tenant that trusts the authority and the issuer, and moves the clock on by a minute, so that tokens
    /// issued from then on are admitted.
    ///
    /// # Errors
    /// `Conflict` when there is one of this name, `InvalidInput` when the name breaks the rule of [`TenantId`].
    pub fn provision(&self, tenant: &str) -> Result<TenantId> {
        let spec = TenantSpec::new(tenant)?.trusts(Issuer::authority()).trusts(self.issuer.issuer().clone());
        let provisioned = self.operator()?.provision(spec)?;
        self.clock.advance(AFTER_PROVISIONING);
        Ok(provisioned.tenant)
    }

    /// An identity attested by the authority, good for an hour.
    ///
    /// # Errors
    /// `InvalidInput` when a name breaks its rule.
    pub fn identity(&self, tenant: &str, user: &str, scopes: Scopes) -> Result<VerifiedIdentity> {
        self.authority.attest(Attestation::new(tenant, user)?.scopes(scopes).lifetime(LIFETIME))
    }

    /// A handle of an attested user.
    ///
    /// # Errors
    /// `NotFound` when there is no such tenant.
    pub fn handle(&self, tenant: &str, user: &str, scopes: Scopes) -> Result<TenantHandle> {
        self.engine.tenant(&self.identity(tenant, user, scopes)?)
    }

    /// A bearer token of a user of the issuer, good for an hour. It is another user than the attested one of this name:
    /// the two have different issuers.
    ///
    /// # Errors
    /// `InvalidInput` when a name breaks its rule.
    pub fn token(&self, tenant: &str, user: &str, scopes: Scopes) -> Result<String> {
        let user = UserId::new(self.issuer.issuer().clone(), user)?;
        let now = crate::clock::Clock::now(&*self.clock);
        self.issuer.token(&TenantId::new(tenant)?, &user, scopes, now, LIFETIME)
    }
}
