//! Opens the motors that `[actuator]` of car.toml describes.

use std::time::Duration;

use pilotage_vehicle::{MeasuredSpeed, Time};

use super::device_lock::LockPolicy;
use super::{
    ActuatorSettings, Bridge, Chips, DryRun, GpioOutputEnable, Kind, Maestro, OpenError,
    Pca9685Settings, Pwm, Vesc, Worker,
};
use crate::{Actuator, ActuatorError, Output};

/// The motors of a car, of any kind.
pub enum Motors {
    /// No motors.
    DryRun(DryRun),
    /// Behind one or two PWM chips, with writes on a separate thread.
    Pca9685(Worker<Chips>),
    /// Behind a PWM chip, with writes on the calling thread: for failsafe, which has no ticks to
    /// keep and must not depend on another thread.
    Pca9685Direct(Chips),
    /// Behind a VESC.
    Vesc(Box<Vesc>),
    /// On the computer's pins.
    Pwm(Box<Pwm>),
    /// Behind a Maestro.
    Maestro(Box<Maestro>),
    /// Behind a microcontroller.
    Bridge(Box<Bridge>),
}

impl Motors {
    /// Opens the motors of `settings` for a guard, and waits up to `timeout` for another guard to
    /// release them. Nothing is written until the guard's first write.
    ///
    /// # Errors
    /// When they do not exist, or another process holds them.
    pub fn open(settings: &ActuatorSettings, timeout: Duration) -> Result<Self, OpenError> {
        Self::open_with(settings, timeout.into())
    }

    /// Opens the motors for failsafe: after `timeout` without their locks, and without an OE pin
    /// that another process holds.
    ///
    /// # Errors
    /// When they do not exist.
    pub fn open_for_failsafe(
        settings: &ActuatorSettings,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        Self::open_with(settings, LockPolicy::proceed_without_lock(timeout))
    }

    fn open_with(settings: &ActuatorSettings, lock_policy: LockPolicy) -> Result<Self, OpenError> {
        match settings.kind {
            Kind::Simulator => Err(OpenError::Simulated),
            Kind::DryRun => Ok(Self::DryRun(DryRun::default())),
            Kind::Pca9685 => {
                let settings = settings.pca9685.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("pca9685"))?.clone();
                let pin = output_enable(&settings, lock_policy)?;
                if lock_policy.proceeds_without_lock() {
                    let chips = Chips::open(&settings, pin, lock_policy)?;
                    return Ok(Self::Pca9685Direct(chips));
                }
                let device = settings.bus.display().to_string();
                let worker_pin = pin.clone();
                let build = move || Chips::open(&settings, worker_pin, lock_policy);
                let worker = Worker::start("pca9685", device, build)?;
                Ok(Self::Pca9685(match pin {
                    Some(pin) => worker.with_output_enable(pin),
                    None => worker,
                }))
            }
            Kind::Vesc => {
                let settings = settings.vesc.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("vesc"))?;
                let vesc = Vesc::open(settings, lock_policy);
                vesc.map(|vesc| Self::Vesc(Box::new(vesc)))
                    .map_err(|reason| OpenError::of(settings.port.clone(), reason))
            }
            Kind::Pwm => {
                let settings = settings.pwm.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("pwm"))?;
                Ok(Self::Pwm(Box::new(Pwm::open(settings, lock_policy)?)))
            }
            Kind::Bridge => {
                let settings = settings.bridge.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("bridge"))?;
                let bridge = Bridge::open(settings, lock_policy);
                bridge
                    .map(|bridge| Self::Bridge(Box::new(bridge)))
                    .map_err(|reason| OpenError::of(settings.port.clone(), reason))
            }
            Kind::Maestro => {
                let settings = settings.maestro.as_ref();
                let settings = settings.ok_or(OpenError::NoTable("maestro"))?;
                let board = Maestro::open(settings, lock_policy);
                board
                    .map(|board| Self::Maestro(Box::new(board)))
                    .map_err(|reason| OpenError::of(settings.port.clone(), reason))
            }
        }
    }

    /// Adapts the timeouts to the guard's `deadline`: a car with a longer deadline may have a
    /// slower bus or computer.
    pub fn set_deadline(&mut self, deadline: Duration) {
        if let Self::Pca9685(worker) = self {
            worker.set_deadline(deadline);
        }
    }
}

impl Motors {
    /// Sets the pulses, ends and centres from `settings`, which must be for the same device. It is
    /// used for trimming.
    pub fn adjust(&mut self, settings: &ActuatorSettings) {
        match self {
            Self::DryRun(_) => {}
            Self::Pca9685(worker) => {
                if let Some(wheels) = settings.pca9685.as_ref().and_then(Pca9685Settings::wheels) {
                    worker.adjust(|chips| chips.adjust(wheels));
                }
                let chip = settings.pca9685.as_ref();
                let pin = chip.and_then(|chip| chip.output_enable.as_ref());
                worker.hold_back(pin.is_some_and(|pin| pin.tried_off != 0));
            }
            Self::Pca9685Direct(chip) => {
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
            Self::Bridge(bridge) => {
                if let Some(settings) = &settings.bridge {
                    bridge.adjust(settings);
                }
            }
            Self::Maestro(board) => {
                if let Some(settings) = &settings.maestro {
                    board.adjust(settings);
                }
            }
        }
    }
}

fn output_enable(
    settings: &Pca9685Settings,
    lock_policy: LockPolicy,
) -> Result<Option<GpioOutputEnable>, OpenError> {
    let Some(pin) = &settings.output_enable else {
        return Ok(None);
    };
    let error = match GpioOutputEnable::open(pin, lock_policy) {
        Ok(pin) => return Ok(Some(pin)),
        Err(reason) => OpenError::OutputEnable {
            chip: pin.chip.clone(),
            line: pin.line,
            reason,
        },
    };
    if lock_policy.proceeds_without_lock() {
        log::warn!("{error}; failsafe is written without it");
        return Ok(None);
    }
    Err(error)
}

impl Actuator for Motors {
    fn name(&self) -> &str {
        match self {
            Self::DryRun(motors) => motors.name(),
            Self::Pca9685(motors) => motors.name(),
            Self::Pca9685Direct(motors) => motors.name(),
            Self::Vesc(motors) => motors.name(),
            Self::Pwm(motors) => motors.name(),
            Self::Maestro(motors) => motors.name(),
            Self::Bridge(motors) => motors.name(),
        }
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        match self {
            Self::DryRun(motors) => motors.write(now, output),
            Self::Pca9685(motors) => motors.write(now, output),
            Self::Pca9685Direct(motors) => motors.write(now, output),
            Self::Vesc(motors) => motors.write(now, output),
            Self::Pwm(motors) => motors.write(now, output),
            Self::Maestro(motors) => motors.write(now, output),
            Self::Bridge(motors) => motors.write(now, output),
        }
    }

    fn speed(&self) -> Option<MeasuredSpeed> {
        match self {
            Self::Vesc(motors) => motors.speed(),
            _ => None,
        }
    }
}
