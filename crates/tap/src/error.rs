//! Why a tap cannot be made, served or observed.

use std::io;
use std::path::PathBuf;

/// Why a tap cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The camera's pictures have no valid size.
    #[error("the tap cannot hold pictures of {width} x {height} pixels: sides are 1 to 16384")]
    PictureSize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The shared memory cannot be made.
    #[error("no shared memory for observers ({0}): drive without them")]
    Memory(io::Error),
}

/// Why a tap cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another pilot serves this socket.
    #[error("{path}: another pilot serves observers there; end it, or choose another path")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("{path}: observers cannot connect there: {reason}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// A thread or a descriptor could not be made.
    #[error("observers cannot be served: {0}")]
    System(io::Error),
}

/// Why a tap cannot be observed.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// No pilot serves the socket, or this user may not connect.
    #[error("no pilot answers at {path} ({reason}): start `pilotage drive`")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// Pilot and observer are of different versions.
    #[error(
        "the pilot's tap has version {pilot}, this program version {own}: both must be of one \
         version of Pilotage"
    )]
    Version {
        /// The pilot's version.
        pilot: u32,
        /// This program's version.
        own: u32,
    },
    /// There are too many observers.
    #[error(
        "the pilot has {0} observers already: end one of them",
        crate::protocol::MAX_OBSERVERS
    )]
    TooMany,
    /// The pilot does not answer.
    #[error("the pilot does not answer its observers: end it and drive again")]
    Silent,
    /// The pilot has ended.
    #[error("the pilot has ended")]
    Ended,
    /// What answered is no pilot's tap.
    #[error("what answers is not a pilot's tap: {0}")]
    Malformed(&'static str),
    /// The memory cannot be mapped, or a request cannot be sent.
    #[error("the pilot's tap cannot be used: {0}")]
    System(io::Error),
}
