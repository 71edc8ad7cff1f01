//! A curve goes into the step before it where nothing else reads that step.

use pilotage_engine::plan::{Activation, Operand, Operation, Plan};

pub(super) fn activations(plan: &mut Plan) {
    let mut readers = vec![0_usize; plan.tensors.len()];
    let ports = plan.outputs.iter().map(|port| &port.operand);
    for operand in plan.steps.iter().flat_map(|s| &s.inputs).chain(ports) {
        if let Operand::Tensor(id) = operand {
            readers[id.0] += 1;
        }
    }
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
    let mut fused = fused.into_iter();
    plan.steps.retain(|_| !fused.next().unwrap_or(false));
}

fn activation_of(operation: &mut Operation) -> Option<&mut Activation> {
    match operation {
        Operation::Conv2d { activation, .. }
        | Operation::FullyConnected { activation, .. }
        | Operation::Binary { activation, .. }
        | Operation::Affine { activation, .. } => Some(activation),
        _ => None,
    }
}
