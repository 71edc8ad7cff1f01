//! The epilogue of sums that become f32 outputs.

use crate::kernels::activation;
use crate::kernels::quantized::EpilogueKernel;
use crate::plan::Activation;

impl EpilogueKernel {
    /// Converts the i32 sums of a pixel's channels from `first` on to f32 outputs, in place.
    /// `multiplier` starts with that of the first channel; `scale` is the input's scale, which
    /// only a dynamic epilogue uses.
    pub(super) fn finish(&self, multiplier: &[f32], first: usize, scale: f32, sums: &mut [f32]) {
        let multiplier = &multiplier[..sums.len()];
        let sum = |x: f32| x.to_bits().cast_signed() as f32;
        let curve = match self {
            Self::Dynamic { bias, curve } => {
                let bias = &bias[first..][..sums.len()];
                for ((x, &m), &bias) in sums.iter_mut().zip(multiplier).zip(bias) {
                    let product = sum(*x) * (scale * m);
                    *x = product + bias;
                }
                *curve
            }
            Self::Float { curve } => {
                for (x, &m) in sums.iter_mut().zip(multiplier) {
                    *x = sum(*x) * m;
                }
                *curve
            }
            Self::Int8 { .. } => Activation::None,
        };
        activation::apply(curve, sums);
    }
}
