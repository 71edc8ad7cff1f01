//! The interface to the motors.

use std::sync::Arc;

use arrayvec::ArrayString;
use pilotage_vehicle::{MeasuredSpeed, Time};

use crate::Output;
use crate::trim::{Point, Value};

/// Writes a guard's output to the motors. Only a guard calls it.
///
/// The device keeps the last output until the next write. Writes are made at each tick and at each
/// change; their times never decrease, and the same time and output may be repeated. An
/// implementation must not block longer than a tick, and must not allocate after its start, except
/// on a failure. `conformance::actuator` checks an implementation.
pub trait Actuator {
    /// A short name for messages, such as `simulated car` or `pca9685`.
    fn name(&self) -> &str;

    /// Puts `output` in force at `now`.
    ///
    /// # Errors
    /// When the write failed. The guard then stops the car and writes failsafe again at each tick;
    /// an implementation may let some ticks pass before it tries its device again.
    fn write(&mut self, now: Time, output: &Output) -> Result<(), ActuatorError>;

    /// The speed that the device measured last, if it measures one. Nothing in the guard depends on it:
    /// it is passed on to the pilot.
    fn speed(&self) -> Option<MeasuredSpeed> {
        None
    }

    /// Sets `point` to `value`, from the next write until [`end_trim`](Self::end_trim). Returns
    /// false if the actuator does not have this point; nothing changes then.
    fn trim(&mut self, _point: Point, _value: Value) -> bool {
        false
    }

    /// Restores the points of car.toml, from the next write.
    fn end_trim(&mut self) {}
}

/// Why a write to the motors failed. `device` is the path of the device in car.toml, or a name for
/// it.
#[derive(Debug, thiserror::Error)]
pub enum ActuatorError {
    /// The write failed.
    #[error(
        "{device}: the output was not taken ({reason}): check power and wiring, then arm the car \
         again"
    )]
    Write {
        /// The device.
        device: Arc<str>,
        /// The system's error.
        reason: std::io::Error,
    },
    /// A register does not have the value that was written to it.
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
        /// The value that was written.
        written: u8,
        /// The value that was read back.
        holds: u8,
    },
    /// A setting of a pin does not have the value that was written to it.
    #[error(
        "{device}: `{setting}` reads `{holds}`, expected `{written}`: another program writes to \
         this pin; end that program, then arm the car again"
    )]
    Overwritten {
        /// The pin.
        device: Arc<str>,
        /// The file of the setting.
        setting: &'static str,
        /// The value that was written.
        written: ArrayString<16>,
        /// The value that was read back, possibly truncated.
        holds: ArrayString<16>,
    },
    /// A pin inverts each pulse.
    #[error(
        "{device}: `polarity` reads `{holds}` and cannot be made `normal`: each pulse would come \
         out inverted, failsafe included; end the program that inverted this pin, or use another \
         pin"
    )]
    Polarity {
        /// The pin.
        device: Arc<str>,
        /// The value that was read back.
        holds: ArrayString<16>,
    },
    /// A channel of a servo controller does not put out the pulse that was written to it.
    #[error(
        "{device}: channel {channel} puts out {holds} us, expected {written} us (0 is no pulse): the \
         board was reset, its own settings do not allow this pulse (mode, Min, Max), or its script \
         or another program moves the channel; correct that, then arm the car again"
    )]
    Moved {
        /// The device.
        device: Arc<str>,
        /// The channel.
        channel: u8,
        /// The pulse that was written, in microseconds.
        written: f32,
        /// The pulse that was read back, in microseconds.
        holds: f32,
    },
    /// A servo controller reports errors, each of which makes it move its channels by itself.
    #[error(
        "{device}: the board reports {reason} (error register {register:#06x}), and has put its \
         channels at its own \"On startup or error\" positions; correct that, then arm the car again",
        reason = reported(*.register)
    )]
    Reported {
        /// The device.
        device: Arc<str>,
        /// The error register of a Maestro.
        register: u16,
    },
    /// A radio transmitter drives the car.
    #[error(
        "{device}: the radio transmitter drives the car; switch it back to the computer, then arm the \
         car again"
    )]
    Overridden {
        /// The bridge.
        device: Arc<str>,
    },
    /// The radio transmitter's pulses have ended.
    #[error(
        "{device}: the radio receiver has stopped sending pulses, and the bridge has stopped the car: \
         check the transmitter, the receiver's supply and its wires, then arm the car again"
    )]
    RemoteLost {
        /// The bridge.
        device: Arc<str>,
    },
    /// A bridge has stopped the car by itself.
    #[error(
        "{device}: the bridge has stopped the car by itself: it received no new command for 100 ms, \
         or was reset; arm the car again"
    )]
    Held {
        /// The bridge.
        device: Arc<str>,
    },
    /// The device no longer answers.
    #[error(
        "{device}: requests have not been answered for {millis} ms: check power and wiring, then \
         arm the car again"
    )]
    Silent {
        /// The device.
        device: Arc<str>,
        /// Milliseconds since the first request without an answer.
        millis: u64,
    },
    /// The device's path no longer exists.
    #[error(
        "{device}: this device is not there any more: it lost power or was unplugged, or it came \
         back under another name (a serial port's name in /dev/serial/by-id stays the same: use \
         that one in car.toml); connect it, then arm the car again"
    )]
    Gone {
        /// The device.
        device: Arc<str>,
    },
    /// A transfer has not ended within the timeout.
    #[error(
        "{device}: a transfer has been stuck for {millis} ms, and the motors keep their last \
         output: something holds the bus; check power and wiring, then arm the car again"
    )]
    Stuck {
        /// The device.
        device: Arc<str>,
        /// Milliseconds since the transfer began.
        millis: u64,
    },
}

/// The lowest error in a Maestro's error register (User's Guide, "Errors":
/// <https://www.pololu.com/docs/0J40/4.e>).
const fn reported(register: u16) -> &'static str {
    match register.trailing_zeros() {
        0 => "a serial signal error",
        1 => "a serial overrun",
        2 => "a full serial buffer",
        3 => "a wrong CRC",
        4 => "a command that it does not understand",
        5 => "that its serial time-out has passed without a command",
        6..=8 => "an error of its script",
        _ => "an unknown error",
    }
}
