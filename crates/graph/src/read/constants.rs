//! Operators that become constants: those that depend on shapes only, which are all known here,
//! and those that exporters apply to constants. None of them is an [`Op`].
//!
//! [`Op`]: crate::Op

mod sizes;

use super::composite;
use super::limits::MAX_RANK;
use super::operators::Site;
use crate::infer::broadcast;
use crate::tensor::element_count;
use crate::{OpError, Tensor, TensorData};

/// The operators that are read only if their result is a constant.
#[cfg(test)]
pub(crate) const OPERATORS: &[&str] = &[
    "ConstantOfShape",
    "Mod",
    "Range",
    "ReduceProd",
    "Shape",
    "Size",
];

/// Reads a node whose output is a constant. `None` for all other nodes.
pub(super) fn read(operator: &str, site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    match operator {
        "And" | "Or" | "Xor" => logic(operator, site),
        "ConstantOfShape" => Some(constant_of_shape(site)),
        "CumSum" => sizes::cumulative_sum(site),
        "Expand" => expanded(site),
        "Gather" => composite::gather_of_constant(site),
        "Mod" => Some(sizes::modulo(site)),
        "Not" => not(site),
        "Range" => Some(range(site)),
        "ReduceProd" => Some(sizes::product(site)),
        "Shape" => Some(shape(site)),
        "Size" => Some(size(site)),
        "Trilu" => triangle(site),
        _ => None,
    }
}

fn tensor(shape: Vec<usize>, data: impl Into<TensorData>) -> Result<Tensor, OpError> {
    Tensor::new(shape, data).map_err(|e| OpError::TooLarge { shape: e.shape })
}

impl Site<'_> {
    /// Sizes from a constant input.
    pub(super) fn sizes(&self, i: usize, input: &'static str) -> Result<Vec<usize>, OpError> {
        let given = (self.integers(i, input)?).ok_or(OpError::MissingInput { input })?;
        let sizes = given.iter().map(|&size| usize::try_from(size).ok());
        sizes
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| OpError::ConstantInput {
                input,
                found: format!("{given:?}"),
                expected: "sizes that are not negative",
            })
    }

    /// Checks the rank and the number of elements of a result before it is allocated.
    pub(super) fn fits(&self, shape: &[usize]) -> Result<usize, OpError> {
        element_count(shape)
            .filter(|&elements| elements <= self.max_elements && shape.len() <= MAX_RANK)
            .ok_or_else(|| OpError::TooLarge {
                // The start of a very long shape suffices for a message.
                shape: shape[..shape.len().min(MAX_RANK + 1)].to_vec(),
            })
    }
}

/// `start` and `end` were added in opset 15. Negative values count from the end.
fn shape(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(1, "1")?;
    let (start, end) = match site.opset {
        ..15 => (None, None),
        _ => (site.attributes.int("start")?, site.attributes.int("end")?),
    };
    let shape = site.shape(0, "data")?;
    let rank = shape.len() as i64;
    let at = |given: Option<i64>, default: i64| match given.unwrap_or(default) {
        i if i < 0 => i.saturating_add(rank).max(0) as usize,
        i => i.min(rank) as usize,
    };
    let sizes = shape.get(at(start, 0)..at(end, rank)).unwrap_or(&[]);
    let sizes: Vec<i64> = sizes.iter().map(|&d| d as i64).collect();
    Ok(Tensor::vector(sizes))
}

fn size(site: &Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(1, "1")?;
    let elements: usize = site.shape(0, "data")?.iter().product();
    tensor(Vec::new(), vec![elements as i64])
}

/// The value is an attribute, a tensor with one element; float 0 if omitted.
fn constant_of_shape(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(1, "1")?;
    let value = match site.attributes.tensor("value")? {
        Some(proto) => super::tensors::read("value", proto).map_err(|e| OpError::Attribute {
            attribute: "value",
            found: e.to_string(),
            expected: "a tensor with one element of a supported type",
        })?,
        None => Tensor::vector(vec![0f32]),
    };
    let shape = site.sizes(0, "input")?;
    site.fits(&shape)?;
    match value.len() {
        1 => {
            let value = value
                .reshaped([])
                .map_err(|e| OpError::TooLarge { shape: e.shape })?;
            let data = crate::fold::broadcast(&value, &shape);
            tensor(shape, data)
        }
        _ => Err(OpError::Attribute {
            attribute: "value",
            found: value.tensor_type().to_string(),
            expected: "a tensor with one element",
        }),
    }
}

/// start, start + delta, ... up to and without limit.
fn range(site: &mut Site<'_>) -> Result<Tensor, OpError> {
    site.at_most(3, "3")?;
    // Of float16 only (opset 27).
    site.attributes.ignore("stash_type");
    let input = |i, input| (site.constant(i, input)?).ok_or(OpError::MissingInput { input });
    let given = [input(0, "start")?, input(1, "limit")?, input(2, "delta")?];
    let wrong = || OpError::ConstantInput {
        input: "start, limit or delta",
        found: format!("{}", given[0].tensor_type()),
        expected: "one finite number each, of the same type, and delta not 0",
    };
    if given.iter().any(|tensor| tensor.len() != 1) {
        return Err(wrong());
    }
    let count = |count: f64| -> Result<usize, OpError> {
        let count = if count > 0.0 {
            count.min(1e18) as usize
        } else {
            0
        };
        site.fits(&[count])
    };
    match given.map(Tensor::data) {
        [
            TensorData::I64(start),
            TensorData::I64(limit),
            TensorData::I64(delta),
        ] if delta[0] != 0 => {
            let (start, limit, delta) = (start[0], limit[0], delta[0]);
            let room = i128::from(limit) - i128::from(start);
            let steps = room / i128::from(delta);
            let partial = i128::from(
                room % i128::from(delta) != 0 && steps >= 0 && (room > 0) == (delta > 0),
            );
            let count = count((steps + partial) as f64)?;
            let at = |i: usize| start.wrapping_add(delta.wrapping_mul(i as i64));
            Ok(Tensor::vector((0..count).map(at).collect::<Vec<i64>>()))
        }
        [
            TensorData::I32(start),
            TensorData::I32(limit),
            TensorData::I32(delta),
        ] if delta[0] != 0 => {
            let (start, limit, delta) = (start[0], limit[0], delta[0]);
            let steps = (f64::from(limit) - f64::from(start)) / f64::from(delta);
            let count = count(steps.ceil())?;
            let at = |i: usize| start.wrapping_add(delta.wrapping_mul(i as i32));
            Ok(Tensor::vector((0..count).map(at).collect::<Vec<i32>>()))
        }
        [
            TensorData::F32(start),
            TensorData::F32(limit),
            TensorData::F32(delta),
        ] if delta[0] != 0.0 => {
            let (start, limit, delta) = (start[0], limit[0], delta[0]);
            let steps = (f64::from(limit) - f64::from(start)) / f64::from(delta);
            let count = count(steps.ceil())?;
            let at = |i: usize| start + i as f32 * delta;
            Ok(Tensor::vector((0..count).map(at).collect::<Vec<f32>>()))
        }
        _ => Err(wrong()),
    }
}

/// The logic of two constants. `None` if one of them is not a constant of bools.
fn logic(operator: &str, site: &Site<'_>) -> Option<Result<Tensor, OpError>> {
    let (a, b) = (bools(site, 0)?, bools(site, 1)?);
    let combined = || {
        site.at_most(2, "2")?;
        let shape = broadcast(a.shape(), b.shape())?;
        site.fits(&shape)?;
        let (TensorData::Bool(a), TensorData::Bool(b)) = (
            crate::fold::broadcast(a, &shape),
            crate::fold::broadcast(b, &shape),
        ) else {
            return tensor(shape, Vec::<bool>::new());
        };
        let pairs = a.into_iter().zip(b).map(|(a, b)| match operator {
            "And" => a && b,
            "Or" => a || b,
            _ => a != b,
        });
        tensor(shape, pairs.collect::<Vec<bool>>())
    };
    Some(combined())
}

/// The opposite of a constant. `None` if it is not a constant of bools.
fn not(site: &Site<'_>) -> Option<Result<Tensor, OpError>> {
    let x = bools(site, 0)?;
    let data: Vec<bool> = (x.as_bool().unwrap_or(&[]).iter()).map(|&x| !x).collect();
    let opposite = site.at_most(1, "1");
    Some(opposite.and_then(|()| tensor(x.shape().to_vec(), data)))
}

fn bools<'a>(site: &Site<'a>, i: usize) -> Option<&'a Tensor> {
    let x = site.value(i)?.constant.as_ref()?;
    x.as_bool().map(|_| x)
}

/// Which elements of a matrix Trilu keeps, and of which the last two axes of `shape` are the sides.
pub(super) fn triangle_mask(site: &mut Site<'_>, shape: &[usize]) -> Result<Vec<bool>, OpError> {
    site.at_most(2, "1 or 2")?;
    let upper = site.attributes.flag("upper", true)?;
    let offset = match site.integers(1, "k")?.as_deref() {
        None => 0,
        Some(&[offset]) => offset,
        Some(given) => {
            return Err(OpError::ConstantInput {
                input: "k",
                found: format!("{} elements", given.len()),
                expected: "a single integer",
            });
        }
    };
    let &[.., rows, columns] = shape else {
        return Err(OpError::Shape {
            input: "input",
            found: shape.to_vec(),
            expected: "two axes or more".into(),
        });
    };
    let keeps = |i: usize| {
        let [row, column] = [i / columns, i % columns].map(|place| place as i64);
        // The distance from the diagonal.
        let distance = column - row;
        match upper {
            true => distance >= offset,
            false => distance <= offset,
        }
    };
    Ok((0..site.fits(&[rows, columns])?).map(keeps).collect())
}

/// The triangle of a constant, whose other elements are 0. `None` if it is not a constant.
fn triangle(site: &mut Site<'_>) -> Option<Result<Tensor, OpError>> {
    let x = site.constant(0, "input").ok()??;
    let kept = triangle_mask(site, x.shape()).and_then(|mask| {
        let keeps = |i: usize| mask[i % mask.len()];
        tensor(x.shape().to_vec(), crate::fold::kept(x, keeps))
    });
    Some(kept)
}

/// Expand of a constant, of any element type. `None` if the input is not a constant.
fn expanded(site: &Site<'_>) -> Option<Result<Tensor, OpError>> {
    let x = site.constant(0, "input").ok()??;
    let expand = || {
        site.at_most(2, "2")?;
        let shape = broadcast(x.shape(), &site.sizes(1, "shape")?)?;
        site.fits(&shape)?;
        let data = crate::fold::broadcast(x, &shape);
        tensor(shape, data)
    };
    Some(expand())
}
