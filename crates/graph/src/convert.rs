//! Converts a model for runtimes that cannot use it as it is: to floating point for devices that are
//! slow in 8 bits, to float weights for TensorRT 8, and to float32 for TensorRT before 8.5.

use crate::{ElementType, Graph, GraphError, Node, Op, ReadOptions, Tensor, TensorData, ValueId};

/// Converts the QDQ model `model` (the content of an ONNX file) as [`dequantized`] converts a graph.
///
/// # Errors
/// If `model` is not a valid model, or is not one after the conversion.
pub fn dequantize(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    Ok(dequantized(Graph::read(model, &ReadOptions::default())?)?.write())
}

/// Converts a QDQ model to floating point. Weights, int8 or
/// int32 with zero point 0, become the floats that they represent. Activations are no longer
/// rounded. Every input becomes float32; the scale of an 8-bit input is dropped with its
/// DequantizeLinear.
///
/// # Errors
/// If the graph is not valid after the conversion.
pub fn dequantized(mut graph: Graph) -> Result<Graph, GraphError> {
    // The value that replaces each value.
    let mut replacement: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    for node in &graph.nodes {
        let (&[from, scale, ..], &[to]) = (&node.inputs[..], &node.outputs[..]) else {
            continue;
        };
        match node.op {
            Op::QuantizeLinear { .. } => replacement[to.0] = replacement[from.0],
            Op::DequantizeLinear { axis } => match weights(&graph, from, scale, axis) {
                Some(floats) => graph.values[to.0].constant = Some(floats),
                None => replacement[to.0] = replacement[from.0],
            },
            _ => {}
        }
    }
    replace_inputs(&mut graph, &replacement);
    for output in &mut graph.outputs {
        let value = replacement[output.0];
        if value != *output {
            // The output keeps the model's name, and names stay unique.
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
    Ok(graph)
}

/// Converts the int8 weights of the QDQ model `model` (the content of an ONNX file) that have an
/// explicit zero point of 0 to float32 constants that a QuantizeLinear and a DequantizeLinear round
/// to the same weights. Each float is a quantized value times its scale, so quantizing it gives
/// that value back.
///
/// # Errors
/// If `model` is not a valid model, or is not one after the conversion.
pub fn float_weights(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    let mut graph = Graph::read(model, &ReadOptions::default())?;
    for mut node in std::mem::take(&mut graph.nodes) {
        // Without a zero point QuantizeLinear would give unsigned bytes.
        if let (Op::DequantizeLinear { axis }, &[levels, scale, zero]) =
            (&node.op, &node.inputs[..])
            && graph.value(levels).element_type == ElementType::I8
            && let Some(floats) = weights(&graph, levels, scale, *axis)
        {
            let name = graph.value(levels).name.clone();
            let quantized = graph.value(levels).tensor_type();
            let quantized = graph.add_value(&format!("{name} quantized"), quantized, None);
            let name = format!("{name} as float32");
            let float = graph.add_value(&name, floats.tensor_type(), Some(floats));
            graph.nodes.push(Node {
                name: format!("{} weights", node.name),
                op: Op::QuantizeLinear { axis: *axis },
                inputs: vec![float, scale, zero],
                outputs: vec![quantized],
            });
            node.inputs[0] = quantized;
        }
        graph.nodes.push(node);
    }
    graph.prune();
    graph.check()?;
    Ok(graph.write())
}

/// Converts the float16 tensors of `model` (the content of an ONNX file) to float32, and drops the casts
/// between the two. Every float16 is exact in float32, so weights keep their values. For runtimes that
/// choose float16 by themselves.
///
/// # Errors
/// If `model` is not a valid model, or is not one after the conversion.
pub fn float32_types(model: &[u8]) -> Result<Vec<u8>, GraphError> {
    let mut graph = Graph::read(model, &ReadOptions::default())?;
    widen(&mut graph);
    // Widening leaves casts that change nothing. Between a layer and its QuantizeLinear they would keep
    // a runtime from seeing the pair.
    let mut replacement: Vec<ValueId> = (0..graph.values.len()).map(ValueId).collect();
    for node in &graph.nodes {
        if let (Op::Identity, &[from], &[to]) = (&node.op, &node.inputs[..], &node.outputs[..])
            && !graph.outputs.contains(&to)
        {
            replacement[to.0] = replacement[from.0];
        }
    }
    replace_inputs(&mut graph, &replacement);
    graph.prune();
    graph.check()?;
    Ok(graph.write())
}

/// Converts a float16 network to float32. Every float16 is exact in float32, so weights keep
/// their values. Activations between nodes are no longer rounded to float16.
pub fn widen(graph: &mut Graph) {
    for node in &mut graph.nodes {
        let Op::Cast { to } = &mut node.op else {
            continue;
        };
        let from = node.inputs.first().map(|&v| graph.values[v.0].element_type);
        if *to == ElementType::F16 {
            *to = ElementType::F32;
        }
        if *to == ElementType::F32 && from.is_some_and(ElementType::is_float) {
            node.op = Op::Identity;
        }
    }
    for value in &mut graph.values {
        if value.element_type != ElementType::F16 {
            continue;
        }
        value.element_type = ElementType::F32;
        let halves = value.constant.as_ref().and_then(Tensor::as_f16);
        if let Some(halves) = halves {
            let floats: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
            value.constant = Tensor::new(value.shape.clone(), floats).ok();
        }
    }
}

/// Replaces the inputs of all nodes.
fn replace_inputs(graph: &mut Graph, replacement: &[ValueId]) {
    for node in &mut graph.nodes {
        for input in &mut node.inputs {
            *input = replacement[input.0];
        }
    }
}

/// Quantized values times their scale.
fn weights(graph: &Graph, integers: ValueId, scale: ValueId, axis: usize) -> Option<Tensor> {
    let integers = graph.value(integers).constant.as_ref()?;
    let scales = graph.value(scale).constant.as_ref()?.as_f32()?;
    let shape = integers.shape();
    let numbers: Vec<f32> = match integers.data() {
        TensorData::I8(integers) => integers.iter().map(|&integer| f32::from(integer)).collect(),
        TensorData::I32(integers) => integers.iter().map(|&integer| integer as f32).collect(),
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
