//! Validates layers in floating point.

use super::check::{Check, MAX_EXTENT, broadcast};
use super::error::PlanError;
use super::{Activation, ConstantId, PoolKind, Window};
use crate::ElementType::{self, F16, F32, I8};

impl Check<'_> {
    /// Checks a convolution. Returns the number of multiply-adds for one output.
    pub(super) fn conv2d(
        &self,
        input: &[usize],
        weights: ConstantId,
        bias: Option<ConstantId>,
        (window, groups): (Window, usize),
        activation: Activation,
    ) -> Result<u64, PlanError> {
        self.all_f32()?;
        self.activation(activation)?;
        let inner = self.grouped_window(input, window, groups)?;
        let units = self.output.shape[3];
        let [height, width] = window.kernel;
        let shape = [units, height, width, inner];
        self.constant(weights, "weights", &[F32, F16], &shape)?;
        self.per_unit(bias, "bias", units)?;
        Ok((height * width) as u64 * inner as u64)
    }

    /// Checks a fully connected layer. Returns the number of multiply-adds for one output.
    pub(super) fn fully_connected(
        &self,
        input: &[usize],
        weights: ConstantId,
        bias: Option<ConstantId>,
        activation: Activation,
    ) -> Result<u64, PlanError> {
        self.all_f32()?;
        self.activation(activation)?;
        let (units, depth) = self.rows(input)?;
        self.constant(weights, "weights", &[F32, F16], &[units, depth])?;
        self.per_unit(bias, "bias", units)?;
        Ok(depth as u64)
    }

    fn per_unit(
        &self,
        constant: Option<ConstantId>,
        what: &'static str,
        units: usize,
    ) -> Result<(), PlanError> {
        match constant {
            Some(constant) => self.constant(constant, what, &[F32], &[units]),
            None => Ok(()),
        }
    }

    /// Checks a matrix product. Returns the number of multiply-adds for one output.
    pub(super) fn matmul(&self, input: &[usize]) -> Result<u64, PlanError> {
        self.all_f32()?;
        let (other, _) = self.plan.spec(self.step.inputs[1]);
        let ([lead @ .., rows, depth], [other_lead @ .., other_depth, columns]) = (input, other)
        else {
            return self.shape("second input", other);
        };
        let mut expected = broadcast(lead, other_lead);
        if let Some(shape) = &mut expected {
            shape.extend([*rows, *columns]);
        }
        if depth != other_depth || expected.as_deref() != Some(&self.output.shape[..]) {
            return self.shape("output", &self.output.shape);
        }
        Ok(*depth as u64)
    }

    /// Checks an operation on each element.
    pub(super) fn unary(&self, input: &[usize], activation: Activation) -> Result<(), PlanError> {
        self.all_f32()?;
        self.activation(activation)?;
        self.same_shape(input)
    }

    /// Checks an operation on two operands, one of which may be broadcast.
    pub(super) fn binary(&self, input: &[usize], activation: Activation) -> Result<(), PlanError> {
        self.all_f32()?;
        self.activation(activation)?;
        let (other, _) = self.plan.spec(self.step.inputs[1]);
        if broadcast(input, other).as_deref() != Some(&self.output.shape[..]) {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }

    /// Checks a scale and a shift for each index of the last axis.
    pub(super) fn affine(
        &self,
        input: &[usize],
        scale: ConstantId,
        shift: ConstantId,
        activation: Activation,
    ) -> Result<(), PlanError> {
        self.unary(input, activation)?;
        let Some(&last) = input.last() else {
            return self.shape("input", input);
        };
        self.constant(scale, "scale", &[F32], &[last])?;
        self.constant(shift, "shift", &[F32], &[last])
    }

    /// Checks a pooling. Returns the number of elements in one window.
    pub(super) fn pool2d(
        &self,
        (input, input_type): (&[usize], ElementType),
        kind: PoolKind,
        window: Window,
    ) -> Result<u64, PlanError> {
        match (kind, input_type) {
            (PoolKind::Max, I8) => self.same_type(I8)?,
            _ => self.all_f32()?,
        }
        self.window(input, window)?;
        if let PoolKind::AverageWithPads { bottom, right } = kind {
            self.number(
                bottom <= MAX_EXTENT && right <= MAX_EXTENT,
                "pads",
                "at most 1048576",
            )?;
        }
        if input[3] != self.output.shape[3] {
            return self.shape("output", &self.output.shape);
        }
        let [height, width] = window.kernel;
        Ok(height as u64 * width as u64)
    }

    /// Checks a softmax over the axes `axis..end_axis`.
    pub(super) fn softmax(
        &self,
        input: &[usize],
        axis: usize,
        end_axis: usize,
    ) -> Result<(), PlanError> {
        self.all_f32()?;
        self.same_shape(input)?;
        self.number(
            axis < end_axis && end_axis <= input.len(),
            "axis",
            "axis < end_axis, both within the input's axes",
        )
    }
}
