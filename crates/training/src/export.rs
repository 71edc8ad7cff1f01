//! Makes the graphs that are written as ONNX.

use pilotage_graph::{Gemm, Graph, GraphError, Node, Op, Tensor, TensorSizeError, ValueId};

/// Why a network cannot be written as ONNX.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The graph could not be built.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor does not have the expected shape.
    #[error(transparent)]
    Size(#[from] TensorSizeError),
    /// The throttle cannot be computed from this output.
    #[error(
        "the output `{name}` is {found:?}, and a throttle that follows the steering needs one of \
         [1, 1]; use throttle = {{ constant = 0.15 }}"
    )]
    Output {
        /// The output.
        name: String,
        /// Its shape.
        found: Vec<usize>,
    },
}

/// A fully connected layer: x times the transposed weights, plus the bias.
pub(crate) const FULLY_CONNECTED: Gemm = Gemm {
    alpha: 1.0,
    beta: 1.0,
    transpose_a: false,
    transpose_b: true,
};

/// A throttle that is computed from the steering.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThrottleBySteering {
    /// The steering is `scale * x + offset` of the network's number x.
    pub scale: f32,
    /// See `scale`.
    pub offset: f32,
    /// The throttle straight ahead.
    pub straight: f32,
    /// The throttle at full steering, -1 or 1, and beyond.
    pub full: f32,
}

/// Replaces the output of the given index, the network's one number, by the steering, -1 to 1, and
/// the throttle. The output keeps its name.
///
/// Both are computed by a hidden layer of four: the parts of the steering above 0, below 0, above 1
/// and below -1.
///
/// # Errors
/// If the output does not have the shape 1 x 1.
pub fn add_throttle(
    graph: &mut Graph,
    output: usize,
    throttle: ThrottleBySteering,
) -> Result<(), ExportError> {
    let number = graph.outputs[output];
    let value = graph.value(number);
    if value.shape != [1, 1] {
        return Err(ExportError::Output {
            name: value.name.clone(),
            found: value.shape.clone(),
        });
    }
    let name = value.name.clone();
    graph.values[number.0].name = graph.unused_name(&format!("{name}.number"));
    let ThrottleBySteering {
        scale,
        offset,
        straight,
        full,
    } = throttle;
    let signs = [1.0, -1.0, 1.0, -1.0];
    let beyond = [0.0, 0.0, -1.0, -1.0];
    let bias: [f32; 4] = std::array::from_fn(|part| signs[part] * offset + beyond[part]);
    let weights = Tensor::new([4, 1], signs.map(|sign| sign * scale).to_vec())?;
    let parts = add_gemm(
        graph,
        "steering.parts",
        number,
        [weights, Tensor::new([4], bias.to_vec())?],
    );
    let of = graph.value(parts).tensor_type();
    let positive = graph.add_value("steering.parts.relu", of, None);
    graph.nodes.push(Node {
        name: "steering.parts.relu".to_owned(),
        op: Op::Relu,
        inputs: vec![parts],
        outputs: vec![positive],
    });
    let change = full - straight;
    // |steering|, of which the parts beyond full steering are taken back.
    let rows = [1.0, -1.0, 0.0, 0.0, change, change, -change, -change];
    let rows = Tensor::new([2, 4], rows.to_vec())?;
    let bias = Tensor::new([2], vec![0.0, straight])?;
    let controls = add_gemm(graph, "throttle", positive, [rows, bias]);
    graph.values[controls.0].name = name;
    graph.outputs[output] = controls;
    Ok(graph.check()?)
}

/// Adds a fully connected layer, and returns its output.
fn add_gemm(
    graph: &mut Graph,
    name: &str,
    value: ValueId,
    [weights, bias]: [Tensor; 2],
) -> ValueId {
    let mut of = graph.value(value).tensor_type();
    of.shape = vec![1, bias.shape()[0]];
    let weights = graph.add_value(
        &format!("{name}.weight"),
        weights.tensor_type(),
        Some(weights),
    );
    let bias = graph.add_value(&format!("{name}.bias"), bias.tensor_type(), Some(bias));
    let output = graph.add_value(name, of, None);
    graph.nodes.push(Node {
        name: name.to_owned(),
        op: Op::Gemm(FULLY_CONNECTED),
        inputs: vec![value, weights, bias],
        outputs: vec![output],
    });
    output
}
