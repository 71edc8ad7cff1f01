//! Histograms of signed values, and the choice of a range from a histogram.

/// Number of bins of a histogram. It is odd, so that one bin is centred on 0.
pub const BINS: usize = 2049;
/// Number of bins of the quantized distribution: onnxruntime's default.
const QUANTIZED_BINS: usize = 128;
/// Number of partial histograms of [`Histogram::add`].
const PARTS: usize = 4;
/// As in onnxruntime's `smooth_distribution`.
const EPSILON: f32 = 0.0001;

/// Counts over -limit..=limit in bins of equal width, as in numpy's `histogram`.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The largest magnitude that the bins cover.
    pub limit: f32,
    /// The counts of the [`BINS`] bins.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// An empty histogram. `limit` must be finite and greater than 0.
    pub fn new(limit: f32) -> Self {
        Self {
            limit,
            counts: vec![0; BINS],
        }
    }

    /// Counts each element of `data`, of which there are fewer than 2^32. Values beyond the limit go
    /// to the first or last bin, and NaN to the first.
    pub fn add(&mut self, data: &[f32]) {
        let limit = f64::from(self.limit);
        let per_bin = BINS as f64 / (2.0 * limit);
        // Neighbours often go to the same bin: several counts of it do not wait for each other.
        let mut parts = [[0_u32; BINS]; PARTS];
        let mut bins = [0; 64];
        for block in data.chunks(bins.len()) {
            for (bin, &x) in bins.iter_mut().zip(block) {
                *bin = whole((f64::from(x) + limit) * per_bin);
            }
            for (at, &bin) in bins[..block.len()].iter().enumerate() {
                parts[at % PARTS][bin.min(BINS - 1)] += 1;
            }
        }
        for part in &parts {
            for (count, &more) in self.counts.iter_mut().zip(part) {
                *count += u64::from(more);
            }
        }
    }

    /// Adds the counts of a histogram with the same limit.
    pub fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// The lower edge of bin `index`. `edge(BINS)` is the limit.
    fn edge(&self, index: usize) -> f64 {
        f64::from(self.limit) * (2.0 * index as f64 / BINS as f64 - 1.0)
    }

    /// The share of values beyond `limit`, 0 to 1, counted in whole bins.
    pub fn clipped(&self, limit: f32) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let beyond = (0..BINS)
            .filter(|&bin| {
                let (low, high) = (self.edge(bin), self.edge(bin + 1));
                low >= f64::from(limit) || high <= -f64::from(limit)
            })
            .map(|bin| self.counts[bin])
            .sum::<u64>();
        beyond as f64 / total.max(1) as f64
    }

    /// The magnitude that `percent` (0 to 100) of all values do not exceed, rounded to a bin's
    /// edge.
    pub fn percentile(&self, percent: f64) -> f32 {
        let total: u64 = self.counts.iter().sum();
        let target = total as f64 * percent / 100.0;
        let middle = BINS / 2;
        let mut seen = self.counts[middle] as f64;
        for ring in 1..=middle {
            if seen >= target {
                return self.edge(middle + ring) as f32;
            }
            seen += (self.counts[middle + ring] + self.counts[middle - ring]) as f64;
        }
        self.limit
    }

    /// The limit with the least squared error of rounding and clipping. Each bin is represented
    /// by its centre. There is one candidate limit for each bin on one side.
    pub fn least_squares(&self) -> f32 {
        let middle = BINS / 2;
        let width = 2.0 * f64::from(self.limit) / BINS as f64;
        // Magnitude and count of each pair of bins at the same distance from the middle bin.
        let rings: Vec<(f64, f64)> = (1..=middle)
            .map(|ring| {
                let count = self.counts[middle + ring] + self.counts[middle - ring];
                (ring as f64 * width, count as f64)
            })
            .filter(|&(_, count)| count > 0.0)
            .collect();
        let error = |limit: f64| -> f64 {
            let scale = limit / 127.0;
            let each = rings.iter().map(|&(x, count)| {
                let quantized = (x / scale).round_ties_even().min(127.0);
                let deviation = quantized * scale - x;
                deviation * deviation * count
            });
            each.sum()
        };
        let mut best = (f64::INFINITY, f64::from(self.limit));
        for ring in 1..=middle {
            let limit = self.edge(middle + ring + 1);
            let found = error(limit);
            if found < best.0 {
                best = (found, limit);
            }
        }
        best.1 as f32
    }

    /// The limit whose quantized distribution has the least Kullback-Leibler divergence from the
    /// observed distribution: Migacz, "8-bit Inference with TensorRT" (GTC 2017). The computation
    /// follows onnxruntime's `HistogramCollector.get_entropy_threshold`, including its integer
    /// divisions.
    pub fn least_divergence(&self) -> f32 {
        let middle = BINS / 2;
        let half = QUANTIZED_BINS / 2;
        let mut best = (f64::INFINITY, f64::from(self.limit));
        for reach in half..=middle {
            let (start, end) = (middle - reach, (middle + reach + 1).min(BINS));
            let Some(divergence) = self.divergence(start, end) else {
                continue;
            };
            if divergence < best.0 {
                best = (divergence, self.edge(end));
            }
        }
        (best.1 as f32).min(self.limit)
    }

    /// The divergence for the bins `start..end`. Counts outside are added to the first and last
    /// bin.
    fn divergence(&self, start: usize, end: usize) -> Option<f64> {
        let inside = &self.counts[start..end];
        let mut p = inside.to_vec();
        let last = p.len() - 1;
        p[0] += self.counts[..start].iter().sum::<u64>();
        p[last] += self.counts[end..].iter().sum::<u64>();
        let each = inside.len() / QUANTIZED_BINS;
        let mut q = vec![0_u64; p.len()];
        for bin in 0..QUANTIZED_BINS {
            let bins = bin * each..(bin + 1) * each;
            let mut merged: u64 = inside[bins.clone()].iter().sum();
            if bin == QUANTIZED_BINS - 1 {
                merged += inside[QUANTIZED_BINS * each..].iter().sum::<u64>();
            }
            let filled = p[bins.clone()].iter().filter(|&&count| count != 0).count();
            if filled != 0 {
                q[bins].fill(merged / filled as u64);
            }
        }
        let (p, q) = (smooth(&p)?, smooth(&q)?);
        let sum = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>();
        let (p_sum, q_sum) = (sum(&p), sum(&q));
        let each = p.iter().zip(&q).map(|(&p, &q)| {
            let (p, q) = (f64::from(p) / p_sum, f64::from(q) / q_sum);
            p * libm::log(p / q)
        });
        Some(each.sum())
    }
}

/// The bin of a place, rounded down, at least the first and at most the last. NaN gives the first. It
/// has no conversion to an integer, so that the compiler vectorizes it.
#[inline(always)]
fn whole(place: f64) -> usize {
    const LAST: f64 = (BINS - 1) as f64;
    /// A sum with 2^52 has no bits for a fraction: the integer is in its lowest bits.
    const ROUNDER: f64 = (1_u64 << 52) as f64;
    let place = if place > 0.0 { place } else { 0.0 };
    let place = if place < LAST { place } else { LAST };
    let sum = place + ROUNDER;
    let rounded_up = u64::from(sum - ROUNDER > place);
    ((sum.to_bits() & 0xffff) - rounded_up) as usize
}

/// Replaces zeros by [`EPSILON`] and subtracts the sum of these evenly from the other counts.
/// `None` if all counts are zero.
fn smooth(counts: &[u64]) -> Option<Vec<f32>> {
    let zeros = counts.iter().filter(|&&count| count == 0).count();
    let filled = counts.len() - zeros;
    if filled == 0 {
        return None;
    }
    let less = EPSILON * zeros as f32 / filled as f32;
    let smoothed = counts.iter().map(|&count| match count {
        0 => EPSILON,
        count => count as f32 - less,
    });
    Some(smoothed.collect())
}
