//! Decides which contribution to each gradient is the first one of the backward pass.

use crate::kernels::Accumulate;
use crate::step::{Kernel, Source};

use super::Plan;

pub(super) fn assign(plan: &mut Plan) {
    let mut written = vec![false; plan.slots.len()];
    let mut first = |slot: usize| match std::mem::replace(&mut written[slot], true) {
        false => Accumulate::Set,
        true => Accumulate::Add,
    };
    for output in &mut plan.outputs {
        output.accumulate = first(output.slot);
    }
    for step in plan.steps.iter_mut().rev() {
        // Nothing that reads the output has a gradient, such as an unused part of a split.
        if first(step.output) == Accumulate::Set {
            plan.slots[step.output].zeroed = true;
        }
        if matches!(step.kernel, Kernel::InPlace(_)) {
            continue;
        }
        for input in &mut step.inputs {
            if let (Source::Slot(slot), Some(accumulate)) = (input.source, &mut input.gradient) {
                *accumulate = first(slot);
            }
        }
    }
}
