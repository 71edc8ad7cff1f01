//! A stand-in for a Maestro, at the other end of a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::OFlags;

use crate::pty;

/// The channels of a car.
pub const STEERING: usize = 1;
pub const THROTTLE: usize = 0;
/// Bits of the error register (User's Guide, "Errors").
pub const PROTOCOL: u16 = 0x10;
pub const TIME_OUT: u16 = 0x20;

/// A model of a Micro Maestro at the other end of the port, after the User's Guide: the compact
/// protocol, the error register, limits of speed and position. The serial time-out is raised by a
/// test, because nothing here depends on real time.
pub struct Model {
    pub end: File,
    /// An unfinished command.
    command: Vec<u8>,
    /// Positions in quarters of a microsecond.
    pub positions: [u16; 6],
    /// Whether a speed or acceleration is stored, with which a target is not reached at once.
    limited: [bool; 6],
    /// Each channel's Min and Max.
    pub range: (u16, u16),
    pub errors: u16,
    /// Whether it answers.
    pub answers: bool,
    /// Each target that was set.
    pub targets: Vec<(usize, u16)>,
}

impl Model {
    /// Plugs in a Maestro that has just got power, and links `port` to it. Its stored limits differ
    /// from the factory's.
    pub fn plug(port: &Path) -> Self {
        let end = pty::plug(port);
        rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK).unwrap();
        let mut model = Self {
            end,
            command: Vec::new(),
            positions: [0; 6],
            limited: [true; 6],
            range: (4 * 400, 4 * 2600),
            errors: 0,
            answers: true,
            targets: Vec::new(),
        };
        model.reset();
        model
    }

    /// The state after a power cycle, with "On startup or error: Off".
    pub fn reset(&mut self) {
        self.command.clear();
        self.positions = [0; 6];
        self.limited = [true; 6];
        self.errors = 0;
    }

    /// An error puts each channel at its position "On startup or error", here Off.
    pub fn raise(&mut self, error: u16) {
        self.errors |= error;
        self.positions = [0; 6];
    }

    /// Obeys what has arrived.
    pub fn serve(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(length) = self.end.read(&mut bytes) {
            for byte in &bytes[..length] {
                self.take(*byte);
            }
        }
    }

    pub fn take(&mut self, byte: u8) {
        if byte >= 0x80 && !self.command.is_empty() {
            // A command that another one interrupts.
            self.command.clear();
            self.raise(PROTOCOL);
        }
        self.command.push(byte);
        let length = match self.command[0] {
            0x84 | 0x87 | 0x89 => 4,
            0x90 => 2,
            0xA1 => 1,
            _ => {
                self.command.clear();
                return self.raise(PROTOCOL);
            }
        };
        if self.command.len() == length {
            let command = std::mem::take(&mut self.command);
            self.obey(&command);
        }
    }

    fn obey(&mut self, command: &[u8]) {
        let channel = command.get(1).map_or(0, |byte| usize::from(*byte));
        if channel >= self.positions.len() {
            return self.raise(PROTOCOL);
        }
        let value = match command {
            [_, _, low, high] => u16::from(*low) | u16::from(*high) << 7,
            _ => 0,
        };
        match command[0] {
            0x84 => {
                self.targets.push((channel, value));
                let target = match value {
                    0 => 0,
                    value => value.clamp(self.range.0, self.range.1),
                };
                // The first step towards the target.
                self.positions[channel] = match self.limited[channel] {
                    true => target / 2,
                    false => target,
                };
            }
            0x87 | 0x89 => self.limited[channel] = value != 0,
            0x90 => self.answer(self.positions[channel]),
            _ => {
                self.answer(self.errors);
                self.errors = 0;
            }
        }
    }

    fn answer(&mut self, value: u16) {
        if self.answers {
            self.end.write_all(&value.to_le_bytes()).unwrap();
        }
    }

    /// The pulses of throttle and steering in microseconds; 0 is no pulse.
    pub fn micros(&self) -> [f32; 2] {
        [THROTTLE, STEERING].map(|channel| f32::from(self.positions[channel]) / 4.0)
    }
}
