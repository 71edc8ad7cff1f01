//! How often which magnitudes were seen, and which range to keep of them.

/// Bins of a histogram: odd, so that one lies around 0.
pub const BINS: usize = 2049;
/// Levels of the coarser distribution: onnxruntime's default.
const LEVELS: usize = 128;
/// As onnxruntime's `smooth_distribution`.
const EPSILON: f32 = 0.0001;

/// Counts over -limit..=limit in bins of one width, as numpy's `histogram` has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The largest magnitude seen.
    pub limit: f32,
    /// [`BINS`] of them.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(limit: f32) -> Self {
        Self {
            limit,
            counts: vec![0; BINS],
        }
    }

    /// Counts each of `data`; what is beyond the limit goes to the last bins.
    pub fn add(&mut self, data: &[f32]) {
        let limit = f64::from(self.limit);
        let per_bin = BINS as f64 / (2.0 * limit);
        for &x in data {
            // The cast saturates, a NaN is 0.
            let bin = ((f64::from(x) + limit) * per_bin) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Adds another of the same limit.
    pub fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// Where bin `index` begins; the last ends at the limit.
    fn edge(&self, index: usize) -> f64 {
        f64::from(self.limit) * (2.0 * index as f64 / BINS as f64 - 1.0)
    }

    /// The share of what was seen that lies beyond `limit`, by whole bins.
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

    /// The magnitude that `percent` of all magnitudes do not exceed.
    pub fn percentile(&self, percent: f64) -> f32 {
        let total: u64 = self.counts.iter().sum();
        let wanted = total as f64 * percent / 100.0;
        let middle = BINS / 2;
        let mut seen = self.counts[middle] as f64;
        for ring in 1..=middle {
            if seen >= wanted {
                return self.edge(middle + ring) as f32;
            }
            seen += (self.counts[middle + ring] + self.counts[middle - ring]) as f64;
        }
        self.limit
    }

    /// The limit with the least squared error of rounding and cutting off, each
    /// bin taken at its middle; among as many limits as there are bins on a side.
    pub fn least_squares(&self) -> f32 {
        let middle = BINS / 2;
        let width = 2.0 * f64::from(self.limit) / BINS as f64;
        // Rings around the middle bin: their magnitude and count.
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
                let level = (x / scale).round_ties_even().min(127.0);
                let miss = level * scale - x;
                miss * miss * count
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

    /// The limit whose quantised distribution diverges least (Kullback-Leibler)
    /// from what was seen: Migacz, "8-bit Inference with TensorRT" (GTC 2017), in
    /// the form that onnxruntime's `HistogramCollector.get_entropy_threshold`
    /// gives it, integer division included.
    pub fn least_divergence(&self) -> f32 {
        let middle = BINS / 2;
        let half = LEVELS / 2;
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

    /// Of the bins `start..end`, what is outside put into the first and last.
    fn divergence(&self, start: usize, end: usize) -> Option<f64> {
        let inside = &self.counts[start..end];
        let mut p = inside.to_vec();
        let last = p.len() - 1;
        p[0] += self.counts[..start].iter().sum::<u64>();
        p[last] += self.counts[end..].iter().sum::<u64>();
        let each = inside.len() / LEVELS;
        let mut q = vec![0_u64; p.len()];
        for level in 0..LEVELS {
            let bins = level * each..(level + 1) * each;
            let mut merged: u64 = inside[bins.clone()].iter().sum();
            if level == LEVELS - 1 {
                merged += inside[LEVELS * each..].iter().sum::<u64>();
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

/// Zeros become a little, taken off the rest; none where all are zeros.
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
