//! Where frames come from.

use std::time::Duration;

use pilotage_vision::{Frame, PixelFormat};

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
    ///
    /// # Errors
    /// When no frame comes in time, or the camera is gone.
    fn next(&mut self, frame: &mut Frame) -> Result<(), CameraError>;
}

/// Why there is no frame.
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
    Guard(#[from] pilotage_guard::LinkError),
}
