//! Finds the parts of a QDQ graph (QuantizeLinear and DequantizeLinear) that can be computed in
//! integers.
//!
//! Before lowering, the graph is rewritten. A DequantizeLinear moves behind operators that only
//! move or select elements. A DequantizeLinear that is followed by a QuantizeLinear of the same
//! scale is removed together with it. A DequantizeLinear of a constant becomes a float constant,
//! and its integers are recorded. Lowering then finds layers whose input and weights are both
//! integers ([`Integers::layer`]). Everything else is computed in float.

use std::collections::BTreeMap;

use pilotage_graph::{
    ElementType, Graph, Node, Op, PadMode, Tensor, TensorData, TensorSizeError, Value, ValueId,
};

use super::Weights;

/// The largest product of two 8-bit integers.
const LARGEST_PRODUCT: i64 = 128 * 128;
/// Relative tolerance within which a bias scale equals input scale times weight scale.
const SAME_SCALE: f64 = 1e-5;

/// The integers behind float values. All zero points are 0.
#[derive(Debug, Default)]
pub(super) struct Integers {
    /// Constants that were dequantized.
    constants: BTreeMap<ValueId, Stored>,
    /// Values that are computed by dequantizing another value with a single scale.
    activations: BTreeMap<ValueId, Quantized>,
}

/// The integers of a constant.
#[derive(Debug)]
struct Stored {
    integers: Tensor,
    scales: Vec<f32>,
    axis: usize,
}

/// The integers of an activation.
#[derive(Debug, Clone, Copy)]
struct Quantized {
    value: ValueId,
    scale: f32,
    /// The values of the scale and the zero point.
    parameters: [ValueId; 2],
}

/// A layer with integer weights.
#[derive(Debug)]
pub(super) struct Layer<'a> {
    /// The integers of the layer's input, and their scale. `None` if the input is float.
    pub(super) input: Option<(ValueId, f32)>,
    /// i8 weights in the model's order.
    pub(super) weights: &'a [i8],
    /// The weight scales, one for each unit.
    pub(super) scales: Vec<f32>,
    /// The bias with the scale input scale times weight scale. `None` if there is no bias or the
    /// input is float.
    pub(super) bias: Option<Vec<i32>>,
}

/// Rewrites the graph and records its integers.
pub(super) fn prepare(graph: &Graph, weights: Weights) -> (Graph, Integers) {
    let mut graph = graph.clone();
    let mut found = Integers::default();
    let mut same: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        for input in &mut node.inputs {
            *input = same.get(input).copied().unwrap_or(*input);
        }
        match node.op {
            Op::DequantizeLinear { axis } => {
                found.dequantize(&mut graph, &node, axis);
            }
            _ if weights == Weights::Dequantized => {}
            Op::QuantizeLinear { .. } => {
                let output = node.outputs[0];
                if let Some(integers) = found.undone(&graph, &node)
                    && !graph.outputs.contains(&output)
                {
                    same.insert(output, integers);
                    continue;
                }
            }
            _ => {
                if let Some(moved) = found.moved(&mut graph, &node) {
                    nodes.extend(moved);
                    continue;
                }
            }
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
    (graph, found)
}

impl Integers {
    /// Records a DequantizeLinear. A dequantized constant becomes a float constant.
    fn dequantize(&mut self, graph: &mut Graph, node: &Node, axis: usize) {
        let &[x, scale, ref zero @ ..] = &node.inputs[..] else {
            return;
        };
        let Some(scales) = graph
            .value(scale)
            .constant
            .as_ref()
            .and_then(Tensor::as_f32)
        else {
            return;
        };
        let scales = scales.to_vec();
        let zero_points = match zero.first() {
            None => Some(vec![0]),
            Some(&zero) => graph.value(zero).constant.as_ref().and_then(whole),
        };
        let Some(zero_points) = zero_points else {
            return;
        };
        let symmetric = zero_points.iter().all(|&zero| zero == 0);
        let output = node.outputs[0];
        if let Some(integers) = &graph.value(x).constant {
            let Ok(Some(floats)) = floats(integers, &scales, &zero_points, axis) else {
                return;
            };
            if symmetric {
                let stored = Stored {
                    integers: integers.clone(),
                    scales,
                    axis,
                };
                self.constants.insert(output, stored);
            }
            graph.values[output.0].constant = Some(floats);
        } else if let ([scale], true) = (&scales[..], symmetric)
            && graph.value(x).element_type == ElementType::I8
            && let &[_, scale_value, zero] = &node.inputs[..]
        {
            let quantized = Quantized {
                value: x,
                scale: *scale,
                parameters: [scale_value, zero],
            };
            self.activations.insert(output, quantized);
        }
    }

    /// The integers that a QuantizeLinear would restore unchanged.
    fn undone(&self, graph: &Graph, node: &Node) -> Option<ValueId> {
        let &[x, scale, zero] = &node.inputs[..] else {
            return None;
        };
        let quantized = self.activations.get(&x)?;
        let scale = graph.value(scale).constant.as_ref()?.as_f32()?;
        let zero = whole(graph.value(zero).constant.as_ref()?)?;
        let same = scale == [quantized.scale] && zero == [0];
        let to_i8 = graph.value(node.outputs[0]).element_type == ElementType::I8;
        (same && to_i8).then_some(quantized.value)
    }

    /// Moves a node that only moves or selects elements before the DequantizeLinear of its
    /// inputs. Returns the node on integers, and a DequantizeLinear for each of its outputs.
    fn moved(&mut self, graph: &mut Graph, node: &Node) -> Option<Vec<Node>> {
        if !moves(&node.op) {
            return None;
        }
        let quantized = node.inputs.iter().map(|x| self.activations.get(x).copied());
        let quantized: Vec<Quantized> = quantized.collect::<Option<_>>()?;
        let first = *quantized.first()?;
        if quantized.iter().any(|other| other.scale != first.scale) {
            return None;
        }
        let op = in_integers(&node.op, first.scale)?;
        let mut integers = Vec::with_capacity(node.outputs.len());
        let mut dequantize = Vec::with_capacity(node.outputs.len());
        for &output in &node.outputs {
            let like = graph.value(output);
            let mut name = format!("{} as int8", like.name);
            while graph.values.iter().any(|value| value.name == name) {
                name.push('\'');
            }
            let value = Value {
                name,
                element_type: ElementType::I8,
                shape: like.shape.clone(),
                constant: None,
            };
            graph.values.push(value);
            let value = ValueId(graph.values.len() - 1);
            integers.push(value);
            let [scale, zero] = first.parameters;
            dequantize.push(Node {
                name: node.name.clone(),
                op: Op::DequantizeLinear { axis: 0 },
                inputs: vec![value, scale, zero],
                outputs: vec![output],
            });
            self.activations
                .insert(output, Quantized { value, ..first });
        }
        let mut nodes = vec![Node {
            name: node.name.clone(),
            op,
            inputs: quantized.iter().map(|q| q.value).collect(),
            outputs: integers,
        }];
        nodes.append(&mut dequantize);
        Some(nodes)
    }

    /// The layer that multiplies `input` with `weights`, whose units are along `axis`. `None` if
    /// the weights are not 8-bit integers or the sums could overflow.
    pub(super) fn layer<'a>(
        &'a self,
        graph: &Graph,
        (input, weights, bias): (ValueId, ValueId, Option<ValueId>),
        axis: usize,
    ) -> Option<Layer<'a>> {
        let stored = self.constants.get(&weights)?;
        let TensorData::I8(integers) = stored.integers.data() else {
            return None;
        };
        let units = *stored.integers.shape().get(axis)?;
        let scales = match &stored.scales[..] {
            &[scale] => vec![scale; units],
            scales if stored.axis == axis => scales.to_vec(),
            _ => return None,
        };
        let depth = integers.len().checked_div(units)?;
        let mut layer = Layer {
            input: None,
            weights: integers,
            scales,
            bias: None,
        };
        let mut most = i64::try_from(depth).ok()?.checked_mul(LARGEST_PRODUCT)?;
        if let Some(input) = self.activations.get(&input) {
            layer.input = Some((input.value, input.scale));
            if let Some(bias) = bias {
                let bias = self.bias(graph, bias, input.scale, &layer.scales)?;
                let largest = bias.iter().map(|b| i64::from(b.unsigned_abs())).max();
                most += largest.unwrap_or(0);
                layer.bias = Some(bias);
            }
        }
        (most <= i64::from(i32::MAX)).then_some(layer)
    }

    /// The bias with the scale `input` times each of `scales`.
    fn bias(&self, graph: &Graph, bias: ValueId, input: f32, scales: &[f32]) -> Option<Vec<i32>> {
        let unit = |scale: f32| f64::from(input) * f64::from(scale);
        if let Some(stored) = self.constants.get(&bias)
            && let TensorData::I32(integers) = stored.integers.data()
            && integers.len() == scales.len()
        {
            let near = |(&scale, &of): (&f32, &f32)| {
                (f64::from(of) - unit(scale)).abs() <= unit(scale) * SAME_SCALE
            };
            let same = match &stored.scales[..] {
                &[one] => scales.iter().all(|scale| near((scale, &one))),
                each => each.len() == scales.len() && scales.iter().zip(each).all(near),
            };
            if same {
                return Some(integers.clone());
            }
        }
        let floats = graph.value(bias).constant.as_ref()?.as_f32()?;
        if floats.len() != scales.len() {
            return None;
        }
        let rounded = floats.iter().zip(scales).map(|(&bias, &scale)| {
            let quantized = (f64::from(bias) / unit(scale)).round_ties_even();
            (quantized.abs() <= f64::from(i32::MAX)).then_some(quantized as i32)
        });
        rounded.collect()
    }
}

/// The operator on integers of this scale. `None` if it pads with a value that is none of them.
fn in_integers(op: &Op, scale: f32) -> Option<Op> {
    let mut op = op.clone();
    if let Op::Pad(pad) = &mut op
        && let PadMode::Constant(value) = &mut pad.mode
    {
        *value /= scale;
        let is_integer = (-128.0..=127.0).contains(value) && value.fract() == 0.0;
        return is_integer.then_some(op);
    }
    Some(op)
}

/// Whether an operator's outputs consist only of elements of its inputs, or of one constant.
fn moves(op: &Op) -> bool {
    match op {
        Op::Pad(_) | Op::MaxPool(_) => true,
        _ => op.moves_elements(),
    }
}

/// The elements of a constant of 8-bit or 32-bit integers.
fn whole(tensor: &Tensor) -> Option<Vec<i32>> {
    Some(match tensor.data() {
        TensorData::I8(data) => data.iter().map(|&x| x.into()).collect(),
        TensorData::U8(data) => data.iter().map(|&x| x.into()).collect(),
        TensorData::I32(data) => data.clone(),
        _ => return None,
    })
}

/// (x - zero point) * scale, as in the engine's Dequantize.
fn floats(
    integers: &Tensor,
    scales: &[f32],
    zero_points: &[i32],
    axis: usize,
) -> Result<Option<Tensor>, TensorSizeError> {
    let Some(data) = whole(integers) else {
        return Ok(None);
    };
    let shape = integers.shape();
    let inner: usize = match scales.len() {
        1 => data.len(),
        count if shape.get(axis) == Some(&count) => shape[axis + 1..].iter().product(),
        _ => return Ok(None),
    };
    let of = |at: usize, count: usize| at / inner.max(1) % count;
    let floats = data.iter().enumerate().map(|(at, &x)| {
        let zero = i64::from(zero_points[of(at, zero_points.len())]);
        (i64::from(x) - zero) as f32 * scales[of(at, scales.len())]
    });
    let floats: Vec<f32> = floats.collect();
    Tensor::new(shape.to_vec(), floats).map(Some)
}

#[cfg(test)]
mod tests;
