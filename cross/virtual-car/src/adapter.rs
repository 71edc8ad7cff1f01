//! An emulated i2c-tiny-usb adapter with a PCA9685 on its bus, as a USB device.
//!
//! The requests are those of the kernel's driver drivers/i2c/busses/i2c-tiny-usb.c.

use std::time::Duration;

use pilotage_guard::conformance::ModelPca9685;

use crate::usbip::{Device, Setup};

/// The chip's address on the bus.
pub const ADDRESS: u16 = 0x40;

/// The device descriptor of Till Harbaum's adapter (USB 2.0, table 9-8).
const DEVICE: [u8; 18] = [
    18, 1, 0x10, 1, 0xFF, 0, 0, 8, 0x03, 0x04, 0x31, 0xC6, 0x01, 0x01, 0, 0, 0, 1,
];
/// One configuration with one interface, and no endpoint besides endpoint 0.
const CONFIGURATION: [u8; 18] = [9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, 0, 0, 0, 0];

const ECHO: u8 = 0;
const FUNCTIONS: u8 = 1;
const DELAY: u8 = 2;
const STATUS: u8 = 3;
/// The two lowest bits mark the beginning and the end of a transfer.
const TRANSFER: u8 = 4;
const TRANSFER_END: u8 = 7;
const READ: u16 = 1;
/// I2C_FUNC_I2C.
const PLAIN: u32 = 0x0000_0001;
/// I2C_FUNC_SMBUS_EMUL: the SMBus functions that can be built on I2C transfers.
const SMBUS: u32 = 0x0EFF_0000;
/// The longest transfer that an SMBus command makes: a register and a block of 32 bytes.
const LONGEST_COMMAND: usize = 33;

const ACKNOWLEDGED: u8 = 1;
const REFUSED: u8 = 2;

/// The chip on the bus.
pub trait Chip {
    /// Whether the chip acknowledges now.
    fn acknowledges(&mut self) -> bool;
    /// How long this transfer blocks, if it does: the bus is held, and the transfer fails then.
    fn hang(&mut self) -> Option<Duration>;
    /// Whether the adapter makes SMBus commands only. The kernel asks when it is plugged in.
    fn is_smbus(&mut self) -> bool;
    /// Accesses the chip's model for a transfer.
    fn speak<T>(&mut self, what: impl FnOnce(&mut ModelPca9685) -> T) -> T;
}

/// An emulated adapter.
pub struct Adapter<C> {
    chip: C,
    status: u8,
}

impl<C: Chip> Adapter<C> {
    /// An adapter with `chip` on its bus.
    pub const fn new(chip: C) -> Self {
        Self { chip, status: 0 }
    }

    fn transfer(&mut self, setup: Setup, sent: &[u8]) -> Vec<u8> {
        if let Some(time) = self.chip.hang() {
            // The kernel waits meanwhile: it gives the transfer up after 2 s, and then waits until
            // the adapter has answered that too. No signal ends either wait.
            std::thread::sleep(time);
            self.status = REFUSED;
            return Vec::new();
        }
        let length = sent.len().max(setup.length.into());
        let is_too_long = self.chip.is_smbus() && length > LONGEST_COMMAND;
        if setup.index != ADDRESS || !self.chip.acknowledges() || is_too_long {
            self.status = REFUSED;
            return Vec::new();
        }
        self.status = ACKNOWLEDGED;
        if setup.value & READ == 0 {
            self.chip.speak(|chip| chip.write(sent));
            return Vec::new();
        }
        let mut read = vec![0; setup.length.into()];
        self.chip.speak(|chip| chip.read(&mut read));
        read
    }
}

impl<C: Chip> Device for Adapter<C> {
    fn control(&mut self, setup: Setup, sent: &[u8]) -> Option<Vec<u8>> {
        if setup.is_vendors() {
            return match setup.request {
                ECHO => Some(setup.value.to_le_bytes().to_vec()),
                FUNCTIONS => {
                    let plain = if self.chip.is_smbus() { 0 } else { PLAIN };
                    Some((plain | SMBUS).to_le_bytes().to_vec())
                }
                DELAY => Some(Vec::new()),
                STATUS => Some(vec![self.status]),
                TRANSFER..=TRANSFER_END => Some(self.transfer(setup, sent)),
                _ => None,
            };
        }
        // Standard requests (USB 2.0, table 9-4).
        match (setup.request, setup.value >> 8) {
            (6, 1) => Some(DEVICE.to_vec()),
            (6, 2) => Some(CONFIGURATION.to_vec()),
            (0, _) => Some(vec![0, 0]),
            (1 | 3 | 5 | 9 | 11, _) => Some(Vec::new()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestChip {
        model: ModelPca9685,
        acknowledges: bool,
        smbus: bool,
        hang: Option<Duration>,
    }

    impl TestChip {
        fn new(acknowledges: bool, smbus: bool) -> Self {
            Self {
                model: ModelPca9685::default(),
                acknowledges,
                smbus,
                hang: None,
            }
        }
    }

    impl Chip for TestChip {
        fn acknowledges(&mut self) -> bool {
            self.acknowledges
        }

        fn hang(&mut self) -> Option<Duration> {
            self.hang.take()
        }

        fn is_smbus(&mut self) -> bool {
            self.smbus
        }

        fn speak<T>(&mut self, what: impl FnOnce(&mut ModelPca9685) -> T) -> T {
            what(&mut self.model)
        }
    }

    fn transfer(read: bool, index: u16, length: u16) -> Setup {
        Setup {
            kind: if read { 0xC0 } else { 0x40 },
            request: TRANSFER_END,
            value: u16::from(read),
            index,
            length,
        }
    }

    fn status(adapter: &mut Adapter<TestChip>) -> Option<Vec<u8>> {
        let setup = Setup {
            kind: 0xC0,
            request: STATUS,
            value: 0,
            index: 0,
            length: 1,
        };
        adapter.control(setup, &[])
    }

    #[test]
    fn a_register_written_is_read_back_from_the_chip() {
        let mut adapter = Adapter::new(TestChip::new(true, false));
        adapter.control(transfer(false, ADDRESS, 2), &[0xFE, 0x79]);
        assert_eq!(status(&mut adapter), Some(vec![ACKNOWLEDGED]));
        adapter.control(transfer(false, ADDRESS, 1), &[0xFE]);
        assert_eq!(
            adapter.control(transfer(true, ADDRESS, 1), &[]),
            Some(vec![0x79])
        );
    }

    #[test]
    fn other_addresses_and_a_silent_chip_are_not_acknowledged() {
        let mut adapter = Adapter::new(TestChip::new(true, false));
        adapter.control(transfer(false, 0x41, 2), &[0xFE, 0x79]);
        assert_eq!(status(&mut adapter), Some(vec![REFUSED]));
        let mut adapter = Adapter::new(TestChip::new(false, false));
        adapter.control(transfer(false, ADDRESS, 2), &[0xFE, 0x79]);
        assert_eq!(status(&mut adapter), Some(vec![REFUSED]));
        assert_ne!(adapter.chip.model.registers[0xFE], 0x79);
    }

    #[test]
    fn a_transfer_that_blocks_has_no_effect_and_the_next_one_works() {
        let mut adapter = Adapter::new(TestChip::new(true, false));
        adapter.chip.hang = Some(Duration::from_millis(1));
        adapter.control(transfer(false, ADDRESS, 2), &[0xFE, 0x79]);
        assert_eq!(status(&mut adapter), Some(vec![REFUSED]));
        assert_ne!(adapter.chip.model.registers[0xFE], 0x79);
        adapter.control(transfer(false, ADDRESS, 2), &[0xFE, 0x79]);
        assert_eq!(status(&mut adapter), Some(vec![ACKNOWLEDGED]));
    }

    #[test]
    fn an_smbus_adapter_has_no_plain_transfers_and_no_long_ones() {
        let functions = |adapter: &mut Adapter<TestChip>| {
            let setup = Setup {
                kind: 0xC0,
                request: FUNCTIONS,
                value: 0,
                index: 0,
                length: 4,
            };
            adapter.control(setup, &[]).unwrap()
        };
        let mut plain = Adapter::new(TestChip::new(true, false));
        assert_eq!(functions(&mut plain), [1, 0, 0xFF, 0x0E]);
        plain.control(transfer(false, ADDRESS, 65), &[6; 65]);
        assert_eq!(status(&mut plain), Some(vec![ACKNOWLEDGED]));

        let mut smbus = Adapter::new(TestChip::new(true, true));
        assert_eq!(functions(&mut smbus), [0, 0, 0xFF, 0x0E]);
        smbus.control(transfer(false, ADDRESS, 33), &[6; 33]);
        assert_eq!(status(&mut smbus), Some(vec![ACKNOWLEDGED]));
        smbus.control(transfer(false, ADDRESS, 34), &[6; 34]);
        assert_eq!(status(&mut smbus), Some(vec![REFUSED]));
    }
}
