//! The points that an operator trims.

use std::fmt;

/// A point to trim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Straight ahead.
    Centre,
    /// Full left.
    Left,
    /// Full right.
    Right,
    /// The motor is stopped.
    Neutral,
    /// The left motor of a car with two turns ahead, alone.
    LeftWheel,
    /// The right motor, alone.
    RightWheel,
    /// The motors of a car with a steering servo turn ahead.
    Wheels,
    /// The OE pin turns the outputs off, so that the steering servo goes limp.
    OutputsOff,
}

impl Point {
    /// All points, in the order in which they are trimmed.
    pub const ALL: [Self; 8] = [
        Self::Centre,
        Self::Left,
        Self::Right,
        Self::Neutral,
        Self::LeftWheel,
        Self::RightWheel,
        Self::Wheels,
        Self::OutputsOff,
    ];

    /// The steering value at which the actuator is at this point.
    pub(crate) const fn steering(self) -> f32 {
        match self {
            Self::Left => 1.0,
            Self::Right => -1.0,
            Self::Centre
            | Self::Neutral
            | Self::LeftWheel
            | Self::RightWheel
            | Self::Wheels
            | Self::OutputsOff => 0.0,
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Centre => "straight ahead",
            Self::Left => "full left",
            Self::Right => "full right",
            Self::Neutral => "the motor's neutral",
            Self::LeftWheel => "the left wheel",
            Self::RightWheel => "the right wheel",
            Self::Wheels => "the wheels",
            Self::OutputsOff => "the outputs off",
        })
    }
}

/// A value of a point: microseconds of a pulse, thousandths of a VESC's servo range, thousandths of a
/// motor's full speed, or 1 for outputs that are off.
pub type Value = u16;
