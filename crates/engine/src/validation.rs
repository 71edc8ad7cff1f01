//! The validation frames in an engine file, for checking a GPU engine on the machine that runs
//! it.

mod pack;

use std::collections::BTreeMap;

use crate::{
    Buffer, Bundle, Gate, GateLimits, GateResult, InputsError, Memory, Output, PathLimits,
    PictureAxis, PictureForm, fill_inputs,
};

pub use pack::PackError;

/// The section with the frames, as one PNG.
const FRAMES: &str = "gate.frames";
/// The section with the other inputs of each frame, as little-endian f32.
const OTHERS: &str = "gate.inputs";
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

/// What the samples of a validation set are.
#[derive(Debug, Clone, Copy)]
pub struct SampleForm<'a> {
    /// Width and height of a picture.
    pub size: (u32, u32),
    /// Channels of a picture: one or three.
    pub channels: usize,
    /// The network's memory, which says how many pictures a sample has and where they lie.
    pub memory: &'a Memory,
}

impl SampleForm<'_> {
    /// Bytes of the pictures of a sample.
    fn pictures(&self) -> usize {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        width * height * self.channels * self.memory.pictures
    }

    /// The number of pictures whose channels lie side by side.
    fn woven(&self) -> usize {
        woven(self.memory)
    }
}

/// The number of pictures of a sample whose channels lie side by side.
fn woven(memory: &Memory) -> usize {
    match memory.axis {
        PictureAxis::Channels => memory.pictures,
        PictureAxis::Time => 1,
    }
}

/// The validation frames, their fp32 answers, and the error limits.
#[derive(Debug, Clone)]
pub struct ValidationSet {
    frames: Vec<Vec<u8>>,
    /// That of the pixels that a frame has side by side.
    form: PictureForm,
    gate: Gate,
    units: Vec<(String, f32)>,
}

impl ValidationSet {
    /// The largest number of validation frames in an engine file.
    pub const MAX_FRAMES: usize = 64;

    /// Adds the sections with the first [`MAX_FRAMES`](Self::MAX_FRAMES) of `frames` and their fp32
    /// answers to an engine file's `sections`. A frame is a sample: the pictures, rows of pixels with
    /// interleaved channels, followed by the other inputs as little-endian f32. All pictures are one
    /// PNG, stacked vertically. The answers are little-endian f32, with the outputs of each frame
    /// concatenated.
    ///
    /// # Errors
    /// If the frames do not have the given form.
    pub fn write(
        sections: &mut BTreeMap<String, Vec<u8>>,
        (frames, form): (&[&[u8]], SampleForm<'_>),
        answers: &[Vec<f32>],
    ) -> Result<(), PackError> {
        let count = frames.len().min(Self::MAX_FRAMES);
        let split = |frame: &&[u8]| {
            let (pictures, others) = frame.split_at(form.pictures().min(frame.len()));
            (
                pack::unwoven(pictures, form.woven(), form.channels),
                others.to_vec(),
            )
        };
        let (pictures, others): (Vec<_>, Vec<_>) = frames[..count].iter().map(split).unzip();
        let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
        let height = form
            .size
            .1
            .saturating_mul(u32::try_from(form.memory.pictures).unwrap_or(0));
        let picture = pack::pack(&pictures, (form.size.0, height))?;
        let others = others.concat();
        if !others.is_empty() {
            sections.insert(OTHERS.to_owned(), others);
        }
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
        let [input, others @ ..] = plan.inputs.as_slice() else {
            return Err(ValidationError::Unfit("the engine has no input"));
        };
        let input = plan.port(input);
        let memory = (manifest.memory())
            .map_err(|_| ValidationError::Unfit("the recipe's memory is malformed"))?;
        let others: usize = others.iter().map(|port| plan.port(port).len() * 4).sum();
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
        let (pixels, channels) = pack::unpack(picture, count * input.len()).ok_or(
            ValidationError::Unfit("frames and answers differ in number"),
        )?;
        let numbers = bundle.sections.get(OTHERS).map_or(&[][..], Vec::as_slice);
        if numbers.len() != count * others {
            return Err(ValidationError::Unfit(
                "frames and their other inputs differ in number",
            ));
        }
        let frames = pixels
            .chunks(input.len())
            .enumerate()
            .map(|(index, pictures)| {
                let mut sample = pack::woven(pictures, woven(&memory), channels);
                sample.extend(&numbers[index * others..][..others]);
                sample
            });
        let frames: Vec<Vec<u8>> = frames.collect();

        // Limits are the same for all forms. Use those of the first form.
        let path = manifest
            .decoder
            .as_ref()
            .map(|decoder| decoder.bind(&lengths));
        let path = path
            .transpose()
            .map_err(|_| ValidationError::Unfit("the decoder's output is missing"))?;
        let further = path.as_ref().map_or(0, PathLimits::count);
        if manifest.gate.len() < manifest.outputs.len() + further
            || (manifest.outputs.is_empty() && path.is_none())
        {
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
        let limits = |index: usize| {
            let result = manifest.gate.get(index);
            result.map_or_else(GateLimits::default, |result| GateLimits {
                mse: Some(result.most_mse),
                worst: Some(result.most_worst),
            })
        };
        for (index, output) in manifest.outputs.iter().enumerate() {
            let limits = limits(index);
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
        let side_by_side = woven(&memory);
        let form = PictureForm {
            len: input.len() / (memory.pictures / side_by_side).max(1),
            channels: channels * side_by_side,
            interleaved: manifest
                .preprocessing
                .get("layout")
                .is_none_or(|it| it != "nchw"),
        };
        let mut gate = Gate::new(&lengths, &outputs, reference);
        if let Some(path) = path {
            let further = PathLimits::of(&path, |index| limits(outputs.len() + index));
            gate = gate.with_path(path, further);
        }
        Ok(Self {
            frames,
            form,
            gate,
            units,
        })
    }

    /// The frames: pixels from 0 to 255, rows of interleaved channels; of an engine with a memory,
    /// samples (see [`fill_inputs`]).
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }

    /// Fills an engine's inputs from one of the frames; see [`fill_inputs`].
    ///
    /// # Errors
    /// If the frame does not fit them.
    pub fn fill(&self, frame: &[u8], centre: u8, inputs: &mut [Buffer]) -> Result<(), InputsError> {
        fill_inputs(frame, self.form, centre, inputs)
    }

    /// The errors of `answers` against fp32. Each frame's answer is its outputs in the model's
    /// order, concatenated. `form` names the engine that computed the answers.
    pub fn results(&self, form: &str, answers: &[Vec<f32>]) -> Vec<GateResult> {
        self.gate.results(form, answers, &self.units)
    }
}
