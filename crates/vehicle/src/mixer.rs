//! Converts speed and yaw rate to steering and throttle, and back.

use crate::Controls;

/// Why the mixer's settings are rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MixerError {
    /// `wheelbase` must be a positive number of metres, not {0}
    #[error("`wheelbase` must be a positive number of metres, not {0}")]
    Wheelbase(f64),
    /// `steering_range` must be between 0 and 1.5 rad, not {0}
    #[error("`steering_range` is the wheel angle at full steering, between 0 and 1.5 rad, not {0}")]
    SteeringRange(f64),
    /// The points of `speed_to_throttle` are too few, not finite, or do not rise.
    #[error(
        "`speed_to_throttle` needs at least two [speed, throttle] points, from [0, 0] up, both \
         rising, throttle at most 1: {0}"
    )]
    Curve(String),
}

/// Converts [`Controls`] to steering and throttle for one car, and back.
///
/// The geometry is the kinematic bicycle model: with wheel angle `d`, wheelbase `L` and speed `v`,
/// the car turns at `v * tan(d) / L` rad/s (R. Rajamani, Vehicle Dynamics and Control, 2nd ed.,
/// 2.2, with the reference point at the rear axle).
#[derive(Debug, Clone, PartialEq)]
pub struct Mixer {
    wheelbase: f64,
    steering_range: f64,
    /// (m/s, throttle), both rising from (0, 0).
    curve: Vec<(f64, f64)>,
}

/// Below this speed the yaw rate does not determine the wheel angle. The angle is then computed for
/// this speed, in metres per second.
const STEERABLE_SPEED: f64 = 0.1;

impl Mixer {
    /// Makes a mixer: `wheelbase` in metres, `steering_range` in radians of wheel angle at steering
    /// 1, `curve` as (m/s, throttle) points that rise from (0, 0).
    ///
    /// # Errors
    /// When a number is not finite, not positive or out of order.
    pub fn new(
        wheelbase: f64,
        steering_range: f64,
        curve: Vec<(f64, f64)>,
    ) -> Result<Self, MixerError> {
        if !(wheelbase.is_finite() && wheelbase > 0.0) {
            return Err(MixerError::Wheelbase(wheelbase));
        }
        if !(steering_range > 0.0 && steering_range <= 1.5) {
            return Err(MixerError::SteeringRange(steering_range));
        }
        let rises = curve.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        let ends = curve.first() == Some(&(0.0, 0.0))
            && curve.last().is_some_and(|p| p.0.is_finite() && p.1 <= 1.0);
        if curve.len() < 2 || !rises || !ends {
            return Err(MixerError::Curve(format!("{curve:?}")));
        }
        Ok(Self {
            wheelbase,
            steering_range,
            curve,
        })
    }

    /// The mixer of the simulated car: a tenth-scale chassis that reaches 24 m/s at full throttle.
    pub fn simulated() -> Self {
        Self {
            wheelbase: 0.33,
            steering_range: 0.42,
            curve: vec![(0.0, 0.0), (24.0, 1.0)],
        }
    }

    /// The wheelbase in metres.
    pub fn wheelbase(&self) -> f64 {
        self.wheelbase
    }

    /// The wheel angle at steering 1, in radians.
    pub fn steering_range(&self) -> f64 {
        self.steering_range
    }

    /// The points of (m/s, throttle), both rising from (0, 0).
    pub fn curve(&self) -> &[(f64, f64)] {
        &self.curve
    }

    /// Steering and throttle for `controls`, clamped to -1..=1, so that the car also drives with a
    /// network that slightly exceeds the range. If a number of `controls` is not finite, both
    /// results are NaN, which the guard rejects.
    pub fn mix(&self, controls: Controls) -> (f32, f32) {
        let (Controls::Twist {
            speed: first,
            yaw_rate: second,
        }
        | Controls::Direct {
            steering: first,
            throttle: second,
        }) = controls;
        if !(first.is_finite() && second.is_finite()) {
            return (f32::NAN, f32::NAN);
        }
        match controls {
            Controls::Direct { steering, throttle } => {
                (steering.clamp(-1.0, 1.0), throttle.clamp(-1.0, 1.0))
            }
            Controls::Twist { speed, yaw_rate } => {
                let (speed, yaw_rate) = (f64::from(speed), f64::from(yaw_rate));
                let at_speed = if speed.abs() < STEERABLE_SPEED {
                    STEERABLE_SPEED.copysign(speed)
                } else {
                    speed
                };
                let angle = libm::atan(self.wheelbase * yaw_rate / at_speed);
                let steering = (angle / self.steering_range).clamp(-1.0, 1.0);
                (steering as f32, self.throttle(speed) as f32)
            }
        }
    }

    /// The speed (m/s) and yaw rate (rad/s) for `steering` and `throttle`: the inverse of
    /// [`mix`](Self::mix) within the car's limits.
    pub fn twist(&self, steering: f32, throttle: f32) -> (f64, f64) {
        let speed = self.speed(f64::from(throttle));
        let angle = f64::from(steering) * self.steering_range;
        (speed, speed * libm::tan(angle) / self.wheelbase)
    }

    /// The steady speed (m/s) at `throttle`.
    pub fn speed(&self, throttle: f64) -> f64 {
        interpolate(self.curve.iter().map(|&(v, t)| (t, v)), throttle)
    }

    /// The throttle for the steady speed `speed` (m/s).
    pub fn throttle(&self, speed: f64) -> f64 {
        interpolate(self.curve.iter().copied(), speed)
    }
}

/// Piecewise linear interpolation, odd (mirrored below zero), constant beyond the last point.
fn interpolate(points: impl Iterator<Item = (f64, f64)>, at: f64) -> f64 {
    if at.is_nan() {
        return at;
    }
    let x = at.abs();
    let mut before = (0.0, 0.0);
    for point in points {
        if x <= point.0 {
            let span = point.0 - before.0;
            let fraction = if span > 0.0 {
                (x - before.0) / span
            } else {
                0.0
            };
            return (before.1 + fraction * (point.1 - before.1)).copysign(at);
        }
        before = point;
    }
    before.1.copysign(at)
}

#[cfg(test)]
mod tests;
