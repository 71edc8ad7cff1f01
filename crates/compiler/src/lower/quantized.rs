//! Layers with 8-bit weights.

use pilotage_engine::ElementType;
use pilotage_engine::plan::{Activation, ConstantData, ConstantId, Epilogue, Operand, Operation};
use pilotage_graph::{Node, ValueId};

use super::forms::{Form, Lowering};
use super::integers::Layer;
use super::{LowerError, Weights};

/// The stored parts of a layer, and its inputs.
pub(super) struct Stored {
    pub(super) inputs: Vec<Operand>,
    pub(super) weights: ConstantId,
    pub(super) bias: Option<ConstantId>,
    pub(super) multiplier: ConstantId,
    pub(super) finish: Epilogue,
}

/// The weights and bias of a node that may become an integer layer.
pub(super) struct Parts {
    pub(super) weights: ValueId,
    pub(super) bias: Option<ValueId>,
    /// The axis of the weights that has one entry for each unit.
    pub(super) axis: usize,
    /// Multiplies each weight.
    pub(super) factor: f32,
}

/// The layer, if its weights are 8-bit integers and its input is an 8-bit integer or is to be
/// quantized at run time.
pub(super) fn layer<'g>(l: &Lowering<'g>, input: ValueId, parts: &Parts) -> Option<Layer<'g>> {
    let (integers, graph) = (l.integers, l.graph);
    let layer = integers.layer(graph, (input, parts.weights, parts.bias), parts.axis)?;
    (layer.input.is_some() || l.weights == Weights::Dynamic).then_some(layer)
}

/// The form in which the layer's input was computed.
pub(super) fn native(l: &Lowering<'_>, layer: &Layer<'_>, input: ValueId) -> Form {
    l.native(layer.input.map_or(input, |(integers, _)| integers))
}

/// Stores a layer whose weights have their final order and shape, and gets its input in `form`.
/// The layer's outputs are floats; later passes may change that.
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
            let finish = Epilogue::Float { activation };
            (scales(scale.into()), inputs, bias, finish)
        }
        None => {
            let input = node.inputs[0];
            let x = l.get(input, form);
            let (name, float) = (&node.name, ElementType::F32);
            let scale = l.step(name, Operation::DynamicScale, vec![x], vec![1], float);
            let shape = l.shape_in(input, form);
            let quantized = vec![x, scale];
            let quantize = Operation::DynamicQuantize;
            let quantized = l.step(name, quantize, quantized, shape, ElementType::I8);
            let bias = match parts.bias {
                Some(value) => {
                    let bias = l.parameter(node, value, "bias")?.to_vec();
                    Some(l.store_f32(vec![units], bias))
                }
                None => None,
            };
            let finish = Epilogue::Dynamic { bias, activation };
            (scales(1.0), vec![quantized, scale], None, finish)
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
