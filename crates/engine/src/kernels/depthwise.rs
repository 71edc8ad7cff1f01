//! Depthwise convolution on NHWC: each channel has its own kernel, so that adjacent
//! channels are the lanes of a vector.

mod row;
mod vector;

pub(crate) use self::vector::VectorDepthwise;
use super::activation;
use super::convolution::ConvolutionShape;
use crate::plan::Activation;

/// A depthwise convolution as plain loops: products are added in the order of the kernel's rows
/// and columns, and no multiply-add is fused.
#[derive(Debug)]
pub(crate) struct Depthwise {
    shape: ConvolutionShape,
    /// (kH, kW, channels)
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Depthwise {
    /// `weights` is (channels, kH, kW, 1).
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Self {
        let channels = shape.groups;
        let taps = shape.axes[0].kernel * shape.axes[1].kernel;
        let packed = (0..taps * channels)
            .map(|place| weights[place % channels * taps + place / channels])
            .collect();
        Self {
            shape,
            weights: packed,
            bias: bias.map_or_else(|| vec![0.0; channels], <[f32]>::to_vec),
            activation,
        }
    }

    #[inline(always)]
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let [down, across] = &self.shape.axes;
        let channels = self.shape.groups;
        let [height, width] = self.shape.output;
        for (pixel, output) in output.chunks_exact_mut(channels).enumerate() {
            let (batch, y, x) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            output.copy_from_slice(&self.bias);
            for row in down.taps(y) {
                for column in across.taps(x) {
                    let place = (batch * down.size + down.position(y, row)) * across.size
                        + across.position(x, column);
                    let input = &input[place * channels..][..channels];
                    let tap = row * across.kernel + column;
                    let weights = &self.weights[tap * channels..][..channels];
                    for ((sum, &value), &weight) in output.iter_mut().zip(input).zip(weights) {
                        *sum += value * weight;
                    }
                }
            }
            activation::apply(self.activation, output);
        }
    }
}

/// Divides channels into blocks of the given sizes, the most first. Returns the first channel,
/// the channels and the size of each. The last block may repeat channels of the block before it;
/// only a layer with fewer channels than the least size has a block that is not full.
pub(super) fn divide(channels: usize, sizes: &[usize]) -> Vec<(usize, usize, usize)> {
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < channels {
        let left = channels - first;
        let fits = |size: &&usize| **size <= channels;
        let all = sizes.iter().rev().filter(fits).find(|&&size| size >= left);
        match all.or(sizes.iter().find(fits)) {
            Some(&size) => {
                let start = first.min(channels - size);
                blocks.push((start, size, size));
                first = start + size;
            }
            None => {
                blocks.extend(sizes.last().map(|&size| (0, channels, size)));
                break;
            }
        }
    }
    blocks
}
