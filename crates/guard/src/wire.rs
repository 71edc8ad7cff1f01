//! What a pilot and a guard send each other: messages of a fixed size, each with a version,
//! a number and a checksum, over a socket that keeps the bounds of messages
//! (`SOCK_SEQPACKET`).
//!
//! Numbers are little-endian. Times are nanoseconds of `CLOCK_MONOTONIC`, which is one for
//! all processes of a machine. The first eight bytes keep their form in every version:
//! magic, version, kind, detail.

mod bytes;
mod codes;

use pilotage_vehicle::{Command, Time};

use crate::trim::{Point, Value};
use crate::{ArmRequest, Domain, Fault, Output, Refusal, Status};

pub use bytes::{APPLIED, LONGEST_ABOUT, REPLY, REQUEST};

/// The version of this protocol. It changes with each change of a message.
pub const VERSION: u16 = 2;

/// What a client asks of a guard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// The client is the pilot, or an operator's program that trims in its place.
    Hello {
        /// Where its engine was trained; none for one that trims.
        engine: Option<Domain>,
        /// [`Identity::fingerprint`](crate::Identity::fingerprint) of its car.
        fingerprint: u64,
    },
    /// Drive like this from now on.
    Command(Command),
    /// An operator arms the car, for the pilot's engine; where one is named, only for that.
    Arm(Option<ArmRequest>),
    /// An operator disarms it.
    Disarm,
    /// An operator stops it.
    Stop,
    /// An operator holds a stop button down, or has released it.
    HoldStop(bool),
    /// A component failed.
    Fault(Fault),
    /// The guard's status is asked for.
    Ask,
    /// What the guard guards is asked for: an [`About`] answers.
    Describe,
    /// An operator tries a value.
    Trim {
        /// Of which point.
        point: Point,
        /// Microseconds, or thousandths of a servo's range.
        value: Value,
    },
}

/// A request and its number, which only ever rises on a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbered {
    /// Its number, from 1 on.
    pub number: u64,
    /// What is asked.
    pub request: Request,
}

/// What a guard answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reply {
    /// Which request this answers; 0 where it answers none.
    pub answers: u64,
    /// Why that was refused, if it was.
    pub refused: Option<Refusal>,
    /// The guard's status.
    pub status: Status,
    /// What came over the sockets and was rejected.
    pub rejected: Rejected,
}

/// What a guard guards, as text: lines of `key = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Which request this answers.
    pub answers: u64,
    /// [`GuardedCar::about`](crate::GuardedCar::about).
    pub text: String,
}

/// A message from a guard.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and a report must not allocate"
)]
pub enum FromGuard {
    /// An answer or a report.
    Reply(Reply),
    /// What it guards.
    About(About),
}

/// An output that is in force from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// From then on.
    pub at: Time,
    /// What the motors do.
    pub output: Output,
}

/// What came over a guard's sockets and was rejected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Messages of a wrong size, magic, version, checksum or content.
    pub malformed: u64,
    /// Numbers that did not rise.
    pub replayed: u64,
    /// Connections of users who may not connect, and requests that only the pilot may make.
    pub unauthorized: u64,
    /// Connections that were closed to make room for newer ones.
    pub evicted: u64,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another length.
    #[error("unexpected message length: {0} bytes")]
    Length(usize),
    /// Of another protocol.
    #[error("not a message of this protocol")]
    Magic,
    /// Of another version of this protocol.
    #[error("a message of protocol version {0}; this is version {VERSION}")]
    Version(u16),
    /// Damaged.
    #[error("checksum mismatch")]
    Checksum,
    /// Whole, with a code that has no meaning.
    #[error("the message has a code without a meaning")]
    Content,
}

#[cfg(test)]
mod tests;
