//! How long things take, counted without a lock: two additions for each.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Seconds; from a cached token's request to a provider that is given up on.
const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];
/// The same in nanoseconds, so that a count takes comparisons only.
const NANOSECONDS: [u64; BOUNDS.len()] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// A histogram of seconds. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many fell under each bound and above the one before; the last are those above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Times {
    pub(crate) fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let place = NANOSECONDS.iter().position(|bound| nanoseconds <= *bound);
        self.0.buckets[place.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().copied();
        let counts = self.0.buckets.iter().map(|count| count.load(Relaxed));
        bounds.chain([f64::INFINITY]).zip(counts).collect()
    }
}

impl TypedMetric for Times {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets = self.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.nanoseconds.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_bounds_are_the_same() {
        for (seconds, nanoseconds) in BOUNDS.iter().zip(NANOSECONDS) {
            assert_eq!(
                Duration::from_secs_f64(*seconds),
                Duration::from_nanos(nanoseconds)
            );
        }
    }

    #[test]
    fn each_time_falls_under_its_bound() {
        let times = Times::default();
        for micros in [0, 500, 501, 30_000_000, 30_000_001] {
            times.clone().observe(Duration::from_micros(micros));
        }
        let counts: Vec<(f64, u64)> = times
            .buckets()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counts, [(0.0005, 2), (0.001, 1), (30.0, 1), (f64::INFINITY, 1)]);
        assert_eq!(times.0.nanoseconds.load(Relaxed), 60_001_002_000);
    }
}
