//! A QDQ model back in floating point, for devices that are slow in 8 bits.

use pilotage_graph::{
    ElementType, Graph, GraphError, Op, ReadOptions, Tensor, TensorData, ValueId,
};

/// The QDQ model `model` (an ONNX file's content) without its roundings: weights as the floats
/// that their integers stand for, activations as they come. An 8-bit input becomes float32, of the
/// same values.
///
/// # Errors
/// When it is not a model.
pub fn dequantize(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    let mut graph = Graph::read(model, &ReadOptions::default())?;
    // What stands for each value from now on.
    let mut stands: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    for node in &graph.nodes {
        let (&[from, scale, ..], &[to]) = (&node.inputs[..], &node.outputs[..]) else {
            continue;
        };
        match node.op {
            Op::QuantizeLinear { .. } => stands[to.0] = stands[from.0],
            Op::DequantizeLinear { axis } => match weights(&graph, from, scale, axis) {
                Some(floats) => graph.values[to.0].constant = Some(floats),
                None => stands[to.0] = stands[from.0],
            },
            _ => {}
        }
    }
    for node in &mut graph.nodes {
        for input in &mut node.inputs {
            *input = stands[input.0];
        }
    }
    for output in &mut graph.outputs {
        let value = stands[output.0];
        if value != *output {
            // The name is the model's, and unique.
            let name = std::mem::take(&mut graph.values[output.0].name);
            let free = std::mem::replace(&mut graph.values[value.0].name, name);
            graph.values[output.0].name = free;
            *output = value;
        }
    }
    for &input in &graph.inputs {
        graph.values[input.0].element_type = ElementType::F32;
    }
    graph.nodes.retain(|node| {
        !matches!(
            node.op,
            Op::QuantizeLinear { .. } | Op::DequantizeLinear { .. }
        )
    });
    graph.prune();
    graph.check()?;
    Ok(graph.write())
}

/// Stored levels times their scale.
fn weights(graph: &Graph, levels: ValueId, scale: ValueId, axis: usize) -> Option<Tensor> {
    let levels = graph.value(levels).constant.as_ref()?;
    let scales = graph.value(scale).constant.as_ref()?.as_f32()?;
    let shape = levels.shape();
    let numbers: Vec<f32> = match levels.data() {
        TensorData::I8(levels) => levels.iter().map(|&level| f32::from(level)).collect(),
        TensorData::I32(levels) => levels.iter().map(|&level| level as f32).collect(),
        _ => return None,
    };
    let after: usize = shape.iter().skip(axis + 1).product();
    let channels = scales.len().max(1);
    let scaled = numbers.iter().enumerate().map(|(place, number)| {
        let channel = if channels == 1 {
            0
        } else {
            place / after.max(1) % channels
        };
        number * scales[channel]
    });
    Tensor::new(shape, scaled.collect::<Vec<f32>>()).ok()
}
