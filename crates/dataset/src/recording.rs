//! A recording: the records of a folder.

use std::path::{Path, PathBuf};

use pilotage_vehicle::Domain;

use crate::error::{DatasetError, PictureProblem};
use crate::format::{Format, detect, list_above};
use crate::marks::{self, BY_HAND, Marks};
use crate::mcap::{self, Log, LogOptions};
use crate::notes::Note;
use crate::picture::{self, Picture};
use crate::record::Record;
use crate::{data_csv, domain, plain, tub, udacity};

/// A recording, read from a folder or a log. Pictures are decoded when they are needed.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    format: Format,
    records: Vec<Record>,
    notes: Vec<Note>,
    domain: Option<Domain>,
    /// The pictures, if they are no files.
    log: Option<Log>,
}

impl Recording {
    /// Reads the records of a folder, or of a log of messages, in a format that is detected by the
    /// content. Records that `pilotage data clean` or `mark` marked, or that are deleted in a tub, are
    /// left out.
    ///
    /// # Errors
    /// When there is no recording, or a list cannot be read; the message names file, line and column.
    pub fn open(path: &Path) -> Result<Self, DatasetError> {
        Self::open_with(path, &LogOptions::default())
    }

    /// As [`open`](Self::open); a log of messages is read as `options` say.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, options: &LogOptions) -> Result<Self, DatasetError> {
        Self::read(path, options, true)
    }

    /// As [`open`](Self::open), with the records that are marked, so that the numbers of records do not depend
    /// on marks. Records that are deleted in a tub are left out.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_marked(path: &Path) -> Result<Self, DatasetError> {
        Self::read(path, &LogOptions::default(), false)
    }

    /// The format of a folder or a log, without reading its records.
    ///
    /// # Errors
    /// When it is no recording: a folder needs a list or a picture.
    pub fn detect(path: &Path) -> Result<Format, DatasetError> {
        let format = detect(path)?;
        if format == Format::Pictures && !plain::has_pictures(path)? {
            let folder = path.to_owned();
            let hint = "a recording has a list of records, or pictures".to_owned();
            return Err(DatasetError::Empty { folder, hint });
        }
        Ok(format)
    }

    fn read(path: &Path, options: &LogOptions, leave_out: bool) -> Result<Self, DatasetError> {
        let format = detect(path)?;
        let mut log = None;
        let mut found = match format {
            Format::DataCsv => data_csv::read(path)?,
            Format::TubV2 => tub::read_v2(path)?,
            Format::TubV1 => tub::read_v1(path)?,
            Format::Udacity => udacity::read(path)?,
            Format::Pictures => plain::read(path)?,
            Format::Mcap => {
                let (found, pictures) = mcap::read(path, options)?;
                log = Some(pictures);
                found
            }
        };
        if log.is_none() && found.domain.is_none() {
            found.domain = domain::read_domain(path)?;
        }
        if let (Format::Pictures, Some(list)) = (format, list_above(path)) {
            let folder = path.to_owned();
            found.notes.push(Note::ListAbove { folder, list });
        }
        if leave_out {
            marks::apply(path, &mut found)?;
        }
        if found.records.is_empty() {
            let hint = "record some hundred frames of driving, as the car sees them".to_owned();
            return Err(match log {
                Some(_) => DatasetError::NoRecords {
                    path: path.to_owned(),
                },
                None => DatasetError::Empty {
                    folder: path.to_owned(),
                    hint,
                },
            });
        }
        Ok(Self {
            folder: path.to_owned(),
            format,
            records: found.records,
            notes: found.notes,
            domain: found.domain,
            log,
        })
    }

    /// With the pictures of the cameras at the sides as records of their own, behind that of the
    /// centre: a car that saw what the left camera saw would be too far left, and is to steer
    /// `correction` further to the right, and likewise on the right. `correction` is a part of full
    /// steering, above 0 (Bojarski et al., "End to End Learning for Self-Driving Cars", 2016).
    /// Returns the number of records that were added.
    pub fn with_sides(&mut self, correction: f64) -> usize {
        let mut all = Vec::with_capacity(self.records.len());
        let mut added = 0;
        for record in self.records.drain(..) {
            let sides = record.sides.clone().zip(record.steering);
            all.push(record);
            let Some((pictures, steering)) = sides else {
                continue;
            };
            let centre = all.len() - 1;
            for (picture, change) in pictures.into_iter().zip([-correction, correction]) {
                let side = Record {
                    picture,
                    sides: None,
                    steering: Some((steering + change).clamp(-1.0, 1.0)),
                    // Of the centre's path.
                    yaw_rate: None,
                    is_side: true,
                    ..all[centre].clone()
                };
                all.push(side);
                added += 1;
            }
        }
        self.records = all;
        added
    }

    /// Negates the steering and the yaw rate of all records: for a recording whose sign is not that
    /// of its format.
    pub fn reverse_steering(&mut self) {
        for record in &mut self.records {
            record.steering = record.steering.map(|value| 0.0 - value);
            record.yaw_rate = record.yaw_rate.map(|value| 0.0 - value);
        }
    }

    /// Marks the records `from` to `to`, so that every reader leaves them out; with `used`, removes their
    /// marks. Records are numbered from 0 as [`open_marked`](Self::open_marked) gives them. A mark is
    /// of a picture: other records with the same picture are left out, too. Returns how many records
    /// changed.
    ///
    /// # Errors
    /// When there are no such records, or the marks cannot be read or written.
    pub fn mark(&self, (from, to): (usize, usize), used: bool) -> Result<usize, DatasetError> {
        let range = match from <= to {
            true => self.records.get(from..=to),
            false => None,
        };
        let Some(range) = range else {
            return Err(DatasetError::NoSuchRecords {
                path: self.folder.clone(),
                last: self.records.len().saturating_sub(1),
                from,
                to,
            });
        };
        let mut marks = Marks::open(&self.folder)?;
        for record in range {
            match used {
                true => marks.remove(&record.picture),
                false => marks.add(&record.picture, BY_HAND),
            }
        }
        let changed = self.records.iter().filter(|it| marks.changes(&it.picture));
        let count = changed.count();
        marks.write()?;
        Ok(count)
    }

    /// The folder, or the log's file.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether a simulated or a physical car was recorded, where the recording says so.
    pub fn domain(&self) -> Option<Domain> {
        self.domain
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
        match &self.log {
            Some(log) => log.picture(record),
            None => picture::read(&self.folder, &record.picture),
        }
    }

    /// Decodes a record's picture.
    ///
    /// # Errors
    /// As [`Recording::picture_file`], and when the picture is damaged or cut off.
    pub fn decode(&self, record: &Record) -> Result<Picture, PictureProblem> {
        picture::decode(&self.picture_file(record)?)
    }
}
