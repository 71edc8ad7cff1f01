//! Builds plans for tests step by step.

use crate::plan::{
    Constant, ConstantData, ConstantId, Operand, Operation, Plan, PlanPort, Step, TensorId,
    TensorSpec,
};
use crate::{AxisOrder, ElementType};

/// Builds a plan. Its constants are from a fixed pseudo-random sequence.
#[derive(Debug, Default)]
pub struct PlanBuilder {
    plan: Plan,
    seed: u64,
}

impl PlanBuilder {
    /// Adds an input.
    pub fn input(&mut self, shape: &[usize], element_type: ElementType) -> Operand {
        let operand = Operand::Tensor(self.tensor(shape, element_type));
        self.plan.inputs.push(PlanPort {
            name: format!("input {}", self.plan.inputs.len()),
            operand,
            layout: AxisOrder::Model,
        });
        operand
    }

    /// Adds an f32 input.
    pub fn input_f32(&mut self, shape: &[usize]) -> Operand {
        self.input(shape, ElementType::F32)
    }

    /// Adds a constant.
    pub fn constant(&mut self, shape: &[usize], data: ConstantData) -> ConstantId {
        self.plan.constants.push(Constant {
            shape: shape.to_vec(),
            data,
        });
        ConstantId(self.plan.constants.len() - 1)
    }

    /// Adds an f32 constant of numbers from -1 to 1, times `scale`.
    pub fn weights(&mut self, shape: &[usize], scale: f32) -> ConstantId {
        let data = (0..shape.iter().product())
            .map(|_| self.number() * scale)
            .collect();
        self.constant(shape, ConstantData::F32(data))
    }

    /// Adds a step with f32 output.
    pub fn step(&mut self, operation: Operation, inputs: &[Operand], shape: &[usize]) -> Operand {
        self.typed_step(operation, inputs, shape, ElementType::F32)
    }

    /// Adds a step.
    pub fn typed_step(
        &mut self,
        operation: Operation,
        inputs: &[Operand],
        shape: &[usize],
        element_type: ElementType,
    ) -> Operand {
        let output = self.tensor(shape, element_type);
        self.plan.steps.push(Step {
            name: format!("step {}", self.plan.steps.len()),
            operation,
            inputs: inputs.to_vec(),
            output,
        });
        Operand::Tensor(output)
    }

    /// Returns the plan with these outputs.
    pub fn finish(mut self, outputs: &[Operand]) -> Plan {
        self.plan.outputs = outputs
            .iter()
            .enumerate()
            .map(|(index, &operand)| PlanPort {
                name: format!("output {index}"),
                operand,
                layout: AxisOrder::Model,
            })
            .collect();
        self.plan
    }

    fn tensor(&mut self, shape: &[usize], element_type: ElementType) -> TensorId {
        self.plan.tensors.push(TensorSpec {
            shape: shape.to_vec(),
            element_type,
        });
        TensorId(self.plan.tensors.len() - 1)
    }

    fn number(&mut self) -> f32 {
        number(&mut self.seed)
    }
}

/// The next number, from -1 to 1, of a pseudo-random sequence (splitmix64).
pub fn number(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut x = *seed;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
}
