//! Reads the messages of MCAP files (<https://mcap.dev/spec>) as a stream.
//!
//! A file may contain anything: every length is checked before memory is used, and a file that ends
//! early or is damaged is read up to there. The index at a file's end is not used, since a file that
//! was cut off has none.
//!
//! - [`Stream`] gives the schemas, channels, messages and metadata of a file in their order. Chunks may
//!   be compressed with LZ4 or Zstandard.
//! - [`Messages`] reads a single message again, at the [`Place`] that the stream reported.
//!
//! - [`LaserScan`] is the message of a lidar's scan, to write and to read.
//!
//! Files are written with the library `mcap`. It is not used for reading, because it reserves memory
//! for a text before it knows that the record is as long.

#![forbid(unsafe_code)]

mod chunk;
mod laser_scan;
mod messages;
mod record;
mod stream;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use laser_scan::LaserScan;
pub use messages::Messages;
pub use record::{Channel, Message, Metadata, Place, Record, Schema};
pub use stream::Stream;

/// The bytes at the start of an MCAP file.
pub const MAGIC: [u8; 8] = *b"\x89MCAP0\r\n";

/// The longest record and the largest chunk, decompressed, bytes.
pub const LONGEST_RECORD: usize = 64 << 20;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum McapError {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path is a folder, a device or a pipe.
    #[error("is not a file")]
    NotFile,
    /// The file does not begin as an MCAP file.
    #[error("is not an MCAP file")]
    NotMcap,
    /// The chunks are compressed in a way that is not read.
    #[error(
        "is compressed with {0}, which is not read: rewrite it with `mcap compress --compression \
         zstd`"
    )]
    Compression(String),
    /// There is no such message any more.
    #[error("has changed while it was read")]
    Changed,
}

/// Opens a regular file, without waiting for the writer of a FIFO.
///
/// # Errors
/// Fails if the file cannot be opened, or is not a regular file.
pub fn open(path: &Path) -> Result<File, McapError> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(nonblock)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(McapError::NotFile),
    }
}
