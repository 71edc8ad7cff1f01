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
use crate::record::{COMMAND, Record};

/// Writes a folder with `data.csv`: `image_name,v,w,timestamp,steering,throttle`, what was measured and
/// commanded, and the names of further numbers, and `recording.json` if the domain is known. A value that a record does not have
/// is an empty field.
#[derive(Debug)]
pub struct FolderWriter {
    folder: PathBuf,
    list: BufWriter<File>,
    extra: Vec<String>,
    next: u64,
}

impl FolderWriter {
    /// Creates the folder, or uses an empty one. `extra` are the names of the numbers in
    /// [`Record::extra`] that are written, each in a column, and the titles of the columns of
    /// [`Record::measured`] and [`Record::command`] ([`Record::columns`]); `recorded` is the domain, if it is known.
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

    /// Ends the list, and waits until it is on the disk. Returns the number of records.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn finish(self) -> Result<u64, WriteError> {
        let path = self.folder.join(LIST);
        let list = self.list.into_inner().map_err(|error| error.into_error());
        list.and_then(|list| list.sync_all())
            .map_err(file_error(&path))?;
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
