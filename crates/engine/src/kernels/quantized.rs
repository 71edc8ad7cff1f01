//! INT8 layers: the plain loops that define the arithmetic (see [`Epilogue`](crate::plan::Epilogue))
//! of convolutions and fully connected layers, and the other operations on i8.

use super::activation;
use super::convolution::ConvolutionShape;
use crate::instruction_set::{Available, InstructionSet};
use crate::plan::Activation;

/// Units (output channels) that are computed in one pass over their inputs. Their sums
/// stay in registers or the level 1 cache.
const BLOCK: usize = 64;

/// The epilogue of a layer: [`Epilogue`](crate::plan::Epilogue) with its constants.
#[derive(Debug)]
pub(crate) enum EpilogueKernel {
    Int8 { low: i8, high: i8 },
    Float { curve: Activation },
    Dynamic { bias: Vec<f32>, curve: Activation },
}

/// A layer's weights, packed in the order in which its loops read them.
#[derive(Debug)]
enum Weights {
    /// For each group, for each block of its units: (taps, units of the block).
    Blocks(Vec<i8>),
    /// (kH, kW, channels): each channel has its own kernel, so that adjacent channels are
    /// the lanes of a vector.
    Depthwise(Vec<i16>),
}

impl Weights {
    fn in_blocks(shape: &ConvolutionShape, weights: &[i8]) -> Self {
        let taps = shape.axes[0].kernel * shape.axes[1].kernel * shape.depth;
        let mut packed = Vec::with_capacity(weights.len());
        for group in 0..shape.groups {
            for first in (0..shape.units).step_by(BLOCK) {
                let units = first..shape.units.min(first + BLOCK);
                for tap in 0..taps {
                    let of = |unit| weights[(group * shape.units + unit) * taps + tap];
                    packed.extend(units.clone().map(of));
                }
            }
        }
        Self::Blocks(packed)
    }

    fn depthwise(shape: &ConvolutionShape, weights: &[i8]) -> Self {
        let taps = shape.axes[0].kernel * shape.axes[1].kernel;
        let of = |place| weights[place % shape.groups * taps + place / shape.groups];
        Self::Depthwise((0..weights.len()).map(|place| of(place).into()).collect())
    }
}

/// A layer ready to run.
#[derive(Debug)]
pub(crate) struct QuantizedConvolution {
    shape: ConvolutionShape,
    weights: Weights,
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    epilogue: EpilogueKernel,
}

impl QuantizedConvolution {
    /// `weights` is (groups * units, kH, kW, depth). [`InstructionSet::Scalar`] uses the
    /// loops of the definition for every shape.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[i8],
        bias: Option<&[i32]>,
        multiplier: &[f32],
        epilogue: EpilogueKernel,
        instruction_set: Available,
    ) -> Self {
        let depthwise = shape.is_depthwise() && instruction_set.set() != InstructionSet::Scalar;
        Self {
            shape,
            weights: match depthwise {
                true => Weights::depthwise(&shape, weights),
                false => Weights::in_blocks(&shape, weights),
            },
            bias: bias.map_or_else(|| vec![0; shape.groups * shape.units], <[i32]>::to_vec),
            multiplier: multiplier.to_vec(),
            epilogue,
        }
    }

    /// Bytes of the packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        match &self.weights {
            Weights::Blocks(weights) => weights.len(),
            Weights::Depthwise(weights) => size_of_val(&weights[..]),
        }
    }

    pub(crate) fn ending(&self) -> &EpilogueKernel {
        &self.epilogue
    }

    /// Runs a layer with i8 output.
    #[inline(always)]
    pub(crate) fn run_to_i8(&self, low: i8, high: i8, input: &[i8], output: &mut [i8]) {
        let (low, high) = (i32::from(low), i32::from(high));
        self.run(input, output, |unit, sums, output| {
            let multiplier = &self.multiplier[unit..][..sums.len()];
            for ((o, &sum), &m) in output.iter_mut().zip(sums).zip(multiplier) {
                // The cast to i32 saturates; the limits are within i8.
                let quantized = (sum as f32 * m).round_ties_even() as i32;
                *o = quantized.clamp(low, high) as i8;
            }
        });
    }

    /// Runs a layer with f32 output.
    #[inline(always)]
    pub(crate) fn run_to_f32(&self, function: Activation, input: &[i8], output: &mut [f32]) {
        self.run(input, output, |unit, sums, output| {
            let multiplier = &self.multiplier[unit..][..sums.len()];
            for ((o, &sum), &m) in output.iter_mut().zip(sums).zip(multiplier) {
                *o = sum as f32 * m;
            }
            activation::apply(function, output);
        });
    }

    /// Runs a layer whose input was quantized at run time with `scale`.
    #[inline(always)]
    pub(crate) fn run_dynamic(
        &self,
        (bias, function): (&[f32], Activation),
        scale: f32,
        input: &[i8],
        output: &mut [f32],
    ) {
        self.run(input, output, |unit, sums, output| {
            let multiplier = &self.multiplier[unit..][..sums.len()];
            let bias = &bias[unit..][..sums.len()];
            let numbers = multiplier.iter().zip(bias);
            for ((o, &sum), (&m, &bias)) in output.iter_mut().zip(sums).zip(numbers) {
                let product = sum as f32 * (scale * m);
                *o = product + bias;
            }
            activation::apply(function, output);
        });
    }

    /// Computes the sums of each pixel and block of units. Calls `finish` with the index of
    /// the block's first unit, the sums and the block's outputs.
    #[inline(always)]
    fn run<T>(&self, input: &[i8], output: &mut [T], finish: impl Fn(usize, &[i32], &mut [T])) {
        if output.is_empty() {
            return;
        }
        match &self.weights {
            Weights::Blocks(weights) => self.run_blocks(weights, input, output, finish),
            Weights::Depthwise(weights) => self.run_depthwise(weights, input, output, finish),
        }
    }

    #[inline(always)]
    fn run_depthwise<T>(
        &self,
        weights: &[i16],
        input: &[i8],
        output: &mut [T],
        finish: impl Fn(usize, &[i32], &mut [T]),
    ) {
        let [down, across] = &self.shape.axes;
        let channels = self.shape.groups;
        let [height, width] = self.shape.output;
        let mut sums = [0_i32; BLOCK];
        for (pixel, output) in output.chunks_exact_mut(channels).enumerate() {
            let (batch, y, x) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            for (block, output) in output.chunks_mut(BLOCK).enumerate() {
                let first = block * BLOCK;
                let sums = &mut sums[..output.len()];
                sums.copy_from_slice(&self.bias[first..][..output.len()]);
                for row in down.taps(y) {
                    for column in across.taps(x) {
                        let place = (batch * down.size + down.position(y, row)) * across.size
                            + across.position(x, column);
                        let input = &input[place * channels + first..][..output.len()];
                        let tap = row * across.kernel + column;
                        let weights = &weights[tap * channels + first..][..output.len()];
                        for ((sum, &value), &weight) in sums.iter_mut().zip(input).zip(weights) {
                            // The product is at most 128 * 128, which fits i16.
                            *sum += i32::from(i16::from(value).wrapping_mul(weight));
                        }
                    }
                }
                finish(first, sums, output);
            }
        }
    }

    #[inline(always)]
    fn run_blocks<T>(
        &self,
        weights: &[i8],
        input: &[i8],
        output: &mut [T],
        finish: impl Fn(usize, &[i32], &mut [T]),
    ) {
        let shape = &self.shape;
        let [down, across] = &shape.axes;
        let channels = shape.depth * shape.groups;
        let [height, width] = shape.output;
        let taps = down.kernel * across.kernel * shape.depth;
        let mut sums = [0_i32; BLOCK];
        let pixels = output.chunks_exact_mut(shape.units * shape.groups);
        for (pixel, output) in pixels.enumerate() {
            let (batch, y, x) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            for (group, output) in output.chunks_exact_mut(shape.units).enumerate() {
                for (block, output) in output.chunks_mut(BLOCK).enumerate() {
                    let unit = group * shape.units + block * BLOCK;
                    let sums = &mut sums[..output.len()];
                    sums.copy_from_slice(&self.bias[unit..][..output.len()]);
                    let weights = &weights[unit * taps..][..output.len() * taps];
                    for row in down.taps(y) {
                        for column in across.taps(x) {
                            let place = (batch * down.size + down.position(y, row)) * across.size
                                + across.position(x, column);
                            let input =
                                &input[place * channels + group * shape.depth..][..shape.depth];
                            let tap = (row * across.kernel + column) * shape.depth;
                            let weights = &weights[tap * sums.len()..];
                            for (&value, weights) in
                                input.iter().zip(weights.chunks_exact(sums.len()))
                            {
                                let value = i32::from(value);
                                for (sum, &weight) in sums.iter_mut().zip(weights) {
                                    *sum += value * i32::from(weight);
                                }
                            }
                        }
                    }
                    finish(unit, sums, output);
                }
            }
        }
    }
}

/// Replaces each element x by the table's entry at x + 128.
#[inline(always)]
pub(crate) fn look_up(table: &[i8], input: &[i8], output: &mut [i8]) {
    for (o, &x) in output.iter_mut().zip(input) {
        *o = table[usize::from((x.cast_unsigned()) ^ 0x80)];
    }
}

/// See [`Operation::DynamicScale`](crate::plan::Operation::DynamicScale).
#[inline(always)]
pub(crate) fn dynamic_scale(input: &[f32]) -> f32 {
    // The largest magnitude does not depend on the order of the elements. NaNs are ignored.
    // `DynamicQuantize` then maps a NaN to 0 and an infinity to the limit of i8.
    let largest = input.iter().fold(0.0_f32, |most, &x| {
        let x = x.abs();
        if x > most { x } else { most }
    });
    let scale = largest / 127.0;
    if scale > 0.0 && scale.is_finite() {
        scale
    } else {
        1.0
    }
}
