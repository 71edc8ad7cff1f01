//! Mod, ReduceProd and CumSum of constants, with which exporters compute sizes and masks.

use super::tensor;
use crate::infer::broadcast;
use crate::read::operators::Site;
use crate::read::operators::arithmetic::{self, Cumulative};
use crate::{OpError, Tensor, TensorData};

/// The remainder has the sign of the divisor, or with `fmod` that of the dividend. Before
/// opset 28, floats need `fmod`.
pub(super) fn modulo(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(2, "2")?;
    let fmod = site.attributes.flag("fmod", false)?;
    let input = |i, input| (site.constant(i, input)?).ok_or(OpError::MissingInput { input });
    let (a, b) = (input(0, "A")?, input(1, "B")?);
    let shape = broadcast(a.shape(), b.shape())?;
    site.fits(&shape)?;
    let data = match (
        crate::fold::broadcast(a, &shape),
        crate::fold::broadcast(b, &shape),
    ) {
        (TensorData::I64(a), TensorData::I64(b)) => integers(a, b, fmod).map(TensorData::I64),
        (TensorData::I32(a), TensorData::I32(b)) => {
            let wide = |v: Vec<i32>| v.into_iter().map(i64::from).collect();
            integers(wide(a), wide(b), fmod)
                .map(|v| TensorData::I32(v.into_iter().map(|x| x as i32).collect()))
        }
        (TensorData::F32(a), TensorData::F32(b)) => {
            let pairs = a.into_iter().zip(b);
            let each: Vec<f32> = pairs
                .map(|(a, b)| {
                    let rest = a % b;
                    let other_sign = rest != 0.0 && (rest < 0.0) != (b < 0.0);
                    if !fmod && other_sign { rest + b } else { rest }
                })
                .collect();
            let finite = each.iter().all(|x| x.is_finite());
            finite.then_some(TensorData::F32(each))
        }
        _ => {
            return Err(OpError::MixedTypes {
                first: a.element_type(),
                second: b.element_type(),
            });
        }
    };
    let data = data.ok_or(OpError::ConstantInput {
        input: "B",
        found: "0, or not finite".into(),
        expected: "other divisors",
    })?;
    tensor(shape, data)
}

fn integers(a: Vec<i64>, b: Vec<i64>, fmod: bool) -> Option<Vec<i64>> {
    let pairs = a.into_iter().zip(b);
    pairs
        .map(|(a, b)| {
            let rest = match b {
                0 => return None,
                b => a.wrapping_rem(b),
            };
            let other_sign = rest != 0 && (rest < 0) != (b < 0);
            Some(if !fmod && other_sign { rest + b } else { rest })
        })
        .collect()
}

/// The product of integers along the axes.
pub(super) fn product(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    let (axes, keep_dims) = arithmetic::reduced_axes(site, 18)?;
    let input = "data";
    let x = (site.constant(0, input)?).ok_or(OpError::MissingInput { input })?;
    let mut shape = x.shape().to_vec();
    for &axis in &axes {
        shape[axis] = 1;
    }
    let count = site.fits(&shape)?;
    let at = |i: usize| crate::fold::index(x.shape(), &shape, i);
    let data = match x.data() {
        TensorData::I64(v) => {
            let mut products = vec![1i64; count];
            for (i, &x) in v.iter().enumerate() {
                let product = &mut products[at(i)];
                *product = product.wrapping_mul(x);
            }
            TensorData::I64(products)
        }
        TensorData::I32(v) => {
            let mut products = vec![1i32; count];
            for (i, &x) in v.iter().enumerate() {
                let product = &mut products[at(i)];
                *product = product.wrapping_mul(x);
            }
            TensorData::I32(products)
        }
        TensorData::F32(v) => {
            let mut products = vec![1f32; count];
            for (i, &x) in v.iter().enumerate() {
                products[at(i)] *= x;
            }
            TensorData::F32(products)
        }
        _ => {
            return Err(OpError::ElementType {
                input,
                found: x.element_type(),
                expected: "int64, int32 or float32",
            });
        }
    };
    if !keep_dims {
        let kept = shape.iter().enumerate();
        let kept = kept.filter(|(axis, _)| !axes.contains(axis));
        shape = kept.map(|(_, &size)| size).collect();
    }
    tensor(shape, data)
}

/// CumSum of integers. `None` if they are not a constant.
pub(super) fn cumulative_sum(site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    let x = site.constant(0, "x").ok()??;
    let data: Vec<i64> = match x.data() {
        TensorData::I64(v) => v.clone(),
        TensorData::I32(v) => v.iter().map(|&x| x.into()).collect(),
        _ => return None,
    };
    let sums = cumulative(site, x.shape(), data);
    Some(sums.and_then(|sums| {
        let data = match x.data() {
            TensorData::I32(_) => TensorData::I32(sums.into_iter().map(|x| x as i32).collect()),
            _ => TensorData::I64(sums),
        };
        tensor(x.shape().to_vec(), data)
    }))
}

fn cumulative(
    site: &mut Site<'_>,
    shape: &[usize],
    mut data: Vec<i64>,
) -> Result<Vec<i64>, OpError> {
    let Cumulative {
        axis,
        exclusive,
        reverse,
    } = Cumulative::read(site, shape)?;
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    for start in (0..data.len()).filter(|i| (i / inner.max(1)) % size.max(1) == 0) {
        let mut sum = 0_i64;
        for step in 0..size {
            let along = if reverse { size - 1 - step } else { step };
            let element = &mut data[start + along * inner];
            let after = sum.wrapping_add(*element);
            *element = if exclusive { sum } else { after };
            sum = after;
        }
    }
    Ok(data)
}
