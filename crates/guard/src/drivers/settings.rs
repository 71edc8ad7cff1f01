//! `[actuator]` of car.toml and its checks.
//!
//! Pulses, failsafe and disarmed values have no defaults, because they differ from car to car.

mod bridge;
mod check;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use pilotage_vehicle::Domain;

pub use bridge::BridgeSettings;

/// `[actuator]`: the kind, and a table for each physical kind.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ActuatorSettings {
    /// The kind that the guard writes to.
    pub kind: Kind,
    /// `[actuator.pca9685]`
    pub pca9685: Option<Pca9685Settings>,
    /// `[actuator.vesc]`
    pub vesc: Option<VescSettings>,
    /// `[actuator.pwm]`
    pub pwm: Option<PwmSettings>,
    /// `[actuator.maestro]`
    pub maestro: Option<MaestroSettings>,
    /// `[actuator.bridge]`
    pub bridge: Option<BridgeSettings>,
}

impl ActuatorSettings {
    /// The kind and the device, such as `pwm on /sys/class/pwm/pwmchip0`.
    pub fn describe(&self) -> String {
        match self.device() {
            Some(device) => format!("{} on {}", self.kind, device.display()),
            None => self.kind.to_string(),
        }
    }

    /// Whether the actuator measures the car's speed.
    pub fn measures_speed(&self) -> bool {
        let vesc = self.vesc.as_ref();
        self.kind == Kind::Vesc && vesc.is_some_and(|vesc| vesc.erpm_per_mps.is_some())
    }

    /// The paths that the guard writes to, each of which may have only one writer: a bus, a port,
    /// or each pin.
    pub(crate) fn outputs(&self) -> Vec<PathBuf> {
        match (self.kind, &self.pwm) {
            (Kind::Pwm, Some(pwm)) => {
                let pin = |chip: &Path, channel: u8| chip.join(format!("pwm{channel}"));
                vec![
                    pin(&pwm.throttle_pin.chip, pwm.throttle.channel),
                    pin(&pwm.steering_pin.chip, pwm.steering.channel),
                ]
            }
            _ => self.device().into_iter().map(Path::to_owned).collect(),
        }
    }

    /// The device that the guard writes to, if there is one.
    pub fn device(&self) -> Option<&Path> {
        match self.kind {
            Kind::Simulator | Kind::DryRun => None,
            Kind::Pca9685 => self.pca9685.as_ref().map(|chip| chip.bus.as_path()),
            Kind::Vesc => self.vesc.as_ref().map(|vesc| vesc.port.as_path()),
            Kind::Pwm => self.pwm.as_ref().map(|pwm| pwm.throttle_pin.chip.as_path()),
            Kind::Maestro => self.maestro.as_ref().map(|board| board.port.as_path()),
            Kind::Bridge => self.bridge.as_ref().map(|bridge| bridge.port.as_path()),
        }
    }
}

/// What a guard writes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The simulated car.
    #[default]
    Simulator,
    /// Nothing; the guard logs what the car would do.
    DryRun,
    /// A PCA9685 on an I2C bus.
    Pca9685,
    /// A VESC on a serial port.
    Vesc,
    /// The computer's own PWM pins.
    Pwm,
    /// A Maestro servo controller on a serial port.
    Maestro,
    /// A microcontroller with a dead-man on a serial port.
    Bridge,
}

/// `[actuator.pca9685]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pca9685Settings {
    /// Such as `/dev/i2c-1`.
    pub bus: PathBuf,
    /// The chip's address on the bus.
    #[serde(default = "default_address")]
    pub address: u8,
    /// Cycles per second, 24 to 1526.
    pub frequency: f32,
    /// The frequency of the chip's clock in Hz, if it was measured.
    #[serde(default = "default_oscillator")]
    pub oscillator: f32,
    /// The OE pin, if it is wired.
    pub output_enable: Option<OutputEnableSettings>,
    /// A steering servo; requires `throttle`.
    pub steering: Option<SteeringSettings>,
    /// A speed controller; requires `steering`.
    pub throttle: Option<ThrottleSettings>,
    /// Two motors, in place of `steering` and `throttle`.
    pub differential: Option<DifferentialSettings>,
    /// Motors on a second chip, in place of `throttle`; requires `steering`.
    pub motors: Option<MotorBankSettings>,
}

/// `[actuator.pca9685.output_enable]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputEnableSettings {
    /// Such as `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The line of the chip.
    pub line: u32,
    /// Whether the line feeds a charge pump, and toggles at each write.
    #[serde(default)]
    pub pulse: bool,
    /// Not 0 while an operator tries the pin.
    #[serde(skip)]
    pub(crate) tried_off: u16,
}

/// A steering servo. Pulses are in microseconds; 0 is no pulse, where it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteeringSettings {
    /// The chip's channel.
    pub channel: u8,
    /// Full left.
    pub left_us: u16,
    /// Straight.
    pub centre_us: u16,
    /// Full right.
    pub right_us: u16,
    /// When stopped; 0 is no pulse.
    pub failsafe_us: u16,
    /// While disarmed; 0 is no pulse.
    pub disarmed_us: u16,
}

/// A speed controller. Pulses are in microseconds; 0 is no pulse, where it is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleSettings {
    /// The chip's channel.
    pub channel: u8,
    /// Full ahead.
    pub ahead_us: u16,
    /// Neutral.
    pub neutral_us: u16,
    /// Full reverse; neutral if the controller has no reverse.
    pub reverse_us: u16,
    /// When stopped: neutral, or 0 for no pulse.
    pub failsafe_us: u16,
    /// While disarmed: neutral, or 0 for no pulse.
    pub disarmed_us: u16,
    /// The pulses that arm the controller, at most four steps.
    #[serde(default)]
    pub arming: Vec<ArmingStep>,
    /// How a stop brakes a car that drives ahead; only for a controller without reverse.
    pub brake: Option<BrakeSettings>,
}

/// `brake` of a speed controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrakeSettings {
    /// The pulse.
    pub us: u16,
    /// Its longest duration in milliseconds.
    pub ms: u16,
}

/// One pulse of a speed controller's arming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmingStep {
    /// The pulse.
    pub us: u16,
    /// Its duration in milliseconds.
    pub ms: u16,
}

/// `[actuator.pca9685.differential]`
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DifferentialSettings {
    /// The relative speed difference of each side at full steering, 0 to 1.
    pub turn: f32,
    /// When stopped.
    pub failsafe: Stop,
    /// While disarmed.
    pub disarmed: Stop,
    /// The left motor.
    pub left: MotorSettings,
    /// The right motor.
    pub right: MotorSettings,
}

/// `[actuator.pca9685.motors]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotorBankSettings {
    /// The address of the motors' chip, on the same bus.
    pub address: u8,
    /// Its cycles per second, 24 to 1526.
    pub frequency: f32,
    /// When stopped.
    pub failsafe: Stop,
    /// While disarmed.
    pub disarmed: Stop,
    /// The motors' channels.
    pub outputs: Vec<MotorSettings>,
    /// The speed at which trimming tries them, in thousandths; 0 for none. Not in car.toml.
    #[serde(skip)]
    pub tried: u16,
}

/// How a motor is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The motor is shorted.
    Brake,
    /// The motor runs free.
    Coast,
}

/// A motor's channels. If the motor turns the wrong way, swap `ahead` and `back`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotorSettings {
    /// The bridge's PWM input, if it has one.
    pub pwm: Option<u8>,
    /// High to drive ahead.
    pub ahead: u8,
    /// High to drive backwards.
    pub back: u8,
    /// The speed at which trimming tries it, in thousandths; 0 for none. Not in car.toml.
    #[serde(skip)]
    pub tried: u16,
}

/// `[actuator.vesc]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VescSettings {
    /// Such as `/dev/serial/by-id/usb-...`.
    pub port: PathBuf,
    /// Bits per second; has no effect on a USB port.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// The duty cycle at full throttle, -0.95 to 0.95; a negative value reverses the motor. Either
    /// this or `full_erpm`.
    pub full_duty: Option<f32>,
    /// The electrical speed at full throttle, revolutions per minute; a negative value reverses the
    /// motor.
    pub full_erpm: Option<f32>,
    /// Electrical revolutions per minute at 1 m/s, by which the speed is measured; `None` if it is not.
    pub erpm_per_mps: Option<f32>,
    /// Braking current when stopped, in A; at 0 the motor coasts.
    pub failsafe_brake_a: f32,
    /// Braking current while disarmed, in A; at 0 the motor coasts.
    pub disarmed_brake_a: f32,
    /// The servo output at full left, 0 to 1.
    pub left: f32,
    /// Straight.
    pub centre: f32,
    /// Full right.
    pub right: f32,
    /// When stopped.
    pub failsafe: f32,
    /// While disarmed.
    pub disarmed: f32,
}

/// `[actuator.pwm]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PwmSettings {
    /// Cycles per second.
    pub frequency: f32,
    /// The chip of the servo's pin.
    pub steering_pin: PwmChannelSettings,
    /// The chip of the speed controller's pin.
    pub throttle_pin: PwmChannelSettings,
    /// The servo; its `channel` is a channel of `steering_pin.chip`.
    pub steering: SteeringSettings,
    /// The speed controller; its `channel` is a channel of `throttle_pin.chip`.
    pub throttle: ThrottleSettings,
}

/// One of the computer's PWM chips.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PwmChannelSettings {
    /// Such as `/sys/class/pwm/pwmchip0`.
    pub chip: PathBuf,
}

/// `[actuator.maestro]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaestroSettings {
    /// The board's Command Port, such as `/dev/serial/by-id/usb-Pololu_...-if00`.
    pub port: PathBuf,
    /// The servo.
    pub steering: SteeringSettings,
    /// The speed controller.
    pub throttle: ThrottleSettings,
}

fn default_address() -> u8 {
    0x40
}

fn default_oscillator() -> f32 {
    25e6
}

fn default_baud() -> u32 {
    115_200
}

impl Kind {
    /// What the actuator moves. A dry run moves nothing, so it accepts any engine.
    pub const fn domain(self) -> Domain {
        match self {
            Self::Simulator | Self::DryRun => Domain::Simulated,
            Self::Pca9685 | Self::Vesc | Self::Pwm | Self::Maestro | Self::Bridge => {
                Domain::Physical
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simulator => "simulator",
            Self::DryRun => "dry-run",
            Self::Pca9685 => "pca9685",
            Self::Vesc => "vesc",
            Self::Pwm => "pwm",
            Self::Maestro => "maestro",
            Self::Bridge => "bridge",
        })
    }
}
