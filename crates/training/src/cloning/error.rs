//! Why training from recordings failed.

use std::io;
use std::path::PathBuf;

use pilotage_dataset::DatasetError;

use super::TargetError;
use super::export::WriteError;
use super::fit::FitError;
use super::frames::FramesError;
use super::model::ModelError;
use super::picture::PictureError;
use super::recipe::TrainingRecipeError;
use super::split::TooFew;
use super::state::StateError;
use crate::architecture::ArchitectureError;

/// Why training failed.
#[derive(Debug, thiserror::Error)]
pub enum CloningError {
    /// The user's model cannot be trained.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The recordings do not say what was recorded.
    #[error(
        "{}: does not say whether a simulated or a physical car was recorded; add --domain physical, \
         or --domain simulated for recordings of a simulator", .0.display()
    )]
    UnknownDomain(PathBuf),
    /// The recordings are of both kinds of car.
    #[error(
        "{} is of a simulated car and {} of a physical one; say with --domain which of them the \
         network is to drive", simulated.display(), physical.display()
    )]
    MixedDomains {
        /// A recording of a simulated car.
        simulated: PathBuf,
        /// One of a physical car.
        physical: PathBuf,
    },
    /// The domain that was named is not that of any recording.
    #[error(
        "{}: is of a simulated car, which no network for a physical one is trained by alone; leave \
         `domain` out, or add recordings of the physical car", .0.display()
    )]
    OtherDomain(PathBuf),
    /// There are no cameras at the sides.
    #[error("no recording has pictures of cameras at the sides; leave --side-cameras out")]
    NoSides,
    /// A file to write is not acceptable.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A folder cannot be read.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// A recording is named twice.
    #[error("{} is named twice; its frames would be learned and held back", .0.display())]
    Twice(PathBuf),
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] DatasetError),
    /// The recipe does not fit the recordings.
    #[error(transparent)]
    Recipe(#[from] TrainingRecipeError),
    /// A recording has no values to learn.
    #[error("{}: {reason}", folder.display())]
    Labels {
        /// The recording with the most records without values.
        folder: PathBuf,
        /// What is missing.
        reason: TrainingRecipeError,
    },
    /// The network cannot have this input.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The frames cannot be used.
    #[error(transparent)]
    Frames(#[from] FramesError),
    /// There are too few frames.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// The checkpoint cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The network cannot be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The model or the recipe cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The picture cannot be written.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl From<ModelError> for CloningError {
    fn from(reason: ModelError) -> Self {
        Self::Model(Box::new(reason))
    }
}
