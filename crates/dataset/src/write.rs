//! Writers of recordings.

mod data_csv;
mod mcap;
mod tub;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use image::ImageFormat;

use crate::error::DatasetError;

pub use data_csv::FolderWriter;
pub use mcap::McapWriter;
pub use tub::TubWriter;

/// Why a recording cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file or folder cannot be written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The recording's domain cannot be written.
    #[error(transparent)]
    Domain(#[from] DatasetError),
    /// The folder has files.
    #[error("{}: is not empty; name a new folder", .0.display())]
    NotEmpty(PathBuf),
    /// A tub needs what the record does not have.
    #[error(
        "the record of {} has no {missing}, which a tub needs; import it to a data.csv folder \
         (without --tub)", picture.display()
    )]
    Missing {
        /// The record's picture.
        picture: PathBuf,
        /// The missing value.
        missing: &'static str,
    },
}

/// An encoded picture.
#[derive(Debug, Clone, Copy)]
pub struct PictureFile<'a> {
    bytes: &'a [u8],
    extension: &'static str,
}

impl<'a> PictureFile<'a> {
    /// A PNG or JPEG file's bytes, by their first bytes; `None` for another format.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let extension = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => "jpg",
            Ok(ImageFormat::Png) => "png",
            _ => return None,
        };
        Some(Self { bytes, extension })
    }

    /// Whether the file is a JPEG.
    pub fn is_jpeg(&self) -> bool {
        self.extension == "jpg"
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> WriteError + '_ {
    move |reason| WriteError::File {
        path: path.to_owned(),
        reason,
    }
}

/// Creates the folder, or uses an empty one.
fn create(folder: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(folder).map_err(file_error(folder))?;
    let mut entries = fs::read_dir(folder).map_err(file_error(folder))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(WriteError::NotEmpty(folder.to_owned())),
    }
}

/// Writes a new file and waits until it is on the disk.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(file_error(path))
}

/// Waits until the names in a folder are on the disk.
fn sync_folder(folder: &Path) -> Result<(), WriteError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(file_error(folder))
}
