//! Binary operators and selection with numpy's broadcasting, and the affine map along the last
//! axis.

use super::activation;
use crate::plan::{Activation, BinaryOperator, MAX_RANK};

/// Adjacent axes merged into one, over which each operand has a constant stride.
#[derive(Debug, Clone, Copy, Default)]
struct Axis {
    length: usize,
    /// Elements from one index to the next; 0 where broadcast.
    strides: [usize; 2],
}

/// How two operands are indexed for each element of the output.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    outer: Vec<Axis>,
    inner: Axis,
}

impl Broadcast {
    /// For operands of shapes `a` and `b` and their broadcast shape.
    pub(crate) fn new(a: &[usize], b: &[usize], output: &[usize]) -> Self {
        let rank = output.len();
        let mut axes: Vec<Axis> = Vec::new();
        let mut strides = [1, 1];
        for axis in (0..rank).rev() {
            let length = output[axis];
            let mut next = Axis {
                length,
                strides: [0, 0],
            };
            for (operand, shape) in [a, b].into_iter().enumerate() {
                let size = (axis + shape.len())
                    .checked_sub(rank)
                    .map_or(1, |axis| shape[axis]);
                if size != 1 {
                    next.strides[operand] = strides[operand];
                    strides[operand] *= size;
                }
            }
            if length == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(last)
                    if (0..2).all(|operand| {
                        next.strides[operand] == last.strides[operand] * last.length
                    }) =>
                {
                    last.length *= length;
                }
                _ => axes.push(next),
            }
        }
        let inner = if axes.is_empty() {
            Axis {
                length: 1,
                strides: [0, 0],
            }
        } else {
            axes.remove(0)
        };
        axes.reverse();
        Self { outer: axes, inner }
    }

    /// `output[i] = activation(a[..] operator b[..])`.
    #[inline(always)]
    pub(crate) fn run(
        &self,
        operator: BinaryOperator,
        function: Activation,
        a: &[f32],
        b: &[f32],
        output: &mut [f32],
    ) {
        if output.is_empty() {
            return;
        }
        match operator {
            BinaryOperator::Add => self.each(a, b, output, function, |x, y| x + y),
            BinaryOperator::Sub => self.each(a, b, output, function, |x, y| x - y),
            BinaryOperator::Mul => self.each(a, b, output, function, |x, y| x * y),
            BinaryOperator::Div => self.each(a, b, output, function, |x, y| x / y),
            BinaryOperator::Min => self.each(a, b, output, function, smaller),
            BinaryOperator::Max => self.each(a, b, output, function, larger),
            // A normalization's square, as exporters write it.
            BinaryOperator::Pow if b == [2.0] => self.each(a, b, output, function, |x, _| x * x),
            BinaryOperator::Pow => self.each(a, b, output, function, libm::powf),
            BinaryOperator::Equal => self.each(a, b, output, function, |x, y| one_if(x == y)),
            BinaryOperator::Greater => self.each(a, b, output, function, |x, y| one_if(x > y)),
            BinaryOperator::GreaterOrEqual => {
                self.each(a, b, output, function, |x, y| one_if(x >= y));
            }
            BinaryOperator::Less => self.each(a, b, output, function, |x, y| one_if(x < y)),
            BinaryOperator::LessOrEqual => {
                self.each(a, b, output, function, |x, y| one_if(x <= y));
            }
        }
    }

    #[inline(always)]
    fn each(
        &self,
        a: &[f32],
        b: &[f32],
        output: &mut [f32],
        function: Activation,
        compute: impl Fn(f32, f32) -> f32 + Copy,
    ) {
        let mut index = [0_usize; MAX_RANK];
        let mut at = [0_usize; 2];
        let length = self.inner.length;
        for row in output.chunks_exact_mut(length) {
            match self.inner.strides {
                [0, 0] => row.fill(compute(a[at[0]], b[at[1]])),
                [0, _] => {
                    let x = a[at[0]];
                    let b = &b[at[1]..at[1] + length];
                    row.iter_mut().zip(b).for_each(|(o, &y)| *o = compute(x, y));
                }
                [_, 0] => {
                    let y = b[at[1]];
                    let a = &a[at[0]..at[0] + length];
                    row.iter_mut().zip(a).for_each(|(o, &x)| *o = compute(x, y));
                }
                _ => {
                    let a = &a[at[0]..at[0] + length];
                    let b = &b[at[1]..at[1] + length];
                    row.iter_mut()
                        .zip(a.iter().zip(b))
                        .for_each(|(o, (&x, &y))| *o = compute(x, y));
                }
            }
            activation::apply(function, row);
            for (axis, index) in self.outer.iter().zip(&mut index).rev() {
                *index += 1;
                at[0] += axis.strides[0];
                at[1] += axis.strides[1];
                if *index < axis.length {
                    break;
                }
                *index = 0;
                at[0] -= axis.strides[0] * axis.length;
                at[1] -= axis.strides[1] * axis.length;
            }
        }
    }
}

#[inline(always)]
fn one_if(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}

/// The smaller number, or NaN if one of them is NaN.
#[inline(always)]
pub(crate) fn smaller(x: f32, y: f32) -> f32 {
    if x < y || x.is_nan() { x } else { y }
}

/// The larger number, or NaN if one of them is NaN.
#[inline(always)]
pub(crate) fn larger(x: f32, y: f32) -> f32 {
    if x > y || x.is_nan() { x } else { y }
}

/// Selects between two operands by a third.
#[derive(Debug)]
pub(crate) struct Select {
    /// For each axis, outermost first: the output's length and the operands' strides.
    axes: Vec<(usize, [usize; 3])>,
}

impl Select {
    /// For operands of the given shapes (condition, a, b) and their broadcast shape.
    pub(crate) fn new(operands: [&[usize]; 3], output: &[usize]) -> Self {
        let rank = output.len();
        let mut strides = [1; 3];
        let mut axes: Vec<(usize, [usize; 3])> = (0..rank)
            .rev()
            .map(|axis| {
                let mut along = [0; 3];
                for (operand, shape) in operands.into_iter().enumerate() {
                    let size = (axis + shape.len())
                        .checked_sub(rank)
                        .map_or(1, |axis| shape[axis]);
                    if size != 1 {
                        along[operand] = strides[operand];
                        strides[operand] *= size;
                    }
                }
                (output[axis], along)
            })
            .collect();
        axes.reverse();
        Self { axes }
    }

    /// `output[i] = if condition[..] { a[..] } else { b[..] }`; the condition's bytes are 0 or
    /// not.
    pub(crate) fn run(&self, condition: &[u8], a: &[f32], b: &[f32], output: &mut [f32]) {
        let mut index = [0_usize; MAX_RANK];
        let mut at = [0_usize; 3];
        for o in output {
            *o = if condition[at[0]] != 0 {
                a[at[1]]
            } else {
                b[at[2]]
            };
            for ((length, strides), index) in self.axes.iter().zip(&mut index).rev() {
                *index += 1;
                at.iter_mut().zip(strides).for_each(|(at, s)| *at += s);
                if *index < *length {
                    break;
                }
                *index = 0;
                at.iter_mut()
                    .zip(strides)
                    .for_each(|(at, s)| *at -= s * length);
            }
        }
    }
}

/// `output = activation(input * scale + shift)` along the last axis. `scale` and `shift` are those
/// of the axis once or several times.
#[inline(always)]
pub(crate) fn affine(
    scale: &[f32],
    shift: &[f32],
    function: Activation,
    input: &[f32],
    output: &mut [f32],
) {
    if output.is_empty() {
        return;
    }
    for (row, input) in output
        .chunks_mut(scale.len())
        .zip(input.chunks(scale.len()))
    {
        for (((o, &x), &scale), &shift) in row.iter_mut().zip(input).zip(scale).zip(shift) {
            *o = x * scale + shift;
        }
        activation::apply(function, row);
    }
}
