//! The PWM chips of a car on one I2C bus.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_hal_bus::i2c::RcDevice;
use pilotage_vehicle::Time;

use super::device_lock::LockPolicy;
use super::open_error::OpenError;
use super::{GpioOutputEnable, I2cBus, OutputEnable, Pca9685, Pca9685Settings, TwoChips, Wheels};
use crate::{Actuator, ActuatorError, Output};

/// The bus of a chip. A car with one chip has the same type, so that the driver is compiled once: the
/// guard's memory is locked.
type Shared = RcDevice<I2cBus>;

/// The PWM chips of a car.
pub enum Chips {
    /// One for all of it.
    One(Box<Pca9685<Shared>>),
    /// One for the servo, and one for the motors.
    Two(Box<TwoChips<Shared, Shared>>),
}

impl Chips {
    /// Opens the bus, and waits for another writer as `lock_policy` specifies. Nothing is written yet.
    ///
    /// # Errors
    /// When the bus does not exist, or another process holds it.
    pub(super) fn open(
        settings: &Pca9685Settings,
        pin: Option<GpioOutputEnable>,
        lock_policy: LockPolicy,
    ) -> Result<Self, OpenError> {
        let (wheels, others) = settings.wheels().ok_or(OpenError::NoTable("pca9685"))?;
        let failed = |reason| OpenError::of(settings.bus.clone(), reason);
        let bus = I2cBus::open(&settings.bus, lock_policy).map_err(failed)?;
        let bus = Rc::new(RefCell::new(bus));
        let chip = |address: u8, frequency: f32, wheels: Wheels, pin: Option<GpioOutputEnable>| {
            let chip = Pca9685::new(
                RcDevice::new(Rc::clone(&bus)),
                address,
                settings.oscillator,
                frequency,
                wheels,
                pin.map(|pin| Box::new(pin) as Box<dyn OutputEnable>),
            );
            let name = format!("{}, address {address:#04x}", settings.bus.display());
            Ok(chip.map_err(failed)?.named(name))
        };
        let first = chip(settings.address, settings.frequency, wheels, pin)?;
        let Some((bank, motors)) = others.zip(settings.motors.as_ref()) else {
            return Ok(Self::One(Box::new(first)));
        };
        let second = chip(motors.address, motors.frequency, bank, None)?;
        Ok(Self::Two(Box::new(TwoChips::new(second, first))))
    }

    /// Sets other pulses, which are written next: those on the servo's chip, and those on the
    /// motors'.
    pub(super) fn adjust(&mut self, (wheels, others): (Wheels, Option<Wheels>)) {
        match (self, others) {
            (Self::One(chip), _) => chip.adjust(wheels),
            (Self::Two(chips), Some(motors)) => {
                chips.motors_mut().adjust(motors);
                chips.steering_mut().adjust(wheels);
            }
            (Self::Two(_), None) => {}
        }
    }
}

impl Actuator for Chips {
    fn name(&self) -> &str {
        match self {
            Self::One(chip) => chip.name(),
            Self::Two(chips) => chips.name(),
        }
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        match self {
            Self::One(chip) => chip.write(now, output),
            Self::Two(chips) => chips.write(now, output),
        }
    }
}
