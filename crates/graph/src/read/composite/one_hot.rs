//! OneHot, Hardmax, and Gather and GatherElements with indices that are computed at run time, by comparison of
//! an index with all numbers. Indices are compared in float32, which is exact below 2^24.

use super::{Composer, Source, reductions, selection};
use crate::read::operators::{Site, axis};
use crate::{Comparison, ElementType, Op, OpError, Reduction, SliceAxis};

type Composed = Result<Source, OpError>;

/// The most numbers that an index is compared with.
const MOST: usize = 1 << 16;

fn cast(c: &mut Composer<'_>, x: Source, to: ElementType) -> Composed {
    match c.of(x).element_type == to {
        true => Ok(x),
        false => c.then(Op::Cast { to }, x),
    }
}

/// For each index, whether it is each of the numbers below `depth`, along a new axis. Negative indices
/// count from the end.
fn compared(c: &mut Composer<'_>, indices: Source, depth: usize, at: usize) -> Composed {
    if !(1..=MOST).contains(&depth) {
        return Err(OpError::Unsupported {
            feature: "an axis of 0 or of more than 65,536 elements for an index at run time",
        });
    }
    let indices = cast(c, indices, ElementType::F32)?;
    let zero = c.float32(&[], vec![0.0])?;
    let is_negative = c.node(Op::Compare(Comparison::Less), &[indices, zero])?;
    let from_end = c.with(Op::Add, indices, depth as f32)?;
    let indices = c.node(Op::Where, &[is_negative, from_end, indices])?;
    let indices = c.then(Op::Unsqueeze { axes: vec![at] }, indices)?;
    let mut along = vec![1; c.shape(indices).len() - at];
    along[0] = depth;
    let numbers = c.float32(&along, (0..depth).map(|i| i as f32).collect())?;
    c.node(Op::Compare(Comparison::Equal), &[indices, numbers])
}

pub(super) fn one_hot(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(3, "3")?;
    let given = site.attributes.int("axis")?.unwrap_or(-1);
    let (indices, values) = (site.source(0, "indices")?, site.source(2, "values")?);
    let depth = match site.scalar(1, "depth")? {
        Some(depth) if depth.fract() == 0.0 && depth >= 1.0 => depth as usize,
        found => {
            return Err(OpError::ConstantInput {
                input: "depth",
                found: format!("{found:?}"),
                expected: "a number of 1 or more",
            });
        }
    };
    if c.shape(values) != [2] {
        return Err(OpError::Shape {
            input: "values",
            found: c.shape(values),
            expected: "two elements, off and on".into(),
        });
    }
    let mut shape = c.shape(indices);
    shape.push(depth);
    site.fits(&shape)?;
    let at = axis(given, &shape)?;
    let is_on = compared(c, indices, depth, at)?;
    let mut value = |start| {
        let axes = vec![SliceAxis {
            start,
            step: 1,
            length: 1,
        }];
        let one = c.then(Op::Slice { axes }, values)?;
        c.reshape(one, &[])
    };
    let (off, on) = (value(0)?, value(1)?);
    // The engine chooses between float32 numbers.
    let of = c.of(values).element_type;
    let off = cast(c, off, ElementType::F32)?;
    let on = cast(c, on, ElementType::F32)?;
    let chosen = c.node(Op::Where, &[is_on, on, off])?;
    cast(c, chosen, of)
}

/// 1 at the first largest element along an axis, and 0 elsewhere. Before opset 13, all axes from `axis` on
/// are one.
pub(super) fn hardmax(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let default = if site.opset < 13 { 1 } else { -1 };
    let given = site.attributes.int("axis")?.unwrap_or(default);
    let x = site.only()?;
    let shape = c.shape(x);
    let at = axis(given, &shape)?;
    let (outer, inner) = shape.split_at(at);
    let count = match site.opset < 13 {
        true => inner.iter().product(),
        false => shape[at],
    };
    let rest = match site.opset < 13 {
        true => 1,
        false => inner[1..].iter().product(),
    };
    let planes = c.reshape(x, &[outer.iter().product(), count, rest])?;
    let index = reductions::first_largest(c, planes, 1)?;
    let is_largest = compared(c, index, count, 1)?;
    let result = cast(c, is_largest, c.of(x).element_type)?;
    c.reshape(result, &shape)
}

/// Gather at indices that are computed at run time, as an embedding of a command is: the product of the
/// comparison with all places and the data.
pub(super) fn gather(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let (x, indices) = (site.source(0, "data")?, site.source(1, "indices")?);
    let (shape, index_shape) = (c.shape(x), c.shape(indices));
    let at = axis(given, &shape)?;
    let count: usize = index_shape.iter().product();
    let flat = c.reshape(indices, &[count])?;
    site.fits(&[count, shape[at]])?;
    let is_there = compared(c, flat, shape[at], 1)?;
    let is_there = cast(c, is_there, ElementType::F32)?;
    // The axis first, as rows of the product.
    let perm: Vec<usize> = (std::iter::once(at))
        .chain((0..shape.len()).filter(|&i| i != at))
        .collect();
    let others: usize = [&shape[..at], &shape[at + 1..]].concat().iter().product();
    let first = match at {
        0 => x,
        _ => c.then(Op::Transpose { perm }, x)?,
    };
    let rows = c.reshape(first, &[shape[at], others])?;
    let selected = c.node(Op::MatMul, &[is_there, rows])?;
    let (before, after) = (&shape[..at], &shape[at + 1..]);
    let moved = c.reshape(selected, &[&[count], before, after].concat())?;
    let last = match at {
        0 => moved,
        _ => {
            let perm = (1..=at).chain([0]).chain(at + 1..shape.len()).collect();
            c.then(Op::Transpose { perm }, moved)?
        }
    };
    c.reshape(last, &[before, &index_shape, after].concat())
}

/// GatherElements at indices that are computed at run time: of each row, the sum of what is there.
pub(super) fn gather_elements(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let (x, indices) = (site.source(0, "data")?, site.source(1, "indices")?);
    let (shape, index_shape) = (c.shape(x), c.shape(indices));
    let at = axis(given, &shape)?;
    selection::check_elements(&index_shape, &shape, at)?;
    let mut axes = reductions::full_slice(&index_shape);
    axes[at].length = shape[at];
    let rows = match axes == reductions::full_slice(&shape) {
        true => x,
        false => c.then(Op::Slice { axes }, x)?,
    };
    let is_there = compared(c, indices, shape[at], at)?;
    site.fits(&c.shape(is_there))?;
    let rows = c.then(Op::Unsqueeze { axes: vec![at + 1] }, rows)?;
    let zero = c.number(rows, 0.0)?;
    let chosen = c.node(Op::Where, &[is_there, rows, zero])?;
    reductions::reduced(c, Reduction::Sum, chosen, &[at], false)
}
