//! The two frames: bytes, checksum, and how they are found in a stream.
//!
//! Numbers are little-endian. The checksum is CRC-16/XMODEM (polynomial 0x1021, start 0, not
//! reflected) of all bytes between the first one and the checksum.

use core::ops::RangeInclusive;

/// Microseconds of a pulse; 0 is no pulse.
pub type Us = u16;
/// Milliseconds.
pub type Millis = u16;

/// The pulses that a bridge puts out; another command is dropped. 0 is accepted too, as no pulse.
pub const PULSES: RangeInclusive<Us> = 400..=2600;
/// The longest brake; a command with a longer one is dropped.
pub const LONGEST_BRAKE: Millis = 2000;

/// The first byte of a frame.
const START: u8 = 0xA5;
/// The second byte: which frame it is, and of which version of the protocol.
const COMMAND_1: u8 = 0x01;
const STATUS_1: u8 = 0x81;

/// Bytes of a command.
pub const COMMAND: usize = 18;
/// Bytes of a status.
pub const STATUS: usize = 12;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// The car does not drive: it is disarmed, stopped or braked. Only such a command lets a bridge
    /// drive again that has stopped by itself.
    No,
    /// The car drives back, or stands.
    NotAhead,
    /// The car drives ahead: if the computer is silent from now on, the bridge brakes first.
    Ahead,
}

/// What the computer sends. Each command is complete, so that a bridge keeps nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Differs from that of the last command. A command that equals the last one, this number
    /// included, is not a new one: a computer that hangs may still send its last bytes for ever.
    pub sequence: u8,
    /// What the command does.
    pub drive: Drive,
    /// The servo's pulse.
    pub steering: Us,
    /// The speed controller's pulse.
    pub throttle: Us,
    /// The servo's pulse when the bridge stops the car.
    pub stopped_steering: Us,
    /// The speed controller's pulse when the bridge stops the car.
    pub stopped_throttle: Us,
    /// The speed controller's pulse that brakes; 0 for a car without a brake.
    pub brake: Us,
    /// How long the bridge brakes before it stops the car.
    pub brake_millis: Millis,
}

impl Command {
    /// The bytes of this command.
    pub fn write(&self) -> [u8; COMMAND] {
        let drive = match self.drive {
            Drive::No => 0,
            Drive::NotAhead => 1,
            Drive::Ahead => 2,
        };
        let mut bytes = [0; COMMAND];
        bytes[..4].copy_from_slice(&[START, COMMAND_1, self.sequence, drive]);
        let numbers = [
            self.steering,
            self.throttle,
            self.stopped_steering,
            self.stopped_throttle,
            self.brake,
            self.brake_millis,
        ];
        put(&mut bytes[4..], &numbers);
        seal(bytes)
    }

    /// Parses a whole command with a correct checksum; `None` if a value is not allowed.
    pub fn read(bytes: &[u8; COMMAND]) -> Option<Self> {
        let [START, COMMAND_1, sequence, drive, ..] = *bytes else {
            return None;
        };
        if !is_sealed(bytes) {
            return None;
        }
        let at = |index: usize| number(bytes, 4 + 2 * index);
        let command = Self {
            sequence,
            drive: match drive {
                0 => Drive::No,
                1 => Drive::NotAhead,
                2 => Drive::Ahead,
                _ => return None,
            },
            steering: at(0),
            throttle: at(1),
            stopped_steering: at(2),
            stopped_throttle: at(3),
            brake: at(4),
            brake_millis: at(5),
        };
        let pulses = [
            command.steering,
            command.throttle,
            command.stopped_steering,
            command.stopped_throttle,
            command.brake,
        ];
        let valid = pulses.iter().all(|us| *us == 0 || PULSES.contains(us));
        (valid && command.brake_millis <= LONGEST_BRAKE).then_some(command)
    }
}

/// What a bridge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It puts out the command's pulses.
    Obeys,
    /// It has stopped by itself, and puts out the pulses for a stop until a command comes that does
    /// not drive.
    Holds,
    /// The radio transmitter drives the car.
    Remote,
    /// The radio's pulses, which were there, are gone: the car is stopped.
    RemoteLost,
}

/// A bridge's answer to each new command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The number of the command that it answers.
    pub sequence: u8,
    /// What the bridge does.
    pub state: State,
    /// The servo's pulse, put out now.
    pub steering: Us,
    /// The speed controller's pulse, put out now.
    pub throttle: Us,
    /// How many commands were dropped for a wrong checksum or a value that is not allowed; wraps.
    pub dropped: u16,
}

impl Status {
    /// The bytes of this status.
    pub fn write(&self) -> [u8; STATUS] {
        let state = match self.state {
            State::Obeys => 1,
            State::Holds => 2,
            State::Remote => 3,
            State::RemoteLost => 4,
        };
        let mut bytes = [0; STATUS];
        bytes[..4].copy_from_slice(&[START, STATUS_1, self.sequence, state]);
        put(
            &mut bytes[4..],
            &[self.steering, self.throttle, self.dropped],
        );
        seal(bytes)
    }

    /// Parses a whole status with a correct checksum.
    pub fn read(bytes: &[u8; STATUS]) -> Option<Self> {
        let [START, STATUS_1, sequence, state, ..] = *bytes else {
            return None;
        };
        if !is_sealed(bytes) {
            return None;
        }
        Some(Self {
            sequence,
            state: match state {
                1 => State::Obeys,
                2 => State::Holds,
                3 => State::Remote,
                4 => State::RemoteLost,
                _ => return None,
            },
            steering: number(bytes, 4),
            throttle: number(bytes, 6),
            dropped: number(bytes, 8),
        })
    }
}

/// Finds frames of `N` bytes at any position of a stream.
#[derive(Debug, Clone)]
pub struct Parser<const N: usize> {
    kind: u8,
    /// The last bytes.
    bytes: [u8; N],
}

impl Parser<COMMAND> {
    /// For what a computer sends.
    pub const fn of_commands() -> Self {
        Self {
            kind: COMMAND_1,
            bytes: [0; COMMAND],
        }
    }
}

impl Parser<STATUS> {
    /// For what a bridge sends.
    pub const fn of_statuses() -> Self {
        Self {
            kind: STATUS_1,
            bytes: [0; STATUS],
        }
    }
}

impl<const N: usize> Parser<N> {
    /// Takes a byte. Returns the last `N` bytes if they begin as a frame does; they have to be read
    /// then, which checks the rest. Bytes that were read as a frame are part of no other one.
    pub fn take(&mut self, byte: u8) -> Option<[u8; N]> {
        self.bytes.copy_within(1.., 0);
        if let Some(last) = self.bytes.last_mut() {
            *last = byte;
        }
        (self.bytes[..2] == [START, self.kind]).then_some(self.bytes)
    }

    /// Drops the bytes of a frame that was read.
    pub const fn clear(&mut self) {
        self.bytes = [0; N];
    }
}

fn put(to: &mut [u8], numbers: &[u16]) {
    for (bytes, number) in to.chunks_exact_mut(2).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
}

fn number(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    }
}

fn seal<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let crc = crc16(&bytes[1..N - 2]);
    bytes[N - 2..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn is_sealed<const N: usize>(bytes: &[u8; N]) -> bool {
    number(bytes, N - 2) == crc16(&bytes[1..N - 2])
}

/// CRC-16/XMODEM.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}
