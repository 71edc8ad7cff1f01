//! The byte layout of each message.

use pilotage_vehicle::{Command, Time};
use zerocopy::little_endian::{F32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codes::Code;
use super::{About, Applied, FromGuard, Malformed, Numbered, Rejected, Reply, Request, VERSION};
use crate::{
    ArmRequest, Armed, Braking, Counters, Driving, FailureText, Motion, Output, State, Status,
    Trimming,
};

/// Bytes of a request.
pub const REQUEST: usize = size_of::<RequestBytes>();
/// Bytes of a reply.
pub const REPLY: usize = size_of::<ReplyBytes>();
/// Bytes of an output for a simulated car.
pub const APPLIED: usize = size_of::<AppliedBytes>();
/// The largest length of an [`About`] in bytes.
pub const LONGEST_ABOUT: usize = 24 * 1024;

const REQUEST_MAGIC: [u8; 4] = *b"PLGR";
const REPLY_MAGIC: [u8; 4] = *b"PLGS";
const APPLIED_MAGIC: [u8; 4] = *b"PLGO";

/// Kinds of messages.
mod kind {
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
struct Header {
    magic: [u8; 4],
    version: U16,
    kind: u8,
    /// Its meaning depends on the kind.
    detail: u8,
    number: U64,
}

impl Header {
    fn new(magic: [u8; 4], kind: u8, detail: u8, number: u64) -> Self {
        Self {
            magic,
            version: VERSION.into(),
            kind,
            detail,
            number: number.into(),
        }
    }
}

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

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyBytes {
    header: Header,
    state: u8,
    /// The stop reason.
    reason: u8,
    mode: u8,
    /// Bit 0: a stop is held; bit 1: writes to the actuator fail.
    flags: u8,
    armed: U64,
    seen: U64,
    accepted: U64,
    sequence: U64,
    /// Value and target of steering, then of throttle.
    motions: [F32; 4],
    output: [F32; 2],
    counters: [U64; Counters::NUMBERS],
    rejected: [U64; 4],
    failure_length: u8,
    failure: [u8; FAILURE],
    checksum: U32,
}

/// Largest length of a failure's text in bytes.
const FAILURE: usize = 240;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct AppliedBytes {
    header: Header,
    at: U64,
    steering: F32,
    throttle: F32,
    checksum: U32,
}

/// The bytes of a message, with the checksum in the last four bytes.
fn with_checksum<const N: usize>(message: &impl IntoBytesArray<N>) -> [u8; N] {
    let mut bytes = message.array();
    let checksum = crc32fast::hash(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Converts a message to an array of its size.
trait IntoBytesArray<const N: usize> {
    fn array(&self) -> [u8; N];
}

macro_rules! into_array {
    ($($message:ty = $size:ident),+) => {
        $(impl IntoBytesArray<$size> for $message {
            fn array(&self) -> [u8; $size] {
                let mut bytes = [0; $size];
                bytes.copy_from_slice(self.as_bytes());
                bytes
            }
        })+
    };
}

into_array!(
    RequestBytes = REQUEST,
    ReplyBytes = REPLY,
    AppliedBytes = APPLIED
);

/// Returns the header of `bytes` after checking magic, version, length and checksum.
fn checked_header(
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

fn message<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read_from_bytes(bytes).map_err(|_| Malformed::Length(bytes.len()))
}

fn nanos(time: Time) -> U64 {
    time.as_nanos().into()
}

fn time(nanos: U64) -> Time {
    Time::from_nanos(nanos.get())
}

impl Numbered {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; REQUEST] {
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
        let header = checked_header(bytes, REQUEST_MAGIC, Some(REQUEST))?;
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

/// Codes of the states.
mod state {
    pub const DISARMED: u8 = 1;
    pub const ARMED: u8 = 2;
    pub const DRIVING: u8 = 3;
    pub const STOPPED: u8 = 4;
    pub const TRIMMING: u8 = 5;
}

const STOP_HELD: u8 = 1;
const FAILING: u8 = 2;

impl Reply {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; REPLY] {
        let Status {
            state: of,
            stop_held,
            failure,
            output,
            counters,
        } = &self.status;
        let mut motions = [0.0; 4];
        let (mut armed, mut seen, mut accepted, mut sequence) =
            (Time::ZERO, Time::ZERO, Time::ZERO, 0);
        let mut reason = 0;
        let state = match *of {
            State::Disarmed => state::DISARMED,
            State::Armed(state) => {
                (armed, seen) = (state.armed, state.seen);
                state::ARMED
            }
            State::Driving(state) => {
                (armed, seen) = (state.armed, state.seen);
                (accepted, sequence) = (state.accepted, state.sequence);
                let (steering, throttle) = (state.steering, state.throttle);
                motions = [
                    steering.value,
                    steering.target,
                    throttle.value,
                    throttle.target,
                ];
                state::DRIVING
            }
            State::Trimming(state) => {
                accepted = state.confirmed;
                motions[0] = state.steering;
                state::TRIMMING
            }
            // For a client a car that brakes is stopped; the output has the brake.
            State::Braking(Braking { reason: why, .. }) | State::Stopped { reason: why } => {
                reason = why.code();
                state::STOPPED
            }
        };
        let mut text = [0; FAILURE];
        let failing = failure.unwrap_or_default();
        text[..failing.len()].copy_from_slice(failing.as_bytes());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let Rejected {
            malformed,
            replayed,
            unauthorized,
            evicted,
        } = self.rejected;
        let refused = self.refused.map_or(0, Code::code);
        with_checksum(&ReplyBytes {
            header: Header::new(REPLY_MAGIC, kind::REPLY, refused, self.answers),
            state,
            reason,
            mode: output.mode.code(),
            flags: flag(*stop_held, STOP_HELD) | flag(failure.is_some(), FAILING),
            armed: nanos(armed),
            seen: nanos(seen),
            accepted: nanos(accepted),
            sequence: sequence.into(),
            motions: motions.map(F32::new),
            output: [output.steering, output.throttle].map(F32::new),
            counters: counters.numbers().map(U64::new),
            rejected: [malformed, replayed, unauthorized, evicted].map(U64::new),
            // At most FAILURE bytes, which fits a u8.
            failure_length: failing.len() as u8,
            failure: text,
            checksum: 0.into(),
        })
    }

    /// Parses bytes.
    ///
    /// # Errors
    /// When the bytes are not a valid reply.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = checked_header(bytes, REPLY_MAGIC, Some(REPLY))?;
        if header.kind != kind::REPLY {
            return Err(Malformed::Content);
        }
        let message: ReplyBytes = message(bytes)?;
        let [steering, steering_target, throttle, throttle_target] = message.motions.map(F32::get);
        let state = match message.state {
            state::DISARMED => State::Disarmed,
            state::ARMED => State::Armed(Armed {
                armed: time(message.armed),
                seen: time(message.seen),
            }),
            state::DRIVING => State::Driving(Driving {
                armed: time(message.armed),
                seen: time(message.seen),
                accepted: time(message.accepted),
                sequence: message.sequence.get(),
                steering: Motion {
                    value: steering,
                    target: steering_target,
                },
                throttle: Motion {
                    value: throttle,
                    target: throttle_target,
                },
            }),
            state::TRIMMING => State::Trimming(Trimming {
                confirmed: time(message.accepted),
                steering,
            }),
            state::STOPPED => State::Stopped {
                reason: Code::decode(message.reason)?,
            },
            _ => return Err(Malformed::Content),
        };
        let text = message
            .failure
            .get(..message.failure_length.into())
            .and_then(|text| std::str::from_utf8(text).ok())
            .ok_or(Malformed::Content)?;
        let failure = FailureText::from(text).map_err(|_| Malformed::Content)?;
        let [out_steering, out_throttle] = message.output.map(F32::get);
        let [malformed, replayed, unauthorized, evicted] = message.rejected.map(U64::get);
        Ok(Self {
            answers: header.number.get(),
            refused: match header.detail {
                0 => None,
                refusal => Some(Code::decode(refusal)?),
            },
            status: Status {
                state,
                stop_held: message.flags & STOP_HELD != 0,
                failure: (message.flags & FAILING != 0).then_some(failure),
                output: Output {
                    mode: Code::decode(message.mode)?,
                    steering: out_steering,
                    throttle: out_throttle,
                },
                counters: Counters::of_numbers(message.counters.map(U64::get)),
            },
            rejected: Rejected {
                malformed,
                replayed,
                unauthorized,
                evicted,
            },
        })
    }
}

impl About {
    /// Writes a reply to the request with number `answers` into `bytes`, and returns its length.
    /// `text` is truncated if it does not fit into a message.
    pub(crate) fn write(answers: u64, text: &str, bytes: &mut [u8; LONGEST_ABOUT]) -> usize {
        let header = Header::new(REPLY_MAGIC, kind::ABOUT, 0, answers);
        let room = LONGEST_ABOUT - size_of::<Header>() - 4;
        let text = &text[..text.floor_char_boundary(room)];
        let mut end = 0;
        let mut put = |part: &[u8]| {
            bytes[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        };
        put(header.as_bytes());
        put(text.as_bytes());
        let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..end + 4].copy_from_slice(&checksum);
        end + 4
    }

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = checked_header(bytes, REPLY_MAGIC, None)?;
        let text = bytes.get(size_of::<Header>()..bytes.len() - 4);
        let text = text.and_then(|text| std::str::from_utf8(text).ok());
        match (header.kind, text) {
            (kind::ABOUT, Some(text)) => Ok(Self {
                answers: header.number.get(),
                text: text.to_owned(),
            }),
            _ => Err(Malformed::Content),
        }
    }
}

impl FromGuard {
    /// Parses bytes.
    ///
    /// # Errors
    /// When the bytes are not a valid message from a guard.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        match Reply::read(bytes) {
            Ok(reply) => Ok(Self::Reply(reply)),
            Err(Malformed::Length(_) | Malformed::Content) => About::read(bytes).map(Self::About),
            Err(malformed) => Err(malformed),
        }
    }
}

impl Applied {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; APPLIED] {
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
        let header = checked_header(bytes, APPLIED_MAGIC, Some(APPLIED))?;
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
