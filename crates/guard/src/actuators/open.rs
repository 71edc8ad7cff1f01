//! From car.toml's `[actuator]` to the motors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::{
    ActuatorSettings, DryRun, GpioOutputEnable, I2cBus, Kind, OutputEnable, Pca9685,
    Pca9685Settings, Pwm, Vesc,
};
use crate::{Actuator, ActuatorError, Output};

/// The motors of a car, whichever they are.
pub enum Motors {
    /// None.
    DryRun(DryRun),
    /// Behind a PWM chip.
    Pca9685(Box<Pca9685<I2cBus>>),
    /// Behind a VESC.
    Vesc(Box<Vesc>),
    /// On the computer's pins.
    Pwm(Box<Pwm>),
}

/// Why there are no motors.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The simulated car's motors are the simulator's.
    #[error(
        "`actuator.kind` is `simulator`, whose car the simulator moves: name the car's motors in its \
         car.toml (docs/car.md)"
    )]
    Simulated,
    /// The kind's table is not there.
    #[error("`actuator.kind` is `{0}`, but there is no table `[actuator.{0}]`: docs/car.md")]
    NoTable(&'static str),
    /// Another writes to it.
    #[error(
        "{device}: another guard holds it; there can be one for each car (`pilotage stop` ends \
         it)"
    )]
    Taken {
        /// The device.
        device: PathBuf,
    },
    /// The bus's adapter is of no use.
    #[error(
        "{device}: this bus's adapter can neither I2C transfers nor SMBus's blocks; connect the \
         chip to another bus"
    )]
    Adapter {
        /// The bus.
        device: PathBuf,
    },
    /// It is not there, or not to be used.
    #[error("{device}: {reason}{advice}", advice = advice(.reason))]
    Device {
        /// The device.
        device: PathBuf,
        /// The system's word.
        reason: io::Error,
    },
    /// The OE pin is not there, or not to be used.
    #[error("{chip}, line {line}: the output-enable pin cannot be had: {reason}")]
    OutputEnable {
        /// The chip.
        chip: PathBuf,
        /// The line.
        line: u32,
        /// The system's word.
        reason: io::Error,
    },
}

fn advice(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::NotFound => {
            "; is it switched on and connected, and is that its name? (`ls /dev /sys/class/pwm`)"
        }
        io::ErrorKind::PermissionDenied => {
            "; this user may not use it: add the user to the device's group (`ls -l` shows it)"
        }
        _ => "",
    }
}

impl Motors {
    /// Opens the motors of `settings`, and waits up to `patience` for another guard to let go
    /// of them. Nothing is written yet: a guard's first write does that.
    ///
    /// # Errors
    /// When they are not there or held by another.
    pub fn open(settings: &ActuatorSettings, patience: Duration) -> Result<Self, OpenError> {
        match settings.kind {
            Kind::Simulator => Err(OpenError::Simulated),
            Kind::DryRun => Ok(Self::DryRun(DryRun::default())),
            Kind::Pca9685 => {
                let settings = settings.pca9685.as_ref();
                pca9685(settings.ok_or(OpenError::NoTable("pca9685"))?, patience)
            }
            Kind::Vesc => {
                let settings = settings.vesc.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("vesc"))?;
                let vesc = Vesc::open(settings, patience);
                vesc.map(|vesc| Self::Vesc(Box::new(vesc)))
                    .map_err(|reason| device(settings.port.clone(), reason))
            }
            Kind::Pwm => {
                let settings = settings.pwm.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("pwm"))?;
                let pwm = Pwm::open(settings, patience);
                pwm.map(|pwm| Self::Pwm(Box::new(pwm)))
                    .map_err(|reason| device(settings.throttle_pin.chip.clone(), reason))
            }
        }
    }
}

impl Motors {
    /// Takes other pulses, ends and centres from `settings`, which are of the same device:
    /// for a person who looks for the right ones.
    pub fn adjust(&mut self, settings: &ActuatorSettings) {
        match self {
            Self::DryRun(_) => {}
            Self::Pca9685(chip) => {
                if let Some(wheels) = settings.pca9685.as_ref().and_then(Pca9685Settings::wheels) {
                    chip.adjust(wheels);
                }
            }
            Self::Vesc(vesc) => {
                if let Some(settings) = &settings.vesc {
                    vesc.adjust(settings);
                }
            }
            Self::Pwm(pwm) => {
                if let Some(settings) = &settings.pwm {
                    pwm.adjust(settings);
                }
            }
        }
    }
}

fn pca9685(settings: &Pca9685Settings, patience: Duration) -> Result<Motors, OpenError> {
    let wheels = settings.wheels().ok_or(OpenError::NoTable("pca9685"))?;
    let failed = |reason| device(settings.bus.clone(), reason);
    let bus = I2cBus::open(&settings.bus, patience).map_err(failed)?;
    let pin = settings.output_enable.as_ref().map(|pin| {
        let opened = GpioOutputEnable::open(pin);
        opened
            .map(|pin| Box::new(pin) as Box<dyn OutputEnable>)
            .map_err(|reason| OpenError::OutputEnable {
                chip: pin.chip.clone(),
                line: pin.line,
                reason,
            })
    });
    let chip = Pca9685::new(
        bus,
        settings.address,
        settings.oscillator,
        settings.frequency,
        wheels,
        pin.transpose()?,
    );
    Ok(Motors::Pca9685(Box::new(chip.map_err(failed)?)))
}

fn device(device: PathBuf, reason: io::Error) -> OpenError {
    match reason.kind() {
        io::ErrorKind::WouldBlock => OpenError::Taken { device },
        io::ErrorKind::Unsupported => OpenError::Adapter { device },
        _ => OpenError::Device { device, reason },
    }
}

impl Actuator for Motors {
    fn name(&self) -> &str {
        match self {
            Self::DryRun(motors) => motors.name(),
            Self::Pca9685(motors) => motors.name(),
            Self::Vesc(motors) => motors.name(),
            Self::Pwm(motors) => motors.name(),
        }
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        match self {
            Self::DryRun(motors) => motors.write(now, output),
            Self::Pca9685(motors) => motors.write(now, output),
            Self::Vesc(motors) => motors.write(now, output),
            Self::Pwm(motors) => motors.write(now, output),
        }
    }
}
