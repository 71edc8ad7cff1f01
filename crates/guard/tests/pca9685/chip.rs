//! A PCA9685 after NXP's data sheet (rev. 4, chapter 7), as far as pulses go.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use pilotage_guard::actuators::OutputEnable;

pub const ADDRESS: u8 = 0x40;
const MODE1: usize = 0x00;
const PRESCALE: usize = 0xFE;
const FIRST: usize = 0x06;
const LAST: usize = 0x45;
const RESTART: u8 = 0x80;
const AUTO_INCREMENT: u8 = 0x20;
const SLEEP: u8 = 0x10;
const FULL: u8 = 0x10;

/// What comes out of a channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Out {
    Low,
    High,
    Ticks(u16),
}

pub struct State {
    pub registers: [u8; 256],
    pointer: usize,
    /// Transactions from now on that are not acknowledged.
    pub nacks: u32,
    /// Tries to talk to it.
    pub transactions: u32,
    /// Channels in the order in which they were written.
    pub written: Vec<usize>,
    /// How often it was put to sleep while it ran.
    pub slept: u32,
    /// How often that was with a pulse of these channels coming out.
    pub cut: u32,
    pub through: Option<bool>,
}

/// A handle on one chip; each can write to it.
#[derive(Clone)]
pub struct Chip(pub Rc<RefCell<State>>);

impl Chip {
    /// As it comes up (data sheet, tables 4 to 8).
    pub fn new() -> Self {
        let chip = Self(Rc::new(RefCell::new(State {
            registers: [0; 256],
            pointer: 0,
            nacks: 0,
            transactions: 0,
            written: Vec::new(),
            slept: 0,
            cut: 0,
            through: None,
        })));
        chip.reset();
        chip
    }

    /// Power lost and back.
    pub fn reset(&self) {
        let registers = &mut self.0.borrow_mut().registers;
        *registers = [0; 256];
        registers[MODE1] = SLEEP | 1;
        registers[1] = 0x04;
        registers[PRESCALE] = 0x1E;
        for channel in 0..16 {
            registers[FIRST + 4 * channel + 3] = FULL;
        }
    }

    pub fn out(&self, channel: usize) -> Out {
        self.0.borrow().out(channel)
    }

    /// A channel's pulse in microseconds, 0 for none.
    pub fn micros(&self, channel: usize) -> f32 {
        match self.out(channel) {
            Out::Low => 0.0,
            Out::High => f32::INFINITY,
            Out::Ticks(ticks) => f32::from(ticks) * self.tick_us(),
        }
    }

    pub fn tick_us(&self) -> f32 {
        let prescale = self.0.borrow().registers[PRESCALE];
        (f32::from(prescale) + 1.0) / 25.0
    }

    /// Another program's doing: it knows the registers.
    pub fn poke(&self, register: usize, value: u8) {
        self.0.borrow_mut().registers[register] = value;
    }
}

impl State {
    fn out(&self, channel: usize) -> Out {
        let at = FIRST + 4 * channel;
        let [on_low, on_high, off_low, off_high] =
            [0, 1, 2, 3].map(|byte| self.registers[at + byte]);
        // Asleep no channel runs, and after it none does until restarted or written.
        if self.registers[MODE1] & (SLEEP | RESTART) != 0 || off_high & FULL != 0 {
            return Out::Low;
        }
        if on_high & FULL != 0 {
            return Out::High;
        }
        let [on, off] = [[on_low, on_high], [off_low, off_high]].map(u16::from_le_bytes);
        match off.wrapping_sub(on) & 0xFFF {
            0 => Out::Low,
            ticks => Out::Ticks(ticks),
        }
    }

    fn put(&mut self, register: usize, value: u8) {
        match register {
            MODE1 => {
                let before = self.registers[MODE1];
                let pulses = (0..16).any(|channel| self.out(channel) != Out::Low);
                let mut after = value & !RESTART;
                // The external clock stays chosen until the power goes.
                after |= before & 0x40;
                if before & SLEEP == 0 && value & SLEEP != 0 {
                    self.slept += 1;
                    self.cut += u32::from(pulses);
                    after |= if pulses { RESTART } else { 0 };
                } else if value & RESTART == 0 || before & SLEEP != 0 {
                    after |= before & RESTART;
                }
                self.registers[MODE1] = after;
            }
            // Only asleep (7.3.5).
            PRESCALE if self.registers[MODE1] & SLEEP != 0 => {
                self.registers[PRESCALE] = value.max(3);
            }
            PRESCALE => {}
            FIRST..=LAST => {
                self.registers[register] = value;
                self.registers[MODE1] &= !RESTART;
                let channel = (register - FIRST) / 4;
                if self.written.last() != Some(&channel) {
                    self.written.push(channel);
                }
            }
            _ => self.registers[register] = value,
        }
    }

    fn step(&mut self) {
        if self.registers[MODE1] & AUTO_INCREMENT != 0 {
            self.pointer = match self.pointer {
                LAST => 0,
                pointer => (pointer + 1) & 0xFF,
            };
        }
    }
}

#[derive(Debug)]
pub struct Refused;

impl Error for Refused {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)
    }
}

impl From<Refused> for io::Error {
    /// As Linux's adapters say it: ENXIO.
    fn from(Refused: Refused) -> Self {
        Self::from_raw_os_error(6)
    }
}

impl ErrorType for Chip {
    type Error = Refused;
}

impl I2c for Chip {
    fn transaction(&mut self, address: u8, parts: &mut [Operation<'_>]) -> Result<(), Refused> {
        let state = &mut *self.0.borrow_mut();
        state.transactions += 1;
        if address != ADDRESS || state.nacks > 0 {
            state.nacks = state.nacks.saturating_sub(1);
            return Err(Refused);
        }
        for part in parts {
            match part {
                Operation::Write(bytes) => {
                    let mut bytes = bytes.iter();
                    if let Some(&register) = bytes.next() {
                        state.pointer = register.into();
                    }
                    for &byte in bytes {
                        state.put(state.pointer, byte);
                        state.step();
                    }
                }
                Operation::Read(bytes) => {
                    for byte in bytes.iter_mut() {
                        *byte = state.registers[state.pointer];
                        state.step();
                    }
                }
            }
        }
        Ok(())
    }
}

/// The pin, wired to the same chip.
pub struct Pin(pub Chip);

impl OutputEnable for Pin {
    fn set(&mut self, through: bool) -> io::Result<()> {
        self.0.0.borrow_mut().through = Some(through);
        Ok(())
    }
}
