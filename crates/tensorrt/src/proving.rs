//! What a plan is proven by, and its answers to that.

use pilotage_compiler::Proof;
use pilotage_engine::{Bundle, ElementType, Engine, EngineError, TensorMut, TensorRef};
use sha2::{Digest, Sha256};

use crate::engine::TensorRtEngine;
use crate::interleaved::Interleaved;

/// What a plan is proven by: the frames, fp32's answers to them, and the limits.
pub(crate) fn digest(bundle: &Bundle) -> [u8; 32] {
    let mut digest = Sha256::new();
    for name in ["gate.frames", "gate.answers"] {
        let section = bundle.sections.get(name).map_or(&[][..], Vec::as_slice);
        digest.update((section.len() as u64).to_le_bytes());
        digest.update(section);
    }
    for (limits, output) in bundle.manifest.gate.iter().zip(&bundle.manifest.outputs) {
        for limit in [limits.most_mse, limits.most_worst] {
            digest.update(limit.to_le_bytes());
        }
        // Which number of the answer it is, and its scale and unit.
        let output = format!("{output:?}");
        digest.update((output.len() as u64).to_le_bytes());
        digest.update(output);
    }
    // The scale of fp32's answers, where the engine's own has another.
    let outputs = bundle.manifest.recipe.get("output");
    digest.update(outputs.map(ToString::to_string).unwrap_or_default());
    digest.finalize().into()
}

/// The plan's answers to the frames that travel.
pub(crate) fn answers(
    engine: &mut Interleaved<TensorRtEngine>,
    proof: &Proof,
) -> Result<Vec<Vec<f32>>, EngineError> {
    // Models in 8 bits are given pixels less 128, and so are their forms in floating point.
    let levels = engine
        .inputs()
        .iter()
        .all(|port| port.element_type == ElementType::I8);
    let lengths: Vec<_> = (engine.outputs().iter())
        .map(|port| (port.element_type, port.len()))
        .collect();
    let mut all = Vec::new();
    for frame in proof.frames() {
        let (bytes, floats): (Vec<i8>, Vec<f32>);
        let input = match levels {
            true => {
                bytes = frame
                    .iter()
                    .map(|&pixel| (pixel ^ 0x80).cast_signed())
                    .collect();
                TensorRef::I8(&bytes)
            }
            false => {
                floats = frame.iter().map(|&pixel| f32::from(pixel)).collect();
                TensorRef::F32(&floats)
            }
        };
        let mut made: Vec<Answer> = lengths
            .iter()
            .map(|&(of, length)| Answer::new(of, length))
            .collect();
        let mut lent: Vec<_> = made.iter_mut().map(Answer::lend).collect();
        engine.infer(&[input], &mut lent)?;
        all.push(made.iter().flat_map(Answer::numbers).collect());
    }
    Ok(all)
}

/// Room for an output.
enum Answer {
    Floats(Vec<f32>),
    Levels(Vec<i8>),
}

impl Answer {
    fn new(of: ElementType, length: usize) -> Self {
        match of {
            ElementType::I8 => Self::Levels(vec![0; length]),
            _ => Self::Floats(vec![0.0; length]),
        }
    }

    fn lend(&mut self) -> TensorMut<'_> {
        match self {
            Self::Floats(numbers) => TensorMut::F32(numbers),
            Self::Levels(levels) => TensorMut::I8(levels),
        }
    }

    fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Floats(numbers) => numbers.clone(),
            Self::Levels(levels) => levels.iter().map(|&level| f32::from(level)).collect(),
        }
    }
}
