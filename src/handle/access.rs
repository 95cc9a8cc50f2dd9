//! What every handle of a tenant shares: the doors that its operations pass, and what is behind them.

use std::fmt;
use std::sync::Arc;

use crate::access::door::{Door, Part};
use crate::access::gate::{Gate, Operation, Proof, Revoke};
use crate::access::policy::Policy;
use crate::engine::core::Inner;
use crate::engine::pool::TenantSlot;
use crate::engine::receipt::Receipt;
use crate::engine::rekey::Progress;
use crate::error::{Reason, Result};
use crate::id::{TenantId, UserId};
use crate::index::embedder::Embedders;
use crate::tenant::erase::{Authored, Erase, ErasedUser};
use crate::tenant::open::Tenant;
use crate::tenant::place::Area;
use crate::tenant::write::Batch;

/// What every small handle of a tenant shares.
pub(super) struct Access {
    /// The tenant as a whole.
    whole: Arc<Door>,
    somewhere: Arc<Door>,
    credentials: Arc<Door>,
    slot: Arc<TenantSlot>,
    /// Keeps the engine, and with it the lock of the directory, for as long as a handle lives.
    engine: Arc<Inner>,
}

impl Access {
    pub(super) fn new(gate: Arc<Gate>, slot: Arc<TenantSlot>, engine: Arc<Inner>) -> Arc<Self> {
        let door = |part| Door::new(gate.clone(), part);
        let (whole, somewhere, credentials) = (door(Part::Tenant), door(Part::Somewhere), door(Part::Credentials));
        Arc::new(Self { whole, somewhere, credentials, slot, engine })
    }

    /// The same tenant behind a narrower gate.
    pub(super) fn behind(&self, gate: Arc<Gate>) -> Arc<Self> {
        Self::new(gate, self.slot.clone(), self.engine.clone())
    }

    /// An operation on the tenant as a whole.
    pub(super) fn run<O: Operation, R>(&self, work: impl FnOnce(&Tenant, &Proof<'_, O>) -> Result<R>) -> Result<R> {
        self.run_at(&self.whole, work)
    }

    /// Every operation goes through here: the gate first, then the work with the proof.
    pub(super) fn run_at<O: Operation, R>(
        &self,
        door: &Arc<Door>,
        work: impl FnOnce(&Tenant, &Proof<'_, O>) -> Result<R>,
    ) -> Result<R> {
        self.know_policy()?;
        let proof = door.pass::<O>()?;
        let lease = self.engine.lease(&self.slot, proof.at())?;
        let result = work(lease.tenant()?, &proof);
        match result {
            // The file was closed under the operation: say what the gate says now, if it has something to say.
            Err(error) if *error.reason() == Reason::Closed => Err(door.admit::<O>().err().unwrap_or(error)),
            result => result,
        }
    }

    /// Reads the tenant's policy, unless it is known.
    pub(super) fn know_policy(&self) -> Result<()> {
        let policy = self.gate().policy();
        if policy.is_known() {
            return Ok(());
        }
        // Who is expired or stopped is told that, and no more. Before the lock of those who read, and again for who waited.
        self.gate().check()?;
        policy.know(|| {
            self.gate().check()?;
            self.read_policy()
        })
    }

    fn read_policy(&self) -> Result<Option<Policy>> {
        let lease = self.engine.lease(&self.slot, self.engine.clock.now())?;
        lease.tenant()?.stored_policy()
    }
}

impl Access {
    pub(super) fn gate(&self) -> &Arc<Gate> {
        self.whole.gate()
    }

    pub(super) fn door(&self, area: &Area) -> Arc<Door> {
        let namespace = area.namespace.clone();
        let part = if area.private { Part::Private(namespace) } else { Part::Shared(namespace) };
        Door::new(self.gate().clone(), part)
    }

    pub(super) fn whole(&self) -> &Arc<Door> {
        &self.whole
    }

    pub(super) fn somewhere(&self) -> &Arc<Door> {
        &self.somewhere
    }

    pub(super) fn credentials(&self) -> &Arc<Door> {
        &self.credentials
    }

    pub(super) fn user(&self) -> &UserId {
        self.gate().identity().user()
    }

    pub(super) fn tenant_id(&self) -> &TenantId {
        self.gate().identity().tenant()
    }

    pub(super) fn slot(&self) -> &TenantSlot {
        &self.slot
    }

    pub(super) fn engine(&self) -> &Arc<Inner> {
        &self.engine
    }

    /// Whether both are of one incarnation of one tenant.
    pub(super) fn is_same_tenant(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
    }

    /// It needs the file for itself, so that it takes no lease first.
    pub(super) fn erase_user(
        &self,
        user: &UserId,
        authored: Authored,
        progress: Progress<'_>,
    ) -> Result<(ErasedUser, Receipt)> {
        self.know_policy()?;
        let proof = self.whole.pass::<Revoke>()?;
        let erased = self.engine.erase_user(&self.slot, Erase { proof: &proof, user, authored }, progress);
        // The file tells whether the user still has roles.
        let known = match &erased {
            Ok(_) => self.read_policy().map(|policy| policy.map(|policy| self.gate().policy().publish(policy))),
            Err(error) if error.is_refusal() => Ok(None),
            Err(error) => Err(error.clone()),
        };
        if known.is_err() {
            self.gate().policy().doubt(0);
        }
        erased
    }

    pub(super) fn embedders(&self) -> &Embedders {
        &self.engine.embedders
    }

    /// Gives vectors to the texts of a batch that have none, if there is an embedder of the model.
    pub(super) fn embedded(&self, model: Option<String>, batch: Batch) -> Result<Batch> {
        let Some(model) = model.filter(|model| self.embedders().has(model)) else { return Ok(batch) };
        let vectors = self.embedders().embed(&model, &batch.texts_to_embed())?;
        Ok(batch.embedded(&model, vectors))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("gate", self.gate()).field("engine", &self.engine).finish_non_exhaustive()
    }
}
