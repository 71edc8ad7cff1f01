//! Cross-layer equalization: Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization
//! Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.1.
//!
//! If there is only ReLU, LeakyReLU, max pooling or an operator that keeps the channels apart (Identity,
//! Flatten, some Reshape) between two layers, a channel may
//! be divided by any positive number if the weights that read it are multiplied by the same
//! number. The factors are chosen so that the weights of both layers have the same range per
//! channel. This reduces the error if all channels share one scale.

use std::collections::BTreeMap;

use pilotage_graph::{Graph, Node, Op, Tensor, ValueId};

/// The weights of a layer, and its bias.
struct Layer {
    node: usize,
    /// Number of units, number of input channels, and elements of one channel in the weights.
    shape: [usize; 3],
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// Maximum number of different weights of a unit in a clustered layer.
const CLUSTERS: usize = 16;
/// Layers with fewer weights are not looked at.
const LEAST_CLUSTERED: usize = 1024;

/// Whether a layer's weights are clustered: each unit has at most 16 different ones.
/// Equalization would multiply them by different factors, and they could no longer be stored as
/// indices into a codebook.
pub(crate) fn is_clustered(graph: &Graph) -> bool {
    let layers = (0..graph.nodes.len()).filter_map(|node| Layer::of(graph, node));
    layers.into_iter().any(|layer| {
        let row = layer.shape[1] * layer.shape[2];
        layer.weights.len() >= LEAST_CLUSTERED
            && row > CLUSTERS
            && layer.weights.chunks(row).all(has_few_values)
    })
}

fn has_few_values(weights: &[f32]) -> bool {
    let mut values = Vec::with_capacity(CLUSTERS);
    weights.iter().all(|weight| {
        let known = values.contains(&weight.to_bits());
        if !known {
            values.push(weight.to_bits());
        }
        values.len() <= CLUSTERS
    })
}

impl Layer {
    fn of(graph: &Graph, node: usize) -> Option<Self> {
        let made = &graph.nodes[node];
        let constant = |index: usize| -> Option<&Tensor> {
            let value = graph.value(*made.inputs.get(index)?);
            value.constant.as_ref()
        };
        let weights = constant(1)?;
        let shape = match (&made.op, weights.shape()) {
            (Op::Conv(conv), &[units, channels, rows, columns]) if conv.groups == 1 => {
                [units, channels, rows * columns]
            }
            (Op::Gemm(gemm), &[units, depth])
                if gemm.transpose_b
                    && !gemm.transpose_a
                    && gemm.alpha == 1.0
                    && gemm.beta == 1.0 =>
            {
                [units, depth, 1]
            }
            _ => return None,
        };
        let bias = match made.inputs.get(2) {
            None => None,
            Some(_) => {
                let bias = constant(2)?;
                if bias.shape() != [shape[0]] {
                    return None;
                }
                Some(bias.as_f32()?.to_vec())
            }
        };
        Some(Self {
            node,
            shape,
            weights: weights.as_f32()?.to_vec(),
            bias,
        })
    }

    /// The largest weight of each unit.
    fn ranges_out(&self) -> Vec<f32> {
        let row = self.shape[1] * self.shape[2];
        let largest = |row: &[f32]| row.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        self.weights.chunks(row.max(1)).map(largest).collect()
    }

    /// The largest weight that reads each of `channels`. A channel may be several consecutive
    /// inputs (a flattened image).
    fn ranges_in(&self, channels: usize) -> Vec<f32> {
        let mut ranges = vec![0.0_f32; channels];
        for (at, weight) in self.weights.iter().enumerate() {
            let range = &mut ranges[self.channel(at, channels)];
            *range = range.max(weight.abs());
        }
        ranges
    }

    /// The channel that the weight at `at` reads.
    fn channel(&self, at: usize, channels: usize) -> usize {
        let input = at / self.shape[2] % self.shape[1];
        input / (self.shape[1] / channels)
    }

    fn store(self, graph: &mut Graph) -> Option<()> {
        let inputs = graph.nodes[self.node].inputs.clone();
        let set = |graph: &mut Graph, value: ValueId, data: Vec<f32>| {
            let shape = graph.value(value).shape.clone();
            graph.values[value.0].constant = Some(Tensor::new(shape, data).ok()?);
            Some(())
        };
        set(graph, inputs[1], self.weights)?;
        if let Some(bias) = self.bias {
            set(graph, inputs[2], bias)?;
        }
        Some(())
    }
}

/// The same function with equalized weights, and the number of layer pairs that were changed.
pub fn equalize(graph: &Graph) -> (Graph, usize) {
    let mut graph = graph.clone();
    let mut pairs = 0;
    for first in 0..graph.nodes.len() {
        if let Some(second) = next_layer(&graph, first)
            && equalize_pair(&mut graph, first, second).is_some()
        {
            pairs += 1;
        }
    }
    (graph, pairs)
}

/// The only layer that reads the output of layer `first`, if all nodes between them preserve
/// positive factors.
fn next_layer(graph: &Graph, first: usize) -> Option<usize> {
    let mut readers: BTreeMap<ValueId, Vec<usize>> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for &input in &node.inputs {
            readers.entry(input).or_default().push(index);
        }
    }
    Layer::of(graph, first)?;
    let mut at = first;
    loop {
        let output = *graph.nodes[at].outputs.first()?;
        if graph.outputs.contains(&output) {
            return None;
        }
        let &[reader] = &readers.get(&output)?[..] else {
            return None;
        };
        let node: &Node = &graph.nodes[reader];
        match &node.op {
            Op::Conv(_) | Op::Gemm(_) if node.inputs[0] == output => return Some(reader),
            Op::Relu | Op::LeakyRelu { .. } | Op::Identity | Op::MaxPool(_) => at = reader,
            // Flattening keeps the elements of a channel together, in the order in which the next
            // layer reads them.
            Op::Flatten { axis: 1 } => at = reader,
            Op::Reshape if keeps_channels(graph, node) => at = reader,
            _ => return None,
        }
    }
}

/// Whether a reshape takes 1, C, H, W to 1, C * H * W.
fn keeps_channels(graph: &Graph, node: &Node) -> bool {
    let from = &graph.value(node.inputs[0]).shape;
    let to = &graph.value(node.outputs[0]).shape;
    to.len() == 2 && from.first() == to.first() && from.first() == Some(&1)
}

fn equalize_pair(graph: &mut Graph, first: usize, second: usize) -> Option<()> {
    let mut first = Layer::of(graph, first)?;
    let mut second = Layer::of(graph, second)?;
    // Weights that several nodes share cannot be scaled for only one of them.
    let shared = |node: usize| {
        let constants = &graph.nodes[node].inputs[1..];
        let reads = |v: &ValueId| {
            let all = graph.nodes.iter().flat_map(|n| &n.inputs);
            all.filter(|&other| other == v).count()
        };
        constants.iter().any(|v| reads(v) > 1)
    };
    let channels = first.shape[0];
    if shared(first.node) || shared(second.node) || channels == 0 {
        return None;
    }
    if second.shape[1] % channels != 0 {
        return None;
    }
    let (out, into) = (first.ranges_out(), second.ranges_in(channels));
    let factors: Vec<f32> = (out.iter().zip(&into))
        .map(|(&out, &into)| {
            let factor = (f64::from(out) / f64::from(into)).sqrt() as f32;
            // A channel whose weights are zero on either side is not changed.
            match (out * into).is_normal() && factor.is_normal() {
                true => factor,
                false => 1.0,
            }
        })
        .collect();
    let row = first.shape[1] * first.shape[2];
    for (at, weight) in first.weights.iter_mut().enumerate() {
        *weight /= factors[at / row];
    }
    if let Some(bias) = &mut first.bias {
        for (bias, factor) in bias.iter_mut().zip(&factors) {
            *bias /= factor;
        }
    }
    for at in 0..second.weights.len() {
        second.weights[at] *= factors[second.channel(at, channels)];
    }
    first.store(graph)?;
    second.store(graph)
}

#[cfg(test)]
mod tests;
