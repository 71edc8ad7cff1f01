//! The operators, with attributes normalized across opsets.
//!
//! Older opsets store axes, pads, shapes and clip limits in attributes, newer opsets in constant
//! inputs. Both are read into the same field here and resolved against the input's shape:
//! negative axes become positive, defaults are filled in, and `auto_pad` becomes pads.

use crate::ElementType;

/// The operation of a node. Inputs are in ONNX's order, except that inputs that are fields here
/// are removed from the node's list.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// 2-D convolution. Inputs: x (N, C, H, W), w (M, C/groups, kH, kW), optional bias (M).
    Conv(Conv),
    /// alpha * A' * B' + beta * C. Inputs: a, b, optional c.
    Gemm(Gemm),
    /// Matrix product with broadcasting over the leading axes. Inputs: a, b.
    MatMul,
    /// Batch normalization for inference. Inputs: x, scale, bias, mean, variance; each of the
    /// last four has shape (C).
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// max(x, 0)
    Relu,
    /// x if positive, else alpha * x.
    LeakyRelu {
        /// Slope below zero.
        alpha: f32,
    },
    /// x if positive, else alpha * (exp(x) - 1).
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
    /// Clamps to the limits. A limit that ONNX omits is infinite.
    Clip {
        /// Lower limit.
        min: f32,
        /// Upper limit.
        max: f32,
    },
    /// A function of each element.
    Function(Function),
    /// Softmax over the axes `axis..end_axis` combined: one axis from opset 13 on, all trailing
    /// axes before that.
    Softmax {
        /// First axis.
        axis: usize,
        /// One past the last axis.
        end_axis: usize,
    },
    /// Sum with broadcasting. Inputs: a, b.
    Add,
    /// Difference with broadcasting. Inputs: a, b.
    Sub,
    /// Product with broadcasting. Inputs: a, b.
    Mul,
    /// Quotient with broadcasting. Inputs: a, b.
    Div,
    /// The smaller element, with broadcasting; NaN if either is. Inputs: a, b.
    Min,
    /// The larger element, with broadcasting; NaN if either is. Inputs: a, b.
    Max,
    /// a to the power of b, with broadcasting. Inputs: a, b.
    Pow,
    /// Compares with broadcasting. The output is bool. Inputs: a, b.
    Compare(Comparison),
    /// a where the condition is true, else b, with broadcasting. Inputs: condition (bool), a, b.
    Where,
    /// 2-D maximum. Padding is ignored.
    MaxPool(Pool),
    /// 2-D mean.
    AveragePool(Pool),
    /// Mean over H and W, which are kept with size 1.
    GlobalAveragePool,
    /// Combines the elements along `axes`.
    Reduce {
        /// How they are combined.
        reduction: Reduction,
        /// Sorted, without duplicates.
        axes: Vec<usize>,
        /// Whether the reduced axes are kept with size 1.
        keep_dims: bool,
    },
    /// Reshapes to two axes, split before `axis`.
    Flatten {
        /// 0 to the rank.
        axis: usize,
    },
    /// Reshapes to the shape of the output value.
    Reshape,
    /// Removes axes of size 1. The output value has the resulting shape.
    Squeeze {
        /// Sorted axes of the input.
        axes: Vec<usize>,
    },
    /// Inserts axes of size 1. The output value has the resulting shape.
    Unsqueeze {
        /// Sorted axes of the output.
        axes: Vec<usize>,
    },
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        /// A permutation.
        perm: Vec<usize>,
    },
    /// Concatenates the inputs along `axis`.
    Concat {
        /// Axis of all inputs.
        axis: usize,
    },
    /// Splits the input along `axis`. The sizes of the parts are in the output values' shapes.
    Split {
        /// Axis of the input.
        axis: usize,
    },
    /// Selects a regular part of the input.
    Slice {
        /// One entry for every axis of the input.
        axes: Vec<SliceAxis>,
    },
    /// Selects indices along an axis. ONNX's Gather with other than one axis of indices is read
    /// as this operator between reshapes.
    Gather {
        /// Axis of the input.
        axis: usize,
        /// The indices, each below the axis's size.
        indices: Vec<usize>,
    },
    /// Adds a border, or cuts where the amount is negative.
    Pad(Pad),
    /// The unchanged input. Dropout also becomes Identity.
    Identity,
    /// Converts to another element type.
    Cast {
        /// The output's type.
        to: ElementType,
    },
    /// y = saturate(round_half_even(x / scale) + zero_point). Inputs: x, scale, optional zero
    /// point; the last two are scalar or have the size of `axis`.
    QuantizeLinear {
        /// The axis of per-channel scales.
        axis: usize,
    },
    /// y = (x - zero_point) * scale. Inputs as for `QuantizeLinear`.
    DequantizeLinear {
        /// The axis of per-channel scales.
        axis: usize,
    },
}

impl Op {
    /// Whether the elements of the outputs are elements of the inputs, unchanged; `Pad` may add
    /// others at the border.
    pub fn moves_elements(&self) -> bool {
        matches!(
            self,
            Self::Flatten { .. }
                | Self::Reshape
                | Self::Squeeze { .. }
                | Self::Unsqueeze { .. }
                | Self::Transpose { .. }
                | Self::Concat { .. }
                | Self::Split { .. }
                | Self::Slice { .. }
                | Self::Gather { .. }
                | Self::Pad(_)
                | Self::Identity
        )
    }

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
            Self::Softplus => "Softplus",
            Self::Softsign => "Softsign",
            Self::Clip { .. } => "Clip",
            Self::Softmax { .. } => "Softmax",
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool(_) => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::Function(function) => function.name(),
            Self::Min => "Min",
            Self::Max => "Max",
            Self::Pow => "Pow",
            Self::Compare(comparison) => comparison.name(),
            Self::Where => "Where",
            Self::Reduce { reduction, .. } => reduction.name(),
            Self::Gather { .. } => "Gather",
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

/// Declares an enum of operators without attributes, whose variants have ONNX's names.
macro_rules! named {
    ($(#[$meta:meta])* $of:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $of {
            $($(#[$doc])* $variant,)*
        }

        impl $of {
            /// All variants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// ONNX's name of the operator.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The variant with this ONNX name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|of| of.name() == name)
            }
        }
    };
}

named! {
    /// A function of one element, without attributes.
    Function {
        /// |x|
        Abs = "Abs",
        /// Inverse cosine.
        Acos = "Acos",
        /// Inverse hyperbolic cosine.
        Acosh = "Acosh",
        /// Inverse sine.
        Asin = "Asin",
        /// Inverse hyperbolic sine.
        Asinh = "Asinh",
        /// Inverse tangent.
        Atan = "Atan",
        /// Inverse hyperbolic tangent.
        Atanh = "Atanh",
        /// The smallest integer that is not less.
        Ceil = "Ceil",
        /// Cosine.
        Cos = "Cos",
        /// Hyperbolic cosine.
        Cosh = "Cosh",
        /// Error function.
        Erf = "Erf",
        /// e to the power of x.
        Exp = "Exp",
        /// The largest integer that is not greater.
        Floor = "Floor",
        /// Natural logarithm.
        Log = "Log",
        /// The nearest integer; halves go to the even one.
        Round = "Round",
        /// -1, 0 or 1.
        Sign = "Sign",
        /// Sine.
        Sin = "Sin",
        /// Hyperbolic sine.
        Sinh = "Sinh",
        /// Square root.
        Sqrt = "Sqrt",
        /// Tangent.
        Tan = "Tan",
    }
}

named! {
    /// How [`Op::Reduce`] combines elements.
    Reduction {
        /// The largest; NaN if one is NaN.
        Max = "ReduceMax",
        /// The sum, divided by the number of elements.
        Mean = "ReduceMean",
        /// The smallest; NaN if one is NaN.
        Min = "ReduceMin",
        /// The sum.
        Sum = "ReduceSum",
    }
}

named! {
    /// What [`Op::Compare`] compares. Every comparison with NaN is false.
    Comparison {
        /// a = b
        Equal = "Equal",
        /// a > b
        Greater = "Greater",
        /// a >= b
        GreaterOrEqual = "GreaterOrEqual",
        /// a < b
        Less = "Less",
        /// a <= b
        LessOrEqual = "LessOrEqual",
    }
}

impl Function {
    /// The function's value, in the arithmetic of the crate `libm`, whose results have the same
    /// bits on every machine.
    pub fn at(self, x: f32) -> f32 {
        match self {
            Self::Abs => x.abs(),
            Self::Acos => libm::acosf(x),
            Self::Acosh => libm::acoshf(x),
            Self::Asin => libm::asinf(x),
            Self::Asinh => libm::asinhf(x),
            Self::Atan => libm::atanf(x),
            Self::Atanh => libm::atanhf(x),
            Self::Ceil => x.ceil(),
            Self::Cos => libm::cosf(x),
            Self::Cosh => libm::coshf(x),
            Self::Erf => libm::erff(x),
            Self::Exp => libm::expf(x),
            Self::Floor => x.floor(),
            Self::Log => libm::logf(x),
            Self::Round => x.round_ties_even(),
            // NaN stays NaN, and 0 keeps its sign.
            Self::Sign if x > 0.0 => 1.0,
            Self::Sign if x < 0.0 => -1.0,
            Self::Sign => x,
            Self::Sin => libm::sinf(x),
            Self::Sinh => libm::sinhf(x),
            Self::Sqrt => x.sqrt(),
            Self::Tan => libm::tanf(x),
        }
    }
}

impl Comparison {
    /// Whether the comparison holds.
    pub fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
        }
    }
}

/// Attributes of a 2-D convolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// kH, kW.
    pub kernel: [usize; 2],
    /// Vertical, horizontal.
    pub strides: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Vertical, horizontal.
    pub dilations: [usize; 2],
    /// Number of channel groups.
    pub groups: usize,
}

/// Attributes of Gemm.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of C.
    pub beta: f32,
    /// Whether A is transposed in the product.
    pub transpose_a: bool,
    /// Whether B is transposed in the product.
    pub transpose_b: bool,
}

/// Attributes of 2-D pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// kH, kW.
    pub kernel: [usize; 2],
    /// Vertical, horizontal.
    pub strides: [usize; 2],
    /// Top, left, bottom, right. With ceiling division, the last window may extend past the
    /// bottom and right padding. The output value's shape determines this.
    pub pads: [usize; 4],
    /// Vertical, horizontal.
    pub dilations: [usize; 2],
    /// Average only: whether padding counts in the divisor.
    pub count_include_pad: bool,
}

/// The part of one axis that Slice keeps: `length` elements from `start` on, `step` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceAxis {
    /// First index that is kept.
    pub start: usize,
    /// Distance to the next index. Negative steps run backwards. Never 0.
    pub step: isize,
    /// Number of elements that are kept, which is the output's size.
    pub length: usize,
}

/// Attributes of Pad, resolved: one entry for each axis of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Number of elements added before; a negative number cuts.
    pub before: Vec<isize>,
    /// Number of elements added after; a negative number cuts.
    pub after: Vec<isize>,
    /// The values that are added.
    pub mode: PadMode,
}

/// The values that Pad adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// A constant value.
    Constant(f32),
    /// The input mirrored at the border element.
    Reflect,
    /// The border element.
    Edge,
    /// The elements of the opposite side.
    Wrap,
}

/// ONNX's `auto_pad`, before it is resolved to pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoPad {
    /// The `pads` attribute applies.
    NotSet,
    /// ceil(size / stride) outputs. An odd pad element goes after.
    SameUpper,
    /// ceil(size / stride) outputs. An odd pad element goes before.
    SameLower,
    /// No padding.
    Valid,
}
