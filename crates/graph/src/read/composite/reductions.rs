//! The reductions, LogSoftmax, ArgMax, ArgMin, and the variadic Min, Max, Sum and Mean, composed of
//! simpler operators.

use super::{Composer, Source};
use crate::read::operators::arithmetic::{self, Cumulative};
use crate::read::operators::{Site, axis};
use crate::{Comparison, ElementType, Function, Op, OpError, Reduction, SliceAxis};

type Composed = Result<Source, OpError>;

/// Combines elements along the axes, or nothing if there are none.
pub(super) fn reduced(
    c: &mut Composer<'_>,
    reduction: Reduction,
    x: Source,
    axes: &[usize],
    keep_dims: bool,
) -> Composed {
    if axes.is_empty() {
        return Ok(x);
    }
    let axes = axes.to_vec();
    c.then(
        Op::Reduce {
            reduction,
            axes,
            keep_dims,
        },
        x,
    )
}

pub(super) fn reduce(c: &mut Composer<'_>, site: &mut Site<'_>, operator: &str) -> Composed {
    let (axes, keep_dims) = arithmetic::reduced_axes(site, 18)?;
    let x = site.source(0, "data")?;
    let sum = |c: &mut Composer<'_>, x| reduced(c, Reduction::Sum, x, &axes, keep_dims);
    match operator {
        "ReduceL1" => {
            let x = c.then(Op::Function(Function::Abs), x)?;
            sum(c, x)
        }
        "ReduceL2" | "ReduceSumSquare" => {
            let square = c.node(Op::Mul, &[x, x])?;
            let sum = sum(c, square)?;
            match operator {
                "ReduceL2" => c.then(Op::Function(Function::Sqrt), sum),
                _ => Ok(sum),
            }
        }
        "ReduceLogSum" => {
            let sum = sum(c, x)?;
            c.then(Op::Function(Function::Log), sum)
        }
        _ => {
            // The largest element is subtracted first: exp of a large one would overflow.
            let largest = reduced(c, Reduction::Max, x, &axes, true)?;
            let shifted = c.node(Op::Sub, &[x, largest])?;
            let exp = c.then(Op::Function(Function::Exp), shifted)?;
            let total = reduced(c, Reduction::Sum, exp, &axes, keep_dims)?;
            let log = c.then(Op::Function(Function::Log), total)?;
            let shape = c.shape(log);
            let largest = c.reshape(largest, &shape)?;
            c.node(Op::Add, &[log, largest])
        }
    }
}

/// x - max - ln(sum(exp(x - max)))
pub(super) fn log_softmax(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let op = arithmetic::softmax(site)?;
    let Op::Softmax { axis, end_axis } = op else {
        return c.then(op, site.only()?);
    };
    let x = site.only()?;
    let axes: Vec<usize> = (axis..end_axis).collect();
    let largest = reduced(c, Reduction::Max, x, &axes, true)?;
    let shifted = c.node(Op::Sub, &[x, largest])?;
    let exp = c.then(Op::Function(Function::Exp), shifted)?;
    let total = reduced(c, Reduction::Sum, exp, &axes, true)?;
    let log = c.then(Op::Function(Function::Log), total)?;
    c.node(Op::Sub, &[shifted, log])
}

/// Min, Max, Sum and Mean of any number of inputs.
pub(super) fn variadic(c: &mut Composer<'_>, site: &Site<'_>, operator: &str) -> Composed {
    let op = match operator {
        "Max" => Op::Max,
        "Min" => Op::Min,
        _ => Op::Add,
    };
    let mut result = site.source(0, "data_0")?;
    for i in 1..site.inputs.len() {
        result = c.node(op.clone(), &[result, site.source(i, "data_1")?])?;
    }
    match operator {
        "Mean" => c.with(Op::Div, result, site.inputs.len() as f32),
        _ => Ok(result),
    }
}

/// ArgMax and ArgMin.
pub(super) fn arg(c: &mut Composer<'_>, site: &mut Site<'_>, largest: bool) -> Composed {
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let keep_dims = site.attributes.flag("keepdims", true)?;
    let last = site.opset >= 12 && site.attributes.flag("select_last_index", false)?;
    let x = site.only()?;
    let axis = axis(given, &c.shape(x))?;
    let index = index_of(c, x, axis, (largest, last, keep_dims))?;
    c.then(
        Op::Cast {
            to: ElementType::I64,
        },
        index,
    )
}

/// The index of the first largest element along an axis, which is removed, in float32.
pub(super) fn first_largest(c: &mut Composer<'_>, x: Source, axis: usize) -> Composed {
    index_of(c, x, axis, (true, false, false))
}

/// The index of the largest or smallest element: the first or last index whose element equals the
/// reduction. Indices are computed in float32, which is exact below 2^24.
fn index_of(
    c: &mut Composer<'_>,
    x: Source,
    axis: usize,
    (largest, last, keep_dims): (bool, bool, bool),
) -> Composed {
    let shape = c.shape(x);
    let size = shape[axis];
    if size == 0 || size > 1 << 24 {
        return Err(OpError::Unsupported {
            feature: "an axis of 0 or of more than 2^24 elements",
        });
    }
    let extreme = match largest {
        true => Reduction::Max,
        false => Reduction::Min,
    };
    let extreme = reduced(c, extreme, x, &[axis], true)?;
    let found = c.node(Op::Compare(Comparison::Equal), &[x, extreme])?;
    let mut along = vec![1; shape.len() - axis];
    along[0] = size;
    let indices = (0..size).map(|i| i as f32).collect();
    let indices = c.float32(&along, indices)?;
    // NaN compares unequal to everything. Without a match the result is `size - 1`, or 0 with
    // `select_last_index`.
    let (no_match, reduction) = match last {
        true => (0.0, Reduction::Max),
        false => ((size - 1) as f32, Reduction::Min),
    };
    let no_match = c.float32(&[], vec![no_match])?;
    let indices = c.node(Op::Where, &[found, indices, no_match])?;
    reduced(c, reduction, indices, &[axis], keep_dims)
}

/// The sums of the elements up to each along an axis: the product with a triangle of ones.
pub(super) fn cumulative_sum(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let x = site.source(0, "x")?;
    let shape = c.shape(x);
    let Cumulative {
        axis,
        exclusive,
        reverse,
    } = Cumulative::read(site, &shape)?;
    let size = shape[axis];
    site.fits(&[size, size])?;
    let adds = |from: usize, to: usize| match reverse {
        _ if from == to => !exclusive,
        true => from > to,
        false => from < to,
    };
    let ones = (0..size * size).map(|i| f32::from(u8::from(adds(i / size, i % size))));
    let ones = c.numbers(x, &[size, size], ones.collect())?;
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    perm.swap(axis, shape.len() - 1);
    let turn = |c: &mut Composer<'_>, x| match axis + 1 == shape.len() {
        true => Ok(x),
        false => c.then(Op::Transpose { perm: perm.clone() }, x),
    };
    let rows = turn(c, x)?;
    let turned = c.shape(rows);
    let flat = c.reshape(
        rows,
        &[turned.iter().product::<usize>() / size.max(1), size],
    )?;
    let sums = c.node(Op::MatMul, &[flat, ones])?;
    let sums = c.reshape(sums, &turned)?;
    turn(c, sums)
}

/// A slice that covers all axes of `shape`, for the caller to narrow.
pub(super) fn full_slice(shape: &[usize]) -> Vec<SliceAxis> {
    (shape.iter())
        .map(|&length| SliceAxis {
            start: 0,
            step: 1,
            length,
        })
        .collect()
}
