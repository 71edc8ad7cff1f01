//! Opening the files of a recording: regular files within its folder, without waiting.

use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::DatasetError;

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The system's error.
    System(io::Error),
    /// Not a regular file.
    NotRegular(&'static str),
    /// A link out of the folder.
    Outside,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Refused {
    /// As the error of the list at `path`.
    pub fn at(self, path: &Path) -> DatasetError {
        let path = path.to_owned();
        match self {
            Self::System(reason) => DatasetError::File { path, reason },
            Self::NotRegular(kind) => DatasetError::NotRegular { path, kind },
            Self::Outside => DatasetError::Outside { path },
        }
    }
}

/// Opens `folder`/`name`, which must be a regular file that lies in the folder even after all
/// links are followed. The call never waits: neither for the writer of a FIFO nor for a device.
pub(crate) fn open(folder: &Path, name: &Path) -> Result<File, Refused> {
    let path = folder.join(name);
    // A device is not even opened: opening some of them has effects.
    regular(fs::metadata(&path)?.file_type())?;
    // Without links the path, whose parts are checked, cannot leave the folder.
    let real = path.canonicalize()?;
    if !real.starts_with(folder.canonicalize()?) {
        return Err(Refused::Outside);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(real)?;
    // The file may have been replaced since.
    regular(file.metadata()?.file_type())?;
    Ok(file)
}

fn regular(kind: FileType) -> Result<(), Refused> {
    let name = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(Refused::NotRegular(name))
}
