//! Compilation errors.

use std::fmt;
use std::path::PathBuf;

use pilotage_config::ConfigError;
use pilotage_engine::plan::MAX_ITEMS;
use pilotage_engine::{BundleError, GateResult, PackError};
use pilotage_graph::GraphError;

use crate::calibrate::CalibrateError;
use crate::float16::NarrowError;
use crate::frames::FramesError;
use crate::gate::{NoProbabilities, Still, WithoutPath};
use crate::lower::LowerError;
use crate::network::NetworkError;
use crate::quantize::QuantizeError;
use crate::recipe::RecipeError;

/// Why compilation failed. Messages begin with the path of the file that they are about.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A value in the recipe does not fit the model.
    #[error(transparent)]
    Content(#[from] ConfigError),
    /// The frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// An 8-bit engine was requested without calibration frames.
    #[error("an 8-bit engine needs frames: add a [calibration] table with frames = \"FOLDER\"")]
    NoFrames,
    /// The folder of the frames, or the file, does not exist.
    #[error(
        "{}: there are no frames for calibration ({reason}): correct `calibration.frames` of \
         {recipe}, or name their folder with --calibration FOLDER", path.display()
    )]
    MissingFrames {
        /// The folder or file.
        path: PathBuf,
        /// The recipe's name.
        recipe: String,
        /// The system's error.
        reason: std::io::Error,
    },
    /// Compilation failed after warnings, which may name the cause.
    #[error("{reason}{}", lines(warnings))]
    Warned {
        /// Why compilation failed.
        reason: Box<CompileError>,
        /// Warnings for the user, such as on the frames.
        warnings: Vec<String>,
    },
    /// The model cannot be compiled.
    #[error("{path}: {reason}")]
    Model {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<ModelError>,
    },
}

impl CompileError {
    /// The error with the warnings that were given before it.
    pub(super) fn after(self, warnings: Vec<String>) -> Self {
        match warnings.is_empty() {
            true => self,
            false => Self::Warned {
                reason: Box::new(self),
                warnings,
            },
        }
    }

    /// Separates the error from the warnings that were given before it.
    pub fn split(self) -> (Self, Vec<String>) {
        match self {
            Self::Warned { reason, warnings } => (*reason, warnings),
            error => (error, Vec::new()),
        }
    }
}

/// Each warning as a line.
fn lines(warnings: &[String]) -> String {
    let lines = warnings.iter().map(|text| format!("\nwarning: {text}"));
    lines.collect()
}

/// Why a model cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file is not ONNX, or uses ONNX features that Pilotage does not support.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The model has too many nodes.
    #[error("{0} nodes, more than the {MAX_ITEMS} an engine may have")]
    TooManyNodes(usize),
    /// The model cannot be lowered to a plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Calibration found no ranges.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The model cannot be quantized as the recipe requests.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The model has values outside float16's range.
    #[error(transparent)]
    Narrow(#[from] NarrowError),
    /// The network could not be run on the frames.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The elements of bins are not probabilities.
    #[error(transparent)]
    NoProbabilities(#[from] NoProbabilities),
    /// The network's answers do not depend on the frames.
    #[error(transparent)]
    Still(#[from] Still),
    /// The recipe's decoder finds no path on any frame.
    #[error(transparent)]
    WithoutPath(#[from] WithoutPath),
    /// The decoder's output, or its speed, is not among the model's outputs.
    #[error("the model has no output `{0}` of the elements that [decoder] needs")]
    NoOutput(String),
    /// The engine's error against fp32 exceeds the gate.
    #[error(
        "as {precision} the engine is too far from the model:\n{}\nThe layers that lose \
         most (signal to noise): {layers}. Keep them in floating point ([layers]), have that done \
         (on_gate_failure = \"mixed\" or --on-gate-failure mixed), calibrate on more frames or by \
         another method, or allow more (gate of [[output]] or of [decoder], or --gate)",
        GateTable(results)
    )]
    Gate {
        /// The precision that was tried.
        precision: &'static str,
        /// The errors and limits of each output.
        results: Vec<GateResult>,
        /// The layers with the lowest signal-to-noise ratio.
        layers: String,
    },
    /// The validation frames cannot be packed into the engine file.
    #[error("the held-back frames cannot be packed: {0}")]
    Frames(PackError),
    /// The plan cannot be written to an engine file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Formats gate results as a table with one line for each result.
pub struct GateTable<'a>(pub &'a [GateResult]);

impl fmt::Display for GateTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dashes = "form        output         mean squared (allowed)        worst (allowed)";
        write!(f, "{dashes}")?;
        for r in self.0 {
            let verdict = if r.passes() { "ok" } else { "TOO FAR" };
            write!(
                f,
                "\n{:11} {:10} {:11.3e} ({:9.3e}) {:11.3e} ({:9.3e}) {}  {verdict}",
                r.form, r.output, r.mse, r.most_mse, r.worst, r.most_worst, r.unit
            )?;
        }
        Ok(())
    }
}
