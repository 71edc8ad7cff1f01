//! Numbers that sensors measure on the car.

use serde::{Deserialize, Serialize};

use crate::Time;

/// A number that a sensor measures on the car.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measurement {
    /// The speed, m/s, ahead positive.
    Speed,
    /// The yaw rate, rad/s, left positive.
    YawRate,
    /// The acceleration ahead, m/s2.
    Acceleration,
    /// The acceleration to the left, m/s2.
    LateralAcceleration,
}

impl Measurement {
    /// All of them, in the order of [`Measurements`].
    pub const ALL: [Self; 4] = [
        Self::Speed,
        Self::YawRate,
        Self::Acceleration,
        Self::LateralAcceleration,
    ];

    /// The name in recipes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::YawRate => "yaw_rate",
            Self::Acceleration => "acceleration",
            Self::LateralAcceleration => "lateral_acceleration",
        }
    }

    /// The title of the column in a recording's data.csv, and the key in its messages.
    pub const fn column(self) -> &'static str {
        match self {
            Self::Speed => "measured_speed",
            Self::YawRate => "measured_yaw_rate",
            Self::Acceleration => "measured_acceleration",
            Self::LateralAcceleration => "measured_lateral_acceleration",
        }
    }

    const fn place(self) -> usize {
        self as usize
    }
}

/// What the car's sensors measured at one moment. A number that is not known is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measurements([Option<f32>; Measurement::ALL.len()]);

impl Measurements {
    /// The numbers, in the order of [`Measurement::ALL`].
    pub const fn new(numbers: [Option<f32>; Measurement::ALL.len()]) -> Self {
        Self(numbers)
    }

    /// A number, if it is known and finite.
    pub fn get(&self, measurement: Measurement) -> Option<f32> {
        let number = self.0.get(measurement.place()).copied().flatten();
        number.filter(|number| number.is_finite())
    }

    /// Sets a number.
    pub fn set(&mut self, measurement: Measurement, number: Option<f32>) {
        if let Some(place) = self.0.get_mut(measurement.place()) {
            *place = number;
        }
    }

    /// Whether no number is known.
    pub fn is_empty(&self) -> bool {
        Measurement::ALL.iter().all(|&it| self.get(it).is_none())
    }
}

/// A speed that the motors' electronics measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredSpeed {
    /// When it was requested: the speed is not older.
    pub at: Time,
    /// m/s, ahead positive.
    pub mps: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_finite_is_not_known() {
        let mut measured = Measurements::default();
        assert!(measured.is_empty());
        for (index, measurement) in Measurement::ALL.into_iter().enumerate() {
            measured.set(measurement, Some(index as f32));
            assert_eq!(measured.get(measurement), Some(index as f32));
            assert_eq!(measured.0[index], Some(index as f32));
            assert_eq!(
                format!("measured_{}", measurement.name()),
                measurement.column()
            );
        }
        measured.set(Measurement::YawRate, Some(f32::NAN));
        assert_eq!(measured.get(Measurement::YawRate), None);
        assert!(!measured.is_empty());
    }
}
