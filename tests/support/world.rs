//! An engine on any disk, with the identities that tests need.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watertight::disk::{Disk, SystemDisk};
use watertight::{
    Attestation, Authority, Clock, Engine, Issuer, Operator, Result, RootKey, Scopes, SystemClock, TenantHandle,
    TenantSpec, VerifiedIdentity,
};

/// A root key that is the same in every run.
pub fn root_key() -> RootKey {
    RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap()
}

/// An open engine with its authority.
pub struct World {
    pub engine: Engine,
    pub authority: Authority,
}

impl World {
    /// Opens `directory` on the operating system's disk.
    pub fn at(directory: &Path) -> Self {
        Self::open(directory, Arc::new(SystemDisk)).unwrap()
    }

    /// Opens `directory` on any disk.
    pub fn open(directory: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        Self::with_clock(directory, disk, Arc::new(SystemClock))
    }

    /// Opens `directory` on any disk, by any clock.
    pub fn with_clock(directory: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self> {
        let builder = Engine::builder(directory).root_key(root_key()).clock(clock);
        let (engine, authority) = builder.danger().disk(disk).open()?;
        Ok(Self { engine, authority })
    }

    pub fn operator(&self) -> Operator {
        self.engine.operator(&self.authority.attest_operator("ops").unwrap()).unwrap()
    }

    /// Provisions a tenant that trusts the authority.
    pub fn provision(&self, tenant: &str) -> Result<()> {
        self.operator().provision(TenantSpec::new(tenant)?.trusts(Issuer::authority())).map(|_| ())
    }

    pub fn identity(&self, tenant: &str, user: &str, scopes: Scopes) -> VerifiedIdentity {
        let attestation = Attestation::new(tenant, user).unwrap().scopes(scopes).lifetime(Duration::from_secs(3_600));
        self.authority.attest(attestation).unwrap()
    }

    /// A handle with every scope.
    pub fn handle(&self, tenant: &str, user: &str) -> Result<TenantHandle> {
        self.engine.tenant(&self.identity(tenant, user, Scopes::ALL))
    }
}
