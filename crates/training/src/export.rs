//! Writes the trained network as ONNX, and reads it.

use pilotage_graph::{
    Conv, ElementType, Gemm, Graph, GraphBuilder, GraphError, Op, ReadOptions, Tensor,
    TensorSizeError, TensorType, ValueId,
};
use pilotage_vision::Layout;

use crate::architecture::Architecture;
use crate::network::{EPSILON, SPANS, Statistics, TRAINED, Weights};
use crate::planes::{order, planes};

/// Why a network cannot be written as ONNX or read from it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The graph could not be built or read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A tensor does not have the expected shape.
    #[error(transparent)]
    Size(#[from] TensorSizeError),
    /// The model is a different network.
    #[error(
        "this is not the network trained here: `{0}` is missing or has another shape; only \
         models written by `imitate` can be trained further or evaluated"
    )]
    OtherNetwork(String),
}

fn layer_name(shape: &Architecture, layer: usize) -> String {
    match layer.checked_sub(shape.convolutions.len()) {
        None => format!("conv{}", layer + 1),
        Some(linear) => format!("fc{}", linear + 1),
    }
}

/// The network as an ONNX model: input `image`, float32 1x3x66x200, RGB, 0 to 1;
/// output `controls`, float32 1x2, normalised speed and yaw rate.
///
/// # Errors
/// Never for weights of this network's size.
pub fn to_onnx(weights: &Weights) -> Result<Vec<u8>, ExportError> {
    let shape = Architecture::of_the_simulator();
    let graph = graph(&shape, &weights.statistics, &weights.values, Layout::Nchw)?;
    Ok(graph.write())
}

/// The network as a graph: input `image`, float32, one picture in `layout`, before the
/// normalisation by `statistics` if the network has one; output `controls`, float32, 1 x outputs.
///
/// # Errors
/// When `weights` is not of the network's size.
pub fn graph(
    shape: &Architecture,
    statistics: &Statistics,
    weights: &[f32],
    layout: Layout,
) -> Result<Graph, ExportError> {
    graph_with(shape, statistics, weights, layout, None)
}

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

/// As [`graph`]. With a `throttle`, the network has one number, and the graph answers with the
/// steering, -1 to 1, and the throttle.
///
/// # Errors
/// As [`graph`].
pub fn graph_with(
    shape: &Architecture,
    statistics: &Statistics,
    weights: &[f32],
    layout: Layout,
    throttle: Option<ThrottleBySteering>,
) -> Result<Graph, ExportError> {
    let mut graph = GraphBuilder::new(shape.name);
    let [height, width, channels] = shape.input;
    let axes = match layout {
        Layout::Nchw => [1, channels, height, width],
        Layout::Nhwc => [1, height, width, channels],
    };
    let mut value = graph.input("image", TensorType::new(ElementType::F32, axes))?;
    if layout == Layout::Nhwc {
        let perm = vec![0, 3, 1, 2];
        value = graph.node("planes", Op::Transpose { perm }, &[value])?;
    }
    if shape.normalised {
        value = normalisation(&mut graph, value, statistics, channels)?;
    }
    for layer in 0..shape.layers() {
        if layer == shape.convolutions.len() {
            value = graph.node("flatten", Op::Flatten { axis: 1 }, &[value])?;
        }
        value = add_layer(&mut graph, shape, weights, layer, value)?;
        if layer + 1 < shape.layers() {
            let name = format!("{}.relu", layer_name(shape, layer));
            value = graph.node(name, Op::Relu, &[value])?;
        }
    }
    if let Some(throttle) = throttle {
        value = add_throttle(&mut graph, value, throttle)?;
    }
    graph.output("controls", value)?;
    Ok(graph.finish()?)
}

fn normalisation(
    graph: &mut GraphBuilder,
    value: ValueId,
    statistics: &Statistics,
    channels: usize,
) -> Result<ValueId, ExportError> {
    let Statistics { mean, variance } = statistics;
    let mut norm = vec![value];
    for (name, numbers) in [
        ("scale", &[1.0; 3]),
        ("shift", &[0.0; 3]),
        ("mean", mean),
        ("variance", variance),
    ] {
        let tensor = Tensor::new([channels], numbers[..channels].to_vec())?;
        norm.push(graph.constant(format!("norm.{name}"), tensor)?);
    }
    let op = Op::BatchNormalization { epsilon: EPSILON };
    Ok(graph.node("norm", op, &norm)?)
}

/// Steering and throttle of the network's number, by a hidden layer of four: the parts of the steering
/// above 0, below 0, above 1 and below -1.
fn add_throttle(
    graph: &mut GraphBuilder,
    value: ValueId,
    throttle: ThrottleBySteering,
) -> Result<ValueId, ExportError> {
    let ThrottleBySteering {
        scale,
        offset,
        straight,
        full,
    } = throttle;
    let signs = [1.0, -1.0, 1.0, -1.0];
    let bias = [0.0, 0.0, -1.0, -1.0];
    let bias: Vec<f32> = signs
        .iter()
        .zip(bias)
        .map(|(s, b)| s * offset + b)
        .collect();
    let parts = Tensor::new([4, 1], signs.map(|sign| sign * scale).to_vec())?;
    let change = full - straight;
    // |steering|, of which the parts beyond full steering are taken back.
    let rows = [1.0, -1.0, 0.0, 0.0, change, change, -change, -change];
    let rows = Tensor::new([2, 4], rows.to_vec())?;
    let bias = Tensor::new([4], bias)?;
    let value = add_gemm(graph, "steering.parts", value, [parts, bias])?;
    let value = graph.node("steering.parts.relu", Op::Relu, &[value])?;
    let bias = Tensor::new([2], vec![0.0, straight])?;
    add_gemm(graph, "throttle", value, [rows, bias])
}

fn add_gemm(
    graph: &mut GraphBuilder,
    name: &str,
    value: ValueId,
    [matrix, bias]: [Tensor; 2],
) -> Result<ValueId, ExportError> {
    let matrix = graph.constant(format!("{name}.weight"), matrix)?;
    let bias = graph.constant(format!("{name}.bias"), bias)?;
    let op = Op::Gemm(Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
    });
    Ok(graph.node(name, op, &[value, matrix, bias])?)
}

fn add_layer(
    graph: &mut GraphBuilder,
    network: &Architecture,
    weights: &[f32],
    layer: usize,
    value: ValueId,
) -> Result<ValueId, ExportError> {
    let span = network.spans[layer];
    let name = layer_name(network, layer);
    let (shape, op) = match network.convolutions.get(layer) {
        Some(convolution) => {
            let kernel = [convolution.kernel; 2];
            let conv = Conv {
                kernel,
                strides: [convolution.stride; 2],
                pads: [0; 4],
                dilations: [1, 1],
                groups: 1,
            };
            let shape = vec![span.outputs, convolution.input[2], kernel[0], kernel[1]];
            (shape, Op::Conv(conv))
        }
        None => {
            let gemm = Gemm {
                alpha: 1.0,
                beta: 1.0,
                transpose_a: false,
                transpose_b: true,
            };
            (vec![span.outputs, span.inputs], Op::Gemm(gemm))
        }
    };
    let matrix = Tensor::new(shape, planes(network, weights, layer))?;
    let matrix = graph.constant(format!("{name}.weight"), matrix)?;
    let bias = Tensor::new([span.outputs], weights[span.bias()..span.end()].to_vec())?;
    let bias = graph.constant(format!("{name}.bias"), bias)?;
    Ok(graph.node(name, op, &[value, matrix, bias])?)
}

/// Reads the weights from a model that [`to_onnx`] wrote.
///
/// # Errors
/// When `bytes` are not ONNX, or are a different network.
pub fn from_onnx(bytes: &[u8]) -> Result<Weights, ExportError> {
    let graph = Graph::read(bytes, &ReadOptions::default())?;
    let numbers = |name: &str, count: usize| {
        let value = graph.values.iter().find(|value| value.name == name);
        let tensor = value.and_then(|value| value.constant.as_ref());
        let numbers = tensor.and_then(Tensor::as_f32);
        let numbers = numbers.filter(|numbers| numbers.len() == count);
        numbers.ok_or_else(|| ExportError::OtherNetwork(name.to_owned()))
    };
    let three = |name: &str| {
        let numbers = numbers(name, 3)?;
        Ok::<_, ExportError>([numbers[0], numbers[1], numbers[2]])
    };
    let statistics = Statistics {
        mean: three("norm.mean")?,
        variance: three("norm.variance")?,
    };
    let shape = Architecture::of_the_simulator();
    let mut values = vec![0.0; TRAINED];
    for (layer, span) in SPANS.iter().enumerate() {
        let name = layer_name(&shape, layer);
        let matrix = numbers(&format!("{name}.weight"), span.inputs * span.outputs)?;
        for (&number, place) in matrix.iter().zip(order(&shape, layer)) {
            values[span.start + place] = number;
        }
        let bias = numbers(&format!("{name}.bias"), span.outputs)?;
        values[span.bias()..span.end()].copy_from_slice(bias);
    }
    Ok(Weights { statistics, values })
}
