//! What a network's outputs mean for a car.

use serde::{Deserialize, Serialize};

/// The controls that a network may output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// Metres per second, forwards.
    Speed,
    /// Radians per second, to the left.
    YawRate,
    /// -1 to 1, left positive.
    Steering,
    /// -1 to 1, forwards positive.
    Throttle,
}

impl Meaning {
    /// The name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::YawRate => "yaw_rate",
            Self::Steering => "steering",
            Self::Throttle => "throttle",
        }
    }

    /// The unit, for display.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Speed => "m/s",
            Self::YawRate => "rad/s",
            Self::Steering | Self::Throttle => "-1 to 1",
        }
    }
}

/// One number that the network outputs, and the control that it is:
/// `number * scale + offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The name of the output in the ONNX model.
    pub name: String,
    /// The index of the element in the output.
    pub index: usize,
    /// The control.
    pub meaning: Meaning,
    /// Factor of the number.
    pub scale: f32,
    /// Added after the multiplication.
    pub offset: f32,
}
