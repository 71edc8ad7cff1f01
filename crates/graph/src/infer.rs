//! Infers output types from operators and input types, and checks that each node is valid. The
//! reader, the builder and [`Graph::check`] all use this module.
//!
//! [`Graph::check`]: crate::Graph::check

mod parts;
mod products;
mod types;
mod windows;

use crate::tensor::element_count;
use crate::{Op, OpError, Reduction, TensorType};

pub(crate) use products::broadcast;
pub(crate) use windows::{ceil_output, check_window, floor_output, picture, same_pads};

impl Op {
    /// The types of this operator's outputs for inputs of the given types.
    ///
    /// `declared` gives the outputs' shapes where they cannot be inferred: always for Reshape and
    /// Split, and for pooling that rounds up. For other operators it may be empty. If it is
    /// given, it is checked.
    ///
    /// # Errors
    /// An [`OpError`] if the operator does not support these inputs.
    pub fn output_types(
        &self,
        inputs: &[TensorType],
        declared: &[Vec<usize>],
    ) -> Result<Vec<TensorType>, OpError> {
        let shapes = self.output_shapes(inputs, declared)?;
        if !declared.is_empty() {
            if declared.len() != shapes.len() {
                return Err(OpError::OutputCount {
                    expected: "as many as declared",
                    found: shapes.len(),
                });
            }
            for (d, s) in declared.iter().zip(&shapes) {
                if d != s {
                    return Err(OpError::WrongOutput {
                        declared: d.clone(),
                        inferred: s.clone(),
                    });
                }
            }
        }
        let element_type = self.output_element_type(inputs)?;
        shapes
            .into_iter()
            .map(|shape| match element_count(&shape) {
                Some(_) => Ok(TensorType {
                    element_type,
                    shape,
                }),
                None => Err(OpError::TooLarge { shape }),
            })
            .collect()
    }

    fn output_shapes(
        &self,
        inputs: &[TensorType],
        declared: &[Vec<usize>],
    ) -> Result<Vec<Vec<usize>>, OpError> {
        let shape = |i: usize| -> &[usize] { inputs.get(i).map_or(&[], |t| &t.shape) };
        let x = shape(0);
        let one = |s: Vec<usize>| Ok(vec![s]);
        match self {
            Op::Conv(c) => {
                count(inputs, 2, 3, "2 or 3")?;
                one(windows::conv(
                    c,
                    x,
                    shape(1),
                    inputs.get(2).map(|t| &*t.shape),
                )?)
            }
            Op::MaxPool(p) | Op::AveragePool(p) => {
                count(inputs, 1, 1, "1")?;
                one(windows::pool(p, x, declared.first().map(Vec::as_slice))?)
            }
            Op::GlobalAveragePool => {
                count(inputs, 1, 1, "1")?;
                let [n, c, h, w] = picture(x)?;
                if h == 0 || w == 0 {
                    return Err(MEAN_OF_NONE);
                }
                one(vec![n, c, 1, 1])
            }
            Op::Gemm(g) => {
                count(inputs, 2, 3, "2 or 3")?;
                one(products::gemm(
                    g,
                    x,
                    shape(1),
                    inputs.get(2).map(|t| &*t.shape),
                )?)
            }
            Op::MatMul => {
                count(inputs, 2, 2, "2")?;
                one(products::matmul(x, shape(1))?)
            }
            Op::BatchNormalization { epsilon } => {
                count(inputs, 5, 5, "5")?;
                finite("epsilon", *epsilon)?;
                let channels = *x.get(1).ok_or_else(|| OpError::Shape {
                    input: "X",
                    found: x.to_vec(),
                    expected: "(N, C, ...)".into(),
                })?;
                for (i, input) in ["scale", "B", "input_mean", "input_var"].iter().enumerate() {
                    require_shape(input, shape(i + 1), &[channels])?;
                }
                one(x.to_vec())
            }
            Op::LeakyRelu { alpha } | Op::Elu { alpha } => {
                count(inputs, 1, 1, "1")?;
                finite("alpha", *alpha)?;
                one(x.to_vec())
            }
            Op::HardSigmoid { alpha, beta } => {
                count(inputs, 1, 1, "1")?;
                finite("alpha", *alpha)?;
                finite("beta", *beta)?;
                one(x.to_vec())
            }
            Op::Clip { min, max } => {
                count(inputs, 1, 1, "1")?;
                if min.is_nan() || max.is_nan() {
                    return Err(OpError::ConstantInput {
                        input: "min or max",
                        found: "NaN".into(),
                        expected: "a number",
                    });
                }
                one(x.to_vec())
            }
            Op::Relu
            | Op::Sigmoid
            | Op::Tanh
            | Op::Softplus
            | Op::Softsign
            | Op::Function(_)
            | Op::Identity
            | Op::Cast { .. } => {
                count(inputs, 1, 1, "1")?;
                one(x.to_vec())
            }
            Op::Softmax { axis, end_axis } => {
                count(inputs, 1, 1, "1")?;
                if axis >= end_axis || *end_axis > x.len() {
                    return Err(axis_error(*axis, x));
                }
                one(x.to_vec())
            }
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Min
            | Op::Max
            | Op::Pow
            | Op::Compare(_) => {
                count(inputs, 2, 2, "2")?;
                one(broadcast(x, shape(1))?)
            }
            Op::Where => {
                count(inputs, 3, 3, "3")?;
                let both = broadcast(shape(1), shape(2))?;
                one(broadcast(x, &both)?)
            }
            Op::Reduce {
                reduction,
                axes,
                keep_dims,
            } => {
                count(inputs, 1, 1, "1")?;
                check_axes(axes, x)?;
                if axes.iter().any(|&a| x[a] == 0) {
                    return Err(match reduction {
                        Reduction::Mean => MEAN_OF_NONE,
                        Reduction::Sum | Reduction::Max | Reduction::Min => REDUCTION_OF_NONE,
                    });
                }
                one(x
                    .iter()
                    .enumerate()
                    .filter_map(|(i, &d)| match (axes.contains(&i), keep_dims) {
                        (false, _) => Some(d),
                        (true, true) => Some(1),
                        (true, false) => None,
                    })
                    .collect())
            }
            Op::Flatten { axis } => {
                count(inputs, 1, 1, "1")?;
                if *axis > x.len() {
                    return Err(axis_error(*axis, x));
                }
                let (a, b) = x.split_at(*axis);
                match (element_count(a), element_count(b)) {
                    (Some(a), Some(b)) => one(vec![a, b]),
                    _ => Err(OpError::TooLarge { shape: x.to_vec() }),
                }
            }
            Op::Reshape => {
                count(inputs, 1, 1, "1")?;
                let to = declared
                    .first()
                    .ok_or(OpError::MissingInput { input: "shape" })?;
                if element_count(to) != element_count(x) {
                    return Err(OpError::Incompatible {
                        first: x.to_vec(),
                        second: to.clone(),
                    });
                }
                one(to.clone())
            }
            Op::Squeeze { axes } => {
                count(inputs, 1, 1, "1")?;
                check_axes(axes, x)?;
                if let Some(&axis) = axes.iter().find(|&&a| x[a] != 1) {
                    return Err(OpError::Shape {
                        input: "data",
                        found: x.to_vec(),
                        expected: format!("size 1 at axis {axis}"),
                    });
                }
                let kept = x.iter().enumerate().filter(|(i, _)| !axes.contains(i));
                one(kept.map(|(_, &d)| d).collect())
            }
            Op::Unsqueeze { axes } => {
                count(inputs, 1, 1, "1")?;
                let rank = x.len() + axes.len();
                check_axes(axes, &vec![1; rank])?;
                let mut sizes = x.iter();
                one((0..rank)
                    .filter_map(|i| match axes.contains(&i) {
                        true => Some(1),
                        false => sizes.next().copied(),
                    })
                    .collect())
            }
            Op::Transpose { perm } => {
                count(inputs, 1, 1, "1")?;
                let mut sorted = perm.clone();
                sorted.sort_unstable();
                if sorted.into_iter().ne(0..x.len()) {
                    return Err(OpError::Attribute {
                        attribute: "perm",
                        found: format!("{perm:?}"),
                        expected: "a permutation of the input's axes",
                    });
                }
                one(perm.iter().map(|&p| x[p]).collect())
            }
            Op::Concat { axis } => {
                count(inputs, 1, usize::MAX, "at least 1")?;
                one(parts::concat(*axis, inputs)?)
            }
            Op::Split { axis } => {
                count(inputs, 1, 1, "1")?;
                parts::split(*axis, x, declared)
            }
            Op::Slice { axes } => {
                count(inputs, 1, 1, "1")?;
                one(parts::slice(axes, x)?)
            }
            Op::Gather { axis, indices } => {
                count(inputs, 1, 1, "1")?;
                let size = *x.get(*axis).ok_or_else(|| axis_error(*axis, x))?;
                if let Some(&index) = indices.iter().find(|&&i| i >= size) {
                    return Err(OpError::Index {
                        index: i64::try_from(index).unwrap_or(i64::MAX),
                        length: size,
                    });
                }
                let mut to = x.to_vec();
                to[*axis] = indices.len();
                one(to)
            }
            Op::Pad(p) => {
                count(inputs, 1, 1, "1")?;
                one(parts::pad(p, x)?)
            }
            Op::QuantizeLinear { axis } | Op::DequantizeLinear { axis } => {
                count(inputs, 2, 3, "2 or 3")?;
                let scale = shape(1);
                if !is_single(scale) {
                    let size = *x.get(*axis).ok_or_else(|| axis_error(*axis, x))?;
                    require_shape("scale", scale, &[size])?;
                }
                if inputs.len() == 3 && !(is_single(scale) && is_single(shape(2))) {
                    require_shape("zero_point", shape(2), scale)?;
                }
                one(x.to_vec())
            }
        }
    }
}

const MEAN_OF_NONE: OpError = OpError::Unsupported {
    feature: "the mean of no elements",
};

const REDUCTION_OF_NONE: OpError = OpError::Unsupported {
    feature: "the reduction of no elements",
};

fn is_single(shape: &[usize]) -> bool {
    matches!(shape, [] | [1])
}

fn count(
    inputs: &[TensorType],
    least: usize,
    most: usize,
    expected: &'static str,
) -> Result<(), OpError> {
    match (least..=most).contains(&inputs.len()) {
        true => Ok(()),
        false => Err(OpError::InputCount {
            expected,
            found: inputs.len(),
        }),
    }
}

fn finite(attribute: &'static str, value: f32) -> Result<(), OpError> {
    match value.is_finite() {
        true => Ok(()),
        false => Err(OpError::Attribute {
            attribute,
            found: value.to_string(),
            expected: "a finite number",
        }),
    }
}

fn require_shape(input: &'static str, found: &[usize], expected: &[usize]) -> Result<(), OpError> {
    match found == expected {
        true => Ok(()),
        false => Err(OpError::Shape {
            input,
            found: found.to_vec(),
            expected: format!("{expected:?}"),
        }),
    }
}

fn axis_error(axis: usize, shape: &[usize]) -> OpError {
    OpError::Axis {
        axis: i64::try_from(axis).unwrap_or(i64::MAX),
        shape: shape.to_vec(),
    }
}

/// Checks that axes are within the rank, ascending and without duplicates.
fn check_axes(axes: &[usize], shape: &[usize]) -> Result<(), OpError> {
    if let Some(&axis) = axes.iter().find(|&&a| a >= shape.len()) {
        return Err(axis_error(axis, shape));
    }
    match axes.windows(2).find(|w| w[0] >= w[1]) {
        Some(w) => Err(OpError::RepeatedAxis { axis: w[1] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
