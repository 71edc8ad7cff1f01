//! What moves the car.

use pilotage_vehicle::Time;

use crate::Output;
use crate::trim::{Point, Value};

/// Puts a guard's output on the motors. Only a guard calls it.
///
/// The device keeps the last output until the next. Writes come at moments that
/// never fall, each tick and at each change; the same moment and the same output
/// may come twice. An implementation neither blocks longer than a tick nor
/// allocates. `conformance::actuator` checks one.
pub trait Actuator {
    /// A short name for messages, such as `simulated car` or `pca9685`.
    fn name(&self) -> &str;

    /// Puts `output` in force from `now`.
    ///
    /// # Errors
    /// When the device did not take it. The guard stops and tries failsafe again
    /// at each tick.
    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError>;

    /// From the next write on `point` is at `value`, until [`end_trim`](Self::end_trim).
    /// False where the actuator has no such point; nothing changes then.
    fn trim(&mut self, _point: Point, _value: Value) -> bool {
        false
    }

    /// From the next write on each point is where car.toml has it.
    fn end_trim(&mut self) {}
}

/// Why an output did not reach the motors.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// The device did not take the values.
    #[error(
        "`{actuator}` did not take the values ({source}): check its power and wiring, then arm \
         the car again"
    )]
    Write {
        /// The actuator's name.
        actuator: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device does not hold what it was told: it was reset, or another writes to it.
    #[error(
        "`{actuator}` does not hold what it was told (register {register:#04x} was told \
         {told:#04x} and holds {holds:#04x}): it lost power or was reset, or another program \
         writes to it; see to that, then arm the car again"
    )]
    Changed {
        /// The actuator's name.
        actuator: &'static str,
        /// The register.
        register: u8,
        /// What was written to it.
        told: u8,
        /// What it holds.
        holds: u8,
    },
    /// Another program writes to it.
    #[error(
        "`{actuator}` does not hold what it was told: another program writes to it; see to that, \
         then arm the car again"
    )]
    Overwritten {
        /// The actuator's name.
        actuator: &'static str,
    },
    /// The device answers nothing any more.
    #[error(
        "`{actuator}` has not answered for {millis} ms: check its power and wiring, then arm the \
         car again"
    )]
    Silent {
        /// The actuator's name.
        actuator: &'static str,
        /// For how long, milliseconds.
        millis: u64,
    },
}

impl<A: Actuator + ?Sized> Actuator for Box<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError> {
        (**self).write(now, output)
    }

    fn trim(&mut self, point: Point, value: Value) -> bool {
        (**self).trim(point, value)
    }

    fn end_trim(&mut self) {
        (**self).end_trim();
    }
}
