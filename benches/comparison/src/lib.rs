//! What the comparisons share: contenders that many threads call, and ratios measured side by side.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory on the disk that cargo builds to; the system's temporary directory may be in memory.
pub fn directory() -> TempDir {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&target).unwrap();
    tempfile::tempdir_in(target).unwrap()
}

/// How much to measure: `--quick` does fewer rounds, `--smoke` one of a few milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    Smoke,
    Quick,
    Full,
}

impl Effort {
    pub fn from_args() -> Self {
        let given = |name: &str| std::env::args().any(|argument| argument == name);
        match (given("--smoke"), given("--quick")) {
            (true, _) => Self::Smoke,
            (_, true) => Self::Quick,
            _ => Self::Full,
        }
    }

    pub fn rounds(self) -> usize {
        match self {
            Self::Smoke => 1,
            Self::Quick => 3,
            Self::Full => 7,
        }
    }

    pub fn round(self) -> Duration {
        Duration::from_millis(if self == Self::Smoke { 20 } else { 500 })
    }
}

/// Latencies of one kind of operation, in nanoseconds.
#[derive(Debug, Default, Clone)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn time<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let answer = work();
        self.0.push(u64::try_from(start.elapsed().as_nanos()).unwrap());
        answer
    }

    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn quantile(&self, share: f64) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or(0)
    }
}

/// What `callers` threads did in one round: how often each second, and how long each took.
pub struct Round {
    pub per_second: f64,
    pub latencies: Latencies,
}

/// Runs `call(caller, number)` on as many threads at once for a while.
pub fn run(callers: usize, time: Duration, call: &(impl Fn(usize, usize) + Sync)) -> Round {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut all = Latencies::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|caller| {
                let stop = stop.clone();
                scope.spawn(move || {
                    let mut latencies = Latencies::default();
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        latencies.time(|| call(caller, number));
                        number += 1;
                    }
                    latencies
                })
            })
            .collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| all.merge(thread.join().unwrap()));
    });
    Round { per_second: all.len() as f64 / start.elapsed().as_secs_f64(), latencies: all }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub fn readable(nanoseconds: u64) -> String {
    match nanoseconds {
        n if n < 10_000 => format!("{n} ns"),
        n if n < 10_000_000 => format!("{:.0} us", n as f64 / 1e3),
        n => format!("{:.1} ms", n as f64 / 1e6),
    }
}
