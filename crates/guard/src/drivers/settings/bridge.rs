//! `[actuator.bridge]`

use std::path::PathBuf;

use serde::Deserialize;

use super::{ArmingStep, BrakeSettings, SteeringSettings, ThrottleSettings, default_baud};

/// `[actuator.bridge]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSettings {
    /// The microcontroller's port, such as `/dev/serial/by-id/usb-Pilotage_...-if00`.
    pub port: PathBuf,
    /// Bits per second; has no effect on a USB port.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// The servo. Its channel is 0: a bridge has one output for it.
    #[serde(deserialize_with = "steering")]
    pub steering: SteeringSettings,
    /// The speed controller. Its channel is 1.
    #[serde(deserialize_with = "throttle")]
    pub throttle: ThrottleSettings,
}

/// A servo in car.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steering {
    left_us: u16,
    centre_us: u16,
    right_us: u16,
    failsafe_us: u16,
    disarmed_us: u16,
}

/// A speed controller in car.toml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Throttle {
    ahead_us: u16,
    neutral_us: u16,
    reverse_us: u16,
    failsafe_us: u16,
    disarmed_us: u16,
    #[serde(default)]
    arming: Vec<ArmingStep>,
    brake: Option<BrakeSettings>,
}

fn steering<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SteeringSettings, D::Error> {
    let written = Steering::deserialize(from)?;
    Ok(SteeringSettings {
        channel: 0,
        left_us: written.left_us,
        centre_us: written.centre_us,
        right_us: written.right_us,
        failsafe_us: written.failsafe_us,
        disarmed_us: written.disarmed_us,
    })
}

fn throttle<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ThrottleSettings, D::Error> {
    let written = Throttle::deserialize(from)?;
    Ok(ThrottleSettings {
        channel: 1,
        ahead_us: written.ahead_us,
        neutral_us: written.neutral_us,
        reverse_us: written.reverse_us,
        failsafe_us: written.failsafe_us,
        disarmed_us: written.disarmed_us,
        arming: written.arming,
        brake: written.brake,
    })
}
