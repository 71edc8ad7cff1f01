//! Matrix products: fully connected layers and products of activations.

use crate::matrix::{Matrix, multiply};

use super::Accumulate;

/// A product of rows of activations with a matrix of weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linear {
    /// Rows of one sample.
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Whether the weights are (outputs, inputs), rather than (inputs, outputs).
    pub(crate) transposed: bool,
    /// The factor of the product.
    pub(crate) alpha: f32,
}

impl Linear {
    fn weights<'a>(&self, weights: &'a [f32]) -> Matrix<'a> {
        let (rows, columns) = match self.transposed {
            true => (self.outputs, self.inputs),
            false => (self.inputs, self.outputs),
        };
        Matrix::new(weights, rows, columns).transposed_if(self.transposed)
    }

    /// The product without bias.
    pub(crate) fn forward(&self, input: &[f32], weights: &[f32], output: &mut [f32]) {
        let rows = output.len() / self.outputs.max(1);
        let input = Matrix::new(input, rows, self.inputs);
        multiply(
            self.alpha,
            input,
            self.weights(weights),
            Accumulate::Set,
            output,
        );
    }

    pub(crate) fn input_gradient(
        &self,
        weights: &[f32],
        gradient: &[f32],
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        let rows = gradient.len() / self.outputs.max(1);
        let gradient = Matrix::new(gradient, rows, self.outputs);
        let weights = self.weights(weights).transposed();
        multiply(self.alpha, gradient, weights, accumulate, to);
    }

    /// Replaces `to` by the gradient of the weights.
    pub(crate) fn weight_gradient(&self, input: &[f32], gradient: &[f32], to: &mut [f32]) {
        let rows = gradient.len() / self.outputs.max(1);
        let input = Matrix::new(input, rows, self.inputs);
        let gradient = Matrix::new(gradient, rows, self.outputs);
        match self.transposed {
            true => multiply(
                self.alpha,
                gradient.transposed(),
                input,
                Accumulate::Set,
                to,
            ),
            false => multiply(
                self.alpha,
                input.transposed(),
                gradient,
                Accumulate::Set,
                to,
            ),
        }
    }
}

/// Products of stacks of matrices: (rows, depth) by (depth, columns).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    /// The starts of each product's output and operands within one sample.
    pub(crate) starts: Vec<[usize; 3]>,
    /// Elements of one sample of the output and the operands; 0 for an operand without a batch
    /// axis.
    pub(crate) sizes: [usize; 3],
}

impl Product {
    fn each(&self, samples: usize, mut visit: impl FnMut([usize; 3])) {
        for sample in 0..samples {
            for starts in &self.starts {
                let mut at = *starts;
                for (at, size) in at.iter_mut().zip(self.sizes) {
                    *at += sample * size;
                }
                visit(at);
            }
        }
    }

    pub(crate) fn forward(&self, [a, b]: [&[f32]; 2], output: &mut [f32], samples: usize) {
        self.each(samples, |[at, from_a, from_b]| {
            let a = Matrix::new(&a[from_a..], self.rows, self.depth);
            let b = Matrix::new(&b[from_b..], self.depth, self.columns);
            multiply(1.0, a, b, Accumulate::Set, &mut output[at..]);
        });
    }

    /// The gradient of one operand, the `which`-th.
    pub(crate) fn backward(
        &self,
        which: usize,
        [a, b]: [&[f32]; 2],
        (gradient, samples): (&[f32], usize),
        to: &mut [f32],
        accumulate: Accumulate,
    ) {
        accumulate.start(to);
        self.each(samples, |[at, from_a, from_b]| {
            let gradient = Matrix::new(&gradient[at..], self.rows, self.columns);
            if which == 0 {
                let b = Matrix::new(&b[from_b..], self.depth, self.columns);
                multiply(
                    1.0,
                    gradient,
                    b.transposed(),
                    Accumulate::Add,
                    &mut to[from_a..],
                );
            } else {
                let a = Matrix::new(&a[from_a..], self.rows, self.depth);
                multiply(
                    1.0,
                    a.transposed(),
                    gradient,
                    Accumulate::Add,
                    &mut to[from_b..],
                );
            }
        });
    }
}
