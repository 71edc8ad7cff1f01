//! The inertial unit that car.toml names.

use super::{Finding, Level, System};
use crate::sensors::{self, ImuConfig, iio};

const PART: &str = "IMU";

/// What the sensors of `config` read now.
pub(super) fn finding(system: &System, config: &ImuConfig) -> Finding {
    match sensors::read_once(config, &system.path(iio::DEVICES)) {
        Ok(numbers) => Finding::fine(PART, numbers),
        Err(error) => Finding::wrong(
            PART,
            Level::Problem,
            error.to_string(),
            "an engine that gets what it measures does not drive without it: docs/car.md, `[imu]`",
        ),
    }
}
