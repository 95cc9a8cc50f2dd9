//! Models of the code in which threads wait for each other, run under a checker that chooses who goes next.
//!
//! The files under test are the engine's own, compiled here once more over the checker's locks.

#![allow(dead_code, unreachable_pub, reason = "each model uses its own part")]

/// What those files name of the rest of the engine.
mod error {
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) enum Reason {
        NotFound,
        TenantSuspended,
        Closed,
        Deadlock,
        Io,
    }

    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Error(pub(crate) Reason);

    pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

    impl Error {
        pub(crate) fn not_found() -> Self {
            Self(Reason::NotFound)
        }
    }

    impl From<Reason> for Error {
        fn from(reason: Reason) -> Self {
            Self(reason)
        }
    }
}
mod store {
    pub(crate) use super::sync;
}
#[path = "../src/store/group.rs"]
mod group;
#[path = "../src/engine/slot.rs"]
mod slot;
#[path = "../src/access/state.rs"]
mod state;
#[path = "models/sync.rs"]
mod sync;
#[path = "../src/store/turn.rs"]
mod turn;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use error::{Error, Reason};
use group::{Full, Group, GroupLimits};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::{Config, Runner, thread};
use slot::{Slot, Unopened};
use state::{Seen, TenantState};
use turn::{Turn, Waits};

const SCHEDULES: usize = 10_000;

/// Runs a model under random schedules, and under schedules with few preemptions, which find rarer orders.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let again = model.clone();
    let mut config = Config::new();
    config.max_steps = shuttle::MaxSteps::FailAfter(100_000);
    Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(move || model());
    Runner::new(PctScheduler::new(3, SCHEDULES), config).run(move || again());
}

fn limits() -> GroupLimits {
    GroupLimits { waiting_jobs: 100, waiting_bytes: 1_000, batch_jobs: 3, batch_bytes: 100 }
}

/// What the leaders have run, batch by batch, and whether one leads at the moment.
#[derive(Default)]
struct Journal {
    batches: Vec<Vec<u32>>,
    is_running: bool,
}

fn run(journal: &Mutex<Journal>, jobs: Vec<u32>) -> Vec<u32> {
    {
        let mut journal = journal.lock().unwrap();
        assert!(!journal.is_running, "two leaders at a time");
        journal.is_running = true;
    }
    thread::yield_now();
    let mut journal = journal.lock().unwrap();
    journal.is_running = false;
    journal.batches.push(jobs.clone());
    jobs.into_iter().map(|job| job * 10).collect()
}

#[test]
fn every_job_of_a_group_is_run_once_and_its_caller_told() {
    check(|| {
        let (group, journal) = (Arc::new(Group::new(limits())), Arc::new(Mutex::new(Journal::default())));
        let callers: Vec<_> = (0..4_u32)
            .map(|caller| {
                let (group, journal) = (group.clone(), journal.clone());
                thread::spawn(move || {
                    for round in 0..2 {
                        let job = caller * 2 + round + 1;
                        let answer = group.run(job, 40, |jobs| run(&journal, jobs));
                        assert_eq!(answer, Ok(Some(job * 10)));
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let journal = journal.lock().unwrap();
        let all: Vec<u32> = journal.batches.iter().flatten().copied().collect();
        assert_eq!(all.len(), 8);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 8);
        // Two jobs of 40 bytes fit, a third does not.
        assert!(journal.batches.iter().all(|batch| (1..=2).contains(&batch.len())));
        assert_eq!(group.waiting(), 0);
    });
}

/// Callers do come to share a batch: a group that ran each job alone would pass the test above.
#[test]
fn callers_share_batches() {
    let most = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = most.clone();
    check(move || {
        let (group, journal) = (Arc::new(Group::new(limits())), Arc::new(Mutex::new(Journal::default())));
        let callers: Vec<_> = (0..4_u32)
            .map(|job| {
                let (group, journal) = (group.clone(), journal.clone());
                thread::spawn(move || group.run(job, 1, |jobs| run(&journal, jobs)).unwrap())
            })
            .collect();
        callers.into_iter().for_each(|caller| assert!(caller.join().unwrap().is_some()));
        let largest = journal.lock().unwrap().batches.iter().map(Vec::len).max().unwrap();
        seen.fetch_max(largest, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(most.load(std::sync::atomic::Ordering::Relaxed), 3, "as many as a batch may have");
}

/// Whoever is refused is not run, and everybody else is.
#[test]
fn a_full_group_refuses_and_forgets_nobody() {
    check(|| {
        let limits = GroupLimits { waiting_jobs: 1, ..limits() };
        let (group, journal) = (Arc::new(Group::new(limits)), Arc::new(Mutex::new(Journal::default())));
        let callers: Vec<_> = (1..=4_u32)
            .map(|job| {
                let (group, journal) = (group.clone(), journal.clone());
                thread::spawn(move || match group.run(job, 1, |jobs| run(&journal, jobs)) {
                    Ok(answer) => {
                        assert_eq!(answer, Some(job * 10));
                        Some(job)
                    }
                    Err(Full { retry_after }) => {
                        assert!(retry_after > Duration::ZERO);
                        None
                    }
                })
            })
            .collect();
        let done: BTreeSet<u32> = callers.into_iter().filter_map(|caller| caller.join().unwrap()).collect();
        let run: BTreeSet<u32> = journal.lock().unwrap().batches.iter().flatten().copied().collect();
        assert_eq!(done, run);
        assert!(!done.is_empty());
    });
}

/// A leader that runs fewer jobs than it was given, as one that unwinds does, leaves nobody waiting.
#[test]
fn a_lost_leader_strands_nobody() {
    check(|| {
        let group = Arc::new(Group::new(limits()));
        let callers: Vec<_> = (0..4_u32)
            .map(|job| {
                let group = group.clone();
                thread::spawn(move || {
                    let answer = group.run(job, 1, |jobs| jobs.into_iter().take(1).collect());
                    // Its own job was run, or its leader was lost.
                    assert!(answer == Ok(Some(job)) || answer == Ok(None));
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(group.run(9, 1, |jobs| jobs), Ok(Some(9)));
    });
}

/// Threads that have the turn of one file each and ask for that of the next, the last one for the first. The checker notices
/// when they wait for ever.
#[test]
fn a_ring_of_waits_is_refused_whoever_comes_last_and_a_chain_never() {
    let closed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = closed.clone();
    check(move || {
        for (threads, is_ring) in [(2_u64, true), (3, true), (3, false)] {
            let waits = Arc::new(Waits::default());
            let turns: Vec<_> = (0..=threads).map(|_| Turn::new(&waits)).collect();
            let callers: Vec<_> = (0..threads)
                .map(|number| {
                    let own = turns[number as usize].clone();
                    let next = if is_ring { (number + 1) % threads } else { number + 1 };
                    let next = turns[next as usize].clone();
                    thread::spawn(move || {
                        let _own = own.take(number + 1, false).unwrap();
                        match next.take(number + 1, true) {
                            Ok(_next) => true,
                            Err(error) => {
                                assert_eq!(error, Error(Reason::Deadlock));
                                false
                            }
                        }
                    })
                })
                .collect();
            let refused = callers.into_iter().filter_map(|caller| (!caller.join().unwrap()).then_some(())).count();
            // One refusal opens the ring; the others get their turn.
            assert!(refused <= usize::from(is_ring), "{refused} of {threads} were refused");
            seen.fetch_or(refused > 0, std::sync::atomic::Ordering::Relaxed);
            assert!(turns.iter().all(|turn| turn.is_owned_by(0)), "every turn was given back");
        }
    });
    assert!(closed.load(std::sync::atomic::Ordering::Relaxed), "no schedule closed a ring");
}

/// A file that is open or closed, and notices when it is opened twice or used when it is closed.
#[derive(Clone, Default)]
struct File {
    is_open: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    users: Arc<AtomicUsize>,
}

impl File {
    fn open(&self) -> Self {
        thread::yield_now();
        assert!(!self.is_open.swap(true, Ordering::SeqCst), "opened twice");
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.clone()
    }

    fn use_it(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
        assert!(self.is_open.load(Ordering::SeqCst), "used while it is closed");
        thread::yield_now();
        assert!(self.is_open.load(Ordering::SeqCst), "closed while it is used");
        self.users.fetch_sub(1, Ordering::SeqCst);
    }

    fn close(self) {
        assert_eq!(self.users.load(Ordering::SeqCst), 0, "closed while it is used");
        thread::yield_now();
        assert!(self.is_open.swap(false, Ordering::SeqCst), "closed twice");
    }
}

#[test]
fn a_slot_is_opened_once_at_a_time_and_closed_only_while_idle() {
    check(|| {
        let (slot, file) = (Arc::new(Slot::new()), File::default());
        let users: Vec<_> = (0..3)
            .map(|_| {
                let (slot, file) = (slot.clone(), file.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let lease = slot.lease(|| Ok(file.open())).unwrap();
                        // One who has a lease may take another, whoever waits to close.
                        let again = slot.open_lease().unwrap().expect("open, since there is a lease");
                        lease.get().unwrap().use_it();
                        again.get().unwrap().use_it();
                    }
                })
            })
            .collect();
        let closer = {
            let slot = slot.clone();
            thread::spawn(move || (0..4).filter(|_| slot.close_if_idle(File::close).is_some()).count())
        };
        users.into_iter().for_each(|user| user.join().unwrap());
        let closed = closer.join().unwrap();
        let is_open = file.is_open.load(Ordering::SeqCst);
        assert_eq!(file.opened.load(Ordering::SeqCst), closed + usize::from(is_open));
    });
}

#[test]
fn those_who_wait_for_an_opening_share_its_failure() {
    let shared = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = shared.clone();
    check(move || {
        let (slot, attempts) = (Arc::new(Slot::<File>::new()), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (slot, attempts) = (slot.clone(), attempts.clone());
                thread::spawn(move || {
                    let refused = slot.lease(|| {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        Err(Reason::Io.into())
                    });
                    assert!(matches!(refused, Err(Unopened::Failed(Error(Reason::Io)))));
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let attempts = attempts.load(Ordering::SeqCst);
        assert!((1..=3).contains(&attempts));
        seen.fetch_or(attempts < 3, std::sync::atomic::Ordering::Relaxed);
        // The next one tries again.
        let file = File::default();
        assert!(slot.lease(|| Ok(file.open())).is_ok());
    });
    assert!(shared.load(std::sync::atomic::Ordering::Relaxed), "every caller opened for itself");
}

/// The gate, a lease, the gate again when the turn comes: against a suspension and a purge.
#[test]
fn nothing_that_began_after_a_revocation_succeeds() {
    check(|| {
        let (slot, state, file) = (Arc::new(Slot::new()), TenantState::active(), File::default());
        let (suspended, purged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let turn = Arc::new(Mutex::new(0_u32));
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let (slot, state, file, turn) = (slot.clone(), state.clone(), file.clone(), turn.clone());
                let (suspended, purged) = (suspended.clone(), purged.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let too_late = suspended.load(Ordering::SeqCst) || purged.load(Ordering::SeqCst);
                        let write = || {
                            state.check()?;
                            let lease = slot.lease(|| Ok(file.open())).map_err(|_| Error(Reason::Closed))?;
                            lease.get().unwrap().use_it();
                            let mut turn = turn.lock().unwrap();
                            state.check()?;
                            *turn += 1;
                            Ok::<(), Error>(())
                        };
                        assert!(!(too_late && write().is_ok()), "it began after the revocation had returned");
                    }
                })
            })
            .collect();
        state.set_suspended(true);
        suspended.store(true, Ordering::SeqCst);
        state.end();
        slot.end(File::close);
        purged.store(true, Ordering::SeqCst);
        let written = *turn.lock().unwrap();
        assert!(!file.is_open.load(Ordering::SeqCst), "the file is closed when the purge goes on to destroy it");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(*turn.lock().unwrap(), written, "nothing is written after the purge");
        assert!(!file.is_open.load(Ordering::SeqCst));
        assert!(matches!(slot.open_lease(), Err(Unopened::Ended)));
        // A tenant that is gone is not resumed.
        state.set_suspended(false);
        assert_eq!(state.check(), Err(Error::not_found()));
    });
}

/// The catalog first, then the state, and whoever passes asks again: a handle that is made or used meanwhile is not missed.
#[test]
fn nothing_that_began_after_an_identity_was_revoked_succeeds() {
    check(|| {
        let state = TenantState::active();
        let (is_revoked, returned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let shared = Arc::new(Seen::nothing());
        let users: Vec<_> = (0..3)
            .map(|number| {
                let (state, shared) = (state.clone(), shared.clone());
                let (is_revoked, returned) = (is_revoked.clone(), returned.clone());
                thread::spawn(move || {
                    // Two share a handle; the third makes its own.
                    let seen = if number < 2 { shared } else { Arc::new(Seen::nothing()) };
                    for _ in 0..3 {
                        let too_late = returned.load(Ordering::SeqCst);
                        let answer = seen.check(&state, || {
                            let refused = is_revoked.load(Ordering::SeqCst);
                            thread::yield_now();
                            if refused { Err(Error::not_found()) } else { Ok(false) }
                        });
                        assert!(!(too_late && answer.is_ok()), "it began after the revocation had returned");
                    }
                })
            })
            .collect();
        // Another's revocation in between: who asked about that one must ask about this one too.
        state.revise();
        is_revoked.store(true, Ordering::SeqCst);
        state.revise();
        returned.store(true, Ordering::SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
        assert_eq!(shared.check(&state, || Err(Error::not_found())), Err(Error::not_found()));
    });
}

/// Who was slow to ask must not bring back what the answer was before.
#[test]
fn nothing_that_began_after_an_owner_was_removed_takes_the_user_for_one() {
    check(|| {
        let state = TenantState::active();
        let (is_owner, returned) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Seen::nothing());
        let users: Vec<_> = (0..3)
            .map(|_| {
                let (state, seen) = (state.clone(), seen.clone());
                let (is_owner, returned) = (is_owner.clone(), returned.clone());
                thread::spawn(move || {
                    for _ in 0..3 {
                        let too_late = returned.load(Ordering::SeqCst);
                        let ask = || {
                            let answer = is_owner.load(Ordering::SeqCst);
                            thread::yield_now();
                            Ok(answer)
                        };
                        seen.check(&state, ask).unwrap();
                        assert!(!(too_late && seen.is_owner()), "it began after the removal had returned");
                    }
                })
            })
            .collect();
        is_owner.store(false, Ordering::SeqCst);
        state.revise();
        returned.store(true, Ordering::SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
    });
}
