//! Infers output types from operators and input types, and checks that each node is valid. The
//! reader, the builder and [`Graph::check`] all use this module.
//!
//! [`Graph::check`]: crate::Graph::check

mod parts;
mod products;
mod windows;

use half::f16;

use crate::tensor::element_count;
use crate::{ElementType, Op, OpError, PadMode, TensorType};

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

    fn output_element_type(&self, inputs: &[TensorType]) -> Result<ElementType, OpError> {
        let of = |i: usize| inputs.get(i).map(|t| t.element_type);
        let first = of(0).ok_or(OpError::InputCount {
            expected: "at least 1",
            found: 0,
        })?;
        match self {
            Op::Cast { to } => return Ok(*to),
            Op::QuantizeLinear { .. } => {
                let out = of(2).unwrap_or(ElementType::U8);
                if !matches!(out, ElementType::U8 | ElementType::I8) {
                    return Err(OpError::ElementType {
                        input: "y_zero_point",
                        found: out,
                        expected: "uint8 or int8",
                    });
                }
                require_float(inputs, 0, "x")?;
                require_float(inputs, 1, "y_scale")?;
                same_types(inputs, &[0, 1])?;
                return Ok(out);
            }
            Op::DequantizeLinear { .. } => {
                if !matches!(first, ElementType::U8 | ElementType::I8 | ElementType::I32) {
                    return Err(OpError::ElementType {
                        input: "x",
                        found: first,
                        expected: "uint8, int8 or int32",
                    });
                }
                require_float(inputs, 1, "x_scale")?;
                same_types(inputs, &[0, 2])?;
                return Ok(of(1).unwrap_or(ElementType::F32));
            }
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                same_types(inputs, &[0, 1])?;
                if first == ElementType::Bool {
                    return Err(OpError::ElementType {
                        input: "A",
                        found: first,
                        expected: "a number",
                    });
                }
            }
            Op::MaxPool(_) => {
                if !(first.is_float() || matches!(first, ElementType::U8 | ElementType::I8)) {
                    return Err(OpError::ElementType {
                        input: "X",
                        found: first,
                        expected: "float32, float16, uint8 or int8",
                    });
                }
            }
            Op::Pad(p) => {
                if first == ElementType::Bool {
                    return Err(OpError::ElementType {
                        input: "data",
                        found: first,
                        expected: "a number",
                    });
                }
                if let PadMode::Constant(v) = p.mode
                    && !holds(first, v)
                {
                    return Err(OpError::ConstantInput {
                        input: "constant_value",
                        found: v.to_string(),
                        expected: "a number that the input's type can hold",
                    });
                }
            }
            Op::Concat { .. } => {
                let all: Vec<usize> = (0..inputs.len()).collect();
                same_types(inputs, &all)?;
            }
            Op::Flatten { .. }
            | Op::Reshape
            | Op::Squeeze { .. }
            | Op::Unsqueeze { .. }
            | Op::Transpose { .. }
            | Op::Split { .. }
            | Op::Slice { .. }
            | Op::Identity => {}
            // Since opset 15, the parameters may have a different type than the input.
            Op::BatchNormalization { .. } => {
                for i in 0..inputs.len() {
                    require_float(inputs, i, "tensor")?;
                }
            }
            Op::Clip { min, max } => {
                require_float(inputs, 0, "input")?;
                for limit in [*min, *max] {
                    if !(limit.is_nan() || holds(first, limit)) {
                        return Err(OpError::ConstantInput {
                            input: "min or max",
                            found: limit.to_string(),
                            expected: "a number that the input's type can hold",
                        });
                    }
                }
            }
            Op::Conv(_)
            | Op::Gemm(_)
            | Op::MatMul
            | Op::Relu
            | Op::LeakyRelu { .. }
            | Op::Elu { .. }
            | Op::Sigmoid
            | Op::HardSigmoid { .. }
            | Op::Tanh
            | Op::Softplus
            | Op::Softsign
            | Op::Softmax { .. }
            | Op::AveragePool(_)
            | Op::GlobalAveragePool
            | Op::ReduceMean { .. } => {
                let all: Vec<usize> = (0..inputs.len()).collect();
                for &i in &all {
                    require_float(inputs, i, "tensor")?;
                }
                same_types(inputs, &all)?;
            }
        }
        Ok(first)
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
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                count(inputs, 2, 2, "2")?;
                one(products::broadcast(x, shape(1))?)
            }
            Op::ReduceMean { axes, keep_dims } => {
                count(inputs, 1, 1, "1")?;
                check_axes(axes, x)?;
                if axes.iter().any(|&a| x[a] == 0) {
                    return Err(MEAN_OF_NONE);
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

/// Whether a number can be converted to this type and back without change.
fn holds(element_type: ElementType, v: f32) -> bool {
    match element_type {
        ElementType::F32 => !v.is_nan(),
        ElementType::F16 => f16::from_f32(v).to_f32() == v,
        ElementType::I64 => v as i64 as f32 == v,
        ElementType::I32 => v as i32 as f32 == v,
        ElementType::U8 => f32::from(v as u8) == v,
        ElementType::I8 => f32::from(v as i8) == v,
        ElementType::Bool => false,
    }
}

const MEAN_OF_NONE: OpError = OpError::Unsupported {
    feature: "the mean of no elements",
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

fn require_float(inputs: &[TensorType], i: usize, input: &'static str) -> Result<(), OpError> {
    match inputs.get(i) {
        Some(t) if !t.element_type.is_float() => Err(OpError::ElementType {
            input,
            found: t.element_type,
            expected: "float32 or float16",
        }),
        _ => Ok(()),
    }
}

fn same_types(inputs: &[TensorType], which: &[usize]) -> Result<(), OpError> {
    let mut types = which
        .iter()
        .filter_map(|&i| inputs.get(i))
        .map(|t| t.element_type);
    let Some(first) = types.next() else {
        return Ok(());
    };
    match types.find(|&t| t != first) {
        Some(second) => Err(OpError::MixedTypes { first, second }),
        None => Ok(()),
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
