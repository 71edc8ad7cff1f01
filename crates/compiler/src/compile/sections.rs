//! What travels in an engine file beside the plan.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::frames::{Frames, MOST_TRAVELLING};

/// Adds the frames that prove an engine where it was not built, and what fp32
/// answers to them: rows of interleaved channels, frame after frame; f32 in
/// little-endian, the outputs of a frame end to end.
pub(super) fn add_gate(
    sections: &mut BTreeMap<String, Vec<u8>>,
    held_back: &[&[u8]],
    answers: &[Vec<f32>],
) {
    let frames = held_back.iter().take(MOST_TRAVELLING);
    let pixels: Vec<u8> = frames.copied().flatten().copied().collect();
    let numbers = answers.iter().take(MOST_TRAVELLING).flatten();
    let bytes = numbers.flat_map(|x| x.to_le_bytes()).collect();
    sections.insert("gate.frames".to_owned(), pixels);
    sections.insert("gate.answers".to_owned(), bytes);
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
