//! The parts of a tenant that operations are about, each with the gate before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::gate::Gate;
use crate::error::Result;
use crate::id::Namespace;
use crate::identity::scope::Scopes;

/// What an operation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The tenant as a whole.
    Tenant,
    /// Any part; each is asked for by itself as well.
    Somewhere,
    /// A namespace that the tenant's users share.
    Shared(Namespace),
    /// A namespace of the user alone.
    Private(Namespace),
    /// The user's credentials.
    Credentials,
}

/// One identity before one part of its tenant. It remembers what was decided last, for as long as the policy stays.
#[derive(Debug)]
pub(crate) struct Door {
    gate: Arc<Gate>,
    part: Part,
    /// The [`Ground`](super::gate::Ground) of the decision, and below it the bits of what is allowed. No policy has epoch 0.
    decided: AtomicU64,
}

const SCOPE_BITS: u32 = 8;

impl Door {
    pub(crate) fn new(gate: Arc<Gate>, part: Part) -> Arc<Self> {
        Arc::new(Self { gate, part, decided: AtomicU64::new(0) })
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(super) fn part(&self) -> &Part {
        &self.part
    }

    /// What is allowed here now.
    pub(super) fn allowed(&self) -> Result<Scopes> {
        let ground = self.gate.ground();
        let decided = self.decided.load(Ordering::Relaxed);
        if decided >> SCOPE_BITS == ground.bits() && ground.is_known() {
            #[expect(clippy::cast_possible_truncation, reason = "the lowest eight bits are the scopes")]
            return Ok(Scopes::from_bits(decided as u8));
        }
        let (ground, allowed) = self.gate.decide(&self.part)?;
        self.decided.store(ground.bits() << SCOPE_BITS | u64::from(allowed.bits()), Ordering::Relaxed);
        Ok(allowed)
    }
}
