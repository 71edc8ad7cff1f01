//! A recording: the records of a folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{DatasetError, PictureProblem};
use crate::marks;
use crate::notes::Note;
use crate::picture::{self, Picture};
use crate::record::Record;
use crate::{data_csv, plain, tub, udacity};

/// The format of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A list `data.csv` and pictures.
    DataCsv,
    /// A Donkeycar tub of version 2.
    TubV2,
    /// A Donkeycar tub of version 1.
    TubV1,
    /// `driving_log.csv` of Udacity's simulator.
    Udacity,
    /// Pictures without a list.
    Pictures,
}

impl Format {
    /// The format's name for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DataCsv => "data.csv",
            Self::TubV2 => "Donkeycar tub, version 2",
            Self::TubV1 => "Donkeycar tub, version 1",
            Self::Udacity => "Udacity driving_log.csv",
            Self::Pictures => "pictures without a list",
        }
    }
}

/// A recording, read from a folder. Pictures are decoded when they are needed.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    format: Format,
    records: Vec<Record>,
    notes: Vec<Note>,
}

impl Recording {
    /// Reads the records of a folder in a format that is detected by the folder's content.
    /// Records that `pilotage data clean` marked, or that are deleted in a tub, are left out.
    ///
    /// # Errors
    /// When the folder has no recording, or a list cannot be read; the message names file, line
    /// and column.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        let format = detect(folder)?;
        let mut found = match format {
            Format::DataCsv => data_csv::read(folder)?,
            Format::TubV2 => tub::read_v2(folder)?,
            Format::TubV1 => tub::read_v1(folder)?,
            Format::Udacity => udacity::read(folder)?,
            Format::Pictures => plain::read(folder)?,
        };
        marks::apply(folder, &mut found)?;
        if found.records.is_empty() {
            return Err(DatasetError::Empty {
                folder: folder.to_owned(),
                hint: "record some hundred frames of driving, as the car sees them".to_owned(),
            });
        }
        Ok(Self {
            folder: folder.to_owned(),
            format,
            records: found.records,
            notes: found.notes,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The records, in the order of the drive. There is at least one.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What was passed over or assumed in reading the lists.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The bytes of a record's picture.
    ///
    /// # Errors
    /// When the file is missing, empty, not a regular file, too large, or a link out of the folder.
    pub fn picture_file(&self, record: &Record) -> Result<Vec<u8>, PictureProblem> {
        picture::read(&self.folder, &record.picture)
    }

    /// Decodes a record's picture.
    ///
    /// # Errors
    /// As [`Recording::picture_file`], and when the picture is damaged or cut off.
    pub fn decode(&self, record: &Record) -> Result<Picture, PictureProblem> {
        picture::decode(&self.picture_file(record)?)
    }
}

/// The lists that identify a format.
const LISTS: [(&str, Format); 3] = [
    ("data.csv", Format::DataCsv),
    ("manifest.json", Format::TubV2),
    ("driving_log.csv", Format::Udacity),
];

fn detect(folder: &Path) -> Result<Format, DatasetError> {
    let failed = |reason| DatasetError::File {
        path: folder.to_owned(),
        reason,
    };
    // The system's error for a folder that does not exist or is a file.
    let mut entries = fs::read_dir(folder).map_err(failed)?;
    let mut lists = LISTS
        .iter()
        .filter(|(name, _)| folder.join(name).symlink_metadata().is_ok());
    match (lists.next(), lists.next()) {
        (Some(&(first, _)), Some(&(second, _))) => Err(DatasetError::Ambiguous {
            folder: folder.to_owned(),
            first,
            second,
        }),
        (Some(&(_, format)), None) => Ok(format),
        (None, _) => {
            let is_record = |entry: fs::DirEntry| tub::number(&entry.file_name()).is_some();
            let is_v1 = entries.any(|entry| entry.is_ok_and(is_record));
            Ok(if is_v1 {
                Format::TubV1
            } else {
                Format::Pictures
            })
        }
    }
}
