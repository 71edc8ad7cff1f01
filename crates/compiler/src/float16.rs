//! Between networks in float16 and in float32.

use pilotage_graph::{ElementType, Graph, Op, Tensor};

/// A network in float16 as one in float32. Every float16 is a float32, so weights
/// stay what they are; what lies between nodes is no longer rounded to float16.
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

#[cfg(test)]
mod tests;
