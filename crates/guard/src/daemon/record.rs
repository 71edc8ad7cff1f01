//! The record that a guard writes to disk when it starts. With it the guard can be found, stopped
//! and replaced, even if car.toml or the socket is changed or removed, and independently of the
//! environment of the program that looks for it.
//!
//! A record is a file `HASH.guard` in a runtime directory: lines of `key = value`, an empty line,
//! and the text of car.toml as the guard read it. A record is used only if one user owns both the
//! record and its directory, and no other user may write to either.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::daemon::locks;
use crate::daemon::places::{SERVICE, canonical, hash, own_directory, trusted_directory};
use crate::daemon::process_id::ProcessId;
use crate::{CarFileError, GuardedCar};

/// Bytes of a record: a car.toml of at most 1 MiB and the lines before it.
const LONGEST: u64 = (1 << 20) + (64 << 10);
const FIRST_LINE: &str = "pilotage-guard 1";

/// The record of a guard that runs or ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The path of this record.
    pub path: PathBuf,
    /// The user that owns this record.
    pub owner: u32,
    /// Whether this user may act on the text. Only the socket and the process of an untrusted
    /// record are used: to send a stop, and to kill a process of the record's owner.
    pub trusted: bool,
    /// The guard's process.
    pub process: ProcessId,
    /// The path of the socket that the guard listens on.
    pub socket: PathBuf,
    /// The car.toml's path.
    pub file: PathBuf,
    /// The car in one line: [`GuardedCar::describe`].
    pub name: String,
    /// car.toml as the guard read it.
    pub text: String,
}

/// Whether this user may act on the records of `owner`: of this user, of root, and of the service's
/// user. That user owns a directory that only root can have created.
fn trusted_owner(owner: u32) -> bool {
    let service = trusted_directory(Path::new(SERVICE));
    is_trusted(owner, geteuid().as_raw(), service)
}

/// The same for `user`, with the owner of the service's directory.
fn is_trusted(owner: u32, user: u32, service: Option<u32>) -> bool {
    owner == user || owner == 0 || service == Some(owner)
}

/// The directories in which this user looks for records: the service's, root's and its own, and for
/// root those of all users.
fn directories() -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from(SERVICE), PathBuf::from("/run/pilotage-0")];
    match geteuid().as_raw() {
        0 => all.extend(directories_of_users(Path::new("/"))),
        user => all.extend([
            format!("/run/user/{user}/pilotage").into(),
            format!("/tmp/pilotage-{user}").into(),
        ]),
    }
    all
}

/// The directories of all users' guards in the file system below `root`.
fn directories_of_users(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (folder, prefix, inner) in [("run/user", "", "pilotage"), ("tmp", "pilotage-", "")] {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten();
        let of_a_user = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let user: u32 = name.strip_prefix(prefix)?.parse().ok()?;
            let path = match inner {
                "" => entry.path(),
                inner => entry.path().join(inner),
            };
            (trusted_directory(&path) == Some(user)).then_some(path)
        });
        all.extend(of_a_user.take(MOST_DIRECTORIES));
    }
    all
}

/// Upper bound on other users' directories, so that they cannot delay a stop. A car's computer has
/// fewer users.
const MOST_DIRECTORIES: usize = 64;
/// Upper bound on the entries of a directory to which other users may write.
const MOST_ENTRIES: usize = 4096;
/// Upper bound on the records of an untrusted user, so that they cannot delay a stop. A user has
/// fewer cars.
const MOST_RECORDS: usize = 32;
/// Bytes of the lines before the text of car.toml.
const LONGEST_HEAD: u64 = 16 << 10;

/// The file name of the record for the car that `file`, a canonical path, describes.
fn record_name(file: &Path) -> String {
    format!("{}.guard", hash(file))
}

impl Record {
    /// Writes the record of this process, which guards `car` as described by `text`. The write is
    /// atomic. Stale records are removed: those of dead guards whose car.toml is gone.
    ///
    /// # Errors
    /// When the runtime directory cannot be used or written.
    pub fn write(car: &GuardedCar, text: &str) -> io::Result<Self> {
        let folder = own_directory()?;
        prune(&folder);
        locks::prune();
        let record = Self {
            path: folder.join(record_name(&car.file)),
            owner: geteuid().as_raw(),
            trusted: true,
            process: ProcessId::own()?,
            socket: car.socket.clone(),
            file: car.file.clone(),
            name: car.describe(),
            text: text.to_owned(),
        };
        let new = record.path.with_extension("new");
        // Remove a partly written record of an earlier guard.
        let _ = fs::remove_file(&new);
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o640)
            .open(&new)?;
        // Override the umask: the operators' group may read the record.
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        file.write_all(record.to_text().as_bytes())?;
        fs::rename(&new, &record.path)?;
        Ok(record)
    }

    /// Removes the record of a guard that has ended in order.
    pub fn remove(&self) {
        // A record that remains names a process that no longer runs.
        let _ = fs::remove_file(&self.path);
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let one_line = |value: &str| value.replace(['\n', '\r'], " ");
        let _ = writeln!(text, "{FIRST_LINE}");
        for (key, value) in [
            ("process", self.process.to_string()),
            ("socket", self.socket.display().to_string()),
            ("file", self.file.display().to_string()),
            ("name", self.name.clone()),
        ] {
            let _ = writeln!(text, "{key} = {}", one_line(&value));
        }
        text.push('\n');
        text.push_str(&self.text);
        text
    }

    /// Reads a record. Returns `None` unless it is a regular file with the owner of its directory,
    /// and no other user may write to either.
    fn read(path: &Path) -> Option<Self> {
        let owner = trusted_directory(path.parent()?)?;
        let flags = (OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits() as i32;
        let opened = File::options().read(true).custom_flags(flags).open(path);
        let file = opened.ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.uid() != owner || metadata.mode() & 0o022 != 0 {
            return None;
        }
        let trusted = trusted_owner(owner);
        let longest = if trusted { LONGEST } else { LONGEST_HEAD };
        let mut bytes = Vec::new();
        file.take(longest).read_to_end(&mut bytes).ok()?;
        let mut record = Self::parse(path, owner, &String::from_utf8_lossy(&bytes))?;
        record.trusted = trusted;
        if !trusted {
            record.text = String::new();
        }
        Some(record)
    }

    fn parse(path: &Path, owner: u32, text: &str) -> Option<Self> {
        let (head, text) = text.split_once("\n\n")?;
        let head = head.strip_prefix(FIRST_LINE)?;
        let value = |key: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(" = "));
            lines
                .find(|(known, _)| *known == key)
                .map(|(_, value)| value)
        };
        Some(Self {
            path: path.to_owned(),
            owner,
            trusted: false,
            process: value("process")?.parse().ok()?,
            socket: value("socket")?.into(),
            file: value("file")?.into(),
            name: value("name")?.to_owned(),
            text: text.to_owned(),
        })
    }

    /// All records that this user may read.
    pub fn all() -> Vec<Self> {
        let in_directory = |directory: PathBuf| {
            let (entries_read, most) = match trusted_directory(&directory) {
                Some(owner) if trusted_owner(owner) => (usize::MAX, usize::MAX),
                _ => (MOST_ENTRIES, MOST_RECORDS),
            };
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let paths = entries.take(entries_read).map(|entry| entry.path());
            let named = |path: &PathBuf| path.extension().is_some_and(|it| it == "guard");
            let records = paths.filter(named).take(most);
            records
                .filter_map(|path| Self::read(&path))
                .collect::<Vec<_>>()
        };
        directories().into_iter().flat_map(in_directory).collect()
    }

    /// The records of the car that `file` describes; the file may be missing.
    pub fn of(file: &Path) -> Vec<Self> {
        let file = canonical(file);
        let name = record_name(&file);
        let directories = directories().into_iter();
        let records = directories.filter_map(|directory| Self::read(&directory.join(&name)));
        let mut found: Vec<Self> = records.filter(|record| record.file == file).collect();
        // Running guards first, and of these the trusted records first.
        found.sort_by_key(|record| (!record.runs(), !record.trusted));
        found
    }

    /// The records of running guards that write to one of `outputs`.
    pub fn of_outputs(outputs: &[PathBuf]) -> Vec<Self> {
        let outputs: Vec<PathBuf> = outputs.iter().map(|output| canonical(output)).collect();
        let mut found = Self::all();
        // Most records of a long uptime are of guards that have ended: their text is not parsed.
        found.retain(Self::runs);
        found.retain(|record| {
            record.car().is_ok_and(|car| {
                let own = car.actuator.outputs();
                own.iter()
                    .any(|output| outputs.contains(&canonical(output)))
            })
        });
        found
    }

    /// Whether the guard still runs: the same process, not another one with its number.
    pub fn runs(&self) -> bool {
        self.process.runs() && self.process.owner() == Some(self.owner)
    }

    /// The car as the guard read it.
    ///
    /// # Errors
    /// When the record is not trusted, or its text does not parse, as that of another version of
    /// Pilotage.
    pub fn car(&self) -> Result<GuardedCar, CarFileError> {
        if !self.trusted {
            return Err(CarFileError::Untrusted {
                path: self.path.clone(),
            });
        }
        let car = GuardedCar::from_toml(&self.file.display().to_string(), &self.text)?;
        Ok(GuardedCar {
            socket: self.socket.clone(),
            file: self.file.clone(),
            ..car
        })
    }
}

/// The socket of the guard of the car of `file`: from the record of a guard that runs, else from
/// car.toml.
///
/// # Errors
/// When no guard of it runs and car.toml cannot be used.
pub fn guard_socket(file: &Path) -> Result<PathBuf, CarFileError> {
    let records = Record::of(file);
    match records.into_iter().find(Record::runs) {
        Some(record) => Ok(record.socket),
        None => Ok(GuardedCar::load(file)?.socket),
    }
}

/// Removes the records of dead guards whose car.toml is gone.
fn prune(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "guard")
        {
            continue;
        }
        let stale = Record::read(&path).is_some_and(|old| !old.runs() && !old.file.exists());
        if stale {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests;
