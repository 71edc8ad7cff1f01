use crate::{ElementType, Op, Tensor};

/// A value's place in [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// A node's place in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Something that flows: an input, a constant, or what a node makes.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// ONNX's name; unique in the graph.
    pub name: String,
    /// Type of each element.
    pub element_type: ElementType,
    /// Fully known; a batch axis that ONNX left open is 1.
    pub shape: Vec<usize>,
    /// The elements, where they are known.
    pub constant: Option<Tensor>,
}

/// One computation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// ONNX's name, or `operator_index` where it has none; for messages.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub outputs: Vec<ValueId>,
}

/// A network: values, and nodes in an order in which they can run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// ONNX's name of the graph.
    pub name: String,
    /// All values.
    pub values: Vec<Value>,
    /// Each value is made before it is used.
    pub nodes: Vec<Node>,
    /// What the caller gives, constants left out.
    pub inputs: Vec<ValueId>,
    /// What the caller gets.
    pub outputs: Vec<ValueId>,
}
