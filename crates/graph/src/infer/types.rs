//! Element types of outputs.

use half::f16;

use crate::{ElementType, Op, OpError, PadMode, Reduction, TensorType};

impl Op {
    pub(super) fn output_element_type(
        &self,
        inputs: &[TensorType],
    ) -> Result<ElementType, OpError> {
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
            Op::Compare(_) => {
                same_types(inputs, &[0, 1])?;
                return Ok(ElementType::Bool);
            }
            Op::Where => {
                if first != ElementType::Bool {
                    return Err(OpError::ElementType {
                        input: "condition",
                        found: first,
                        expected: "bool",
                    });
                }
                same_types(inputs, &[1, 2])?;
                return Ok(of(1).unwrap_or(ElementType::F32));
            }
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Min
            | Op::Max
            | Op::Pow
            | Op::Reduce {
                reduction: Reduction::Sum | Reduction::Max | Reduction::Min,
                ..
            } => {
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
            | Op::Gather { .. }
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
            | Op::Function(_)
            | Op::Reduce {
                reduction: Reduction::Mean,
                ..
            } => {
                let all: Vec<usize> = (0..inputs.len()).collect();
                for &i in &all {
                    require_float(inputs, i, "tensor")?;
                }
                same_types(inputs, &all)?;
            }
        }
        Ok(first)
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
