//! The VESC's packets: 2, the length of the payload, the payload, its CRC, 3.
//! <https://github.com/vedderb/bldc/blob/master/comm/packet.c> and `datatypes.h`.

use arrayvec::ArrayVec;

const FW_VERSION: u8 = 0;
const SET_DUTY: u8 = 5;
const SET_CURRENT: u8 = 6;
const SET_CURRENT_BRAKE: u8 = 7;
const SET_RPM: u8 = 8;
const SET_SERVO_POS: u8 = 12;
const ALIVE: u8 = 30;
const GET_VALUES_SELECTIVE: u8 = 50;
/// The electrical speed among these values, as an integer of 32 bits
/// (<https://github.com/vedderb/bldc/blob/master/comm/commands.c>).
const ERPM: u32 = 1 << 7;

const START: u8 = 2;
const END: u8 = 3;

/// A sequence of packets.
#[derive(Debug, Default)]
pub(super) struct Packet(ArrayVec<u8, 64>);

impl Packet {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Sets the duty cycle, -1 to 1.
    pub(super) fn set_duty(&mut self, duty: f32) {
        self.number(SET_DUTY, (duty * 1e5) as i32);
    }

    /// Sets the electrical speed in revolutions per minute, which the VESC regulates.
    pub(super) fn set_erpm(&mut self, erpm: f32) {
        self.number(SET_RPM, erpm as i32);
    }

    /// Brakes with this current in A; at 0 the motor coasts.
    pub(super) fn stop(&mut self, amperes: f32) {
        let command = if amperes > 0.0 {
            SET_CURRENT_BRAKE
        } else {
            SET_CURRENT
        };
        self.number(command, (amperes * 1e3) as i32);
    }

    /// Sets the servo's position, 0 to 1.
    pub(super) fn set_servo(&mut self, position: f32) {
        let [high, low] = ((position * 1e3).round() as i16).to_be_bytes();
        self.add(&[SET_SERVO_POS, high, low]);
    }

    pub(super) fn alive(&mut self) {
        self.add(&[ALIVE]);
    }

    pub(super) fn ask_version(&mut self) {
        self.add(&[FW_VERSION]);
    }

    pub(super) fn ask_erpm(&mut self) {
        let [a, b, c, d] = ERPM.to_be_bytes();
        self.add(&[GET_VALUES_SELECTIVE, a, b, c, d]);
    }

    fn number(&mut self, command: u8, number: i32) {
        let [a, b, c, d] = number.to_be_bytes();
        self.add(&[command, a, b, c, d]);
    }

    fn add(&mut self, payload: &[u8]) {
        let [high, low] = crc16(payload).to_be_bytes();
        self.0.extend([START, payload.len() as u8]);
        self.0.extend(payload.iter().copied());
        self.0.extend([high, low, END]);
    }
}

/// What a VESC answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The version of its firmware, to [`Packet::ask_version`].
    Version,
    /// The electrical speed in revolutions per minute, to [`Packet::ask_erpm`].
    Erpm(i32),
}

/// Finds the answers in the received bytes, at any position: also inside
/// bytes that look like the start of a longer packet, as noise can.
#[derive(Debug)]
pub(super) struct Parser {
    /// The last received bytes, up to `length`.
    bytes: [u8; 2 * MOST],
    length: usize,
}

/// The longest packet: a payload of 255 bytes, two bytes before it and three after it.
const MOST: usize = 260;
/// The shortest answer: the command and the two numbers of the version. An echoed request has only
/// the command, or the command and the mask of the values.
const LEAST: usize = 3;

impl Default for Parser {
    fn default() -> Self {
        Self {
            bytes: [0; 2 * MOST],
            length: 0,
        }
    }
}

impl Parser {
    /// Parses a byte. Returns the answer if it completes one with a correct checksum.
    pub(super) fn answer(&mut self, byte: u8) -> Option<Answer> {
        if self.length == self.bytes.len() {
            self.bytes.copy_within(self.length - MOST.., 0);
            self.length = MOST;
        }
        self.bytes[self.length] = byte;
        self.length += 1;
        if byte != END {
            return None;
        }
        (LEAST..=255).find_map(|length| self.last(length))
    }

    /// The answer, if the last bytes are one with a payload of `length` bytes.
    fn last(&self, length: usize) -> Option<Answer> {
        let start = self.length.checked_sub(length + 5)?;
        let [START, of, payload @ .., high, low, END] = &self.bytes[start..self.length] else {
            return None;
        };
        if usize::from(*of) != length {
            return None;
        }
        let answer = match payload {
            [FW_VERSION, ..] => Answer::Version,
            [GET_VALUES_SELECTIVE, m0, m1, m2, m3, a, b, c, d]
                if [*m0, *m1, *m2, *m3] == ERPM.to_be_bytes() =>
            {
                Answer::Erpm(i32::from_be_bytes([*a, *b, *c, *d]))
            }
            _ => return None,
        };
        (crc16(payload).to_be_bytes() == [*high, *low]).then_some(answer)
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests;
