//! The numbers of a recording that a network gets beside the pictures.

use std::path::PathBuf;
use std::sync::Arc;

use pilotage_dataset::{Record, Recording};
use pilotage_engine::{CommandRule, InputRules, ScanRule};
use pilotage_vehicle::{Measurement, Measurements, Scan};

/// What was measured and commanded when a picture was taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameNumbers {
    /// What sensors measured.
    pub measured: Measurements,
    /// The place of the high-level command among the values of the rule.
    pub command: Option<usize>,
    /// The lidar's scan, if the network gets one.
    pub scan: Option<Arc<Scan>>,
}

/// Why a recording has not the numbers that a network gets.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NumbersError {
    /// No record has the number.
    #[error(
        "{}: has no column `{column}`, which the network gets (`{table}` in its recipe). {}", folder.display(),
        match *column {
            "scan" => "Record with a lidar: the simulated car has one (`lidar = true` in [simulator] of car.toml)",
            "command" => "Record with `--command NAME`, or add the column to data.csv: the name of the \
                          command for each picture",
            _ => "Record on a car that measures it (the simulated one does), or add the column to data.csv; \
                  `v` and `w` are commands and not measured",
        }
    )]
    NoColumn {
        /// The recording.
        folder: PathBuf,
        /// The title of the column.
        column: &'static str,
        /// The table of the recipe that needs it.
        table: &'static str,
    },
    /// A record has not the number.
    #[error(
        "{}: the record of {} has no `{column}`, and the recipe's `measurement.missing` is \"stop\": leave \
         the picture out, or set `missing` to a number", folder.display(), picture.display()
    )]
    NoNumber {
        /// The recording.
        folder: PathBuf,
        /// The record's picture.
        picture: PathBuf,
        /// The title of the column.
        column: &'static str,
    },
    /// A record has no scan.
    #[error(
        "{}: the record of {} has no scan, and the recipe's `scan.missing` is \"stop\": leave the picture out, \
         or set `missing` to a distance", folder.display(), picture.display()
    )]
    NoScan {
        /// The recording.
        folder: PathBuf,
        /// The record's picture.
        picture: PathBuf,
    },
    /// A scan does not show what the network sees.
    #[error(
        "{}: the scan of {} has {} rays from {} to {} degrees, which do not cover the recipe's [scan]: {} rays from \
         {} to {}", folder.display(), picture.display(), found.rays.count(), found.rays.start(), found.rays.end(),
        rule.rays, rule.start, rule.end
    )]
    Field {
        /// The recording.
        folder: PathBuf,
        /// The record's picture.
        picture: PathBuf,
        /// The scan.
        found: Arc<Scan>,
        /// The recipe's table.
        rule: Box<ScanRule>,
    },
    /// A record has a command that the recipe does not name.
    #[error(
        "{}: the command of {} is `{command}`, which is not one of `command.values` in the recipe: {known}",
        folder.display(), picture.display()
    )]
    Command {
        /// The recording.
        folder: PathBuf,
        /// The record's picture.
        picture: PathBuf,
        /// The command.
        command: String,
        /// The names of the recipe.
        known: String,
    },
}

/// The numbers of a recording's records, by the rules of a network.
#[derive(Debug)]
pub struct Numbered<'a> {
    recording: &'a Recording,
    rules: &'a InputRules,
}

impl<'a> Numbered<'a> {
    /// The numbers of `recording` that `rules` name.
    ///
    /// # Errors
    /// If no record has one of them.
    pub fn new(recording: &'a Recording, rules: &'a InputRules) -> Result<Self, NumbersError> {
        let records = recording.records();
        let lacks = |column, table| NumbersError::NoColumn {
            folder: recording.folder().to_owned(),
            column,
            table,
        };
        for (measurement, _) in rules.measured() {
            if !records
                .iter()
                .any(|it| it.measured.get(measurement).is_some())
            {
                return Err(lacks(measurement.column(), "[[measurement]]"));
            }
        }
        if rules.command.is_some() && records.iter().all(|it| it.command.is_none()) {
            return Err(lacks("command", "[command]"));
        }
        if rules.scan.is_some() && records.iter().all(|it| it.scan.is_none()) {
            return Err(lacks("scan", "[scan]"));
        }
        Ok(Self { recording, rules })
    }

    /// The numbers of a record. A command that is not known is the rule's default.
    ///
    /// # Errors
    /// If a number is missing that must not be, or the command is unknown.
    pub fn of(&self, record: &Record) -> Result<FrameNumbers, NumbersError> {
        let missing = |measurement: Measurement| NumbersError::NoNumber {
            folder: self.recording.folder().to_owned(),
            picture: record.picture.clone(),
            column: measurement.column(),
        };
        for rule in self.rules.measurements.iter() {
            let needed = rule
                .values
                .iter()
                .filter(|_| rule.missing.number().is_none());
            for &measurement in needed {
                if record.measured.get(measurement).is_none() {
                    return Err(missing(measurement));
                }
            }
        }
        let command = self.rules.command.as_ref();
        let command = command.map(|rule| self.command(record, rule)).transpose()?;
        Ok(FrameNumbers {
            measured: record.measured,
            command,
            scan: match &self.rules.scan {
                Some(rule) => self.scan(record, rule)?,
                None => None,
            },
        })
    }

    fn scan(&self, record: &Record, rule: &ScanRule) -> Result<Option<Arc<Scan>>, NumbersError> {
        let (folder, picture) = (self.recording.folder().to_owned(), record.picture.clone());
        let Some(scan) = &record.scan else {
            return match rule.missing.number() {
                Some(_) => Ok(None),
                None => Err(NumbersError::NoScan { folder, picture }),
            };
        };
        let wanted = rule.directions();
        match wanted.is_some_and(|wanted| scan.rays.cover(wanted)) {
            true => Ok(Some(Arc::clone(scan))),
            false => Err(NumbersError::Field {
                folder,
                picture,
                found: Arc::clone(scan),
                rule: Box::new(rule.clone()),
            }),
        }
    }

    fn command(&self, record: &Record, rule: &CommandRule) -> Result<usize, NumbersError> {
        let name = record.command.as_deref().unwrap_or(&rule.default);
        rule.place(name).ok_or_else(|| NumbersError::Command {
            folder: self.recording.folder().to_owned(),
            picture: record.picture.clone(),
            command: name.to_owned(),
            known: rule.values.join(", "),
        })
    }
}
