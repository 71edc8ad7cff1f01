//! How levels are held between INT8 layers.
//!
//! Tiles of some instruction sets read levels plus 128. Where such tiles alone read
//! what another layer makes, that layer stores it so, and a layer without padding then
//! reads its input where it lies.

use super::kernel::Kernel;
use super::memory::owners;
use crate::kernels::int8::{Form, SLACK};
use crate::kernels::quantized::Ending;
use crate::plan::{Operand, Plan, TensorId};

/// Who has to do with a tensor's memory.
#[derive(Debug, Clone, Default)]
struct Users {
    maker: Option<usize>,
    /// INT8 layers whose levels it is.
    layers: Vec<usize>,
    /// Whether anything else reads it, the caller among them.
    others: bool,
}

/// Settles it for the kernels of a validated plan's steps. Returns the bytes that
/// each tensor needs behind it, for tiles that read past the end.
pub(crate) fn arrange(plan: &Plan, kernels: &mut [(Kernel, u64)]) -> Vec<usize> {
    let owner = owners(plan);
    let mut users = vec![Users::default(); plan.tensors.len()];
    for (index, (step, (kernel, _))) in plan.steps.iter().zip(&*kernels).enumerate() {
        if matches!(kernel, Kernel::Shared) {
            continue;
        }
        users[step.output.0].maker = Some(index);
        for (place, input) in step.inputs.iter().enumerate() {
            let Operand::Tensor(TensorId(id)) = *input else {
                continue;
            };
            let users = &mut users[owner[id]];
            // A layer's second input is a scale.
            match kernel {
                Kernel::TiledInt8(_) if place == 0 => users.layers.push(index),
                _ => users.others = true,
            }
        }
    }
    for port in &plan.outputs {
        if let Operand::Tensor(TensorId(id)) = port.operand {
            users[owner[id]].others = true;
        }
    }
    let mut slack = vec![0; plan.tensors.len()];
    for (slack, users) in slack.iter_mut().zip(&users) {
        // The caller's memory ends where it ends.
        let Some(maker) = users.maker else { continue };
        let mut form = Form::Plain;
        if let Kernel::TiledInt8(layer) = &mut kernels[maker].0
            && matches!(layer.ending(), Ending::Int8 { .. })
            && !users.others
        {
            form = layer.store_as_read();
        }
        for &reader in &users.layers {
            if let Kernel::TiledInt8(layer) = &mut kernels[reader].0
                && layer.hold(form)
            {
                *slack = SLACK;
            }
        }
    }
    slack
}
