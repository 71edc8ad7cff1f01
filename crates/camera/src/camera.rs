//! What a camera does.

use std::time::Duration;

use pilotage_vision::{Frame, PixelFormat};

use crate::CameraError;

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
    /// again after an error: a camera from [`open`](crate::open) recovers by itself when possible,
    /// and each call returns within a bounded time.
    ///
    /// # Errors
    /// Fails if no frame comes in time; if `frame` does not have the camera's
    /// [`format`](Self::format); or if the camera fails or has no more frames. A camera from
    /// [`open`](crate::open) also fails while its picture is frozen or black, and while it is being
    /// reopened.
    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError>;

    /// Checks that `frame` has the camera's [`format`](Self::format).
    ///
    /// # Errors
    /// [`CameraError::FrameSize`] if it has another.
    fn check_format(&self, frame: &Frame) -> Result<(), CameraError> {
        let (format, width, height) = self.format();
        match (frame.format(), frame.width(), frame.height()) == (format, width, height) {
            true => Ok(()),
            false => Err(CameraError::FrameSize { width, height }),
        }
    }

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
