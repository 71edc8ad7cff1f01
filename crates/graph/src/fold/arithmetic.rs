//! Arithmetic on constants. Floats are computed in f32; f16 is converted before and after. A
//! result that is not finite is not folded.

use half::f16;

use super::broadcast;
use crate::{Comparison, Op, Reduction, Tensor, TensorData};

/// The elements as f32, if they are floats.
fn floats(data: &TensorData) -> Option<Vec<f32>> {
    match data {
        TensorData::F32(v) => Some(v.clone()),
        TensorData::F16(v) => Some(v.iter().map(|x| x.to_f32()).collect()),
        _ => None,
    }
}

/// Elements of the float type of `like`. `None` if one is not finite.
fn like(data: Vec<f32>, like: &TensorData) -> Option<TensorData> {
    match like {
        TensorData::F16(_) => {
            let halves: Vec<f16> = data.into_iter().map(f16::from_f32).collect();
            let finite = halves.iter().all(|x| x.is_finite());
            finite.then_some(TensorData::F16(halves))
        }
        _ => {
            let finite = data.iter().all(|x| x.is_finite());
            finite.then_some(TensorData::F32(data))
        }
    }
}

pub(super) fn unary(function: impl Fn(f32) -> f32, x: &Tensor) -> Option<TensorData> {
    let data = floats(x.data())?;
    let data = data.into_iter().map(function).collect();
    like(data, x.data())
}

pub(super) fn binary(op: &Op, a: &Tensor, b: &Tensor, shape: &[usize]) -> Option<TensorData> {
    let (x, y) = (broadcast(a, shape), broadcast(b, shape));
    macro_rules! integers {
        ($variant:ident, $x:expr, $y:expr) => {{
            let pairs = $x.into_iter().zip($y);
            let made = pairs.map(|(a, b)| match op {
                Op::Add => Some(a.wrapping_add(b)),
                Op::Sub => Some(a.wrapping_sub(b)),
                Op::Mul => Some(a.wrapping_mul(b)),
                Op::Min => Some(a.min(b)),
                Op::Max => Some(a.max(b)),
                Op::Div if b != 0 => Some(a.wrapping_div(b)),
                Op::Pow => a.checked_pow(u32::try_from(b).ok()?),
                _ => None,
            });
            made.collect::<Option<Vec<_>>>().map(TensorData::$variant)
        }};
    }
    match (x, y) {
        (TensorData::I64(x), TensorData::I64(y)) => integers!(I64, x, y),
        (TensorData::I32(x), TensorData::I32(y)) => integers!(I32, x, y),
        (x, y) => {
            let pairs = floats(&x)?.into_iter().zip(floats(&y)?);
            like(pairs.map(|(a, b)| float(op, a, b)).collect(), a.data())
        }
    }
}

fn float(op: &Op, a: f32, b: f32) -> f32 {
    match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Min => a.min(b),
        Op::Max => a.max(b),
        _ => libm::powf(a, b),
    }
}

pub(super) fn compare(
    comparison: Comparison,
    a: &Tensor,
    b: &Tensor,
    shape: &[usize],
) -> Option<Vec<bool>> {
    macro_rules! pairs {
        ($($variant:ident),*) => {
            match (broadcast(a, shape), broadcast(b, shape)) {
                $((TensorData::$variant(a), TensorData::$variant(b)) => {
                    Some(a.iter().zip(&b).map(|(a, b)| comparison.holds(a, b)).collect())
                })*
                _ => None,
            }
        };
    }
    pairs!(F32, F16, I64, I32, U8, I8, Bool)
}

pub(super) fn reduce(reduction: Reduction, axes: &[usize], x: &Tensor) -> Option<TensorData> {
    let shape = x.shape();
    let count: usize = axes.iter().map(|&axis| shape[axis]).product();
    // The reduced axes are moved to the end.
    let mut moved = super::row_major(shape);
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    moved = order.iter().map(|&axis| moved[axis]).collect();
    let to: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let data = super::view(x.data(), &to, &moved, 0);
    macro_rules! integers {
        ($variant:ident, $v:expr) => {{
            let each = $v.chunks(count.max(1)).map(|v| match reduction {
                Reduction::Max => v.iter().copied().max(),
                Reduction::Min => v.iter().copied().min(),
                Reduction::Sum => Some(v.iter().fold(0, |sum, x| x.wrapping_add(sum))),
                Reduction::Mean => None,
            });
            each.collect::<Option<Vec<_>>>().map(TensorData::$variant)
        }};
    }
    match &data {
        TensorData::I64(v) => integers!(I64, v),
        TensorData::I32(v) => integers!(I32, v),
        other => {
            let each = |v: &[f32]| match reduction {
                Reduction::Max => v.iter().copied().fold(f32::NEG_INFINITY, f32::max),
                Reduction::Min => v.iter().copied().fold(f32::INFINITY, f32::min),
                Reduction::Sum => v.iter().sum(),
                Reduction::Mean => v.iter().sum::<f32>() / count as f32,
            };
            like(
                floats(other)?.chunks(count.max(1)).map(each).collect(),
                other,
            )
        }
    }
}
