//! Batch normalization (Ioffe, Szegedy, "Batch Normalization", 2015) and dropout (Srivastava et
//! al., "Dropout", 2014).

use crate::random::Random;

use super::Accumulate;

/// The memory order of a normalized value: runs of `inner` elements of each channel in turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Channels {
    pub(crate) channels: usize,
    pub(crate) inner: usize,
}

impl Channels {
    /// The number of elements of each channel in `size` elements.
    pub(crate) fn count(self, size: usize) -> usize {
        size / self.channels.max(1)
    }

    /// The elements of one run for each channel.
    fn block(self) -> usize {
        (self.channels * self.inner).max(1)
    }

    /// The sums and the sums of squares of each channel.
    pub(crate) fn moments(self, x: &[f32]) -> [Vec<f64>; 2] {
        self.sums(x, x, |_, x, _| [x.into(), f64::from(x) * f64::from(x)])
    }

    /// The sums of two terms over the elements of each channel. A term depends on the channel and
    /// on the elements of both values.
    #[inline(always)]
    fn sums(
        self,
        a: &[f32],
        b: &[f32],
        terms: impl Fn(usize, f32, f32) -> [f64; 2],
    ) -> [Vec<f64>; 2] {
        let [mut first, mut second] = [vec![0.0; self.channels], vec![0.0; self.channels]];
        let blocks = a
            .chunks_exact(self.block())
            .zip(b.chunks_exact(self.block()));
        for (a, b) in blocks {
            if self.inner == 1 {
                let sums = first.iter_mut().zip(&mut second);
                let elements = a.iter().zip(b).enumerate();
                for ((first, second), (channel, (&a, &b))) in sums.zip(elements) {
                    let [one, two] = terms(channel, a, b);
                    *first += one;
                    *second += two;
                }
                continue;
            }
            let runs = a.chunks_exact(self.inner).zip(b.chunks_exact(self.inner));
            for (channel, (a, b)) in runs.enumerate() {
                for (&a, &b) in a.iter().zip(b) {
                    let [one, two] = terms(channel, a, b);
                    first[channel] += one;
                    second[channel] += two;
                }
            }
        }
        [first, second]
    }

    /// Calls `each` with the channel, the element of `to` and those of both values.
    #[inline(always)]
    fn map(self, a: &[f32], b: &[f32], to: &mut [f32], each: impl Fn(usize, &mut f32, f32, f32)) {
        let block = self.block();
        let blocks = a.chunks_exact(block).zip(b.chunks_exact(block));
        for (to, (a, b)) in to.chunks_exact_mut(block).zip(blocks) {
            if self.inner == 1 {
                let elements = to.iter_mut().zip(a.iter().zip(b)).enumerate();
                elements.for_each(|(channel, (to, (&a, &b)))| each(channel, to, a, b));
                continue;
            }
            let runs = a.chunks_exact(self.inner).zip(b.chunks_exact(self.inner));
            let runs = to.chunks_exact_mut(self.inner).zip(runs).enumerate();
            for (channel, (to, (a, b))) in runs {
                for (to, (&a, &b)) in to.iter_mut().zip(a.iter().zip(b)) {
                    each(channel, to, a, b);
                }
            }
        }
    }

    /// y = (x - mean) * deviation * scale + bias, where `deviation` is the reciprocal of the
    /// standard deviation.
    pub(crate) fn normalize(
        self,
        x: &[f32],
        statistics: &Statistics,
        [scale, bias]: [&[f32]; 2],
        y: &mut [f32],
    ) {
        let factors: Vec<f32> = statistics.factors(scale);
        let mean = &statistics.mean[..self.channels];
        let (factors, bias) = (&factors[..self.channels], &bias[..self.channels]);
        self.map(x, x, y, |channel, y, x, _| {
            *y = (x - mean[channel]) * factors[channel] + bias[channel];
        });
    }

    /// For each channel the sum of the gradient, and of the gradient times the normalized value:
    /// the gradients of bias and scale.
    pub(crate) fn gradient_sums(
        self,
        x: &[f32],
        statistics: &Statistics,
        gradient: &[f32],
    ) -> [Vec<f64>; 2] {
        let (mean, deviation) = (&statistics.mean, &statistics.deviation);
        self.sums(gradient, x, |channel, g, x| {
            let normalized = (x - mean[channel]) * deviation[channel];
            [g.into(), f64::from(g * normalized)]
        })
    }

    /// The gradient of the input. `means` are the means over the batch of the gradient and of the
    /// gradient times the normalized value; `None` if the statistics are constants.
    pub(crate) fn input_gradient(
        self,
        (x, statistics): (&[f32], &Statistics),
        scale: &[f32],
        (gradient, means): (&[f32], Option<&[Vec<f64>; 2]>),
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        let factors: Vec<f32> = statistics.factors(scale);
        let means = match means {
            Some(means) => means.clone(),
            None => [vec![0.0; self.channels], vec![0.0; self.channels]],
        };
        let [shift, slope] =
            means.map(|means| -> Vec<f32> { means.into_iter().map(|mean| mean as f32).collect() });
        let (mean, deviation) = (&statistics.mean, &statistics.deviation);
        self.map(gradient, x, to, |channel, to, g, x| {
            let normalized = (x - mean[channel]) * deviation[channel];
            let centred = g - shift[channel] - normalized * slope[channel];
            accumulate.put(to, centred * factors[channel]);
        });
    }
}

/// Mean and reciprocal standard deviation of each channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) deviation: Vec<f32>,
}

impl Statistics {
    /// What each channel is multiplied by.
    fn factors(&self, scale: &[f32]) -> Vec<f32> {
        let both = self.deviation.iter().zip(scale);
        both.map(|(deviation, scale)| deviation * scale).collect()
    }

    /// From mean and variance.
    pub(crate) fn new(mean: &[f32], variance: &[f32], epsilon: f32) -> Self {
        let each = variance.iter().map(|&v| {
            let sum = f64::from(v) + f64::from(epsilon);
            (1.0 / sum.sqrt()) as f32
        });
        Self {
            mean: mean.to_vec(),
            deviation: each.collect(),
        }
    }
}

/// Sets each element to 0 with probability `share`, and divides the others by the remaining share.
/// `factors` receives what each element was multiplied by.
pub(crate) fn drop(share: f32, random: &mut Random, data: &mut [f32], factors: &mut [f32]) {
    let kept = 1.0 / (1.0 - share);
    for (x, factor) in data.iter_mut().zip(factors) {
        let dropped = random.unit() < f64::from(share);
        *factor = if dropped { 0.0 } else { kept };
        *x *= *factor;
    }
}
