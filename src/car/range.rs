//! Ranges and units of the numbers in car.toml.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use pilotage_config::{ConfigError, Source};

/// `value`, if it is within `range`; NaN is never within it.
pub(super) fn within<T: PartialOrd + fmt::Display>(
    source: &Source<'_>,
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start(), range.end());
    Err(source.error(
        key,
        format!("must be from {least} to {most}, and is {value}"),
    ))
}

pub(super) fn milliseconds(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}
