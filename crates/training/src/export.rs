//! Writes the trained network as ONNX, and reads it.

use pilotage_graph::{
    Conv, ElementType, Gemm, Graph, GraphBuilder, GraphError, Op, ReadOptions, Tensor,
    TensorSizeError, TensorType,
};

use crate::network::{CONVOLUTIONS, EPSILON, HEIGHT, SPANS, Statistics, TRAINED, WIDTH, Weights};
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

fn layer_name(layer: usize) -> String {
    match layer.checked_sub(CONVOLUTIONS.len()) {
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
    let mut graph = GraphBuilder::new("pilotnet");
    let image = TensorType::new(ElementType::F32, [1, 3, HEIGHT, WIDTH]);
    let mut value = graph.input("image", image)?;
    let mut norm = vec![value];
    let Statistics { mean, variance } = weights.statistics;
    for (name, numbers) in [
        ("scale", [1.0; 3]),
        ("shift", [0.0; 3]),
        ("mean", mean),
        ("variance", variance),
    ] {
        let tensor = Tensor::new([3], numbers.to_vec())?;
        norm.push(graph.constant(format!("norm.{name}"), tensor)?);
    }
    let op = Op::BatchNormalization { epsilon: EPSILON };
    value = graph.node("norm", op, &norm)?;
    for (layer, span) in SPANS.iter().enumerate() {
        let name = layer_name(layer);
        let matrix = planes(weights, layer);
        let (shape, op) = match CONVOLUTIONS.get(layer) {
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
                if layer == CONVOLUTIONS.len() {
                    value = graph.node("flatten", Op::Flatten { axis: 1 }, &[value])?;
                }
                let gemm = Gemm {
                    alpha: 1.0,
                    beta: 1.0,
                    transpose_a: false,
                    transpose_b: true,
                };
                (vec![span.outputs, span.inputs], Op::Gemm(gemm))
            }
        };
        let matrix = graph.constant(format!("{name}.weight"), Tensor::new(shape, matrix)?)?;
        let bias = Tensor::new([span.outputs], weights.bias(layer).to_vec())?;
        let bias = graph.constant(format!("{name}.bias"), bias)?;
        value = graph.node(name.as_str(), op, &[value, matrix, bias])?;
        if layer + 1 < SPANS.len() {
            value = graph.node(format!("{name}.relu"), Op::Relu, &[value])?;
        }
    }
    graph.output("controls", value)?;
    Ok(graph.finish()?.write())
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
    let mut values = vec![0.0; TRAINED];
    for (layer, span) in SPANS.iter().enumerate() {
        let name = layer_name(layer);
        let matrix = numbers(&format!("{name}.weight"), span.inputs * span.outputs)?;
        for (&number, place) in matrix.iter().zip(order(layer)) {
            values[span.start + place] = number;
        }
        let bias = numbers(&format!("{name}.bias"), span.outputs)?;
        values[span.bias()..span.end()].copy_from_slice(bias);
    }
    Ok(Weights { statistics, values })
}
