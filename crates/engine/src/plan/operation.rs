//! What a step computes: operations, their parameters, and the epilogue of INT8 layers.

use serde::{Deserialize, Serialize};

use super::ConstantId;

/// The activation function that is applied to each element when it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The identity.
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
    /// ln(1 + exp(x))
    Softplus,
    /// x / (1 + |x|)
    Softsign,
    /// One of the functions without parameters.
    Function(Function),
    /// Clamped between two limits, which may be infinite.
    Clip {
        /// Lower limit; `None` is minus infinity (JSON has no infinities).
        min: Option<f32>,
        /// Upper limit; `None` is infinity.
        max: Option<f32>,
    },
}

/// A function of one element. All are computed by the crate `libm`, exactly, or by operations that
/// IEEE 754 defines, so that their results have the same bits on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// |x|
    Abs,
    /// Inverse cosine.
    Acos,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse sine.
    Asin,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse tangent.
    Atan,
    /// Inverse hyperbolic tangent.
    Atanh,
    /// The smallest integer that is not less.
    Ceil,
    /// Cosine.
    Cos,
    /// Hyperbolic cosine.
    Cosh,
    /// Error function.
    Erf,
    /// e to the power of x.
    Exp,
    /// The largest integer that is not greater.
    Floor,
    /// Natural logarithm.
    Log,
    /// The nearest integer; halves go to the even one.
    Round,
    /// -1, 0 or 1.
    Sign,
    /// Sine.
    Sin,
    /// Hyperbolic sine.
    Sinh,
    /// Square root.
    Sqrt,
    /// Tangent.
    Tan,
}

impl Function {
    /// All functions.
    pub const ALL: [Self; 20] = [
        Self::Abs,
        Self::Acos,
        Self::Acosh,
        Self::Asin,
        Self::Asinh,
        Self::Atan,
        Self::Atanh,
        Self::Ceil,
        Self::Cos,
        Self::Cosh,
        Self::Erf,
        Self::Exp,
        Self::Floor,
        Self::Log,
        Self::Round,
        Self::Sign,
        Self::Sin,
        Self::Sinh,
        Self::Sqrt,
        Self::Tan,
    ];
}

/// An operator of two operands. A comparison gives 1 if it holds, else 0.
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
    /// The smaller operand; NaN if either is.
    Min,
    /// The larger operand; NaN if either is.
    Max,
    /// a to the power of b.
    Pow,
    /// a = b
    Equal,
    /// a > b
    Greater,
    /// a >= b
    GreaterOrEqual,
    /// a < b
    Less,
    /// a <= b
    LessOrEqual,
}

/// How [`Operation::Reduce`] combines elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The smallest; NaN if one is NaN.
    Min,
    /// The largest; NaN if one is NaN.
    Max,
}

/// Windows of a convolution or a pooling, over NHWC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height, width.
    pub kernel: [usize; 2],
    /// Down, across.
    pub strides: [usize; 2],
    /// Top, left. The padding at the bottom and right follows from the output's
    /// shape.
    pub pads: [usize; 2],
    /// Down, across.
    pub dilations: [usize; 2],
}

/// What a pooling computes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The largest element; padding is ignored.
    Max,
    /// The mean of the elements inside the input; padding is not counted.
    Average,
    /// The mean with the padding counted as zeros. Its top and left padding are
    /// those of the window.
    AverageWithPads {
        /// Rows of padding at the bottom that are counted.
        bottom: usize,
        /// Columns of padding at the right that are counted.
        right: usize,
    },
}

/// What [`Operation::Pad`] fills the border with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// A value.
    Constant(f32),
    /// The elements mirrored at the border element.
    Reflect,
    /// The border element.
    Edge,
    /// The elements of the opposite side.
    Wrap,
}

/// One axis of an [`Operation::Slice`]; its length is the output's size on the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceStep {
    /// First index.
    pub start: usize,
    /// Distance to the next index; may be negative, never 0.
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
        /// Size, stride, padding and dilation of the windows.
        window: Window,
        /// Groups of channels; `groups == C == M` is depthwise.
        groups: usize,
        /// Fused activation.
        activation: Activation,
    },
    /// Input (.., K) to output (.., M).
    FullyConnected {
        /// f32 or f16 (M, K).
        weights: ConstantId,
        /// f32 (M).
        bias: Option<ConstantId>,
        /// Fused activation.
        activation: Activation,
    },
    /// (.., M, K) by (.., K, N) to (.., M, N), leading axes broadcast; both
    /// operands at least two-dimensional.
    MatMul,
    /// Element by element.
    Unary {
        /// The function.
        activation: Activation,
    },
    /// Element by element, numpy broadcasting.
    Binary {
        /// The operator.
        operator: BinaryOperator,
        /// Fused activation.
        activation: Activation,
    },
    /// x * scale + shift along the last axis: a batch normalization that could not
    /// be folded into another layer.
    Affine {
        /// f32 (last axis).
        scale: ConstantId,
        /// f32 (last axis).
        shift: ConstantId,
        /// Fused activation.
        activation: Activation,
    },
    /// Input (N, H, W, C) to output (N, H', W', C).
    Pool2d {
        /// Maximum or mean.
        kind: PoolKind,
        /// Size, stride, padding and dilation of the windows.
        window: Window,
    },
    /// Mean over `axes`, which have size 1 in the output's shape or are absent.
    ReduceMean {
        /// Sorted axes of the input.
        axes: Vec<usize>,
    },
    /// Another reduction over `axes`, which have size 1 in the output's shape or are absent.
    Reduce {
        /// How elements are combined.
        reduction: Reduction,
        /// Sorted axes of the input. An axis of size 0 gives 0 or an infinity.
        axes: Vec<usize>,
    },
    /// The second input where the first one, bool, is true, else the third; numpy broadcasting.
    Select,
    /// The input's elements at `indices` of an axis.
    Gather {
        /// The axis.
        axis: usize,
        /// i64 (the output's size on the axis), each inside the input's axis.
        indices: ConstantId,
    },
    /// Over the axes `axis..end_axis` flattened into one.
    Softmax {
        /// First axis.
        axis: usize,
        /// One past the last axis.
        end_axis: usize,
    },
    /// The inputs concatenated along an axis.
    Concat {
        /// The axis, the same in all inputs.
        axis: usize,
    },
    /// A strided part of the input (an ONNX Split is several slices).
    Slice {
        /// One for every axis.
        axes: Vec<SliceStep>,
    },
    /// Adds a border; a negative width crops.
    Pad {
        /// Width before each axis; the width after follows from the output's shape.
        before: Vec<isize>,
        /// Elements of the border.
        fill: Fill,
    },
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// The same elements with the output's shape; free where memory can be shared.
    Reshape,
    /// Converts to the output's element type, as the ONNX operator Cast does.
    Cast,
    /// saturate(round_half_even(x / scale) + zero_point) to the output's type.
    Quantize {
        /// f32: one element, or one for each index of `axis`.
        scale: ConstantId,
        /// Of the output's type, one for each scale; 0 if absent.
        zero_point: Option<ConstantId>,
        /// The axis of the scales.
        axis: usize,
    },
    /// (x - zero_point) * scale to f32.
    Dequantize {
        /// f32: one element, or one for each index of `axis`.
        scale: ConstantId,
        /// Of the input's type, one for each scale; 0 if absent.
        zero_point: Option<ConstantId>,
        /// The axis of the scales.
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
        /// Size, stride, padding and dilation of the windows.
        window: Window,
        /// Groups of channels.
        groups: usize,
        /// The epilogue.
        finish: Epilogue,
    },
    /// [`FullyConnected`](Self::FullyConnected) on an i8 input, in integers.
    QuantizedFullyConnected {
        /// i8 (M, K).
        weights: ConstantId,
        /// i32 (M), added to the sum.
        bias: Option<ConstantId>,
        /// f32 (M).
        multiplier: ConstantId,
        /// The epilogue.
        finish: Epilogue,
    },
    /// i8 to i8 through a table: the entry at x + 128. An activation function of an
    /// INT8 network.
    Lookup {
        /// i8 (256).
        table: ConstantId,
    },
    /// The scale that maps an f32 tensor to -127..=127: its largest magnitude
    /// divided by 127, or 1 where that is 0 or not finite. Output f32 (1).
    DynamicScale,
    /// saturate(round_half_even(x / scale)) from f32 to i8. The scale is the second
    /// input, f32 (1).
    DynamicQuantize,
    /// The sum of two tensors of the output's shape, as the end of a residual connection:
    /// round_half_even((a + b) / scale), clamped between the limits, where an i8 input is
    /// multiplied by its scale first. Each operation is rounded to f32. Output i8.
    QuantizedAdd {
        /// f32 (1) for an i8 input, none for an f32 input.
        scales: [Option<ConstantId>; 2],
        /// f32 (1): of the output.
        scale: ConstantId,
        /// Lower limit; 0 where a ReLU follows.
        low: i8,
        /// Upper limit; 127 where nothing is cut off.
        high: i8,
    },
}

/// The epilogue of an INT8 layer: how a sum of integer products becomes an output.
///
/// Every INT8 kernel has to reproduce this arithmetic bit for bit. The products and
/// the bias are summed in i32, which cannot overflow in a valid plan. The conversion
/// to f32 and each f32 operation after it are rounded to nearest, ties to even.
/// No multiply-add is fused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Epilogue {
    /// i8: round_half_even(f32(sum) * multiplier), clamped between the limits.
    Int8 {
        /// Lower limit; 0 where a ReLU follows.
        low: i8,
        /// Upper limit; 127 where nothing is cut off.
        high: i8,
    },
    /// f32: activation(f32(sum) * multiplier).
    Float {
        /// Fused activation.
        activation: Activation,
    },
    /// f32: activation(f32(sum) * (scale * multiplier) + bias). The scale is that of
    /// the input and is the step's second input, f32 (1). The bias is f32.
    Dynamic {
        /// f32 (M).
        bias: Option<ConstantId>,
        /// Fused activation.
        activation: Activation,
    },
}
