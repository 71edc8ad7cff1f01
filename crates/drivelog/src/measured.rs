//! What the car's sensors measured, in an entry of an iteration.

use pilotage_vehicle::{Measurement, Measurements};
use serde::{Deserialize, Serialize};

use crate::inputs::Input;

/// What the car's sensors measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The speed, m/s.
    #[serde(default)]
    pub measured_speed: Option<f32>,
    /// The yaw rate, rad/s, left positive.
    #[serde(default)]
    pub measured_yaw_rate: Option<f32>,
    /// The acceleration ahead, m/s2.
    #[serde(default)]
    pub measured_acceleration: Option<f32>,
    /// The acceleration to the left, m/s2.
    #[serde(default)]
    pub measured_lateral_acceleration: Option<f32>,
}

impl Measured {
    /// Whether there is this number.
    pub(crate) const fn has(&self, input: Input) -> bool {
        match input {
            Input::Speed => self.measured_speed.is_some(),
            Input::YawRate => self.measured_yaw_rate.is_some(),
            Input::Acceleration => self.measured_acceleration.is_some(),
            Input::LateralAcceleration => self.measured_lateral_acceleration.is_some(),
            Input::Scan | Input::Unknown => false,
        }
    }
}

impl From<Measurements> for Measured {
    fn from(measured: Measurements) -> Self {
        Self {
            measured_speed: measured.get(Measurement::Speed),
            measured_yaw_rate: measured.get(Measurement::YawRate),
            measured_acceleration: measured.get(Measurement::Acceleration),
            measured_lateral_acceleration: measured.get(Measurement::LateralAcceleration),
        }
    }
}
