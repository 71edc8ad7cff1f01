//! Why motors cannot be opened.

use std::io;
use std::path::PathBuf;

/// Why the motors could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The simulator moves the simulated car; there are no motors to open.
    #[error(
        "`actuator.kind` is `simulator`, whose car the simulator moves: name the car's motors in its \
         car.toml (docs/car.md)"
    )]
    Simulated,
    /// The table of the kind is missing.
    #[error("`actuator.kind` is `{0}`, but there is no table `[actuator.{0}]`: docs/car.md")]
    NoTable(&'static str),
    /// Another process holds the device.
    #[error(
        "{device}: another guard holds it; there can be one for each car (`pilotage stop` ends \
         it); or another program does (`sudo fuser -v {device}`)"
    )]
    Taken {
        /// The device.
        device: PathBuf,
    },
    /// The bus's adapter does not support the transfers.
    #[error(
        "{device}: this bus's adapter can neither I2C transfers nor SMBus's blocks; connect the \
         chip to another bus"
    )]
    Adapter {
        /// The bus.
        device: PathBuf,
    },
    /// A PWM chip that sets pulses too coarsely for a servo or a speed controller.
    #[error(
        "{device}: its driver, {driver}, sets pulses in steps of {step:.0} us at this frequency, and \
         a servo needs steps of {longest:.0} us or less; connect servo and speed controller to a \
         PCA9685, or to a computer with finer PWM pins (docs/hardware.md)"
    )]
    Coarse {
        /// The chip.
        device: PathBuf,
        /// The kernel's driver.
        driver: &'static str,
        /// Microseconds.
        step: f32,
        /// The longest step that is accepted, in microseconds.
        longest: f32,
    },
    /// The device does not exist, or cannot be used.
    #[error("{device}: {reason}{advice}", advice = advice(.reason))]
    Device {
        /// The device.
        device: PathBuf,
        /// The system's error.
        reason: io::Error,
    },
    /// The thread for the transfers could not be started.
    #[error("no thread can be started for the transfers to the motors: {0}")]
    Thread(io::Error),
    /// The OE pin does not exist, or cannot be used.
    #[error("{chip}, line {line}: the output-enable pin cannot be opened: {reason}")]
    OutputEnable {
        /// The chip.
        chip: PathBuf,
        /// The line.
        line: u32,
        /// The system's error.
        reason: io::Error,
    },
}

fn advice(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::NotFound => {
            "; is it switched on and connected, and is that its name? (`ls /dev /dev/serial/by-id \
             /sys/class/pwm`)"
        }
        io::ErrorKind::PermissionDenied => {
            "; this user may not use it: add the user to the device's group (`ls -l` shows it)"
        }
        _ => "",
    }
}

impl OpenError {
    /// Converts the system's `reason` why `device` could not be opened.
    pub(crate) fn of(device: PathBuf, reason: io::Error) -> Self {
        match reason.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => Self::Taken { device },
            io::ErrorKind::Unsupported => Self::Adapter { device },
            _ => Self::Device { device, reason },
        }
    }
}
