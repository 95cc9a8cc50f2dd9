//! The catalog key: random, made with the engine and wrapped beside each engine key. What belongs to the engine itself
//! and must outlive a rotation is derived from it.

use super::derive::derive;
use super::format::Label;
use super::secret::Secret;
use crate::error::Result;
use crate::id::EngineId;

/// What the engine's own keys are derived from. A rotation of the engine key wraps it anew and does not change it.
#[derive(Debug)]
pub(crate) struct CatalogKey {
    secret: Secret<32>,
    engine: EngineId,
}

impl CatalogKey {
    pub(super) fn generate(engine: EngineId) -> Result<Self> {
        Ok(Self { secret: Secret::random()?, engine })
    }

    pub(super) fn new(secret: Secret<32>, engine: EngineId) -> Self {
        Self { secret, engine }
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    /// The page key of the catalog.
    pub(crate) fn pages(&self) -> Secret<32> {
        derive(&self.secret, self.engine.as_bytes(), Label::CatalogPages, &[])
    }

    /// The key that authenticates receipts.
    pub(crate) fn receipts(&self) -> Secret<64> {
        derive(&self.secret, self.engine.as_bytes(), Label::Receipt, &[])
    }
}
