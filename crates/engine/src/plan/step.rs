//! Validates one step of a plan: whether its operation fits its tensors.

use super::check::Check;
use super::error::PlanError;
use super::{Operation, integer};
use crate::ElementType::{F32, I8, I32, U8};

fn elements(shape: &[usize]) -> u64 {
    shape.iter().map(|&size| size as u64).product()
}

impl Check<'_> {
    /// Checks the operation and returns the amount of work.
    pub(super) fn operation(&self) -> Result<u64, PlanError> {
        let output = self.output.shape.as_slice();
        let written = elements(output);
        if let Operation::Concat { axis } = self.step.operation {
            self.concat(axis)?;
            return Ok(written);
        }
        self.input_count()?;
        let (input, input_type) = self.plan.spec(self.step.inputs[0]);
        let read = elements(input);
        // The work for each element of the output.
        let work = match &self.step.operation {
            Operation::Concat { .. } => 1,
            Operation::Conv2d {
                weights,
                bias,
                window,
                groups,
                activation,
            } => self.conv2d(input, *weights, *bias, (*window, *groups), *activation)?,
            Operation::FullyConnected {
                weights,
                bias,
                activation,
            } => self.fully_connected(input, *weights, *bias, *activation)?,
            Operation::MatMul => self.matmul(input)?,
            Operation::Unary { activation } => {
                self.unary(input, *activation)?;
                1
            }
            Operation::Binary { activation, .. } => {
                self.binary(input, *activation)?;
                1
            }
            Operation::Affine {
                scale,
                shift,
                activation,
            } => {
                self.affine(input, *scale, *shift, *activation)?;
                1
            }
            Operation::Pool2d { kind, window } => {
                self.pool2d((input, input_type), *kind, *window)?
            }
            Operation::ReduceMean { axes } | Operation::Reduce { axes, .. } => {
                self.all_f32()?;
                self.reduction(input, axes)?;
                return Ok(read.saturating_add(written));
            }
            Operation::Select => {
                self.select(input)?;
                1
            }
            Operation::Softmax { axis, end_axis } => {
                self.softmax(input, *axis, *end_axis)?;
                4
            }
            Operation::Gather { .. }
            | Operation::Slice { .. }
            | Operation::Pad { .. }
            | Operation::Transpose { .. }
            | Operation::Reshape => {
                self.same_type(input_type)?;
                self.movement(input)?;
                1
            }
            Operation::Cast => {
                self.same_shape(input)?;
                1
            }
            Operation::Quantize {
                scale,
                zero_point,
                axis,
            } => {
                let output_type = self.output.element_type;
                self.types("input", input_type, &[F32])?;
                self.types("output", output_type, &[U8, I8])?;
                self.same_shape(input)?;
                self.scales(input, *axis, *scale, *zero_point, output_type)?;
                1
            }
            Operation::Dequantize {
                scale,
                zero_point,
                axis,
            } => {
                self.types("input", input_type, &[U8, I8, I32])?;
                self.types("output", self.output.element_type, &[F32])?;
                self.same_shape(input)?;
                self.scales(input, *axis, *scale, *zero_point, input_type)?;
                1
            }
            Operation::QuantizedConv2d { .. }
            | Operation::QuantizedFullyConnected { .. }
            | Operation::Lookup { .. }
            | Operation::DynamicScale
            | Operation::DynamicQuantize
            | Operation::QuantizedAdd { .. } => return self.integer(input, input_type),
        };
        Ok(written.saturating_mul(work))
    }

    fn input_count(&self) -> Result<(), PlanError> {
        let expected = match self.step.operation {
            Operation::MatMul
            | Operation::Binary { .. }
            | Operation::DynamicQuantize
            | Operation::QuantizedAdd { .. } => 2,
            Operation::Select => 3,
            Operation::QuantizedConv2d { finish, .. }
            | Operation::QuantizedFullyConnected { finish, .. } => integer::inputs(&finish),
            _ => 1,
        };
        match self.step.inputs.len() {
            found if found == expected => Ok(()),
            found => Err(PlanError::InputCount {
                step: self.step.name.clone(),
                expected,
                found,
            }),
        }
    }

    /// Checks an operation that moves the elements of one input.
    fn movement(&self, input: &[usize]) -> Result<(), PlanError> {
        match &self.step.operation {
            Operation::Gather { axis, indices } => self.gather(input, *axis, *indices),
            Operation::Slice { axes } => self.slice(input, axes),
            Operation::Pad { before, fill } => self.pad(input, before, *fill),
            Operation::Transpose { perm } => self.transpose(input, perm),
            _ if elements(input) != elements(&self.output.shape) => {
                self.shape("output", &self.output.shape)
            }
            _ => Ok(()),
        }
    }
}
