use std::path::PathBuf;
use std::time::Duration;

use pilotage_vision::PixelFormat;

use super::fourcc::Fourcc;

/// A camera other than the simulator's, as a checked car.toml describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// The source of frames.
    pub source: Source,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second; greater than 0.
    pub rate: f64,
    /// The longest wait for a frame; beyond it, the read fails.
    pub timeout: Duration,
    /// The longest time from opening the camera to its first frame; beyond it, the camera is opened
    /// again. `None` for the default of the kind.
    pub first_frame: Option<Duration>,
    /// How many identical frames count as a frozen picture; 0 disables the check.
    pub frozen_frames: u32,
    /// How many black frames count as a fault; 0 disables the check.
    pub black_frames: u32,
}

/// The source of frames.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A V4L2 device.
    V4l(V4lSource),
    /// A command's standard output.
    Pipe(PipeSource),
    /// Pictures in a folder.
    Folder(FolderSource),
}

/// A V4L2 device.
#[derive(Debug, Clone, PartialEq)]
pub struct V4lSource {
    /// The device node: /dev/video0, or a link in /dev/v4l/by-id.
    pub device: PathBuf,
    /// The pixel format; `None` for the cheapest to convert of those that the
    /// device has.
    pub format: Option<Fourcc>,
    /// Controls to set: by the kernel's name, `exposure_time_absolute`, or by number, `0x009a0902`.
    pub controls: Vec<(String, i64)>,
}

/// A command that writes raw frames to its standard output, one after another.
#[derive(Debug, Clone, PartialEq)]
pub struct PipeSource {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The pixel format of a frame.
    pub format: PixelFormat,
    /// Whether the chroma of an NV12 frame arrives as two planes, blue before red (I420, which
    /// rpicam-vid calls yuv420). The camera interleaves them.
    pub planar: bool,
    /// Bytes from one row to the next, if rows are padded. With `planar` a row of chroma has half as
    /// many.
    pub stride: Option<u32>,
    /// The time from a frame's capture to the arrival of its first byte.
    pub latency: Duration,
}

/// The pictures of a recording (.png, .jpg, .jpeg), in its order; without a list of records, in the
/// order of their names.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderSource {
    /// The folder.
    pub folder: PathBuf,
    /// Whether to start over after the last picture.
    pub repeat: bool,
}

impl CameraConfig {
    /// Time from one frame to the next; `Duration::MAX` if the rate is not greater than 0.
    pub fn period(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate).unwrap_or(Duration::MAX)
    }
}
