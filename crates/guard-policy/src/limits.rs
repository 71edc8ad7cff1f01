//! The limits of a car's commands and their timing, separate from the code that enforces them.

use std::time::Duration;

use pilotage_vehicle::Domain;
use serde::{Deserialize, Serialize};

/// One channel's values, all normalized to -1..=1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Value while armed without a command, and when stopped. 0 for throttle.
    pub failsafe: f32,
    /// Value while disarmed. 0 for throttle.
    pub disarmed: f32,
    /// The least output; a plausible command below it is clamped to it.
    pub min: f32,
    /// The greatest output; for throttle, the throttle limit.
    pub max: f32,
    /// Largest change of the value per second while driving. A stop is not limited by it.
    pub slew_per_second: f32,
}

/// A car's limits before they are checked by [`Limits::new`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LimitsSpec {
    /// The steering channel.
    pub steering: Channel,
    /// The throttle channel.
    pub throttle: Channel,
    /// Time from one camera frame to the next.
    pub frame_period: Duration,
    /// The longest time from the last good command until the car is in failsafe. From 3 to 20 frame
    /// periods.
    pub deadline: Duration,
    /// How long the actuator may take to act on a write (a PCA9685: one cycle,
    /// 20 ms at 50 Hz). The guard stops this much before the deadline.
    pub actuator_delay: Duration,
    /// The greatest age of a command when it reaches the guard, counted from the
    /// capture of its frame. At most the deadline.
    pub max_age: Duration,
    /// How long an armed guard waits for the first good command before it stops the car. From the
    /// deadline to a minute.
    pub first_command: Duration,
    /// How long a stop brakes a car that was driving ahead, before failsafe; zero for a car without
    /// a brake. At most two seconds.
    pub brake: Duration,
    /// What the actuator moves. A physical actuator is never armed for an engine trained in the
    /// simulator.
    pub actuator: Domain,
}

impl LimitsSpec {
    /// A simulated car at 20 frames a second, with the shortest deadline. The default of car.toml is
    /// longer.
    pub const fn simulated() -> Self {
        let steering = Channel {
            failsafe: 0.0,
            disarmed: 0.0,
            min: -1.0,
            max: 1.0,
            // Lock to lock within one frame.
            slew_per_second: 40.0,
        };
        Self {
            steering,
            throttle: Channel {
                slew_per_second: 20.0,
                ..steering
            },
            frame_period: Duration::from_millis(50),
            deadline: Duration::from_millis(150),
            actuator_delay: Duration::ZERO,
            max_age: Duration::from_millis(150),
            first_command: Duration::from_secs(2),
            brake: Duration::ZERO,
            actuator: Domain::Simulated,
        }
    }
}

/// The longest time for which a stop may brake.
const LONGEST_BRAKE: Duration = Duration::from_secs(2);

/// Checked limits, which a guard requires.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits(LimitsSpec);

/// Why limits are refused.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum LimitsError {
    /// A value of a channel is NaN or outside -1..=1.
    #[error("{channel}: `{key}` must lie between -1 and 1, not {value}")]
    Value {
        /// `steering` or `throttle`.
        channel: &'static str,
        /// The key.
        key: &'static str,
        /// The given value.
        value: f32,
    },
    /// `min` is above `max`.
    #[error("{channel}: `min` ({min}) must not be above `max` ({max})")]
    Range {
        /// `steering` or `throttle`.
        channel: &'static str,
        /// The given value.
        min: f32,
        /// The given value.
        max: f32,
    },
    /// `failsafe` or `disarmed` is outside `min` to `max`.
    #[error("{channel}: `{key}` ({value}) must lie between `min` ({min}) and `max` ({max})")]
    OutsideRange {
        /// `steering` or `throttle`.
        channel: &'static str,
        /// The key.
        key: &'static str,
        /// The given value.
        value: f32,
        /// The channel's least value.
        min: f32,
        /// The channel's greatest value.
        max: f32,
    },
    /// The slew rate is not a positive number.
    #[error("{channel}: `slew_per_second` must be a positive number, not {value}")]
    Slew {
        /// `steering` or `throttle`.
        channel: &'static str,
        /// The given value.
        value: f32,
    },
    /// A stopped or disarmed car would move.
    #[error(
        "throttle: `{key}` must be 0, not {value}: a car that is not driving must not \
         move (brakes are applied by the actuator)"
    )]
    Moving {
        /// The key.
        key: &'static str,
        /// The given value.
        value: f32,
    },
    /// The frame period is zero.
    #[error("the frame period must be longer than zero; set the camera's frame rate")]
    FramePeriod,
    /// The deadline is under 3 or over 20 frame periods.
    #[error(
        "the deadline must be from 3 to 20 frame periods, here {} to {} ms, not {} ms",
        millis(*.least), millis(*.most), millis(*.deadline)
    )]
    Deadline {
        /// The given value.
        deadline: Duration,
        /// 3 frame periods.
        least: Duration,
        /// 20 frame periods.
        most: Duration,
    },
    /// The actuator is too slow for the deadline.
    #[error(
        "the actuator takes {} ms to act, which leaves under one frame period of the {} ms \
         deadline: set a longer deadline",
        millis(*.actuator_delay), millis(*.deadline)
    )]
    ActuatorDelay {
        /// The given value.
        actuator_delay: Duration,
        /// The deadline.
        deadline: Duration,
    },
    /// The greatest age of a command is zero or beyond the deadline.
    #[error(
        "the greatest age of a command must be above 0 and at most the deadline ({} ms), not {} ms",
        millis(*.deadline), millis(*.max_age)
    )]
    MaxAge {
        /// The given value.
        max_age: Duration,
        /// The deadline.
        deadline: Duration,
    },
    /// A stop would brake for more than two seconds.
    #[error(
        "a stop may brake for at most {} ms, not {} ms",
        millis(LONGEST_BRAKE), millis(*.brake)
    )]
    Brake {
        /// The given value.
        brake: Duration,
    },
    /// The wait for the first command is shorter than the deadline or longer than a minute.
    #[error(
        "the wait for the first command must be from the deadline ({} ms) to 60000 ms, not {} ms",
        millis(*.deadline), millis(*.first_command)
    )]
    FirstCommand {
        /// The given value.
        first_command: Duration,
        /// The deadline.
        deadline: Duration,
    },
}

/// Milliseconds with three decimal places: the nearest f64 prints without further digits.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

impl Limits {
    /// Checks `spec`.
    ///
    /// # Errors
    /// The first value that is invalid or unsafe.
    pub fn new(spec: LimitsSpec) -> Result<Self, LimitsError> {
        check_channel("steering", &spec.steering)?;
        check_channel("throttle", &spec.throttle)?;
        for (key, value) in [
            ("failsafe", spec.throttle.failsafe),
            ("disarmed", spec.throttle.disarmed),
        ] {
            if value != 0.0 {
                return Err(LimitsError::Moving { key, value });
            }
        }
        check_times(&spec)?;
        Ok(Self(spec))
    }

    /// A simulated car at 20 frames a second, with the shortest deadline. The default of car.toml is
    /// longer.
    pub const fn simulated() -> Self {
        Self(LimitsSpec::simulated())
    }

    /// The checked limits.
    pub const fn spec(&self) -> &LimitsSpec {
        &self.0
    }

    /// The time from the last good command to the guard's decision to stop: the deadline minus the
    /// actuator's delay.
    pub const fn patience(&self) -> Duration {
        self.0.deadline.saturating_sub(self.0.actuator_delay)
    }
}

fn check_channel(channel: &'static str, values: &Channel) -> Result<(), LimitsError> {
    let &Channel {
        failsafe,
        disarmed,
        min,
        max,
        slew_per_second,
    } = values;
    for (key, value) in [
        ("min", min),
        ("max", max),
        ("failsafe", failsafe),
        ("disarmed", disarmed),
    ] {
        if !(-1.0..=1.0).contains(&value) {
            return Err(LimitsError::Value {
                channel,
                key,
                value,
            });
        }
    }
    if min > max {
        return Err(LimitsError::Range { channel, min, max });
    }
    for (key, value) in [("failsafe", failsafe), ("disarmed", disarmed)] {
        if !(min..=max).contains(&value) {
            return Err(LimitsError::OutsideRange {
                channel,
                key,
                value,
                min,
                max,
            });
        }
    }
    if !(slew_per_second > 0.0 && slew_per_second.is_finite()) {
        return Err(LimitsError::Slew {
            channel,
            value: slew_per_second,
        });
    }
    Ok(())
}

fn check_times(spec: &LimitsSpec) -> Result<(), LimitsError> {
    let &LimitsSpec {
        frame_period,
        deadline,
        actuator_delay,
        max_age,
        first_command,
        brake,
        ..
    } = spec;
    if frame_period.is_zero() {
        return Err(LimitsError::FramePeriod);
    }
    let least = frame_period.saturating_mul(3);
    let most = frame_period.saturating_mul(20);
    if !(least..=most).contains(&deadline) {
        return Err(LimitsError::Deadline {
            deadline,
            least,
            most,
        });
    }
    if deadline.saturating_sub(actuator_delay) < frame_period {
        return Err(LimitsError::ActuatorDelay {
            actuator_delay,
            deadline,
        });
    }
    if max_age.is_zero() || max_age > deadline {
        return Err(LimitsError::MaxAge { max_age, deadline });
    }
    if brake > LONGEST_BRAKE {
        return Err(LimitsError::Brake { brake });
    }
    if first_command < deadline || first_command > Duration::from_secs(60) {
        return Err(LimitsError::FirstCommand {
            first_command,
            deadline,
        });
    }
    Ok(())
}

impl Channel {
    /// Clamps `value` to `min..=max`.
    pub(crate) const fn limit(&self, value: f32) -> f32 {
        value.clamp(self.min, self.max)
    }

    /// Moves `value` towards `target` as far as the slew rate allows in `elapsed`. The result never
    /// passes the target, also with rounding.
    pub(crate) fn approach(&self, value: f32, target: f32, elapsed: Duration) -> f32 {
        let step = self.slew_per_second * elapsed.as_secs_f32();
        let distance = target - value;
        if distance.abs() <= step {
            target
        } else {
            value + step.copysign(distance)
        }
    }
}

#[cfg(test)]
mod tests;
