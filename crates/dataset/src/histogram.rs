//! How values of -1 to 1 are distributed.

/// Bars of a histogram.
pub const BARS: usize = 11;
/// The values that a histogram's range may end at.
const LIMITS: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// The numbers of values, each of -1 to 1, in parts of equal width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram {
    /// The values in each part from `-limit` to `limit`.
    pub bars: [usize; BARS],
    /// The least of 0.02, 0.05, 0.1, 0.2, 0.5 and 1 that is at least every absolute value.
    pub limit: f64,
}

impl Histogram {
    /// Counts the values.
    pub fn of(values: &[f64]) -> Self {
        let largest = values.iter().fold(0.0, |most: f64, it| most.max(it.abs()));
        let mut limits = LIMITS.into_iter();
        let limit = limits.find(|&limit| limit >= largest).unwrap_or(1.0);
        let mut bars = [0; BARS];
        for value in values {
            let place = (value / limit + 1.0) / 2.0 * BARS as f64;
            bars[(place as usize).min(BARS - 1)] += 1;
        }
        Self { bars, limit }
    }
}
