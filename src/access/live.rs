//! The policy of a tenant as all of its handles see it at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::policy::{Member, Policy};
use super::refusal::Refusals;
use super::standing::Standing;
use crate::error::Result;
use crate::id::UserId;
use crate::limits::STANDINGS_KEPT;

/// The policy in force, shared by all handles of one incarnation, and what was refused under it.
#[derive(Default)]
pub(crate) struct LivePolicy {
    /// 0 while it is not known, else a number that no other state has. Decisions are kept under it.
    epoch: AtomicU64,
    state: RwLock<State>,
    /// Held by whoever reads the file for it.
    reading: Mutex<()>,
    standings: Mutex<Standings>,
    refusals: Refusals,
}

/// What one policy says of those who asked lately: handles are made anew for every request.
#[derive(Default)]
struct Standings {
    epoch: u64,
    of: HashMap<Who, Arc<Standing>>,
}

/// User, groups, and whether the operator named it as an owner.
type Who = (UserId, Vec<String>, bool);

struct State {
    current: Current,
    epochs: u64,
}

#[derive(Clone)]
enum Current {
    /// What the file has must be read. A policy of a change before `since` is not it.
    Unknown { since: u64, mark: u64 },
    /// Scopes alone decide where there is none.
    Known(Option<Arc<Policy>>),
}

impl Default for State {
    fn default() -> Self {
        Self { current: Current::Unknown { since: 0, mark: 0 }, epochs: 0 }
    }
}

impl fmt::Debug for LivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePolicy").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl LivePolicy {
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The number of the policy in force; 0 while it is not known, and then nothing is allowed.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn is_known(&self) -> bool {
        self.epoch() != 0
    }

    /// The policy in force with its number; `None` while it is not known.
    pub(super) fn current(&self) -> Option<(u64, Option<Arc<Policy>>)> {
        let state = self.state.read();
        match &state.current {
            Current::Known(policy) => Some((state.epochs, policy.clone())),
            Current::Unknown { .. } => None,
        }
    }

    /// The version of the policy in force; 0 when there is none or it is not known.
    pub(super) fn version(&self) -> u64 {
        match &self.state.read().current {
            Current::Known(Some(policy)) => policy.version(),
            _ => 0,
        }
    }

    /// What the policy in force says of somebody, with its number; `None` while it is not known.
    pub(super) fn standing(&self, member: Member<'_>) -> Option<(u64, Arc<Standing>)> {
        let (epoch, policy) = self.current()?;
        let Some(policy) = policy else { return Some((epoch, Arc::new(Standing::of(None, member)))) };
        let who = (member.user.clone(), member.groups.to_vec(), member.is_owner);
        {
            let kept = self.standings.lock();
            if let Some(standing) = kept.of.get(&who).filter(|_| kept.epoch == epoch) {
                return Some((epoch, standing.clone()));
            }
        }
        let standing = Arc::new(Standing::of(Some(&policy), member));
        let mut kept = self.standings.lock();
        if kept.epoch < epoch || kept.of.len() >= STANDINGS_KEPT {
            kept.of.clear();
        }
        kept.epoch = kept.epoch.max(epoch);
        // Of a policy that was replaced meanwhile nothing is kept.
        if kept.epoch == epoch {
            kept.of.insert(who, standing.clone());
        }
        Some((epoch, standing))
    }

    /// Reads the policy from the tenant's file, unless it is known.
    pub(crate) fn know(&self, read: impl Fn() -> Result<Option<Policy>>) -> Result<()> {
        while self.epoch() == 0 {
            let _one_reads = self.reading.lock();
            let Current::Unknown { mark, .. } = self.state.read().current else { continue };
            // Not under the lock of the state, which writers of the file ask for in their turn.
            let policy = read()?.map(Arc::new);
            let mut state = self.state.write();
            match state.current {
                // A change that ended in between may be newer than what was read.
                Current::Unknown { mark: now, .. } if now == mark => self.set(&mut state, policy),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a policy that was made durable. When this returns, nothing that begins is allowed by an older one.
    pub(crate) fn publish(&self, policy: Policy) {
        let mut state = self.state.write();
        let is_newer = match &state.current {
            Current::Known(known) => known.as_ref().is_none_or(|known| known.version() < policy.version()),
            Current::Unknown { since, .. } => *since <= policy.version(),
        };
        if is_newer {
            self.set(&mut state, Some(Arc::new(policy)));
        }
    }

    /// A change of this version may or may not be durable: until the file was read, nothing is allowed.
    pub(crate) fn doubt(&self, version: u64) {
        let mut state = self.state.write();
        state.epochs = state.epochs.saturating_add(1);
        state.current = Current::Unknown { since: version, mark: state.epochs };
        self.epoch.store(0, Ordering::SeqCst);
    }

    fn set(&self, state: &mut State, policy: Option<Arc<Policy>>) {
        state.epochs = state.epochs.saturating_add(1);
        state.current = Current::Known(policy);
        self.epoch.store(state.epochs, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::id::{Issuer, UserId};

    fn policy(version: u64) -> Policy {
        let user = UserId::new(Issuer::authority(), "alice").unwrap();
        let member = super::super::policy::Member { user: &user, groups: &[], is_owner: true };
        (0..version).fold(Policy::new(), |now, n| Policy::successor((n > 0).then_some(&now), &now, member).unwrap())
    }

    fn known(live: &LivePolicy) -> Option<u64> {
        live.current().map(|(_, policy)| policy.map_or(0, |policy| policy.version()))
    }

    #[test]
    fn a_policy_is_read_once_and_only_replaced_by_a_newer_one() {
        let live = LivePolicy::default();
        assert_eq!((live.epoch(), known(&live)), (0, None));
        assert!(live.know(|| Err(Reason::Closed.into())).is_err());
        live.know(|| Ok(None)).unwrap();
        assert_eq!(known(&live), Some(0));
        live.know(|| Err(Reason::Closed.into())).unwrap();
        let epoch = live.epoch();
        live.publish(policy(2));
        assert!(live.epoch() > epoch);
        live.publish(policy(1));
        assert_eq!(known(&live), Some(2));
    }

    #[test]
    fn after_a_change_of_unknown_outcome_only_the_file_tells() {
        let live = LivePolicy::default();
        live.know(|| Ok(Some(policy(1)))).unwrap();
        let epoch = live.epoch();
        live.doubt(3);
        assert_eq!((live.epoch(), known(&live)), (0, None));
        // Whoever committed before the doubtful change is late.
        live.publish(policy(2));
        assert_eq!(known(&live), None);
        live.know(|| Ok(Some(policy(2)))).unwrap();
        assert_eq!(known(&live), Some(2));
        assert!(live.epoch() > epoch);
    }

    #[test]
    fn what_was_read_gives_way_to_what_was_changed_meanwhile() {
        let live = LivePolicy::default();
        live.know(|| {
            live.publish(policy(1));
            Ok(None)
        })
        .unwrap();
        assert_eq!(known(&live), Some(1));

        live.doubt(2);
        let first = std::cell::Cell::new(true);
        live.know(|| {
            if first.take() {
                live.doubt(3);
                return Ok(Some(policy(1)));
            }
            Ok(Some(policy(3)))
        })
        .unwrap();
        assert_eq!(known(&live), Some(3));
    }
}
