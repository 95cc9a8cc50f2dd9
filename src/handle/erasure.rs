//! Erasing a user of a tenant, by an admin of the tenant.

use std::ops::ControlFlow;

use super::tenant::TenantHandle;
use crate::engine::receipt::Receipt;
use crate::error::Result;
use crate::id::UserId;
use crate::tenant::carry::RekeyProgress;
use crate::tenant::erase::{Authored, ErasedUser};

/// A user was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erasure {
    /// What went.
    pub erased: ErasedUser,
    /// The engine's word for it; see [`Operator::verify_receipt`](crate::Operator::verify_receipt).
    pub receipt: Receipt,
}

impl TenantHandle {
    /// Erases a user: its private namespaces, its credentials and what they are sealed under, its idempotency keys, its
    /// name, and, where `authored` says so, the memories elsewhere that it was the last to put or patch. Needs the scope
    /// `admin`. The operator has no part in it: operators name no users and touch no content.
    ///
    /// It is made real by a re-keying of the tenant, which see for `progress`, waiting writers and the end of cursors
    /// ([`Operator::rekey`](crate::Operator::rekey)): everything but that goes over to a fresh file under a fresh key, and
    /// the old ones are destroyed. It happens at one moment, or not at all.
    ///
    /// The audit trail stays: who erases a user must not erase the traces of what that user did. It goes on to say who did
    /// what and when; namespaces, keys and credentials that were private to the user are not named to anybody.
    /// What stays of shared memories has an author that only tells a number. API keys that the user made end. A user who is
    /// still admitted begins anew, and one whom an operator named as an owner is an owner still: take away its access first.
    ///
    /// It takes a handle that was neither narrowed nor detached and through which no operator acts for the user.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use watertight::*;
    ///
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let enter = |user: &str, scopes| engine.tenant(&authority.attest(Attestation::new("acme", user)?.scopes(scopes))?);
    /// let (admin, bob) = (enter("root", Scopes::ALL)?, enter("bob", Scopes::READ | Scopes::WRITE)?);
    /// bob.private("diary")?.put(Memory::new("monday"))?;
    /// bob.memories("notes")?.put(Memory::new("k"))?;
    /// bob.credentials().put("TOKEN", &Credential::new("secret"))?;
    ///
    /// let go_on = |_| ControlFlow::Continue(());
    /// let done = admin.erase_user(bob.user(), Authored::Stays, go_on)?;
    /// assert_eq!((done.erased.memories, done.erased.credentials, done.erased.authored), (1, 1, 0));
    /// assert!(!bob.private("diary")?.exists("monday")?);
    /// assert!(admin.memories("notes")?.get("k")?.author.issuer().is_erased());
    /// println!("{}", operator.verify_receipt(&done.receipt)?);
    ///
    /// let refused = bob.erase_user(admin.user(), Authored::Goes, go_on).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope or such a handle; otherwise as for [`Operator::rekey`](crate::Operator::rekey). A user who has written
    /// nothing is no error: the figures are zero. So they are when this is called again because only the former files
    /// could not be destroyed.
    pub fn erase_user(
        &self,
        user: &UserId,
        authored: Authored,
        mut progress: impl FnMut(RekeyProgress) -> ControlFlow<()>,
    ) -> Result<Erasure> {
        let (erased, receipt) = self.0.erase_user(user, authored, &mut progress)?;
        Ok(Erasure { erased, receipt })
    }
}
