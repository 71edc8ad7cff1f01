use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A settings file longer than this was not written by a person, bytes.
pub const LONGEST_FILE: u64 = 1 << 20;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system will not, or it is not text.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word on it.
        reason: io::Error,
    },
    /// It is far longer than any of its kind.
    #[error("{path}: longer than {limit} bytes, which no such file is; is it the right one?")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
}

/// The text of a file of at most `limit` bytes.
///
/// # Errors
/// When it is longer, not UTF-8 or not to be read.
pub fn read(path: &Path, limit: u64) -> Result<String, ReadError> {
    let failed = |reason| ReadError::Unreadable {
        path: path.to_path_buf(),
        reason,
    };
    // A pipe without a writer, or a device, would be waited for.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if !kind.is_file() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(failed(reason));
    }
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    // One byte more than allowed tells a file that is too long from one just short enough.
    let length = file
        .take(limit + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if length as u64 > limit {
        return Err(ReadError::TooLong {
            path: path.to_path_buf(),
            limit,
        });
    }
    Ok(text)
}
