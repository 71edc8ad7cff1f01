//! The PCA9685, the PWM chip of Donkeycar, JetRacer and JetBot.
//!
//! The chip keeps putting out its last pulses when the guard or the computer dies, so the last
//! write has to be safe. To put out no pulse, the channels are set fully off one by one, the
//! motor's first. Sleep mode would stop all channels at once, in the middle of a cycle.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use embedded_hal::i2c::I2c;
use embedded_hal_bus::i2c::RcDevice;
use pilotage_vehicle::Time;
use pwm_pca9685::{Address, Channel, Error};

use super::differential::Differential;
use super::failure::{Attempts, Failure};
use super::motor_bank::MotorBank;
use super::output_enable::OutputEnable;
use super::pulses::{Arming, Pulses};
use super::rotation::Rotation;
use super::targets::{Level, Target, Targets};
use crate::{Actuator, ActuatorError, Output};

const NAME: &str = "pca9685";

const MODE1: u8 = 0x00;
const MODE2: u8 = 0x01;
const FIRST_CHANNEL: u8 = 0x06;
const PRESCALE: u8 = 0xFE;
const SLEEP: u8 = 0x10;
const AUTO_INCREMENT: u8 = 0x20;
const EXTERNAL_CLOCK: u8 = 0x40;
/// MODE2 after power-up (data sheet, table 6): outputs not inverted (INVRT), updated at the end of
/// a transfer (OCH), totem-pole (OUTDRV), and low while OE disables them (OUTNE).
const OUTPUTS: u8 = 0x04;
/// The bits of MODE2 that are not reserved.
const OUTPUTS_MASK: u8 = 0x1F;
/// Bit in the high byte of a channel's ON and OFF: fully on or fully off.
const FULL: u8 = 0x10;

/// The oscillator needs 500 us to start (data sheet, 7.3.1).
const WAKE_UP: Duration = Duration::from_micros(500);

/// What drives and steers a car's wheels.
#[derive(Debug, Clone, PartialEq)]
pub enum Wheels {
    /// A steering servo and a speed controller.
    Servo {
        /// The servo's channel, 0 to 15.
        steering: (u8, Pulses),
        /// The speed controller's.
        throttle: (u8, Pulses),
        /// The pulses that arm the speed controller.
        arming: Arming,
    },
    /// A motor on each side.
    Differential(Differential),
    /// A steering servo alone: the motors are on another chip.
    Steering {
        /// The servo's channel, 0 to 15.
        steering: (u8, Pulses),
    },
    /// Motors that all drive alike; the steering servo is on another chip.
    Motors(MotorBank),
}

/// A PCA9685 on an I2C bus.
pub struct Pca9685<B: I2c> {
    bus: Rc<RefCell<B>>,
    chip: pwm_pca9685::Pca9685<RcDevice<B>>,
    address: u8,
    prescale: u8,
    /// Cycles per second, as close to the requested frequency as the chip supports.
    frequency: f32,
    wheels: Wheels,
    output_enable: Option<Box<dyn OutputEnable>>,
    /// Whether the chip is set up, as far as is known.
    ready: bool,
    /// The last written targets, in order.
    written: Targets,
    /// The index of the target that is written again next.
    refresh: usize,
    rotation: Rotation,
    attempts: Attempts,
}

impl<B> Pca9685<B>
where
    B: I2c,
    B::Error: Into<io::Error>,
{
    /// The chip at `address` (0x40 to 0x7F, not 0x70), with `frequency` cycles per second and an
    /// oscillator of `oscillator` Hz (25 MHz unless measured). Nothing is written yet.
    ///
    /// # Errors
    /// `InvalidInput` at a forbidden address.
    pub fn new(
        bus: B,
        address: u8,
        oscillator: f32,
        frequency: f32,
        wheels: Wheels,
        output_enable: Option<Box<dyn OutputEnable>>,
    ) -> io::Result<Self> {
        let bus = Rc::new(RefCell::new(bus));
        let chip =
            pwm_pca9685::Pca9685::new(RcDevice::new(Rc::clone(&bus)), Address::from(address))
                .map_err(|_| io::ErrorKind::InvalidInput)?;
        let cycle = f32::from(Level::CYCLE);
        // Data sheet, 7.3.5; clamped to the range that the chip supports.
        let prescale = (oscillator / (cycle * frequency)).round() - 1.0;
        let prescale = prescale.clamp(3.0, 255.0) as u8;
        Ok(Self {
            bus,
            chip,
            address,
            prescale,
            frequency: oscillator / (cycle * (f32::from(prescale) + 1.0)),
            wheels,
            output_enable,
            ready: false,
            written: Targets::new(),
            refresh: 0,
            rotation: Rotation::default(),
            attempts: Attempts::new(NAME.into()),
        })
    }

    /// Sets the device name for errors.
    pub fn named(mut self, device: impl Into<Arc<str>>) -> Self {
        self.attempts = Attempts::new(device.into());
        self
    }

    /// Sets other pulses, which are written next.
    pub fn adjust(&mut self, wheels: Wheels) {
        self.wheels = wheels;
    }

    fn targets(&mut self, now: Time, output: &Output) -> Targets {
        match &mut self.wheels {
            Wheels::Differential(motors) => motors.targets(output),
            Wheels::Motors(motors) => motors.targets(output),
            Wheels::Steering { steering } => {
                let servo = steering.1.micros(output.mode, output.steering);
                let level = Level::pulse(servo, self.frequency);
                let channel = steering.0;
                [Target { channel, level }].into_iter().collect()
            }
            Wheels::Servo {
                steering,
                throttle,
                arming,
            } => {
                let motor = arming.throttle(now, output, &throttle.1);
                let servo = steering.1.micros(output.mode, output.steering);
                // The motor first: it is the dangerous one.
                [(throttle.0, motor), (steering.0, servo)]
                    .into_iter()
                    .map(|(channel, micros)| Target {
                        channel,
                        level: Level::pulse(micros, self.frequency),
                    })
                    .collect()
            }
        }
    }

    fn attempt(&mut self, now: Time, targets: &Targets) -> Result<(), Failure> {
        if !self.ready {
            self.set_up(now, targets)?;
            return Ok(());
        }
        let mut changed = false;
        for (index, target) in targets.iter().enumerate() {
            if self.written.get(index) != Some(target) {
                self.put(*target)?;
                self.written[index] = *target;
                changed = true;
            }
        }
        // Without a change, write one channel again, so that a failed bus is detected at once.
        if !changed {
            self.refresh = (self.refresh + 1) % targets.len().max(1);
            if let Some(target) = targets.get(self.refresh) {
                self.put(*target)?;
            }
        }
        // MODE1, MODE2, the prescaler and every channel.
        let checks = 3 + self.written.len() as u32;
        match self.rotation.due(now, checks) {
            Some(index) => self.check(index),
            None => Ok(()),
        }
    }

    /// Sets up a chip in any state to put out `targets`.
    fn set_up(&mut self, now: Time, targets: &Targets) -> Result<(), Failure> {
        self.chip.reset_internal_driver_state();
        // First, because inverted outputs put out the complement of each channel.
        self.write_register(MODE2, OUTPUTS)?;
        let mode = self.read(MODE1)?;
        let configured = mode & (SLEEP | AUTO_INCREMENT | EXTERNAL_CLOCK) == AUTO_INCREMENT
            && self.read(PRESCALE)? == self.prescale;
        if mode & SLEEP == 0 {
            // The chip is awake, but the driver crate assumes that it is asleep and would put it to
            // sleep first. This call updates the driver's state.
            self.chip.enable().map_err(failure)?;
        }
        if !configured {
            if mode & SLEEP == 0 {
                // The chip runs at another frequency, so all of its pulses are wrong.
                for target in targets {
                    self.put(Target {
                        level: Level::Low,
                        ..*target
                    })?;
                }
            }
            self.chip.disable().map_err(failure)?;
            self.chip.set_prescale(self.prescale).map_err(failure)?;
        }
        // Before it wakes up: the chip then starts with these targets.
        for target in targets {
            self.put(*target)?;
        }
        if !configured {
            self.chip.enable().map_err(failure)?;
            std::thread::sleep(WAKE_UP);
            // Check that the chip accepted the prescaler and the clock: it does so only in the
            // order given in the data sheet.
            self.expect(PRESCALE, self.prescale, 0xFF)?;
            self.expect(
                MODE1,
                AUTO_INCREMENT,
                SLEEP | AUTO_INCREMENT | EXTERNAL_CLOCK,
            )?;
        }
        self.expect(MODE2, OUTPUTS, OUTPUTS_MASK)?;
        self.written = targets.clone();
        self.rotation.restart(now);
        self.enable_output(true)?;
        self.ready = true;
        Ok(())
    }

    fn put(&mut self, Target { channel, level }: Target) -> Result<(), Failure> {
        let channel = Channel::try_from(channel).map_err(|_| io::ErrorKind::InvalidInput)?;
        match level {
            Level::Low => self.chip.set_channel_full_off(channel),
            Level::High => {
                // Fully off has priority over fully on, so clear it first.
                let cleared = self.chip.set_channel_off(channel, 0);
                cleared.and_then(|()| self.chip.set_channel_full_on(channel, 0))
            }
            Level::Ticks(ticks) => self.chip.set_channel_on_off(channel, 0, ticks),
        }
        .map_err(failure)
    }

    /// Reads back one of the chip's settings.
    fn check(&mut self, index: u32) -> Result<(), Failure> {
        match index {
            0 => self.expect(
                MODE1,
                AUTO_INCREMENT,
                SLEEP | AUTO_INCREMENT | EXTERNAL_CLOCK,
            ),
            1 => self.expect(MODE2, OUTPUTS, OUTPUTS_MASK),
            2 => self.expect(PRESCALE, self.prescale, 0xFF),
            index => {
                let Some(&Target { channel, level }) = self.written.get(index as usize - 3) else {
                    return Ok(());
                };
                let on = FIRST_CHANNEL + 4 * channel;
                let (on_high, off_low, off_high) = (on + 1, on + 2, on + 3);
                match level {
                    Level::Low => self.expect(off_high, FULL, FULL),
                    Level::High => {
                        self.expect(on_high, FULL, FULL)?;
                        self.expect(off_high, 0, FULL)
                    }
                    Level::Ticks(ticks) => {
                        let [low, high] = ticks.to_le_bytes();
                        self.expect(on_high, 0, 0xFF)?;
                        self.expect(off_low, low, 0xFF)?;
                        self.expect(off_high, high, 0xFF)
                    }
                }
            }
        }
    }

    fn read(&mut self, register: u8) -> Result<u8, Failure> {
        let mut byte = [0];
        let read = self
            .bus
            .borrow_mut()
            .write_read(self.address, &[register], &mut byte);
        read.map_err(|error| Failure::from(error.into()))?;
        Ok(byte[0])
    }

    fn write_register(&mut self, register: u8, value: u8) -> Result<(), Failure> {
        let written = self
            .bus
            .borrow_mut()
            .write(self.address, &[register, value]);
        written.map_err(|error| Failure::from(error.into()))
    }

    fn expect(&mut self, register: u8, written: u8, mask: u8) -> Result<(), Failure> {
        let holds = self.read(register)? & mask;
        if holds == written {
            return Ok(());
        }
        Err(Failure::Register {
            register,
            written,
            holds,
        })
    }

    fn enable_output(&mut self, through: bool) -> Result<(), Failure> {
        match &mut self.output_enable {
            Some(pin) => Ok(pin.set(through)?),
            None => Ok(()),
        }
    }
}

fn failure<E: Into<io::Error>>(error: Error<E>) -> Failure {
    match error {
        Error::I2C(error) => Failure::from(error.into()),
        Error::InvalidInputData => Failure::Kind(io::ErrorKind::InvalidInput),
    }
}

impl<B> Actuator for Pca9685<B>
where
    B: I2c,
    B::Error: Into<io::Error>,
{
    fn name(&self) -> &str {
        NAME
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        let targets = self.targets(now, output);
        self.attempts.due(now)?;
        let result = self.attempt(now, &targets);
        let mut note = "";
        if result.is_err() {
            // The chip's settings are unknown now, and the pulses may have stopped.
            self.ready = false;
            if let Wheels::Servo { arming, .. } = &mut self.wheels {
                arming.again();
            }
            // The pin may work even if the bus does not.
            if self.enable_output(false).is_ok() && self.output_enable.is_some() {
                note = "; its outputs are held back";
            }
        }
        self.attempts.ended(now, result, note)
    }
}
