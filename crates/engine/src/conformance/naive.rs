//! Evaluates a plan in f64 by the operations' definitions, one output element at a time. It is
//! slow and shares no code with the kernels.

use super::integer;
use super::value::{Value, constant, curve, tap};
use crate::ElementType;
use crate::plan::{
    BinaryOperator, ConstantId, Fill, Operand, Operation, Plan, PoolKind, Reduction, Step,
};

/// Computes the outputs of a valid plan.
pub fn evaluate(plan: &Plan, inputs: &[Value]) -> Vec<Value> {
    let mut tensors: Vec<Option<Value>> = vec![None; plan.tensors.len()];
    for (port, input) in plan.inputs.iter().zip(inputs) {
        if let Operand::Tensor(id) = port.operand {
            tensors[id.0] = Some(input.clone());
        }
    }
    for step in &plan.steps {
        let inputs: Vec<Value> = step
            .inputs
            .iter()
            .map(|&operand| get(plan, &tensors, operand))
            .collect();
        tensors[step.output.0] = Some(run(plan, step, &inputs));
    }
    plan.outputs
        .iter()
        .map(|port| get(plan, &tensors, port.operand))
        .collect()
}

fn get(plan: &Plan, tensors: &[Option<Value>], operand: Operand) -> Value {
    match operand {
        Operand::Tensor(id) => tensors[id.0].clone().unwrap(),
        Operand::Constant(id) => constant(plan, id),
    }
}

/// Combines numbers; NaN if one is NaN.
fn combined(reduction: Reduction, a: f64, b: f64) -> f64 {
    match reduction {
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        Reduction::Sum => a + b,
        Reduction::Min => a.min(b),
        Reduction::Max => a.max(b),
    }
}

fn run(plan: &Plan, step: &Step, inputs: &[Value]) -> Value {
    let spec = &plan.tensors[step.output.0];
    let shape = spec.shape.as_slice();
    let x = &inputs[0];
    match &step.operation {
        Operation::Conv2d {
            weights,
            bias,
            window,
            groups,
            activation,
        } => {
            let weights = constant(plan, *weights);
            let bias = bias.map(|bias| constant(plan, bias));
            let depth = weights.shape[3];
            Value::build(shape, |index| {
                let unit = index[3];
                let first = unit / (shape[3] / groups) * depth;
                let mut sum = bias.as_ref().map_or(0.0, |bias| bias.data[unit]);
                for row in 0..window.kernel[0] {
                    let Some(y) = tap(*window, 0, index[1], row, x.shape[1]) else {
                        continue;
                    };
                    for column in 0..window.kernel[1] {
                        let Some(across) = tap(*window, 1, index[2], column, x.shape[2]) else {
                            continue;
                        };
                        for inner in 0..depth {
                            sum += x.at(&[index[0], y, across, first + inner])
                                * weights.at(&[unit, row, column, inner]);
                        }
                    }
                }
                curve(*activation, sum)
            })
        }
        Operation::FullyConnected {
            weights,
            bias,
            activation,
        } => {
            let weights = constant(plan, *weights);
            let bias = bias.map(|bias| constant(plan, bias));
            Value::build(shape, |index| {
                let (&unit, lead) = index.split_last().unwrap();
                let sum: f64 = (0..weights.shape[1])
                    .map(|depth| x.at(&[lead, &[depth]].concat()) * weights.at(&[unit, depth]))
                    .sum();
                curve(
                    *activation,
                    sum + bias.as_ref().map_or(0.0, |bias| bias.data[unit]),
                )
            })
        }
        Operation::MatMul => Value::build(shape, |index| {
            let [lead @ .., row, column] = index else {
                unreachable!()
            };
            (0..*x.shape.last().unwrap())
                .map(|depth| {
                    x.broadcast_matrix(&[lead, &[*row, depth]].concat())
                        * inputs[1].broadcast_matrix(&[lead, &[depth, *column]].concat())
                })
                .sum()
        }),
        Operation::Unary { activation } => {
            Value::build(shape, |index| curve(*activation, x.at(index)))
        }
        Operation::Binary {
            operator,
            activation,
        } => Value::build(shape, |index| {
            let (a, b) = (x.broadcast(index), inputs[1].broadcast(index));
            let joined = match operator {
                BinaryOperator::Add => a + b,
                BinaryOperator::Sub => a - b,
                BinaryOperator::Mul => a * b,
                BinaryOperator::Div => a / b,
                BinaryOperator::Min => combined(Reduction::Min, a, b),
                BinaryOperator::Max => combined(Reduction::Max, a, b),
                BinaryOperator::Pow => a.powf(b),
                BinaryOperator::Equal => f64::from(u8::from(a == b)),
                BinaryOperator::Greater => f64::from(u8::from(a > b)),
                BinaryOperator::GreaterOrEqual => f64::from(u8::from(a >= b)),
                BinaryOperator::Less => f64::from(u8::from(a < b)),
                BinaryOperator::LessOrEqual => f64::from(u8::from(a <= b)),
            };
            curve(*activation, joined)
        }),
        Operation::Affine {
            scale,
            shift,
            activation,
        } => {
            let (scale, shift) = (constant(plan, *scale), constant(plan, *shift));
            Value::build(shape, |index| {
                let last = index[index.len() - 1];
                curve(
                    *activation,
                    x.at(index) * scale.data[last] + shift.data[last],
                )
            })
        }
        Operation::Pool2d { kind, window } => Value::build(shape, |index| {
            let mut found = Vec::new();
            let mut padded = 0;
            for row in 0..window.kernel[0] {
                for column in 0..window.kernel[1] {
                    let y = tap(*window, 0, index[1], row, x.shape[1]);
                    let across = tap(*window, 1, index[2], column, x.shape[2]);
                    if let (Some(y), Some(across)) = (y, across) {
                        found.push(x.at(&[index[0], y, across, index[3]]));
                    }
                    if let PoolKind::AverageWithPads { bottom, right } = *kind {
                        let place = |axis: usize, tap: usize| {
                            index[axis + 1] * window.strides[axis] + tap * window.dilations[axis]
                        };
                        let inside = place(0, row) < x.shape[1] + window.pads[0] + bottom
                            && place(1, column) < x.shape[2] + window.pads[1] + right;
                        padded += usize::from(inside);
                    }
                }
            }
            let sum: f64 = found.iter().sum();
            match kind {
                PoolKind::Max => found.into_iter().fold(f64::NEG_INFINITY, f64::max),
                PoolKind::Average => sum / found.len().max(1) as f64,
                PoolKind::AverageWithPads { .. } => sum / padded.max(1) as f64,
            }
        }),
        Operation::ReduceMean { axes } => {
            let mut sums = vec![0.0; shape.iter().product()];
            let kept: Vec<usize> = (0..x.shape.len())
                .filter(|axis| !axes.contains(axis))
                .collect();
            let mut count = 0_usize;
            Value::build(&x.shape, |index| {
                let place = kept
                    .iter()
                    .fold(0, |place, &axis| place * x.shape[axis] + index[axis]);
                sums[place] += x.at(index);
                count += 1;
                0.0
            });
            let each = count as f64 / sums.len() as f64;
            Value {
                shape: shape.to_vec(),
                data: sums.into_iter().map(|sum| sum / each).collect(),
            }
        }
        Operation::Reduce { reduction, axes } => {
            let mut results: Vec<Option<f64>> = vec![None; shape.iter().product()];
            let kept: Vec<usize> = (0..x.shape.len())
                .filter(|axis| !axes.contains(axis))
                .collect();
            Value::build(&x.shape, |index| {
                let place = kept
                    .iter()
                    .fold(0, |place, &axis| place * x.shape[axis] + index[axis]);
                let element = x.at(index);
                let before = &mut results[place];
                *before = Some(before.map_or(element, |a| combined(*reduction, a, element)));
                0.0
            });
            Value {
                shape: shape.to_vec(),
                data: results.into_iter().map(Option::unwrap).collect(),
            }
        }
        Operation::Select => Value::build(shape, |index| {
            let chosen = if x.broadcast(index) != 0.0 { 1 } else { 2 };
            inputs[chosen].broadcast(index)
        }),
        Operation::Gather { axis, indices } => {
            let indices = constant(plan, *indices);
            Value::build(shape, |index| {
                let mut index = index.to_vec();
                index[*axis] = indices.data[index[*axis]] as usize;
                x.at(&index)
            })
        }
        Operation::Softmax { axis, end_axis } => {
            let part: Vec<usize> = x.shape[*axis..*end_axis].to_vec();
            Value::build(shape, |index| {
                let all = Value::build(&part, |inner| {
                    x.at(&[&index[..*axis], inner, &index[*end_axis..]].concat())
                });
                let largest = all.data.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = all.data.iter().map(|x| (x - largest).exp()).sum();
                (x.at(index) - largest).exp() / sum
            })
        }
        Operation::Concat { axis } => Value::build(shape, |index| {
            let mut index = index.to_vec();
            for input in inputs {
                if index[*axis] < input.shape[*axis] {
                    return input.at(&index);
                }
                index[*axis] -= input.shape[*axis];
            }
            unreachable!("the inputs fill the output")
        }),
        Operation::Slice { axes } => Value::build(shape, |index| {
            let source: Vec<usize> = index
                .iter()
                .zip(axes)
                .map(|(&index, axis)| (axis.start as isize + index as isize * axis.step) as usize)
                .collect();
            x.at(&source)
        }),
        Operation::Pad { before, fill } => Value::build(shape, |index| {
            let mut source = Vec::new();
            for ((&index, &before), &size) in index.iter().zip(before).zip(&x.shape) {
                let size = size as isize;
                let mut place = index as isize - before;
                while !(0..size).contains(&place) {
                    place = match fill {
                        Fill::Constant(value) => return f64::from(*value),
                        Fill::Edge => place.clamp(0, size - 1),
                        Fill::Wrap if place < 0 => place + size,
                        Fill::Wrap => place - size,
                        Fill::Reflect if size == 1 => 0,
                        Fill::Reflect if place < 0 => -place,
                        Fill::Reflect => 2 * (size - 1) - place,
                    };
                }
                source.push(place as usize);
            }
            x.at(&source)
        }),
        Operation::Transpose { perm } => Value::build(shape, |index| {
            let mut source = vec![0; index.len()];
            for (&axis, &index) in perm.iter().zip(index) {
                source[axis] = index;
            }
            x.at(&source)
        }),
        Operation::Reshape => Value {
            shape: shape.to_vec(),
            data: x.data.clone(),
        },
        Operation::Cast => Value::build(shape, |index| {
            let x = x.at(index);
            let saturated = |least: f64, most: f64| {
                let truncated = if x.is_nan() { 0.0 } else { x.trunc() };
                truncated.clamp(least, most)
            };
            match spec.element_type {
                ElementType::F32 | ElementType::F16 => f64::from(x as f32),
                ElementType::Bool => f64::from(u8::from(x != 0.0)),
                ElementType::U8 => saturated(0.0, 255.0),
                ElementType::I8 => saturated(-128.0, 127.0),
                ElementType::I32 => saturated(i32::MIN.into(), i32::MAX.into()),
                ElementType::I64 => saturated(i64::MIN as f64, i64::MAX as f64),
            }
        }),
        Operation::Quantize {
            scale,
            zero_point,
            axis,
        } => {
            let (scale, zero) = scales(plan, *scale, *zero_point);
            let (least, most) = match spec.element_type {
                ElementType::I8 => (-128.0, 127.0),
                _ => (0.0, 255.0),
            };
            Value::build(shape, |index| {
                let place = if scale.len() == 1 { 0 } else { index[*axis] };
                let rounded = (x.at(index) as f32 / scale[place] as f32).round_ties_even();
                (f64::from(rounded) + zero[place]).clamp(least, most)
            })
        }
        Operation::Dequantize {
            scale,
            zero_point,
            axis,
        } => {
            let (scale, zero) = scales(plan, *scale, *zero_point);
            Value::build(shape, |index| {
                let place = if scale.len() == 1 { 0 } else { index[*axis] };
                (x.at(index) - zero[place]) * scale[place]
            })
        }
        Operation::QuantizedConv2d { .. }
        | Operation::QuantizedFullyConnected { .. }
        | Operation::Lookup { .. }
        | Operation::DynamicScale
        | Operation::DynamicQuantize
        | Operation::QuantizedAdd { .. } => integer::run(plan, step, inputs),
    }
}

fn scales(plan: &Plan, scale: ConstantId, zero: Option<ConstantId>) -> (Vec<f64>, Vec<f64>) {
    let scale = constant(plan, scale).data;
    let zero = zero.map_or_else(|| vec![0.0; scale.len()], |zero| constant(plan, zero).data);
    (scale, zero)
}
