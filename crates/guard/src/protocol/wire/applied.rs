//! The byte layout of an output for a simulated car.

use zerocopy::little_endian::{F32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codes::Code;
use super::header::{Header, checked_header, into_array, message, nanos, time, with_checksum};
use super::{Applied, Malformed};
use crate::Output;

/// Bytes of an output for a simulated car.
pub const APPLIED_LEN: usize = size_of::<AppliedBytes>();
const APPLIED_MAGIC: [u8; 4] = *b"PLGO";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AppliedBytes {
    header: Header,
    at: U64,
    steering: F32,
    throttle: F32,
    checksum: U32,
}

into_array!(AppliedBytes = APPLIED_LEN);

impl Applied {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; APPLIED_LEN] {
        with_checksum(&AppliedBytes {
            header: Header::new(APPLIED_MAGIC, 1, self.output.mode.code(), 0),
            at: nanos(self.at),
            steering: self.output.steering.into(),
            throttle: self.output.throttle.into(),
            checksum: 0.into(),
        })
    }

    /// Parses bytes.
    ///
    /// # Errors
    /// When the bytes are not a valid output.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = checked_header(bytes, APPLIED_MAGIC, Some(APPLIED_LEN))?;
        let message: AppliedBytes = message(bytes)?;
        Ok(Self {
            at: time(message.at),
            output: Output {
                mode: Code::decode(header.detail)?,
                steering: message.steering.get(),
                throttle: message.throttle.get(),
            },
        })
    }
}
