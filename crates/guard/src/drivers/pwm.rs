//! The computer's own PWM pins, through sysfs.

mod pin;
mod resolution;

use std::sync::Arc;

use pilotage_vehicle::Time;

use super::device_lock::LockPolicy;
use super::failure::{Attempts, Failure};
use super::open_error::OpenError;
use super::pulses::Arming;
use super::rotation::Rotation;
use super::settings::PwmSettings;
use crate::{Actuator, ActuatorError, Output};
use pin::{Pin, SETTINGS};

const NAME: &str = "pwm";

/// A servo and a speed controller on two pins.
#[derive(Debug)]
pub struct Pwm {
    /// In the order in which they are written.
    pins: [Pin; 2],
    arming: Arming,
    rotation: Rotation,
    attempts: Attempts,
    /// Whether the pins are set up, as far as is known.
    ready: bool,
}

impl Pwm {
    /// Opens both pins, and waits for another writer as `lock_policy` specifies. Nothing is written yet.
    ///
    /// # Errors
    /// When a pin does not exist, its chip's steps are too coarse for a servo, or another process
    /// holds it.
    pub fn open(
        settings: &PwmSettings,
        lock_policy: impl Into<LockPolicy>,
    ) -> Result<Self, OpenError> {
        let lock_policy = lock_policy.into();
        let (steering, throttle) = (&settings.steering, &settings.throttle);
        // Failsafe is written to any chip.
        if !lock_policy.proceeds_without_lock() {
            for pin in [&settings.throttle_pin, &settings.steering_pin] {
                resolution::check(&pin.chip, settings.frequency)?;
            }
        }
        let period = (1e9 / settings.frequency) as u32;
        let open = |chip, channel, pulses| Pin::open(chip, channel, period, pulses, lock_policy);
        // The motor first: it is the dangerous one.
        let chip = &settings.throttle_pin.chip;
        let throttle_pin = open(chip, throttle.channel, throttle.pulses())?;
        let chip = &settings.steering_pin.chip;
        let steering_pin = open(chip, steering.channel, steering.pulses())?;
        Ok(Self {
            attempts: Attempts::new(Arc::clone(&throttle_pin.device)),
            pins: [throttle_pin, steering_pin],
            arming: throttle.arming(),
            rotation: Rotation::default(),
            ready: false,
        })
    }

    /// Sets other pulses.
    pub(crate) fn adjust(&mut self, settings: &PwmSettings) {
        let [throttle, steering] = &mut self.pins;
        throttle.pulses = settings.throttle.pulses();
        steering.pulses = settings.steering.pulses();
    }

    /// # Errors
    /// The index of the pin, and its failure.
    fn attempt(&mut self, now: Time, output: &Output) -> Result<(), (usize, Failure)> {
        if !self.ready {
            for (index, pin) in self.pins.iter_mut().enumerate() {
                pin.set_up().map_err(|failure| (index, failure))?;
            }
            self.rotation.restart(now);
            self.ready = true;
        }
        let [throttle, steering] = &mut self.pins;
        let motor = self.arming.throttle(now, output, &throttle.pulses);
        let servo = steering.pulses.micros(output.mode, output.steering);
        throttle.put(motor).map_err(|failure| (0, failure))?;
        steering.put(servo).map_err(|failure| (1, failure))?;
        let checks = SETTINGS * self.pins.len() as u32;
        if let Some(index) = self.rotation.due(now, checks) {
            let pin = (index / SETTINGS) as usize;
            let checked = self.pins[pin].check(index % SETTINGS);
            checked.map_err(|failure| (pin, failure))?;
        }
        Ok(())
    }
}

impl Actuator for Pwm {
    fn name(&self) -> &str {
        NAME
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        self.attempts.due(now)?;
        let result = self.attempt(now, output).map_err(|(pin, failure)| {
            // The pins' settings are unknown now, and the pulses may have stopped.
            self.ready = false;
            self.arming.again();
            self.attempts.set_device(&self.pins[pin].device);
            failure
        });
        self.attempts.ended(now, result, "")
    }
}
