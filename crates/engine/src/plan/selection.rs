//! Validates reductions and operations that select elements.

use super::check::{Check, broadcast};
use super::error::PlanError;
use super::{Constant, ConstantData, ConstantId};
use crate::ElementType;

impl Check<'_> {
    /// Checks the axes and the output's shape of a reduction.
    pub(super) fn reduction(&self, input: &[usize], axes: &[usize]) -> Result<(), PlanError> {
        let output = self.output.shape.as_slice();
        self.number(
            axes.windows(2).all(|pair| pair[0] < pair[1])
                && axes.last().is_none_or(|&axis| axis < input.len()),
            "axes",
            "sorted axes of the input, each once",
        )?;
        let reduced = |axis: &usize| axes.binary_search(axis).is_ok();
        let kept = (0..input.len()).map(|axis| if reduced(&axis) { 1 } else { input[axis] });
        let left = (0..input.len()).filter(|axis| !reduced(axis));
        if !kept.eq(output.iter().copied())
            && !left.map(|axis| input[axis]).eq(output.iter().copied())
        {
            return self.shape("output", output);
        }
        Ok(())
    }

    pub(super) fn select(&self, condition: &[usize]) -> Result<(), PlanError> {
        let [first, a, b] = self.step.inputs[..] else {
            return self.shape("input", condition);
        };
        self.types("condition", self.plan.spec(first).1, &[ElementType::Bool])?;
        let (a, a_type) = self.plan.spec(a);
        let (b, b_type) = self.plan.spec(b);
        for element_type in [a_type, b_type, self.output.element_type] {
            self.types("element", element_type, &[ElementType::F32])?;
        }
        let whole = broadcast(a, b).and_then(|both| broadcast(condition, &both));
        if whole.as_deref() != Some(&self.output.shape[..]) {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }

    pub(super) fn gather(
        &self,
        input: &[usize],
        axis: usize,
        indices: ConstantId,
    ) -> Result<(), PlanError> {
        self.number(axis < input.len(), "axis", "an axis of the input")?;
        let mut expected = input.to_vec();
        let Constant { shape, data } = self.find(indices, "indices")?;
        self.types("indices", data.element_type(), &[ElementType::I64])?;
        expected[axis] = data.len();
        if shape.len() != 1 {
            return self.shape("indices", shape);
        }
        if let ConstantData::I64(indices) = data {
            let inside = |&index: &i64| usize::try_from(index).is_ok_and(|i| i < input[axis]);
            self.number(indices.iter().all(inside), "indices", "inside the input")?;
        }
        if self.output.shape != expected {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }
}
