//! Validates operations that move elements.

use super::check::Check;
use super::error::PlanError;
use super::limits::MAX_BYTES;
use super::{Fill, SliceStep};

impl Check<'_> {
    pub(super) fn concat(&self, axis: usize) -> Result<(), PlanError> {
        let output = self.output.shape.as_slice();
        self.number(axis < output.len(), "axis", "an axis of the output")?;
        let mut length = 0_usize;
        for &operand in &self.step.inputs {
            let (shape, element_type) = self.plan.spec(operand);
            self.same_type(element_type)?;
            let fits = shape.len() == output.len()
                && (0..shape.len()).all(|other| other == axis || shape[other] == output[other]);
            if !fits {
                return self.shape("input", shape);
            }
            length = length.saturating_add(shape[axis]);
        }
        if length != output[axis] {
            return self.shape("output", output);
        }
        Ok(())
    }

    pub(super) fn slice(&self, input: &[usize], axes: &[SliceStep]) -> Result<(), PlanError> {
        let output = self.output.shape.as_slice();
        if axes.len() != input.len() || output.len() != input.len() {
            return self.shape("output", output);
        }
        for ((&SliceStep { start, step }, &size), &length) in axes.iter().zip(input).zip(output) {
            self.number(step != 0, "step", "not 0")?;
            let inside = length == 0
                || start < size
                    && isize::try_from(length - 1)
                        .ok()
                        .and_then(|steps| steps.checked_mul(step))
                        .and_then(|reach| reach.checked_add_unsigned(start))
                        .is_some_and(|last| (0..size as isize).contains(&last));
            self.number(inside, "start and step", "every index inside the input")?;
        }
        Ok(())
    }

    pub(super) fn pad(
        &self,
        input: &[usize],
        before: &[isize],
        fill: Fill,
    ) -> Result<(), PlanError> {
        let output = self.output.shape.as_slice();
        if before.len() != input.len() || output.len() != input.len() {
            return self.shape("output", output);
        }
        let fits = |before: &isize| before.unsigned_abs() <= MAX_BYTES;
        let rule = "no more than a tensor can hold";
        self.number(before.iter().all(fits), "before", rule)?;
        match fill {
            Fill::Constant(value) => self.number(value.is_finite(), "fill", "a finite number"),
            // The border is made of the input's elements.
            Fill::Reflect | Fill::Edge | Fill::Wrap
                if input.contains(&0) && !output.contains(&0) =>
            {
                self.shape("input", input)
            }
            Fill::Reflect | Fill::Edge | Fill::Wrap => Ok(()),
        }
    }

    pub(super) fn transpose(&self, input: &[usize], perm: &[usize]) -> Result<(), PlanError> {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        self.number(
            sorted.iter().copied().eq(0..input.len()),
            "perm",
            "every axis of the input once",
        )?;
        let permuted = perm.iter().map(|&axis| input[axis]);
        if !permuted.eq(self.output.shape.iter().copied()) {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }
}
