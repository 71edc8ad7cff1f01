//! The quantization error of each layer.

use std::collections::BTreeMap;
use std::fmt;

use pilotage_graph::{Graph, Node, Op, ValueId};

use crate::calibrate::Range;
use crate::network::{Network, NetworkError};
use crate::progress::Run;

/// The quantization error of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerReport {
    /// The node's name in the model.
    pub name: String,
    /// Its operator.
    pub operator: &'static str,
    /// Signal-to-quantization-noise ratio of the layer's output in dB. All earlier layers are
    /// quantized too.
    pub signal_to_noise: f64,
    /// The largest magnitude of the output in calibration, if the output is quantized with a
    /// calibrated range.
    pub largest: Option<f32>,
    /// The largest magnitude that the quantized range covers.
    pub limit: Option<f32>,
    /// The share of the output that is clipped.
    pub clipped: Option<f64>,
    /// The largest weight range of a unit, divided by the smallest.
    pub weight_spread: f32,
}

/// Reports on every layer. `quantized` was made from `float` with `ranges`.
///
/// # Errors
/// If one of the graphs cannot be run on the frames.
pub fn layer_reports(
    float: &Graph,
    quantized: &Graph,
    ranges: &BTreeMap<ValueId, &Range>,
    channels_last: bool,
    frames: &[&[u8]],
    run: Run<'_>,
) -> Result<Vec<LayerReport>, NetworkError> {
    let is_layer = |node: &&Node| {
        matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul) && node.outputs.len() == 1
    };
    let find = |graph: &Graph, name: &str| {
        let mut nodes = graph.nodes.iter().filter(is_layer);
        nodes.find(|n| n.name == name).map(|n| n.outputs[0])
    };
    let layers = float.nodes.iter().filter(is_layer);
    let layers: Vec<(&Node, ValueId)> = layers
        .filter_map(|node| Some((node, find(quantized, &node.name)?)))
        .collect();
    let tap = |graph: &Graph, values: Vec<ValueId>| {
        let mut tapped = graph.clone();
        tapped.outputs = values;
        Network::new(&tapped, channels_last)
    };
    let exact = tap(float, layers.iter().map(|(n, _)| n.outputs[0]).collect())?;
    let rounded = tap(quantized, layers.iter().map(|&(_, v)| v).collect())?;
    let powers = exact.compare(&rounded, frames, run, powers)?;
    // Frame by frame, so that the sums do not depend on the order in which the frames were run.
    let mut sums = vec![[0.0_f64; 2]; layers.len()];
    for frame in &powers {
        for (sums, powers) in sums.iter_mut().zip(frame) {
            for (sum, power) in sums.iter_mut().zip(powers) {
                *sum += power;
            }
        }
    }
    let reports = layers.iter().zip(sums).map(|((node, _), [signal, noise])| {
        let range = kept(float, node, ranges);
        LayerReport {
            name: node.name.clone(),
            operator: node.op.name(),
            signal_to_noise: 10.0 * libm::log10(signal / noise.max(f64::MIN_POSITIVE)),
            largest: range.map(|range| range.histogram.limit),
            limit: range.map(|range| range.limit),
            clipped: range.map(|range| range.histogram.clipped(range.limit)),
            weight_spread: weight_spread(float, node),
        }
    });
    Ok(reports.collect())
}

/// The sums of the squares of a layer's exact outputs, and of their differences from the rounded
/// ones.
fn powers(exact: &[f32], rounded: &[f32]) -> [f64; 2] {
    const LANES: usize = 4;
    let mut sums = [[0.0_f64; LANES]; 2];
    for (exact, rounded) in exact.chunks(LANES).zip(rounded.chunks(LANES)) {
        for (lane, (&x, &y)) in exact.iter().zip(rounded).enumerate() {
            let (x, y) = (f64::from(x), f64::from(y));
            sums[0][lane] += x * x;
            sums[1][lane] += (x - y) * (x - y);
        }
    }
    sums.map(|lanes| lanes.iter().sum())
}

/// The range of a layer's output. If the output has none, the range after the Relu or Clip nodes
/// that alone read it.
fn kept<'r>(
    graph: &Graph,
    node: &Node,
    ranges: &BTreeMap<ValueId, &'r Range>,
) -> Option<&'r Range> {
    let mut value = node.outputs[0];
    loop {
        if let Some(range) = ranges.get(&value) {
            return Some(range);
        }
        let mut readers = graph.nodes.iter().filter(|n| n.inputs.contains(&value));
        let reader = readers.next()?;
        match reader.op {
            Op::Relu | Op::Clip { .. } if readers.next().is_none() => value = reader.outputs[0],
            _ => return None,
        }
    }
}

fn weight_spread(graph: &Graph, node: &Node) -> f32 {
    let value = node.inputs.get(1).map(|&v| graph.value(v));
    let Some(weights) = value.and_then(|v| v.constant.as_ref()) else {
        return 1.0;
    };
    let axis = crate::quantize::unit_axis(&node.op);
    let (Some(data), Some(&units)) = (weights.as_f32(), weights.shape().get(axis)) else {
        return 1.0;
    };
    let inner: usize = weights.shape()[axis + 1..].iter().product();
    let mut largest = vec![0.0_f32; units];
    for (at, weight) in data.iter().enumerate() {
        let largest = &mut largest[at / inner.max(1) % units];
        *largest = largest.max(weight.abs());
    }
    let most = largest.iter().copied().fold(0.0, f32::max);
    let least = largest.iter().copied().filter(|&x| x > 0.0);
    let least = least.fold(f32::INFINITY, f32::min);
    if least.is_finite() { most / least } else { 1.0 }
}

/// Formats layer reports as a table with one line for each layer.
pub struct LayerTable<'a>(pub &'a [LayerReport]);

impl fmt::Display for LayerTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.0.iter().map(|layer| layer.name.len()).max();
        let width = longest.unwrap_or(0).clamp(5, 40);
        writeln!(
            f,
            "{:width$} {:8} {:>8} {:>9} {:>9} {:>9} {:>8}",
            "layer", "operator", "SQNR dB", "largest", "kept", "cut off", "spread"
        )?;
        for layer in self.0 {
            write!(
                f,
                "{:width$} {:8} {:8.1}",
                layer.name, layer.operator, layer.signal_to_noise
            )?;
            match (layer.largest, layer.limit, layer.clipped) {
                (Some(largest), Some(limit), Some(clipped)) => {
                    write!(f, " {largest:9.3} {limit:9.3} {:8.4}%", clipped * 100.0)?
                }
                // A scale that was trained, not calibrated.
                (_, Some(limit), _) => write!(f, " {:>9} {limit:9.3} {:>9}", "-", "-")?,
                _ => write!(f, " {:>9} {:>9} {:>9}", "-", "float", "-")?,
            }
            writeln!(f, " {:8.1}", layer.weight_spread)?;
        }
        Ok(())
    }
}
