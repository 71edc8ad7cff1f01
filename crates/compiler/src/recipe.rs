//! The recipe of an engine: the file `engines/NAME.toml` beside a model.
//!
//! docs/recipes.md explains every field.

mod check;
mod decoder;
mod memory;
mod numbers;
mod scan;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pilotage_config::{ConfigError, FileKind, Source};
use pilotage_engine::{
    Bins, CommandRule, GateLimits, InputRules, Meaning, MeasurementRule, Memory, ScanRule,
    TensorRtRecipe,
};
use pilotage_vehicle::Domain;
use pilotage_vision::Preprocess;
use serde::{Deserialize, Serialize};

use crate::frames::MAX_FRAMES;

pub use decoder::{DecoderCamera, DecoderFirst, DecoderKind, DecoderOrder, DecoderRecipe};

/// The largest size of a recipe file.
pub(crate) const MOST_BYTES: u64 = 1 << 20;

/// How to compile a model to an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The ONNX file, relative to the recipe's folder.
    pub model: PathBuf,
    /// The precision in which the engine computes.
    #[serde(default)]
    pub precision: Precision,
    /// The domain in which the engine may drive.
    pub domain: Domain,
    /// What to do if the engine's error exceeds a limit.
    #[serde(default)]
    pub on_gate_failure: OnGateFailure,
    /// The throttle of a model that only steers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<ThrottleRecipe>,
    /// How a camera frame becomes the model's input. A model that gets a scan may get no picture.
    #[serde(
        default = "Preprocess::none",
        skip_serializing_if = "Preprocess::is_none"
    )]
    pub input: Preprocess,
    /// The model's inputs besides the present picture that change from frame to frame.
    #[serde(default, skip_serializing_if = "Memory::is_none")]
    pub memory: Memory,
    /// The model's inputs that are measured on the car.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurement: Vec<MeasurementRule>,
    /// The model's input that an operator sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandRule>,
    /// The model's input that is a lidar's scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanRule>,
    /// Values of the model's other inputs: one number for all elements, or one for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed_inputs: BTreeMap<String, FixedInput>,
    /// The meaning of the model's outputs.
    #[serde(default)]
    pub output: Vec<RecipeOutput>,
    /// A path among the model's outputs, and how the car follows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderRecipe>,
    /// The frames for the ranges of an INT8 engine, and for its validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationRecipe>,
    /// Precision of single layers, by the name of their node in the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, LayerPrecision>,
    /// How the weights of 8-bit engines are rounded for the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsRecipe>,
    /// Options for TensorRT.
    #[serde(default)]
    pub tensorrt: TensorRtRecipe,
}

/// The precision in which an engine computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Fp32,
    /// 16-bit floating point weights. A GPU also computes in 16 bits, a CPU in 32 bits.
    Fp16,
    /// 8-bit integers. Outputs are floating point.
    Int8,
    /// 8-bit weights. Each layer's input is quantized by its own range at run time.
    Int8Dynamic,
    /// 8-bit integers from the input to the outputs.
    Int8Integer,
}

impl Precision {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Int8Dynamic => "int8-dynamic",
            Self::Int8Integer => "int8-integer",
        }
    }
}

/// The precision in which a single layer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerPrecision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point on a GPU. A CPU computes such a layer in 32 bits.
    Fp16,
}

/// What to do if an engine's error exceeds its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGateFailure {
    /// Compilation fails.
    #[default]
    Fail,
    /// Layers become floating point until the engine passes, one after the other. The layer with
    /// the lowest signal-to-noise ratio is first.
    Mixed,
}

/// The throttle of a model whose only output is the steering.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleRecipe {
    /// Always this, above 0 and at most 1.
    pub constant: f32,
}

/// The value of an input that is not the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FixedInput {
    /// One value for every element.
    All(f32),
    /// One value for each element, in the model's order.
    Each(Vec<f32>),
}

/// `[calibration]`: the frames for calibration and validation, and how they are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRecipe {
    /// A folder of images, with or without a `data.csv`, relative to the recipe's folder.
    pub frames: PathBuf,
    /// The largest number of frames; of more, this many are chosen evenly.
    #[serde(default = "max_frames")]
    pub max_frames: usize,
    /// How a range is chosen from the observed values. If absent, by the default, and by others if the
    /// engine is too far from the model then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<CalibrationMethod>,
    /// For `percentile`: the share of values, in percent, that a range covers.
    #[serde(default = "percentile")]
    pub percentile: f64,
    /// Whether cross-layer equalization is tried. It is kept only if the error decreases.
    #[serde(default = "yes")]
    pub equalize: bool,
    /// Whether bias correction is tried. It is kept only if the error decreases.
    #[serde(default = "yes")]
    pub correct_biases: bool,
}

/// How the range of an activation is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationMethod {
    /// The largest observed magnitude.
    MinMax,
    /// The range that covers a given share of all values.
    Percentile,
    /// The least Kullback-Leibler divergence between the observed and the quantized distribution.
    Entropy,
    /// The least squared error.
    #[default]
    Mse,
}

impl CalibrationMethod {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "minmax",
            Self::Percentile => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        }
    }
}

/// `[weights]`: how the weights of 8-bit engines are rounded for the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsRecipe {
    /// Rounds the weights of large fully connected layers to 4-bit integers times a whole number
    /// for each group of this many inputs: 64 or 128.
    pub int4_group: usize,
}

/// One `[[output]]`: a [`pilotage_engine::Output`] as written in a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeOutput {
    /// The model's name for the output. Optional if the model has only one output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The index of the element in the output, or of the first bin.
    #[serde(default)]
    pub index: usize,
    /// Set if the number is one of several bins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<Bins>,
    /// The meaning of the element.
    pub meaning: Meaning,
    /// Factor from the model's value to the physical unit.
    #[serde(default = "one")]
    pub scale: f32,
    /// Added after scaling.
    #[serde(default)]
    pub offset: f32,
    /// The largest allowed error against fp32.
    #[serde(default)]
    pub gate: GateLimits,
}

fn one() -> f32 {
    1.0
}

fn percentile() -> f64 {
    99.99
}

fn max_frames() -> usize {
    MAX_FRAMES
}

fn yes() -> bool {
    true
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {reason}")]
    Read {
        /// The recipe.
        path: PathBuf,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The file is too large for a recipe.
    #[error("{path}: {bytes} bytes are too many for a recipe; is it another file?")]
    TooLarge {
        /// The recipe.
        path: PathBuf,
        /// The file's size.
        bytes: u64,
    },
    /// The recipe has an error.
    #[error(transparent)]
    Content(#[from] ConfigError),
}

impl CalibrationRecipe {
    /// Calibration on `frames`, with defaults for all other keys.
    pub fn new(frames: PathBuf) -> Self {
        Self {
            frames,
            max_frames: max_frames(),
            method: None,
            percentile: percentile(),
            equalize: yes(),
            correct_biases: yes(),
        }
    }
}

/// Reads the text of a recipe.
///
/// # Errors
/// If the file cannot be read, or is larger than a recipe can be.
pub fn read_recipe_text(path: &Path) -> Result<String, RecipeError> {
    let text = fs::metadata(path)
        .and_then(|metadata| match metadata.len() {
            bytes if bytes > MOST_BYTES => Ok(Err(bytes)),
            _ => fs::read_to_string(path).map(Ok),
        })
        .map_err(|reason| RecipeError::Read {
            path: path.to_owned(),
            reason,
        })?;
    text.map_err(|bytes| RecipeError::TooLarge {
        path: path.to_owned(),
        bytes,
    })
}

impl Recipe {
    /// The rules for all inputs besides the present picture and constants.
    pub fn input_rules(&self) -> InputRules {
        InputRules {
            memory: self.memory.clone(),
            measurements: self.measurement.clone(),
            command: self.command.clone(),
            scan: self.scan.clone(),
        }
    }

    /// Reads and checks a recipe. Also returns its text, so that errors that are found later can
    /// be located (an output that the model does not have, for example).
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn read(path: &Path) -> Result<(Self, String), RecipeError> {
        let text = read_recipe_text(path)?;
        let recipe = Self::parse(&path.display().to_string(), &text)?;
        Ok((recipe, text))
    }

    /// Parses and checks a recipe. `file` is the file's name for messages.
    ///
    /// # Errors
    /// The error names the file, the line and the key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let recipe: Self = source.parse_as(FileKind::EngineRecipe)?;
        recipe.check(&source)?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests;
