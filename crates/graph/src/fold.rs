//! Folds constants. Exported models use many operators only to compute shapes and tables, often
//! operators that nothing else in the model uses.

mod arithmetic;

use half::f16;

use crate::{ElementType, Op, Tensor, TensorData, TensorType};

/// Whether [`fold`] supports the operator. Layers and QDQ pairs stay: the compiler folds or
/// quantizes them.
pub(crate) fn foldable(op: &Op) -> bool {
    matches!(
        op,
        Op::Identity
            | Op::Reshape
            | Op::Flatten { .. }
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Split { .. }
            | Op::Concat { .. }
            | Op::Gather { .. }
            | Op::Cast { .. }
            | Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Min
            | Op::Max
            | Op::Pow
            | Op::Compare(_)
            | Op::Where
            | Op::Relu
            | Op::Function(_)
            | Op::Reduce { .. }
    )
}

/// Computes the outputs, with the given types. `None` if the operator is not supported on these
/// elements or the result is undefined or not finite (a division by 0, for example).
pub(crate) fn fold(op: &Op, inputs: &[&Tensor], outputs: &[TensorType]) -> Option<Vec<Tensor>> {
    let x = *inputs.first()?;
    let out = outputs.first()?;
    let one = |data: TensorData| Some(vec![Tensor::new(out.shape.clone(), data).ok()?]);
    match op {
        Op::Identity
        | Op::Reshape
        | Op::Flatten { .. }
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. } => one(x.data().clone()),
        Op::Transpose { perm } => {
            let strides = row_major(x.shape());
            let strides: Vec<isize> = perm.iter().map(|&p| strides[p]).collect();
            one(view(x.data(), &out.shape, &strides, 0))
        }
        Op::Slice { axes } => {
            let strides = row_major(x.shape());
            let offset = (axes.iter().zip(&strides))
                .map(|(a, s)| a.start as isize * s)
                .sum();
            let strides: Vec<isize> = (axes.iter().zip(&strides))
                .map(|(a, s)| a.step * s)
                .collect();
            one(view(x.data(), &out.shape, &strides, offset))
        }
        Op::Split { axis } => {
            let strides = row_major(x.shape());
            let mut offset = 0;
            (outputs.iter())
                .map(|out| {
                    let data = view(x.data(), &out.shape, &strides, offset);
                    offset += out.shape[*axis] as isize * strides[*axis];
                    Tensor::new(out.shape.clone(), data).ok()
                })
                .collect()
        }
        Op::Concat { axis } => one(concat(inputs, *axis)?),
        Op::Cast { to } => one(cast(x.data(), *to)),
        Op::Gather { axis, indices } => one(select(x, *axis, indices)),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Min | Op::Max | Op::Pow => {
            one(arithmetic::binary(op, x, inputs.get(1)?, &out.shape)?)
        }
        Op::Compare(comparison) => {
            let holds = arithmetic::compare(*comparison, x, inputs.get(1)?, &out.shape)?;
            one(holds.into())
        }
        Op::Where => one(choose(x, inputs.get(1)?, inputs.get(2)?, &out.shape)?),
        Op::Relu => one(arithmetic::unary(|x| x.max(0.0), x)?),
        Op::Function(function) => one(arithmetic::unary(|x| function.at(x), x)?),
        Op::Reduce {
            reduction, axes, ..
        } => one(arithmetic::reduce(*reduction, axes, x)?),
        _ => None,
    }
}

/// Applies the same expression to the elements of any type.
macro_rules! each_type {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            TensorData::F32($v) => TensorData::F32($body),
            TensorData::F16($v) => TensorData::F16($body),
            TensorData::I64($v) => TensorData::I64($body),
            TensorData::I32($v) => TensorData::I32($body),
            TensorData::U8($v) => TensorData::U8($body),
            TensorData::I8($v) => TensorData::I8($body),
            TensorData::Bool($v) => TensorData::Bool($body),
        }
    };
}

fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i] as isize;
    }
    strides
}

fn view(data: &TensorData, shape: &[usize], strides: &[isize], offset: isize) -> TensorData {
    each_type!(data, v => gather(v, shape, strides, offset))
}

/// The elements at `offset` plus the sum of indices times strides, in row-major order.
fn gather<T: Copy>(from: &[T], shape: &[usize], strides: &[isize], offset: isize) -> Vec<T> {
    let count = shape.iter().product();
    let mut to = Vec::with_capacity(count);
    let mut index = vec![0; shape.len()];
    let mut at = offset;
    while to.len() < count {
        to.push(from[at as usize]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis] as isize;
            index[axis] = 0;
        }
    }
    to
}

fn concat(inputs: &[&Tensor], axis: usize) -> Option<TensorData> {
    macro_rules! parts {
        ($variant:ident) => {{
            let parts = (inputs.iter())
                .map(|t| match t.data() {
                    TensorData::$variant(v) => Some((v.as_slice(), t.shape())),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()?;
            TensorData::$variant(interleave(&parts, axis))
        }};
    }
    Some(match inputs.first()?.element_type() {
        ElementType::F32 => parts!(F32),
        ElementType::F16 => parts!(F16),
        ElementType::I64 => parts!(I64),
        ElementType::I32 => parts!(I32),
        ElementType::U8 => parts!(U8),
        ElementType::I8 => parts!(I8),
        ElementType::Bool => parts!(Bool),
    })
}

fn interleave<T: Copy>(parts: &[(&[T], &[usize])], axis: usize) -> Vec<T> {
    let total = parts.iter().map(|(v, _)| v.len()).sum();
    let mut to = Vec::with_capacity(total);
    // The outer axes of an empty result may be of any size.
    if total == 0 {
        return to;
    }
    let outer: usize = parts[0].1[..axis].iter().product();
    for i in 0..outer {
        for (v, shape) in parts {
            let run: usize = shape[axis..].iter().product();
            to.extend_from_slice(&v[i * run..(i + 1) * run]);
        }
    }
    to
}

/// Converts like Rust's `as`. An integer outside the range of an integer type wraps around, as in
/// NumPy. A float saturates.
fn cast(data: &TensorData, to: ElementType) -> TensorData {
    macro_rules! numbers {
        ($v:expr) => {
            match to {
                ElementType::F32 => TensorData::F32($v.iter().map(|&e| e as f32).collect()),
                // Integers that are rounded in f32 are outside f16's range.
                ElementType::F16 => {
                    TensorData::F16($v.iter().map(|&e| f16::from_f32(e as f32)).collect())
                }
                ElementType::I64 => TensorData::I64($v.iter().map(|&e| e as i64).collect()),
                ElementType::I32 => TensorData::I32($v.iter().map(|&e| e as i32).collect()),
                ElementType::U8 => TensorData::U8($v.iter().map(|&e| e as u8).collect()),
                ElementType::I8 => TensorData::I8($v.iter().map(|&e| e as i8).collect()),
                ElementType::Bool => {
                    TensorData::Bool($v.iter().map(|&e| e != Default::default()).collect())
                }
            }
        };
    }
    match data {
        TensorData::F32(v) => numbers!(v),
        TensorData::I64(v) => numbers!(v),
        TensorData::I32(v) => numbers!(v),
        TensorData::U8(v) => numbers!(v),
        TensorData::I8(v) => numbers!(v),
        TensorData::F16(v) => {
            let v: Vec<f32> = v.iter().map(|e| e.to_f32()).collect();
            match to {
                ElementType::F16 => data.clone(),
                _ => numbers!(v),
            }
        }
        TensorData::Bool(v) => {
            let v: Vec<u8> = v.iter().map(|&e| u8::from(e)).collect();
            match to {
                ElementType::Bool => data.clone(),
                _ => numbers!(v),
            }
        }
    }
}

/// The elements at `indices` of an axis.
pub(crate) fn select(x: &Tensor, axis: usize, indices: &[usize]) -> TensorData {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    // The outer axes of an empty result may be of any size.
    let outer: usize = match inner == 0 || indices.is_empty() {
        true => 0,
        false => x.shape()[..axis].iter().product(),
    };
    let run = x.shape()[axis] * inner;
    each_type!(x.data(), v => (0..outer)
        .flat_map(|i| indices.iter().map(move |index| i * run + index * inner))
        .flat_map(|at| v[at..at + inner].iter().copied())
        .collect())
}

/// A tensor of more than one element with the largest finite numbers where it is infinite. A single
/// infinity is a limit or a fill value; several are a mask, whose sum with a score is as low.
pub(crate) fn bounded(tensor: Tensor) -> Tensor {
    let data = match tensor.data() {
        TensorData::F32(v) if v.len() > 1 && v.iter().any(|x| x.is_infinite()) => {
            let each = v.iter().map(|x| x.clamp(f32::MIN, f32::MAX));
            TensorData::F32(each.collect())
        }
        TensorData::F16(v) if v.len() > 1 && v.iter().any(|x| x.is_infinite()) => {
            let each = v.iter().map(|x| x.clamp(f16::MIN, f16::MAX));
            TensorData::F16(each.collect())
        }
        _ => return tensor,
    };
    match Tensor::new(tensor.shape(), data) {
        Ok(bounded) => bounded,
        Err(_) => tensor,
    }
}

/// The elements at the indices that `keeps` names, and 0 at all others.
pub(crate) fn kept(x: &Tensor, keeps: impl Fn(usize) -> bool) -> TensorData {
    each_type!(x.data(), v => (v.iter().enumerate())
        .map(|(i, &element)| if keeps(i) { element } else { Default::default() })
        .collect())
}

/// Where: `a` where the condition holds, else `b`.
fn choose(condition: &Tensor, a: &Tensor, b: &Tensor, shape: &[usize]) -> Option<TensorData> {
    let strides = broadcast_strides(condition.shape(), shape);
    let condition = gather(condition.as_bool()?, shape, &strides, 0);
    let (a, b) = (broadcast(a, shape), broadcast(b, shape));
    macro_rules! pick {
        ($($variant:ident),*) => {
            match (a, b) {
                $((TensorData::$variant(a), TensorData::$variant(b)) => {
                    let pairs = a.into_iter().zip(b).zip(condition);
                    let picked = pairs.map(|((a, b), first)| if first { a } else { b });
                    Some(TensorData::$variant(picked.collect()))
                })*
                _ => None,
            }
        };
    }
    pick!(F32, F16, I64, I32, U8, I8, Bool)
}

/// The place of element `i` of a tensor in another one, whose sizes are 1 along some axes.
pub(crate) fn index(from: &[usize], to: &[usize], mut i: usize) -> usize {
    let (mut place, mut stride) = (0, 1);
    for (&size, &reduced) in from.iter().zip(to).rev() {
        if reduced > 1 {
            place += i % size * stride;
        }
        stride *= reduced;
        i /= size;
    }
    place
}

/// The elements of a tensor that is broadcast to `shape`.
pub(crate) fn broadcast(x: &Tensor, shape: &[usize]) -> TensorData {
    view(x.data(), shape, &broadcast_strides(x.shape(), shape), 0)
}

/// The strides of a broadcast tensor: 0 along repeated axes.
fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<isize> {
    let strides = row_major(from);
    let missing = to.len() - from.len();
    (0..to.len())
        .map(|i| match i.checked_sub(missing) {
            Some(j) if from[j] == to[i] => strides[j],
            _ => 0,
        })
        .collect()
}
