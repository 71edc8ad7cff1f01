//! 2-D pooling on samples (H, W, C).

use super::Accumulate;

/// A pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pooling {
    /// Height, width and channels of the input.
    pub(crate) input: [usize; 3],
    /// Height, width and channels of the output.
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 2],
    pub(crate) strides: [usize; 2],
    /// Top, left, bottom, right.
    pub(crate) pads: [usize; 4],
    pub(crate) dilations: [usize; 2],
    /// Average only: whether padding counts in the divisor.
    pub(crate) count_include_pad: bool,
}

impl Pooling {
    fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Calls `visit` for each window with the start of its channels in the output, the starts of
    /// the pixels that it covers, and the number of positions that a mean divides by.
    fn windows(&self, samples: usize, mut visit: impl FnMut(usize, &[usize], usize)) {
        let [height, width, channels] = self.input;
        let covered = |axis| -> Vec<Vec<usize>> {
            let windows = 0..self.output[axis];
            windows.map(|at| self.covered(axis, at)).collect()
        };
        let (all_rows, all_columns) = (covered(0), covered(1));
        let mut pixels = Vec::new();
        let mut out = 0;
        for sample in 0..samples {
            for rows in &all_rows {
                for columns in &all_columns {
                    pixels.clear();
                    for &y in rows.iter().filter(|&&y| inside(y, self.pads[0], height)) {
                        for &x in columns.iter().filter(|&&x| inside(x, self.pads[1], width)) {
                            let pixel = (y - self.pads[0]) * width + x - self.pads[1];
                            pixels.push(sample * self.inputs() + pixel * channels);
                        }
                    }
                    let divisor = match self.count_include_pad {
                        true => rows.len() * columns.len(),
                        false => pixels.len(),
                    };
                    visit(out, &pixels, divisor);
                    out += channels;
                }
            }
        }
    }

    /// The positions of a window along an axis of the padded input. With ceiling division, the
    /// last window may extend past the padding; those positions do not count.
    fn covered(&self, axis: usize, index: usize) -> Vec<usize> {
        let end = self.pads[axis] + self.input[axis] + self.pads[axis + 2];
        let taps = 0..self.kernel[axis];
        let at = taps.map(|tap| index * self.strides[axis] + tap * self.dilations[axis]);
        at.filter(|&at| at < end).collect()
    }

    /// The maximum, and the position of the first one in the input.
    pub(crate) fn max(&self, input: &[f32], output: &mut [f32], chosen: &mut Vec<u32>) {
        let channels = self.input[2];
        chosen.resize(output.len(), 0);
        self.windows(input.len() / self.inputs().max(1), |out, pixels, _| {
            for channel in 0..channels {
                let (mut best, mut at) = (f32::NEG_INFINITY, pixels[0] + channel);
                for &pixel in pixels {
                    let x = input[pixel + channel];
                    if x > best || x.is_nan() {
                        (best, at) = (x, pixel + channel);
                    }
                }
                output[out + channel] = input[at];
                chosen[out + channel] = at as u32;
            }
        });
    }

    pub(crate) fn max_backward(
        gradient: &[f32],
        chosen: &[u32],
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        accumulate.start(to);
        for (g, &at) in gradient.iter().zip(chosen) {
            to[at as usize] += g;
        }
    }

    pub(crate) fn mean(&self, input: &[f32], output: &mut [f32]) {
        let channels = self.input[2];
        self.windows(
            input.len() / self.inputs().max(1),
            |out, pixels, divisor| {
                let output = &mut output[out..out + channels];
                output.fill(0.0);
                for &pixel in pixels {
                    for (o, x) in output.iter_mut().zip(&input[pixel..pixel + channels]) {
                        *o += x;
                    }
                }
                for o in output {
                    *o /= divisor as f32;
                }
            },
        );
    }

    pub(crate) fn mean_backward(&self, gradient: &[f32], to: &mut [f32], accumulate: Accumulate) {
        let channels = self.input[2];
        accumulate.start(to);
        self.windows(to.len() / self.inputs().max(1), |out, pixels, divisor| {
            let gradient = &gradient[out..out + channels];
            for &pixel in pixels {
                for (to, g) in to[pixel..pixel + channels].iter_mut().zip(gradient) {
                    *to += g / divisor as f32;
                }
            }
        });
    }
}

fn inside(at: usize, pad: usize, size: usize) -> bool {
    (pad..pad + size).contains(&at)
}
