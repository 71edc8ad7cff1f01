//! Pooling on NHWC.

use super::convolution::WindowAxis;
use crate::plan::{PoolKind, Window};

/// A pooling ready to run.
#[derive(Debug)]
pub(crate) struct Pool {
    kind: PoolKind,
    axes: [WindowAxis; 2],
    output: [usize; 2],
    channels: usize,
}

impl Pool {
    /// `input` and `output` are (N, H, W, C).
    pub(crate) fn new(kind: PoolKind, window: Window, input: &[usize], output: &[usize]) -> Self {
        Self {
            kind,
            axes: WindowAxis::both(window, input[1], input[2]),
            output: [output[1], output[2]],
            channels: output[3],
        }
    }

    /// Max pooling of i8.
    #[inline(always)]
    pub(crate) fn run_i8(&self, input: &[i8], output: &mut [i8]) {
        if output.is_empty() {
            return;
        }
        output.fill(i8::MIN);
        self.windows(input, output, |o, x| *o = x.max(*o), |_, _| ());
    }

    #[inline(always)]
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        output.fill(match self.kind {
            PoolKind::Max => f32::NEG_INFINITY,
            _ => 0.0,
        });
        match self.kind {
            PoolKind::Max => self.windows(
                input,
                output,
                |o, x| *o = if x > *o { x } else { *o },
                |_, _| (),
            ),
            _ => self.windows(
                input,
                output,
                |o, x| *o += x,
                |output, count| {
                    let count = count as f32;
                    output.iter_mut().for_each(|o| *o /= count);
                },
            ),
        }
    }

    /// Calls `accumulate` for each element of a window, in order, then `finish` for the
    /// pixel's channels with the number of elements that the mean counts.
    #[inline(always)]
    fn windows<T: Copy>(
        &self,
        input: &[T],
        output: &mut [T],
        accumulate: impl Fn(&mut T, T),
        finish: impl Fn(&mut [T], usize),
    ) {
        let [down, across] = &self.axes;
        let [height, width] = self.output;
        for (pixel, output) in output.chunks_exact_mut(self.channels).enumerate() {
            let (batch, y, x) = (
                pixel / (height * width),
                pixel / width % height,
                pixel % width,
            );
            let (rows, columns) = (down.taps(y), across.taps(x));
            // The pixels of a window's row, from its first to its last.
            let first = columns.clone().next().map(|at| across.position(x, at));
            let length = columns.len().saturating_sub(1) * across.dilation + 1;
            for (row, first) in rows.clone().filter_map(|row| Some((row, first?))) {
                let place = (batch * down.size + down.position(y, row)) * across.size + first;
                let pixels = &input[place * self.channels..][..length * self.channels];
                let pixels = pixels.chunks_exact(self.channels);
                for pixel in pixels.step_by(across.dilation) {
                    let elements = output.iter_mut().zip(pixel);
                    elements.for_each(|(o, &x)| accumulate(o, x));
                }
            }
            let count = match self.kind {
                PoolKind::AverageWithPads { bottom, right } => {
                    padded_taps(down, y, bottom) * padded_taps(across, x, right)
                }
                _ => rows.len() * columns.len(),
            };
            // A window that is completely outside the input has no elements.
            finish(output, count.max(1));
        }
    }
}

/// Number of taps inside the input and its padding.
fn padded_taps(axis: &WindowAxis, output: usize, after: usize) -> usize {
    let end = axis.size + axis.pad + after;
    end.saturating_sub(output * axis.stride)
        .div_ceil(axis.dilation)
        .min(axis.kernel)
}
