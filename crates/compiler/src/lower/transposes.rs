//! Merges consecutive transpositions and consecutive reshapes, and removes merged ones that change
//! nothing.

use pilotage_engine::plan::{Operand, Operation, Plan};

use crate::permute::{moves_nothing, pick};

/// In a chain of transpositions, or of reshapes, makes each step read the input of the first step.
/// A later pass, `dead::remove`, drops the steps whose outputs are no longer read.
pub(super) fn merge(plan: &mut Plan) {
    let mut maker = vec![None; plan.tensors.len()];
    let mut replaced: Vec<Option<Operand>> = vec![None; plan.tensors.len()];
    let resolve = |operand: &mut Operand, replaced: &[Option<Operand>]| {
        while let Operand::Tensor(id) = *operand
            && let Some(other) = replaced[id.0]
        {
            *operand = other;
        }
    };
    for index in 0..plan.steps.len() {
        for operand in &mut plan.steps[index].inputs {
            resolve(operand, &replaced);
        }
        let output = plan.steps[index].output;
        maker[output.0] = Some(index);
        let before = match plan.steps[index].inputs[..] {
            [Operand::Tensor(input)] => maker[input.0].map(|at: usize| plan.steps[at].clone()),
            _ => None,
        };
        let step = &mut plan.steps[index];
        if let Some(before) = before {
            match (&mut step.operation, &before.operation) {
                (Operation::Transpose { perm }, Operation::Transpose { perm: first }) => {
                    *perm = pick(first, perm);
                    step.inputs = before.inputs;
                }
                (Operation::Reshape, Operation::Reshape) => step.inputs = before.inputs,
                _ => continue,
            }
        }
        let (Operation::Transpose { .. } | Operation::Reshape) = step.operation else {
            continue;
        };
        let input = step.inputs[0];
        let shape = match input {
            Operand::Tensor(id) => &plan.tensors[id.0].shape,
            Operand::Constant(id) => &plan.constants[id.0].shape,
        };
        if let Operation::Transpose { perm } = &step.operation
            && moves_nothing(shape, perm)
        {
            step.operation = Operation::Reshape;
        }
        if step.operation == Operation::Reshape && *shape == plan.tensors[output.0].shape {
            replaced[output.0] = Some(input);
        }
    }
    for port in &mut plan.outputs {
        resolve(&mut port.operand, &replaced);
    }
}
