//! What an engine does, in figures.

use crate::meter::Histogram;

/// What an engine holds and has done since it was opened. It speaks of all tenants together and of none by name.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// tenant.memories("notes")?.put(Memory::new("k"))?;
/// let stats = engine.stats();
/// assert_eq!((stats.open_tenants, stats.opens, stats.commit_micros.count()), (1, 1, 1));
/// assert!(stats.memory_bytes <= stats.memory_bytes_max && stats.hit_rate() < 1.0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Tenants whose files are open.
    pub open_tenants: usize,
    /// Most of them at a time.
    pub open_tenants_max: usize,
    /// Memory of open tenants: page caches, pages held back, indexes, in bytes. What a tenant uses is counted again at
    /// its next operation.
    pub memory_bytes: u64,
    /// Most of that, in bytes.
    pub memory_bytes_max: u64,
    /// Operations of handles.
    pub operations: u64,
    /// How often a tenant's file was opened: every other operation found it open.
    pub opens: u64,
    /// How often an idle tenant was closed to make room.
    pub evictions: u64,
    /// How long opening took, in microseconds.
    pub open_micros: Histogram,
    /// How long transactions took, in microseconds, from the beginning of the first change to the end of the commit.
    pub commit_micros: Histogram,
    /// How many changes shared a transaction.
    pub commit_changes: Histogram,
}

impl EngineStats {
    /// The share of operations that found their tenant open; 1 when there were none.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        if self.operations == 0 { 1.0 } else { 1.0 - (self.opens as f64 / self.operations as f64).min(1.0) }
    }
}
