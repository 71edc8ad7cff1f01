//! The byte layout of what a guard sends.

use pilotage_vehicle::{MeasuredSpeed, Time};
use zerocopy::little_endian::{F32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codes::Code;
use super::header::{
    Header, checked_header, into_array, kind, message, nanos, time, with_checksum,
};
use super::{About, FromGuard, Malformed, Rejected, Reply};
use crate::{
    Armed, Braking, Counters, Driving, FailureText, Motion, Output, State, Status, Trimming,
};

/// Bytes of a reply.
pub const REPLY_LEN: usize = size_of::<ReplyBytes>();
/// The largest length of an [`About`] in bytes.
pub const LONGEST_ABOUT: usize = 24 * 1024;

const REPLY_MAGIC: [u8; 4] = *b"PLGS";

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ReplyBytes {
    header: Header,
    state: u8,
    /// The stop reason.
    reason: u8,
    mode: u8,
    /// Bit 0: a stop is held; bit 1: writes to the actuator fail; bit 2: it measured a speed.
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
    /// When the speed was requested.
    speed_at: U64,
    speed: F32,
    failure_length: u8,
    failure: [u8; FAILURE],
    checksum: U32,
}

into_array!(ReplyBytes = REPLY_LEN);

/// Largest length of a failure's text in bytes.
const FAILURE: usize = 240;

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
const HAS_SPEED: u8 = 4;

impl Reply {
    /// Converts to bytes.
    pub fn write(&self) -> [u8; REPLY_LEN] {
        let Status {
            state: of,
            stop_held,
            failure,
            output,
            counters,
            speed,
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
            flags: flag(*stop_held, STOP_HELD)
                | flag(failure.is_some(), FAILING)
                | flag(speed.is_some(), HAS_SPEED),
            armed: nanos(armed),
            seen: nanos(seen),
            accepted: nanos(accepted),
            sequence: sequence.into(),
            motions: motions.map(F32::new),
            output: [output.steering, output.throttle].map(F32::new),
            counters: counters.numbers().map(U64::new),
            rejected: [malformed, replayed, unauthorized, evicted].map(U64::new),
            speed_at: nanos(speed.map_or(Time::ZERO, |speed| speed.at)),
            speed: speed.map_or(0.0, |speed| speed.mps).into(),
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
        let header = checked_header(bytes, REPLY_MAGIC, Some(REPLY_LEN))?;
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
                speed: (message.flags & HAS_SPEED != 0).then(|| MeasuredSpeed {
                    at: time(message.speed_at),
                    mps: message.speed.get(),
                }),
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
