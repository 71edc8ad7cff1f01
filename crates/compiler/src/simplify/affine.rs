//! Folds scale and shift per channel into the weights of adjacent layers.

use pilotage_graph::{Graph, Node, Op, ValueId};

use super::linear::CANONICAL;
use super::rewrite::{Readers, add_constant, floats, makers, repeat};
use crate::affine::{Affine, from_batch_normalization};

/// The scale and shift along axis 1 that a node computes, and the value that it reads. `None` if
/// the node computes anything else.
pub(super) fn affine_of(graph: &Graph, node: &Node) -> Option<(ValueId, Affine)> {
    let affine = match node.op {
        Op::BatchNormalization { epsilon } => {
            let [x, scale, bias, mean, variance] = node.inputs[..] else {
                return None;
            };
            let affine = from_batch_normalization(
                floats(graph, scale)?,
                floats(graph, bias)?,
                floats(graph, mean)?,
                floats(graph, variance)?,
                epsilon,
            );
            (x, affine)
        }
        Op::Add | Op::Sub | Op::Mul | Op::Div => {
            let [a, b] = node.inputs[..] else {
                return None;
            };
            let constant_first = graph.value(a).constant.is_some();
            let (x, c) = if constant_first { (b, a) } else { (a, b) };
            if graph.value(x).constant.is_some() {
                return None;
            }
            let c = per_channel(graph, x, c)?;
            let (one, zero) = (vec![1.0; c.len()], vec![0.0; c.len()]);
            let each = |f: fn(f64) -> f64| c.iter().map(|&c| f(c)).collect();
            let (scale, shift) = match (&node.op, constant_first) {
                (Op::Add, _) => (one, c),
                (Op::Mul, _) => (c, zero),
                (Op::Sub, false) => (one, each(|c| -c)),
                (Op::Sub, true) => (vec![-1.0; c.len()], c),
                (Op::Div, false) => (each(|c| 1.0 / c), zero),
                _ => return None,
            };
            (x, Affine { scale, shift })
        }
        _ => return None,
    };
    let (x, affine) = affine;
    let same_shape = graph.value(x).shape == graph.value(node.outputs[0]).shape;
    let finite = |v: &[f64]| v.iter().all(|v| v.is_finite());
    (same_shape && finite(&affine.scale) && finite(&affine.shift)).then_some((x, affine))
}

/// A constant broadcast to `x`, if it varies only along axis 1.
fn per_channel(graph: &Graph, x: ValueId, c: ValueId) -> Option<Vec<f64>> {
    let (x, shape) = (&graph.value(x).shape, &graph.value(c).shape);
    let data = floats(graph, c)?;
    let channels = *x.get(1)?;
    let axis = (shape.len() + 1).checked_sub(x.len());
    let varies = |(i, &size): (usize, &usize)| size != 1 && Some(i) != axis;
    if shape.len() > x.len() || shape.iter().enumerate().any(varies) {
        return None;
    }
    match data.len() {
        1 => Some(vec![f64::from(data[0]); channels]),
        n if n == channels => Some(data.iter().map(|&c| f64::from(c)).collect()),
        _ => None,
    }
}

/// A layer with constant weights: Conv, or Gemm in canonical form.
pub(super) struct Layer {
    /// (M, C / groups, kernel) or (M, K).
    shape: Vec<usize>,
    weights: Vec<f32>,
    bias: Vec<f64>,
    groups: usize,
    has_pads: bool,
}

impl Layer {
    pub(super) fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let (groups, has_pads) = match &node.op {
            Op::Conv(conv) => (conv.groups, conv.pads != [0; 4]),
            Op::Gemm(gemm) if *gemm == CANONICAL => (1, false),
            _ => return None,
        };
        let weights = *node.inputs.get(1)?;
        let shape = graph.value(weights).shape.clone();
        let weights = floats(graph, weights)?.to_vec();
        let rows = *shape.first()?;
        let bias = match node.inputs.get(2) {
            Some(&bias) if graph.value(bias).shape == [rows] => {
                floats(graph, bias)?.iter().map(|&b| f64::from(b)).collect()
            }
            Some(_) => return None,
            None => vec![0.0; rows],
        };
        (!weights.is_empty() && groups > 0).then_some(Self {
            shape,
            weights,
            bias,
            groups,
            has_pads,
        })
    }

    fn row_len(&self) -> usize {
        self.weights.len() / self.shape[0]
    }

    /// Folds `affine` on the layer's output into the layer.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn then(&mut self, affine: &Affine) -> Option<()> {
        if affine.scale.len() != self.bias.len() {
            return None;
        }
        let row_len = self.row_len();
        for (row, (scale, (shift, bias))) in self.weights.chunks_exact_mut(row_len).zip(
            affine
                .scale
                .iter()
                .zip(affine.shift.iter().zip(&mut self.bias)),
        ) {
            row.iter_mut()
                .for_each(|w| *w = (f64::from(*w) * scale) as f32);
            *bias = *bias * scale + shift;
        }
        Some(())
    }

    /// Folds `affine` on the layer's input into the layer. Padding adds zeros after the shift, so
    /// a shift cannot be folded into a layer with padding.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn after(&mut self, affine: &Affine) -> Option<()> {
        let inner = *self.shape.get(1)?;
        let shifts = affine.shift.iter().any(|&shift| shift != 0.0);
        if affine.scale.len() != inner * self.groups || (self.has_pads && shifts) {
            return None;
        }
        let row_len = self.row_len();
        let (taps, rows) = (row_len / inner, self.shape[0] / self.groups);
        let rows_of_weights = self.weights.chunks_exact_mut(row_len);
        for (index, (row, bias)) in rows_of_weights.zip(&mut self.bias).enumerate() {
            let first = index / rows * inner;
            for (channel, taps) in row.chunks_exact_mut(taps).enumerate() {
                let (scale, shift) = (affine.scale[first + channel], affine.shift[first + channel]);
                for w in taps {
                    *bias += f64::from(*w) * shift;
                    *w = (f64::from(*w) * scale) as f32;
                }
            }
        }
        Some(())
    }

    /// Stores the weights and the bias in a node, and makes `x` the node's input.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn store(self, graph: &mut Graph, index: usize, x: ValueId) -> Option<()> {
        let node = &graph.nodes[index];
        let name = graph.value(node.inputs[1]).name.clone();
        let bias_name = match node.inputs.get(2) {
            Some(&bias) => graph.value(bias).name.clone(),
            None => format!("{name}.bias"),
        };
        let bias = self.bias.iter().map(|&b| b as f32).collect();
        let weights = add_constant(graph, &name, &self.shape, self.weights)?;
        let bias = add_constant(graph, &bias_name, &[self.shape[0]], bias)?;
        graph.nodes[index].inputs = vec![x, weights, bias];
        Some(())
    }
}

/// Folds every scale and shift directly before or after a layer into the layer.
pub(super) fn fold_into_weights(graph: &mut Graph) -> bool {
    repeat(graph, fold_one)
}

fn fold_one(graph: &mut Graph) -> Option<()> {
    let readers = Readers::of(graph);
    let makers = makers(graph);
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let Some((x, affine)) = affine_of(graph, node) else {
            continue;
        };
        let output = node.outputs[0];
        if let Some(layer) = makers[x.0]
            && readers.only(x) == Some(index)
            && into_layer_before(graph, layer, index, &affine).is_some()
        {
            return Some(());
        }
        if let Some(reader) = readers.only(output)
            && into_layer_after(graph, &readers, reader, x, output, &affine).is_some()
        {
            return Some(());
        }
    }
    None
}

fn into_layer_before(graph: &mut Graph, layer: usize, index: usize, affine: &Affine) -> Option<()> {
    let node = &graph.nodes[layer];
    let x = node.inputs[0];
    let mut folded = Layer::of(graph, node)?;
    folded.then(affine)?;
    folded.store(graph, layer, x)?;
    let output = graph.nodes.remove(index).outputs[0];
    graph.nodes[layer].outputs = vec![output];
    Some(())
}

fn into_layer_after(
    graph: &mut Graph,
    readers: &Readers,
    reader: usize,
    x: ValueId,
    output: ValueId,
    affine: &Affine,
) -> Option<()> {
    let node = &graph.nodes[reader];
    if let Some(mut folded) = Layer::of(graph, node) {
        if node.inputs[0] != output {
            return None;
        }
        folded.after(affine)?;
        return folded.store(graph, reader, x);
    }
    // Through a flattening: each channel becomes as many columns as it has pixels.
    if !matches!(node.op, Op::Flatten { .. } | Op::Reshape) {
        return None;
    }
    let flat = node.outputs[0];
    let shape = &graph.value(output).shape;
    let channels = affine.scale.len();
    let columns: usize = shape.iter().skip(1).product();
    if graph.value(flat).shape != [shape[0], columns] {
        return None;
    }
    let layer = readers.only(flat)?;
    let mut folded = Layer::of(graph, &graph.nodes[layer])?;
    if graph.nodes[layer].inputs[0] != flat {
        return None;
    }
    let spread = |values: &[f64]| -> Vec<f64> {
        let pixels = columns / channels.max(1);
        let each = values.iter().flat_map(|&v| std::iter::repeat_n(v, pixels));
        each.collect()
    };
    folded.after(&Affine {
        scale: spread(&affine.scale),
        shift: spread(&affine.shift),
    })?;
    folded.store(graph, layer, flat)?;
    graph.nodes[reader].inputs[0] = x;
    Some(())
}

/// Merges two consecutive scales and shifts into one batch norm.
pub(super) fn merge(graph: &mut Graph) -> bool {
    repeat(graph, merge_one)
}

fn merge_one(graph: &mut Graph) -> Option<()> {
    let readers = Readers::of(graph);
    let makers = makers(graph);
    for index in 0..graph.nodes.len() {
        let Some((between, second)) = affine_of(graph, &graph.nodes[index]) else {
            continue;
        };
        let Some(before) = makers[between.0] else {
            continue;
        };
        if readers.only(between) != Some(index) {
            continue;
        }
        let Some((x, first)) = affine_of(graph, &graph.nodes[before]) else {
            continue;
        };
        let (scale, shift) = first.then(&second).to_f32();
        let channels = scale.len();
        let name = graph.nodes[index].name.clone();
        let mut inputs = vec![x];
        for (what, data) in [
            ("scale", scale),
            ("shift", shift),
            ("mean", vec![0.0; channels]),
            ("variance", vec![1.0; channels]),
        ] {
            let name = format!("{name}.{what}");
            inputs.push(add_constant(graph, &name, &[channels], data)?);
        }
        let node = &mut graph.nodes[index];
        node.op = Op::BatchNormalization { epsilon: 0.0 };
        node.inputs = inputs;
        return Some(());
    }
    None
}
