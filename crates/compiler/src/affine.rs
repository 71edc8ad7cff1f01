//! Scale and shift per channel, as in batch norm and input normalization.

/// x * scale + shift for each channel. Computed in f64, so that folding several of them into each
/// other and into weights rounds to f32 only once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Affine {
    /// One factor for each channel.
    pub(crate) scale: Vec<f64>,
    /// Added after scaling.
    pub(crate) shift: Vec<f64>,
}

impl Affine {
    /// `self` first, then `next` on its result. Both have the same number of channels.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let pairs = self.shift.iter().zip(next.scale.iter().zip(&next.shift));
        Self {
            scale: self
                .scale
                .iter()
                .zip(&next.scale)
                .map(|(a, b)| a * b)
                .collect(),
            shift: pairs.map(|(shift, (a, b))| shift * a + b).collect(),
        }
    }

    /// Rounded to f32.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn to_f32(&self) -> (Vec<f32>, Vec<f32>) {
        let round = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        (round(&self.scale), round(&self.shift))
    }
}

/// ONNX: (x - mean) / sqrt(variance + epsilon) * scale + bias.
pub(crate) fn from_batch_normalization(
    scale: &[f32],
    bias: &[f32],
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
) -> Affine {
    let scale: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&s, &v)| f64::from(s) / (f64::from(v) + f64::from(epsilon)).sqrt())
        .collect();
    let shift = bias
        .iter()
        .zip(mean.iter().zip(&scale))
        .map(|(&b, (&m, s))| f64::from(b) - f64::from(m) * s)
        .collect();
    Affine { scale, shift }
}
