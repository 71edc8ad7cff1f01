//! The size of the simulator's network, and the statistics of an input.

/// Height of the network's input picture, in pixels.
pub const HEIGHT: usize = 66;
/// Width of the network's input picture, in pixels.
pub const WIDTH: usize = 200;
/// Bytes of one input picture: rows of interleaved RGB.
pub const PICTURE: usize = HEIGHT * WIDTH * 3;
/// The number of outputs: normalised speed and yaw rate.
pub const OUTPUTS: usize = 2;
/// Added to the variance when the input is normalised.
pub const EPSILON: f32 = 1e-3;

/// Mean and variance of the input, by colour.
///
/// They are those of the input's batch normalization. They are measured once on the data set. Scale
/// and shift stay 1 and 0, because the first convolution has no padding and can express any scale
/// and shift itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// Mean of each colour.
    pub mean: [f32; 3],
    /// Variance of each colour.
    pub variance: [f32; 3],
}

impl Statistics {
    /// Measures `pictures`, which are interleaved RGB bytes, one picture after another, on a scale
    /// of 0 to 1.
    pub fn measure(pictures: &[u8]) -> Self {
        let mut counts = [[0u64; 256]; 3];
        for pixel in pictures.chunks_exact(3) {
            for (count, &value) in counts.iter_mut().zip(pixel) {
                count[usize::from(value)] += 1;
            }
        }
        Self::of_counts(&counts, |_, byte| byte as f64 / 255.0)
    }

    /// The statistics of values that follow from bytes. `counts` are the numbers of pixels with each
    /// byte, by colour, and `value` is a byte's value in a colour. A colour without pixels has the
    /// mean 0 and the variance 0.
    pub fn of_counts(counts: &[[u64; 256]; 3], value: impl Fn(usize, usize) -> f64) -> Self {
        let mut statistics = Self {
            mean: [0.0; 3],
            variance: [0.0; 3],
        };
        for (colour, counts) in counts.iter().enumerate() {
            let pixels = counts.iter().sum::<u64>().max(1) as f64;
            let moment = |power: i32| {
                let all = counts.iter().enumerate();
                all.map(|(byte, &count)| count as f64 * value(colour, byte).powi(power))
                    .sum::<f64>()
                    / pixels
            };
            let mean = moment(1);
            statistics.mean[colour] = mean as f32;
            statistics.variance[colour] = (moment(2) - mean * mean).max(0.0) as f32;
        }
        statistics
    }
}
