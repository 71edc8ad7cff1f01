//! Fuses a step into the preceding step if nothing else reads that step's output. Activations are
//! fused into layers, requantization into integer layers and sums, and an activation between integers
//! becomes a lookup table.

use std::collections::BTreeMap;

use pilotage_engine::plan::{
    Activation, BinaryOperator, Constant, ConstantData, ConstantId, Epilogue, Operand, Operation,
    Plan, PlanPort, Step, TensorId, TensorSpec,
};
use pilotage_engine::{AxisOrder, CpuOptions, ElementType, InstructionSet};
use pilotage_graph::{Tensor, TensorData};

use crate::run::run_plan;

/// The number of readers of each tensor. An output of the plan counts as a reader.
fn readers(plan: &Plan) -> Vec<usize> {
    let mut readers = vec![0_usize; plan.tensors.len()];
    let ports = plan.outputs.iter().map(|port| &port.operand);
    for operand in plan.steps.iter().flat_map(|s| &s.inputs).chain(ports) {
        if let Operand::Tensor(id) = operand {
            readers[id.0] += 1;
        }
    }
    readers
}

/// The step that computes each tensor.
fn makers(plan: &Plan) -> Vec<Option<usize>> {
    let mut makers = vec![None; plan.tensors.len()];
    for (index, step) in plan.steps.iter().enumerate() {
        makers[step.output.0] = Some(index);
    }
    makers
}

/// Removes the steps that are marked.
fn drop_steps(plan: &mut Plan, dropped: Vec<bool>) {
    let mut dropped = dropped.into_iter();
    plan.steps.retain(|_| !dropped.next().unwrap_or(false));
}

pub(super) fn activations(plan: &mut Plan) {
    let readers = readers(plan);
    let mut maker = vec![None; plan.tensors.len()];
    let mut fused = vec![false; plan.steps.len()];
    for (index, fused) in fused.iter_mut().enumerate() {
        let step = &plan.steps[index];
        let output = step.output;
        if let (&Operation::Unary { activation }, [Operand::Tensor(input)]) =
            (&step.operation, &step.inputs[..])
            && readers[input.0] == 1
            && let Some(before) = maker[input.0]
        {
            let before: usize = before;
            let into = &mut plan.steps[before];
            if let Some(place) = activation_of(&mut into.operation)
                && *place == Activation::None
            {
                *place = activation;
                into.output = output;
                *fused = true;
                maker[output.0] = Some(before);
                continue;
            }
        }
        maker[output.0] = Some(index);
    }
    drop_steps(plan, fused);
}

fn activation_of(operation: &mut Operation) -> Option<&mut Activation> {
    match operation {
        Operation::Conv2d { activation, .. }
        | Operation::FullyConnected { activation, .. }
        | Operation::Binary { activation, .. }
        | Operation::Affine { activation, .. } => Some(activation),
        Operation::QuantizedConv2d { finish, .. }
        | Operation::QuantizedFullyConnected { finish, .. } => match finish {
            Epilogue::Float { activation } | Epilogue::Dynamic { activation, .. } => {
                Some(activation)
            }
            Epilogue::Int8 { .. } => None,
        },
        _ => None,
    }
}

/// The scale of a Quantize or Dequantize between i8 and f32 with a single scale and zero point 0.
fn symmetric(plan: &Plan, step: &Step) -> Option<f32> {
    let (scale, zero_point, integer) = match (&step.operation, &step.inputs[..]) {
        (
            Operation::Quantize {
                scale, zero_point, ..
            },
            _,
        ) => (scale, zero_point, plan.tensors[step.output.0].element_type),
        (
            Operation::Dequantize {
                scale, zero_point, ..
            },
            [Operand::Tensor(input)],
        ) => (scale, zero_point, plan.tensors[input.0].element_type),
        _ => return None,
    };
    let zero = match zero_point {
        None => true,
        Some(id) => matches!(&plan.constants[id.0].data, ConstantData::I8(z) if z[..] == [0]),
    };
    match &plan.constants[scale.0].data {
        ConstantData::F32(scale) if zero && integer == ElementType::I8 => match scale[..] {
            [scale] => Some(scale),
            _ => None,
        },
        _ => None,
    }
}

/// Replaces Dequantize, activation, Quantize by a lookup table.
pub(super) fn tables(plan: &mut Plan) {
    let (readers, makers) = (readers(plan), makers(plan));
    let before = |step: &Step| match step.inputs[..] {
        [Operand::Tensor(input)] => makers[input.0].map(|at| (at, readers[input.0])),
        _ => None,
    };
    for index in 0..plan.steps.len() {
        let quantize = &plan.steps[index];
        let (Some(to), Some((at, 1))) = (symmetric(plan, quantize), before(quantize)) else {
            continue;
        };
        let (Operation::Unary { activation }, Some((first, _))) =
            (&plan.steps[at].operation, before(&plan.steps[at]))
        else {
            continue;
        };
        let Operation::Dequantize { .. } = plan.steps[first].operation else {
            continue;
        };
        let Some(from) = symmetric(plan, &plan.steps[first]) else {
            continue;
        };
        let Some(quantized) = table(*activation, from, to) else {
            continue;
        };
        plan.constants.push(Constant {
            shape: vec![quantized.len()],
            data: ConstantData::I8(quantized),
        });
        let table = ConstantId(plan.constants.len() - 1);
        let inputs = plan.steps[first].inputs.clone();
        let name = plan.steps[at].name.clone();
        // Dead step removal drops the steps that are no longer read.
        plan.steps[index] = Step {
            name,
            operation: Operation::Lookup { table },
            inputs,
            output: plan.steps[index].output,
        };
    }
}

/// The results of Dequantize, activation and Quantize for -128 to 127, computed by the engine's
/// scalar loops.
fn table(activation: Activation, from: f32, to: f32) -> Option<Vec<i8>> {
    let quantized: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let spec = |element_type| TensorSpec {
        shape: vec![quantized.len()],
        element_type,
    };
    let (i8s, f32s) = (spec(ElementType::I8), spec(ElementType::F32));
    let scale = |scale: f32| Constant {
        shape: vec![1],
        data: ConstantData::F32(vec![scale]),
    };
    let operations = [
        Operation::Dequantize {
            scale: ConstantId(0),
            zero_point: None,
            axis: 0,
        },
        Operation::Unary { activation },
        Operation::Quantize {
            scale: ConstantId(1),
            zero_point: None,
            axis: 0,
        },
    ];
    let steps = operations.into_iter().enumerate();
    let port = |at: usize| PlanPort {
        name: at.to_string(),
        operand: Operand::Tensor(TensorId(at)),
        layout: AxisOrder::Model,
    };
    let plan = Plan {
        tensors: vec![i8s.clone(), f32s.clone(), f32s, i8s],
        constants: vec![scale(from), scale(to)],
        inputs: vec![port(0)],
        outputs: vec![port(3)],
        steps: steps
            .map(|(at, operation)| Step {
                name: at.to_string(),
                operation,
                inputs: vec![Operand::Tensor(TensorId(at))],
                output: TensorId(at + 1),
            })
            .collect(),
    };
    let options = CpuOptions {
        instruction_set: Some(InstructionSet::Scalar),
        ..CpuOptions::default()
    };
    let input = Tensor::new([quantized.len()], quantized).ok()?;
    match run_plan(&plan, options, &[input]).ok()?.first()?.data() {
        TensorData::I8(quantized) => Some(quantized.clone()),
        _ => None,
    }
}

/// Fuses a Quantize into the layer with float outputs that it alone reads; the layer's outputs
/// become integers. `exact` has the multipliers before rounding.
pub(super) fn requantise(plan: &mut Plan, exact: &BTreeMap<ConstantId, Vec<f64>>) {
    let (readers, makers) = (readers(plan), makers(plan));
    let mut fused = vec![false; plan.steps.len()];
    for (index, fused) in fused.iter_mut().enumerate() {
        let quantize = &plan.steps[index];
        let (Operation::Quantize { .. }, [Operand::Tensor(input)]) =
            (&quantize.operation, &quantize.inputs[..])
        else {
            continue;
        };
        let (Some(scale), Some(at)) = (symmetric(plan, quantize), makers[input.0]) else {
            continue;
        };
        let output = quantize.output;
        if readers[input.0] != 1 {
            continue;
        }
        let (Operation::QuantizedConv2d {
            multiplier, finish, ..
        }
        | Operation::QuantizedFullyConnected {
            multiplier, finish, ..
        }) = &mut plan.steps[at].operation
        else {
            continue;
        };
        let Epilogue::Float { activation } = *finish else {
            continue;
        };
        let (Some((low, high)), Some(exact)) = (limits(activation, scale), exact.get(multiplier))
        else {
            continue;
        };
        *finish = Epilogue::Int8 { low, high };
        let rounded = exact.iter().map(|&m| (m / f64::from(scale)) as f32);
        let constant = Constant {
            shape: vec![exact.len()],
            data: ConstantData::F32(rounded.collect()),
        };
        *multiplier = ConstantId(plan.constants.len());
        plan.constants.push(constant);
        plan.steps[at].output = output;
        *fused = true;
    }
    drop_steps(plan, fused);
}

/// Replaces a sum that only a Quantize reads, and the Dequantize of its inputs, by one step: the end of a
/// residual connection.
pub(super) fn sums(plan: &mut Plan) {
    let (readers, makers) = (readers(plan), makers(plan));
    for index in 0..plan.steps.len() {
        let quantize = &plan.steps[index];
        let (Some(to), Operation::Quantize { scale, .. }, [Operand::Tensor(sum)]) = (
            symmetric(plan, quantize),
            &quantize.operation,
            &quantize.inputs[..],
        ) else {
            continue;
        };
        let (scale, Some(at), 1) = (*scale, makers[sum.0], readers[sum.0]) else {
            continue;
        };
        let (
            Operation::Binary {
                operator,
                activation,
            },
            &[a, b],
        ) = (&plan.steps[at].operation, &plan.steps[at].inputs[..])
        else {
            continue;
        };
        let shape = &plan.tensors[sum.0].shape;
        let is_whole = |operand: Operand| match operand {
            Operand::Tensor(id) => {
                let spec = &plan.tensors[id.0];
                spec.shape == *shape && spec.element_type == ElementType::F32
            }
            Operand::Constant(_) => false,
        };
        let (BinaryOperator::Add, Some((low, high)), true) = (
            operator,
            limits(*activation, to),
            is_whole(a) && is_whole(b),
        ) else {
            continue;
        };
        let sources = [a, b].map(|operand| integers(plan, &makers, operand));
        let name = plan.steps[at].name.clone();
        let scale = one(plan, scale);
        let scales = sources.map(|(_, scale)| scale.map(|scale| one(plan, scale)));
        // Dead step removal drops the steps that are no longer read.
        plan.steps[index] = Step {
            name,
            operation: Operation::QuantizedAdd {
                scales,
                scale,
                low,
                high,
            },
            inputs: sources.map(|(operand, _)| operand).to_vec(),
            output: plan.steps[index].output,
        };
    }
}

/// The integers that a tensor is dequantized from, and their scale; itself if it is not.
fn integers(
    plan: &Plan,
    makers: &[Option<usize>],
    operand: Operand,
) -> (Operand, Option<ConstantId>) {
    let Operand::Tensor(id) = operand else {
        return (operand, None);
    };
    let Some(step) = makers[id.0].map(|at| &plan.steps[at]) else {
        return (operand, None);
    };
    match (&step.operation, &step.inputs[..]) {
        (Operation::Dequantize { scale, .. }, &[from]) if symmetric(plan, step).is_some() => {
            (from, Some(*scale))
        }
        _ => (operand, None),
    }
}

/// A scale as a constant of shape (1).
fn one(plan: &mut Plan, scale: ConstantId) -> ConstantId {
    if plan.constants[scale.0].shape == [1] {
        return scale;
    }
    let data = plan.constants[scale.0].data.clone();
    plan.constants.push(Constant {
        shape: vec![1],
        data,
    });
    ConstantId(plan.constants.len() - 1)
}

/// The limits in quantized values of an activation that does nothing but clamp. Rounding is
/// monotonic, so clamping may come after it.
fn limits(activation: Activation, scale: f32) -> Option<(i8, i8)> {
    let quantized_limit = |limit: f32| (limit / scale).round_ties_even() as i8;
    Some(match activation {
        Activation::None => (i8::MIN, i8::MAX),
        Activation::Relu => (0, i8::MAX),
        Activation::Clip { min, max } => {
            let high = max.map_or(i8::MAX, quantized_limit);
            // If the limits cross, the upper one takes precedence.
            (min.map_or(i8::MIN, quantized_limit).min(high), high)
        }
        _ => return None,
    })
}
