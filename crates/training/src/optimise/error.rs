//! Why an optimisation failed.

use std::io;
use std::path::PathBuf;

use pilotage_compiler::{CalibrateError, CompileError, QuantizeError};
use pilotage_dataset::DatasetError;
use pilotage_learning::LearningError;

use super::channels::ChannelsError;
use super::export::ExportError;
use super::recipe::OptimiseRecipeError;
use crate::architecture::ArchitectureError;
use crate::cloning::TargetError;
use crate::cloning::frames::FramesError;
use crate::cloning::split::TooFew;

/// Why an optimisation failed.
#[derive(Debug, thiserror::Error)]
pub enum OptimiseError {
    /// The recipe cannot be used.
    #[error(transparent)]
    Recipe(#[from] OptimiseRecipeError),
    /// No strategy is named.
    #[error(
        "no strategy: write strategy = \"qat\" under [optimise] in the recipe, or add --strategy \
         qat (docs/training.md lists them)"
    )]
    NoStrategy,
    /// The network gets more than a picture.
    #[error(
        "a network with more inputs than a picture ([memory], [[measurement]], [command] or [scan] in the recipe) is not \
         trained here; float32, float16, \
         int8, int8-dynamic, int8-integer, int8-mixed and int4 need no training"
    )]
    Memory,
    /// The network answers with a path.
    #[error(
        "a network with a path ([decoder] in the recipe) is not trained here; float32, float16, \
         int8, int8-dynamic, int8-mixed and int4 need no training"
    )]
    Decoder,
    /// Several strategies have one name.
    #[error("--out names the files of one strategy; leave it out to optimise by several")]
    SeveralNames,
    /// The files would replace the trained model.
    #[error("{} is the trained model; choose another name with --out", .0.display())]
    SourceModel(PathBuf),
    /// A file to write is not acceptable.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A file or folder cannot be read.
    #[error("{}: {reason}", path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The trained model cannot be read, or does not fit the recipe.
    #[error(transparent)]
    Model(#[from] CompileError),
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// The frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// There are too few frames.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// The model was quantized before.
    #[error(
        "{} is quantized already; optimise the float model that it was made from", .0.display()
    )]
    IsQuantized(PathBuf),
    /// The model cannot be trained.
    #[error(transparent)]
    Learning(#[from] LearningError),
    /// The model cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The ranges of activations cannot be found.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// Not enough channels can be removed.
    #[error(transparent)]
    Channels(#[from] ChannelsError),
    /// The student cannot have this input.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The student cannot be built.
    #[error(transparent)]
    Student(#[from] crate::export::ExportError),
    /// Distillation to a network with bins.
    #[error(
        "the student of \"distill\" answers numbers, and this model answers bins; use another \
         strategy, such as \"structured\""
    )]
    Bins,
    /// The training diverged.
    #[error("{stage} diverged; reduce optimise.rate, now {rate}")]
    Diverged {
        /// The stage.
        stage: String,
        /// The initial learning rate.
        rate: f64,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
}
