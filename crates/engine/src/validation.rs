//! The validation frames in an engine file, for checking a GPU engine on the machine that runs
//! it.

mod pack;

use std::collections::BTreeMap;

use crate::{Bundle, Gate, GateLimits, GateResult, Output};

pub use pack::PackError;

/// The section with the frames, as one PNG.
const FRAMES: &str = "gate.frames";
/// The section with the answers of fp32.
const ANSWERS: &str = "gate.answers";

/// Why an engine file cannot be validated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
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
pub struct ValidationSet {
    frames: Vec<Vec<u8>>,
    gate: Gate,
    units: Vec<(String, f32)>,
}

impl ValidationSet {
    /// The largest number of validation frames in an engine file.
    pub const MAX_FRAMES: usize = 64;

    /// Adds the sections with the first [`MAX_FRAMES`](Self::MAX_FRAMES) of `frames` and their fp32
    /// answers to an engine file's `sections`. The frames, rows of `size.0` pixels with one or three
    /// channels, are one PNG, stacked vertically. The answers are little-endian f32, with the
    /// outputs of each frame concatenated.
    ///
    /// # Errors
    /// If the frames do not have the given size.
    pub fn write(
        sections: &mut BTreeMap<String, Vec<u8>>,
        (frames, size): (&[&[u8]], (u32, u32)),
        answers: &[Vec<f32>],
    ) -> Result<(), PackError> {
        let count = frames.len().min(Self::MAX_FRAMES);
        let picture = pack::pack(&frames[..count], size)?;
        let numbers = answers.iter().take(Self::MAX_FRAMES).flatten();
        let bytes = numbers.flat_map(|x| x.to_le_bytes()).collect();
        sections.insert(FRAMES.to_owned(), picture);
        sections.insert(ANSWERS.to_owned(), bytes);
        Ok(())
    }

    /// Reads the validation data of `bundle`.
    ///
    /// # Errors
    /// If the data is missing or inconsistent.
    pub fn of(bundle: &Bundle) -> Result<Self, ValidationError> {
        let manifest = &bundle.manifest;
        let (Some(picture), Some(answers)) =
            (bundle.sections.get(FRAMES), bundle.sections.get(ANSWERS))
        else {
            return Err(ValidationError::NoFrames);
        };
        let plan = &bundle.plan;
        let [input] = plan.inputs.as_slice() else {
            return Err(ValidationError::Unfit("the engine does not have one input"));
        };
        let input = plan.port(input);
        let lengths: Vec<(&str, usize)> = (plan.outputs.iter())
            .map(|port| (port.name.as_str(), plan.port(port).len()))
            .collect();
        let numbers: usize = lengths.iter().map(|(_, length)| length).sum();
        if input.is_empty() || numbers == 0 {
            return Err(ValidationError::Unfit("an input or output is empty"));
        }
        let words = answers.as_chunks::<4>().0;
        let words: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let reference: Vec<Vec<f32>> = words.chunks(numbers).map(<[f32]>::to_vec).collect();
        let count = reference.len();
        if count == 0 {
            return Err(ValidationError::NoFrames);
        }
        if count > Self::MAX_FRAMES || answers.len() != count * numbers * 4 {
            return Err(ValidationError::Unfit(
                "the length of the answers does not match the outputs",
            ));
        }
        let pixels = pack::unpack(picture, count * input.len()).ok_or(ValidationError::Unfit(
            "frames and answers differ in number",
        ))?;
        let frames: Vec<Vec<u8>> = pixels.chunks(input.len()).map(<[u8]>::to_vec).collect();

        // Limits are the same for all forms. Use those of the first form.
        if manifest.gate.len() < manifest.outputs.len() || manifest.outputs.is_empty() {
            return Err(ValidationError::Unfit(
                "outputs and limits differ in number",
            ));
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
            let scale = scale(index).ok_or(ValidationError::Unfit("the recipe lacks an output"))?;
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
            gate: Gate::new(&lengths, &outputs, reference),
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
