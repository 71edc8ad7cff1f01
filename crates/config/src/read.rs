use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest settings file that is accepted, in bytes: no hand-written file is longer.
pub const LONGEST_FILE: u64 = 1 << 20;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read, or is not UTF-8.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file is longer than the limit.
    #[error("{path}: longer than {limit} bytes, which no such file is; is it the right one?")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// When the file is longer, not UTF-8, not a regular file, or cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<String, ReadError> {
    let failed = |reason| ReadError::Unreadable {
        path: path.to_path_buf(),
        reason,
    };
    // Reading a pipe without a writer, or a device, could block.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if !kind.is_file() {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(failed(reason));
    }
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    // One byte beyond the limit distinguishes a file that is too long from one of exactly that
    // length.
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
