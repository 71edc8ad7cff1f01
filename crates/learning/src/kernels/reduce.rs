//! Reductions and softmax.

use pilotage_graph::Reduction;

use super::Accumulate;

/// A reduction over some axes of a sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reduce {
    pub(crate) reduction: Reduction,
    /// The first input element of each output element, in the order of the output.
    pub(crate) kept: Vec<u32>,
    /// The distances from it of the elements that are combined.
    pub(crate) reduced: Vec<u32>,
    /// Elements of one sample of the input.
    pub(crate) size: usize,
}

impl Reduce {
    fn factor(&self) -> f32 {
        match self.reduction {
            Reduction::Mean => 1.0 / self.reduced.len() as f32,
            _ => 1.0,
        }
    }

    pub(crate) fn forward(&self, input: &[f32], output: &mut [f32]) {
        if self.kept.is_empty() {
            return;
        }
        let samples = output.chunks_exact_mut(self.kept.len());
        for (output, input) in samples.zip(input.chunks_exact(self.size)) {
            for (y, &kept) in output.iter_mut().zip(&self.kept) {
                let elements = self.reduced.iter().map(|at| input[(kept + at) as usize]);
                *y = match self.reduction {
                    Reduction::Max => elements.fold(f32::NEG_INFINITY, larger),
                    Reduction::Min => -elements.map(|x| -x).fold(f32::NEG_INFINITY, larger),
                    Reduction::Sum => elements.sum(),
                    Reduction::Mean => elements.sum::<f32>() / self.reduced.len() as f32,
                };
            }
        }
    }

    /// Equal largest or smallest elements share the gradient.
    pub(crate) fn backward(
        &self,
        (input, output): (&[f32], &[f32]),
        gradient: &[f32],
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        accumulate.start(to);
        if self.kept.is_empty() {
            return;
        }
        let count = self.kept.len();
        let values = input
            .chunks_exact(self.size)
            .zip(output.chunks_exact(count));
        let gradients = gradient.chunks_exact(count);
        let targets = to.chunks_exact_mut(self.size);
        for ((to, gradient), (input, output)) in targets.zip(gradients).zip(values) {
            let both = gradient.iter().zip(output);
            for (&kept, (&g, &y)) in self.kept.iter().zip(both) {
                let at = |reduced: &u32| (kept + reduced) as usize;
                match self.reduction {
                    Reduction::Sum | Reduction::Mean => {
                        let g = g * self.factor();
                        self.reduced.iter().for_each(|r| to[at(r)] += g);
                    }
                    Reduction::Max | Reduction::Min => {
                        let equal = self.reduced.iter().filter(|r| input[at(r)] == y);
                        let share = g / equal.clone().count().max(1) as f32;
                        equal.for_each(|r| to[at(r)] += share);
                    }
                }
            }
        }
    }
}

fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// Softmax over `length` elements that are `inner` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Softmax {
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

impl Softmax {
    /// Calls `visit` with the positions of each group.
    fn groups(self, size: usize, mut visit: impl FnMut(&[usize])) {
        let block = self.length * self.inner;
        let mut at = vec![0; self.length];
        for start in (0..size).step_by(block.max(1)) {
            for inner in 0..self.inner {
                for (index, at) in at.iter_mut().enumerate() {
                    *at = start + index * self.inner + inner;
                }
                visit(&at);
            }
        }
    }

    pub(crate) fn forward(self, input: &[f32], output: &mut [f32]) {
        self.groups(output.len(), |at| {
            let largest = at.iter().map(|&i| input[i]).fold(f32::NEG_INFINITY, larger);
            let mut sum = 0.0;
            for &i in at {
                output[i] = libm::expf(input[i] - largest);
                sum += output[i];
            }
            at.iter().for_each(|&i| output[i] /= sum);
        });
    }

    pub(crate) fn backward(
        self,
        output: &[f32],
        gradient: &[f32],
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        self.groups(output.len(), |at| {
            let sum: f32 = at.iter().map(|&i| gradient[i] * output[i]).sum();
            for &i in at {
                accumulate.put(&mut to[i], output[i] * (gradient[i] - sum));
            }
        });
    }
}
