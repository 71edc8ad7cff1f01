//! The guard's output to the motors.

use crate::Limits;

/// Which values a guard puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The car is disarmed: each channel's disarmed value.
    Disarmed,
    /// Armed and waiting, or stopped: each channel's failsafe value.
    Failsafe,
    /// Stopped a moment ago while driving ahead: the brake, where the car has one, and each channel's
    /// failsafe value.
    Brake,
    /// A good command is in force.
    Drive,
}

/// What a guard writes to its actuator, both channels normalized.
///
/// `mode` is for actuators whose hardware needs more than a number when the car is disarmed or
/// stopped: no pulse at all, or a brake.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Output {
    /// Which values these are.
    pub mode: Mode,
    /// -1 (full right) to 1 (full left).
    pub steering: f32,
    /// -1 (full reverse) to 1 (full ahead).
    pub throttle: f32,
}

impl Output {
    /// Each channel's disarmed value.
    pub const fn disarmed(limits: &Limits) -> Self {
        let spec = limits.spec();
        Self {
            mode: Mode::Disarmed,
            steering: spec.steering.disarmed,
            throttle: spec.throttle.disarmed,
        }
    }

    /// Each channel's failsafe value.
    pub const fn failsafe(limits: &Limits) -> Self {
        let spec = limits.spec();
        Self {
            mode: Mode::Failsafe,
            steering: spec.steering.failsafe,
            throttle: spec.throttle.failsafe,
        }
    }

    /// Each channel's failsafe value, with the brake on.
    pub const fn brake(limits: &Limits) -> Self {
        Self {
            mode: Mode::Brake,
            ..Self::failsafe(limits)
        }
    }
}
