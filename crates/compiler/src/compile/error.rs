//! Why there is no engine.

use std::fmt;
use std::path::PathBuf;

use pilotage_config::ConfigError;
use pilotage_engine::plan::MAX_ITEMS;
use pilotage_engine::{BundleError, GateResult};
use pilotage_graph::GraphError;

use crate::calibrate::CalibrateError;
use crate::float16::NarrowError;
use crate::frames::FramesError;
use crate::lower::LowerError;
use crate::network::NetworkError;
use crate::quantize::QuantizeError;
use crate::recipe::RecipeError;

/// Why there is no engine. Messages begin with the file they are about.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The recipe says something that does not fit the model.
    #[error(transparent)]
    Content(#[from] ConfigError),
    /// The frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// An 8-bit engine without frames.
    #[error("an 8-bit engine needs frames: add a [calibration] table with frames = \"FOLDER\"")]
    NoFrames,
    /// The model makes no engine.
    #[error("{path}: {reason}")]
    Model {
        /// The ONNX file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Box<ModelError>,
    },
}

/// Why a model makes no engine.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It is not ONNX that Pilotage can take.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// It is no driving network.
    #[error("{0} nodes, more than the {MAX_ITEMS} an engine may have")]
    TooManyNodes(usize),
    /// It has no plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// No ranges could be found.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// It cannot be quantised as the recipe says.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// It has numbers that float16 has not.
    #[error(transparent)]
    Narrow(#[from] NarrowError),
    /// It could not be run on the frames.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The engine is too far from fp32.
    #[error(
        "as {precision} the engine is too far from the model:\n{}\nThe layers that lose \
         most (signal to noise): {layers}. Keep them in floating point ([layers]), set \
         on_gate_failure = \"mixed\" to have that done, calibrate on more frames or by another \
         method, or allow more ([[output]] gate)",
        GateTable(results)
    )]
    Gate {
        /// What was tried.
        precision: &'static str,
        /// How far it is.
        results: Vec<GateResult>,
        /// The worst layers.
        layers: String,
    },
    /// The frames that prove it cannot travel with it.
    #[error("the held-back frames cannot be packed: {0}")]
    Frames(#[source] image::ImageError),
    /// Its plan makes no engine file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// A gate's results, a line for each.
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
