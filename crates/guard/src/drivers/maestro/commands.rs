//! Commands of the Maestro's compact protocol: a command byte with the high bit set, then data
//! bytes of seven bits. Pololu Maestro Servo Controller User's Guide, sections 5.c and 5.e:
//! <https://www.pololu.com/docs/0J40/5.e>.

use arrayvec::ArrayVec;

const SET_TARGET: u8 = 0x84;
const SET_SPEED: u8 = 0x87;
const SET_ACCELERATION: u8 = 0x89;
const GET_POSITION: u8 = 0x90;
const GET_ERRORS: u8 = 0xA1;

/// The largest target: two data bytes.
pub(super) const MOST_TARGET: u16 = 0x3FFF;

/// A sequence of commands, at most those that set up two channels and read them back: 30 bytes.
#[derive(Debug, Default)]
pub(super) struct Commands(ArrayVec<u8, 32>);

impl Commands {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Sets a channel's pulse, in quarters of a microsecond; 0 ends the pulses. A Micro Maestro
    /// does not know Set Multiple Targets (0x9F), so each channel has its own command.
    pub(super) fn set_target(&mut self, channel: u8, target: u16) {
        self.set(SET_TARGET, channel, target);
    }

    /// Removes the limits of a channel's speed and acceleration, which may be stored in the board
    /// and would delay a stop. Without them a target is the channel's position at once.
    pub(super) fn remove_limits(&mut self, channel: u8) {
        self.set(SET_SPEED, channel, 0);
        self.set(SET_ACCELERATION, channel, 0);
    }

    /// Requests a channel's position: two bytes, the low one first.
    pub(super) fn get_position(&mut self, channel: u8) {
        self.0.extend([GET_POSITION, channel]);
    }

    /// Requests the error register, and clears it: two bytes, the low one first.
    pub(super) fn get_errors(&mut self) {
        self.0.push(GET_ERRORS);
    }

    fn set(&mut self, command: u8, channel: u8, value: u16) {
        let value = value.min(MOST_TARGET);
        let (low, high) = ((value & 0x7F) as u8, (value >> 7) as u8);
        self.0.extend([command, channel, low, high]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the guide.
    #[test]
    fn a_target_has_seven_bits_in_each_byte() {
        let mut commands = Commands::default();
        commands.set_target(2, 6000);
        assert_eq!(commands.bytes(), [0x84, 0x02, 0x70, 0x2E]);
        let mut speed = Commands::default();
        speed.set(SET_SPEED, 5, 140);
        assert_eq!(speed.bytes(), [0x87, 0x05, 0x0C, 0x01]);
    }

    #[test]
    fn every_data_byte_has_its_high_bit_clear() {
        for target in [0, 1, 127, 128, 10_400, MOST_TARGET, u16::MAX] {
            let mut commands = Commands::default();
            commands.set_target(23, target);
            assert!(commands.bytes()[1..].iter().all(|byte| *byte < 0x80));
        }
    }
}
