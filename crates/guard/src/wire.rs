//! What a pilot and a guard say to each other: messages of a fixed size, each with a
//! checksum, over a socket that keeps their bounds (`SOCK_SEQPACKET`).
//!
//! Numbers are little-endian. Times are nanoseconds of `CLOCK_MONOTONIC`, which is one
//! for all processes of a machine.

use pilotage_vehicle::{Command, Time};

use crate::{
    ArmRequest, Armed, Counters, Domain, Driving, Fault, Mode, Motion, Output, Refusal, State,
    Status, StopReason,
};

/// Bytes of a request.
pub const REQUEST: usize = 52;
/// Bytes of a reply.
pub const REPLY: usize = 220;

/// Bytes of an output on its way to a simulated car.
pub const APPLIED: usize = 28;

const APPLIED_MAGIC: [u8; 4] = *b"PLO1";
const REQUEST_MAGIC: [u8; 4] = *b"PLR1";
const REPLY_MAGIC: [u8; 4] = *b"PLS1";

/// What a guard is told or asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Request {
    /// "I am the pilot; my engine was trained there."
    Hello(Domain),
    /// Where to go, from that moment on.
    Command {
        /// Now, or later.
        at: Time,
        /// The command.
        command: Command,
    },
    /// A person arms the car, for the pilot's engine, or for the one that is named.
    Arm(Option<ArmRequest>),
    /// A person disarms it.
    Disarm,
    /// A person stops it.
    Stop,
    /// A part failed.
    Fault(Fault),
    /// How are you?
    Ask,
}

/// A request and its number, which only ever rises on a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbered {
    /// Its number, from 1 on.
    pub number: u64,
    /// What it says.
    pub request: Request,
}

/// What a guard answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reply {
    /// Which request this answers; 0 where it answers none.
    pub answers: u64,
    /// Why that was refused, if it was.
    pub refused: Option<Refusal>,
    /// Where the guard stands.
    pub status: Status,
    /// What came over the sockets that was no good.
    pub noise: Noise,
}

/// An output that is in force from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Applied {
    /// From then on.
    pub at: Time,
    /// What the motors do.
    pub output: Output,
}

/// What came over a guard's sockets that was no good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noise {
    /// Messages of a wrong size, magic, checksum or content.
    pub malformed: u64,
    /// Numbers that did not rise.
    pub replayed: u64,
    /// Connections of users who may not, or beyond the most there may be.
    pub strangers: u64,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another length.
    #[error("a message of {0} bytes is none of ours")]
    Length(usize),
    /// Of another protocol, or another version of this one.
    #[error("not a message of this version")]
    Magic,
    /// Damaged.
    #[error("the message's checksum is another")]
    Checksum,
    /// Whole, and senseless.
    #[error("the message says nothing that is known")]
    Content,
}

const DOMAINS: [Domain; 2] = [Domain::Simulated, Domain::Physical];
const FAULTS: [Fault; 6] = [
    Fault::Camera,
    Fault::FrozenPicture,
    Fault::Engine,
    Fault::Pilot,
    Fault::Gamepad,
    Fault::Actuator,
];
const MODES: [Mode; 3] = [Mode::Disarmed, Mode::Failsafe, Mode::Drive];
const REASONS: [StopReason; 4] = [
    StopReason::Deadline,
    StopReason::NoFirstCommand,
    StopReason::ClockWentBack,
    StopReason::Person,
];

fn place<T: PartialEq>(of: &[T], value: &T) -> u8 {
    // Each table holds every value there is, and no table is long.
    of.iter().position(|known| known == value).unwrap_or(0) as u8
}

fn at<T: Copy>(of: &[T], place: u8) -> Result<T, Malformed> {
    of.get(usize::from(place))
        .copied()
        .ok_or(Malformed::Content)
}

/// Writes numbers one after the other.
struct Writer<const N: usize> {
    bytes: [u8; N],
    end: usize,
}

impl<const N: usize> Writer<N> {
    fn new(magic: [u8; 4]) -> Self {
        let mut writer = Self {
            bytes: [0; N],
            end: 0,
        };
        writer.put(&magic);
        writer
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.end..self.end + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.end += bytes.len();
    }

    fn time(&mut self, time: Time) {
        self.put(&time.as_nanos().to_le_bytes());
    }

    fn number(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    fn float(&mut self, value: f32) {
        self.put(&value.to_le_bytes());
    }

    fn finish(mut self) -> [u8; N] {
        let checksum = crc32fast::hash(&self.bytes[..N - 4]);
        debug_assert_eq!(self.end, N - 4);
        self.bytes[N - 4..].copy_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Reads them back.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], length: usize, magic: [u8; 4]) -> Result<Self, Malformed> {
        if bytes.len() != length {
            return Err(Malformed::Length(bytes.len()));
        }
        let (body, checksum) = bytes.split_last_chunk().ok_or(Malformed::Checksum)?;
        if body.get(..4) != Some(&magic[..]) {
            return Err(Malformed::Magic);
        }
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(Malformed::Checksum);
        }
        Ok(Self { bytes: &body[4..] })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(Malformed::Content)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn time(&mut self) -> Result<Time, Malformed> {
        Ok(Time::from_nanos(self.number()?))
    }

    fn float(&mut self) -> Result<f32, Malformed> {
        Ok(f32::from_le_bytes(self.take()?))
    }
}

impl Numbered {
    /// As bytes.
    pub fn write(&self) -> [u8; REQUEST] {
        let domain = |domain: Domain| place(&DOMAINS, &domain);
        let (kind, detail) = match self.request {
            Request::Hello(engine) => (1, domain(engine)),
            Request::Command { .. } => (2, 0),
            Request::Arm(None) => (3, u8::MAX),
            Request::Arm(Some(request)) => (3, domain(request.engine)),
            Request::Disarm => (4, 0),
            Request::Stop => (5, 0),
            Request::Fault(fault) => (6, place(&FAULTS, &fault)),
            Request::Ask => (7, 0),
        };
        let nothing = (
            Time::ZERO,
            Command {
                steering: 0.0,
                throttle: 0.0,
                captured: Time::ZERO,
                sequence: 0,
            },
        );
        let (at, command) = match self.request {
            Request::Command { at, command } => (at, command),
            _ => nothing,
        };
        let mut writer = Writer::new(REQUEST_MAGIC);
        writer.put(&[kind, detail, 0, 0]);
        writer.number(self.number);
        writer.time(at);
        writer.time(command.captured);
        writer.number(command.sequence);
        writer.float(command.steering);
        writer.float(command.throttle);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no request.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, REQUEST, REQUEST_MAGIC)?;
        let [kind, detail, ..] = reader.take::<4>()?;
        let number = reader.number()?;
        let (moment, captured, sequence) = (reader.time()?, reader.time()?, reader.number()?);
        let (steering, throttle) = (reader.float()?, reader.float()?);
        let request = match kind {
            1 => Request::Hello(at(&DOMAINS, detail)?),
            2 => Request::Command {
                at: moment,
                command: Command {
                    steering,
                    throttle,
                    captured,
                    sequence,
                },
            },
            3 if detail == u8::MAX => Request::Arm(None),
            3 => Request::Arm(Some(ArmRequest {
                engine: at(&DOMAINS, detail)?,
            })),
            4 => Request::Disarm,
            5 => Request::Stop,
            6 => Request::Fault(at(&FAULTS, detail)?),
            7 => Request::Ask,
            _ => return Err(Malformed::Content),
        };
        Ok(Self { number, request })
    }
}

impl Reply {
    /// As bytes.
    pub fn write(&self) -> [u8; REPLY] {
        let Status {
            state,
            output,
            counters,
        } = &self.status;
        let (kind, detail) = match state {
            State::Disarmed => (0, 0),
            State::Armed(_) => (1, 0),
            State::Driving(_) => (2, 0),
            State::Stopped {
                reason: StopReason::Fault(fault),
            } => (3, 16 + place(&FAULTS, fault)),
            State::Stopped { reason } => (3, place(&REASONS, reason)),
        };
        let (armed, seen) = match state {
            State::Armed(armed) => (armed.armed, armed.seen),
            State::Driving(driving) => (driving.armed, driving.seen),
            State::Disarmed | State::Stopped { .. } => (Time::ZERO, Time::ZERO),
        };
        let still = Motion {
            value: 0.0,
            target: 0.0,
        };
        let (accepted, sequence, steering, throttle) = match state {
            State::Driving(d) => (d.accepted, d.sequence, d.steering, d.throttle),
            _ => (Time::ZERO, 0, still, still),
        };
        let refused = self
            .refused
            .map_or(0, |refusal| 1 + place(&Refusal::ALL, &refusal));
        let mut writer = Writer::new(REPLY_MAGIC);
        writer.put(&[kind, detail, place(&MODES, &output.mode), refused]);
        writer.number(self.answers);
        for time in [armed, seen, accepted] {
            writer.time(time);
        }
        writer.number(sequence);
        for value in [
            steering.value,
            steering.target,
            throttle.value,
            throttle.target,
            output.steering,
            output.throttle,
        ] {
            writer.float(value);
        }
        for count in counters.numbers() {
            writer.number(count);
        }
        for count in [
            self.noise.malformed,
            self.noise.replayed,
            self.noise.strangers,
        ] {
            writer.number(count);
        }
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no reply.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, REPLY, REPLY_MAGIC)?;
        let [kind, detail, mode, refused] = reader.take::<4>()?;
        let answers = reader.number()?;
        let (armed, seen, accepted) = (reader.time()?, reader.time()?, reader.time()?);
        let sequence = reader.number()?;
        let mut values = [0.0; 6];
        for value in &mut values {
            *value = reader.float()?;
        }
        let [
            steering,
            steering_target,
            throttle,
            throttle_target,
            out_steering,
            out_throttle,
        ] = values;
        let state = match kind {
            0 => State::Disarmed,
            1 => State::Armed(Armed { armed, seen }),
            2 => State::Driving(Driving {
                armed,
                seen,
                accepted,
                sequence,
                steering: Motion {
                    value: steering,
                    target: steering_target,
                },
                throttle: Motion {
                    value: throttle,
                    target: throttle_target,
                },
            }),
            3 => State::Stopped {
                reason: match detail.checked_sub(16) {
                    Some(fault) => StopReason::Fault(at(&FAULTS, fault)?),
                    None => at(&REASONS, detail)?,
                },
            },
            _ => return Err(Malformed::Content),
        };
        let mut counts = [0; Counters::NUMBERS];
        for count in &mut counts {
            *count = reader.number()?;
        }
        Ok(Self {
            answers,
            refused: match refused.checked_sub(1) {
                None => None,
                Some(refusal) => Some(at(&Refusal::ALL, refusal)?),
            },
            status: Status {
                state,
                output: Output {
                    mode: at(&MODES, mode)?,
                    steering: out_steering,
                    throttle: out_throttle,
                },
                counters: Counters::of_numbers(counts),
            },
            noise: Noise {
                malformed: reader.number()?,
                replayed: reader.number()?,
                strangers: reader.number()?,
            },
        })
    }
}

impl Applied {
    /// As bytes.
    pub fn write(&self) -> [u8; APPLIED] {
        let mut writer = Writer::new(APPLIED_MAGIC);
        writer.put(&[place(&MODES, &self.output.mode), 0, 0, 0]);
        writer.time(self.at);
        writer.float(self.output.steering);
        writer.float(self.output.throttle);
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no output.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, APPLIED, APPLIED_MAGIC)?;
        let [mode, ..] = reader.take::<4>()?;
        Ok(Self {
            at: reader.time()?,
            output: Output {
                mode: at(&MODES, mode)?,
                steering: reader.float()?,
                throttle: reader.float()?,
            },
        })
    }
}

#[cfg(test)]
mod tests;
