//! Validates one step of a plan: whether its operation fits its tensors.

use super::error::PlanError;
use super::integer;
use super::validate::MAX_BYTES;
use super::{
    Activation, Constant, ConstantData, ConstantId, Fill, Operation, Plan, PoolKind, SliceStep,
    Step, TensorSpec, Window,
};
use crate::ElementType;

/// Maximum of a stride, pad, dilation or kernel size.
const MAX_EXTENT: usize = 1 << 20;
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

    /// Checks the operation and returns the amount of work.
    pub(super) fn operation(&self) -> Result<u64, PlanError> {
        use ElementType::{F16, F32, I8, I32, U8};
        let elements = |shape: &[usize]| shape.iter().map(|&size| size as u64).product::<u64>();
        let written = elements(&self.output.shape);
        if let Operation::Concat { axis } = self.step.operation {
            self.concat(axis)?;
            return Ok(written);
        }
        let inputs = match self.step.operation {
            Operation::MatMul | Operation::Binary { .. } | Operation::DynamicQuantize => 2,
            Operation::Select => 3,
            Operation::QuantizedConv2d { finish, .. }
            | Operation::QuantizedFullyConnected { finish, .. } => integer::inputs(&finish),
            _ => 1,
        };
        if self.step.inputs.len() != inputs {
            return Err(PlanError::InputCount {
                step: self.step.name.clone(),
                expected: inputs,
                found: self.step.inputs.len(),
            });
        }
        let (input, input_type) = self.plan.spec(self.step.inputs[0]);
        let output = self.output.shape.as_slice();
        let read = elements(input);
        match &self.step.operation {
            Operation::Concat { .. } => Ok(written),
            Operation::Conv2d {
                weights,
                bias,
                window,
                groups,
                activation,
            } => {
                self.all_f32()?;
                self.activation(*activation)?;
                let inner = self.grouped_window(input, *window, *groups)?;
                let output_channels = output[3];
                let [height, width] = window.kernel;
                self.constant(
                    *weights,
                    "weights",
                    &[F32, F16],
                    &[output_channels, height, width, inner],
                )?;
                if let Some(bias) = bias {
                    self.constant(*bias, "bias", &[F32], &[output_channels])?;
                }
                Ok(written.saturating_mul((height * width) as u64 * inner as u64))
            }
            Operation::FullyConnected {
                weights,
                bias,
                activation,
            } => {
                self.all_f32()?;
                self.activation(*activation)?;
                let (units, depth) = self.rows(input)?;
                self.constant(*weights, "weights", &[F32, F16], &[units, depth])?;
                if let Some(bias) = bias {
                    self.constant(*bias, "bias", &[F32], &[units])?;
                }
                Ok(written.saturating_mul(depth as u64))
            }
            Operation::MatMul => {
                self.all_f32()?;
                let (other, _) = self.plan.spec(self.step.inputs[1]);
                let ([lead @ .., rows, depth], [other_lead @ .., other_depth, columns]) =
                    (input, other)
                else {
                    return self.shape("second input", other);
                };
                let mut expected = broadcast(lead, other_lead);
                if let Some(shape) = &mut expected {
                    shape.extend([*rows, *columns]);
                }
                if depth != other_depth || expected.as_deref() != Some(output) {
                    return self.shape("output", output);
                }
                Ok(written.saturating_mul(*depth as u64))
            }
            Operation::Unary { activation } => {
                self.all_f32()?;
                self.activation(*activation)?;
                self.same_shape(input)?;
                Ok(written)
            }
            Operation::Binary { activation, .. } => {
                self.all_f32()?;
                self.activation(*activation)?;
                let (other, _) = self.plan.spec(self.step.inputs[1]);
                if broadcast(input, other).as_deref() != Some(output) {
                    return self.shape("output", output);
                }
                Ok(written)
            }
            Operation::Affine {
                scale,
                shift,
                activation,
            } => {
                self.all_f32()?;
                self.activation(*activation)?;
                self.same_shape(input)?;
                let Some(&last) = input.last() else {
                    return self.shape("input", input);
                };
                self.constant(*scale, "scale", &[F32], &[last])?;
                self.constant(*shift, "shift", &[F32], &[last])?;
                Ok(written)
            }
            Operation::Pool2d { kind, window } => {
                match (kind, input_type) {
                    (PoolKind::Max, I8) => self.same_type(I8)?,
                    _ => self.all_f32()?,
                }
                self.window(input, *window)?;
                if let PoolKind::AverageWithPads { bottom, right } = *kind {
                    self.number(
                        bottom <= MAX_EXTENT && right <= MAX_EXTENT,
                        "pads",
                        "at most 1048576",
                    )?;
                }
                if input[3] != output[3] {
                    return self.shape("output", output);
                }
                let [height, width] = window.kernel;
                Ok(written.saturating_mul(height as u64 * width as u64))
            }
            Operation::ReduceMean { axes } | Operation::Reduce { axes, .. } => {
                self.all_f32()?;
                self.reduction(input, axes)?;
                Ok(read.saturating_add(written))
            }
            Operation::Select => {
                self.select(input)?;
                Ok(written)
            }
            Operation::Gather { axis, indices } => {
                self.same_type(input_type)?;
                self.gather(input, *axis, *indices)?;
                Ok(written)
            }
            Operation::Softmax { axis, end_axis } => {
                self.all_f32()?;
                self.same_shape(input)?;
                self.number(
                    axis < end_axis && *end_axis <= input.len(),
                    "axis",
                    "axis < end_axis, both within the input's axes",
                )?;
                Ok(written.saturating_mul(4))
            }
            Operation::Slice { axes } => {
                self.same_type(input_type)?;
                if axes.len() != input.len() || output.len() != input.len() {
                    return self.shape("output", output);
                }
                for ((&SliceStep { start, step }, &size), &length) in
                    axes.iter().zip(input).zip(output)
                {
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
                Ok(written)
            }
            Operation::Pad { before, fill } => {
                self.same_type(input_type)?;
                if before.len() != input.len() || output.len() != input.len() {
                    return self.shape("output", output);
                }
                self.number(
                    before
                        .iter()
                        .all(|before| before.unsigned_abs() <= MAX_BYTES),
                    "before",
                    "no more than a tensor can hold",
                )?;
                if matches!(fill, Fill::Constant(value) if !value.is_finite()) {
                    self.number(false, "fill", "a finite number")?;
                }
                if !matches!(fill, Fill::Constant(_)) && read == 0 && written != 0 {
                    return self.shape("input", input);
                }
                Ok(written)
            }
            Operation::Transpose { perm } => {
                self.same_type(input_type)?;
                let mut sorted = perm.clone();
                sorted.sort_unstable();
                self.number(
                    sorted.iter().copied().eq(0..input.len()),
                    "perm",
                    "every axis of the input once",
                )?;
                if !perm
                    .iter()
                    .map(|&axis| input[axis])
                    .eq(output.iter().copied())
                {
                    return self.shape("output", output);
                }
                Ok(written)
            }
            Operation::Reshape => {
                self.same_type(input_type)?;
                if read != written {
                    return self.shape("output", output);
                }
                Ok(written)
            }
            Operation::Cast => {
                self.same_shape(input)?;
                Ok(written)
            }
            Operation::Quantize {
                scale,
                zero_point,
                axis,
            } => {
                self.types("input", input_type, &[F32])?;
                self.types("output", self.output.element_type, &[U8, I8])?;
                self.same_shape(input)?;
                self.scales(input, *axis, *scale, *zero_point, self.output.element_type)?;
                Ok(written)
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
                Ok(written)
            }
            Operation::QuantizedConv2d { .. }
            | Operation::QuantizedFullyConnected { .. }
            | Operation::Lookup { .. }
            | Operation::DynamicScale
            | Operation::DynamicQuantize => self.integer(input, input_type),
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

    fn concat(&self, axis: usize) -> Result<(), PlanError> {
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

    fn window(&self, input: &[usize], window: Window) -> Result<(), PlanError> {
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

    fn scales(
        &self,
        input: &[usize],
        axis: usize,
        scale: ConstantId,
        zero_point: Option<ConstantId>,
        quantized: ElementType,
    ) -> Result<(), PlanError> {
        let Constant { shape, data } = self.find(scale, "scale")?;
        self.types("scale", data.element_type(), &[ElementType::F32])?;
        let fits = data.len() == 1 || input.get(axis) == Some(&data.len());
        if !fits {
            return self.shape("scale", shape);
        }
        if let ConstantData::F32(scales) = data {
            self.number(
                scales.iter().all(|&scale| scale > 0.0 && scale.is_finite()),
                "scale",
                "positive and finite",
            )?;
        }
        if let Some(zero_point) = zero_point {
            let Constant {
                shape,
                data: zero_points,
            } = self.find(zero_point, "zero point")?;
            self.types("zero point", zero_points.element_type(), &[quantized])?;
            if zero_points.len() != data.len() {
                return self.shape("zero point", shape);
            }
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

    fn all_f32(&self) -> Result<(), PlanError> {
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
