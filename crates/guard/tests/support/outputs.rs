//! Times and outputs of the drivers' tests.

#![allow(dead_code, reason = "each test uses a part of this module")]

use pilotage_guard::{Mode, Output};
use pilotage_vehicle::Time;

/// The time `millis` after a start that is not 0, so that an unset time can be distinguished.
pub fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000 * (millis + 1))
}

pub fn output(mode: Mode, steering: f32, throttle: f32) -> Output {
    Output {
        mode,
        steering,
        throttle,
    }
}

pub const FAILSAFE: Output = Output {
    mode: Mode::Failsafe,
    steering: 0.0,
    throttle: 0.0,
};
pub const DISARMED: Output = Output {
    mode: Mode::Disarmed,
    ..FAILSAFE
};
