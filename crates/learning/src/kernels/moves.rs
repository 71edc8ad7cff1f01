//! Operators that only move elements: Transpose, Concat, Split, Slice, Pad, Gather, and changes of
//! the memory order. Each is a list of copies per sample, computed once.

use crate::layout::{Axis, collapse, walk};

use super::Accumulate;

/// Copies of `len` elements each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copies {
    len: usize,
    /// The distance between neighbours in the output and in the input.
    steps: [isize; 2],
    /// The first element of each copy in the output and in the input.
    starts: Vec<[u32; 2]>,
}

impl Copies {
    /// Copies along `axes`, whose strides are those of output and input.
    pub(crate) fn new(axes: &[Axis<2>], start: [isize; 2]) -> Self {
        let mut axes = collapse(axes);
        // The longest loop is the inner one, because each copy has a cost of its own.
        let both = |axis: &Axis<2>| axis.strides == [1, 1];
        let inner = (0..axes.len()).max_by_key(|&at| (axes[at].len, both(&axes[at])));
        let inner = axes.remove(inner.unwrap_or(0));
        let mut starts = Vec::new();
        walk(&axes, start, &mut |at| starts.push(at.map(|at| at as u32)));
        if inner.len == 0 {
            starts.clear();
        }
        Self {
            len: inner.len,
            steps: inner.strides,
            starts,
        }
    }

    /// Single elements: pairs of positions in output and input.
    pub(crate) fn single(starts: Vec<[u32; 2]>) -> Self {
        Self {
            len: 1,
            steps: [1, 1],
            starts,
        }
    }

    /// Whether the copies are one copy of everything in order.
    pub(crate) fn is_identity(&self, size: usize) -> bool {
        self.starts == [[0, 0]] && self.len == size && (self.steps == [1, 1] || size == 1)
    }

    pub(crate) fn forward(&self, input: &[f32], output: &mut [f32]) {
        for &[to, from] in &self.starts {
            let (to, from) = (to as usize, from as usize);
            if self.steps == [1, 1] {
                output[to..to + self.len].copy_from_slice(&input[from..from + self.len]);
                continue;
            }
            for index in 0..self.len as isize {
                let [to, from] = self.at(to, from, index);
                output[to] = input[from];
            }
        }
    }

    /// Adds the gradient of the output to that of the input.
    pub(crate) fn backward(&self, gradient: &[f32], to_input: &mut [f32]) {
        for &[at, from] in &self.starts {
            let (at, from) = (at as usize, from as usize);
            if self.steps == [1, 1] {
                let to = &mut to_input[from..from + self.len];
                for (to, g) in to.iter_mut().zip(&gradient[at..at + self.len]) {
                    *to += g;
                }
                continue;
            }
            for index in 0..self.len as isize {
                let [at, from] = self.at(at, from, index);
                to_input[from] += gradient[at];
            }
        }
    }

    #[inline(always)]
    fn at(&self, to: usize, from: usize, index: isize) -> [usize; 2] {
        [
            to.wrapping_add_signed(index * self.steps[0]),
            from.wrapping_add_signed(index * self.steps[1]),
        ]
    }
}

/// The copies from each input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moves {
    /// One list for each input of the step.
    pub(crate) copies: Vec<Vec<Copies>>,
    /// The value of elements that are not copied.
    pub(crate) fill: Option<f32>,
}

impl Moves {
    /// Moves one sample of input `index`.
    pub(crate) fn forward(&self, index: usize, input: &[f32], output: &mut [f32]) {
        for copies in &self.copies[index] {
            copies.forward(input, output);
        }
    }

    /// The gradients of all samples of input `index`, which has `size` elements a sample.
    pub(crate) fn backward(
        &self,
        index: usize,
        (gradient, samples): (&[f32], usize),
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        accumulate.start(to);
        let (from, size) = (gradient.len() / samples.max(1), to.len() / samples.max(1));
        if from == 0 || size == 0 {
            return;
        }
        for (gradient, to) in gradient.chunks_exact(from).zip(to.chunks_exact_mut(size)) {
            for copies in &self.copies[index] {
                copies.backward(gradient, to);
            }
        }
    }
}
