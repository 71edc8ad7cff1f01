//! Actuators: the motors of physical cars, the dry run, and the relay to a simulated car in another
//! process.
//!
//! Each is an [`Actuator`](crate::Actuator). After it is opened it does not allocate or block for
//! long, except on a failure. It holds a lock on its device, unless every user could take that
//! lock. Once per second it checks that the device still has each setting that was written to it.

mod bridge;
mod chips;
pub(crate) mod device_lock;
mod differential;
mod dry_run;
mod failure;
mod i2c;
mod maestro;
mod motor_bank;
mod open;
mod open_error;
mod output_enable;
mod pca9685;
#[cfg(test)]
#[path = "../tests/support/pty.rs"]
mod pty;
mod pulses;
mod pwm;
mod relay;
mod retry;
mod rotation;
mod serial;
mod settings;
mod targets;
mod two_chips;
mod vesc;
mod worker;

pub use bridge::Bridge;
pub use chips::Chips;
pub use device_lock::LockPolicy;
pub use differential::{Differential, Motor};
pub use dry_run::DryRun;
pub use i2c::{I2cBus, I2cError};
pub use maestro::Maestro;
pub use motor_bank::MotorBank;
pub use open::Motors;
pub use open_error::OpenError;
pub use output_enable::{GpioOutputEnable, OutputEnable};
pub use pca9685::{Pca9685, Wheels};
pub use pulses::{Arming, Pulses, Rest};
pub use pwm::Pwm;
pub use relay::Relay;
pub use rotation::CHECK_EVERY;
pub use settings::{
    ActuatorSettings, ArmingStep, BrakeSettings, BridgeSettings, DifferentialSettings, Kind,
    MaestroSettings, MotorBankSettings, MotorSettings, OutputEnableSettings, Pca9685Settings,
    PwmChannelSettings, PwmSettings, SteeringSettings, Stop, ThrottleSettings, VescSettings,
};
pub use two_chips::TwoChips;
pub use vesc::Vesc;
pub use worker::Worker;
