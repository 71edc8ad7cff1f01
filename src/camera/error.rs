use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use pilotage_guard::{Fault, LinkError};
use pilotage_vision::VisionError;

/// Why there is no frame, or no camera.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The frame to fill has another size than the camera's.
    #[error("the camera gives {width}x{height} pixels, but the frame to fill is of another size")]
    FrameSize {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The guard that shares simulated time with the camera failed.
    #[error("the guard failed while the next frame was awaited: {0}")]
    Guard(#[from] LinkError),
    /// The size does not fit the pixel format.
    #[error(transparent)]
    Size(#[from] VisionError),
    /// The device cannot be opened.
    #[error("{camera} cannot be opened: {reason}{hint}")]
    Open {
        /// Its node.
        camera: String,
        /// The system's word on it.
        reason: io::Error,
        /// What may be wrong.
        hint: String,
    },
    /// The device cannot be asked or told something.
    #[error("{camera} does not {what}: {reason}")]
    SetUp {
        /// Its node.
        camera: String,
        /// What it was to do.
        what: &'static str,
        /// The system's word on it.
        reason: io::Error,
    },
    /// The device has no such mode.
    #[error("{camera} has no {wanted}; it has {offers}")]
    Offer {
        /// Its node.
        camera: String,
        /// Format, size and rate as car.toml has them.
        wanted: String,
        /// What to choose from.
        offers: String,
    },
    /// The device took another mode than it was told, and than it offers.
    #[error("{camera} was set to {wanted}, but took {got}; set `camera` in car.toml to that")]
    Refused {
        /// Its node.
        camera: String,
        /// The mode it was told.
        wanted: String,
        /// The mode it took.
        got: String,
    },
    /// A control cannot be set.
    #[error("{camera}: `camera.controls.{control}`: {problem}")]
    Control {
        /// Its node.
        camera: String,
        /// As car.toml names it.
        control: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The command cannot be started.
    #[error("`{command}` cannot be started: {reason}")]
    Start {
        /// The program.
        command: String,
        /// The system's word on it.
        reason: io::Error,
    },
    /// No frame in time.
    #[error("{camera} gave no frame in {} ms{hint}", waited.as_millis())]
    NoFrame {
        /// Which.
        camera: String,
        /// How long it was waited for.
        waited: Duration,
        /// What came instead.
        hint: &'static str,
    },
    /// The device was unplugged, or fails.
    #[error("{camera} is gone or fails: {reason}")]
    Gone {
        /// Its node.
        camera: String,
        /// The system's word on it.
        reason: io::Error,
    },
    /// The command ended.
    #[error("`{command}` ended ({})", how(*.status))]
    Exited {
        /// The program.
        command: String,
        /// How, where that is known.
        status: Option<ExitStatus>,
    },
    /// The picture does not change.
    #[error(
        "the camera's picture is frozen: {frames} frames in a row are the same; try more light, \
         a fixed exposure (`camera.controls`), a lower `camera.rate`, or plug the camera in again"
    )]
    Frozen {
        /// How many.
        frames: u32,
    },
    /// There is nothing to see.
    #[error(
        "the camera's picture is black for {frames} frames: uncover the lens, add light, or set a \
         longer exposure (`camera.controls`) at a lower `camera.rate`"
    )]
    Black {
        /// How many.
        frames: u32,
    },
    /// The camera is being opened again.
    #[error("the camera is away and being opened again: {reason}")]
    Away {
        /// What happened to it last.
        reason: String,
    },
    /// Opened again, it gives other frames than before.
    #[error("the camera came back with {now} frames where {before} ones were set up; start again")]
    Changed {
        /// Format and size before.
        before: String,
        /// Format and size now.
        now: String,
    },
    /// A folder cannot be read.
    #[error("{}: {reason}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's word on it.
        reason: io::Error,
    },
    /// A folder without pictures.
    #[error("{}: no pictures (.png, .jpg, .jpeg) there", folder.display())]
    Empty {
        /// Which.
        folder: PathBuf,
    },
    /// A picture cannot be used.
    #[error("{}: {problem}", picture.display())]
    Picture {
        /// Which.
        picture: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// All pictures have been shown.
    #[error("{}: all {pictures} pictures have been shown", folder.display())]
    Ended {
        /// Where they are.
        folder: PathBuf,
        /// How many.
        pictures: usize,
    },
}

impl CameraError {
    /// What the guard is told.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Frozen { .. } => Fault::FrozenPicture,
            _ => Fault::Camera,
        }
    }
}

fn how(status: Option<ExitStatus>) -> String {
    status.map_or_else(
        || "closed its output".to_owned(),
        |status| status.to_string(),
    )
}
