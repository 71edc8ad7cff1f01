//! Layers with 8-bit weights.

use pilotage_engine::ElementType;
use pilotage_engine::plan::{Activation, ConstantData, ConstantId, Finish, Operand, Operation};
use pilotage_graph::{Node, ValueId};

use super::forms::{Form, Lowering};
use super::integers::Layer;
use super::{LowerError, Weights};

/// A layer's parts, stored and at hand.
pub(super) struct Stored {
    pub(super) inputs: Vec<Operand>,
    pub(super) weights: ConstantId,
    pub(super) bias: Option<ConstantId>,
    pub(super) multiplier: ConstantId,
    pub(super) finish: Finish,
}

/// How a node becomes a layer.
pub(super) struct Parts {
    pub(super) weights: ValueId,
    pub(super) bias: Option<ValueId>,
    /// The axis of the weights that their units lie along.
    pub(super) axis: usize,
    /// Multiplies each weight.
    pub(super) factor: f32,
}

/// The layer, where its weights are 8-bit integers and its input is too, or is
/// to be made so at run time.
pub(super) fn layer<'g>(l: &Lowering<'g>, input: ValueId, parts: &Parts) -> Option<Layer<'g>> {
    let (integers, graph) = (l.integers, l.graph);
    let layer = integers.layer(graph, (input, parts.weights, parts.bias), parts.axis)?;
    (layer.input.is_some() || l.weights == Weights::Dynamic).then_some(layer)
}

/// The form in which the layer's input is made.
pub(super) fn native(l: &Lowering<'_>, layer: &Layer<'_>, input: ValueId) -> Form {
    l.native(layer.input.map_or(input, |(integers, _)| integers))
}

/// Stores a layer whose weights were put in order and shape, and takes its input
/// in `form`. It ends in floats; what follows may change that.
pub(super) fn store(
    l: &mut Lowering<'_>,
    node: &Node,
    (layer, parts): (&Layer<'_>, &Parts),
    form: Form,
    (shape, weights): (Vec<usize>, Vec<i8>),
) -> Result<Stored, LowerError> {
    let weights = l.store(shape, ConstantData::I8(weights));
    let units = layer.scales.len();
    let activation = Activation::None;
    let factor = f64::from(parts.factor);
    let scales = |input: f64| -> Vec<f64> {
        let of = |&scale: &f32| input * f64::from(scale) * factor;
        layer.scales.iter().map(of).collect()
    };
    let (exact, inputs, bias, finish) = match layer.input {
        Some((integers, scale)) => {
            let bias = layer.bias.clone();
            let bias = bias.map(|bias| l.store(vec![units], ConstantData::I32(bias)));
            let inputs = vec![l.get(integers, form)];
            let finish = Finish::Float { activation };
            (scales(scale.into()), inputs, bias, finish)
        }
        None => {
            let input = node.inputs[0];
            let x = l.get(input, form);
            let (name, float) = (&node.name, ElementType::F32);
            let scale = l.step(name, Operation::DynamicScale, vec![x], vec![1], float);
            let shape = l.shape_in(input, form);
            let levels = vec![x, scale];
            let quantize = Operation::DynamicQuantize;
            let levels = l.step(name, quantize, levels, shape, ElementType::I8);
            let bias = match parts.bias {
                Some(value) => {
                    let bias = l.parameter(node, value, "bias")?.to_vec();
                    Some(l.store_f32(vec![units], bias))
                }
                None => None,
            };
            let finish = Finish::Dynamic { bias, activation };
            (scales(1.0), vec![levels, scale], None, finish)
        }
    };
    let rounded = exact.iter().map(|&multiplier| multiplier as f32).collect();
    let multiplier = l.store_f32(vec![units], rounded);
    l.multipliers.insert(multiplier, exact);
    Ok(Stored {
        inputs,
        weights,
        bias,
        multiplier,
        finish,
    })
}
