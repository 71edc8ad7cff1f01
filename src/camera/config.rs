use std::path::PathBuf;
use std::time::Duration;

use pilotage_vision::PixelFormat;

use super::v4l::Fourcc;

/// A camera other than the simulator's, as a checked car.toml describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// Where its frames come from.
    pub source: Source,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second.
    pub rate: f64,
    /// A frame that takes longer is an error.
    pub timeout: Duration,
    /// So many identical frames are a frozen picture; 0 for never.
    pub frozen_frames: u32,
    /// So many black frames are a fault; 0 for never.
    pub black_frames: u32,
}

/// Where frames come from.
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
    /// Its node: /dev/video0, or a link in /dev/v4l/by-id.
    pub device: PathBuf,
    /// How pixels are to come; the best the device has when none.
    pub format: Option<Fourcc>,
    /// Controls to set: by the kernel's name, `exposure_time_absolute`, or its number,
    /// `0x009a0902`.
    pub controls: Vec<(String, i64)>,
}

/// A command that writes raw frames to its standard output, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct PipeSource {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How a frame's pixels are laid out.
    pub format: PixelFormat,
}

/// Pictures (.png, .jpg, .jpeg), in the order of their names.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderSource {
    /// Where they are.
    pub folder: PathBuf,
    /// Whether the first comes again after the last.
    pub repeat: bool,
}

impl CameraConfig {
    /// Time from one frame to the next.
    pub fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }
}
