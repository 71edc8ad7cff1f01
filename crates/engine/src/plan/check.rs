//! The rules that several operations share.

use super::error::PlanError;
use super::{Activation, Constant, ConstantId, Plan, Step, TensorSpec, Window};
use crate::ElementType;

/// Maximum of a stride, pad, dilation or kernel size.
pub(super) const MAX_EXTENT: usize = 1 << 20;
/// Maximum height, width or number of channels of an NHWC tensor.
const MAX_SIDE: usize = 1 << 16;

/// The shape of `a` and `b` broadcast as in numpy; `None` if they do not fit.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The check of one step, whose operands and output exist.
pub(super) struct Check<'a> {
    pub(super) plan: &'a Plan,
    pub(super) step: &'a Step,
    pub(super) output: &'a TensorSpec,
}

impl<'a> Check<'a> {
    pub(super) fn new(plan: &'a Plan, step: &'a Step) -> Self {
        Self {
            plan,
            step,
            output: &plan.tensors[step.output.0],
        }
    }

    /// Checks groups and windows. Returns the number of input channels of one group.
    pub(super) fn grouped_window(
        &self,
        input: &[usize],
        window: Window,
        groups: usize,
    ) -> Result<usize, PlanError> {
        self.window(input, window)?;
        let (channels, output_channels) = (input[3], self.output.shape[3]);
        self.number(
            groups > 0 && channels % groups == 0 && output_channels % groups == 0,
            "groups",
            "it divides the channels of input and output",
        )?;
        Ok(channels / groups)
    }

    /// The number of units and the depth of a fully connected layer.
    pub(super) fn rows(&self, input: &[usize]) -> Result<(usize, usize), PlanError> {
        let output = self.output.shape.as_slice();
        match (input.split_last(), output.split_last()) {
            (Some((&depth, rows)), Some((&units, output_rows))) if rows == output_rows => {
                Ok((units, depth))
            }
            _ => self.shape("output", output),
        }
    }

    pub(super) fn window(&self, input: &[usize], window: Window) -> Result<(), PlanError> {
        let output = self.output.shape.as_slice();
        if input.len() != 4 {
            return self.shape("input", input);
        }
        if output.len() != 4 || input[0] != output[0] {
            return self.shape("output", output);
        }
        self.number(
            input.iter().chain(output).all(|&side| side <= MAX_SIDE),
            "the picture",
            "no side or number of channels past 65536",
        )?;
        for (parameter, pair, least) in [
            ("kernel", window.kernel, 1),
            ("strides", window.strides, 1),
            ("pads", window.pads, 0),
            ("dilations", window.dilations, 1),
        ] {
            self.number(
                pair.iter().all(|size| (least..=MAX_EXTENT).contains(size)),
                parameter,
                "at least 1 (pads 0) and at most 1048576",
            )?;
        }
        Ok(())
    }

    pub(super) fn find(
        &self,
        ConstantId(id): ConstantId,
        what: &str,
    ) -> Result<&'a Constant, PlanError> {
        self.plan
            .constants
            .get(id)
            .ok_or_else(|| PlanError::Unknown {
                place: format!("the {what} of step `{}`", self.step.name),
                kind: "constant",
                id,
            })
    }

    pub(super) fn constant(
        &self,
        id: ConstantId,
        what: &'static str,
        allowed: &[ElementType],
        expected: &[usize],
    ) -> Result<(), PlanError> {
        let Constant { shape, data } = self.find(id, what)?;
        self.types(what, data.element_type(), allowed)?;
        if shape != expected {
            return self.shape(what, shape);
        }
        Ok(())
    }

    pub(super) fn activation(&self, activation: Activation) -> Result<(), PlanError> {
        let finite = match activation {
            Activation::None
            | Activation::Relu
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Softplus
            | Activation::Softsign
            | Activation::Function(_) => true,
            Activation::LeakyRelu { alpha } | Activation::Elu { alpha } => alpha.is_finite(),
            Activation::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
            Activation::Clip { min, max } => [min, max]
                .into_iter()
                .flatten()
                .all(|limit| limit.is_finite()),
        };
        self.number(finite, "activation", "finite numbers")
    }

    pub(super) fn all_f32(&self) -> Result<(), PlanError> {
        for &operand in &self.step.inputs {
            self.types("input", self.plan.spec(operand).1, &[ElementType::F32])?;
        }
        self.types("output", self.output.element_type, &[ElementType::F32])
    }

    pub(super) fn same_type(&self, element_type: ElementType) -> Result<(), PlanError> {
        self.types("input", element_type, &[self.output.element_type])
    }

    pub(super) fn same_shape(&self, input: &[usize]) -> Result<(), PlanError> {
        if input != self.output.shape {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }

    pub(super) fn types(
        &self,
        what: &'static str,
        found: ElementType,
        allowed: &[ElementType],
    ) -> Result<(), PlanError> {
        if allowed.contains(&found) {
            return Ok(());
        }
        Err(PlanError::WrongType {
            step: self.step.name.clone(),
            what,
            found,
        })
    }

    pub(super) fn shape<T>(&self, what: &'static str, found: &[usize]) -> Result<T, PlanError> {
        Err(PlanError::WrongShape {
            step: self.step.name.clone(),
            what,
            found: found.to_vec(),
        })
    }

    pub(super) fn number(
        &self,
        holds: bool,
        parameter: &'static str,
        rule: &'static str,
    ) -> Result<(), PlanError> {
        if holds {
            return Ok(());
        }
        Err(PlanError::OutOfRange {
            step: self.step.name.clone(),
            parameter,
            rule,
        })
    }
}
