//! One reader for recordings: pictures with what the driver did, in the order of the drive.
//!
//! [`Recording::open`] detects the format by the content:
//!
//! | format | recognized by | written by |
//! |---|---|---|
//! | data.csv | `data.csv` | `pilotage record`, JdeRobot's DeepLearningStudio, [`FolderWriter`] |
//! | tub, version 2 | `manifest.json` | Donkeycar from 4.0 on, [`TubWriter`] |
//! | tub, version 1 | `record_N.json` | Donkeycar before 4.0 |
//! | Udacity | `driving_log.csv` | Udacity's self-driving car simulator |
//! | MCAP | a file | ROS 2, `pilotage drive`, [`McapWriter`] |
//! | pictures | PNG and JPEG files only | anything |
//!
//! Every format gives the same [`Record`]s: steering is positive to the left, times are in
//! seconds. A list file is read as a stream and never cut short silently; no path leaves the
//! folder; nothing but a regular file is opened. [`Recording::for_each_picture`] decodes pictures
//! with checks, collects the bad ones, and accepts up to [`BAD_SHARE_PERCENT`] of them.
//! docs/recordings.md describes the formats and the rules for users.
//!
//! ```no_run
//! use std::path::Path;
//! use pilotage_dataset::Recording;
//!
//! let recording = Recording::open(Path::new("tub"))?;
//! for record in recording.records() {
//!     let picture = recording.decode(record);
//!     println!("{}: {:?} {}", record.picture.display(), record.steering, picture.is_ok());
//! }
//! # Ok::<(), pilotage_dataset::DatasetError>(())
//! ```

mod data_csv;
mod domain;
mod error;
mod file;
mod format;
mod histogram;
mod limits;
mod lines;
mod marks;
mod mcap;
mod notes;
mod order;
mod path;
mod picture;
mod pictures;
mod plain;
mod record;
mod recording;
mod scans;
mod table;
mod tub;
mod udacity;
mod write;

pub use domain::{RECORDING, read_domain, write_domain};
pub use error::{
    BadPicture, BadPictures, DatasetError, LogProblem, PictureProblem, RowProblem, ScansProblem,
};
pub use format::Format;
pub use histogram::{BARS, Histogram};
pub use limits::{BAD_SHARE_PERCENT, LARGEST_SIDE, MOST_RECORDS, tolerable};
pub use marks::{BY_HAND, LEFT_OUT, Marks, marks_file};
pub use mcap::LogOptions;
pub use notes::Note;
pub use order::natural;
pub use path::PathProblem;
pub use picture::{Picture, decode};
pub use pictures::{Decoded, evenly};
pub use record::{Extra, Record};
pub use recording::Recording;
pub use scans::{SCANS, ScanWriter, scan_count};
pub use write::{FolderWriter, McapWriter, PictureFile, TubWriter, WriteError};
