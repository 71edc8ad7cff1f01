//! What was passed over or assumed in reading a recording.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::BadPictures;

/// Something that an operator should know about a recording that was read.
#[derive(Debug)]
pub enum Note {
    /// The last row of a list was cut off and is passed over.
    CutRow {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
    },
    /// The last rows of a list name scans that are not there, and are passed over.
    NoScans {
        /// The list.
        path: PathBuf,
        /// The first of them, counted from 1.
        line: u64,
        /// How many.
        count: usize,
    },
    /// Records that are marked as deleted are passed over.
    Deleted {
        /// The file with the marks.
        path: PathBuf,
        /// How many records of the recording are marked.
        count: usize,
    },
    /// Records that cannot be read are passed over.
    BadRecords {
        /// The tub.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// The first of them, with the reason.
        first: String,
    },
    /// Records without a picture are passed over.
    NoPicture {
        /// The tub.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
    /// The pictures of the folder have no list, but the folder above has one.
    ListAbove {
        /// The folder of pictures.
        folder: PathBuf,
        /// The list.
        list: PathBuf,
    },
    /// The manifest of a tub has no list of catalogs; the catalogs in the folder are read.
    NoCatalogList {
        /// The manifest.
        path: PathBuf,
    },
    /// Times that are not numbers are passed over.
    NoTimes {
        /// The list.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Records of a tub that the car's pilot drove; their steering is the operator's.
    Piloted {
        /// The tub.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
    /// Pictures were found by the last parts of their paths.
    Elsewhere {
        /// The list.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// A log of messages ends early or is damaged.
    LogEnd {
        /// The log.
        path: PathBuf,
    },
    /// Messages of a log cannot be parsed and are passed over.
    Malformed {
        /// The log.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Pictures of a log have no command.
    NoCommand {
        /// The log.
        path: PathBuf,
        /// How many.
        count: usize,
        /// How much older than a picture its command may be, seconds, if commands were found by their
        /// times.
        tolerance: Option<f64>,
    },
    /// Pictures of a log are left out, because nothing drove the car.
    Idle {
        /// The log.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Pictures of a drive's log are left out, because the log has lost their commands.
    LostCommands {
        /// The log.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Of the steering, only the wheels' angle is known.
    Angles {
        /// The log.
        path: PathBuf,
    },
    /// A few pictures cannot be used and are passed over.
    BadPictures(BadPictures),
    /// The pictures have several sizes.
    Sizes {
        /// The recording.
        folder: PathBuf,
        /// The number of pictures of each width and height.
        sizes: BTreeMap<(u32, u32), usize>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutRow { path, line } => write!(
                f,
                "{}, line {line}: the last row is cut off and is passed over",
                path.display()
            ),
            Self::NoScans { path, line, count } => write!(
                f,
                "{}: the scans of the last {count} rows, from line {line} on, were cut off and the rows are \
                 passed over",
                path.display()
            ),
            Self::Deleted { path, count } => write!(
                f,
                "{}: {count} records are marked as deleted and are passed over",
                path.display()
            ),
            Self::BadRecords {
                folder,
                count,
                first,
            } => write!(
                f,
                "{}: {count} records cannot be read and are passed over; the first is {first}",
                folder.display()
            ),
            Self::NoPicture { folder, count } => write!(
                f,
                "{}: {count} records have no picture and are passed over",
                folder.display()
            ),
            Self::ListAbove { folder, list } => write!(
                f,
                "{}: pictures without a list; the recording with the driver's commands may be the \
                 folder above, of {}",
                folder.display(),
                list.display()
            ),
            Self::NoCatalogList { path } => write!(
                f,
                "{}: the list of catalogs and deleted records is missing; all records of the \
                 catalogs in the folder are read",
                path.display()
            ),
            Self::NoTimes { path, count } => write!(
                f,
                "{}: {count} timestamps are not a number of seconds and are passed over",
                path.display()
            ),
            Self::Piloted { folder, count } => write!(
                f,
                "{}: in {count} records the car's pilot drove, not the operator; their steering \
                 and throttle are the operator's, often 0",
                folder.display()
            ),
            Self::Elsewhere { path, count } => write!(
                f,
                "{}: {count} pictures do not lie where the list names them; they were found by \
                 the last parts of their paths",
                path.display()
            ),
            Self::LogEnd { path } => write!(
                f,
                "{}: its end is missing or damaged; the rest is read",
                path.display()
            ),
            Self::Malformed { path, count } => write!(
                f,
                "{}: {count} messages cannot be parsed and are passed over",
                path.display()
            ),
            Self::NoCommand {
                path,
                count,
                tolerance,
            } => {
                write!(f, "{}: {count} pictures have no command", path.display())?;
                match tolerance {
                    Some(tolerance) => write!(
                        f,
                        " in the {tolerance} s before them (`pilotage data import` --tolerance)"
                    ),
                    None => Ok(()),
                }
            }
            Self::Idle { path, count } => write!(
                f,
                "{}: {count} pictures of a car that was not driven are left out",
                path.display()
            ),
            Self::LostCommands { path, count } => write!(
                f,
                "{}: {count} pictures are left out, because the log has lost their commands",
                path.display()
            ),
            Self::Angles { path } => write!(
                f,
                "{}: it has the wheels' angle in radians, not the steering: `pilotage data import` \
                 --car converts with the car's [mixer]",
                path.display()
            ),
            Self::BadPictures(bad) => bad.fmt(f),
            Self::Sizes { folder, sizes } => {
                write!(
                    f,
                    "{}: pictures of {} sizes: ",
                    folder.display(),
                    sizes.len()
                )?;
                for (index, ((width, height), count)) in sizes.iter().take(4).enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{count} of {width}x{height}")?;
                }
                if sizes.len() > 4 {
                    write!(f, ", ...")?;
                }
                write!(f, "; are they all of one camera?")
            }
        }
    }
}
