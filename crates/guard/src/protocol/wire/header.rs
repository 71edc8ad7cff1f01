//! The header of each message, and its checksum.

use pilotage_vehicle::Time;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Malformed, VERSION};

/// Kinds of messages.
pub(super) mod kind {
    pub const HELLO: u8 = 1;
    pub const COMMAND: u8 = 2;
    pub const ARM: u8 = 3;
    pub const DISARM: u8 = 4;
    pub const STOP: u8 = 5;
    pub const FAULT: u8 = 6;
    pub const ASK: u8 = 7;
    pub const HOLD_STOP: u8 = 8;
    pub const DESCRIBE: u8 = 9;
    pub const TRIM: u8 = 10;
    pub const LEASE: u8 = 11;
    // From a guard.
    pub const REPLY: u8 = 1;
    pub const ABOUT: u8 = 2;
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 4],
    pub(super) version: U16,
    pub(super) kind: u8,
    /// Its meaning depends on the kind.
    pub(super) detail: u8,
    pub(super) number: U64,
}

impl Header {
    pub(super) fn new(magic: [u8; 4], kind: u8, detail: u8, number: u64) -> Self {
        Self {
            magic,
            version: VERSION.into(),
            kind,
            detail,
            number: number.into(),
        }
    }
}

/// The bytes of a message, with the checksum in the last four bytes.
pub(super) fn with_checksum<const N: usize>(message: &impl IntoBytesArray<N>) -> [u8; N] {
    let mut bytes = message.array();
    let checksum = crc32fast::hash(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Converts a message to an array of its size.
pub(super) trait IntoBytesArray<const N: usize> {
    fn array(&self) -> [u8; N];
}

macro_rules! into_array {
    ($message:ty = $size:ident) => {
        impl $crate::protocol::wire::header::IntoBytesArray<$size> for $message {
            fn array(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                bytes.copy_from_slice(self.as_bytes());
                bytes
            }
        }
    };
}
pub(super) use into_array;

/// Returns the header of `bytes` after checking magic, version, length and checksum.
pub(super) fn checked_header(
    bytes: &[u8],
    magic: [u8; 4],
    length: Option<usize>,
) -> Result<Header, Malformed> {
    let wrong_length = Malformed::Length(bytes.len());
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| wrong_length)?;
    if header.magic != magic {
        return Err(Malformed::Magic);
    }
    if header.version.get() != VERSION {
        return Err(Malformed::Version(header.version.get()));
    }
    if length.is_some_and(|length| length != bytes.len()) {
        return Err(wrong_length);
    }
    let (body, checksum) = bytes.split_last_chunk().ok_or(wrong_length)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err(Malformed::Checksum);
    }
    Ok(header)
}

pub(super) fn message<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read_from_bytes(bytes).map_err(|_| Malformed::Length(bytes.len()))
}

pub(super) fn nanos(time: Time) -> U64 {
    time.as_nanos().into()
}

pub(super) fn time(nanos: U64) -> Time {
    Time::from_nanos(nanos.get())
}
