//! Why there is no frame, or no camera.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use pilotage_dataset::DatasetError;
use pilotage_vehicle::Fault;
use pilotage_vision::VisionError;

/// Why there is no frame, or no camera.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The frame to fill has another size or pixel format than the camera's.
    #[error(
        "the camera gives {width}x{height} pixels, but the frame to fill is of another size or \
         pixel format"
    )]
    FrameSize {
        /// Pixels per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The guard of the simulated car failed; the camera films that car's world.
    #[error("the guard failed while the next frame was awaited: {0}")]
    Simulation(Box<dyn std::error::Error + Send + Sync>),
    /// The size does not fit the pixel format.
    #[error(transparent)]
    Size(#[from] VisionError),
    /// The device cannot be opened.
    #[error("{camera} cannot be opened: {reason}{hint}")]
    Open {
        /// The device node.
        camera: String,
        /// The system's error.
        reason: io::Error,
        /// How to fix it; may be empty.
        hint: String,
    },
    /// The device refused a query or a setting.
    #[error("{camera} does not {what}: {reason}")]
    SetUp {
        /// The device node.
        camera: String,
        /// The operation that failed.
        what: &'static str,
        /// The system's error.
        reason: io::Error,
    },
    /// The device has no such mode.
    #[error("{camera} has no {wanted}; it has {offers}")]
    Offer {
        /// The device node.
        camera: String,
        /// Format (if it is set), size and rate from car.toml.
        wanted: String,
        /// The modes that the device offers.
        offers: String,
    },
    /// The device selected another mode than the requested one.
    #[error(
        "{camera} was set to {wanted}, but took {got}; set width, height and rate of `[camera]` to \
         these values"
    )]
    Refused {
        /// The device node.
        camera: String,
        /// The requested mode.
        wanted: String,
        /// The selected mode.
        got: String,
    },
    /// A control cannot be set.
    #[error("{camera}: `camera.controls.{control}`: {problem}")]
    Control {
        /// The device node.
        camera: String,
        /// The control's name in car.toml.
        control: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The command cannot be started.
    #[error("`{command}` cannot be started: {reason}")]
    Start {
        /// The program.
        command: String,
        /// The system's error.
        reason: io::Error,
    },
    /// No frame came in time.
    #[error("{camera} gave no frame in {} ms{hint}", waited.as_millis())]
    NoFrame {
        /// The camera.
        camera: String,
        /// The waiting time.
        waited: Duration,
        /// What came instead; may be empty.
        hint: &'static str,
    },
    /// The camera was opened, and no frame ever came.
    #[error(
        "{camera} gave no first frame in {:.1} s; if it needs longer to start, set \
         `camera.first_frame_ms` in car.toml", waited.as_secs_f64()
    )]
    NoFirstFrame {
        /// The camera.
        camera: String,
        /// The waiting time.
        waited: Duration,
    },
    /// A command's frames have another length.
    #[error(
        "`{command}` writes {bytes} bytes a frame, but `camera.width`, `height` and `format` make \
         {expected}{hint}"
    )]
    Length {
        /// The program.
        command: String,
        /// Bytes between two pauses.
        bytes: usize,
        /// Bytes of a frame.
        expected: usize,
        /// How to fix it.
        hint: String,
    },
    /// The device was unplugged, or fails.
    #[error("{camera} is gone or fails: {reason}")]
    Gone {
        /// The device node.
        camera: String,
        /// The system's error.
        reason: io::Error,
    },
    /// The command ended or closed its output.
    #[error("`{command}` ended ({})", how(*.status))]
    Exited {
        /// The program.
        command: String,
        /// The exit status, if the command has ended.
        status: Option<ExitStatus>,
    },
    /// The picture does not change.
    #[error(
        "the camera's picture is frozen: {frames} frames in a row are the same; try more light, \
         a fixed exposure (`camera.controls`), a lower `camera.rate`, or plug the camera in again"
    )]
    Frozen {
        /// The number of identical frames.
        frames: u32,
    },
    /// The picture is black.
    #[error(
        "the camera's picture is black for {frames} frames: uncover the lens, add light, or set a \
         longer exposure (`camera.controls`) at a lower `camera.rate`"
    )]
    Black {
        /// The number of black frames.
        frames: u32,
    },
    /// The camera was lost, and is being reopened.
    #[error("the camera is lost and is being opened again: {reason}")]
    Reopening {
        /// Why it was lost, or why the latest attempt failed.
        reason: String,
    },
    /// The reopened camera has another format or size than before.
    #[error(
        "the camera came back with {now} frames, but was set up for {before}; restart `pilotage \
         drive`"
    )]
    Changed {
        /// Format and size before.
        before: String,
        /// Format and size now.
        now: String,
    },
    /// A folder has no recording that can be read.
    #[error(transparent)]
    Folder(#[from] DatasetError),
    /// Pictures of a folder have another size than the camera.
    #[error(
        "{}: {count} of {of} pictures have another size than `camera.width` and `camera.height`, \
         {}x{}; the first is {}, {}x{}: set both to the size of most pictures, and remove the others",
        folder.display(), wanted.0, wanted.1, picture.display(), size.0, size.1
    )]
    Sizes {
        /// The folder.
        folder: PathBuf,
        /// How many pictures.
        count: usize,
        /// The pictures of the folder, or those that were checked.
        of: usize,
        /// The first of them.
        picture: PathBuf,
        /// Its width and height, pixels.
        size: (u32, u32),
        /// The camera's width and height, pixels.
        wanted: (u32, u32),
    },
    /// All pictures have been shown.
    #[error("{}: all {pictures} pictures have been shown", folder.display())]
    Ended {
        /// The folder.
        folder: PathBuf,
        /// The number of pictures.
        pictures: usize,
    },
}

impl CameraError {
    /// The fault that is reported to the guard.
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
