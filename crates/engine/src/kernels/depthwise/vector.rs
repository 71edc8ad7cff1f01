//! Float depthwise convolutions that are packed for vectors.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::activation;
use super::super::convolution::ConvolutionShape;
use super::super::tile::Arithmetic;
use super::super::tiled::{Output, limits};
use super::divide;
use super::row::{Row, RowFunction, Window, blocks, function};
use crate::plan::Activation;

/// Channels that are computed together.
#[derive(Debug)]
struct Block {
    first: usize,
    function: RowFunction,
    /// Index of the first weight.
    weights: usize,
}

/// A depthwise convolution that is packed for vectors. Its work is a list of units, the rows of
/// its output; disjoint ranges of it may run at the same time.
#[derive(Debug)]
pub(crate) struct VectorDepthwise {
    shape: ConvolutionShape,
    blocks: Vec<Block>,
    /// For each block (kH, kW, channels of the block).
    weights: Vec<f32>,
    bias: Vec<f32>,
    low: f32,
    high: f32,
    /// Applied after the limits: what they cannot express.
    activation: Activation,
}

impl VectorDepthwise {
    /// `weights` is (channels, kH, kW, 1). `None` if the layer has to run as plain loops, because it
    /// has fewer channels than a vector has lanes.
    pub(crate) fn new(
        shape: ConvolutionShape,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        arithmetic: Arithmetic,
    ) -> Option<Self> {
        let set = arithmetic.instruction_set;
        let channels = shape.groups;
        if !shape.is_depthwise() {
            return None;
        }
        let taps = shape.axes[0].kernel * shape.axes[1].kernel;
        let across = &shape.axes[1];
        let window = match across.dilation {
            _ if arithmetic.exact => Window::Exact,
            1 => Window::Columns([across.kernel, across.stride]),
            _ => Window::Any,
        };
        let mut packed = Vec::new();
        let mut layout = Vec::new();
        for (first, count, size) in divide(channels, blocks(set)) {
            if count < size {
                return None;
            }
            layout.push(Block {
                first,
                function: function(set, size, window)?,
                weights: packed.len(),
            });
            for tap in 0..taps {
                packed.extend((first..first + size).map(|channel| weights[channel * taps + tap]));
            }
        }
        let ([low, high], activation) = limits(activation, arithmetic);
        (!layout.is_empty()).then(|| Self {
            shape,
            blocks: layout,
            weights: packed,
            bias: bias.map_or_else(|| vec![0.0; channels], <[f32]>::to_vec),
            low,
            high,
            activation,
        })
    }

    /// Number of units.
    pub(crate) fn units(&self) -> usize {
        self.shape.batch * self.shape.output[0]
    }

    /// Computes a range of the units.
    ///
    /// # Safety
    /// - `output` has the sizes of the shape.
    /// - During the call nothing else reads the output, or writes the elements of these rows.
    pub(crate) unsafe fn run(&self, input: &[f32], output: Output, units: Range<usize>) {
        let [down, across] = self.shape.axes;
        let channels = self.shape.groups;
        let [height, width] = self.shape.output;
        let picture = down.size * across.size * channels;
        assert_eq!(input.len(), self.shape.batch * picture);
        let length = width * channels;
        for unit in units {
            let y = unit % height;
            debug_assert!((unit + 1) * length <= output.len);
            let to = output.start.wrapping_add(unit * length);
            for block in &self.blocks {
                let work = Row {
                    input: input
                        .as_ptr()
                        .wrapping_add(unit / height * picture + block.first),
                    channels,
                    down,
                    across,
                    y,
                    rows: down.taps(y),
                    width,
                    weights: self.weights[block.weights..].as_ptr(),
                    bias: self.bias[block.first..].as_ptr(),
                    output: to.wrapping_add(block.first),
                    low: self.low,
                    high: self.high,
                };
                // SAFETY: the machine has the instruction set that the function was chosen for.
                // The input has every pixel of the shape and the caller guarantees the same of
                // the output; a block's channels are those of the shape, with a bias each, and
                // `new` packed weights for all taps.
                unsafe { (block.function)(&work) };
            }
            if self.activation != Activation::None {
                // SAFETY: the blocks have just written this row, and the caller guarantees that
                // nothing else uses it.
                let row = unsafe { std::slice::from_raw_parts_mut(to, length) };
                activation::apply(self.activation, row);
            }
        }
    }
}
