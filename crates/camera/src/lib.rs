//! Sources of frames: [`open`] makes a V4L2 device, a command that writes frames to a pipe, or a
//! folder of pictures, from a [`CameraConfig`]; a lost camera is reopened.
//!
//! ```
//! use pilotage_camera::{CameraConfig, CameraError, open};
//! use pilotage_vision::Frame;
//!
//! /// The first frame of the camera that car.toml describes.
//! fn first_frame(config: &CameraConfig) -> Result<Frame, CameraError> {
//!     let mut camera = open(config)?;
//!     let (format, width, height) = camera.format();
//!     let mut frame = Frame::new(format, width, height)?;
//!     camera.next(&mut frame)?;
//!     Ok(frame)
//! }
//! ```

mod config;
mod error;
mod folder;
mod monitor;
mod pipe;
mod supervised;
pub mod v4l;

use std::time::Duration;

use pilotage_vehicle::Monotonic;
use pilotage_vision::{Frame, PixelFormat};

pub use config::{CameraConfig, FolderSource, PipeSource, Source, V4lSource};
pub use error::CameraError;

use folder::FolderCamera;
use pipe::PipeCamera;
use supervised::{Supervised, ThreadOpener};
use v4l::V4lCamera;

/// A source of frames; each call gives the newest one.
pub trait Camera {
    /// A description in one line: kind, size, rate.
    fn describe(&self) -> String;

    /// The format that [`next`](Self::next) needs: pixel format, width and height in pixels.
    fn format(&self) -> (PixelFormat, u32, u32);

    /// Time from one frame to the next.
    fn frame_period(&self) -> Duration;

    /// Waits for the next frame and fills `frame` with its pixels, capture time and sequence
    /// number. Frames that were missed are skipped; their numbers are missing. It may be called
    /// again after an error: a camera from [`open`] recovers by itself when possible, and each call
    /// returns within a bounded time.
    ///
    /// # Errors
    /// Fails if no frame comes in time; if `frame` does not have the camera's
    /// [`format`](Self::format); or if the camera fails or has no more frames. A camera from
    /// [`open`] also fails while its picture is frozen or black, and while it is being reopened.
    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError>;

    /// How long the camera may take before it counts as stuck.
    fn patience(&self) -> Patience {
        Patience::default()
    }

    /// Counters of the frames since the camera was opened.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// How long a camera may take before it is closed and reopened. The guard stops the car long before
/// that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the first frame after the camera was opened.
    pub first_frame: Duration,
    /// For each later frame.
    pub frame: Duration,
}

impl Default for Patience {
    /// For a device: USB cameras adjust their exposure before the first frame.
    fn default() -> Self {
        Self {
            first_frame: Duration::from_secs(3),
            frame: Duration::from_secs(1),
        }
    }
}

/// A camera that may be used by another thread than the one that opens and closes it.
pub type BoxedCamera = Box<dyn Camera + Send>;

/// Counters of a camera's frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames passed to the caller.
    pub frames: u64,
    /// Frames skipped because a newer one was available.
    pub skipped: u64,
    /// Frames missing from the device's sequence numbers.
    pub lost: u64,
    /// Frames that were damaged or of the wrong size.
    pub broken: u64,
    /// How often the camera was lost and reopened.
    pub reopened: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            skipped: self.skipped + other.skipped,
            lost: self.lost + other.lost,
            broken: self.broken + other.broken,
            reopened: self.reopened + other.reopened,
        }
    }
}

/// Opens the camera that `config` describes, and supervises it: while a camera is lost, stuck or
/// frozen, each [`Camera::next`] fails until it has recovered.
///
/// # Errors
/// Fails if the device, command or folder cannot be opened, or the device lacks the requested mode
/// (the message then lists its modes).
pub fn open(config: &CameraConfig) -> Result<BoxedCamera, CameraError> {
    let first = open_unsupervised(config)?;
    let again = {
        let config = config.clone();
        move || open_unsupervised(&config)
    };
    let limits = monitor::Limits {
        frozen_frames: config.frozen_frames,
        black_frames: config.black_frames,
    };
    Ok(Box::new(Supervised::new(
        first,
        ThreadOpener::new(again),
        Monotonic,
        limits,
        config.timeout,
    )))
}

/// The camera without supervision.
fn open_unsupervised(config: &CameraConfig) -> Result<BoxedCamera, CameraError> {
    Ok(match &config.source {
        Source::V4l(source) => Box::new(V4lCamera::open(source, config)?),
        Source::Pipe(source) => Box::new(PipeCamera::start(source, config)?),
        Source::Folder(source) => Box::new(FolderCamera::open(source, config)?),
    })
}
