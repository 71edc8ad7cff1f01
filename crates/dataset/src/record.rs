//! One record of a recording, and what a format's reader finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotage_vehicle::{Domain, Measurement, Measurements, Scan};

use crate::error::DatasetError;
use crate::limits::MOST_RECORDS;
use crate::notes::Note;

/// A number that another program recorded, with its name in the file. Signs and units are the
/// file's: `pilot/angle` of a Donkeycar is positive to the right.
pub type Extra = (Arc<str>, f64);

/// A picture, and what the driver did when it was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The picture's path, relative to the recording's folder. Nothing is known of the file yet. In a
    /// log of messages, the picture's number.
    pub picture: PathBuf,
    /// The pictures of cameras to the left and to the right, relative as `picture`.
    pub sides: Option<Box<[PathBuf; 2]>>,
    /// -1 to 1, positive to the left.
    pub steering: Option<f64>,
    /// -1 to 1, positive ahead.
    pub throttle: Option<f64>,
    /// The speed, m/s.
    pub speed: Option<f64>,
    /// The yaw rate, rad/s, positive to the left.
    pub yaw_rate: Option<f64>,
    /// What sensors measured on the car; `speed` and `yaw_rate` may be commands.
    pub measured: Measurements,
    /// The high-level command that was in force, such as `left`.
    pub command: Option<Arc<str>>,
    /// The lidar's latest scan.
    pub scan: Option<Arc<Scan>>,
    /// The time of the picture in seconds, from any start.
    pub time: Option<f64>,
    /// Further numbers: those of `pilot/*` columns.
    pub extra: Vec<Extra>,
    /// Whether the picture is that of a camera at the side ([`Recording::with_sides`]).
    ///
    /// [`Recording::with_sides`]: crate::Recording::with_sides
    pub is_side: bool,
    /// The line of the list that the record was read from, counted from 1; the number of the file
    /// in a tub of version 1, and of the picture in a log; 0 for a picture without a list.
    pub line: u64,
}

/// The title of the column of high-level commands, and the key in a log's records.
pub(crate) const COMMAND: &str = "command";
/// The title of the column of scans: the place of each in the file beside the list.
pub(crate) const SCAN: &str = "scan";
/// A longer time between two records divides drives, seconds.
const LONGEST_GAP: f64 = 1.0;

impl Record {
    /// The titles of the data.csv columns that the record's measurements, high-level command and scan need.
    pub fn columns(&self) -> impl Iterator<Item = &'static str> {
        let measured = Measurement::ALL.into_iter();
        let measured = measured.filter(|&it| self.measured.get(it).is_some());
        let command = self.command.as_ref().map(|_| COMMAND);
        let scan = self.scan.as_ref().map(|_| SCAN);
        measured.map(Measurement::column).chain(command).chain(scan)
    }

    /// Whether the record may be the next of the same drive after `before`: no time is known, or it
    /// is at most a second later.
    pub fn follows(&self, before: &Self) -> bool {
        match (before.time, self.time) {
            (Some(before), Some(time)) => (0.0..=LONGEST_GAP).contains(&(time - before)),
            _ => true,
        }
    }
}

/// What a format's reader found.
#[derive(Default)]
pub(crate) struct Found {
    pub records: Vec<Record>,
    pub notes: Vec<Note>,
    pub domain: Option<Domain>,
}

impl Found {
    /// Adds a record; `path` is the list for the error when there are too many.
    pub fn push(&mut self, path: &Path, record: Record) -> Result<(), DatasetError> {
        if self.records.len() >= MOST_RECORDS {
            let path = path.to_owned();
            return Err(DatasetError::TooMany { path });
        }
        self.records.push(record);
        Ok(())
    }
}
