//! `[imu]`: as written, and checked.

use std::path::Path;

use pilotage_config::{ConfigError, Source};
use serde::Deserialize;

use super::range::within;
use crate::sensors::{Axis, ImuConfig};

/// `[imu]`: the inertial unit of a physical car.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImuSettings {
    /// The gyroscope: an IIO device's name, label or folder.
    pub gyroscope: Option<String>,
    /// The accelerometer.
    pub accelerometer: Option<String>,
    /// The sensors' axis that points ahead: `x`, `y`, `z`, `-x`, `-y` or `-z`.
    pub forward: String,
    /// The sensors' axis that points to the left.
    pub left: String,
    /// Reads a second.
    pub rate: f64,
}

impl Default for ImuSettings {
    fn default() -> Self {
        Self {
            gyroscope: None,
            accelerometer: None,
            forward: "x".to_owned(),
            left: "y".to_owned(),
            rate: 100.0,
        }
    }
}

/// The inertial unit that `written` describes.
pub(super) fn imu(
    source: &Source<'_>,
    written: &ImuSettings,
    folder: &Path,
) -> Result<ImuConfig, ConfigError> {
    let device = |key: &str, device: &Option<String>| match device.as_deref() {
        Some(name) if name.is_empty() || name.contains('\0') => {
            Err(source.error(&format!("imu.{key}"), "must not be empty"))
        }
        Some(path) if path.contains('/') => {
            Ok(Some(folder.join(path).to_string_lossy().into_owned()))
        }
        name => Ok(name.map(str::to_owned)),
    };
    let axis = |key: &str, name: &str| {
        let refused = || source.error(&format!("imu.{key}"), "must be x, y, z, -x, -y or -z");
        Axis::named(name).ok_or_else(refused)
    };
    let config = ImuConfig {
        gyroscope: device("gyroscope", &written.gyroscope)?,
        accelerometer: device("accelerometer", &written.accelerometer)?,
        forward: axis("forward", &written.forward)?,
        left: axis("left", &written.left)?,
        rate_hz: within(source, "imu.rate", written.rate, 20.0..=1000.0)?,
    };
    if config.gyroscope.is_none() && config.accelerometer.is_none() {
        return Err(source.error(
            "imu",
            "names no sensor: set `gyroscope`, `accelerometer` or both to the names of IIO devices \
             (`cat /sys/bus/iio/devices/*/name`)",
        ));
    }
    if config.forward.up(config.left).is_none() {
        return Err(source.error("imu.left", "must not be parallel to `imu.forward`"));
    }
    Ok(config)
}
