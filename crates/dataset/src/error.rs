//! Why a recording cannot be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use pilotage_mcap::McapError;
use pilotage_vehicle::LONGEST_COMMAND;

use crate::limits::{BAD_SHARE_PERCENT, LARGEST_SIDE, MOST_RECORDS, tolerable};
use crate::path::PathProblem;

/// Bad pictures that a message names; the rest are counted.
const NAMED: usize = 8;

/// Why a recording cannot be read. Messages name the file, the line and the column, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or folder cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// A file of a folder was named as the recording.
    #[error("{}: is a file of a recording; name its folder, {}", path.display(), folder.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// A file of the recording is a FIFO, a device, a socket or a folder.
    #[error("{}: is {kind}, not a file; remove it", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file of the recording is a symbolic link out of the folder.
    #[error("{}: is a link out of the folder; copy the file into it", path.display())]
    Outside {
        /// The file.
        path: PathBuf,
    },
    /// The folder has no recording of a known format.
    #[error(
        "{}: no pictures (.png, .jpg, .jpeg) there, and no data.csv, manifest.json, \
         record_*.json or driving_log.csv; {hint}", folder.display()
    )]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// What to do.
        hint: String,
    },
    /// A log has no record that can be used.
    #[error(
        "{}: none of its pictures is of a car that was driven; record while driving", path.display()
    )]
    NoRecords {
        /// The log.
        path: PathBuf,
    },
    /// A log of messages cannot be read as a recording.
    #[error("{}: {problem}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why not.
        problem: LogProblem,
    },
    /// The file with the domain cannot be used.
    #[error(
        "{}: {problem}; it must be {{\"domain\": \"physical\"}} or {{\"domain\": \"simulated\"}}",
        path.display()
    )]
    Domain {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file of a recording's scans cannot be read.
    #[error("{}: {problem}", path.display())]
    Scans {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: ScansProblem,
    },
    /// Records were named that the recording does not have.
    #[error(
        "{}: has the records 0 to {last}, and not {from} to {to}", path.display()
    )]
    NoSuchRecords {
        /// The recording.
        path: PathBuf,
        /// Its last record.
        last: usize,
        /// The first of those that were named.
        from: usize,
        /// The last of them.
        to: usize,
    },
    /// The file with the marks was changed so that a mark cannot be removed from it.
    #[error(
        "{}: has rows that `pilotage data` did not write so; delete the rows there by hand", path.display()
    )]
    MarksByHand {
        /// The file with the marks.
        path: PathBuf,
    },
    /// The folder has the lists of two formats.
    #[error(
        "{}: has both {first} and {second}; move one of them to another folder", folder.display()
    )]
    Ambiguous {
        /// The folder.
        folder: PathBuf,
        /// The first list.
        first: &'static str,
        /// The second list.
        second: &'static str,
    },
    /// More records than a recording may have.
    #[error("{}: more than {MOST_RECORDS} records; split the recording", path.display())]
    TooMany {
        /// The list or folder.
        path: PathBuf,
    },
    /// A list is in an encoding that is not read.
    #[error("{}: {problem}; save the file as UTF-8", path.display())]
    Encoding {
        /// The list.
        path: PathBuf,
        /// What the file seems to be.
        problem: &'static str,
    },
    /// A list has no such column.
    #[error(
        "{}, line {line}: no column `{column}` among the titles `{found}`; the first line names \
         the columns, such as `image_name,v,w,timestamp`", path.display()
    )]
    NoColumn {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The missing column.
        column: &'static str,
        /// The titles that were found.
        found: String,
    },
    /// A list names a column twice.
    #[error("{}, line 1: two columns are called `{column}`; rename or remove one", path.display())]
    ColumnTwice {
        /// The list.
        path: PathBuf,
        /// The title.
        column: String,
    },
    /// A row of a list cannot be read.
    #[error("{}, line {line}{}: {problem}; {}", path.display(), in_column(column), problem.advice())]
    Row {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The column's title, or empty.
        column: String,
        /// What is wrong.
        problem: RowProblem,
    },
    /// A tub's manifest cannot be read.
    #[error(
        "{}, line {line}: {problem}; restore the file from a copy of the tub", path.display()
    )]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// Too many records of a tub cannot be read.
    #[error(
        "{}: {bad} of {of} records cannot be read, more than {BAD_SHARE_PERCENT} %; the first is \
         {first}", folder.display()
    )]
    BadRecords {
        /// The tub.
        folder: PathBuf,
        /// Records that cannot be read.
        bad: usize,
        /// Records in all.
        of: usize,
        /// The first of them, with the reason.
        first: String,
    },
    /// Too many pictures cannot be used.
    #[error(transparent)]
    BadPictures(BadPictures),
}

fn in_column(column: &str) -> String {
    match column {
        "" => String::new(),
        column => format!(", column `{column}`"),
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// A needed field is empty.
    #[error("{0}")]
    Missing(&'static str),
    /// A field is not a number.
    #[error("`{0}` is not a number")]
    NotNumber(String),
    /// A text cannot be the name of a high-level command.
    #[error(
        "`{0}` is not the name of a command: lower-case letters, digits, _ and -, at most {LONGEST_COMMAND}"
    )]
    CommandName(String),
    /// A row names a scan that is not there.
    #[error("there is no scan {place}: scans.bin has {count}")]
    NoScan {
        /// As written.
        place: String,
        /// How many there are.
        count: usize,
    },
    /// A number lies outside its range.
    #[error("{value} is outside {range}")]
    Range {
        /// The number.
        value: String,
        /// The range, with its unit.
        range: &'static str,
    },
    /// A picture's path is not one within the folder.
    #[error(transparent)]
    Path(#[from] PathProblem),
    /// The row has another number of fields than the title row.
    #[error("{found} fields, but {expected} columns")]
    Fields {
        /// The row's fields.
        found: usize,
        /// The columns.
        expected: usize,
    },
    /// A quoted field does not end.
    #[error("a quote is not closed")]
    Quote,
    /// The text is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The line is longer than any row of such a list.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// The line is not a JSON object.
    #[error("not a JSON object ({0})")]
    Json(String),
}

impl RowProblem {
    /// What to do.
    const fn advice(&self) -> &'static str {
        match self {
            Self::NoScan { .. } => "restore scans.bin, or delete this row",
            _ => "correct the row or delete it",
        }
    }

    /// Whether the row names a scan beyond those of a file that a power cut may have shortened.
    pub(crate) fn is_scan_beyond_end(&self) -> bool {
        match self {
            Self::NoScan { place, count } => {
                *count > 0 && place.parse().is_ok_and(|place: usize| place >= *count)
            }
            _ => false,
        }
    }
}

/// What is wrong with a file of scans. A message continues the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScansProblem {
    /// The first bytes are not those of such a file.
    #[error("is not a file of scans, or is cut off in its first 28 bytes; restore it from a copy")]
    Header,
    /// The file is too long.
    #[error("is longer than 2 GiB; split the recording")]
    TooLong,
}

/// Why a log is no recording. A message continues the file's name.
#[derive(Debug, thiserror::Error)]
pub enum LogProblem {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] McapError),
    /// The file is no log.
    #[error("is not an MCAP file; name an MCAP file, or the folder of a recording")]
    NotMcap,
    /// No topic has pictures.
    #[error(
        "has no topic of sensor_msgs/msg/CompressedImage or foxglove.CompressedImage (JSON); {0}"
    )]
    NoPictures(String),
    /// Several topics could be meant.
    #[error("has several topics of {what}: {topics}; choose one: `pilotage data import` {option}")]
    Several {
        /// What the topics have.
        what: &'static str,
        /// Their names.
        topics: String,
        /// The option that chooses.
        option: &'static str,
    },
    /// A topic that was named does not exist, or is of another kind.
    #[error("has no topic `{name}` of {what}; it has {topics}")]
    NoTopic {
        /// The named topic.
        name: String,
        /// What it should have.
        what: &'static str,
        /// The topics with their types.
        topics: String,
    },
    /// Too many messages cannot be parsed.
    #[error("{bad} of {of} messages of {what} cannot be parsed, more than {BAD_SHARE_PERCENT} %")]
    Malformed {
        /// What the messages should have.
        what: &'static str,
        /// Messages that cannot be parsed.
        bad: usize,
        /// Messages in all.
        of: usize,
    },
    /// A joystick has fewer axes.
    #[error(
        "its Joy messages have {axes} axes, so there is no axis {wanted}; they count from 0: \
         `pilotage data import` --steering-axis and --throttle-axis"
    )]
    Axis {
        /// The axis that was named.
        wanted: usize,
        /// The axes of a message.
        axes: usize,
    },
}

/// A picture that cannot be used.
#[derive(Debug)]
pub struct BadPicture {
    /// Its path, relative to the recording's folder.
    pub picture: PathBuf,
    /// Why it cannot be used.
    pub problem: PictureProblem,
}

impl fmt::Display for BadPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.picture.display(), self.problem)
    }
}

/// The pictures of a recording that cannot be used.
#[derive(Debug, Default)]
pub struct BadPictures {
    /// The recording.
    pub folder: PathBuf,
    /// The bad pictures, in the order of the recording.
    pub bad: Vec<BadPicture>,
    /// How many pictures were read.
    pub of: usize,
}

impl BadPictures {
    /// Whether the share of bad pictures is small enough to go on without them: at most
    /// [`BAD_SHARE_PERCENT`] percent.
    pub fn tolerable(&self) -> bool {
        tolerable(self.bad.len(), self.of)
    }
}

impl fmt::Display for BadPictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.bad.len();
        write!(
            f,
            "{}: {count} of {} pictures",
            self.folder.display(),
            self.of
        )?;
        match self.tolerable() {
            true => write!(f, " cannot be used and are passed over: ")?,
            false => write!(f, " cannot be used, more than {BAD_SHARE_PERCENT} %: ")?,
        }
        for (index, bad) in self.bad.iter().take(NAMED).enumerate() {
            write!(f, "{}{bad}", if index > 0 { ", " } else { "" })?;
        }
        if count > NAMED {
            write!(f, ", and {} more", count - NAMED)?;
        }
        match self.tolerable() {
            true => Ok(()),
            false => write!(
                f,
                "; remove them, or leave them out with `pilotage data clean`"
            ),
        }
    }
}

impl std::error::Error for BadPictures {}

/// Why a picture cannot be used. A message continues the picture's name.
#[derive(Debug, thiserror::Error)]
pub enum PictureProblem {
    /// There is no such file.
    #[error("does not exist")]
    Missing,
    /// The file has no bytes.
    #[error("is empty (0 bytes)")]
    Empty,
    /// The picture's end is missing.
    #[error("is cut off")]
    CutOff,
    /// The file is neither PNG nor JPEG.
    #[error("is neither PNG nor JPEG")]
    Format,
    /// The picture is larger than [`LARGEST_SIDE`] or its file larger than 256 MiB.
    #[error("is too large: at most {LARGEST_SIDE} x {LARGEST_SIDE} pixels and 256 MiB")]
    TooLarge,
    /// The decoder failed.
    #[error("is damaged ({0})")]
    Damaged(String),
    /// The file is a FIFO, a device, a socket or a folder.
    #[error("is {0}, not a file")]
    NotRegular(&'static str),
    /// The file is a symbolic link out of the recording's folder.
    #[error("is a link out of the folder")]
    Outside,
    /// The file cannot be read.
    #[error("cannot be read ({0})")]
    Unreadable(io::Error),
}
