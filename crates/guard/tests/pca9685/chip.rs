//! The model chip behind an embedded-hal bus.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use embedded_hal::i2c::{Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use pilotage_guard::conformance::ModelPca9685;
pub use pilotage_guard::conformance::Out;
use pilotage_guard::drivers::OutputEnable;

pub const ADDRESS: u8 = 0x40;

pub struct State {
    pub model: ModelPca9685,
    /// How many of the next transactions are not acknowledged.
    pub nacks: u32,
    /// After this many more transactions none is acknowledged.
    pub fails_after: Option<u32>,
    /// The number of attempted transactions.
    pub transactions: u32,
    /// The bytes of each write, if they are recorded.
    pub bytes: Option<Vec<Vec<u8>>>,
    pub through: Option<bool>,
    /// A register and its value, whatever is written to it.
    pub stuck: Option<(usize, u8)>,
}

/// A handle to a chip; all handles share the chip.
#[derive(Clone)]
pub struct Chip(pub Rc<RefCell<State>>);

impl Chip {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(State {
            model: ModelPca9685::default(),
            nacks: 0,
            fails_after: None,
            transactions: 0,
            bytes: None,
            through: None,
            stuck: None,
        })))
    }

    /// Simulates a power cycle.
    pub fn reset(&self) {
        self.0.borrow_mut().model.reset();
    }

    pub fn out(&self, channel: usize) -> Out {
        self.0.borrow().model.out(channel)
    }

    /// A channel's pulse in microseconds, 0 for none.
    pub fn micros(&self, channel: usize) -> f32 {
        self.0.borrow().model.micros(channel)
    }

    pub fn tick_us(&self) -> f32 {
        self.0.borrow().model.tick_us()
    }

    /// Writes a register as another program would.
    pub fn poke(&self, register: usize, value: u8) {
        self.0.borrow_mut().model.registers[register] = value;
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
    /// The error that Linux's adapter drivers return: ENXIO.
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
        if let Some(left) = &mut state.fails_after {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => return Err(Refused),
            }
        }
        if address != ADDRESS || state.nacks > 0 {
            state.nacks = state.nacks.saturating_sub(1);
            return Err(Refused);
        }
        for part in parts {
            if let Some((register, value)) = state.stuck {
                state.model.registers[register] = value;
            }
            match part {
                Operation::Write(bytes) => {
                    if let Some(recorded) = &mut state.bytes {
                        recorded.push(bytes.to_vec());
                    }
                    state.model.write(bytes);
                }
                Operation::Read(bytes) => state.model.read(bytes),
            }
        }
        Ok(())
    }
}

/// The OE pin, wired to the chip.
pub struct Pin(pub Chip);

impl OutputEnable for Pin {
    fn set(&mut self, through: bool) -> io::Result<()> {
        self.0.0.borrow_mut().through = Some(through);
        Ok(())
    }
}
