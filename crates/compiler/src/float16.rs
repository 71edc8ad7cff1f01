//! Converts networks from float32 to float16.

use std::collections::{BTreeSet, HashMap};

use half::f16;
use pilotage_graph::{ElementType, Graph, Node, Op, PadMode, Tensor, TensorType, ValueId};

use crate::quantize::layers;

/// A number outside float16's range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "`{tensor}` has {number} in it, and float16 ends at 65504; keep its layer in fp32 ([layers] \
     \"NAME\" = \"fp32\"), or scale the model down"
)]
pub struct NarrowError {
    /// The name of the constant, of the activation or of the Pad node.
    pub tensor: String,
    /// The number.
    pub number: f32,
}

/// Converts the nodes that `selects` accepts to float16. Casts are inserted where float32 values
/// enter and leave, so that every type is explicit in the graph, as strongly typed runtimes
/// require. Inputs and outputs of the graph keep their types, and so do QuantizeLinear and
/// DequantizeLinear nodes.
///
/// # Errors
/// If a constant is too large for float16.
pub fn narrow(graph: &Graph, selects: impl Fn(&Node) -> bool) -> Result<Graph, NarrowError> {
    let mut narrowed = Graph {
        nodes: Vec::new(),
        ..graph.clone()
    };
    let is_float = |id: ValueId| graph.value(id).element_type == ElementType::F32;
    // The float16 copy of each value, once it exists.
    let mut halves: HashMap<ValueId, ValueId> = HashMap::new();
    let picked: Vec<bool> = graph
        .nodes
        .iter()
        .map(|node| {
            let quantizes = matches!(
                node.op,
                Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. }
            );
            !quantizes && node.outputs.iter().any(|&v| is_float(v)) && selects(node)
        })
        .collect();
    let outside = graph
        .nodes
        .iter()
        .zip(&picked)
        .filter(|(_, picked)| !**picked);
    let mut read_outside: BTreeSet<ValueId> =
        outside.flat_map(|(node, _)| node.inputs.clone()).collect();
    read_outside.extend(&graph.outputs);

    for (node, &picked) in graph.nodes.iter().zip(&picked) {
        let mut node = node.clone();
        if !picked {
            narrowed.nodes.push(node);
            continue;
        }
        for input in &mut node.inputs {
            if !is_float(*input) {
                continue;
            }
            let half = match halves.get(input) {
                Some(&half) => half,
                None => {
                    let half = twin(&mut narrowed, *input)?;
                    if narrowed.value(half).constant.is_none() {
                        cast(&mut narrowed, *input, half, ElementType::F16);
                    }
                    halves.insert(*input, half);
                    half
                }
            };
            *input = half;
        }
        if let Op::Cast {
            to: to @ ElementType::F32,
        } = &mut node.op
        {
            *to = ElementType::F16;
        }
        round_attributes(&mut node)?;
        let mut back = Vec::new();
        for output in &mut node.outputs {
            if !is_float(*output) {
                continue;
            }
            let half = twin(&mut narrowed, *output)?;
            halves.insert(*output, half);
            if read_outside.contains(output) {
                back.push((half, *output));
            }
            *output = half;
        }
        narrowed.nodes.push(node);
        for (half, float) in back {
            cast(&mut narrowed, half, float, ElementType::F32);
        }
    }
    narrowed.prune();
    Ok(narrowed)
}

/// The largest finite float16.
pub(crate) const LARGEST: f32 = 65_504.0;

/// Rounds limits and border values to float16, the type in which the node computes. A limit
/// beyond float16's range becomes infinite and has no effect.
fn round_attributes(node: &mut Node) -> Result<(), NarrowError> {
    let rounded = |number: f32| f16::from_f32(number).to_f32();
    match &mut node.op {
        Op::Clip { min, max } => (*min, *max) = (rounded(*min), rounded(*max)),
        Op::Pad(pad) => {
            if let PadMode::Constant(number) = &mut pad.mode {
                if number.is_finite() && rounded(*number).is_infinite() {
                    return Err(NarrowError {
                        tensor: node.name.clone(),
                        number: *number,
                    });
                }
                *number = rounded(*number);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Adds a float16 value with the shape, and the constant if any, of `id`.
fn twin(graph: &mut Graph, id: ValueId) -> Result<ValueId, NarrowError> {
    let value = graph.value(id);
    let halves = |floats: &[f32]| {
        let half = |&number: &f32| match f16::from_f32(number) {
            half if half.is_infinite() && number.is_finite() => Err(NarrowError {
                tensor: value.name.clone(),
                number,
            }),
            half => Ok(half),
        };
        floats.iter().map(half).collect::<Result<Vec<f16>, _>>()
    };
    let constant = match value.constant.as_ref().and_then(Tensor::as_f32) {
        Some(floats) => Tensor::new(value.shape.clone(), halves(floats)?).ok(),
        None => None,
    };
    let name = format!("{} float16", value.name);
    let tensor_type = TensorType::new(ElementType::F16, &*value.shape);
    Ok(graph.add_value(&name, tensor_type, constant))
}

fn cast(graph: &mut Graph, from: ValueId, to: ValueId, element_type: ElementType) {
    let name = format!("{} cast", graph.value(to).name);
    graph.nodes.push(Node {
        name,
        op: Op::Cast { to: element_type },
        inputs: vec![from],
        outputs: vec![to],
    });
}

/// The nodes of the layers `names`, and the nodes after each that have no other non-constant
/// input, up to the next layer or quantization. An activation is an example.
pub(crate) fn with_followers(graph: &Graph, names: &BTreeSet<String>) -> BTreeSet<String> {
    let layers: BTreeSet<String> = layers(graph).into_iter().collect();
    let mut all = names.clone();
    let mut made: BTreeSet<ValueId> = BTreeSet::new();
    for node in &graph.nodes {
        let quantizes = matches!(
            node.op,
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. }
        );
        let fed = |&&v: &&ValueId| graph.value(v).constant.is_none();
        let ends = quantizes || layers.contains(&node.name);
        let follows = !ends && node.inputs.iter().filter(fed).all(|v| made.contains(v));
        if all.contains(&node.name) || follows && node.inputs.iter().any(|v| made.contains(v)) {
            all.insert(node.name.clone());
            made.extend(&node.outputs);
        }
    }
    all
}

#[cfg(test)]
mod tests;
