//! A typed graph with known shapes, and an ONNX reader and writer.
//!
//! [`Graph`] is the representation that the rest of Pilotage works on. Every value has an element
//! type and a shape. Every node has an operator whose attributes have been normalized across
//! opsets ([`Op`]). The nodes are sorted so that each value is computed before it is used.
//!
//! [`Graph::read`] reads ONNX of opsets 9 to 22 and treats it as untrusted input.
//! [`Graph::write`] writes ONNX. [`GraphBuilder`] builds a graph in memory.

mod builder;
mod error;
mod fold;
mod graph;
mod infer;
mod onnx;
mod op;
mod read;
mod tensor;
mod write;

use std::ops::RangeInclusive;

pub use builder::GraphBuilder;
pub use error::{GraphError, OpError};
pub use graph::{Graph, Node, NodeId, Value, ValueId};
pub use op::{AutoPad, Conv, Gemm, Op, Pad, PadMode, Pool, SliceAxis};
pub use read::ReadOptions;
pub use tensor::{ElementType, Tensor, TensorData, TensorSizeError, TensorType};

/// The opsets of the default ONNX domain that can be read.
pub const OPSETS: RangeInclusive<i64> = 9..=22;

/// The operators that can be read, by their ONNX names. Constant, Shape and Gather (Gather only
/// of constants) become constants. Dropout becomes Identity.
pub const SUPPORTED_OPERATORS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Elu",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "Identity",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "QuantizeLinear",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];
