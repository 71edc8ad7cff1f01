use crate::advice::advice;
use crate::data_file_error::DataFileError;
use crate::{ElementType, TensorType};

/// Why a model cannot be read, or a graph is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The file is truncated or is not an ONNX file.
    #[error(
        "this is not an ONNX file, or it is truncated ({detail}); download or export the model again"
    )]
    NotOnnx {
        /// The decoder's error.
        detail: String,
    },
    /// A protobuf file without a graph.
    #[error(
        "this file holds no ONNX graph; give the .onnx model itself, not a checkpoint or tensor file"
    )]
    NoGraph,
    /// A size exceeds a limit of the reader.
    #[error(
        "{what} is too large: {size} where the limit is {limit}; raise the limit in ReadOptions if the model is trusted"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// The size, saturated.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Loops and recurrent layers unroll to more nodes than a limit of the reader.
    #[error(
        "node `{node}`: the loops and recurrent layers of the model unroll to more than {limit} nodes; export the network for a shorter sequence, or for one step, with the state as inputs and outputs"
    )]
    UnrolledTooLarge {
        /// The node that exceeds the limit.
        node: String,
        /// The limit.
        limit: usize,
    },
    /// An opset outside the supported range.
    #[error(
        "the model uses ONNX opset {found}; supported are {} to {}; export it again with opset_version=17",
        crate::OPSETS.start(),
        crate::OPSETS.end()
    )]
    UnsupportedOpset {
        /// The model's opset.
        found: i64,
    },
    /// The model does not declare its opset.
    #[error("the model does not declare its ONNX opset; export it again")]
    MissingOpset,
    /// An operator that is not supported.
    #[error(
        "{} the operator {operator} (domain {domain}, opset {opset}), which is not supported; {}",
        users(nodes),
        advice(operator, domain)
    )]
    UnsupportedOperator {
        /// The names of all nodes with the operator.
        nodes: Vec<String>,
        /// ONNX's operator name.
        operator: String,
        /// The operator's domain.
        domain: String,
        /// The opset that the model imports for that domain; 0 if none.
        opset: i64,
    },
    /// Several nodes are not supported or not valid.
    #[error("{} problems: {}", problems.len(), joined(problems))]
    Several {
        /// One for each unsupported operator, and one for each node with another problem.
        problems: Vec<GraphError>,
    },
    /// Another ONNX feature that is not supported.
    #[error("`{name}` {feature}, which is not supported")]
    UnsupportedFeature {
        /// The name of the node or value.
        name: String,
        /// The feature.
        feature: &'static str,
    },
    /// An element type that is not supported.
    #[error(
        "`{name}` has elements of type {found}; supported are float32, int64, int32, uint8, int8 and bool; export the model as float32"
    )]
    UnsupportedElementType {
        /// The value's name.
        name: String,
        /// ONNX's name for the type.
        found: String,
    },
    /// The data of a tensor cannot be read from its file.
    #[error("the tensor `{name}`: {reason}")]
    DataFile {
        /// The tensor's name.
        name: String,
        /// What is wrong with the file.
        reason: DataFileError,
    },
    /// Tensor data in a separate file, where none may be read.
    #[error(
        "the tensor `{name}` keeps its data in another file; save the model as one file (onnx.save_model with save_as_external_data=False, or torch.onnx.export with external_data=False)"
    )]
    ExternalData {
        /// The tensor's name.
        name: String,
    },
    /// The length of a tensor's data does not match its shape, or the shape has a negative size.
    #[error("the tensor `{name}` has shape {shape:?}, but {found} elements")]
    WrongTensorSize {
        /// The tensor's name.
        name: String,
        /// The declared shape.
        shape: Vec<i64>,
        /// Number of elements in the data.
        found: usize,
    },
    /// A weight is NaN or infinite.
    #[error(
        "the tensor `{name}` holds {value} at element {index}; the training has diverged or the file is damaged"
    )]
    NotFinite {
        /// The tensor's name.
        name: String,
        /// Row-major index.
        index: usize,
        /// The element's value.
        value: f32,
    },
    /// An element is outside the range of its type.
    #[error("the tensor `{name}` holds {value} at element {index}, more than its type can")]
    OutOfRange {
        /// The tensor's name.
        name: String,
        /// Row-major index.
        index: usize,
        /// The element's value.
        value: i32,
    },
    /// The size of an axis other than the batch axis is not fixed.
    #[error(
        "axis {axis} of the input `{input}` is left open ({symbol}); only the first axis, the batch, may be; export the model with fixed sizes"
    )]
    SymbolicAxis {
        /// The input's name.
        input: String,
        /// The axis, from 0.
        axis: usize,
        /// The axis's symbolic name.
        symbol: String,
    },
    /// An input without a declared type and shape.
    #[error(
        "the input `{input}` has no declared type and shape; export the model with fixed sizes"
    )]
    MissingShape {
        /// The input's name.
        input: String,
    },
    /// Two values with the same name.
    #[error("the name `{name}` is given to two values; each must have its own")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A value without a name.
    #[error("{place} has an empty name")]
    EmptyName {
        /// The kind of value.
        place: &'static str,
    },
    /// A node or output refers to a value that does not exist.
    #[error("{reader} reads `{name}`, which nothing in the graph computes")]
    UnknownValue {
        /// A node, or the list of outputs.
        reader: String,
        /// The value's name.
        name: String,
    },
    /// The nodes form a cycle.
    #[error("the graph has a cycle through node `{node}`")]
    Cycle {
        /// A node on the cycle, or a node that depends on the cycle.
        node: String,
    },
    /// A graph without outputs.
    #[error("the graph has no outputs")]
    NoOutputs,
    /// The declared and the inferred type of an output differ.
    #[error("the output `{name}` is declared as {declared}, but the graph makes {inferred}")]
    WrongOutput {
        /// The output's name.
        name: String,
        /// The type in the file.
        declared: String,
        /// The type inferred from the nodes.
        inferred: TensorType,
    },
    /// A tensor is bound to an input that the model does not have, or that has another type.
    #[error("cannot bind the input `{name}`: {problem}")]
    WrongBinding {
        /// The input's name.
        name: String,
        /// The reason.
        problem: &'static str,
    },
    /// A node is invalid.
    #[error("node `{node}` ({operator}): {reason}")]
    InNode {
        /// The node's name.
        node: String,
        /// ONNX's operator name.
        operator: String,
        /// The node's error.
        reason: OpError,
    },
    /// A graph that was built in memory breaks a rule of [`Graph`](crate::Graph).
    #[error("the graph is invalid: {problem} (`{name}`)")]
    Unsound {
        /// The rule that is broken.
        problem: &'static str,
        /// The value or node.
        name: String,
    },
}

/// The nodes that use an operator, for a message.
fn users(nodes: &[String]) -> String {
    match nodes {
        [node] => format!("node `{node}` uses"),
        nodes => format!("nodes `{}` use", nodes.join("`, `")),
    }
}

fn joined(problems: &[GraphError]) -> String {
    let numbered = (problems.iter().enumerate()).map(|(i, e)| format!("({}) {e}", i + 1));
    numbered.collect::<Vec<_>>().join("; ")
}

/// The error of a single node.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The number of inputs is wrong.
    #[error("it has {found} inputs where {expected} are expected")]
    InputCount {
        /// The required number.
        expected: &'static str,
        /// The actual number.
        found: usize,
    },
    /// The number of outputs is wrong.
    #[error("it has {found} outputs where {expected} are expected")]
    OutputCount {
        /// The required number.
        expected: &'static str,
        /// The actual number.
        found: usize,
    },
    /// An input has a type that the operator does not support.
    #[error("its input {input} is {found}, expected is {expected}")]
    ElementType {
        /// The input.
        input: &'static str,
        /// Its type.
        found: ElementType,
        /// The required type.
        expected: &'static str,
    },
    /// Inputs that must have the same type have different types.
    #[error("its inputs differ in type: {first} and {second}")]
    MixedTypes {
        /// The first input's type.
        first: ElementType,
        /// The differing type.
        second: ElementType,
    },
    /// The layer is not of one or two dimensions, or, for Conv and pooling, three.
    #[error(
        "it is {axes}-D (its input has shape {shape:?}); only 1-D and 2-D, over an input (N, C, L) or (N, C, H, W), and 3-D Conv, MaxPool and AveragePool are supported"
    )]
    NotTwoDimensional {
        /// Number of axes besides batch and channels.
        axes: usize,
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// An input has an invalid shape.
    #[error("its input {input} has shape {found:?}, expected is {expected}")]
    Shape {
        /// The input.
        input: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The required shape.
        expected: String,
    },
    /// Two shapes that do not fit together.
    #[error("the shapes {first:?} and {second:?} do not fit together")]
    Incompatible {
        /// The first shape.
        first: Vec<usize>,
        /// The second shape.
        second: Vec<usize>,
    },
    /// An axis outside the tensor's rank.
    #[error("axis {axis} does not exist in shape {shape:?}")]
    Axis {
        /// The axis as given.
        axis: i64,
        /// The shape.
        shape: Vec<usize>,
    },
    /// An index outside a list.
    #[error("index {index} does not exist in a list of {length}")]
    Index {
        /// The index as given.
        index: i64,
        /// Number of elements in the list.
        length: usize,
    },
    /// An axis is named twice.
    #[error("axis {axis} is named twice")]
    RepeatedAxis {
        /// The axis.
        axis: usize,
    },
    /// The window is larger than the padded input.
    #[error(
        "its window of {kernel} does not fit into {size} elements (axis {axis}, pads included)"
    )]
    WindowTooLarge {
        /// The axis of the input.
        axis: usize,
        /// Extent of the window, including dilation.
        kernel: usize,
        /// Size of the axis, including padding.
        size: usize,
    },
    /// A pooling window would cover only padding.
    #[error("its pads {pads:?} are not smaller than its window {kernel:?}")]
    PadsTooLarge {
        /// Top, left, bottom, right.
        pads: [usize; 4],
        /// kH, kW.
        kernel: [usize; 2],
    },
    /// A required attribute is missing.
    #[error("its attribute {attribute} is missing")]
    MissingAttribute {
        /// The attribute.
        attribute: &'static str,
    },
    /// An attribute has an invalid value.
    #[error("its attribute {attribute} is {found}, expected is {expected}")]
    Attribute {
        /// The attribute.
        attribute: &'static str,
        /// The actual value.
        found: String,
        /// The required value.
        expected: &'static str,
    },
    /// An attribute that the operator does not have.
    #[error("the attribute {attribute} is not known for this operator and opset")]
    UnknownAttribute {
        /// The attribute.
        attribute: String,
    },
    /// An attribute is given twice.
    #[error("the attribute {attribute} is given twice")]
    RepeatedAttribute {
        /// The attribute.
        attribute: String,
    },
    /// An input that must be constant is computed at run time.
    #[error(
        "its input {input} (`{value}`) is computed while the network runs; only a constant is supported there: make it a constant of the network, and export with fixed sizes"
    )]
    NotConstant {
        /// The input.
        input: &'static str,
        /// The name of the value.
        value: String,
    },
    /// A required input is missing.
    #[error("its input {input} is missing")]
    MissingInput {
        /// The input.
        input: &'static str,
    },
    /// A constant input has an invalid value.
    #[error("its input {input} is {found}, expected is {expected}")]
    ConstantInput {
        /// The input.
        input: &'static str,
        /// The actual value.
        found: String,
        /// The required value.
        expected: &'static str,
    },
    /// The output has more elements than can be addressed.
    #[error("its output would have shape {shape:?}, more than memory can hold")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A recurrent layer unrolls to more nodes than the reader's limit.
    #[error("it unrolls to more nodes than the limit; export it for a shorter sequence")]
    UnrolledTooLarge,
    /// A declared output shape differs from the inferred shape.
    #[error("its output is declared as {declared:?}, but its inputs make {inferred:?}")]
    WrongOutput {
        /// The declared shape.
        declared: Vec<usize>,
        /// The inferred shape.
        inferred: Vec<usize>,
    },
    /// A variant of the operator that is not supported.
    #[error("{feature} is not supported")]
    Unsupported {
        /// The variant.
        feature: &'static str,
    },
}
