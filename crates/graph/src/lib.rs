//! A typed graph with known shapes, and ONNX in and out of it.
//!
//! [`Graph`] is what the rest of Pilotage works on: every value has an element
//! type and a shape, every node an operator whose attributes have been
//! normalised across opsets ([`Op`]), and nodes stand in an order in which each
//! value is made before it is used.

mod graph;
mod op;
mod tensor;

pub use graph::{Graph, Node, NodeId, Value, ValueId};
pub use op::{AutoPad, Conv, Gemm, Op, Pad, PadMode, Pool, SliceAxis};
pub use tensor::{ElementType, Tensor, TensorData};
