//! Why something is refused. Callers are told that nothing was found; the reason goes to the tenant's audit trail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::door::Part;
use super::pattern::NamespacePattern;
use crate::clock::Timestamp;
use crate::id::UserId;
use crate::identity::scope::Scopes;
use crate::limits::REFUSALS_MAX;

/// Why an operation is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// The identity's scopes leave it out.
    Scope,
    /// The handle was narrowed, or detached.
    Narrowed,
    /// A rule denies it.
    Denied,
    /// No role grants it.
    NotGranted,
    /// An operator who acts for a user has no credentials of that user and no actions of the application, and decides
    /// nothing about who may do what at the tenant.
    Impersonated,
    /// An API key sets no policy and makes no API keys.
    ApiKey,
}

/// Whether something is allowed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// Why not; absent when it is.
    pub refusal: Option<Refusal>,
    /// The role that allows or denies it; absent when scopes alone decide, or nothing does.
    pub role: Option<String>,
    /// The namespaces that the rule of this role is about; absent when the role itself grants it.
    pub namespaces: Option<NamespacePattern>,
}

impl Decision {
    /// Scopes alone decide, and they allow it.
    pub(super) fn nothing_asked() -> Self {
        Self { allowed: true, refusal: None, role: None, namespaces: None }
    }

    pub(super) fn allowed(role: &str, namespaces: Option<NamespacePattern>) -> Self {
        Self { allowed: true, refusal: None, role: Some(role.to_owned()), namespaces }
    }

    pub(super) fn refused(refusal: Refusal, role: Option<&str>, namespaces: Option<NamespacePattern>) -> Self {
        Self { allowed: false, refusal: Some(refusal), role: role.map(str::to_owned), namespaces }
    }
}

/// Something that was refused, as often as it was.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// When for the last time.
    pub(crate) at: Timestamp,
    /// Who; absent for those that were only counted.
    pub(crate) user: Option<UserId>,
    pub(crate) operator: Option<Arc<str>>,
    pub(crate) part: Part,
    /// The application's action, where it was one.
    pub(crate) action: Option<String>,
    /// One of these was needed.
    pub(crate) needed: Scopes,
    pub(crate) why: Refusal,
    pub(crate) times: u32,
}

impl Refused {
    fn is_same(&self, other: &Self) -> bool {
        self.user == other.user
            && self.operator == other.operator
            && self.part == other.part
            && self.action == other.action
            && self.needed == other.needed
            && self.why == other.why
    }
}

/// What a tenant has refused and not yet written down. To write at once would let those who may do nothing fill the trail
/// and the device, and would tell them by the time it takes that there was something to refuse.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    waiting: Mutex<Vec<Refused>>,
    is_waiting: AtomicBool,
}

impl Refusals {
    pub(super) fn note(&self, mut refused: Refused) {
        let mut waiting = self.waiting.lock();
        if let Some(same) = waiting.iter_mut().find(|other| other.is_same(&refused)) {
            (same.at, same.times) = (refused.at, same.times.saturating_add(refused.times));
            return;
        }
        if waiting.len() >= REFUSALS_MAX {
            (refused.user, refused.operator, refused.part, refused.action) = (None, None, Part::Tenant, None);
            if let Some(counted) = waiting.iter_mut().find(|other| other.user.is_none()) {
                (counted.at, counted.times) = (refused.at, counted.times.saturating_add(refused.times));
                return;
            }
        }
        waiting.push(refused);
        self.is_waiting.store(true, Ordering::Release);
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// Takes what is to be written down.
    pub(crate) fn take(&self) -> Vec<Refused> {
        let mut waiting = self.waiting.lock();
        self.is_waiting.store(false, Ordering::Release);
        std::mem::take(&mut *waiting)
    }

    /// It could not be written down: another time.
    pub(crate) fn give_back(&self, refused: Vec<Refused>) {
        refused.into_iter().for_each(|refused| self.note(refused));
    }
}
