//! Binary operators with numpy's broadcasting, and the affine map along the last axis.

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

/// `output = activation(input * scale + shift)` along the last axis.
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
        .chunks_exact_mut(scale.len())
        .zip(input.chunks_exact(scale.len()))
    {
        for (((o, &x), &scale), &shift) in row.iter_mut().zip(input).zip(scale).zip(shift) {
            *o = x * scale + shift;
        }
        activation::apply(function, row);
    }
}
