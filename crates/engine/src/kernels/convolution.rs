//! Convolution on NHWC tensors: its geometry, and a scalar reference implementation.

use std::ops::Range;

use super::activation;
use crate::plan::{Activation, Window};

/// The windows of a convolution or pooling along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowAxis {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) pad: usize,
    pub(crate) dilation: usize,
    /// Size of the input along the axis.
    pub(crate) size: usize,
}

impl WindowAxis {
    /// The vertical axis, then the horizontal axis.
    pub(crate) fn both(window: Window, height: usize, width: usize) -> [Self; 2] {
        [(0, height), (1, width)].map(|(axis, size)| Self {
            kernel: window.kernel[axis],
            stride: window.strides[axis],
            pad: window.pads[axis],
            dilation: window.dilations[axis],
            size,
        })
    }

    /// The taps of the window of output index `output` that lie inside the input.
    pub(crate) fn taps(&self, output: usize) -> Range<usize> {
        let start = output * self.stride;
        let first = self.pad.saturating_sub(start).div_ceil(self.dilation);
        let end = (self.size + self.pad)
            .saturating_sub(start)
            .div_ceil(self.dilation);
        let end = end.min(self.kernel);
        first.min(end)..end
    }

    /// The input index of a tap in [`taps`](Self::taps).
    pub(crate) fn position(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap * self.dilation - self.pad
    }
}

/// Sizes of a convolution. A fully connected layer is a convolution with a kernel of one
/// pixel, on an input that is one pixel high.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvolutionShape {
    pub(crate) batch: usize,
    /// Vertical, horizontal.
    pub(crate) axes: [WindowAxis; 2],
    /// Output height, width.
    pub(crate) output: [usize; 2],
    /// Input channels of one group.
    pub(crate) depth: usize,
    /// Output channels of one group.
    pub(crate) units: usize,
    pub(crate) groups: usize,
}

impl ConvolutionShape {
    pub(crate) fn fully_connected(rows: usize, depth: usize, units: usize) -> Self {
        let axis = |size| WindowAxis {
            kernel: 1,
            stride: 1,
            pad: 0,
            dilation: 1,
            size,
        };
        Self {
            batch: 1,
            axes: [axis(1), axis(rows)],
            output: [1, rows],
            depth,
            units,
            groups: 1,
        }
    }

    /// Whether the convolution is depthwise: each channel has its own kernel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.depth == 1 && self.units == 1
    }

    /// Multiply-adds, including those with padding.
    pub(crate) fn multiply_adds(&self) -> u64 {
        [
            self.batch,
            self.output[0],
            self.output[1],
            self.axes[0].kernel,
            self.axes[1].kernel,
            self.depth,
            self.units,
            self.groups,
        ]
        .into_iter()
        .map(|size| size as u64)
        .product()
    }
}

/// The scalar convolution. Each sum starts with the bias, and products are added in the order
/// of the kernel's rows, columns and channels. No multiply-add is fused.
#[derive(Debug)]
pub(crate) struct ScalarConvolution {
    shape: ConvolutionShape,
    /// (groups, kH, kW, depth, units)
    weights: Vec<f32>,
    /// (groups * units)
    bias: Vec<f32>,
    activation: Activation,
}

impl ScalarConvolution {
    /// `weights` is (groups * units, kH, kW, depth).
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) -> Self {
        let taps = shape.axes[0].kernel * shape.axes[1].kernel * shape.depth;
        let mut packed = Vec::with_capacity(weights.len());
        for group in 0..shape.groups {
            for tap in 0..taps {
                for unit in 0..shape.units {
                    packed.push(weights[(group * shape.units + unit) * taps + tap]);
                }
            }
        }
        let bias = bias.map_or_else(|| vec![0.0; shape.groups * shape.units], <[f32]>::to_vec);
        Self {
            shape,
            weights: packed,
            bias,
            activation,
        }
    }

    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let shape = &self.shape;
        let [down, across] = &shape.axes;
        let channels = shape.depth * shape.groups;
        let [height, width] = shape.output;
        let pixels = output.chunks_exact_mut(shape.units * shape.groups);
        for (pixel, output) in pixels.enumerate() {
            let (batch, y, x) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            output.copy_from_slice(&self.bias);
            for (group, output) in output.chunks_exact_mut(shape.units).enumerate() {
                for row in down.taps(y) {
                    for column in across.taps(x) {
                        let place = (batch * down.size + down.position(y, row)) * across.size
                            + across.position(x, column);
                        let input = &input[place * channels + group * shape.depth..][..shape.depth];
                        let tap =
                            ((group * down.kernel + row) * across.kernel + column) * shape.depth;
                        for (depth, &value) in input.iter().enumerate() {
                            let weights =
                                &self.weights[(tap + depth) * shape.units..][..shape.units];
                            for (sum, &weight) in output.iter_mut().zip(weights) {
                                *sum += value * weight;
                            }
                        }
                    }
                }
            }
            activation::apply(self.activation, output);
        }
    }
}
