//! A typed graph with known shapes, and an ONNX reader and writer.
//!
//! [`Graph`] is the representation that the rest of Pilotage works on. Every value has an element
//! type and a shape. Every node has an operator whose attributes have been normalized across
//! opsets ([`Op`]). The nodes are sorted so that each value is computed before it is used.
//!
//! [`Graph::read`] reads ONNX of opsets 9 to 28 and treats it as untrusted input. It opens no file;
//! [`Graph::read_with_data`] also reads weights in files beside the model, from one folder.
//! [`Graph::write`] writes ONNX. [`GraphBuilder`] builds a graph in memory. [`dequantize`],
//! [`float_weights`], [`float32_types`] and [`widen`] convert a model to other element types.

mod advice;
mod builder;
mod convert;
mod data_file_error;
mod error;
mod external;
mod fold;
mod graph;
mod infer;
mod metadata;
mod onnx;
mod op;
mod read;
mod tensor;
mod write;

use std::ops::RangeInclusive;

pub use builder::GraphBuilder;
pub use convert::{dequantize, dequantized, float_weights, float32_types, widen};
pub use data_file_error::DataFileError;
pub use error::{GraphError, OpError};
pub use external::DataFiles;
pub use graph::{Graph, Node, NodeId, Value, ValueId};
pub use metadata::{RECIPE_KEY, metadata};
pub use op::{
    AutoPad, Comparison, Conv, Function, Gemm, Op, Pad, PadMode, Pool, Reduction, SliceAxis,
};
pub use read::{ReadOptions, data_locations};
pub use tensor::{ElementType, Tensor, TensorData, TensorSizeError, TensorType};

/// The opsets of the default ONNX domain that can be read.
pub const OPSETS: RangeInclusive<i64> = 9..=28;

/// The operators that can be read, by their ONNX names. Constant, ConstantOfShape, Range, Shape and
/// Size become constants; And, Not, Or and Xor are supported on constants only. Dropout becomes
/// Identity. Many others become several nodes of simpler operators.
pub const SUPPORTED_OPERATORS: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GridSample",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "If",
    "InstanceNormalization",
    "IsNaN",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "Loop",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RMSNormalization",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "RotaryEmbedding",
    "Round",
    "Scan",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    "Where",
    "Xor",
];
