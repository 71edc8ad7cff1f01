//! Reductions and softmax.

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
                self.each(input, output, 0.0, |a, x| a + x);
                let count = self.count as f32;
                output.iter_mut().for_each(|o| *o /= count);
            }
            Some(Reduction::Sum) => self.each(input, output, 0.0, |a, x| a + x),
            Some(Reduction::Min) => self.each(input, output, f32::INFINITY, smaller),
            Some(Reduction::Max) => self.each(input, output, f32::NEG_INFINITY, larger),
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
                for (&[length, stride], index) in outer.iter().zip(&mut index).rev() {
                    *index += 1;
                    at += stride;
                    if *index < length {
                        break;
                    }
                    *index = 0;
                    at -= stride * length;
                }
            }
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

    pub(crate) fn run(&self, input: &[f32], output: &mut [f32]) {
        if output.is_empty() {
            return;
        }
        let block = self.middle * self.inner;
        for (input, output) in input
            .chunks_exact(block)
            .zip(output.chunks_exact_mut(block))
        {
            for column in 0..self.inner {
                let places = (column..block).step_by(self.inner);
                let largest = places
                    .clone()
                    .fold(f32::NEG_INFINITY, |largest, at| largest.max(input[at]));
                let mut sum = 0.0;
                for at in places.clone() {
                    output[at] = libm::expf(input[at] - largest);
                    sum += output[at];
                }
                places.for_each(|at| output[at] /= sum);
            }
        }
    }
}
