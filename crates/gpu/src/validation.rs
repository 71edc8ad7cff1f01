//! The validation set of a plan, and the plan's answers to it.

use pilotage_engine::{Buffer, Bundle, Engine, EngineError, Port, TensorRef, ValidationSet};
use sha2::{Digest, Sha256};

use crate::engine::TensorRtEngine;
use crate::nhwc::NhwcAdapter;

/// The digest of the validation set: the frames, the fp32 answers, and the limits.
pub(crate) fn digest(bundle: &Bundle) -> [u8; 32] {
    let mut digest = Sha256::new();
    let others = bundle.sections.get_key_value("gate.inputs");
    for name in ["gate.frames", "gate.answers"]
        .into_iter()
        .chain(others.map(|(name, _)| &**name))
    {
        let section = bundle.sections.get(name).map_or(&[][..], Vec::as_slice);
        digest.update((section.len() as u64).to_le_bytes());
        digest.update(section);
    }
    for (limits, output) in bundle.manifest.gate.iter().zip(&bundle.manifest.outputs) {
        for limit in [limits.most_mse, limits.most_worst] {
            digest.update(limit.to_le_bytes());
        }
        // The output's index in the answer, its scale and its unit.
        let output = format!("{output:?}");
        digest.update((output.len() as u64).to_le_bytes());
        digest.update(output);
    }
    if let Some(decoder) = &bundle.manifest.decoder {
        for limits in bundle
            .manifest
            .gate
            .iter()
            .skip(bundle.manifest.outputs.len())
        {
            for limit in [limits.most_mse, limits.most_worst] {
                digest.update(limit.to_le_bytes());
            }
        }
        let decoder = format!("{decoder:?}");
        digest.update((decoder.len() as u64).to_le_bytes());
        digest.update(decoder);
    }
    // The scale of the fp32 answers, which may differ from the engine's.
    let outputs = bundle.manifest.recipe.get("output");
    digest.update(outputs.map(ToString::to_string).unwrap_or_default());
    digest.finalize().into()
}

/// Runs the plan on the validation frames and returns its answers.
pub(crate) fn answers(
    engine: &mut NhwcAdapter<TensorRtEngine>,
    validation: &ValidationSet,
) -> Result<Vec<Vec<f32>>, EngineError> {
    let zeros = |ports: &[Port]| -> Vec<Buffer> { ports.iter().map(Buffer::zeros).collect() };
    let (mut inputs, mut outputs) = (zeros(engine.inputs()), zeros(engine.outputs()));
    let mut all = Vec::new();
    for frame in validation.frames() {
        // An INT8 model takes pixels minus 128. The floating-point model that is made of it does too.
        let filled = validation.fill(frame, 0, &mut inputs);
        filled.map_err(|error| EngineError::Device {
            reason: error.to_string(),
        })?;
        let tensors: Vec<TensorRef<'_>> = inputs.iter().map(Buffer::as_ref).collect();
        let mut views: Vec<_> = outputs.iter_mut().map(Buffer::as_mut).collect();
        engine.infer(&tensors, &mut views)?;
        let numbers = outputs.iter().flat_map(Buffer::to_f64);
        // Elements are f32 or i8.
        all.push(numbers.map(|number| number as f32).collect());
    }
    Ok(all)
}
