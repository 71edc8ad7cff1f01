//! Whether a plan may be packed and run.
//!
//! A plan may come from a file, so nothing in it is trusted. Kernels read and
//! write through the bounds proven here.

use super::{
    Activation, Constant, ConstantData, ConstantId, Fill, Operand, Operation, Plan, PoolKind,
    SliceStep, Step, TensorId, TensorSpec, Window,
};
use crate::ElementType;

/// Most axes a tensor may have.
pub const MAX_RANK: usize = 8;
/// Most tensors, constants, steps or ports.
pub const MAX_ITEMS: usize = 16_384;
/// Most bytes of all constants, and of all tensors made at run time.
pub const MAX_BYTES: usize = 1 << 30;
/// Most multiply-adds (or element visits) of one inference.
pub const MAX_WORK: u64 = 1 << 37;
/// Most of any stride, pad, dilation or kernel size.
const MAX_EXTENT: usize = 1 << 20;

/// Why a plan cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More items than any driving network needs.
    #[error("the plan has {found} {what}, more than the {limit} allowed")]
    TooMany {
        /// Tensors, constants, steps or ports.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// More axes than supported.
    #[error("{what} has {rank} axes, more than the {MAX_RANK} supported")]
    Rank {
        /// Which tensor or constant.
        what: String,
        /// Its number of axes.
        rank: usize,
    },
    /// More memory than allowed.
    #[error("{what} needs more than the {MAX_BYTES} bytes allowed; use a smaller network")]
    TooLarge {
        /// Which tensor or constant, or all of them together.
        what: String,
    },
    /// More arithmetic than allowed.
    #[error(
        "step `{step}` takes the plan past {MAX_WORK} operations for one inference; use a smaller network"
    )]
    TooMuchWork {
        /// The step at which the limit is passed.
        step: String,
    },
    /// An identifier points at nothing.
    #[error("{place} names {kind} {id}, which the plan does not have")]
    Unknown {
        /// Where it is used.
        place: String,
        /// Tensor or constant.
        kind: &'static str,
        /// The identifier.
        id: usize,
    },
    /// A constant's data does not fill its shape.
    #[error("constant {id} has {found} elements, but its shape has {expected}")]
    ConstantLength {
        /// The constant.
        id: usize,
        /// Elements of its shape.
        expected: usize,
        /// Elements stored.
        found: usize,
    },
    /// Two steps, or an input and a step, make the same tensor.
    #[error("{place} makes tensor {id}, which is made already")]
    MadeTwice {
        /// The second maker.
        place: String,
        /// The tensor.
        id: usize,
    },
    /// A tensor is read before anything made it.
    #[error("{place} reads tensor {id} before it is made; put its maker first")]
    NotMade {
        /// The reader.
        place: String,
        /// The tensor.
        id: usize,
    },
    /// An input of the plan is a constant.
    #[error("input `{name}` is a constant; an input has to be a tensor")]
    ConstantInput {
        /// The port's name.
        name: String,
    },
    /// A step has too few or too many inputs.
    #[error("step `{step}` has {found} inputs where it takes {expected}")]
    InputCount {
        /// The step.
        step: String,
        /// How many it takes.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A tensor or constant of a step has the wrong element type.
    #[error("step `{step}`: its {what} cannot be {found:?}")]
    WrongType {
        /// The step.
        step: String,
        /// Which of its tensors or constants.
        what: &'static str,
        /// The type it has.
        found: ElementType,
    },
    /// A tensor or constant of a step has a shape that does not fit.
    #[error("step `{step}`: its {what} has shape {found:?}, which does not fit the rest of it")]
    WrongShape {
        /// The step.
        step: String,
        /// Which of its tensors or constants.
        what: &'static str,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A number of a step is out of its range.
    #[error("step `{step}`: {parameter} is out of range: {rule}")]
    OutOfRange {
        /// The step.
        step: String,
        /// Which number.
        parameter: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
}

impl ElementType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
            Self::U8 | Self::I8 | Self::Bool => 1,
        }
    }
}

impl ConstantData {
    /// Number of elements stored.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I64(data) => data.len(),
            Self::I32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I8(data) => data.len(),
        }
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
        }
    }
}

impl Plan {
    /// Checks all that running the plan relies on: identifiers, order, shapes,
    /// types, windows, and limits on memory and work.
    ///
    /// # Errors
    /// Says which step or tensor is wrong and how.
    pub fn validate(&self) -> Result<(), PlanError> {
        for (what, found) in [
            ("tensors", self.tensors.len()),
            ("constants", self.constants.len()),
            ("inputs", self.inputs.len()),
            ("outputs", self.outputs.len()),
            ("steps", self.steps.len()),
            (
                "step inputs",
                self.steps.iter().map(|step| step.inputs.len()).sum(),
            ),
        ] {
            if found > MAX_ITEMS {
                return Err(PlanError::TooMany {
                    what,
                    found,
                    limit: MAX_ITEMS,
                });
            }
        }
        self.check_sizes()?;
        let mut made = vec![false; self.tensors.len()];
        for port in &self.inputs {
            let place = || format!("input `{}`", port.name);
            let Operand::Tensor(id) = port.operand else {
                return Err(PlanError::ConstantInput {
                    name: port.name.clone(),
                });
            };
            make(&mut made, id, place)?;
        }
        let mut work = 0_u64;
        for step in &self.steps {
            let place = || format!("step `{}`", step.name);
            for &operand in &step.inputs {
                self.check_readable(&made, operand, place)?;
            }
            make(&mut made, step.output, place)?;
            let check = Check::new(self, step);
            work = work.saturating_add(check.operation()?);
            if work > MAX_WORK {
                return Err(PlanError::TooMuchWork {
                    step: step.name.clone(),
                });
            }
        }
        for port in &self.outputs {
            self.check_readable(&made, port.operand, || format!("output `{}`", port.name))?;
        }
        Ok(())
    }

    /// Shape and element type of an operand that exists.
    pub(crate) fn spec(&self, operand: Operand) -> (&[usize], ElementType) {
        match operand {
            Operand::Tensor(TensorId(id)) => {
                (&self.tensors[id].shape, self.tensors[id].element_type)
            }
            Operand::Constant(ConstantId(id)) => (
                &self.constants[id].shape,
                self.constants[id].data.element_type(),
            ),
        }
    }

    fn check_sizes(&self) -> Result<(), PlanError> {
        let mut total = 0_usize;
        for (
            id,
            TensorSpec {
                shape,
                element_type,
            },
        ) in self.tensors.iter().enumerate()
        {
            let bytes = bytes(shape, *element_type, || format!("tensor {id}"))?;
            total = total.saturating_add(bytes);
        }
        if total > MAX_BYTES {
            return Err(PlanError::TooLarge {
                what: "all tensors together".into(),
            });
        }
        let mut total = 0_usize;
        for (id, Constant { shape, data }) in self.constants.iter().enumerate() {
            let bytes = bytes(shape, data.element_type(), || format!("constant {id}"))?;
            let expected = bytes / data.element_type().size();
            if expected != data.len() {
                return Err(PlanError::ConstantLength {
                    id,
                    expected,
                    found: data.len(),
                });
            }
            total = total.saturating_add(bytes);
        }
        if total > MAX_BYTES {
            return Err(PlanError::TooLarge {
                what: "all constants together".into(),
            });
        }
        Ok(())
    }

    fn check_readable(
        &self,
        made: &[bool],
        operand: Operand,
        place: impl Fn() -> String,
    ) -> Result<(), PlanError> {
        let (kind, id, known) = match operand {
            Operand::Tensor(TensorId(id)) => ("tensor", id, id < self.tensors.len()),
            Operand::Constant(ConstantId(id)) => ("constant", id, id < self.constants.len()),
        };
        if !known {
            return Err(PlanError::Unknown {
                place: place(),
                kind,
                id,
            });
        }
        if matches!(operand, Operand::Tensor(_)) && !made[id] {
            return Err(PlanError::NotMade { place: place(), id });
        }
        Ok(())
    }
}

fn make(
    made: &mut [bool],
    TensorId(id): TensorId,
    place: impl Fn() -> String,
) -> Result<(), PlanError> {
    match made.get_mut(id) {
        None => Err(PlanError::Unknown {
            place: place(),
            kind: "tensor",
            id,
        }),
        Some(true) => Err(PlanError::MadeTwice { place: place(), id }),
        Some(slot) => {
            *slot = true;
            Ok(())
        }
    }
}

/// Bytes of a tensor; also checks that the product of any of its axes fits.
fn bytes(
    shape: &[usize],
    element_type: ElementType,
    what: impl Fn() -> String,
) -> Result<usize, PlanError> {
    if shape.len() > MAX_RANK {
        return Err(PlanError::Rank {
            what: what(),
            rank: shape.len(),
        });
    }
    // Zero-sized axes are left out of the product, so that strides cannot overflow either.
    let mut bytes = element_type.size();
    for &size in shape.iter().filter(|&&size| size != 0) {
        bytes = bytes
            .checked_mul(size)
            .filter(|&bytes| bytes <= MAX_BYTES)
            .ok_or_else(|| PlanError::TooLarge { what: what() })?;
    }
    Ok(if shape.contains(&0) { 0 } else { bytes })
}

/// Leading axes of `a` and `b`, broadcast as numpy does.
fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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

/// One step being checked; its operands and its output exist.
struct Check<'a> {
    plan: &'a Plan,
    step: &'a Step,
    output: &'a TensorSpec,
}

impl<'a> Check<'a> {
    fn new(plan: &'a Plan, step: &'a Step) -> Self {
        Self {
            plan,
            step,
            output: &plan.tensors[step.output.0],
        }
    }

    /// Checks the operation and returns how much work it is.
    fn operation(&self) -> Result<u64, PlanError> {
        use ElementType::{F32, I8, I32, U8};
        let elements = |shape: &[usize]| shape.iter().map(|&size| size as u64).product::<u64>();
        let made = elements(&self.output.shape);
        if let Operation::Concat { axis } = self.step.operation {
            self.concat(axis)?;
            return Ok(made);
        }
        let inputs = match self.step.operation {
            Operation::MatMul | Operation::Binary { .. } => 2,
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
            Operation::Concat { .. } => Ok(made),
            Operation::Conv2d {
                weights,
                bias,
                window,
                groups,
                activation,
            } => {
                self.all_f32()?;
                self.activation(*activation)?;
                self.window(input, *window)?;
                let (channels, made_channels) = (input[3], output[3]);
                self.number(
                    *groups > 0 && channels % groups == 0 && made_channels % groups == 0,
                    "groups",
                    "it divides the channels of input and output",
                )?;
                let [height, width] = window.kernel;
                let inner = channels / groups;
                self.constant(
                    *weights,
                    "weights",
                    &[F32],
                    &[made_channels, height, width, inner],
                )?;
                if let Some(bias) = bias {
                    self.constant(*bias, "bias", &[F32], &[made_channels])?;
                }
                Ok(made.saturating_mul((height * width) as u64 * inner as u64))
            }
            Operation::FullyConnected {
                weights,
                bias,
                activation,
            } => {
                self.all_f32()?;
                self.activation(*activation)?;
                let (Some((&depth, rows)), Some((&units, made_rows))) =
                    (input.split_last(), output.split_last())
                else {
                    return self.shape("output", output);
                };
                if rows != made_rows {
                    return self.shape("output", output);
                }
                self.constant(*weights, "weights", &[F32], &[units, depth])?;
                if let Some(bias) = bias {
                    self.constant(*bias, "bias", &[F32], &[units])?;
                }
                Ok(made.saturating_mul(depth as u64))
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
                Ok(made.saturating_mul(*depth as u64))
            }
            Operation::Unary { activation } => {
                self.all_f32()?;
                self.activation(*activation)?;
                self.same_shape(input)?;
                Ok(made)
            }
            Operation::Binary { activation, .. } => {
                self.all_f32()?;
                self.activation(*activation)?;
                let (other, _) = self.plan.spec(self.step.inputs[1]);
                if broadcast(input, other).as_deref() != Some(output) {
                    return self.shape("output", output);
                }
                Ok(made)
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
                Ok(made)
            }
            Operation::Pool2d { kind, window } => {
                self.all_f32()?;
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
                Ok(made.saturating_mul(height as u64 * width as u64))
            }
            Operation::ReduceMean { axes } => {
                self.all_f32()?;
                self.number(
                    axes.windows(2).all(|pair| pair[0] < pair[1])
                        && axes.last().is_none_or(|&axis| axis < input.len()),
                    "axes",
                    "sorted axes of the input, each once",
                )?;
                let reduced = |axis: &usize| axes.binary_search(axis).is_ok();
                let kept =
                    (0..input.len()).map(|axis| if reduced(&axis) { 1 } else { input[axis] });
                let left = (0..input.len()).filter(|axis| !reduced(axis));
                if !kept.eq(output.iter().copied())
                    && !left.map(|axis| input[axis]).eq(output.iter().copied())
                {
                    return self.shape("output", output);
                }
                Ok(read.saturating_add(made))
            }
            Operation::Softmax { axis, end_axis } => {
                self.all_f32()?;
                self.same_shape(input)?;
                self.number(
                    axis < end_axis && *end_axis <= input.len(),
                    "axis",
                    "axis < end_axis, both within the input's axes",
                )?;
                Ok(made.saturating_mul(4))
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
                Ok(made)
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
                if !matches!(fill, Fill::Constant(_)) && read == 0 && made != 0 {
                    return self.shape("input", input);
                }
                Ok(made)
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
                Ok(made)
            }
            Operation::Reshape => {
                self.same_type(input_type)?;
                if read != made {
                    return self.shape("output", output);
                }
                Ok(made)
            }
            Operation::Cast => {
                self.same_shape(input)?;
                Ok(made)
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
                Ok(made)
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
                Ok(made)
            }
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

    fn find(&self, ConstantId(id): ConstantId, what: &str) -> Result<&'a Constant, PlanError> {
        self.plan
            .constants
            .get(id)
            .ok_or_else(|| PlanError::Unknown {
                place: format!("the {what} of step `{}`", self.step.name),
                kind: "constant",
                id,
            })
    }

    fn constant(
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

    fn activation(&self, activation: Activation) -> Result<(), PlanError> {
        let finite = match activation {
            Activation::None | Activation::Relu | Activation::Sigmoid | Activation::Tanh => true,
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

    fn same_type(&self, element_type: ElementType) -> Result<(), PlanError> {
        self.types("input", element_type, &[self.output.element_type])
    }

    fn same_shape(&self, input: &[usize]) -> Result<(), PlanError> {
        if input != self.output.shape {
            return self.shape("output", &self.output.shape);
        }
        Ok(())
    }

    fn types(
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

    fn shape<T>(&self, what: &'static str, found: &[usize]) -> Result<T, PlanError> {
        Err(PlanError::WrongShape {
            step: self.step.name.clone(),
            what,
            found: found.to_vec(),
        })
    }

    fn number(
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
