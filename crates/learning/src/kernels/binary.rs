//! Operators of two operands, with broadcasting.

use crate::layout::{Axis, collapse, walk};

use super::Accumulate;

/// An operator of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
}

impl Operator {
    #[inline(always)]
    fn at(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Min if a.is_nan() || b.is_nan() => f32::NAN,
            Self::Max if a.is_nan() || b.is_nan() => f32::NAN,
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
            Self::Pow => libm::powf(a, b),
        }
    }

    /// The derivatives by both operands. Equal operands of Min and Max share the derivative.
    #[inline(always)]
    fn derivatives(self, a: f32, b: f32) -> [f32; 2] {
        let share = |first: bool, second: bool| match (first, second) {
            (true, _) => [1.0, 0.0],
            (_, true) => [0.0, 1.0],
            _ => [0.5, 0.5],
        };
        match self {
            Self::Add => [1.0, 1.0],
            Self::Sub => [1.0, -1.0],
            Self::Mul => [b, a],
            Self::Div => [1.0 / b, -a / (b * b)],
            Self::Min => share(a < b, b < a),
            Self::Max => share(a > b, b > a),
            Self::Pow => {
                // As in PyTorch, a base of 0 has no derivative by the exponent.
                let by_exponent = match a > 0.0 {
                    true => libm::powf(a, b) * libm::logf(a),
                    false => 0.0,
                };
                let by_base = match b == 0.0 {
                    true => 0.0,
                    false => b * libm::powf(a, b - 1.0),
                };
                [by_base, by_exponent]
            }
        }
    }
}

/// An operator with the shape of its operands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Binary {
    operator: Operator,
    /// The loops over one sample. Strides are those of the output and the operands; that of a
    /// repeated axis is 0.
    axes: Vec<Axis<3>>,
    /// Elements of one sample of the output and the operands; 0 for an operand without a batch
    /// axis.
    sizes: [usize; 3],
}

impl Binary {
    pub(crate) fn new(operator: Operator, axes: &[Axis<3>], sizes: [usize; 3]) -> Self {
        Self {
            operator,
            axes: collapse(axes),
            sizes,
        }
    }

    /// Calls `visit` for each inner loop, with its start.
    #[inline(always)]
    fn loops(&self, samples: usize, mut visit: impl FnMut([usize; 3], Axis<3>)) {
        let Some((&inner, outer)) = self.axes.split_last() else {
            return;
        };
        for sample in 0..samples {
            let start = self.sizes.map(|size| (sample * size) as isize);
            // Strides here are not negative.
            walk(outer, start, &mut |at| {
                visit(at.map(|at| at as usize), inner)
            });
        }
    }

    pub(crate) fn forward(&self, [a, b]: [&[f32]; 2], output: &mut [f32], samples: usize) {
        macro_rules! each {
            ($operator:expr) => {
                self.loops(samples, |[at, from_a, from_b], inner| {
                    let [_, step_a, step_b] = inner.strides;
                    let output = &mut output[at..at + inner.len];
                    match (step_a, step_b) {
                        (1, 1) => {
                            let a = &a[from_a..from_a + inner.len];
                            let b = &b[from_b..from_b + inner.len];
                            for ((y, &a), &b) in output.iter_mut().zip(a).zip(b) {
                                *y = $operator.at(a, b);
                            }
                        }
                        (1, 0) => {
                            let (a, b) = (&a[from_a..from_a + inner.len], b[from_b]);
                            for (y, &a) in output.iter_mut().zip(a) {
                                *y = $operator.at(a, b);
                            }
                        }
                        _ => {
                            for (index, y) in output.iter_mut().enumerate() {
                                let a = a[from_a + index * step_a as usize];
                                *y = $operator.at(a, b[from_b + index * step_b as usize]);
                            }
                        }
                    }
                })
            };
        }
        match self.operator {
            Operator::Add => each!(Operator::Add),
            Operator::Sub => each!(Operator::Sub),
            Operator::Mul => each!(Operator::Mul),
            Operator::Div => each!(Operator::Div),
            other => each!(other),
        }
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
        self.loops(samples, |[at, from_a, from_b], inner| {
            let [_, step_a, step_b] = inner.strides.map(|step| step as usize);
            let start = [from_a, from_b][which];
            let step = [step_a, step_b][which];
            let gradient = &gradient[at..at + inner.len];
            let copies = match self.operator {
                Operator::Add => true,
                Operator::Sub => which == 0,
                _ => false,
            };
            if copies && step == 1 {
                let to = &mut to[start..start + inner.len];
                to.iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
                return;
            }
            for (index, g) in gradient.iter().enumerate() {
                let (a, b) = (a[from_a + index * step_a], b[from_b + index * step_b]);
                to[start + index * step] += g * self.operator.derivatives(a, b)[which];
            }
        });
    }
}
