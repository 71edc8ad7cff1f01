//! Motors: what a guard writes to on a real car.
//!
//! Each is an [`Actuator`](crate::Actuator) that neither allocates nor waits long after it
//! is opened, holds a lock on its device while it lives, and looks once a second whether
//! the device still does what it was told.

pub(crate) mod bus_lock;
mod differential;
mod dry_run;
mod i2c;
mod open;
mod output_enable;
mod pca9685;
mod pulses;
mod pwm;
mod retry;
mod serial;
mod settings;
mod targets;
mod vesc;

pub use differential::{Differential, Motor};
pub use dry_run::DryRun;
pub use i2c::{I2cBus, I2cError};
pub use open::{Motors, OpenError};
pub use output_enable::{GpioOutputEnable, OutputEnable};
pub use pca9685::{CHECK_EVERY, Pca9685, Wheels};
pub use pulses::{Pulses, Rest};
pub use pwm::Pwm;
pub use settings::{
    ActuatorSettings, ArmingStep, DifferentialSettings, Kind, MotorSettings, OutputEnableSettings,
    Pca9685Settings, PwmChannelSettings, PwmSettings, SteeringSettings, Stop, ThrottleSettings,
    VescSettings,
};
pub use vesc::Vesc;
