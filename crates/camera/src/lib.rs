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

mod camera;
mod config;
mod error;
mod folder;
mod fourcc;
mod monitor;
mod pipe;
mod supervised;
pub mod v4l;

use pilotage_vehicle::Monotonic;

pub use camera::{BoxedCamera, Camera, Counters, Patience};
pub use config::{CameraConfig, FolderSource, PipeSource, Source, V4lSource};
pub use error::CameraError;

use folder::FolderCamera;
use pipe::PipeCamera;
use supervised::{Supervised, ThreadOpener};
use v4l::V4lCamera;

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

/// Checks without a device what can be checked: the pictures of a folder.
///
/// # Errors
/// Fails if the folder has no recording that can be read, or more than 5 % of its pictures (of 2000,
/// evenly spaced, if there are more) cannot be decoded, or have another size than the configuration
/// says. Fewer are logged as warnings.
pub fn check(config: &CameraConfig) -> Result<(), CameraError> {
    match &config.source {
        Source::Folder(source) => FolderCamera::open(source, config)?.check(),
        Source::V4l(_) | Source::Pipe(_) => Ok(()),
    }
}

/// The camera without supervision.
fn open_unsupervised(config: &CameraConfig) -> Result<BoxedCamera, CameraError> {
    Ok(match &config.source {
        Source::V4l(source) => Box::new(V4lCamera::open(source, config)?),
        Source::Pipe(source) => Box::new(PipeCamera::start(source, config)?),
        Source::Folder(source) => Box::new(FolderCamera::open(source, config)?),
    })
}
