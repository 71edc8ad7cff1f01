//! The instruction-set-neutral plan: what the compiler makes and a CPU engine runs.
//!
//! Shapes are in memory order. Convolution and pooling work on NHWC; the
//! compiler has put layout changes where they are needed. Weights are stored
//! neutral (see [`Operation`]) and packed for the machine when a plan is loaded.

use half::f16;
use serde::{Deserialize, Serialize};

use crate::{ElementType, Layout};

mod error;
mod integer;
mod layers;
mod step;
mod validate;

pub use error::PlanError;
pub use layers::Layer;
pub use validate::{MAX_BYTES, MAX_ITEMS, MAX_RANK, MAX_WORK};

/// A tensor's place in [`Plan::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TensorId(pub usize);

/// A constant's place in [`Plan::constants`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConstantId(pub usize);

/// What a step reads: something made at run time, or something stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// An input of the plan or the output of an earlier step.
    Tensor(TensorId),
    /// A stored constant.
    Constant(ConstantId),
}

/// A tensor made at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Sizes in memory order.
    pub shape: Vec<usize>,
    /// Element type.
    pub element_type: ElementType,
}

/// Stored elements, row-major. In a bundle they lie apart from the manifest.
#[derive(Debug, Clone, PartialEq)]
pub enum ConstantData {
    /// See [`ElementType::F32`].
    F32(Vec<f32>),
    /// See [`ElementType::F16`].
    F16(Vec<f16>),
    /// See [`ElementType::I64`].
    I64(Vec<i64>),
    /// See [`ElementType::I32`].
    I32(Vec<i32>),
    /// See [`ElementType::U8`].
    U8(Vec<u8>),
    /// See [`ElementType::I8`].
    I8(Vec<i8>),
}

/// A stored tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Sizes in memory order.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: ConstantData,
}

/// An input or output of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPort {
    /// The model's name for it.
    pub name: String,
    /// Where it is read from or written to. An output may be a constant.
    pub operand: Operand,
    /// What the axes mean.
    pub layout: Layout,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The ONNX node (or nodes) behind it, for messages and reports.
    pub name: String,
    /// What is computed.
    pub operation: Operation,
    /// What it reads.
    pub inputs: Vec<Operand>,
    /// What it makes (one tensor for every operation there is today).
    pub output: TensorId,
}

/// Applied to each element as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// As it is.
    None,
    /// max(x, 0)
    Relu,
    /// `alpha` * x below zero.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// alpha * (exp(x) - 1) below zero.
    Elu {
        /// Scale below zero.
        alpha: f32,
    },
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// max(0, min(1, alpha * x + beta))
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// Held between two limits, which may be infinite.
    Clip {
        /// Lower limit; `None` is minus infinity (JSON has no infinities).
        min: Option<f32>,
        /// Upper limit; `None` is infinity.
        max: Option<f32>,
    },
}

/// Two operands into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryOperator {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// a / b
    Div,
}

/// Windows of a convolution or a pooling, over NHWC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height, width.
    pub kernel: [usize; 2],
    /// Down, across.
    pub strides: [usize; 2],
    /// Top, left. How far windows reach past the bottom and right follows from
    /// the output's shape.
    pub pads: [usize; 2],
    /// Down, across.
    pub dilations: [usize; 2],
}

/// What to do in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The largest element; padding never wins.
    Max,
    /// The mean of the elements inside the picture.
    Average,
    /// The mean with the padding (bottom, right given here) counted as zeros.
    AverageWithPads {
        /// Pads that count below.
        bottom: usize,
        /// Pads that count to the right.
        right: usize,
    },
}

/// What a [`Operation::Pad`] fills with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// This value.
    Constant(f32),
    /// Mirrored at the border element.
    Reflect,
    /// The border element.
    Edge,
    /// The other side.
    Wrap,
}

/// One axis of an [`Operation::Slice`]; its length is the output's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceStep {
    /// First index.
    pub start: usize,
    /// Distance to the next; may be negative, never 0.
    pub step: isize,
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Input (N, H, W, C) to output (N, H', W', M).
    Conv2d {
        /// f32 or f16 (M, kH, kW, C / groups).
        weights: ConstantId,
        /// f32 (M).
        bias: Option<ConstantId>,
        /// Where the windows lie.
        window: Window,
        /// Groups of channels; `groups == C == M` is depthwise.
        groups: usize,
        /// Fused.
        activation: Activation,
    },
    /// Input (.., K) to output (.., M).
    FullyConnected {
        /// f32 or f16 (M, K).
        weights: ConstantId,
        /// f32 (M).
        bias: Option<ConstantId>,
        /// Fused.
        activation: Activation,
    },
    /// (.., M, K) by (.., K, N) to (.., M, N), leading axes broadcast; both
    /// operands at least two-dimensional.
    MatMul,
    /// Element by element.
    Unary {
        /// The curve.
        activation: Activation,
    },
    /// Element by element, numpy broadcasting.
    Binary {
        /// What joins them.
        operator: BinaryOperator,
        /// Fused.
        activation: Activation,
    },
    /// x * scale + shift along the last axis: a batch norm that nothing took in.
    Affine {
        /// f32 (last axis).
        scale: ConstantId,
        /// f32 (last axis).
        shift: ConstantId,
        /// Fused.
        activation: Activation,
    },
    /// Input (N, H, W, C) to output (N, H', W', C).
    Pool2d {
        /// Maximum or mean.
        kind: PoolKind,
        /// Where the windows lie.
        window: Window,
    },
    /// Mean over `axes`; the output's shape has them as 1 or not at all.
    ReduceMean {
        /// Sorted axes of the input.
        axes: Vec<usize>,
    },
    /// Over the axes `axis..end_axis` taken together.
    Softmax {
        /// First axis.
        axis: usize,
        /// One past the last axis.
        end_axis: usize,
    },
    /// Inputs one after the other.
    Concat {
        /// Axis of all inputs.
        axis: usize,
    },
    /// A regular part of the input (Split is several of these).
    Slice {
        /// One for every axis.
        axes: Vec<SliceStep>,
    },
    /// A border added, or cut where negative.
    Pad {
        /// Before each axis; how much after follows from the output's shape.
        before: Vec<isize>,
        /// What is added.
        fill: Fill,
    },
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// The same elements in the output's shape; costs nothing where memory can be shared.
    Reshape,
    /// To the output's element type, as ONNX's Cast does.
    Cast,
    /// saturate(round_half_even(x / scale) + zero_point) to the output's type.
    Quantize {
        /// f32: one element, or one for each index of `axis`.
        scale: ConstantId,
        /// The output's type, as many as scales; 0 where absent.
        zero_point: Option<ConstantId>,
        /// The axis the scales run along.
        axis: usize,
    },
    /// (x - zero_point) * scale to f32.
    Dequantize {
        /// f32: one element, or one for each index of `axis`.
        scale: ConstantId,
        /// The input's type, as many as scales; 0 where absent.
        zero_point: Option<ConstantId>,
        /// The axis the scales run along.
        axis: usize,
    },
    /// [`Conv2d`](Self::Conv2d) on an i8 input, in integers; padding is 0.
    QuantizedConv2d {
        /// i8 (M, kH, kW, C / groups).
        weights: ConstantId,
        /// i32 (M), added to the sum.
        bias: Option<ConstantId>,
        /// f32 (M).
        multiplier: ConstantId,
        /// Where the windows lie.
        window: Window,
        /// Groups of channels.
        groups: usize,
        /// From the sum to the output.
        finish: Finish,
    },
    /// [`FullyConnected`](Self::FullyConnected) on an i8 input, in integers.
    QuantizedFullyConnected {
        /// i8 (M, K).
        weights: ConstantId,
        /// i32 (M), added to the sum.
        bias: Option<ConstantId>,
        /// f32 (M).
        multiplier: ConstantId,
        /// From the sum to the output.
        finish: Finish,
    },
    /// i8 to i8 through a table: the entry at x + 128. A curve of an INT8 network.
    Lookup {
        /// i8 (256).
        table: ConstantId,
    },
    /// The scale that takes an f32 tensor to -127..=127: its largest magnitude
    /// over 127, or 1 where that is 0 or not finite. Output f32 (1).
    DynamicScale,
    /// saturate(round_half_even(x / scale)), scale being the second input, f32
    /// (1); from f32 to i8.
    DynamicQuantize,
}

/// How a sum of integer products becomes an output.
///
/// This, with the sum, is the arithmetic that every INT8 kernel has to
/// reproduce to the bit: the sum and its bias in i32 (which cannot overflow in a
/// valid plan), the conversion to f32 and the one multiplication each rounded
/// to nearest, ties to even, no fused multiply-add.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// i8: round_half_even(f32(sum) * multiplier), held between the limits.
    Int8 {
        /// 0 where a ReLU follows.
        low: i8,
        /// 127 where nothing is cut off.
        high: i8,
    },
    /// f32: activation(f32(sum) * multiplier).
    Float {
        /// Fused.
        activation: Activation,
    },
    /// f32: activation(f32(sum) * (scale * multiplier) + bias), where the scale
    /// of the input is the step's second input, f32 (1). The bias is f32.
    Dynamic {
        /// f32 (M).
        bias: Option<ConstantId>,
        /// Fused.
        activation: Activation,
    },
}

/// A network ready to be packed and run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Everything made at run time.
    pub tensors: Vec<TensorSpec>,
    /// Everything stored.
    pub constants: Vec<Constant>,
    /// What the caller gives; each a tensor.
    pub inputs: Vec<PlanPort>,
    /// What the caller gets.
    pub outputs: Vec<PlanPort>,
    /// In order.
    pub steps: Vec<Step>,
}
