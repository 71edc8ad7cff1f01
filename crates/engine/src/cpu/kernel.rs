//! The kernels of a plan's steps, packed for the machine.

use std::borrow::Cow;

use crate::instruction_set::{Available, InstructionSet};
use crate::kernels::binary::{Broadcast, Select};
use crate::kernels::convert::{QuantizedAdd, Scales};
use crate::kernels::convolution::{ConvolutionShape, ScalarConvolution, WindowAxis};
use crate::kernels::depthwise::{Depthwise, VectorDepthwise};
use crate::kernels::int8::{DepthwiseLayer, Stored, TiledLayer, WeightStorage};
use crate::kernels::matmul::MatMul;
use crate::kernels::movement::{Gather, Pad, StridedCopy};
use crate::kernels::pool::Pool;
use crate::kernels::quantized::{EpilogueKernel, QuantizedConvolution};
use crate::kernels::reduce::{Reduce, Softmax};
use crate::kernels::tile::Arithmetic;
use crate::kernels::tiled::TiledConvolution;
use crate::plan::{
    Activation, BinaryOperator, ConstantData, ConstantId, Epilogue, Operation, Plan, Step, Window,
};

/// A step's computation with all its constants, but without its tensors.
pub(super) enum Kernel {
    Scalar(ScalarConvolution),
    Tiled(TiledConvolution),
    Depthwise(Depthwise),
    VectorDepthwise(VectorDepthwise),
    MatMul(MatMul),
    Unary(Activation),
    Binary(BinaryOperator, Activation, Broadcast),
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
        curve: Activation,
    },
    Pool(Pool),
    Reduce(Reduce),
    Select(Select),
    Gather(Gather),
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
    DepthwiseInt8(Box<DepthwiseLayer>),
    Lookup(Vec<i8>),
    DynamicScale,
    DynamicQuantize,
    QuantizedAdd(QuantizedAdd),
}

impl Kernel {
    /// Packs a step of a validated plan. Also returns its multiply-adds.
    pub(super) fn new(
        plan: &Plan,
        step: &Step,
        arithmetic: Arithmetic,
        storage: WeightStorage,
    ) -> (Self, u64) {
        let instruction_set = arithmetic.instruction_set;
        let output = plan.tensors[step.output.0].shape.as_slice();
        let shape = |index: usize| plan.spec(step.inputs[index]).0;
        let mut multiply_adds = 0;
        let mut convolution = |shape: ConvolutionShape,
                               weights: ConstantId,
                               bias: Option<ConstantId>,
                               activation: Activation| {
            multiply_adds = shape.multiply_adds();
            let weights = &*widened(plan, weights);
            let bias = bias.map(|bias| floats(plan, bias));
            if shape.is_depthwise() && instruction_set.set() != InstructionSet::Scalar {
                return match VectorDepthwise::new(shape, weights, bias, activation, arithmetic) {
                    Some(kernel) => Kernel::VectorDepthwise(kernel),
                    None => Kernel::Depthwise(Depthwise::new(shape, weights, bias, activation)),
                };
            }
            match TiledConvolution::new(shape, weights, bias, activation, arithmetic) {
                Some(kernel) => Kernel::Tiled(kernel),
                None => Kernel::Scalar(ScalarConvolution::new(shape, weights, bias, activation)),
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
                let kernel = MatMul::new(shape(0), shape(1), output, arithmetic);
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
            } => {
                let [scale, shift] = [*scale, *shift].map(|id| repeated(floats(plan, id)));
                Kernel::Affine {
                    scale,
                    shift,
                    curve: *activation,
                }
            }
            Operation::Pool2d { kind, window } => {
                Kernel::Pool(Pool::new(*kind, *window, shape(0), output))
            }
            Operation::ReduceMean { axes } => Kernel::Reduce(Reduce::new(None, shape(0), axes)),
            Operation::Reduce { reduction, axes } => {
                Kernel::Reduce(Reduce::new(Some(*reduction), shape(0), axes))
            }
            Operation::Select => {
                Kernel::Select(Select::new([shape(0), shape(1), shape(2)], output))
            }
            Operation::Gather { axis, indices } => {
                let indices = match &plan.constants[indices.0].data {
                    ConstantData::I64(data) => data.iter().map(|&index| index as usize).collect(),
                    _ => Vec::new(),
                };
                Kernel::Gather(Gather::new(shape(0), *axis, indices))
            }
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
                    (instruction_set, storage),
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
                    (instruction_set, storage),
                )
            }
            Operation::Lookup { table } => Kernel::Lookup(integers(plan, *table).to_vec()),
            Operation::DynamicScale => Kernel::DynamicScale,
            Operation::DynamicQuantize => Kernel::DynamicQuantize,
            Operation::QuantizedAdd {
                scales,
                scale,
                low,
                high,
            } => {
                let first = |id: ConstantId| floats(plan, id).first().copied();
                let one = |id: ConstantId| first(id).unwrap_or(1.0);
                Kernel::QuantizedAdd(QuantizedAdd {
                    // An f32 input is not multiplied.
                    scales: scales.map(|scale| scale.map_or(1.0, one)),
                    scale: one(*scale),
                    limits: [*low, *high].map(f32::from),
                })
            }
        };
        (kernel, multiply_adds)
    }

    /// How an INT8 layer's weights are stored, and their bytes; `None` for other kernels.
    pub(super) fn stored(&self) -> Option<(&'static str, usize)> {
        match self {
            Self::TiledInt8(layer) => {
                let (stored, bytes) = layer.stored();
                Some((stored.name(), bytes))
            }
            Self::DepthwiseInt8(layer) => Some((Stored::Dense.name(), layer.weight_bytes())),
            Self::Quantized(layer) => Some((Stored::Dense.name(), layer.weight_bytes())),
            _ => None,
        }
    }

    /// Bytes of scratch memory that it needs while it runs.
    pub(super) fn scratch(&self) -> usize {
        match self {
            Self::TiledInt8(layer) => layer.scratch(),
            Self::MatMul(product) => product.scratch() * size_of::<f32>(),
            _ => 0,
        }
    }
}

/// The elements of an f32 constant of a validated plan.
fn floats(plan: &Plan, id: ConstantId) -> &[f32] {
    match &plan.constants[id.0].data {
        ConstantData::F32(data) => data,
        _ => &[],
    }
}

/// The numbers several times if they are fewer than fill a few vectors.
fn repeated(numbers: &[f32]) -> Vec<f32> {
    numbers.repeat(64_usize.div_ceil(numbers.len().max(1)))
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

/// The elements of an i8 constant of a validated plan.
fn integers(plan: &Plan, id: ConstantId) -> &[i8] {
    match &plan.constants[id.0].data {
        ConstantData::I8(data) => data,
        _ => &[],
    }
}

/// The elements of an f32 or f16 constant of a validated plan, as f32.
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

/// The kernel of an INT8 layer.
fn quantized_layer(
    plan: &Plan,
    shape: ConvolutionShape,
    (weights, bias, multiplier): (ConstantId, Option<ConstantId>, ConstantId),
    finish: &Epilogue,
    (instruction_set, storage): (Available, WeightStorage),
) -> Kernel {
    let bias = bias.map(|id| match &plan.constants[id.0].data {
        ConstantData::I32(data) => data.as_slice(),
        _ => &[],
    });
    let epilogue = match *finish {
        Epilogue::Int8 { low, high } => EpilogueKernel::Int8 { low, high },
        Epilogue::Float { activation } => EpilogueKernel::Float { curve: activation },
        Epilogue::Dynamic { bias, activation } => EpilogueKernel::Dynamic {
            bias: match bias {
                Some(bias) => floats(plan, bias).to_vec(),
                None => vec![0.0; shape.units * shape.groups],
            },
            curve: activation,
        },
    };
    let (weights, multiplier) = (integers(plan, weights), floats(plan, multiplier));
    let plain = |epilogue| {
        let set = instruction_set;
        let layer = QuantizedConvolution::new(shape, weights, bias, multiplier, epilogue, set);
        Kernel::Quantized(layer)
    };
    let set = instruction_set;
    // A tile of a depthwise layer would have one channel: most lanes would be empty.
    if shape.is_depthwise() {
        return match DepthwiseLayer::new(shape, weights, bias, multiplier, epilogue, set) {
            Ok(kernel) => Kernel::DepthwiseInt8(Box::new(kernel)),
            Err(epilogue) => plain(epilogue),
        };
    }
    match TiledLayer::new(shape, weights, bias, multiplier, epilogue, set, storage) {
        Ok(kernel) => Kernel::TiledInt8(Box::new(kernel)),
        Err(epilogue) => plain(epilogue),
    }
}
