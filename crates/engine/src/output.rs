//! What the numbers that come out of a network mean for a car.

use serde::{Deserialize, Serialize};

/// What a network may tell a car.
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
    /// As recipes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::YawRate => "yaw_rate",
            Self::Steering => "steering",
            Self::Throttle => "throttle",
        }
    }

    /// The unit, for people.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Speed => "m/s",
            Self::YawRate => "rad/s",
            Self::Steering | Self::Throttle => "-1 to 1",
        }
    }
}

/// One number of the network's and what it is for the car: `number * scale + offset`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// The model's name for the output.
    pub name: String,
    /// Which element of it.
    pub index: usize,
    /// What it is.
    pub meaning: Meaning,
    /// Multiplies the number.
    pub scale: f32,
    /// Added after.
    pub offset: f32,
}
