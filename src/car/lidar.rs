//! `[lidar]`: as written, and checked.

use std::path::Path;

use pilotage_config::{ConfigError, Source};
use pilotage_guard::drivers::ActuatorSettings;
use pilotage_lidar::{LidarConfig, Sector};
use serde::Deserialize;

use super::range::within;

/// `[lidar]`: the lidar of a physical car.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LidarSettings {
    /// The lidar's packets.
    pub kind: LidarKind,
    /// The serial port; needed.
    pub port: Option<String>,
    /// The lidar's angle that points ahead, degrees.
    pub forward: f64,
    /// Whether it is mounted with its top down.
    pub upside_down: bool,
    /// The rays of a scan, over a full turn.
    pub rays: usize,
    /// Sectors of [from, to], degrees, in which the lidar sees the car.
    pub mask: Vec<[f64; 2]>,
}

/// A family of lidars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LidarKind {
    /// LDROBOT's LD06, LD19 and STL-19P
    Ld06,
}

/// The most masked sectors.
const SECTORS: usize = 16;

impl Default for LidarSettings {
    fn default() -> Self {
        Self {
            kind: LidarKind::Ld06,
            port: None,
            forward: 0.0,
            upside_down: false,
            rays: 450,
            mask: Vec::new(),
        }
    }
}

/// The lidar that `written` describes.
pub(super) fn lidar(
    source: &Source<'_>,
    written: &LidarSettings,
    folder: &Path,
    actuator: &ActuatorSettings,
) -> Result<LidarConfig, ConfigError> {
    let LidarKind::Ld06 = written.kind;
    let port = match written.port.as_deref() {
        Some(port) if !port.is_empty() && !port.contains('\0') => folder.join(port),
        _ => {
            return Err(source.error(
                "lidar.port",
                "is needed: name the lidar's serial port (`ls /dev/serial/by-id`)",
            ));
        }
    };
    if actuator.device() == Some(&*port) {
        return Err(source.error("lidar.port", "is the port of the actuator"));
    }
    if written.mask.len() > SECTORS {
        return Err(source.error("lidar.mask", format!("has more than {SECTORS} sectors")));
    }
    let mut mask = Vec::new();
    for (index, &[from, to]) in written.mask.iter().enumerate() {
        let angle = |end, value| {
            let key = format!("lidar.mask.{index}.{end}");
            within(source, &key, value, -180.0..=180.0)
        };
        let (from, to) = (angle(0, from)?, angle(1, to)?);
        mask.push(Sector { from, to });
    }
    Ok(LidarConfig {
        port,
        forward: within(source, "lidar.forward", written.forward, -360.0..=360.0)?,
        is_upside_down: written.upside_down,
        rays: within(source, "lidar.rays", written.rays, 90..=2000)?,
        mask,
    })
}
