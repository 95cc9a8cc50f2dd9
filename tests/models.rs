//! Models of the code in which threads wait for each other, run under a checker that chooses who goes next.
//!
//! The files under test are the engine's own, compiled here once more over the checker's locks.

#![allow(dead_code, unreachable_pub, reason = "each model uses its own part")]

#[path = "../src/store/group.rs"]
mod group;
#[path = "models/sync.rs"]
mod sync;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use group::{Full, Group, GroupLimits};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, Runner, thread};

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
