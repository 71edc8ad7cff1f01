//! An engine whose outputs are observed as they are computed.

use super::memory::{OutputMemory, Slot, Views};
use super::{CpuEngine, CpuError, CpuOptions};
use crate::plan::{Operand, Plan};
use crate::{ElementType, Engine, EngineError, Port, TensorRef};

/// Runs a [`Plan`] on the CPU, and passes each output on when it is computed.
///
/// No output is kept, so that a plan with many of them, such as all tensors of a network, needs
/// hardly more memory than one with few.
#[derive(Debug)]
pub struct ObservedEngine {
    engine: CpuEngine,
    /// For each step, the outputs that it computes.
    after: Vec<Vec<usize>>,
    /// Outputs that no step computes: inputs and constants.
    before: Vec<usize>,
}

impl ObservedEngine {
    /// Validates the plan and packs it for the machine.
    ///
    /// # Errors
    /// As [`CpuEngine::new`].
    pub fn new(plan: &Plan, options: CpuOptions) -> Result<Self, CpuError> {
        let engine = CpuEngine::with(plan, options, OutputMemory::Reused)?;
        let mut after = vec![Vec::new(); plan.steps.len()];
        let mut before = Vec::new();
        for (index, port) in plan.outputs.iter().enumerate() {
            let made = |id| plan.steps.iter().position(|step| step.output == id);
            let step = match port.operand {
                Operand::Tensor(id) => made(id),
                Operand::Constant(_) => None,
            };
            match step {
                Some(step) => after[step].push(index),
                None => before.push(index),
            }
        }
        Ok(Self {
            engine,
            after,
            before,
        })
    }

    /// The tensors that [`run`](Self::run) reads, in order.
    pub fn inputs(&self) -> &[Port] {
        self.engine.inputs()
    }

    /// The tensors that [`run`](Self::run) passes on.
    pub fn outputs(&self) -> &[Port] {
        self.engine.outputs()
    }

    /// Runs the network once. Passes the index and the elements of each output to `observe`, in the
    /// order in which they are computed.
    ///
    /// # Errors
    /// When the inputs do not match the ports, or a worker thread has panicked.
    pub fn run(
        &mut self,
        inputs: &[TensorRef<'_>],
        mut observe: impl FnMut(usize, TensorRef<'_>),
    ) -> Result<(), EngineError> {
        let engine = &mut self.engine;
        EngineError::check_inputs(&engine.inputs, inputs)?;
        let views = Views::new(&mut engine.arena, &engine.constants, inputs);
        let slots = &engine.output_slots;
        for &port in &self.before {
            // SAFETY: `views` covers the memory of the map that the slots come from; no step is
            // running, so that nothing writes.
            observe(port, unsafe { elements(views, slots[port]) });
        }
        for (step, ports) in engine.steps.iter().zip(&self.after) {
            // SAFETY: `arena` and `constants` have the sizes of the map that the steps were prepared
            // with; `check_inputs` verified the inputs; a step keeps no slice of the memory after it
            // returns, and `observe` cannot keep one either.
            unsafe { step.run(views, engine.workers.as_mut()) };
            if engine.workers.as_ref().is_some_and(|it| it.panicked()) {
                return Err(EngineError::ThreadPanicked);
            }
            for &port in ports {
                // SAFETY: as for the outputs that no step computes.
                observe(port, unsafe { elements(views, slots[port]) });
            }
        }
        Ok(())
    }
}

/// The elements of a slot.
///
/// # Safety
/// As for [`Views::read`], with the slot's own type.
unsafe fn elements(views: Views<'_>, slot: Slot) -> TensorRef<'_> {
    // SAFETY: the contract of this function; each type has the size of the slot's elements.
    unsafe {
        match slot.element_type {
            ElementType::F32 => TensorRef::F32(views.read(slot)),
            ElementType::I64 => TensorRef::I64(views.read(slot)),
            // No tensor is F16: in a valid plan only weights are.
            ElementType::F16 | ElementType::I32 => TensorRef::I32(views.read(slot)),
            ElementType::U8 | ElementType::Bool => TensorRef::U8(views.read(slot)),
            ElementType::I8 => TensorRef::I8(views.read(slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorMut;
    use crate::conformance;
    use crate::plan::{PlanPort, TensorId};

    /// Every tensor of a network as an output, and the values of each with both engines.
    #[test]
    fn every_tensor_is_observed_as_a_kept_output_has_it() {
        for (name, mut plan) in conformance::networks() {
            let float = |port: &PlanPort| match port.operand {
                Operand::Tensor(id) => plan.tensors[id.0].element_type == ElementType::F32,
                Operand::Constant(_) => false,
            };
            if !plan.inputs.iter().all(float) {
                continue;
            }
            let computed = (0..plan.tensors.len()).map(TensorId);
            let computed =
                computed.filter(|id| plan.tensors[id.0].element_type == ElementType::F32);
            let port = |id: TensorId| PlanPort {
                name: id.0.to_string(),
                operand: Operand::Tensor(id),
                layout: crate::AxisOrder::Model,
            };
            plan.outputs = computed.map(port).collect();
            let mut kept = CpuEngine::new(&plan, CpuOptions::default()).unwrap();
            let mut observed = ObservedEngine::new(&plan, CpuOptions::default()).unwrap();
            let numbers = |port: &Port| (0..port.len()).map(|i| (i % 23) as f32 * 0.1 - 1.0);
            let inputs: Vec<Vec<f32>> =
                kept.inputs().iter().map(|p| numbers(p).collect()).collect();
            let inputs: Vec<_> = inputs.iter().map(|data| TensorRef::F32(data)).collect();
            let zeros = |port: &Port| vec![0.0_f32; port.len()];
            let mut expected: Vec<_> = kept.outputs().iter().map(zeros).collect();
            let mut views: Vec<_> = expected.iter_mut().map(|x| TensorMut::F32(x)).collect();
            kept.infer(&inputs, &mut views).unwrap();
            let mut found = vec![Vec::new(); expected.len()];
            let observe = |port: usize, data: TensorRef<'_>| match data {
                TensorRef::F32(data) => found[port].extend_from_slice(data),
                _ => panic!("{name}: output {port} is not float"),
            };
            observed.run(&inputs, observe).unwrap();
            let bits = |data: &[Vec<f32>]| -> Vec<Vec<u32>> {
                let each = data.iter().map(|x| x.iter().map(|x| x.to_bits()).collect());
                each.collect()
            };
            assert_eq!(bits(&found), bits(&expected), "{name}");
        }
    }
}
