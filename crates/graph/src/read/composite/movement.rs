//! Operators that move or repeat elements.

use super::{Composer, Source};
use crate::infer::broadcast;
use crate::read::operators::{Site, axis};
use crate::{Op, OpError, Tensor, TensorData};

type Composed = Result<Source, OpError>;

/// The block size of DepthToSpace and SpaceToDepth.
fn block(site: &mut Site<'_>) -> Result<usize, OpError> {
    let attribute = "blocksize";
    let given = (site.attributes.int(attribute)?).ok_or(OpError::MissingAttribute { attribute })?;
    usize::try_from(given)
        .ok()
        .filter(|&block| (1..=1 << 16).contains(&block))
        .ok_or_else(|| OpError::Attribute {
            attribute,
            found: given.to_string(),
            expected: "1 to 65536",
        })
}

fn picture(c: &Composer<'_>, x: Source) -> Result<[usize; 4], OpError> {
    crate::infer::picture(&c.shape(x))
}

pub(super) fn depth_to_space(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let b = block(site)?;
    let mode = match site.opset {
        ..11 => None,
        _ => site.attributes.string("mode")?,
    };
    let x = site.only()?;
    let [n, channels, h, w] = picture(c, x)?;
    if channels % (b * b) != 0 {
        return Err(OpError::Shape {
            input: "input",
            found: c.shape(x),
            expected: "a multiple of blocksize squared channels".into(),
        });
    }
    let depth = channels / (b * b);
    // Depth, column, row; or column, row, depth.
    let (split, perm) = match mode.as_deref() {
        None | Some("DCR") => ([n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
        Some("CRD") => ([n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        Some(other) => {
            return Err(OpError::Attribute {
                attribute: "mode",
                found: other.to_owned(),
                expected: "DCR or CRD",
            });
        }
    };
    let split = c.reshape(x, &split)?;
    let perm = perm.to_vec();
    let moved = c.then(Op::Transpose { perm }, split)?;
    c.reshape(moved, &[n, depth, h * b, w * b])
}

pub(super) fn space_to_depth(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    let b = block(site)?;
    let mode = match site.opset {
        ..28 => None,
        _ => site.attributes.string("mode")?,
    };
    let x = site.only()?;
    let [n, channels, h, w] = picture(c, x)?;
    if h % b != 0 || w % b != 0 {
        return Err(OpError::Shape {
            input: "input",
            found: c.shape(x),
            expected: "height and width that blocksize divides".into(),
        });
    }
    let split = c.reshape(x, &[n, channels, h / b, b, w / b, b])?;
    // Depth, column, row; or column, row, depth.
    let perm = match mode.as_deref() {
        None | Some("DCR") => vec![0, 3, 5, 1, 2, 4],
        Some("CRD") => vec![0, 1, 3, 5, 2, 4],
        Some(other) => {
            return Err(OpError::Attribute {
                attribute: "mode",
                found: other.to_owned(),
                expected: "DCR or CRD",
            });
        }
    };
    let moved = c.then(Op::Transpose { perm }, split)?;
    c.reshape(moved, &[n, channels * b * b, h / b, w / b])
}

/// The product with ones, which repeats the axes of size 1.
pub(super) fn expand(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let x = site.source(0, "input")?;
    let shape = site.sizes(1, "shape")?;
    let from = c.shape(x);
    let to = broadcast(&from, &shape)?;
    let missing = to.len() - from.len();
    let ones: Vec<usize> = (to.iter().enumerate())
        .map(|(i, &size)| match i.checked_sub(missing).map(|i| from[i]) {
            Some(before) if before == size => 1,
            _ => size,
        })
        .collect();
    if ones.iter().all(|&size| size == 1) {
        return c.reshape(x, &to);
    }
    repeated(c, site, x, &ones)
}

/// The product with a tensor of ones.
fn repeated(c: &mut Composer<'_>, site: &Site<'_>, x: Source, ones: &[usize]) -> Composed {
    site.fits(&broadcast(&c.shape(x), ones)?)?;
    // An empty x makes the product empty, but not the ones.
    let count = site.fits(ones)?;
    let ones = c.numbers(x, ones, vec![1.0; count])?;
    c.node(Op::Mul, &[x, ones])
}

/// Repeats each axis as a whole: as an axis before it that a product with ones repeats.
pub(super) fn tile(c: &mut Composer<'_>, site: &Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let mut x = site.source(0, "input")?;
    let repeats = site.sizes(1, "repeats")?;
    let mut shape = c.shape(x);
    if repeats.len() != shape.len() || repeats.contains(&0) {
        return Err(OpError::ConstantInput {
            input: "repeats",
            found: format!("{repeats:?}"),
            expected: "one number for every axis, not 0",
        });
    }
    for (i, &times) in repeats.iter().enumerate() {
        if times == 1 {
            continue;
        }
        let outer: usize = shape[..i].iter().product();
        let inner: usize = shape[i..].iter().product();
        let split = c.reshape(x, &[outer, 1, inner])?;
        let tiled = repeated(c, site, split, &[times, 1])?;
        shape[i] = shape[i].saturating_mul(times);
        x = c.reshape(tiled, &shape)?;
    }
    Ok(x)
}

/// The indices of a Gather, resolved.
fn indices(site: &Site<'_>, at: usize, size: usize) -> Result<(Vec<usize>, Vec<usize>), OpError> {
    let (given, shape) = given_indices(site, at)?;
    let resolved = given.iter().map(|&index| place(index, size));
    Ok((resolved.collect::<Result<_, _>>()?, shape))
}

/// Constant indices and their shape.
pub(super) fn given_indices(site: &Site<'_>, at: usize) -> Result<(Vec<i64>, Vec<usize>), OpError> {
    let input = "indices";
    let tensor = (site.constant(at, input)?).ok_or(OpError::MissingInput { input })?;
    let given = match tensor.data() {
        TensorData::I64(v) => v.clone(),
        TensorData::I32(v) => v.iter().map(|&i| i.into()).collect(),
        _ => {
            return Err(OpError::ElementType {
                input,
                found: tensor.element_type(),
                expected: "int64 or int32",
            });
        }
    };
    Ok((given, tensor.shape().to_vec()))
}

/// The place of an index. Negative ones count from the end.
pub(super) fn place(index: i64, size: usize) -> Result<usize, OpError> {
    let from_start = match index {
        ..0 => index.saturating_add(size as i64),
        _ => index,
    };
    usize::try_from(from_start)
        .ok()
        .filter(|&place| place < size)
        .ok_or(OpError::Index {
            index,
            length: size,
        })
}

/// Gather with constant indices. Indices without axes remove the axis. Indices of a strided view
/// of all elements, as PyTorch's exporter writes it for a transposed picture, are a transposition.
pub(super) fn gather(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let x = site.source(0, "data")?;
    let shape = c.shape(x);
    let axis = axis(given, &shape)?;
    let (indices, index_shape) = indices(site, 1, shape[axis])?;
    let to = [&shape[..axis], &index_shape, &shape[axis + 1..]].concat();
    if shape.len() == 1
        && let Some((split, perm)) = strided(&indices, &index_shape, shape[0])
    {
        let split = c.reshape(x, &split)?;
        let moved = c.then(Op::Transpose { perm }, split)?;
        return c.reshape(moved, &to);
    }
    let selected = c.then(Op::Gather { axis, indices }, x)?;
    match index_shape.is_empty() {
        true => c.then(Op::Squeeze { axes: vec![axis] }, selected),
        false => c.reshape(selected, &to),
    }
}

/// Gather along the first axis of input `data`, at the constant indices of input `at`.
pub(super) fn rows(c: &mut Composer<'_>, site: &Site<'_>, data: usize, at: usize) -> Composed {
    let x = site.source(data, "data")?;
    let shape = c.shape(x);
    let (indices, index_shape) = indices(site, at, shape.first().copied().unwrap_or(0))?;
    let selected = c.then(Op::Gather { axis: 0, indices }, x)?;
    c.reshape(selected, &[&index_shape, &shape[1..]].concat())
}

/// Reverses the first elements of each sequence of a batch; as many as a constant input tells.
pub(super) fn reverse_sequence(c: &mut Composer<'_>, site: &mut Site<'_>) -> Composed {
    site.at_most(2, "2")?;
    let batch = site.attributes.int("batch_axis")?.unwrap_or(1);
    let time = site.attributes.int("time_axis")?.unwrap_or(0);
    let x = site.source(0, "input")?;
    let shape = c.shape(x);
    let (&[first, second, ..], (0, 1) | (1, 0)) = (&shape[..], (batch, time)) else {
        return Err(OpError::Attribute {
            attribute: "batch_axis and time_axis",
            found: format!("{batch} and {time} of {} axes", shape.len()),
            expected: "0 and 1, or 1 and 0",
        });
    };
    let lengths = site.sizes(1, "sequence_lens")?;
    let (steps, sequences) = if time == 0 {
        (first, second)
    } else {
        (second, first)
    };
    if lengths.len() != sequences || lengths.iter().any(|&length| length > steps) {
        return Err(OpError::ConstantInput {
            input: "sequence_lens",
            found: format!("{lengths:?}"),
            expected: "a length for each sequence, at most that of the input",
        });
    }
    let place = |step: usize, sequence: usize| {
        let step = match step < lengths[sequence] {
            true => lengths[sequence] - 1 - step,
            false => step,
        };
        match time {
            0 => step * second + sequence,
            _ => sequence * second + step,
        }
    };
    let pairs = (0..first).flat_map(|i| (0..second).map(move |j| (i, j)));
    let indices = pairs.map(|(i, j)| if time == 0 { place(i, j) } else { place(j, i) });
    let indices = indices.collect();
    let flat = c.reshape(x, &[&[first * second], &shape[2..]].concat())?;
    let reversed = c.then(Op::Gather { axis: 0, indices }, flat)?;
    c.reshape(reversed, &shape)
}

/// The shape and the transposition that give the elements at `indices` of `size` elements, if
/// each element is selected once, at a constant distance along each axis.
fn strided(indices: &[usize], shape: &[usize], size: usize) -> Option<(Vec<usize>, Vec<usize>)> {
    if indices.len() != size || shape.len() < 2 || indices.first() != Some(&0) {
        return None;
    }
    // The distance of each axis, in the order of the axes.
    let mut inner = size;
    let mut strides = Vec::with_capacity(shape.len());
    for &length in shape {
        inner /= length;
        strides.push(match length {
            1 => 0,
            _ => *indices.get(inner)?,
        });
    }
    let mut at = vec![0; shape.len()];
    for &index in indices {
        let expected: usize = at.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        if index != expected {
            return None;
        }
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    // In memory, the axes are sorted by distance, and each begins where the next one ends.
    let mut order: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] > 1).collect();
    order.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
    let mut distance = 1;
    for &axis in order.iter().rev() {
        if strides[axis] != distance {
            return None;
        }
        distance *= shape[axis];
    }
    let split = order.iter().map(|&axis| shape[axis]).collect();
    let mut perm: Vec<usize> = (0..order.len()).collect();
    perm.sort_by_key(|&i| order[i]);
    Some((split, perm))
}

/// Gather of a constant by constant indices, of any element type.
pub(super) fn of_constant(site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    let (data, _) = (
        site.constant(0, "data").ok()??,
        site.constant(1, "indices").ok()??,
    );
    Some(selected(site, data))
}

fn selected(site: &mut Site<'_>, data: &Tensor) -> Result<Tensor, OpError> {
    site.at_most(2, "2")?;
    let given = site.attributes.int("axis")?.unwrap_or(0);
    let shape = data.shape();
    let axis = axis(given, shape)?;
    let (indices, index_shape) = indices(site, 1, shape[axis])?;
    let to = [&shape[..axis], &index_shape, &shape[axis + 1..]].concat();
    site.fits(&to)?;
    let data = crate::fold::select(data, axis, &indices);
    Tensor::new(to, data).map_err(|e| OpError::TooLarge { shape: e.shape })
}
