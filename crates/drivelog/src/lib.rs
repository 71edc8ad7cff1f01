//! Drive logs: what a pilot saw and did in the seconds before each stop, and why the car stopped.
//!
//! A log is an MCAP file (<https://mcap.dev/spec>) without compression, with the topics of
//! [`topics`], each a JSON message with its JSON schema. Pictures, scans and messages have Foxglove's
//! schemas, so that a log opens in Foxglove.
//!
//! - [`Logger`] is an observer of a pilot's tap, on a thread of its own. It keeps the last 30
//!   seconds in memory, and writes them at each stop and at the end of the drive; or it writes the
//!   whole drive. The pilot's loop does not know of it.
//! - [`Store`] names the logs of a folder, and limits their number and size.
//! - [`Reader`] reads a log whose end may be missing: all chunks that are whole. A file with any
//!   content ends in a [`ReadError`] and takes bounded memory.
//! - [`Diagnosis`] names the cause of a stop from the entries around it, as a pure function.
//!
//! docs/drive-log.md describes the logs for users.

#![forbid(unsafe_code)]

mod buffer;
mod detail;
mod diagnosis;
mod entry;
mod inputs;
mod jpeg;
mod logger;
mod measured;
mod number;
mod read;
mod report;
mod scheduling;
mod store;
mod time;
mod window;
mod write;

pub use detail::Detail;
pub use diagnosis::{Before, Cause, Diagnosis, Stage, StageTimes};
pub use entry::{
    Car, End, EndKind, Entry, Frame, Guard, Level, LidarScan, Message, Pause, PauseKind, Picture,
    Start, Stop,
};
pub use inputs::{Gap, Input, Inputs, NumberInput, ScanInput};
pub use jpeg::jpeg;
pub use logger::{Keep, Logger, Settings};
pub use measured::Measured;
pub use read::{ReadError, Reader};
pub use report::plain;
pub use store::{LogFile, LogKind, Store};
pub use time::Timestamp;
pub use window::Window;
pub use write::{LogWriter, topics};
