//! Counters and histograms that cost a few nanoseconds to keep and are read as one answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One bucket for each power of two, in steps of a quarter: a value is known to a fifth.
const STEPS: usize = 4;
const BUCKETS: usize = 64 * STEPS;
/// Buckets that are made together, when the first of them is needed: most tenants need few, and there may be many
/// tenants.
const GROUP: usize = 8 * STEPS;
const GROUPS: usize = BUCKETS / GROUP;

/// What is counted of one tenant, or of all.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) operations: AtomicU64,
    pub(crate) opens: Meter,
    pub(crate) commits: Meter,
    pub(crate) changes: Meter,
}

/// The figures of one tenant, beside those of its engine.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    pub(crate) own: Arc<Activity>,
    all: Arc<Activity>,
}

impl Meters {
    pub(crate) fn new(all: Arc<Activity>) -> Self {
        Self { own: Arc::default(), all }
    }

    pub(crate) fn each(&self, count: impl Fn(&Activity)) {
        count(&self.own);
        count(&self.all);
    }
}

/// Counts values by size.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    groups: [OnceLock<Box<[AtomicU64; GROUP]>>; GROUPS],
    sum: AtomicU64,
    most: AtomicU64,
}

impl Meter {
    pub(crate) fn count(&self, value: u64) {
        let at = bucket(value);
        if let Some(group) = self.groups.get(at / GROUP) {
            let buckets = group.get_or_init(|| Box::new([const { AtomicU64::new(0) }; GROUP]));
            if let Some(bucket) = buckets.get(at % GROUP) {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.most.fetch_max(value, Ordering::Relaxed);
    }

    /// Counts a duration in microseconds.
    pub(crate) fn time(&self, took: Duration) {
        self.count(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn read(&self) -> Histogram {
        let mut counts = vec![0; BUCKETS];
        for (counts, group) in counts.chunks_mut(GROUP).zip(&self.groups) {
            for (count, bucket) in counts.iter_mut().zip(group.get().into_iter().flat_map(|buckets| buckets.iter())) {
                *count = bucket.load(Ordering::Relaxed);
            }
        }
        Histogram {
            count: counts.iter().sum(),
            counts,
            sum: self.sum.load(Ordering::Relaxed),
            max: self.most.load(Ordering::Relaxed),
        }
    }
}

/// How often values of each size came. Durations are in microseconds.
///
/// ```
/// use watertight::*;
///
/// # let (engine, authority) = Engine::in_memory()?;
/// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
/// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
/// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
/// tenant.memories("notes")?.put(Memory::new("k"))?;
/// let commits = tenant.stats()?.commit_micros;
/// assert_eq!(commits.count(), 1);
/// assert!(commits.quantile(0.5) <= commits.max() && commits.mean() > 0.0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    /// How many values were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The greatest value.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 without values.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// A value that this share of the values does not exceed, known to a fifth of itself: 0.5 for the median, 0.99 for
    /// the slowest hundredth. 0 without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= share.clamp(0.0, 1.0) * self.count as f64 {
                return upper(at).min(self.max);
            }
        }
        self.max
    }
}

/// Values up to 4 have buckets of their own; beyond, the power of two and its next two bits choose.
fn bucket(value: u64) -> usize {
    let value = value.max(1);
    let power = 63 - value.leading_zeros();
    let step = if power >= 2 { value >> (power - 2) & 3 } else { value << (2 - power) & 3 };
    // At most 63 * 4 + 3.
    power as usize * STEPS + usize::try_from(step).unwrap_or(0)
}

/// The greatest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let (power, step) = (bucket / STEPS, (bucket % STEPS) as u64);
    let power = u32::try_from(power).unwrap_or(63).min(63);
    if power < 2 {
        return (4 + step) << power >> 2;
    }
    let width = 1_u64 << (power - 2);
    (4 + step).saturating_mul(width).saturating_add(width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_close_above_it() {
        for value in (0..2_000).chain((0..64).flat_map(|power| [1_u64 << power, (1 << power) + 1, u64::MAX >> power])) {
            let end = upper(bucket(value));
            assert!(end >= value, "{value} in a bucket that ends at {end}");
            assert!(end as f64 <= value.max(1) as f64 * 1.25, "{value} in a bucket that ends at {end}");
        }
    }

    #[test]
    fn quantiles_are_close() {
        let meter = Meter::default();
        assert_eq!((meter.read().quantile(0.5), meter.read().mean()), (0, 0.0));
        (1..=1_000).for_each(|value| meter.count(value));
        let read = meter.read();
        assert_eq!((read.count(), read.max(), read.mean()), (1_000, 1_000, 500.5));
        for (share, value) in [(0.0, 1), (0.5, 500), (0.9, 900), (0.99, 990), (1.0, 1_000)] {
            let found = read.quantile(share);
            assert!((value..=value * 5 / 4).contains(&found), "{share}: {found}");
        }
    }
}
