//! How INT8 activations are stored between layers.
//!
//! Tiles of some instruction sets read quantized values plus 128. Where such tiles are
//! the only readers of another layer's output, that layer stores its output in this
//! form. A layer without padding then reads its input in place.

use super::kernel::Kernel;
use super::memory::owners;
use crate::kernels::int8::{Form, SLACK};
use crate::kernels::quantized::EpilogueKernel;
use crate::plan::{Operand, Plan, TensorId};

/// The steps that write and read a tensor's memory.
#[derive(Debug, Clone, Default)]
struct Users {
    /// The step that writes it; `None` for an input of the plan.
    writer: Option<usize>,
    /// Tiled INT8 layers that read it as their input.
    int8_readers: Vec<usize>,
    /// Whether anything else reads it: another step or the caller.
    other_readers: bool,
}

/// Chooses the storage format of each INT8 activation of a validated plan and sets it in
/// the kernels of the steps. Returns for each tensor the bytes that have to follow it in
/// memory, for tiles that read past its end.
pub(crate) fn arrange(plan: &Plan, kernels: &mut [(Kernel, u64)]) -> Vec<usize> {
    let owner = owners(plan);
    let mut users = vec![Users::default(); plan.tensors.len()];
    for (index, (step, (kernel, _))) in plan.steps.iter().zip(&*kernels).enumerate() {
        if matches!(kernel, Kernel::Shared) {
            continue;
        }
        users[step.output.0].writer = Some(index);
        for (place, input) in step.inputs.iter().enumerate() {
            let Operand::Tensor(TensorId(id)) = *input else {
                continue;
            };
            let users = &mut users[owner[id]];
            // The second input of a layer is a scale.
            match kernel {
                Kernel::TiledInt8(_) if place == 0 => users.int8_readers.push(index),
                _ => users.other_readers = true,
            }
        }
    }
    for port in &plan.outputs {
        if let Operand::Tensor(TensorId(id)) = port.operand {
            users[owner[id]].other_readers = true;
        }
    }
    let mut slack = vec![0; plan.tensors.len()];
    for (slack, users) in slack.iter_mut().zip(&users) {
        // An input of the plan is the caller's memory, which has no slack behind it.
        let Some(writer) = users.writer else { continue };
        let mut form = Form::Plain;
        if let Kernel::TiledInt8(layer) = &mut kernels[writer].0
            && matches!(layer.ending(), EpilogueKernel::Int8 { .. })
            && !users.other_readers
        {
            form = layer.store_as_read();
        }
        for &reader in &users.int8_readers {
            if let Kernel::TiledInt8(layer) = &mut kernels[reader].0
                && layer.hold(form)
            {
                *slack = SLACK;
            }
        }
    }
    slack
}
