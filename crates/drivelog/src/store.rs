//! The logs in a folder.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::time::Timestamp;

/// A folder for logs, with limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// The folder; it is created with the first log.
    pub folder: PathBuf,
    /// Most logs that are kept; the oldest is deleted first.
    pub most_logs: usize,
    /// Most bytes of all logs.
    pub most_bytes: u64,
}

/// What a log contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// The seconds before a stop.
    Stop,
    /// The seconds before the end of a drive.
    End,
    /// A whole drive, or a part of one.
    Drive,
}

impl LogKind {
    /// The kind's name, which is part of a file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::End => "end",
            Self::Drive => "drive",
        }
    }
}

/// A log in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file.
    pub path: PathBuf,
    /// What it contains.
    pub kind: LogKind,
    /// The file's name up to its number: that of the drive.
    pub drive: String,
    /// The number of the log in its drive, from 1.
    pub number: u32,
    /// When it was last written.
    pub written: SystemTime,
    /// Its size.
    pub bytes: u64,
}

const EXTENSION: &str = ".mcap";
/// How many names are tried for a new log.
const MOST_NAMES: u32 = 10_000;

impl Store {
    /// All logs of the folder, the newest last; none if there is no folder. Other files are passed
    /// over.
    ///
    /// # Errors
    /// Fails if the folder cannot be read.
    pub fn logs(&self) -> io::Result<Vec<LogFile>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut logs = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some((drive, number, kind)) = name.to_str().and_then(parse) else {
                continue;
            };
            // Deleted meanwhile, or not a file: a link is not followed.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_file() {
                logs.push(LogFile {
                    path: entry.path(),
                    kind,
                    drive: drive.to_owned(),
                    number,
                    written: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    bytes: metadata.len(),
                });
            }
        }
        logs.sort_by(|a, b| {
            let key = |log: &LogFile| (log.written, log.drive.clone(), log.number);
            key(a).cmp(&key(b))
        });
        Ok(logs)
    }

    /// Creates the next log of the drive that began at `drive`, after it has deleted the oldest
    /// logs of this folder until at most `most_logs - 1` of them and half of `most_bytes` are left.
    ///
    /// # Errors
    /// Fails if the folder or the file cannot be created.
    pub fn create(&self, drive: Timestamp, kind: LogKind) -> io::Result<(File, PathBuf)> {
        fs::create_dir_all(&self.folder)?;
        let drive = drive.compact();
        // Before they are deleted: a number is used once.
        let used = self.logs()?;
        self.prune(self.most_logs.saturating_sub(1), self.most_bytes / 2)?;
        let of_drive = used.iter().filter(|log| log.drive == drive);
        let last = of_drive.map(|log| log.number).max().unwrap_or(0);
        let first = last.saturating_add(1);
        for number in first..first.saturating_add(MOST_NAMES) {
            let name = format!("{drive}-{number:03}-{}{EXTENSION}", kind.name());
            let path = self.folder.join(name);
            match File::create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok((file?, path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The largest size of one log: a longer drive is continued in another.
    pub fn most_bytes_of_a_log(&self) -> u64 {
        (self.most_bytes / 4).max(1)
    }

    /// Deletes the oldest logs until at most `logs` with at most `bytes` are left.
    fn prune(&self, logs: usize, bytes: u64) -> io::Result<()> {
        let files = self.logs()?;
        let mut total: u64 = files.iter().map(|log| log.bytes).sum();
        let mut count = files.len();
        for log in files {
            if count <= logs && total <= bytes {
                break;
            }
            match fs::remove_file(&log.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            count -= 1;
            total = total.saturating_sub(log.bytes);
        }
        Ok(())
    }
}

/// The drive, number and kind in the name of a log, such as `20260131-120000-001-stop.mcap`.
fn parse(name: &str) -> Option<(&str, u32, LogKind)> {
    let name = name.strip_suffix(EXTENSION)?;
    let (rest, kind) = name.rsplit_once('-')?;
    let (drive, number) = rest.rsplit_once('-')?;
    let (date, time) = drive.split_once('-')?;
    let digits = |text: &str, least: usize| {
        text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !(digits(date, 8) && digits(time, 6) && digits(number, 3)) {
        return None;
    }
    let kinds = [LogKind::Stop, LogKind::End, LogKind::Drive];
    let kind = kinds.into_iter().find(|known| known.name() == kind)?;
    Some((drive, number.parse().ok()?, kind))
}
