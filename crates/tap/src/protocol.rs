//! The messages between observers and the pilot's server, of fixed size, one a packet
//! (SOCK_SEQPACKET), in the byte order of the machine.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::VERSION;

/// The largest number of observers at the same time.
pub const MAX_OBSERVERS: usize = 16;

const MARK: u32 = u32::from_be_bytes(*b"ptap");

/// A message in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Message {
    mark: u32,
    version: u32,
    kind: u32,
    value: u32,
}

/// Bytes of a message.
pub(crate) const BYTES: usize = size_of::<Message>();

/// What an observer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Requests the memory.
    Hello,
    /// Requests this many pictures per second for the next two seconds; 0 for none.
    Pictures(u32),
    /// An operator's stop.
    Stop,
}

/// What the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The descriptor of the memory is attached; none in the reply to a message of another version.
    Memory,
    /// There are too many observers; no descriptor.
    TooMany,
}

/// Why a message is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// It is of another version.
    Version(u32),
    /// Its length, mark or kind is not valid.
    Malformed,
}

const HELLO: u32 = 1;
const PICTURES: u32 = 2;
const STOP: u32 = 3;
const MEMORY: u32 = 4;
const TOO_MANY: u32 = 5;

fn message(kind: u32, value: u32) -> [u8; BYTES] {
    zerocopy::transmute!(Message {
        mark: MARK,
        version: VERSION,
        kind,
        value,
    })
}

fn parse(bytes: &[u8]) -> Result<Message, Invalid> {
    let message = Message::read_from_bytes(bytes).map_err(|_| Invalid::Malformed)?;
    match message {
        Message { mark, .. } if mark != MARK => Err(Invalid::Malformed),
        Message { version, .. } if version != VERSION => Err(Invalid::Version(version)),
        message => Ok(message),
    }
}

impl Request {
    pub(crate) fn write(self) -> [u8; BYTES] {
        match self {
            Self::Hello => message(HELLO, 0),
            Self::Pictures(per_second) => message(PICTURES, per_second),
            Self::Stop => message(STOP, 0),
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        match parse(bytes)? {
            Message { kind: HELLO, .. } => Ok(Self::Hello),
            Message {
                kind: PICTURES,
                value,
                ..
            } => Ok(Self::Pictures(value)),
            Message { kind: STOP, .. } => Ok(Self::Stop),
            _ => Err(Invalid::Malformed),
        }
    }
}

impl Reply {
    pub(crate) fn write(self) -> [u8; BYTES] {
        match self {
            Self::Memory => message(MEMORY, 0),
            Self::TooMany => message(TOO_MANY, 0),
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        match parse(bytes)?.kind {
            MEMORY => Ok(Self::Memory),
            TOO_MANY => Ok(Self::TooMany),
            _ => Err(Invalid::Malformed),
        }
    }
}
