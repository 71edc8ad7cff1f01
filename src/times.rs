//! Repeated measurements, and their summary.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A p99 above this many medians counts as disturbed.
const QUIET: f64 = 1.3;

/// One measurement, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// From the start of the series to the start of this measurement.
    pub(crate) at: u64,
    pub(crate) took: u64,
}

/// Percentiles of a repeated measurement, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// The number of measurements.
    pub(crate) count: usize,
    pub(crate) mean_us: f64,
    pub(crate) fastest_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

impl Times {
    /// From nanoseconds; sorts `nanos`.
    pub(crate) fn of(nanos: &mut [u64]) -> Self {
        nanos.sort_unstable();
        let sum: u128 = nanos.iter().map(|&nanos| u128::from(nanos)).sum();
        let at = |quantile: f64| micros(nanos, quantile);
        Self {
            count: nanos.len(),
            mean_us: sum as f64 / nanos.len().max(1) as f64 * 1e-3,
            fastest_us: at(0.0),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
        }
    }

    /// Whether one measurement in a hundred took much longer than the median.
    pub(crate) fn disturbed(&self) -> bool {
        self.p99_us > QUIET * self.p50_us
    }

    /// The p99 as a multiple of the median.
    pub(crate) fn tail(&self) -> f64 {
        self.p99_us / self.p50_us.max(f64::MIN_POSITIVE)
    }
}

/// The `quantile` of `sorted`, converted to microseconds.
fn micros(sorted: &[u64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    let nanos = sorted.get(rank.saturating_sub(1)).copied();
    nanos.unwrap_or(0) as f64 * 1e-3
}

/// Saturates at the largest u64.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_an_upper_bound_of_its_share() {
        let mut nanos: Vec<u64> = (1..=1000).rev().map(|n| n * 1000).collect();
        let times = Times::of(&mut nanos);
        assert_eq!((times.count, times.mean_us), (1000, 500.5));
        assert_eq!((times.fastest_us, times.p50_us), (1.0, 500.0));
        assert_eq!((times.p90_us, times.p99_us), (900.0, 990.0));
        assert_eq!((times.p999_us, times.max_us), (999.0, 1000.0));
        let one = Times::of(&mut [7000]);
        assert_eq!((one.fastest_us, one.p50_us, one.max_us), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_long_tail_indicates_a_disturbance() {
        let quiet = Times::of(&mut [100; 200]);
        assert!(!quiet.disturbed());
        let mut nanos = [100; 200];
        nanos[..5].fill(140);
        let times = Times::of(&mut nanos);
        assert!(times.disturbed());
        assert!((times.tail() - 1.4).abs() < 1e-9);
    }
}
