//! A servo on one PCA9685, and DC motors on another one on the same bus.

use std::io;

use embedded_hal::i2c::I2c;
use pilotage_vehicle::Time;

use super::pca9685::Pca9685;
use crate::{Actuator, ActuatorError, Output};

/// Two chips, of which the motors' is written first.
///
/// A failure of either one is a failure of the car: the guard stops it, which writes both again.
/// The motors' chip does not wait for the servo's.
pub struct TwoChips<M: I2c, S: I2c> {
    motors: Pca9685<M>,
    steering: Pca9685<S>,
}

impl<M: I2c, S: I2c> TwoChips<M, S> {
    /// A car whose motors are on the first chip, and whose steering servo is on the second.
    pub const fn new(motors: Pca9685<M>, steering: Pca9685<S>) -> Self {
        Self { motors, steering }
    }

    pub(crate) const fn motors_mut(&mut self) -> &mut Pca9685<M> {
        &mut self.motors
    }

    pub(crate) const fn steering_mut(&mut self) -> &mut Pca9685<S> {
        &mut self.steering
    }
}

impl<M, S> Actuator for TwoChips<M, S>
where
    M: I2c,
    M::Error: Into<io::Error>,
    S: I2c,
    S::Error: Into<io::Error>,
{
    fn name(&self) -> &str {
        self.motors.name()
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        let driven = self.motors.write(now, output);
        let steered = self.steering.write(now, output);
        driven.and(steered)
    }
}
