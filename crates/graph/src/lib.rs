//! A typed graph with known shapes, and ONNX in and out of it.
//!
//! [`Graph`] is what the rest of Pilotage works on: every value has an element
//! type and a shape, every node an operator whose attributes have been
//! normalised across opsets ([`Op`]), and nodes stand in an order in which each
//! value is made before it is used.
//!
//! [`Graph::read`] takes ONNX of opsets 9 to 22 and trusts nothing in it;
//! [`Graph::write`] gives ONNX back. [`GraphBuilder`] makes a graph in memory.

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

/// The operators that can be read, by ONNX's names. Constant, Shape and Gather
/// (the latter of constants only) become constants, Dropout the identity.
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
    "Split",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];
