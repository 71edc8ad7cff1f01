//! The messages between a pilot and a guard. Each has a version, a number and a checksum. All but
//! [`About`] have a fixed size. They are sent over a `SOCK_SEQPACKET` socket.
//!
//! Numbers are little-endian. Times are nanoseconds of `CLOCK_MONOTONIC`, which all processes of a
//! machine share. The layout of the first eight bytes is the same in every version: magic, version,
//! kind, detail.

mod applied;
mod codes;
mod header;
mod reply;
mod request;

use std::time::Duration;

use pilotage_vehicle::{Command, Domain, Fault, Time};

use crate::trim::{Point, Value};
use crate::{ArmRequest, Output, Refusal, Status};

pub use applied::APPLIED_LEN;
pub use reply::{LONGEST_ABOUT, REPLY_LEN};
pub use request::REQUEST_LEN;

/// The version of this protocol. It changes with each change to an existing message, and not with a
/// new kind of message: a guard rejects a kind that it does not know, and still accepts a stop.
pub const VERSION: u16 = 4;

/// How long a lease ([`Request::Lease`]) lasts. Shorter than an operator notices, and several times
/// the interval at which a client renews it.
pub const LEASE: Duration = Duration::from_millis(300);

/// A client's request to a guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// The client declares itself as the pilot, or as a program that trims in place of a pilot.
    Hello {
        /// Where its engine was trained; `None` for trimming.
        engine: Option<Domain>,
        /// [`Identity::fingerprint`](crate::Identity::fingerprint) of its car.
        fingerprint: u64,
    },
    /// A driving command.
    Command(Command),
    /// An operator arms the car for the pilot's engine. If the request names an engine, only for
    /// that one.
    Arm(Option<ArmRequest>),
    /// An operator disarms the car.
    Disarm,
    /// An operator stops the car.
    Stop,
    /// An operator holds a stop button down (true), or has released it (false).
    HoldStop(bool),
    /// An operator lets the car be armed only as long as this request, with true, is repeated
    /// within [`LEASE`]. When it is not, when the connection closes, or with false, the car is
    /// stopped.
    Lease(bool),
    /// A component failed.
    Fault(Fault),
    /// Requests the guard's status.
    Ask,
    /// Requests a description of the guarded car; the reply is an [`About`].
    Describe,
    /// An operator tries a trim value.
    Trim {
        /// The point.
        point: Point,
        /// Microseconds, or thousandths of a servo's range.
        value: Value,
    },
}

/// A request and its number, which must increase on a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbered {
    /// The number, starting at 1.
    pub number: u64,
    /// The request.
    pub request: Request,
}

/// A guard's reply or report.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reply {
    /// The number of the request that this answers; 0 for a report.
    pub answers: u64,
    /// Why the request was refused, if it was.
    pub refused: Option<Refusal>,
    /// The guard's status.
    pub status: Status,
    /// Counts of rejected messages and connections.
    pub rejected: Rejected,
}

/// A description of the guarded car.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The number of the request that this answers.
    pub answers: u64,
    /// [`Identification::about`](crate::Identification::about): a line for operators, then lines of
    /// `key = value`.
    pub text: String,
}

/// A message from a guard.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "only one value exists at a time, and receiving a report must not allocate"
)]
pub enum FromGuard {
    /// A reply or a report.
    Reply(Reply),
    /// A description of the guarded car.
    About(About),
}

/// An output and the time from which it is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// When the output takes effect.
    pub at: Time,
    /// The output for the motors.
    pub output: Output,
}

/// Counts of messages and connections that a guard has rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Messages of a wrong size, magic, version, checksum or content.
    pub malformed: u64,
    /// Messages whose number did not increase.
    pub replayed: u64,
    /// Connections of users who may not connect, and requests that the client may not make.
    pub unauthorized: u64,
    /// Connections that were closed because they were idle, or to make room for newer ones.
    pub evicted: u64,
}

/// Why a message was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The length is wrong.
    #[error("unexpected message length: {0} bytes")]
    Length(usize),
    /// The message belongs to another protocol.
    #[error("not a message of this protocol")]
    Magic,
    /// The message has another version of this protocol.
    #[error("a message of protocol version {0}; this is version {VERSION}")]
    Version(u16),
    /// The checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The message is intact, but contains an unknown code.
    #[error("the message has an unknown code")]
    Content,
}

#[cfg(test)]
mod tests;
