//! Models that were quantized in training: their own scales are used, without calibration.

use std::collections::BTreeMap;

use pilotage_engine::{Gate, GateResult};
use pilotage_graph::{ElementType, Graph, Node, Op, Tensor, TensorData, ValueId, dequantized};

use super::quantized::{CPU_PLAN, QDQ_MODEL, Quantized, REPORT_FRAMES};
use super::samples::HeldBack;
use super::{CompileError, Model, ModelError, sections};
use crate::evaluate::evaluate;
use crate::lower::{PortLayout, Weights, lower_weights};
use crate::network::Network;
use crate::progress::{Run, Stage};
use crate::report::layer_reports;
use crate::simplify::simplify_quantized;

/// The values of a pixel.
const PIXELS: usize = 256;

/// The quantization that a model has.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Quantization {
    /// It is a float model.
    None,
    /// Its own scales are used: the graph, with an int8 input of pixels minus 128.
    Own(Box<Graph>),
    /// It is quantized in a form whose scales cannot be used, for this reason.
    Other(String),
}

/// Finds the quantization of `graph`, whose input is pixels minus 128.
///
/// Its own scales are used if all zero points are 0, all integers but biases have 8 bits with a
/// sign, and the first quantization restores the pixels: then the CPU engine computes the graph's
/// integers, and the QDQ model's arithmetic is what training computed.
pub(super) fn find(graph: &Graph, channels_last: bool) -> Quantization {
    let dequantizes = |node: &Node| matches!(node.op, Op::DequantizeLinear { .. });
    if !graph.nodes.iter().any(dequantizes) {
        return Quantization::None;
    }
    let graph = simplify_quantized(graph);
    let weights = |node: &&Node| {
        let integers = graph.value(node.inputs[0]);
        dequantizes(node) && integers.constant.is_some() && integers.shape.len() > 1
    };
    if !graph.nodes.iter().any(|node| weights(&node)) {
        return Quantization::Other("its weights are not quantized".to_owned());
    }
    if let Some(node) = graph.nodes.iter().find(|node| !is_symmetric(&graph, node)) {
        return Quantization::Other(format!(
            "`{}` is not symmetric int8 with constant scales and zero points of 0",
            node.name
        ));
    }
    match with_integer_input(graph, channels_last) {
        Some(graph) => Quantization::Own(Box::new(graph)),
        None => Quantization::Other(
            "its first QuantizeLinear does not restore the pixels minus 128 with a scale of 1"
                .to_owned(),
        ),
    }
}

/// Whether a QuantizeLinear or DequantizeLinear has 8 bits (or a bias's 32), a sign, and a zero
/// point of 0. True for other nodes.
fn is_symmetric(graph: &Graph, node: &Node) -> bool {
    let integers = match node.op {
        Op::QuantizeLinear { .. } => graph.value(node.outputs[0]).element_type,
        Op::DequantizeLinear { .. } => graph.value(node.inputs[0]).element_type,
        _ => return true,
    };
    let is_bias = || {
        graph.value(node.inputs[0]).constant.is_some()
            && graph.value(node.outputs[0]).shape.len() == 1
    };
    let constant = |index: usize| node.inputs.get(index).map(|&v| &graph.value(v).constant);
    let zero = match constant(2) {
        None => true,
        Some(Some(zero)) => match zero.data() {
            TensorData::I8(zeros) => zeros.iter().all(|&zero| zero == 0),
            TensorData::I32(zeros) => zeros.iter().all(|&zero| zero == 0),
            _ => false,
        },
        Some(None) => false,
    };
    let signed = integers == ElementType::I8 || (integers == ElementType::I32 && is_bias());
    signed && zero && constant(1).is_some_and(Option::is_some)
}

/// The graph with the integers of its first QuantizeLinear as its input, if those are the input's
/// own integers, the pixels minus 128, for every pixel.
fn with_integer_input(mut graph: Graph, channels_last: bool) -> Option<Graph> {
    let &input = graph.inputs.first()?;
    let mut chain: Vec<usize> = Vec::new();
    let mut value = input;
    loop {
        let mut readers =
            (0..graph.nodes.len()).filter(|&i| graph.nodes[i].inputs.contains(&value));
        let reader = readers.next()?;
        let node = &graph.nodes[reader];
        let constant = |&v: &ValueId| v == value || graph.value(v).constant.is_some();
        let alone = readers.next().is_none() && !graph.outputs.contains(&value);
        if !alone || !node.inputs.iter().all(constant) {
            return None;
        }
        chain.push(reader);
        value = *node.outputs.first()?;
        match node.op {
            Op::QuantizeLinear { .. } => break,
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Identity => {}
            Op::BatchNormalization { .. } => {}
            _ => return None,
        }
    }
    let last = &graph.nodes[*chain.last()?];
    let scale = graph.value(*last.inputs.get(1)?).constant.as_ref()?;
    if scale.as_f32()? != [1.0] || graph.value(value).shape != graph.value(input).shape {
        return None;
    }
    let mut alone = Graph {
        nodes: chain.iter().map(|&i| graph.nodes[i].clone()).collect(),
        inputs: vec![input],
        outputs: vec![value],
        ..graph.clone()
    };
    alone.prune();
    if !restores_pixels(&alone, channels_last) {
        return None;
    }
    graph.nodes.remove(chain.pop()?);
    // The port keeps the model's name.
    let name = std::mem::take(&mut graph.values[input.0].name);
    let other = graph.unused_name(&format!("{name} as float"));
    graph.values[input.0].name = other;
    graph.values[value.0].name = name;
    graph.inputs[0] = value;
    graph.prune();
    graph.check().ok()?;
    Some(graph)
}

/// Whether `graph` answers each pixel minus 128, in every channel, with the same integer.
fn restores_pixels(graph: &Graph, channels_last: bool) -> bool {
    let shape = graph.value(graph.inputs[0]).shape.clone();
    let elements: usize = shape.iter().product();
    let (channels, plane) = match (&shape[..], channels_last) {
        (&[1, height, width, channels], true) => (channels, height * width),
        (&[1, channels, height, width], false) => (channels, height * width),
        _ => return false,
    };
    (0..PIXELS.div_ceil(plane.max(1))).all(|round| {
        let centred = |element: usize| {
            let place = match channels_last {
                true => element / channels.max(1),
                false => element % plane.max(1),
            };
            ((place + round * plane) % PIXELS) as f32 - 128.0
        };
        let pixels: Vec<f32> = (0..elements).map(centred).collect();
        let Ok(input) = Tensor::new(shape.clone(), pixels.clone()) else {
            return false;
        };
        let answers = evaluate(graph, &[input]).unwrap_or_default();
        let answers = answers.first().and_then(Tensor::as_i8).unwrap_or_default();
        answers.len() == elements && (answers.iter().zip(&pixels)).all(|(&q, &p)| f32::from(q) == p)
    })
}

/// The largest magnitude of a layer's quantized output; `None` if the output is float.
fn limit(graph: &Graph, layer: &str) -> Option<f32> {
    let node = graph.nodes.iter().find(|node| node.name == layer)?;
    let mut value = *node.outputs.first()?;
    loop {
        let mut readers = graph
            .nodes
            .iter()
            .filter(|n| n.inputs.first() == Some(&value));
        let reader = readers.next()?;
        match reader.op {
            Op::QuantizeLinear { .. } => {
                let scale = graph.value(*reader.inputs.get(1)?).constant.as_ref()?;
                return scale.as_f32()?.first().map(|scale| 127.0 * scale);
            }
            Op::Relu | Op::Clip { .. } => value = *reader.outputs.first()?,
            _ => return None,
        }
    }
}

/// Compiles `graph`, whose input is an image of pixels minus 128 in int8, with its own scales.
pub(super) fn compiled(
    model: &Model,
    graph: &Graph,
    gate: &Gate,
    held_back: HeldBack<'_>,
    run: Run<'_>,
) -> Result<Quantized, CompileError> {
    let last = model.channels_last();
    let layout = PortLayout::of_images(last);
    let lowered = |graph: &Graph, weights| {
        lower_weights(graph, layout, weights).map_err(|reason| model.error(reason))
    };
    let measured = |form, plan| {
        let network = Network::of_plan(plan, last);
        model.results(gate, (held_back, run), form, &network, &[])
    };
    let plan = lowered(graph, Weights::AsTheyAre)?;
    let exported = sections::for_other_runtimes(graph.clone());
    let mut results = measured(CPU_PLAN, plan.clone())?;
    let literally = lowered(&exported, Weights::Dequantized)?;
    results.extend(measured(QDQ_MODEL, literally)?);
    if !results.iter().all(GateResult::passes) {
        return Err(model.error(ModelError::Gate {
            precision: model.recipe.precision.name(),
            results,
            layers: "not measured: the model has its own scales".to_owned(),
        }));
    }
    let float = dequantized(graph.clone()).map_err(|reason| model.error(reason))?;
    let frames = &held_back.samples[..held_back.samples.len().min(REPORT_FRAMES)];
    let observed = run.of(Stage::Layers);
    let reports = layer_reports(&float, graph, &BTreeMap::new(), last, frames, observed);
    let mut reports = reports.map_err(|reason| model.error(reason))?;
    for report in &mut reports {
        report.limit = limit(graph, &report.name);
    }
    let names = graph.outputs.iter().map(|&v| graph.value(v).name.clone());
    Ok(Quantized {
        plan,
        units: names.map(|name| (name, 1.0)).collect(),
        graph: exported,
        results,
        trials: Vec::new(),
        kept_in_float: Vec::new(),
        layers: reports,
        method: None,
    })
}
