//! A model of the PCA9685 after NXP's data sheet (rev. 4, chapter 7), as far as pulses are
//! concerned. It is a stand-in for tests, which connect it to their own bus.

const MODE1: usize = 0x00;
const MODE2: usize = 0x01;
const PRESCALE: usize = 0xFE;
const FIRST: usize = 0x06;
const LAST: usize = 0x45;
const RESTART: u8 = 0x80;
const EXTERNAL_CLOCK: u8 = 0x40;
const AUTO_INCREMENT: u8 = 0x20;
const SLEEP: u8 = 0x10;
const FULL: u8 = 0x10;
/// Bits of MODE2 (table 6): the outputs are inverted; the outputs are totem-pole, else open-drain.
const INVERTED: u8 = 0x10;
const TOTEM_POLE: u8 = 0x04;

/// A channel's output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Out {
    /// Nothing.
    Low,
    /// High for the whole cycle.
    High,
    /// High for this many of a cycle's 4,096 ticks.
    Ticks(u16),
}

/// The chip.
#[derive(Debug, Clone)]
pub struct ModelPca9685 {
    /// The chip's registers.
    pub registers: [u8; 256],
    /// Channels in the order in which they were written.
    pub written: Vec<usize>,
    /// How often the running chip was put to sleep.
    pub slept: u32,
    /// How often it was put to sleep while a channel put out pulses.
    pub cut: u32,
    pointer: usize,
}

impl Default for ModelPca9685 {
    fn default() -> Self {
        let mut chip = Self {
            registers: [0; 256],
            written: Vec::new(),
            slept: 0,
            cut: 0,
            pointer: 0,
        };
        chip.reset();
        chip
    }
}

impl ModelPca9685 {
    /// The state after a power cycle (data sheet, tables 4 to 8).
    pub fn reset(&mut self) {
        self.registers = [0; 256];
        self.registers[MODE1] = SLEEP | 1;
        self.registers[MODE2] = 0x04;
        self.registers[PRESCALE] = 0x1E;
        for channel in 0..16 {
            self.registers[FIRST + 4 * channel + 3] = FULL;
        }
        self.pointer = 0;
    }

    /// The output of a channel, 0 to 15, at a pin without a pull-up resistor.
    pub fn out(&self, channel: usize) -> Out {
        let mode = self.registers[MODE2];
        let level = self.level(channel);
        if mode & TOTEM_POLE == 0 {
            // An open-drain output is never driven high.
            return Out::Low;
        }
        match (level, mode & INVERTED != 0) {
            (level, false) => level,
            (Out::Low, true) => Out::High,
            (Out::High, true) => Out::Low,
            (Out::Ticks(ticks), true) => Out::Ticks(4096 - ticks),
        }
    }

    /// A channel's level before the output stage.
    fn level(&self, channel: usize) -> Out {
        let at = FIRST + 4 * channel;
        let [on_low, on_high, off_low, off_high] =
            [0, 1, 2, 3].map(|byte| self.registers[at + byte]);
        // During sleep no channel runs. After it, none runs until it is restarted or written.
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

    /// A channel's pulse in microseconds: 0 for no pulse, infinite for always high.
    pub fn micros(&self, channel: usize) -> f32 {
        match self.out(channel) {
            Out::Low => 0.0,
            Out::High => f32::INFINITY,
            Out::Ticks(ticks) => f32::from(ticks) * self.tick_us(),
        }
    }

    /// A tick in microseconds, with the chip's internal clock of 25 MHz.
    pub fn tick_us(&self) -> f32 {
        (f32::from(self.registers[PRESCALE]) + 1.0) / 25.0
    }

    /// A write from the bus: a register number, and the values for it and the following registers.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some((&register, values)) = bytes.split_first() {
            self.pointer = register.into();
            for &value in values {
                self.put(self.pointer, value);
                self.step();
            }
        }
    }

    /// A read from the bus, starting at the current register.
    pub fn read(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.registers[self.pointer];
            self.step();
        }
    }

    fn put(&mut self, register: usize, value: u8) {
        match register {
            MODE1 => {
                let before = self.registers[MODE1];
                let pulses = (0..16).any(|channel| self.level(channel) != Out::Low);
                let mut after = value & !RESTART;
                // The external clock stays selected until power is lost.
                after |= before & EXTERNAL_CLOCK;
                if before & SLEEP == 0 && value & SLEEP != 0 {
                    self.slept += 1;
                    self.cut += u32::from(pulses);
                    after |= if pulses { RESTART } else { 0 };
                } else if value & RESTART == 0 || before & SLEEP != 0 {
                    after |= before & RESTART;
                }
                self.registers[MODE1] = after;
            }
            // The prescaler can be written only during sleep (7.3.5).
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
