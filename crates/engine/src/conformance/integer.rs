//! Evaluates the INT8 operations by their definition: in exact integers, and in f32 where the
//! definition rounds to f32.

use super::value::{Value, constant, curve, tap};
use crate::plan::{Epilogue, Operation, Plan, Step};

/// Evaluates one integer step.
pub(super) fn run(plan: &Plan, step: &Step, inputs: &[Value]) -> Value {
    let shape = plan.tensors[step.output.0].shape.as_slice();
    let x = &inputs[0];
    match &step.operation {
        Operation::QuantizedConv2d {
            weights,
            bias,
            multiplier,
            window,
            groups,
            finish,
        } => {
            let weights = constant(plan, *weights);
            let bias = bias.map(|bias| constant(plan, bias));
            let multiplier = constant(plan, *multiplier);
            let depth = weights.shape[3];
            Value::build(shape, |index| {
                let unit = index[3];
                let first = unit / (shape[3] / groups) * depth;
                let mut sum = bias.as_ref().map_or(0, |bias| bias.data[unit] as i64);
                for row in 0..window.kernel[0] {
                    for column in 0..window.kernel[1] {
                        let y = tap(*window, 0, index[1], row, x.shape[1]);
                        let across = tap(*window, 1, index[2], column, x.shape[2]);
                        let (Some(y), Some(across)) = (y, across) else {
                            continue;
                        };
                        for inner in 0..depth {
                            let pixel = x.at(&[index[0], y, across, first + inner]);
                            let weight = weights.at(&[unit, row, column, inner]);
                            sum += pixel as i64 * weight as i64;
                        }
                    }
                }
                epilogue(plan, finish, inputs, (unit, sum, multiplier.data[unit]))
            })
        }
        Operation::QuantizedFullyConnected {
            weights,
            bias,
            multiplier,
            finish,
        } => {
            let weights = constant(plan, *weights);
            let bias = bias.map(|bias| constant(plan, bias));
            let multiplier = constant(plan, *multiplier);
            Value::build(shape, |index| {
                let (&unit, lead) = index.split_last().unwrap();
                let mut sum = bias.as_ref().map_or(0, |bias| bias.data[unit] as i64);
                for depth in 0..weights.shape[1] {
                    let pixel = x.at(&[lead, &[depth]].concat());
                    sum += pixel as i64 * weights.at(&[unit, depth]) as i64;
                }
                epilogue(plan, finish, inputs, (unit, sum, multiplier.data[unit]))
            })
        }
        Operation::Lookup { table } => {
            let table = constant(plan, *table);
            Value::build(shape, |index| table.data[(x.at(index) + 128.0) as usize])
        }
        Operation::DynamicScale => {
            let most = x.data.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            let scale = most as f32 / 127.0;
            let scale = if scale > 0.0 { scale } else { 1.0 };
            Value::build(shape, |_| scale.into())
        }
        Operation::QuantizedAdd {
            scales,
            scale,
            low,
            high,
        } => {
            let of = |id| constant(plan, id).data[0] as f32;
            let scales = scales.map(|scale| scale.map_or(1.0, of));
            let (scale, y) = (of(*scale), &inputs[1]);
            Value::build(shape, |index| {
                let [a, b] = [
                    x.at(index) as f32 * scales[0],
                    y.at(index) as f32 * scales[1],
                ];
                let rounded = ((a + b) / scale).round_ties_even();
                f64::from(rounded.clamp((*low).into(), (*high).into()))
            })
        }
        _ => {
            let scale = inputs[1].data[0] as f32;
            Value::build(shape, |index| {
                let rounded = (x.at(index) as f32 / scale).round_ties_even();
                f64::from(rounded.clamp(-128.0, 127.0))
            })
        }
    }
}

/// Applies the epilogue to a unit's sum.
fn epilogue(
    plan: &Plan,
    finish: &Epilogue,
    inputs: &[Value],
    (unit, sum, multiplier): (usize, i64, f64),
) -> f64 {
    let (sum, multiplier) = (sum as f32, multiplier as f32);
    match finish {
        Epilogue::Int8 { low, high } => {
            let rounded = (sum * multiplier).round_ties_even();
            f64::from(rounded.clamp((*low).into(), (*high).into()))
        }
        Epilogue::Float { activation } => curve(*activation, f64::from(sum * multiplier)),
        Epilogue::Dynamic { bias, activation } => {
            let bias = bias.map_or(0.0, |bias| constant(plan, bias).data[unit] as f32);
            let scale = inputs[1].data[0] as f32;
            curve(*activation, f64::from(sum * (scale * multiplier) + bias))
        }
    }
}
