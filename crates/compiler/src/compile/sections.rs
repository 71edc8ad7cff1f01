//! The sections of an engine file other than the plan.

use pilotage_graph::{Graph, Node, Op, Tensor, TensorData};
use pilotage_vehicle::Measurement;
use sha2::{Digest, Sha256};

use crate::frames::Frames;

/// Replaces each dequantized int32 bias of a QDQ graph by float constants. TensorRT's parser
/// accepts DequantizeLinear for 8-bit integers only, and quantizes the biases itself.
pub(super) fn for_other_runtimes(mut graph: Graph) -> Graph {
    let floats = |node: &Node| {
        let (Op::DequantizeLinear { .. }, [quantized, scale, ..]) = (&node.op, &*node.inputs)
        else {
            return None;
        };
        let quantized = graph.value(*quantized).constant.as_ref()?;
        let scales = graph.value(*scale).constant.as_ref()?.as_f32()?;
        let (TensorData::I32(integers), [_]) = (quantized.data(), quantized.shape()) else {
            return None;
        };
        let scaled = integers.iter().zip(scales.iter().cycle());
        let floats: Vec<f32> = scaled
            .map(|(&integer, &scale)| integer as f32 * scale)
            .collect();
        Some((
            node.outputs[0],
            Tensor::new(quantized.shape(), floats).ok()?,
        ))
    };
    let biases: Vec<_> = graph.nodes.iter().filter_map(floats).collect();
    for (value, floats) in biases {
        graph.values[value.0].constant = Some(floats);
    }
    // Remove the nodes that computed the biases.
    graph.prune();
    graph
}

/// SHA-256 of all frames, concatenated, and of the numbers that a network gets with them.
pub(super) fn frames_digest(frames: &Frames) -> String {
    let mut digest = Sha256::new();
    for frame in &frames.pixels {
        digest.update(frame);
    }
    for numbers in &frames.numbers {
        for measurement in Measurement::ALL {
            let number = numbers.measured.get(measurement).unwrap_or(f32::NAN);
            digest.update(number.to_le_bytes());
        }
        digest.update(
            numbers
                .command
                .map_or(u64::MAX, |it| it as u64)
                .to_le_bytes(),
        );
        for distance in numbers.scan.iter().flat_map(|scan| &scan.millimetres) {
            digest.update(distance.to_le_bytes());
        }
    }
    hexadecimal(&digest.finalize())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
