//! Why a film cannot be made.

use std::io;
use std::path::{Path, PathBuf};

use pilotage_dataset::DatasetError;
use pilotage_drivelog::ReadError;

use super::plan::MOST_FRAMES;
use crate::pilot::StepError;

/// Why a film cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilmError {
    /// The pictures or their commands cannot be read.
    #[error(transparent)]
    Source(#[from] DatasetError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The log has commands, and no pictures.
    #[error(
        "{}: has no pictures; by hand, a physical car's log has none: record the drive with \
         `pilotage record`", .0.display()
    )]
    NoPictures(PathBuf),
    /// The log has more iterations than are read.
    #[error("{}: has more than {most} iterations; such a log is not read", path.display())]
    TooManyStates {
        /// The log.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// None of the pictures can be decoded.
    #[error("{}: none of its pictures can be used; `pilotage data show` lists why", .0.display())]
    NoneUsable(PathBuf),
    /// The engine's answer depends on more than the picture that is covered.
    #[error(
        "engine `{0}` gets more than one picture ([memory], [[measurement]], [command] or [scan] in its recipe), so \
         that what it steers by is not in one; leave --engine out"
    )]
    Memory(String),
    /// The engine whose sight is shown failed.
    #[error("engine `{engine}`: {reason}")]
    Engine {
        /// Its name.
        engine: String,
        /// What is wrong.
        reason: StepError,
    },
    /// The range has no picture.
    #[error(
        "nothing is between {from} s and {to} s: the pictures are of {length:.1} s; choose --from \
         below --to, within them"
    )]
    EmptyRange {
        /// Seconds from the first picture.
        from: f64,
        /// As `from`.
        to: f64,
        /// Of all pictures.
        length: f64,
    },
    /// The film would be too long.
    #[error(
        "the film would have {frames:.0} frames, and {MOST_FRAMES} is the limit: choose a part with \
         --from and --to or --last, or a larger --speed-up or smaller --rate"
    )]
    TooLong {
        /// Its frames.
        frames: f64,
    },
    /// The name says neither GIF nor folder.
    #[error(
        "{}: a film is a GIF or a folder of numbered pictures: end its name with .gif, or name a \
         folder without an ending", .0.display()
    )]
    Ending(PathBuf),
    /// A video was asked for.
    #[error("{}", video(.0))]
    Video(PathBuf),
    /// The file exists.
    #[error("{}: exists; name another file, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// The file's name is that of a folder or a device.
    #[error("{}: exists, and is no file that can be replaced; name another file", .0.display())]
    NotFile(PathBuf),
    /// The folder exists and is not empty, or is a file.
    #[error("{}: exists, and is not an empty folder; name a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// The film cannot be written.
    #[error("cannot write the film to {}: {reason}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
}

/// What to do for a video.
fn video(file: &Path) -> String {
    let folder = file.with_extension("");
    format!(
        "{}: videos are not encoded here; name the folder {} instead of it: then its numbered \
         pictures, and the command of ffmpeg that makes a video of them, are written",
        file.display(),
        folder.display()
    )
}
