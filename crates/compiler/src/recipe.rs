//! What a person writes beside a model: `engines/NAME.toml`.
//!
//! docs/recipes.md explains every field.

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
    /// How a camera's frame becomes the model's input.
    pub input: Preprocess,
    /// What the model's answers mean.
    pub output: Vec<RecipeOutput>,
}

/// What an engine computes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Fp32,
    /// 16-bit floating point: not in this version.
    Fp16,
    /// 8-bit integers: not in this version.
    Int8,
    /// 8-bit weights only: not in this version.
    Int8Dynamic,
    /// 8-bit integers from input to output: not in this version.
    Int8Integer,
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
}

fn one() -> f32 {
    1.0
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

impl Recipe {
    /// Reads and checks a recipe. Also gives its text, in which errors found
    /// later (an output the model does not have) are located.
    ///
    /// # Errors
    /// Names file, line and key.
    pub fn read(path: &Path) -> Result<(Self, String), RecipeError> {
        let text = fs::metadata(path)
            .and_then(|metadata| match metadata.len() {
                bytes if bytes > MOST_BYTES => Ok(Err(bytes)),
                _ => fs::read_to_string(path).map(Ok),
            })
            .map_err(|source| RecipeError::Read {
                path: path.to_owned(),
                source,
            })?;
        let text = text.map_err(|bytes| RecipeError::TooLarge {
            path: path.to_owned(),
            bytes,
        })?;
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

    fn check(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        if self.precision != Precision::Fp32 {
            return Err(source.error(
                "precision",
                "this version compiles \"fp32\" only; the others come with a later one",
            ));
        }
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
            if self.output[..i].iter().any(|o| o.meaning == output.meaning) {
                return Err(source.error(
                    &format!("output.{i}.meaning"),
                    "another [[output]] has this meaning already",
                ));
            }
        }
        self.check_meanings(source)
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
