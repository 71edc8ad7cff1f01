//! What a person writes beside a model: `engines/NAME.toml`.
//!
//! docs/recipes.md explains every field.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pilotage_config::{ConfigError, Source};
use pilotage_engine::{Domain, Meaning};
use pilotage_vision::Preprocess;
use serde::{Deserialize, Serialize};

/// A recipe of more bytes than this is none.
const MOST_BYTES: u64 = 1 << 20;

/// How a model becomes an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The ONNX file, as seen from the recipe's folder.
    pub model: PathBuf,
    /// What the engine computes in.
    #[serde(default)]
    pub precision: Precision,
    /// Where the engine may drive.
    pub domain: Domain,
    /// What to do when the engine's error is past a limit.
    #[serde(default)]
    pub on_gate_failure: OnGateFailure,
    /// How a camera's frame becomes the model's input.
    pub input: Preprocess,
    /// Values of the model's other inputs: one number for all elements, or one each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fixed_inputs: BTreeMap<String, FixedInput>,
    /// What the model's answers mean.
    pub output: Vec<RecipeOutput>,
    /// What the ranges of an INT8 engine are taken from, and what proves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationRecipe>,
    /// Precision of single layers, by the name of their node in the model.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, LayerPrecision>,
    /// What TensorRT is told.
    #[serde(default)]
    pub tensorrt: TensorRtRecipe,
}

/// What an engine computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Fp32,
    /// 16-bit floating point weights; a GPU computes in it too, a CPU in 32 bits.
    Fp16,
    /// 8-bit integers, the answers in floating point.
    Int8,
    /// 8-bit weights; each layer's input is quantised by its own range at run time.
    Int8Dynamic,
    /// 8-bit integers from the picture to the answers.
    Int8Integer,
}

impl Precision {
    /// As recipes spell it.
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

/// What a single layer computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerPrecision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point on a GPU; a CPU computes such a layer in 32 bits.
    Fp16,
}

/// What to do when an engine's error is past its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGateFailure {
    /// There is no engine.
    #[default]
    Fail,
    /// The layers that hurt most become floating point, one after the other,
    /// until the engine passes.
    Mixed,
}

/// A value of an input that is no picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FixedInput {
    /// Every element.
    All(f32),
    /// One each, in the model's order.
    Each(Vec<f32>),
}

/// `[calibration]`: the frames an engine is calibrated on and proven with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRecipe {
    /// A folder of pictures, or of pictures and `data.csv`; as seen from the recipe's.
    pub frames: PathBuf,
    /// How a range is chosen from what was seen.
    #[serde(default)]
    pub method: CalibrationMethod,
    /// For `percentile`: the share of values, in percent, that a range holds.
    #[serde(default = "percentile")]
    pub percentile: f64,
    /// Whether cross-layer equalisation is tried; kept only if the error falls.
    #[serde(default = "yes")]
    pub equalize: bool,
    /// Whether bias correction is tried; kept only if the error falls.
    #[serde(default = "yes")]
    pub correct_biases: bool,
}

/// How the range of an activation is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationMethod {
    /// The largest magnitude seen.
    MinMax,
    /// A share of all values.
    Percentile,
    /// The least Kullback-Leibler divergence between what was seen and what is kept of it.
    Entropy,
    /// The least squared error.
    #[default]
    Mse,
}

impl CalibrationMethod {
    /// As recipes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "minmax",
            Self::Percentile => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        }
    }
}

/// `[tensorrt]`: what NVIDIA's compiler is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRtRecipe {
    /// Most memory a layer may use while it runs, MiB; TensorRT's own default where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_mib: Option<u32>,
    /// Whether the timings of kernels are kept from build to build, beside the plans; they are
    /// where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing_cache: Option<bool>,
    /// The deep learning accelerator to use (JetPack 5.1 to 6.2), the GPU for what it cannot do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dla_core: Option<u32>,
}

/// One `[[output]]`: a [`pilotage_engine::Output`] as a person writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeOutput {
    /// The model's name for the output; may be left out where it has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which element of it.
    #[serde(default)]
    pub index: usize,
    /// What it is.
    pub meaning: Meaning,
    /// Multiplies the model's number.
    #[serde(default = "one")]
    pub scale: f32,
    /// Added after.
    #[serde(default)]
    pub offset: f32,
    /// How far an engine may be from fp32.
    #[serde(default)]
    pub gate: GateLimits,
}

/// The largest error against fp32 that an engine may have, in the unit of the
/// car's number (after scale and offset).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateLimits {
    /// Mean squared error; 2 % of the span of fp32's answers, squared, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// Error of a single frame; 10 % of the span of fp32's answers where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<f64>,
}

fn one() -> f32 {
    1.0
}

fn percentile() -> f64 {
    99.99
}

fn yes() -> bool {
    true
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Read {
        /// The recipe.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is far too large.
    #[error("{path}: {bytes} bytes are too many for a recipe; is it another file?")]
    TooLarge {
        /// The recipe.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Content(#[from] ConfigError),
}

impl CalibrationRecipe {
    /// On these frames, all else as it is where a recipe leaves it out.
    pub fn new(frames: PathBuf) -> Self {
        Self {
            frames,
            method: CalibrationMethod::default(),
            percentile: percentile(),
            equalize: yes(),
            correct_biases: yes(),
        }
    }
}

/// The text of a recipe.
///
/// # Errors
/// When it cannot be read, or is far too large.
pub fn read_recipe_text(path: &Path) -> Result<String, RecipeError> {
    let text = fs::metadata(path)
        .and_then(|metadata| match metadata.len() {
            bytes if bytes > MOST_BYTES => Ok(Err(bytes)),
            _ => fs::read_to_string(path).map(Ok),
        })
        .map_err(|source| RecipeError::Read {
            path: path.to_owned(),
            source,
        })?;
    text.map_err(|bytes| RecipeError::TooLarge {
        path: path.to_owned(),
        bytes,
    })
}

impl Recipe {
    /// Reads and checks a recipe. Also gives its text, in which errors found
    /// later (an output the model does not have) are located.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn read(path: &Path) -> Result<(Self, String), RecipeError> {
        let text = read_recipe_text(path)?;
        let recipe = Self::parse(&path.display().to_string(), &text)?;
        Ok((recipe, text))
    }

    /// Reads a recipe from its text; `file` is for messages.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let recipe: Self = source.parse()?;
        recipe.check(&source)?;
        Ok(recipe)
    }

    /// Whether it makes sense; `source` is its text, for messages.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        if self.precision != Precision::Fp32 && self.calibration.is_none() {
            return Err(source.error(
                "precision",
                format!(
                    "\"{}\" needs a [calibration] table with frames = \"FOLDER\": frames as the \
                     car sees them, to choose ranges from and to prove the engine with",
                    self.precision.name()
                ),
            ));
        }
        self.check_layers(source)?;
        self.check_calibration(source)?;
        let input = &self.input;
        // The crop is checked against the camera's frames when there is one.
        let frame = input.crop.map_or((u32::MAX, u32::MAX), |crop| {
            (
                crop.x.saturating_add(crop.width),
                crop.y.saturating_add(crop.height),
            )
        });
        if let Err(error) = input.validate(frame.0, frame.1) {
            return Err(source.error("input", error));
        }
        if self.output.is_empty() {
            return Err(source.error("output", "at least one [[output]] is needed"));
        }
        for (i, output) in self.output.iter().enumerate() {
            if !(output.scale.is_finite() && output.scale != 0.0) {
                return Err(source.error(
                    &format!("output.{i}.scale"),
                    "must be a finite number other than 0",
                ));
            }
            if !output.offset.is_finite() {
                return Err(source.error(&format!("output.{i}.offset"), "must be finite"));
            }
            for (key, limit) in [("mse", output.gate.mse), ("worst", output.gate.worst)] {
                if limit.is_some_and(|limit| !(limit.is_finite() && limit >= 0.0)) {
                    let key = format!("output.{i}.gate.{key}");
                    return Err(source.error(&key, "must be a finite number, 0 or more"));
                }
            }
            if self.output[..i].iter().any(|o| o.meaning == output.meaning) {
                return Err(source.error(
                    &format!("output.{i}.meaning"),
                    "another [[output]] has this meaning already",
                ));
            }
        }
        self.check_meanings(source)
    }

    fn check_layers(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let has_layers = matches!(
            self.precision,
            Precision::Fp16 | Precision::Int8 | Precision::Int8Integer
        );
        match self.layers.keys().next() {
            Some(layer) if !has_layers => Err(source.error(
                &format!("layers.{layer}"),
                format!(
                    "only \"fp16\", \"int8\" and \"int8-integer\" engines have layers of \
                     another precision, this is \"{}\"",
                    self.precision.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn check_calibration(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let Some(calibration) = &self.calibration else {
            return Ok(());
        };
        // Below half, more is cut off than is kept.
        if !(50.0..=100.0).contains(&calibration.percentile) {
            return Err(source.error("calibration.percentile", "must be 50 to 100"));
        }
        Ok(())
    }

    fn check_meanings(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let has = |meaning| self.output.iter().any(|output| output.meaning == meaning);
        let twist = has(Meaning::Speed) && has(Meaning::YawRate);
        let pedals = has(Meaning::Steering) && has(Meaning::Throttle);
        if self.output.len() == 2 && (twist || pedals) {
            return Ok(());
        }
        Err(source.error(
            "output",
            "a car needs either \"speed\" and \"yaw_rate\" or \"steering\" and \"throttle\", \
             one [[output]] each",
        ))
    }
}

#[cfg(test)]
mod tests;
