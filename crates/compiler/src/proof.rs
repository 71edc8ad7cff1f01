//! The validation frames in an engine file, for checking a GPU engine on the machine that runs
//! it.

use pilotage_engine::{Bundle, GateResult, Output};

use crate::frames::MOST_TRAVELLING;
use crate::gate::Gate;
use crate::recipe::GateLimits;
use crate::strip;

/// Why an engine file cannot be validated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The engine file was compiled without frames.
    #[error(
        "no frames travel with this engine to prove it by; compile it with --calibration FOLDER"
    )]
    NoFrames,
    /// The sections in the engine file are inconsistent.
    #[error("the validation data in this engine file is inconsistent ({0}); compile it again")]
    Unfit(&'static str),
}

/// The validation frames, their fp32 answers, and the error limits.
#[derive(Debug, Clone)]
pub struct Proof {
    frames: Vec<Vec<u8>>,
    gate: Gate,
    units: Vec<(String, f32)>,
}

impl Proof {
    /// Reads the validation data of `bundle`.
    ///
    /// # Errors
    /// If the data is missing or inconsistent.
    pub fn of(bundle: &Bundle) -> Result<Self, ProofError> {
        let manifest = &bundle.manifest;
        let (Some(picture), Some(answers)) = (
            bundle.sections.get("gate.frames"),
            bundle.sections.get("gate.answers"),
        ) else {
            return Err(ProofError::NoFrames);
        };
        let plan = &bundle.plan;
        let [input] = plan.inputs.as_slice() else {
            return Err(ProofError::Unfit("the engine does not have one input"));
        };
        let input = plan.port(input);
        let lengths: Vec<(&str, usize)> = (plan.outputs.iter())
            .map(|port| (port.name.as_str(), plan.port(port).len()))
            .collect();
        let numbers: usize = lengths.iter().map(|(_, length)| length).sum();
        if input.is_empty() || numbers == 0 {
            return Err(ProofError::Unfit("an input or output is empty"));
        }
        let words = answers.as_chunks::<4>().0;
        let words: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let reference: Vec<Vec<f32>> = words.chunks(numbers).map(<[f32]>::to_vec).collect();
        let count = reference.len();
        if count == 0 {
            return Err(ProofError::NoFrames);
        }
        if count > MOST_TRAVELLING || answers.len() != count * numbers * 4 {
            return Err(ProofError::Unfit(
                "the length of the answers does not match the outputs",
            ));
        }
        let pixels = strip::unpack(picture, count * input.len())
            .ok_or(ProofError::Unfit("frames and answers differ in number"))?;
        let frames: Vec<Vec<u8>> = pixels.chunks(input.len()).map(<[u8]>::to_vec).collect();

        // Limits are the same for all forms. Use those of the first form.
        if manifest.gate.len() < manifest.outputs.len() || manifest.outputs.is_empty() {
            return Err(ProofError::Unfit("outputs and limits differ in number"));
        }
        let scales = manifest.recipe.get("output").and_then(|o| o.as_array());
        let scale = |index: usize| {
            let scale = scales?.get(index)?.get("scale")?.as_f64()?;
            (scale.is_finite() && scale != 0.0).then_some(scale as f32)
        };
        let mut outputs = Vec::new();
        let mut units = Vec::new();
        for (index, (output, limits)) in manifest.outputs.iter().zip(&manifest.gate).enumerate() {
            let limits = GateLimits {
                mse: Some(limits.most_mse),
                worst: Some(limits.most_worst),
            };
            // The manifest's scale includes the scale of an integer output. fp32 answers do not
            // use that scale.
            let scale = scale(index).ok_or(ProofError::Unfit("the recipe lacks an output"))?;
            // Bins are decoded in the same way with any scale.
            if output.bins.is_none() {
                units.push((output.name.clone(), output.scale / scale));
            }
            let output = Output {
                scale,
                ..output.clone()
            };
            outputs.push((output, limits));
        }
        Ok(Self {
            frames,
            gate: Gate::of_outputs(&lengths, &outputs, reference),
            units,
        })
    }

    /// The frames: pixels from 0 to 255, rows of interleaved channels.
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// The errors of `answers` against fp32. Each frame's answer is its outputs in the model's
    /// order, concatenated. `form` names the engine that computed the answers.
    pub fn results(&self, form: &str, answers: &[Vec<f32>]) -> Vec<GateResult> {
        self.gate.results(form, answers, &self.units)
    }
}
