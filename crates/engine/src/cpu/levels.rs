//! Chooses the storage formats of INT8 activations between layers.
//!
//! The tiles of some instruction sets read quantized values plus 128. If such tiles and
//! depthwise layers, which read either format, are the only readers of a layer's output, the
//! layer stores its output in that format. A reader without padding then reads its input in
//! place, without a copy.

use super::kernel::Kernel;
use super::memory::owners;
use crate::kernels::int8::{Form, SLACK};
use crate::kernels::quantized::EpilogueKernel;
use crate::plan::{Operand, Plan, TensorId};

/// The steps that write and read a tensor's memory.
#[derive(Debug, Clone, Default)]
struct Users {
    /// The step that writes the tensor; `None` for an input of the plan.
    writer: Option<usize>,
    /// Tiled and depthwise INT8 layers that read the tensor as their input.
    int8_readers: Vec<usize>,
    /// Whether another step or the caller reads the tensor.
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
            // The second input of a dynamically quantized layer is its scale.
            match kernel {
                Kernel::TiledInt8(_) | Kernel::DepthwiseInt8(_) if place == 0 => {
                    users.int8_readers.push(index);
                }
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
        // An input of the plan is in the caller's memory, which has no slack behind the input.
        let Some(writer) = users.writer else { continue };
        let form = match &mut kernels[writer].0 {
            _ if users.other_readers => Form::Plain,
            Kernel::TiledInt8(layer) if is_int8(layer.ending()) => layer.store_as_read(),
            Kernel::DepthwiseInt8(layer) if is_int8(layer.ending()) => layer.store_as_read(),
            _ => Form::Plain,
        };
        for &reader in &users.int8_readers {
            match &mut kernels[reader].0 {
                Kernel::TiledInt8(layer) => {
                    let behind = if layer.hold(form) { SLACK } else { 0 };
                    *slack = behind.max(*slack);
                }
                Kernel::DepthwiseInt8(layer) => layer.hold(form),
                _ => {}
            }
        }
    }
    slack
}

fn is_int8(epilogue: &EpilogueKernel) -> bool {
    matches!(epilogue, EpilogueKernel::Int8 { .. })
}
