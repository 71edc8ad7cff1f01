//! What travels in an engine file beside the plan.

use std::collections::BTreeMap;

use pilotage_graph::{Graph, Node, Op, Tensor, TensorData};
use sha2::{Digest, Sha256};

use crate::frames::{Frames, MOST_TRAVELLING};
use crate::strip;

/// Adds the frames that prove an engine where it was not built, and what fp32
/// answers to them: one PNG, frame below frame; f32 in little-endian, the outputs of
/// a frame end to end.
///
/// # Errors
/// When the frames are not of the size given.
pub(super) fn add_gate(
    sections: &mut BTreeMap<String, Vec<u8>>,
    (held_back, size): (&[&[u8]], (u32, u32)),
    answers: &[Vec<f32>],
) -> Result<(), image::ImageError> {
    let travelling = held_back.len().min(MOST_TRAVELLING);
    let picture = strip::pack(&held_back[..travelling], size)?;
    let numbers = answers.iter().take(MOST_TRAVELLING).flatten();
    let bytes = numbers.flat_map(|x| x.to_le_bytes()).collect();
    sections.insert("gate.frames".to_owned(), picture);
    sections.insert("gate.answers".to_owned(), bytes);
    Ok(())
}

/// A QDQ graph with its biases as the floats that their integers stand for: TensorRT's
/// parser takes DequantizeLinear of 8 bits only, and finds the integers again by itself.
pub(super) fn for_other_runtimes(mut graph: Graph) -> Graph {
    let floats = |node: &Node| {
        let (Op::DequantizeLinear { .. }, [levels, scale, ..]) = (&node.op, &*node.inputs) else {
            return None;
        };
        let levels = graph.value(*levels).constant.as_ref()?;
        let scales = graph.value(*scale).constant.as_ref()?.as_f32()?;
        let (TensorData::I32(integers), [_]) = (levels.data(), levels.shape()) else {
            return None;
        };
        let scaled = integers.iter().zip(scales.iter().cycle());
        let floats: Vec<f32> = scaled
            .map(|(&level, &scale)| level as f32 * scale)
            .collect();
        Some((node.outputs[0], Tensor::new(levels.shape(), floats).ok()?))
    };
    let biases: Vec<_> = graph.nodes.iter().filter_map(floats).collect();
    for (value, floats) in biases {
        graph.values[value.0].constant = Some(floats);
    }
    // What made them is dropped.
    graph.prune();
    graph
}

/// SHA-256 of all frames, one after the other.
pub(super) fn frames_digest(frames: &Frames) -> String {
    let mut digest = Sha256::new();
    for frame in &frames.pixels {
        digest.update(frame);
    }
    hexadecimal(&digest.finalize())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
