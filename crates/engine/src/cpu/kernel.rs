//! One step of a plan, made ready for this machine.
#![allow(unsafe_code)]

use std::borrow::Cow;

use super::InstructionSet;
use super::memory::{MemoryMap, Slot, Views};
use super::workers::Workers;
use crate::ElementType;
use crate::kernels::activation;
use crate::kernels::binary::{Broadcast, affine};
use crate::kernels::convert::{self, Scales};
use crate::kernels::convolution::{ConvolutionShape, ScalarConvolution, WindowAxis};
use crate::kernels::depthwise::Depthwise;
use crate::kernels::int8::{self, Target, TiledLayer};
use crate::kernels::matmul::MatMul;
use crate::kernels::movement::{Pad, StridedCopy, concat_part};
use crate::kernels::pool::Pool;
use crate::kernels::quantized::{self, Ending, QuantizedConvolution};
use crate::kernels::reduce::{ReduceMean, Softmax};
use crate::kernels::tile::Arithmetic;
use crate::kernels::tiled::{Output, TiledConvolution};
use crate::plan::{
    Activation, BinaryOperator, ConstantData, ConstantId, Finish, Operand, Operation, Plan, Step,
    Window,
};

/// Bytes of memory that a step of a validated plan wants for itself while it runs.
pub(crate) fn scratch(plan: &Plan, step: &Step, instruction_set: InstructionSet) -> usize {
    let output = plan.tensors[step.output.0].shape.as_slice();
    let shape = match &step.operation {
        Operation::QuantizedConv2d { window, groups, .. } => {
            windows(plan.spec(step.inputs[0]).0, output, *window, *groups)
        }
        Operation::QuantizedFullyConnected { weights, .. } => {
            fully_connected(plan, *weights, output)
        }
        _ => return 0,
    };
    int8::scratch(&shape, instruction_set)
}

/// What a step does, with everything it needs but its tensors.
enum Kernel {
    Scalar(ScalarConvolution),
    Tiled(TiledConvolution),
    Depthwise(Depthwise),
    MatMul(MatMul),
    Unary(Activation),
    Binary(BinaryOperator, Activation, Broadcast),
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
        curve: Activation,
    },
    Pool(Pool),
    ReduceMean(ReduceMean),
    Softmax(Softmax),
    Concat {
        rows: usize,
    },
    Copy(StridedCopy),
    Pad(Pad),
    /// The output shares its input's memory.
    Shared,
    Cast,
    Quantize(Scales),
    Dequantize(Scales),
    Quantized(QuantizedConvolution),
    TiledInt8(Box<TiledLayer>),
    Lookup(Vec<i8>),
    DynamicScale,
    DynamicQuantize,
}

/// Multiply-adds below which waking another thread costs more than it saves:
/// some microseconds of work.
const WORTH_SHARING: u64 = 100_000;

/// A step ready to run.
pub(crate) struct PreparedStep {
    pub(crate) name: String,
    pub(crate) multiply_adds: u64,
    kernel: Kernel,
    inputs: Vec<Slot>,
    output: Slot,
    scratch: Slot,
    /// Whether plain loops may use AVX2.
    wide: bool,
}

/// Binds `$T` to a type of the slot's size and runs `$body`.
macro_rules! by_size {
    ($slot:expr, $T:ident => $body:expr) => {
        match $slot.element_type.size() {
            8 => {
                type $T = u64;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u8;
                $body
            }
        }
    };
}

/// Binds `$T` to the slot's own type and runs `$body`.
macro_rules! by_type {
    ($slot:expr, $T:ident => $body:expr) => {
        match $slot.element_type {
            ElementType::F32 => {
                type $T = f32;
                $body
            }
            ElementType::I64 => {
                type $T = i64;
                $body
            }
            // No tensor is F16: a valid plan has it in weights only.
            ElementType::F16 | ElementType::I32 => {
                type $T = i32;
                $body
            }
            ElementType::U8 | ElementType::Bool => {
                type $T = u8;
                $body
            }
            ElementType::I8 => {
                type $T = i8;
                $body
            }
        }
    };
}

impl PreparedStep {
    /// Packs a step of a validated plan.
    pub(crate) fn new(
        plan: &Plan,
        step: &Step,
        (map, scratch): (&MemoryMap, Slot),
        arithmetic: Arithmetic,
    ) -> Self {
        let instruction_set = arithmetic.instruction_set;
        let output = plan.tensors[step.output.0].shape.as_slice();
        let shape = |index: usize| plan.spec(step.inputs[index]).0;
        let mut multiply_adds = 0;
        let mut convolution = |shape: ConvolutionShape,
                               weights: ConstantId,
                               bias: Option<ConstantId>,
                               curve: Activation| {
            multiply_adds = shape.multiply_adds();
            let weights = &*widened(plan, weights);
            let bias = bias.map(|bias| floats(plan, bias));
            if shape.depth == 1 && shape.units == 1 && instruction_set != InstructionSet::Scalar {
                return Kernel::Depthwise(Depthwise::new(shape, weights, bias, curve));
            }
            match TiledConvolution::new(shape, weights, bias, curve, arithmetic) {
                Some(kernel) => Kernel::Tiled(kernel),
                None => Kernel::Scalar(ScalarConvolution::new(shape, weights, bias, curve)),
            }
        };
        let kernel = match &step.operation {
            Operation::Conv2d {
                weights,
                bias,
                window,
                groups,
                activation,
            } => {
                let shape = windows(shape(0), output, *window, *groups);
                convolution(shape, *weights, *bias, *activation)
            }
            Operation::FullyConnected {
                weights,
                bias,
                activation,
            } => {
                let shape = fully_connected(plan, *weights, output);
                convolution(shape, *weights, *bias, *activation)
            }
            Operation::MatMul => {
                let kernel = MatMul::new(shape(0), shape(1), output);
                multiply_adds = output.iter().product::<usize>() as u64
                    * shape(0).last().map_or(0, |&depth| depth as u64);
                Kernel::MatMul(kernel)
            }
            Operation::Unary { activation } => Kernel::Unary(*activation),
            Operation::Binary {
                operator,
                activation,
            } => Kernel::Binary(
                *operator,
                *activation,
                Broadcast::new(shape(0), shape(1), output),
            ),
            Operation::Affine {
                scale,
                shift,
                activation,
            } => Kernel::Affine {
                scale: floats(plan, *scale).to_vec(),
                shift: floats(plan, *shift).to_vec(),
                curve: *activation,
            },
            Operation::Pool2d { kind, window } => {
                Kernel::Pool(Pool::new(*kind, *window, shape(0), output))
            }
            Operation::ReduceMean { axes } => Kernel::ReduceMean(ReduceMean::new(shape(0), axes)),
            Operation::Softmax { axis, end_axis } => {
                Kernel::Softmax(Softmax::new(output, *axis, *end_axis))
            }
            Operation::Concat { axis } => Kernel::Concat {
                rows: output[..*axis].iter().product(),
            },
            Operation::Slice { axes } => Kernel::Copy(StridedCopy::slice(shape(0), axes, output)),
            Operation::Pad { before, fill } => {
                Kernel::Pad(Pad::new(shape(0), before, *fill, output))
            }
            Operation::Transpose { perm } => Kernel::Copy(StridedCopy::transpose(shape(0), perm)),
            Operation::Reshape => Kernel::Shared,
            Operation::Cast => Kernel::Cast,
            Operation::Quantize {
                scale,
                zero_point,
                axis,
            } => Kernel::Quantize(scales(plan, output, *axis, *scale, *zero_point)),
            Operation::Dequantize {
                scale,
                zero_point,
                axis,
            } => Kernel::Dequantize(scales(plan, output, *axis, *scale, *zero_point)),
            Operation::QuantizedConv2d {
                weights,
                bias,
                multiplier,
                window,
                groups,
                finish,
            } => {
                let shape = windows(shape(0), output, *window, *groups);
                multiply_adds = shape.multiply_adds();
                quantized_layer(
                    plan,
                    shape,
                    (*weights, *bias, *multiplier),
                    finish,
                    instruction_set,
                )
            }
            Operation::QuantizedFullyConnected {
                weights,
                bias,
                multiplier,
                finish,
            } => {
                let shape = fully_connected(plan, *weights, output);
                multiply_adds = shape.multiply_adds();
                quantized_layer(
                    plan,
                    shape,
                    (*weights, *bias, *multiplier),
                    finish,
                    instruction_set,
                )
            }
            Operation::Lookup { table } => Kernel::Lookup(integers(plan, *table).to_vec()),
            Operation::DynamicScale => Kernel::DynamicScale,
            Operation::DynamicQuantize => Kernel::DynamicQuantize,
        };
        Self {
            name: step.name.clone(),
            multiply_adds,
            kernel,
            inputs: step.inputs.iter().map(|&input| map.slot(input)).collect(),
            output: map.slot(Operand::Tensor(step.output)),
            scratch,
            wide: cfg!(target_arch = "x86_64") && instruction_set != InstructionSet::Scalar,
        }
    }

    /// Whether threads share it, where there are several.
    pub(crate) fn shared(&self) -> bool {
        let divisible = matches!(self.kernel, Kernel::Tiled(_) | Kernel::TiledInt8(_));
        divisible && self.multiply_adds >= WORTH_SHARING
    }

    /// Runs the step.
    ///
    /// # Safety
    /// `views` are of the memory that the map given to [`new`](Self::new) was
    /// made for, the inputs lent match their ports, and no other slice of that
    /// memory is alive.
    pub(crate) unsafe fn run(&self, views: Views<'_>, workers: Option<&mut Workers>) {
        // The map keeps a step's output apart from all tensors alive at the step, its
        // inputs among them, and `by_type` and `by_size` choose types of the slot's size.
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: see above; the caller vouches for the memory.
                unsafe { views.read(self.inputs[$index]) }
            };
        }
        macro_rules! write {
            () => {
                // SAFETY: as above.
                unsafe { views.write(self.output) }
            };
        }
        match &self.kernel {
            Kernel::Scalar(kernel) => kernel.run(read!(0), write!()),
            Kernel::Tiled(kernel) => {
                let (input, output) = (read!(0), Output::new(write!()));
                // SAFETY: the engine checked that the machine has the instruction set;
                // the plan is valid, so that the slots have the sizes of the shape; the
                // workers run disjoint units and are done when they return.
                let run = |units| unsafe { kernel.run(input, output, units) };
                match workers {
                    Some(workers) if self.shared() => {
                        workers.run(kernel.units(), &run);
                    }
                    _ => run(0..kernel.units()),
                }
            }
            Kernel::TiledInt8(kernel) => {
                // SAFETY: the map keeps the scratch apart from all tensors alive at the step.
                let staged: &mut [u8] = unsafe { views.write(self.scratch) };
                let input = read!(0);
                // SAFETY: the engine checked that the machine has the instruction set.
                unsafe { kernel.stage(input, staged) };
                let (staged, mut scale) = (&*staged, 1.0);
                let output = match kernel.ending() {
                    Ending::Int8 { .. } => Target::new::<i8>(write!()),
                    Ending::Float { .. } => Target::new::<f32>(write!()),
                    Ending::Dynamic { .. } => {
                        let read: &[f32] = read!(1);
                        scale = read[0];
                        Target::new::<f32>(write!())
                    }
                };
                // SAFETY: as for float tiles.
                let run = |units| unsafe { kernel.run(staged, output, scale, units) };
                match workers {
                    Some(workers) if self.shared() => {
                        workers.run(kernel.units(), &run);
                    }
                    _ => run(0..kernel.units()),
                }
            }
            _ if self.wide => {
                // SAFETY: the engine checked that the machine has AVX2; the memory is as above.
                #[cfg(target_arch = "x86_64")]
                unsafe {
                    self.loops_avx2(views);
                }
            }
            // SAFETY: the memory is as above.
            _ => unsafe { self.loops(views) },
        }
    }

    /// [`loops`](Self::loops) with wider vectors; the same answers to the last bit.
    ///
    /// # Safety
    /// As for [`run`](Self::run), and the machine has AVX2.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn loops_avx2(&self, views: Views<'_>) {
        // SAFETY: the caller's word.
        unsafe { self.loops(views) }
    }

    /// The operations that are plain loops, which the compiler vectorises for
    /// whichever instructions the caller has.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn loops(&self, views: Views<'_>) {
        macro_rules! read {
            ($index:expr) => {
                // SAFETY: as in `run`.
                unsafe { views.read(self.inputs[$index]) }
            };
        }
        macro_rules! write {
            () => {
                // SAFETY: as in `run`.
                unsafe { views.write(self.output) }
            };
        }
        match &self.kernel {
            Kernel::Scalar(_) | Kernel::Tiled(_) | Kernel::TiledInt8(_) | Kernel::Shared => {}
            Kernel::Depthwise(kernel) => kernel.run(read!(0), write!()),
            Kernel::MatMul(kernel) => kernel.run(read!(0), read!(1), write!()),
            Kernel::Unary(curve) => {
                let output: &mut [f32] = write!();
                output.copy_from_slice(read!(0));
                activation::apply(*curve, output);
            }
            Kernel::Binary(operator, curve, kernel) => {
                kernel.run(*operator, *curve, read!(0), read!(1), write!());
            }
            Kernel::Affine {
                scale,
                shift,
                curve,
            } => affine(scale, shift, *curve, read!(0), write!()),
            Kernel::Pool(kernel) => match self.output.element_type {
                ElementType::I8 => kernel.run_i8(read!(0), write!()),
                _ => kernel.run(read!(0), write!()),
            },
            Kernel::ReduceMean(kernel) => kernel.run(read!(0), write!()),
            Kernel::Softmax(kernel) => kernel.run(read!(0), write!()),
            Kernel::Concat { rows } => {
                let mut offset = 0;
                for index in 0..self.inputs.len() {
                    by_size!(self.output, T => {
                        concat_part::<T>(read!(index), write!(), *rows, offset);
                    });
                    offset += self.inputs[index].len.checked_div(*rows).unwrap_or(0);
                }
            }
            Kernel::Copy(kernel) => {
                by_size!(self.output, T => kernel.run::<T>(read!(0), write!()));
            }
            Kernel::Pad(kernel) => by_type!(self.output, T => {
                kernel.run::<T>(convert::Number::from_f32(kernel.value()), read!(0), write!());
            }),
            Kernel::Cast => self.cast(views),
            Kernel::Quantize(scales) => match self.output.element_type {
                ElementType::I8 => scales.quantize::<i8>(-128, 127, read!(0), write!()),
                _ => scales.quantize::<u8>(0, 255, read!(0), write!()),
            },
            Kernel::Dequantize(scales) => by_type!(self.inputs[0], T => {
                scales.dequantize::<T>(read!(0), write!());
            }),
            Kernel::Quantized(kernel) => match kernel.ending() {
                Ending::Int8 { low, high } => kernel.run_to_i8(*low, *high, read!(0), write!()),
                Ending::Float { curve } => kernel.run_to_f32(*curve, read!(0), write!()),
                Ending::Dynamic { bias, curve } => {
                    let scale: &[f32] = read!(1);
                    kernel.run_dynamic((bias, *curve), scale[0], read!(0), write!());
                }
            },
            Kernel::Lookup(table) => quantized::look_up(table, read!(0), write!()),
            Kernel::DynamicScale => {
                let output: &mut [f32] = write!();
                output[0] = quantized::dynamic_scale(read!(0));
            }
            Kernel::DynamicQuantize => {
                let scale: &[f32] = read!(1);
                let output: &mut [i8] = write!();
                convert::quantize((scale[0], 0), -128, 127, read!(0), output);
            }
        }
    }

    fn cast(&self, views: Views<'_>) {
        let [input] = self.inputs[..] else { return };
        let from_float = input.element_type == ElementType::F32;
        by_type!(input, A => {
            // SAFETY: as in `run`, which is the only caller.
            let data = unsafe { views.read::<A>(input) };
            if self.output.element_type == ElementType::Bool {
                // SAFETY: as above.
                convert::cast_bool(data, unsafe { views.write::<u8>(self.output) });
            } else {
                by_type!(self.output, B => {
                    // SAFETY: as above.
                    convert::cast(from_float, data, unsafe { views.write::<B>(self.output) });
                });
            }
        });
    }
}

/// A constant of a validated plan that is f32.
fn floats(plan: &Plan, id: ConstantId) -> &[f32] {
    match &plan.constants[id.0].data {
        ConstantData::F32(data) => data,
        _ => &[],
    }
}

fn scales(
    plan: &Plan,
    shape: &[usize],
    axis: usize,
    scale: ConstantId,
    zero_point: Option<ConstantId>,
) -> Scales {
    let zero_point = zero_point.map(|id| match &plan.constants[id.0].data {
        ConstantData::U8(data) => data.iter().copied().map(i32::from).collect(),
        ConstantData::I8(data) => data.iter().copied().map(i32::from).collect(),
        ConstantData::I32(data) => data.clone(),
        ConstantData::F32(_) | ConstantData::F16(_) | ConstantData::I64(_) => Vec::new(),
    });
    Scales::new(shape, axis, floats(plan, scale), zero_point)
}

/// A constant of a validated plan that is i8.
fn integers(plan: &Plan, id: ConstantId) -> &[i8] {
    match &plan.constants[id.0].data {
        ConstantData::I8(data) => data,
        _ => &[],
    }
}

/// A constant of a validated plan that is f32 or f16.
fn widened(plan: &Plan, id: ConstantId) -> Cow<'_, [f32]> {
    match &plan.constants[id.0].data {
        ConstantData::F16(data) => data.iter().map(|x| x.to_f32()).collect(),
        _ => Cow::Borrowed(floats(plan, id)),
    }
}

/// The sizes of a convolution from `input` to `output`.
fn windows(input: &[usize], output: &[usize], window: Window, groups: usize) -> ConvolutionShape {
    ConvolutionShape {
        batch: input[0],
        axes: WindowAxis::both(window, input[1], input[2]),
        output: [output[1], output[2]],
        depth: input[3] / groups,
        units: output[3] / groups,
        groups,
    }
}

/// The sizes of a fully connected layer.
fn fully_connected(plan: &Plan, weights: ConstantId, output: &[usize]) -> ConvolutionShape {
    let sizes = &plan.constants[weights.0].shape;
    let rows = output[..output.len() - 1].iter().product();
    ConvolutionShape::fully_connected(rows, sizes[1], sizes[0])
}

/// A layer on integers, its constants in hand.
fn quantized_layer(
    plan: &Plan,
    shape: ConvolutionShape,
    (weights, bias, multiplier): (ConstantId, Option<ConstantId>, ConstantId),
    finish: &Finish,
    instruction_set: InstructionSet,
) -> Kernel {
    let bias = bias.map(|id| match &plan.constants[id.0].data {
        ConstantData::I32(data) => data.as_slice(),
        _ => &[],
    });
    let ending = match *finish {
        Finish::Int8 { low, high } => Ending::Int8 { low, high },
        Finish::Float { activation } => Ending::Float { curve: activation },
        Finish::Dynamic { bias, activation } => Ending::Dynamic {
            bias: match bias {
                Some(bias) => floats(plan, bias).to_vec(),
                None => vec![0.0; shape.units * shape.groups],
            },
            curve: activation,
        },
    };
    let (weights, multiplier) = (integers(plan, weights), floats(plan, multiplier));
    match TiledLayer::new(shape, weights, bias, multiplier, ending, instruction_set) {
        Ok(kernel) => Kernel::TiledInt8(Box::new(kernel)),
        Err(ending) => Kernel::Quantized(QuantizedConvolution::new(
            shape, weights, bias, multiplier, ending,
        )),
    }
}
