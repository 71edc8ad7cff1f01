//! Removes steps that no output needs, and renumbers tensors and constants in order of use.

use pilotage_engine::plan::{ConstantId, Epilogue, Operand, Operation, Plan, TensorId};

pub(super) fn remove(plan: &mut Plan) {
    let mut needed = vec![false; plan.tensors.len()];
    let mark = |needed: &mut Vec<bool>, operand: &Operand| {
        if let Operand::Tensor(id) = operand {
            needed[id.0] = true;
        }
    };
    for port in plan.inputs.iter().chain(&plan.outputs) {
        mark(&mut needed, &port.operand);
    }
    for step in plan.steps.iter().rev() {
        if needed[step.output.0] {
            for operand in &step.inputs {
                mark(&mut needed, operand);
            }
        }
    }
    plan.steps.retain(|step| needed[step.output.0]);

    let mut renumber = Renumber {
        tensors: vec![None; plan.tensors.len()],
        constants: vec![None; plan.constants.len()],
        tensor_order: Vec::new(),
        constant_order: Vec::new(),
    };
    for port in &mut plan.inputs {
        renumber.operand(&mut port.operand);
    }
    for step in &mut plan.steps {
        for operand in &mut step.inputs {
            renumber.operand(operand);
        }
        for id in stored(&mut step.operation).into_iter().flatten() {
            renumber.constant(id);
        }
        renumber.tensor(&mut step.output);
    }
    for port in &mut plan.outputs {
        renumber.operand(&mut port.operand);
    }
    let tensors = renumber.tensor_order.iter();
    plan.tensors = tensors.map(|&id| plan.tensors[id].clone()).collect();
    let mut constants: Vec<_> = plan.constants.drain(..).map(Some).collect();
    let kept = renumber.constant_order.iter();
    plan.constants = kept.filter_map(|&id| constants[id].take()).collect();
}

struct Renumber {
    tensors: Vec<Option<usize>>,
    constants: Vec<Option<usize>>,
    tensor_order: Vec<usize>,
    constant_order: Vec<usize>,
}

impl Renumber {
    fn operand(&mut self, operand: &mut Operand) {
        match operand {
            Operand::Tensor(id) => self.tensor(id),
            Operand::Constant(id) => self.constant(id),
        }
    }

    fn tensor(&mut self, id: &mut TensorId) {
        id.0 = number(id.0, &mut self.tensors, &mut self.tensor_order);
    }

    fn constant(&mut self, id: &mut ConstantId) {
        id.0 = number(id.0, &mut self.constants, &mut self.constant_order);
    }
}

fn number(old: usize, numbers: &mut [Option<usize>], order: &mut Vec<usize>) -> usize {
    *numbers[old].get_or_insert_with(|| {
        order.push(old);
        order.len() - 1
    })
}

/// The constants that an operation has in addition to its inputs.
fn stored(operation: &mut Operation) -> [Option<&mut ConstantId>; 4] {
    match operation {
        Operation::Conv2d { weights, bias, .. }
        | Operation::FullyConnected { weights, bias, .. } => {
            [Some(weights), bias.as_mut(), None, None]
        }
        Operation::QuantizedConv2d {
            weights,
            bias,
            multiplier,
            finish,
            ..
        }
        | Operation::QuantizedFullyConnected {
            weights,
            bias,
            multiplier,
            finish,
        } => {
            let added = match finish {
                Epilogue::Dynamic { bias, .. } => bias.as_mut(),
                Epilogue::Int8 { .. } | Epilogue::Float { .. } => None,
            };
            [Some(weights), bias.as_mut(), Some(multiplier), added]
        }
        Operation::Lookup { table } => [Some(table), None, None, None],
        Operation::QuantizedAdd { scales, scale, .. } => {
            let [first, second] = scales.each_mut().map(Option::as_mut);
            [first, second, Some(scale), None]
        }
        Operation::Gather { indices, .. } => [Some(indices), None, None, None],
        Operation::Affine { scale, shift, .. } => [Some(scale), Some(shift), None, None],
        Operation::Quantize {
            scale, zero_point, ..
        }
        | Operation::Dequantize {
            scale, zero_point, ..
        } => [Some(scale), zero_point.as_mut(), None, None],
        Operation::MatMul
        | Operation::Unary { .. }
        | Operation::Binary { .. }
        | Operation::Pool2d { .. }
        | Operation::ReduceMean { .. }
        | Operation::Reduce { .. }
        | Operation::Select
        | Operation::Softmax { .. }
        | Operation::Concat { .. }
        | Operation::Slice { .. }
        | Operation::Pad { .. }
        | Operation::Transpose { .. }
        | Operation::Reshape
        | Operation::Cast
        | Operation::DynamicScale
        | Operation::DynamicQuantize => [None, None, None, None],
    }
}
