//! 2-D convolution on samples (H, W, C), as matrix products over unfolded windows (Chellapilla,
//! Puri, Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006).
//!
//! Windows are unfolded in blocks of about a megabyte. A block may span several samples.

use crate::matrix::{Matrix, Target, multiply, multiply_into};

use super::Accumulate;

/// Elements of one block of unfolded windows.
const BLOCK: usize = 1 << 18;
/// The fewest windows of a block.
const FEWEST_ROWS: usize = 32;

/// A convolution. Weights are (units, kernel rows, kernel columns, channels per group).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Convolution {
    /// Height, width and channels of the input.
    pub(crate) input: [usize; 3],
    /// Height, width and channels of the output.
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// Rows above and columns to the left.
    pub(crate) pads: [usize; 2],
    pub(crate) dilations: [usize; 2],
    pub(crate) groups: usize,
}

/// Where a convolution's gradients go. `None` if a gradient is not needed.
pub(crate) struct Gradients<'a> {
    pub(crate) input: Option<(&'a mut [f32], Accumulate)>,
    /// The weights' gradient is replaced.
    pub(crate) weights: Option<&'a mut [f32]>,
}

impl Convolution {
    fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Channels of one group.
    fn depth(&self) -> usize {
        self.input[2] / self.groups
    }

    /// Units of one group.
    fn units(&self) -> usize {
        self.output[2] / self.groups
    }

    /// Elements of one window of one group.
    fn patch(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.depth()
    }

    /// Whether each channel has a kernel of its own.
    fn is_depthwise(&self) -> bool {
        self.depth() == 1 && self.units() == 1
    }

    /// Whether the unfolded windows are the input itself.
    fn is_pointwise(&self) -> bool {
        self.groups == 1
            && self.kernel == [1, 1]
            && self.strides == [1, 1]
            && self.pads == [0, 0]
            && self.input[..2] == self.output[..2]
    }

    fn block_rows(&self) -> usize {
        (BLOCK / self.patch().max(1)).max(FEWEST_ROWS)
    }

    /// The row or column of the input that a tap reads; `None` in the padding.
    fn tap(&self, axis: usize, position: usize, tap: usize) -> Option<usize> {
        let at = position * self.strides[axis] + tap * self.dilations[axis];
        at.checked_sub(self.pads[axis])
            .filter(|&at| at < self.input[axis])
    }

    /// The output without bias. `patches` is scratch memory.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        weights: &[f32],
        output: &mut [f32],
        patches: &mut Vec<f32>,
    ) {
        if output.is_empty() {
            return;
        }
        if self.is_depthwise() {
            return self.forward_depthwise(input, weights, output);
        }
        let (patch, units, width) = (self.patch(), self.units(), self.output[2]);
        let rows = output.len() / width;
        if self.is_pointwise() {
            let kernel = Matrix::new(weights, units, patch);
            let input = Matrix::new(input, rows, patch);
            return multiply(1.0, input, kernel.transposed(), Accumulate::Set, output);
        }
        let block = self.block_rows();
        patches.resize(block * patch, 0.0);
        for (index, output) in output.chunks_mut(block * width).enumerate() {
            let first = index * block;
            let count = output.len() / width;
            for group in 0..self.groups {
                self.unfold(input, (first, count), group, patches);
                let kernel = &weights[group * units * patch..][..units * patch];
                let target = Target {
                    data: output,
                    width,
                    first: group * units,
                };
                let kernel = Matrix::new(kernel, units, patch);
                let rows = Matrix::new(patches, count, patch);
                multiply_into(1.0, rows, kernel.transposed(), Accumulate::Set, target);
            }
        }
    }

    /// The gradients of input and weights. `scratch` is memory for two blocks.
    pub(crate) fn backward(
        &self,
        input: &[f32],
        weights: &[f32],
        gradient: &[f32],
        to: Gradients<'_>,
        scratch: &mut [Vec<f32>; 2],
    ) {
        let Gradients {
            input: mut to_input,
            weights: mut to_weights,
        } = to;
        if let Some(to) = &mut to_weights {
            to.fill(0.0);
        }
        if let Some((to, Accumulate::Set)) = &mut to_input {
            to.fill(0.0);
        }
        if gradient.is_empty() {
            return;
        }
        let mut to_input = to_input.map(|(to, _)| to);
        if self.is_depthwise() {
            let to_input = to_input.as_deref_mut();
            return self.backward_depthwise(input, weights, gradient, (to_input, to_weights));
        }
        let (patch, units, width) = (self.patch(), self.units(), self.output[2]);
        let block = self.block_rows();
        let [patches, unfolded] = scratch;
        patches.resize(block * patch, 0.0);
        unfolded.resize(block * patch, 0.0);
        for (index, gradient) in gradient.chunks(block * width).enumerate() {
            let first = index * block;
            let count = gradient.len() / width;
            let gradient = Matrix::new(gradient, count, width);
            for group in 0..self.groups {
                let part = gradient.columns(group * units, units);
                let at = group * units * patch;
                if let Some(to) = &mut to_weights {
                    self.unfold(input, (first, count), group, patches);
                    let rows = Matrix::new(patches, count, patch);
                    let to = &mut to[at..at + units * patch];
                    multiply(1.0, part.transposed(), rows, Accumulate::Add, to);
                }
                if let Some(to) = &mut to_input {
                    let kernel = Matrix::new(&weights[at..], units, patch);
                    multiply(1.0, part, kernel, Accumulate::Set, unfolded);
                    self.fold(unfolded, (first, count), group, to);
                }
            }
        }
    }

    /// Calls `visit` for each run of consecutive elements of the windows `first..first + count`:
    /// the start of the run in the windows and in the input, and its length. Elements in the
    /// padding are visited without a start in the input.
    #[inline(always)]
    fn runs(
        &self,
        (first, count): (usize, usize),
        group: usize,
        mut visit: impl FnMut(usize, Option<usize>, usize),
    ) {
        let (depth, [_, width, channels]) = (self.depth(), self.input);
        let [rows, columns] = self.kernel;
        // Whole rows of a window are consecutive in the input.
        let whole = self.groups == 1 && self.dilations[1] == 1;
        let mut at = 0;
        for window in first..first + count {
            let (sample, position) = (window / self.positions(), window % self.positions());
            let (down, across) = (position / self.output[1], position % self.output[1]);
            let base = sample * self.inputs() + group * depth;
            for row in 0..rows {
                let Some(y) = self.tap(0, down, row) else {
                    visit(at, None, columns * depth);
                    at += columns * depth;
                    continue;
                };
                let line = base + y * width * channels;
                let left = across * self.strides[1];
                if whole && left >= self.pads[1] && left - self.pads[1] + columns <= width {
                    let from = line + (left - self.pads[1]) * channels;
                    visit(at, Some(from), columns * depth);
                    at += columns * depth;
                    continue;
                }
                for column in 0..columns {
                    let from = self.tap(1, across, column);
                    visit(at, from.map(|x| line + x * channels), depth);
                    at += depth;
                }
            }
        }
    }

    /// Copies every window into a row of `patches`.
    fn unfold(&self, input: &[f32], windows: (usize, usize), group: usize, patches: &mut [f32]) {
        self.runs(windows, group, |at, from, len| {
            let to = &mut patches[at..at + len];
            match from {
                Some(from) => to.copy_from_slice(&input[from..from + len]),
                None => to.fill(0.0),
            }
        });
    }

    /// The adjoint of [`unfold`](Self::unfold): adds every window to where it was copied from.
    fn fold(&self, patches: &[f32], windows: (usize, usize), group: usize, input: &mut [f32]) {
        self.runs(windows, group, |at, from, len| {
            let Some(from) = from else {
                return;
            };
            let to = &mut input[from..from + len];
            for (to, from) in to.iter_mut().zip(&patches[at..at + len]) {
                *to += from;
            }
        });
    }

    /// Calls `visit` for each tap inside the input, with the starts of the channels in the output,
    /// in the input, and the tap's index.
    #[inline(always)]
    fn taps(&self, samples: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let channels = self.input[2];
        for sample in 0..samples {
            for position in 0..self.positions() {
                let (down, across) = (position / self.output[1], position % self.output[1]);
                let out = sample * self.outputs() + position * channels;
                for row in 0..self.kernel[0] {
                    let Some(y) = self.tap(0, down, row) else {
                        continue;
                    };
                    for column in 0..self.kernel[1] {
                        if let Some(x) = self.tap(1, across, column) {
                            let pixel = sample * self.inputs() + (y * self.input[1] + x) * channels;
                            visit(out, pixel, row * self.kernel[1] + column);
                        }
                    }
                }
            }
        }
    }

    /// Each channel has a kernel of its own: channels are the lanes.
    fn forward_depthwise(&self, input: &[f32], weights: &[f32], output: &mut [f32]) {
        let channels = self.input[2];
        let kernels = by_tap(weights, channels);
        output.fill(0.0);
        self.taps(output.len() / self.outputs(), |out, pixel, tap| {
            let output = &mut output[out..out + channels];
            let pixels = &input[pixel..pixel + channels];
            let kernel = &kernels[tap * channels..][..channels];
            for ((o, x), w) in output.iter_mut().zip(pixels).zip(kernel) {
                *o += x * w;
            }
        });
    }

    fn backward_depthwise(
        &self,
        input: &[f32],
        weights: &[f32],
        gradient: &[f32],
        (mut to_input, to_weights): (Option<&mut [f32]>, Option<&mut [f32]>),
    ) {
        let channels = self.input[2];
        let kernels = by_tap(weights, channels);
        let mut sums = vec![0.0; kernels.len()];
        self.taps(gradient.len() / self.outputs(), |out, pixel, tap| {
            let gradient = &gradient[out..out + channels];
            if let Some(to) = to_input.as_deref_mut() {
                let kernel = &kernels[tap * channels..][..channels];
                let to = &mut to[pixel..pixel + channels];
                for ((to, g), w) in to.iter_mut().zip(gradient).zip(kernel) {
                    *to += g * w;
                }
            }
            let pixels = &input[pixel..pixel + channels];
            let sums = &mut sums[tap * channels..][..channels];
            for ((sum, g), x) in sums.iter_mut().zip(gradient).zip(pixels) {
                *sum += g * x;
            }
        });
        if let Some(to) = to_weights {
            let taps = sums.len() / channels;
            for (at, to) in to.iter_mut().enumerate() {
                *to = sums[at % taps * channels + at / taps];
            }
        }
    }
}

/// Depthwise weights (channels, taps) as (taps, channels).
fn by_tap(weights: &[f32], channels: usize) -> Vec<f32> {
    let taps = weights.len() / channels;
    (0..weights.len())
        .map(|at| weights[at % channels * taps + at / channels])
        .collect()
}
