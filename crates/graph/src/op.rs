//! The operators, their attributes normalised across opsets.
//!
//! What older opsets keep in attributes and newer ones in constant inputs
//! (axes, pads, shapes, clip limits) ends up in the same field here, resolved
//! against the input's shape: negative axes counted, defaults filled in,
//! `auto_pad` turned into pads.

use crate::ElementType;

/// What a node computes. Values in the order ONNX gives them, except that
/// inputs which became fields here are gone from the node's list.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// 2-D convolution; inputs x (N, C, H, W), w (M, C/groups, kH, kW), bias (M) if any.
    Conv(Conv),
    /// alpha * A' * B' + beta * C; inputs a, b, c if any.
    Gemm(Gemm),
    /// Matrix product with broadcasting over the leading axes; inputs a, b.
    MatMul,
    /// Inference form; inputs x, scale, bias, mean, variance, each of the last four (C).
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// max(x, 0)
    Relu,
    /// x below zero times `alpha`.
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
    /// Held between the limits (infinite where ONNX leaves one out).
    Clip {
        /// Lower limit.
        min: f32,
        /// Upper limit.
        max: f32,
    },
    /// Softmax over the axes `axis..end_axis` taken together: one axis from
    /// opset 13 on, all the trailing ones before it.
    Softmax {
        /// First axis.
        axis: usize,
        /// One past the last axis.
        end_axis: usize,
    },
    /// Sum, broadcast; inputs a, b.
    Add,
    /// Difference, broadcast; inputs a, b.
    Sub,
    /// Product, broadcast; inputs a, b.
    Mul,
    /// Quotient, broadcast; inputs a, b.
    Div,
    /// 2-D maximum; padding never wins.
    MaxPool(Pool),
    /// 2-D mean.
    AveragePool(Pool),
    /// Mean over all of H and W, kept as 1.
    GlobalAveragePool,
    /// Mean over `axes`.
    ReduceMean {
        /// Sorted, without repeats.
        axes: Vec<usize>,
        /// Whether the reduced axes stay as 1.
        keep_dims: bool,
    },
    /// To two axes, split before `axis`.
    Flatten {
        /// 0 to the rank.
        axis: usize,
    },
    /// To the shape of the output value.
    Reshape,
    /// Drops axes of size 1: to the shape of the output value.
    Squeeze {
        /// Sorted axes of the input.
        axes: Vec<usize>,
    },
    /// Adds axes of size 1: to the shape of the output value.
    Unsqueeze {
        /// Sorted axes of the output.
        axes: Vec<usize>,
    },
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// Inputs one after the other along `axis`.
    Concat {
        /// Axis of all inputs.
        axis: usize,
    },
    /// Outputs one after the other along `axis`; their sizes are in the output values' shapes.
    Split {
        /// Axis of the input.
        axis: usize,
    },
    /// A regular part of the input.
    Slice {
        /// One entry for every axis of the input.
        axes: Vec<SliceAxis>,
    },
    /// Border added (or, where negative, cut).
    Pad(Pad),
    /// The input as it is; also what Dropout is at inference.
    Identity,
    /// To another element type.
    Cast {
        /// The output's type.
        to: ElementType,
    },
    /// y = saturate(round_half_even(x / scale) + zero_point); inputs x, scale,
    /// zero point if any, the last two scalar or of `axis`'s size.
    QuantizeLinear {
        /// The axis that per-channel scales run along.
        axis: usize,
    },
    /// y = (x - zero_point) * scale; inputs as for `QuantizeLinear`.
    DequantizeLinear {
        /// The axis that per-channel scales run along.
        axis: usize,
    },
}

impl Op {
    /// ONNX's name of the operator.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::Gemm(_) => "Gemm",
            Self::MatMul => "MatMul",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Elu { .. } => "Elu",
            Self::Sigmoid => "Sigmoid",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::Tanh => "Tanh",
            Self::Clip { .. } => "Clip",
            Self::Softmax { .. } => "Softmax",
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool(_) => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::ReduceMean { .. } => "ReduceMean",
            Self::Flatten { .. } => "Flatten",
            Self::Reshape => "Reshape",
            Self::Squeeze { .. } => "Squeeze",
            Self::Unsqueeze { .. } => "Unsqueeze",
            Self::Transpose { .. } => "Transpose",
            Self::Concat { .. } => "Concat",
            Self::Split { .. } => "Split",
            Self::Slice { .. } => "Slice",
            Self::Pad(_) => "Pad",
            Self::Identity => "Identity",
            Self::Cast { .. } => "Cast",
            Self::QuantizeLinear { .. } => "QuantizeLinear",
            Self::DequantizeLinear { .. } => "DequantizeLinear",
        }
    }
}

/// Attributes of a 2-D convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// kH, kW.
    pub kernel: [usize; 2],
    /// Down, across.
    pub strides: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Down, across.
    pub dilations: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

/// Attributes of Gemm.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of C.
    pub beta: f32,
    /// Whether A is given transposed.
    pub transpose_a: bool,
    /// Whether B is given transposed.
    pub transpose_b: bool,
}

/// Attributes of 2-D pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// kH, kW.
    pub kernel: [usize; 2],
    /// Down, across.
    pub strides: [usize; 2],
    /// Top, left, bottom, right. With ceiling division the last window may
    /// reach past the bottom and right pads; the output value's shape says so.
    pub pads: [usize; 4],
    /// Down, across.
    pub dilations: [usize; 2],
    /// Average only: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

/// The part of one axis that Slice keeps: `start`, then every `step`, `length` times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceAxis {
    /// First index kept.
    pub start: usize,
    /// Distance to the next; negative runs backwards, never 0.
    pub step: isize,
    /// How many are kept; the output's size.
    pub length: usize,
}

/// What Pad does, resolved: one entry for every axis of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Added before; negative cuts.
    pub before: Vec<isize>,
    /// Added after; negative cuts.
    pub after: Vec<isize>,
    /// What is added.
    pub mode: PadMode,
}

/// What Pad fills with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// This value.
    Constant(f32),
    /// The picture mirrored at the border element.
    Reflect,
    /// The border element.
    Edge,
    /// The other side.
    Wrap,
}

/// ONNX's `auto_pad`, before it is resolved to pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoPad {
    /// As `pads` says.
    NotSet,
    /// ceil(size / stride) outputs; an odd pad goes after.
    SameUpper,
    /// ceil(size / stride) outputs; an odd pad goes before.
    SameLower,
    /// No pads.
    Valid,
}
