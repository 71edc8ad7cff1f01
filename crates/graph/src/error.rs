use crate::{ElementType, TensorType};

/// Why a model cannot be read, or a graph is not sound.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes end early or are something else.
    #[error(
        "this is not an ONNX file, or it is truncated ({detail}); download or export the model again"
    )]
    NotOnnx {
        /// What the decoder met.
        detail: String,
    },
    /// A protobuf file, but with no graph in it.
    #[error(
        "this file holds no ONNX graph; give the .onnx model itself, not a checkpoint or tensor file"
    )]
    NoGraph,
    /// More than the reader was allowed to take.
    #[error(
        "{what} is too large: {size} where the limit is {limit}; raise the limit in ReadOptions if the model is trusted"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, saturated.
        size: usize,
        /// The limit in force.
        limit: usize,
    },
    /// An opset outside the range.
    #[error(
        "the model uses ONNX opset {found}; supported are {} to {}; export it again with opset_version=17",
        crate::OPSETS.start(),
        crate::OPSETS.end()
    )]
    UnsupportedOpset {
        /// The model's opset.
        found: i64,
    },
    /// The model does not say which opset it uses.
    #[error("the model does not say which ONNX opset it uses; export it again")]
    MissingOpset,
    /// An operator outside the list.
    #[error(
        "node `{node}` uses the operator {operator} (domain {domain}, opset {opset}), which is not supported; supported are {}",
        crate::SUPPORTED_OPERATORS.join(", ")
    )]
    UnsupportedOperator {
        /// The node's name.
        node: String,
        /// ONNX's operator name.
        operator: String,
        /// The operator's domain.
        domain: String,
        /// The opset the model imports for that domain, 0 if none.
        opset: i64,
    },
    /// Something else of ONNX that is outside what is supported.
    #[error("`{name}` {feature}, which is not supported")]
    UnsupportedFeature {
        /// Where it stands.
        name: String,
        /// What it does.
        feature: &'static str,
    },
    /// An element type outside the list.
    #[error(
        "`{name}` has elements of type {found}; supported are float32, int64, int32, uint8, int8 and bool; export the model as float32"
    )]
    UnsupportedElementType {
        /// The value's name.
        name: String,
        /// ONNX's name of the type.
        found: String,
    },
    /// Weights in other files.
    #[error(
        "the tensor `{name}` keeps its data in another file; save the model as one file (onnx.save_model with save_as_external_data=False, or torch.onnx.export with external_data=False)"
    )]
    ExternalData {
        /// The tensor's name.
        name: String,
    },
    /// A tensor whose data is not as long as its shape says, or a negative size.
    #[error("the tensor `{name}` says shape {shape:?}, but holds {found} elements")]
    WrongTensorSize {
        /// The tensor's name.
        name: String,
        /// The shape it claims.
        shape: Vec<i64>,
        /// Elements found.
        found: usize,
    },
    /// NaN or infinity where a weight should be.
    #[error(
        "the tensor `{name}` holds {value} at element {index}; the training has diverged or the file is damaged"
    )]
    NotFinite {
        /// The tensor's name.
        name: String,
        /// Row-major index.
        index: usize,
        /// What stands there.
        value: f32,
    },
    /// An element that its type cannot hold.
    #[error("the tensor `{name}` holds {value} at element {index}, more than its type can")]
    OutOfRange {
        /// The tensor's name.
        name: String,
        /// Row-major index.
        index: usize,
        /// What stands there.
        value: i32,
    },
    /// A size left open that is not the batch.
    #[error(
        "axis {axis} of the input `{input}` is left open ({symbol}); only the first axis, the batch, may be; export the model with fixed sizes"
    )]
    SymbolicAxis {
        /// The input's name.
        input: String,
        /// The axis, from 0.
        axis: usize,
        /// Its symbol.
        symbol: String,
    },
    /// An input that does not say what it is.
    #[error(
        "the input `{input}` does not say its type and shape; export the model with fixed sizes"
    )]
    MissingShape {
        /// The input's name.
        input: String,
    },
    /// Two things with the same name.
    #[error("the name `{name}` is given to two values; each must have its own")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A value without a name.
    #[error("{place} has an empty name")]
    EmptyName {
        /// Where.
        place: &'static str,
    },
    /// Something reads a value that nothing makes.
    #[error("{reader} reads `{name}`, which nothing in the graph makes")]
    UnknownValue {
        /// A node or the list of outputs.
        reader: String,
        /// The value's name.
        name: String,
    },
    /// Nodes that wait for each other.
    #[error("the graph has a cycle through node `{node}`")]
    Cycle {
        /// A node on the cycle, or behind it.
        node: String,
    },
    /// A graph that gives nothing.
    #[error("the graph has no outputs")]
    NoOutputs,
    /// Declared and inferred type disagree.
    #[error("the output `{name}` is declared as {declared}, but the graph makes {inferred}")]
    WrongOutput {
        /// The output's name.
        name: String,
        /// What the file says.
        declared: String,
        /// What follows from the nodes.
        inferred: TensorType,
    },
    /// A tensor given for an input that the model does not have, or of another type.
    #[error("cannot bind the input `{name}`: {problem}")]
    WrongBinding {
        /// The input's name.
        name: String,
        /// Why.
        problem: &'static str,
    },
    /// A node that cannot be.
    #[error("node `{node}` ({operator}): {source}")]
    InNode {
        /// The node's name.
        node: String,
        /// ONNX's operator name.
        operator: String,
        /// What is wrong with it.
        source: OpError,
    },
    /// A graph built in memory breaks one of its own rules.
    #[error("the graph is not sound: {problem} (`{name}`)")]
    Unsound {
        /// The rule.
        problem: &'static str,
        /// The value or node.
        name: String,
    },
}

/// What is wrong with one node.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// Too few or too many inputs.
    #[error("it has {found} inputs where {expected} are expected")]
    InputCount {
        /// How many it needs.
        expected: &'static str,
        /// How many it has.
        found: usize,
    },
    /// Too few or too many outputs.
    #[error("it has {found} outputs where {expected} are expected")]
    OutputCount {
        /// How many it makes.
        expected: &'static str,
        /// How many it has.
        found: usize,
    },
    /// An input of a type that the operator does not take.
    #[error("its input {input} is {found}, expected is {expected}")]
    ElementType {
        /// The input.
        input: &'static str,
        /// Its type.
        found: ElementType,
        /// The type it should have.
        expected: &'static str,
    },
    /// Inputs that must be of one type are of two.
    #[error("its inputs differ in type: {first} and {second}")]
    MixedTypes {
        /// The first input's type.
        first: ElementType,
        /// The other's.
        second: ElementType,
    },
    /// Convolution or pooling that is not two-dimensional.
    #[error(
        "it is {axes}-D (its input has shape {shape:?}); only 2-D, over an input (N, C, H, W), is supported"
    )]
    NotTwoDimensional {
        /// Axes besides batch and channels.
        axes: usize,
        /// The input's shape.
        shape: Vec<usize>,
    },
    /// An input's shape cannot be.
    #[error("its input {input} has shape {found:?}, expected is {expected}")]
    Shape {
        /// The input.
        input: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What it should be.
        expected: String,
    },
    /// Shapes that cannot be brought together.
    #[error("the shapes {first:?} and {second:?} do not fit together")]
    Incompatible {
        /// The first shape.
        first: Vec<usize>,
        /// The second.
        second: Vec<usize>,
    },
    /// An axis outside the rank.
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
        /// Elements of the list.
        length: usize,
    },
    /// An axis named twice.
    #[error("axis {axis} is named twice")]
    RepeatedAxis {
        /// The axis.
        axis: usize,
    },
    /// The window is larger than what it slides over.
    #[error(
        "its window of {kernel} does not fit into {size} elements (axis {axis}, pads included)"
    )]
    WindowTooLarge {
        /// The axis of the input.
        axis: usize,
        /// Extent of the window, dilation included.
        kernel: usize,
        /// Size of the axis with its pads.
        size: usize,
    },
    /// Pooling where a window would see nothing but padding.
    #[error("its pads {pads:?} are not smaller than its window {kernel:?}")]
    PadsTooLarge {
        /// Top, left, bottom, right.
        pads: [usize; 4],
        /// kH, kW.
        kernel: [usize; 2],
    },
    /// An attribute that has to be there.
    #[error("its attribute {attribute} is missing")]
    MissingAttribute {
        /// The attribute.
        attribute: &'static str,
    },
    /// An attribute with a value that cannot be.
    #[error("its attribute {attribute} is {found}, expected is {expected}")]
    Attribute {
        /// The attribute.
        attribute: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An attribute that this operator does not have.
    #[error("the attribute {attribute} is not known for this operator and opset")]
    UnknownAttribute {
        /// The attribute.
        attribute: String,
    },
    /// An attribute given twice.
    #[error("the attribute {attribute} is given twice")]
    RepeatedAttribute {
        /// The attribute.
        attribute: String,
    },
    /// An input whose value must be known when the model is read.
    #[error(
        "its input {input} (`{value}`) is computed while the network runs; only a constant is supported there"
    )]
    NotConstant {
        /// The input.
        input: &'static str,
        /// Name of the value.
        value: String,
    },
    /// An input that has to be there.
    #[error("its input {input} is missing")]
    MissingInput {
        /// The input.
        input: &'static str,
    },
    /// A constant input with a value that cannot be.
    #[error("its input {input} is {found}, expected is {expected}")]
    ConstantInput {
        /// The input.
        input: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// More elements than an address can count.
    #[error("its output would have shape {shape:?}, more than memory can hold")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// A declared output shape that does not follow from the inputs.
    #[error("its output is declared as {declared:?}, but its inputs make {inferred:?}")]
    WrongOutput {
        /// The shape that was given.
        declared: Vec<usize>,
        /// The shape that follows.
        inferred: Vec<usize>,
    },
    /// A form of the operator that is left out on purpose.
    #[error("{feature} is not supported")]
    Unsupported {
        /// The form.
        feature: &'static str,
    },
}
