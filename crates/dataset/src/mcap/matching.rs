//! Which command belongs to which picture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::LogOptions;
use super::message::{Command, Kind, Shot};
use super::scans::Scans;
use crate::error::DatasetError;
use crate::notes::Note;
use crate::record::{Found, Record};

/// How commands are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matching {
    /// By the pictures' numbers: the log is one of this project.
    is_ours: bool,
    /// The log is that of a drive, which may have lost commands.
    is_drive: bool,
    /// The index of the times that are used: the stamps of the senders if all messages have one, else
    /// when the messages were recorded.
    clock: usize,
}

impl Matching {
    /// Sorts pictures and commands of the kind `by` as they are matched.
    pub fn sort(shots: &mut [Shot], commands: &mut [Command], by: Option<Kind>) -> Self {
        let is_drive = by == Some(Kind::Frame);
        let is_ours = is_drive || by == Some(Kind::Values);
        let has_stamp = |times: [u64; 2]| times[0] > 0;
        let are_stamped = shots.iter().all(|shot| has_stamp(shot.times))
            && (is_ours || commands.iter().all(|command| has_stamp(command.times)));
        let clock = usize::from(!are_stamped);
        if is_ours {
            // Their times may go back, where a recording contains several drives.
            shots.sort_by_key(|shot| (shot.sequence, shot.times[clock]));
        } else {
            shots.sort_by_key(|shot| shot.times[clock]);
            commands.sort_by_key(|command| command.times[clock]);
        }
        Self {
            is_ours,
            is_drive,
            clock,
        }
    }

    /// Adds a record for each picture, except those of a car that was not driven, and those whose
    /// command a log of a drive has lost: its writer never waits, and loses pictures and commands
    /// apart.
    pub fn label(
        self,
        found: &mut Found,
        path: &Path,
        shots: &[Shot],
        (commands, scans): (&[Command], &Scans),
        options: &LogOptions,
    ) -> Result<(), DatasetError> {
        let by_number = self.by_number(commands);
        let mut counts = Counts::default();
        for (index, shot) in shots.iter().enumerate() {
            let time = shot.times[self.clock];
            let command = match self.is_ours {
                true => shot.sequence.and_then(|it| by_number.get(&it).copied()),
                false => self.by_time(commands, time, options.tolerance),
            };
            if command.is_some_and(|command| command.is_idle) && !options.idle {
                counts.idle += 1;
                continue;
            }
            if command.is_none() && self.is_drive && !options.idle {
                counts.lost += 1;
                continue;
            }
            let mut record = Record {
                picture: PathBuf::from(format!("{index:06}")),
                time: Some(time as f64 * 1e-9),
                line: index as u64 + 1,
                ..Record::default()
            };
            match command {
                Some(command) => {
                    command.label(&mut record, scans);
                    counts.angles += usize::from(command.angle.is_some());
                }
                None => counts.without += 1,
            }
            found.push(path, record)?;
        }
        let is_by_time = !self.is_ours && !commands.is_empty();
        let tolerance = is_by_time.then_some(options.tolerance);
        counts.note(path, tolerance, &mut found.notes);
        Ok(())
    }

    /// The commands by the numbers of their pictures; empty if they are found by time.
    fn by_number(self, commands: &[Command]) -> BTreeMap<u64, &Command> {
        let mut by_number = BTreeMap::new();
        for command in commands.iter().filter(|_| self.is_ours) {
            if let Some(sequence) = command.sequence {
                // The first iteration with a picture is that of its command.
                by_number.entry(sequence).or_insert(command);
            }
        }
        by_number
    }

    /// The newest of the sorted commands that is not younger than `time`, nanoseconds, and at most
    /// `tolerance` seconds older.
    fn by_time(self, commands: &[Command], time: u64, tolerance: f64) -> Option<&Command> {
        let after = commands.partition_point(|command| command.times[self.clock] <= time);
        let command = commands.get(after.checked_sub(1)?)?;
        let age = (time - command.times[self.clock]) as f64 * 1e-9;
        (age <= tolerance).then_some(command)
    }
}

/// Pictures without a command, of a car that was not driven, with a lost command, and with an angle
/// only.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    without: usize,
    idle: usize,
    lost: usize,
    angles: usize,
}

impl Counts {
    fn note(self, path: &Path, tolerance: Option<f64>, notes: &mut Vec<Note>) {
        let path = || path.to_owned();
        if self.without > 0 {
            notes.push(Note::NoCommand {
                path: path(),
                count: self.without,
                tolerance,
            });
        }
        if self.idle > 0 {
            notes.push(Note::Idle {
                path: path(),
                count: self.idle,
            });
        }
        if self.lost > 0 {
            notes.push(Note::LostCommands {
                path: path(),
                count: self.lost,
            });
        }
        if self.angles > 0 {
            notes.push(Note::Angles { path: path() });
        }
    }
}
