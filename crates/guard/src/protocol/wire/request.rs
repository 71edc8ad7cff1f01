//! The byte layout of a request.

use pilotage_vehicle::{Command, Time};
use zerocopy::little_endian::{F32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codes::Code;
use super::header::{
    Header, checked_header, into_array, kind, message, nanos, time, with_checksum,
};
use super::{Malformed, Numbered, Request};
use crate::ArmRequest;

/// The length of a request, bytes.
pub const REQUEST_LEN: usize = size_of::<RequestBytes>();
const REQUEST_MAGIC: [u8; 4] = *b"PLGR";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RequestBytes {
    header: Header,
    captured: U64,
    sequence: U64,
    fingerprint: U64,
    steering: F32,
    throttle: F32,
    value: U16,
    spare: [u8; 2],
    checksum: U32,
}

into_array!(RequestBytes = REQUEST_LEN);

impl Numbered {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; REQUEST_LEN] {
        let mut command = Command {
            steering: 0.0,
            throttle: 0.0,
            captured: Time::ZERO,
            sequence: 0,
        };
        let (mut fingerprint, mut trim_value) = (0, 0);
        let (kind, detail) = match self.request {
            Request::Hello {
                engine,
                fingerprint: own,
            } => {
                fingerprint = own;
                (kind::HELLO, engine.map_or(0, Code::code))
            }
            Request::Command(sent) => {
                command = sent;
                (kind::COMMAND, 0)
            }
            Request::Arm(None) => (kind::ARM, 0),
            Request::Arm(Some(request)) => (kind::ARM, request.engine.code()),
            Request::Disarm => (kind::DISARM, 0),
            Request::Stop => (kind::STOP, 0),
            Request::HoldStop(held) => (kind::HOLD_STOP, held.into()),
            Request::Lease(held) => (kind::LEASE, held.into()),
            Request::Fault(fault) => (kind::FAULT, fault.code()),
            Request::Ask => (kind::ASK, 0),
            Request::Describe => (kind::DESCRIBE, 0),
            Request::Trim { point, value } => {
                trim_value = value;
                (kind::TRIM, point.code())
            }
        };
        with_checksum(&RequestBytes {
            header: Header::new(REQUEST_MAGIC, kind, detail, self.number),
            captured: nanos(command.captured),
            sequence: command.sequence.into(),
            fingerprint: fingerprint.into(),
            steering: command.steering.into(),
            throttle: command.throttle.into(),
            value: trim_value.into(),
            spare: [0; 2],
            checksum: 0.into(),
        })
    }

    /// Parses bytes.
    ///
    /// # Errors
    /// When the bytes are not a valid request.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = checked_header(bytes, REQUEST_MAGIC, Some(REQUEST_LEN))?;
        let message: RequestBytes = message(bytes)?;
        let request = match (header.kind, header.detail) {
            (kind::HELLO, engine) => Request::Hello {
                engine: match engine {
                    0 => None,
                    engine => Some(Code::decode(engine)?),
                },
                fingerprint: message.fingerprint.get(),
            },
            (kind::COMMAND, _) => Request::Command(Command {
                steering: message.steering.get(),
                throttle: message.throttle.get(),
                captured: time(message.captured),
                sequence: message.sequence.get(),
            }),
            (kind::ARM, 0) => Request::Arm(None),
            (kind::ARM, engine) => Request::Arm(Some(ArmRequest {
                engine: Code::decode(engine)?,
            })),
            (kind::DISARM, _) => Request::Disarm,
            (kind::STOP, _) => Request::Stop,
            // Every value except "released" is a held stop.
            (kind::HOLD_STOP, held) => Request::HoldStop(held != 0),
            // Every value except 1 is the end of a lease.
            (kind::LEASE, held) => Request::Lease(held == 1),
            (kind::FAULT, fault) => Request::Fault(Code::decode(fault)?),
            (kind::ASK, _) => Request::Ask,
            (kind::DESCRIBE, _) => Request::Describe,
            (kind::TRIM, point) => Request::Trim {
                point: Code::decode(point)?,
                value: message.value.get(),
            },
            _ => return Err(Malformed::Content),
        };
        Ok(Self {
            number: header.number.get(),
            request,
        })
    }
}
