//! Reductions and softmax.

use super::activation::exp;
use super::binary::{larger, smaller};
use crate::plan::Reduction;

/// Mean or another reduction over some axes.
#[derive(Debug)]
pub(crate) struct Reduce {
    /// `None` is the mean.
    reduction: Option<Reduction>,
    /// Length, and the output's stride (0 for a reduced axis).
    axes: Vec<[usize; 2]>,
    count: usize,
}

impl Reduce {
    /// `reduced` are sorted axes of `input`.
    pub(crate) fn new(reduction: Option<Reduction>, input: &[usize], reduced: &[usize]) -> Self {
        let mut axes: Vec<[usize; 2]> = Vec::new();
        let mut stride = 1;
        let mut count = 1;
        for axis in (0..input.len()).rev() {
            let length = input[axis];
            let is_reduced = reduced.binary_search(&axis).is_ok();
            let next = [length, if is_reduced { 0 } else { stride }];
            if is_reduced {
                count *= length;
            } else {
                stride *= length;
            }
            match axes.last_mut() {
                Some(last) if next[1] == last[1] * last[0] => last[0] *= length,
                _ => axes.push(next),
            }
        }
        axes.reverse();
        if axes.is_empty() {
            axes.push([1, 0]);
        }
        Self {
            reduction,
            axes,
            count,
        }
    }

    #[inline(always)]
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        match self.reduction {
            None => {
                self.sums(input, output);
                let count = self.count as f32;
                output.iter_mut().for_each(|o| *o /= count);
            }
            Some(Reduction::Sum) => self.sums(input, output),
            Some(Reduction::Min) => self.each(input, output, f32::INFINITY, smaller),
            Some(Reduction::Max) => self.each(input, output, f32::NEG_INFINITY, larger),
        }
    }

    /// Sums in f64, which lose no digits of an f32 result, over the last axes at once: either the last
    /// one, or the one before it for each element of the last one.
    #[inline(always)]
    fn sums(&self, input: &[f32], output: &mut [f32]) {
        output.fill(0.0);
        let (outer, columns, block) = match self.axes[..] {
            [ref outer @ .., [length, 0]] => (outer, 1, length),
            [ref outer @ .., [rows, _], [columns, _]] => (outer, columns, rows * columns),
            [ref outer @ .., [columns, _]] => (outer, columns, columns),
            [] => return,
        };
        if input.is_empty() {
            return;
        }
        let mut index = [0_usize; crate::plan::MAX_RANK];
        let mut at = 0;
        for block in input.chunks_exact(block) {
            let output = &mut output[at..at + columns];
            match columns {
                1 => output[0] += sum(block) as f32,
                _ => add_columns(block, output),
            }
            next(outer, &mut index, &mut at);
        }
    }

    #[inline(always)]
    fn each(
        &self,
        input: &[f32],
        output: &mut [f32],
        identity: f32,
        combine: impl Fn(f32, f32) -> f32 + Copy,
    ) {
        output.fill(identity);
        let Some((&[length, stride], outer)) = self.axes.split_last() else {
            return;
        };
        if !input.is_empty() {
            let mut index = [0_usize; crate::plan::MAX_RANK];
            let mut at = 0;
            for row in input.chunks_exact(length) {
                if stride == 0 {
                    let row = row.iter().fold(identity, |a, &x| combine(a, x));
                    output[at] = combine(output[at], row);
                } else {
                    let output = &mut output[at..at + length];
                    (output.iter_mut().zip(row)).for_each(|(o, &x)| *o = combine(*o, x));
                }
                next(outer, &mut index, &mut at);
            }
        }
    }
}

/// Advances an index over axes of lengths and strides, and the place that it stands for.
#[inline(always)]
fn next(axes: &[[usize; 2]], index: &mut [usize], at: &mut usize) {
    for (&[length, stride], index) in axes.iter().zip(index).rev() {
        *index += 1;
        *at += stride;
        if *index < length {
            break;
        }
        *index = 0;
        *at -= stride * length;
    }
}

/// Sums that are computed side by side. Their number is the same for every instruction set, and so are
/// the bits of the results.
const LANES: usize = 16;

/// The sum of all elements.
#[inline(always)]
fn sum(data: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let mut blocks = data.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += f64::from(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane += f64::from(x);
    }
    lanes.iter().sum()
}

/// Adds the rows of `block` to `output`.
#[inline(always)]
fn add_columns(block: &[f32], output: &mut [f32]) {
    let columns = output.len();
    for (part, output) in output.chunks_mut(LANES).enumerate() {
        let mut lanes = [0.0_f64; LANES];
        for row in block.chunks_exact(columns) {
            let row = &row[part * LANES..][..output.len()];
            match row.first_chunk::<LANES>() {
                Some(row) => {
                    for (lane, &x) in lanes.iter_mut().zip(row) {
                        *lane += f64::from(x);
                    }
                }
                None => {
                    for (lane, &x) in lanes.iter_mut().zip(row) {
                        *lane += f64::from(x);
                    }
                }
            }
        }
        for (output, lane) in output.iter_mut().zip(lanes) {
            *output += lane as f32;
        }
    }
}

/// Softmax over the middle of (outer, middle, inner).
#[derive(Debug)]
pub(crate) struct Softmax {
    middle: usize,
    inner: usize,
}

impl Softmax {
    pub(crate) fn new(shape: &[usize], axis: usize, end_axis: usize) -> Self {
        Self {
            middle: shape[axis..end_axis].iter().product(),
            inner: shape[end_axis..].iter().product(),
        }
    }

    #[inline(always)]
    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let block = self.middle * self.inner;
        let blocks = input.chunks_exact(block);
        for (input, output) in blocks.zip(output.chunks_exact_mut(block)) {
            match self.inner {
                1 => softmax(input, output),
                _ => softmax_of_columns(input, output, self.inner),
            }
        }
    }
}

/// Softmax over all elements.
#[inline(always)]
fn softmax(input: &[f32], output: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in input.chunks(LANES) {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    let largest = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for (output, &x) in output.iter_mut().zip(input) {
        *output = exp(x - largest);
    }
    let sum = sum(output) as f32;
    for output in output {
        *output /= sum;
    }
}

/// Softmax over the rows of each column.
#[inline(always)]
fn softmax_of_columns(input: &[f32], output: &mut [f32], columns: usize) {
    for first in (0..columns).step_by(LANES) {
        let part = first..(first + LANES).min(columns);
        let mut largest = [f32::NEG_INFINITY; LANES];
        for row in input.chunks_exact(columns) {
            for (largest, &x) in largest.iter_mut().zip(&row[part.clone()]) {
                *largest = if x > *largest { x } else { *largest };
            }
        }
        let mut sums = [0.0_f64; LANES];
        let rows = input.chunks_exact(columns);
        for (row, output) in rows.zip(output.chunks_exact_mut(columns)) {
            let each = row[part.clone()].iter().zip(&mut output[part.clone()]);
            for ((&x, output), (largest, sum)) in each.zip(largest.iter().zip(&mut sums)) {
                *output = exp(x - largest);
                *sum += f64::from(*output);
            }
        }
        let sums = sums.map(|sum| sum as f32);
        for output in output.chunks_exact_mut(columns) {
            for (output, sum) in output[part.clone()].iter_mut().zip(&sums) {
                *output /= sum;
            }
        }
    }
}
