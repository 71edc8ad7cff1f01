//! Writes a data.csv folder.

use std::fmt::{Display, Write as _};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use pilotage_vehicle::{Domain, Measurement};

use super::{PictureFile, WriteError, create, file_error, sync_folder};
use crate::data_csv::LIST;
use crate::domain::write_domain;
use crate::marks::quoted;
use crate::record::{COMMAND, Record, SCAN};
use crate::scans::{SCANS, ScanWriter};

/// Writes a folder with `data.csv`: `image_name,v,w,timestamp,steering,throttle`, what was measured and
/// commanded, and `scans.bin` with the scans of a lidar, and the names of further numbers, and `recording.json` if the domain is known. A value that a record does not have
/// is an empty field.
#[derive(Debug)]
pub struct FolderWriter {
    folder: PathBuf,
    list: BufWriter<File>,
    extra: Vec<String>,
    /// Created with the first scan.
    scans: Option<ScanWriter>,
    next: u64,
}

impl FolderWriter {
    /// Creates the folder, or uses an empty one. `extra` are the names of the numbers in
    /// [`Record::extra`] that are written, each in a column, and the titles of the columns of
    /// [`Record::measured`], [`Record::command`] and [`Record::scan`] ([`Record::columns`]); `recorded` is the domain, if it is known.
    ///
    /// # Errors
    /// When the folder is not empty or cannot be written.
    pub fn create(
        folder: &Path,
        extra: &[String],
        recorded: Option<Domain>,
    ) -> Result<Self, WriteError> {
        create(folder)?;
        if let Some(recorded) = recorded {
            write_domain(folder, recorded)?;
        }
        let path = folder.join(LIST);
        let list = File::create_new(&path).map_err(file_error(&path))?;
        let mut list = BufWriter::new(list);
        let mut titles = "image_name,v,w,timestamp,steering,throttle".to_owned();
        for name in extra {
            titles += &format!(",{}", quoted(name));
        }
        writeln!(list, "{titles}").map_err(file_error(&path))?;
        Ok(Self {
            folder: folder.to_owned(),
            list,
            extra: extra.to_owned(),
            scans: None,
            next: 0,
        })
    }

    /// Adds a record with its picture; the record's own path is not used.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&mut self, record: &Record, picture: PictureFile<'_>) -> Result<(), WriteError> {
        let name = format!("{:06}.{}", self.next, picture.extension);
        let path = self.folder.join(&name);
        fs::write(&path, picture.bytes).map_err(file_error(&path))?;
        let scan = self.scan(record)?;
        let mut row = name;
        let Record {
            speed,
            yaw_rate,
            time,
            ..
        } = record;
        for value in [speed, yaw_rate, time, &record.steering, &record.throttle] {
            field(&mut row, *value);
        }
        for name in &self.extra {
            let mut measurements = Measurement::ALL.into_iter();
            if name == COMMAND {
                row.push(',');
                row.push_str(record.command.as_deref().unwrap_or_default());
            } else if name == SCAN {
                field(&mut row, scan);
            } else if let Some(measurement) = measurements.find(|it| it.column() == name) {
                field(&mut row, record.measured.get(measurement));
            } else {
                let value = record.extra.iter().find(|(extra, _)| **extra == **name);
                field(&mut row, value.map(|(_, value)| *value));
            }
        }
        let list = self.folder.join(LIST);
        writeln!(self.list, "{row}").map_err(file_error(&list))?;
        self.next += 1;
        Ok(())
    }

    /// Writes the record's scan, and returns its place.
    fn scan(&mut self, record: &Record) -> Result<Option<u64>, WriteError> {
        let Some(scan) = &record.scan else {
            return Ok(None);
        };
        let path = self.folder.join(SCANS);
        let writer = match &mut self.scans {
            Some(writer) => writer,
            none => {
                let opened = ScanWriter::open(&self.folder, scan.rays);
                none.insert(opened.map_err(file_error(&path))?)
            }
        };
        writer.write(scan).map_err(file_error(&path))
    }

    /// Ends the list, and waits until it is on the disk. Returns the number of records.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn finish(self) -> Result<u64, WriteError> {
        let path = self.folder.join(LIST);
        let list = self.list.into_inner().map_err(|error| error.into_error());
        list.and_then(|list| list.sync_all())
            .map_err(file_error(&path))?;
        if let Some(scans) = &self.scans {
            scans.sync().map_err(file_error(&self.folder.join(SCANS)))?;
        }
        sync_folder(&self.folder)?;
        Ok(self.next)
    }
}

/// Appends a number, in the shortest form that reads back as the same.
fn field(row: &mut String, value: Option<impl Display>) {
    row.push(',');
    if let Some(value) = value {
        // Writing to a string does not fail.
        let _ = write!(row, "{value}");
    }
}
