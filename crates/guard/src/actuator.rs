//! What moves the car.

use std::sync::Arc;

use arrayvec::ArrayString;
use pilotage_vehicle::Time;

use crate::Output;
use crate::trim::{Point, Value};

/// Puts a guard's output on the motors. Only a guard calls it.
///
/// The device keeps the last output until the next. Writes come at moments that
/// never fall, each tick and at each change; the same moment and the same output
/// may come twice. An implementation neither blocks longer than a tick nor allocates after
/// its start, but for what a failure takes. `conformance::actuator` checks one.
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

/// Why an output did not reach the motors. `device` is the path of the device as car.toml
/// names it, or what stands in for one.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// The device did not take the values.
    #[error(
        "{device}: the output was not taken ({source}): check power and wiring, then arm the car \
         again"
    )]
    Write {
        /// The device.
        device: Arc<str>,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A register does not hold what was written to it.
    #[error(
        "{device}: register {register:#04x} reads {holds:#04x}, expected {written:#04x}: the chip \
         lost power, was reset, or another program writes to it; correct that, then arm the car \
         again"
    )]
    Changed {
        /// The device.
        device: Arc<str>,
        /// The register.
        register: u8,
        /// What was written to it.
        written: u8,
        /// What it holds.
        holds: u8,
    },
    /// A setting of a pin does not hold what was written to it.
    #[error(
        "{device}: `{setting}` reads `{holds}`, expected `{written}`: another program writes to \
         this pin; end that program, then arm the car again"
    )]
    Overwritten {
        /// The pin.
        device: Arc<str>,
        /// The file of the setting.
        setting: &'static str,
        /// What was written to it.
        written: ArrayString<16>,
        /// What it holds, or the beginning of it.
        holds: ArrayString<16>,
    },
    /// A pin puts out the complement of each pulse.
    #[error(
        "{device}: `polarity` reads `{holds}` and cannot be made `normal`: each pulse would come \
         out inverted, failsafe included; end the program that inverted this pin, or use another \
         pin"
    )]
    Polarity {
        /// The pin.
        device: Arc<str>,
        /// What it holds.
        holds: ArrayString<16>,
    },
    /// The device no longer answers.
    #[error(
        "{device}: questions have not been answered for {millis} ms: check power and wiring, then \
         arm the car again"
    )]
    Silent {
        /// The device.
        device: Arc<str>,
        /// Since the first question that was not answered, milliseconds.
        millis: u64,
    },
    /// There is no device of this name any more.
    #[error(
        "{device}: this device is not there any more: it lost power or was unplugged, or it came \
         back under another name (a serial port's name in /dev/serial/by-id stays the same: use \
         that one in car.toml); connect it, then arm the car again"
    )]
    Gone {
        /// The device.
        device: Arc<str>,
    },
    /// A transfer does not end.
    #[error(
        "{device}: a transfer has been stuck for {millis} ms, and the motors keep their last \
         output: something holds the bus; check power and wiring, then arm the car again"
    )]
    Stuck {
        /// The device.
        device: Arc<str>,
        /// For how long, milliseconds.
        millis: u64,
    },
}
