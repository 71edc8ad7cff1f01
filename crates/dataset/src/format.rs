//! The formats of recordings, and how they are recognized.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::DatasetError;
use crate::tub;

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
    /// A log of messages.
    Mcap,
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
            Self::Mcap => "MCAP",
        }
    }
}

/// The lists that identify a format.
const LISTS: [(&str, Format); 3] = [
    ("data.csv", Format::DataCsv),
    ("manifest.json", Format::TubV2),
    ("driving_log.csv", Format::Udacity),
];

/// Whether a file of this name is the list of a recording, or a part of it.
pub(crate) fn is_list(name: &str) -> bool {
    let is_list = LISTS.iter().any(|(list, _)| name == *list);
    is_list || tub::number(name.as_ref()).is_some()
}

/// Whether a file of this name is a picture of the recording. Hidden files are not: among them the
/// `._` files that macOS leaves on foreign disks.
pub(crate) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let extension = extension.unwrap_or("").to_ascii_lowercase();
    !name.starts_with('.') && ["png", "jpg", "jpeg"].contains(&extension.as_str())
}

/// Whether this file belongs to a recording that is a folder: a list, or a picture.
fn is_part(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| is_list(name) || is_picture(name))
}

/// The folder of a file or folder.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The list in the folder above `folder`, whose recording the pictures in `folder` may be of.
pub(crate) fn list_above(folder: &Path) -> Option<PathBuf> {
    let above = folder.canonicalize().ok()?.parent()?.to_owned();
    let mut lists = LISTS.iter().map(|(list, _)| above.join(list));
    lists.find(|list| list.is_file())
}

/// Detects the format of a folder by the names of its files, and that of a file by its name.
pub(crate) fn detect(folder: &Path) -> Result<Format, DatasetError> {
    let failed = |reason| DatasetError::File {
        path: folder.to_owned(),
        reason,
    };
    if fs::metadata(folder).map_err(failed)?.is_file() {
        return match is_part(folder) {
            true => Err(DatasetError::Part {
                path: folder.to_owned(),
                folder: parent(folder),
            }),
            false => Ok(Format::Mcap),
        };
    }
    // The system's error for what is no folder.
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
