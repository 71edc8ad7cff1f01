//! Where frames come from: [`open`] makes the camera that car.toml describes. The
//! simulator's is in [`simulation`](crate::simulation).

mod clock;
mod config;
mod error;
pub mod folder;
pub mod monitor;
pub mod pipe;
pub mod supervised;
pub mod v4l;

use std::time::Duration;

use pilotage_vision::{Frame, PixelFormat};

pub use clock::Monotonic;
pub use config::{CameraConfig, FolderSource, PipeSource, Source, V4lSource};
pub use error::CameraError;

use folder::FolderCamera;
use pipe::PipeCamera;
use supervised::{ByThread, Supervised};
use v4l::V4lCamera;

/// Gives frames, the newest there is each time it is asked.
pub trait Camera {
    /// One line for people: kind, size, rate.
    fn describe(&self) -> String;

    /// What [`next`](Self::next) fills: format, width, height.
    fn format(&self) -> (PixelFormat, u32, u32);

    /// Time from one frame to the next.
    fn frame_period(&self) -> Duration;

    /// Waits for the next frame and fills `frame` with it, its capture time and
    /// its number. Frames that went by unseen are skipped; their numbers are missing.
    /// After an error it may be called again: a camera from [`open`] comes back by
    /// itself when it can, and each call returns within a bounded time.
    ///
    /// # Errors
    /// When no frame comes in time, or the camera is gone.
    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError>;

    /// What became of the frames so far.
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// A camera that can be opened and closed by another thread than uses it.
pub type BoxedCamera = Box<dyn Camera + Send>;

/// What became of the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Handed over.
    pub frames: u64,
    /// Passed over, because a newer one was there.
    pub skipped: u64,
    /// Never seen: gaps in the numbers that the camera gives its frames.
    pub lost: u64,
    /// Of the wrong size, or marked or found damaged.
    pub broken: u64,
    /// Times that the camera was lost and opened again.
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

/// Opens the camera that `config` describes, and keeps watch over it: a camera that
/// is lost, stuck or frozen is an error at each [`Camera::next`] until it is back.
///
/// # Errors
/// When it is not there, or cannot do what is asked of it; the message says what it can.
pub fn open(config: &CameraConfig) -> Result<BoxedCamera, CameraError> {
    let first = once(config)?;
    let again = {
        let config = config.clone();
        move || once(&config)
    };
    let limits = monitor::Limits {
        frozen_frames: config.frozen_frames,
        black_frames: config.black_frames,
    };
    Ok(Box::new(Supervised::new(
        first,
        ByThread::new(again),
        Monotonic,
        limits,
        config.timeout,
    )))
}

/// The bare camera, unwatched.
fn once(config: &CameraConfig) -> Result<BoxedCamera, CameraError> {
    Ok(match &config.source {
        Source::V4l(source) => Box::new(V4lCamera::open(source, config)?),
        Source::Pipe(source) => Box::new(PipeCamera::start(source, config)?),
        Source::Folder(source) => Box::new(FolderCamera::open(source, config)?),
    })
}
