//! Checks this machine part by part for what driving needs, with a fix for each problem.

mod cameras;
mod devices;
mod gamepad;
mod gpu;
mod machine;
mod system;

use pilotage_guard::drivers;
use serde::Serialize;

use crate::car::{Backend, Car};
use crate::gamepad::GamepadConfig;
use pilotage_camera::Source;

pub use gpu::Gpu;
pub use system::System;

/// The severity of a finding, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Not there, and not needed by this car.
    Absent,
    /// The car drives, though not as well as it could.
    Warning,
    /// This car cannot drive.
    Problem,
}

impl Level {
    /// The text for people, with a fixed width.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Absent => "-",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The part, such as `camera`.
    pub part: &'static str,
    /// The severity.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// How to fix it.
    pub fix: Option<String>,
}

impl Finding {
    fn fine(part: &'static str, found: impl Into<String>) -> Self {
        Self {
            part,
            level: Level::Fine,
            found: found.into(),
            fix: None,
        }
    }

    fn wrong(
        part: &'static str,
        level: Level,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            part,
            level,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// A finding for a missing part: a problem if it is needed.
    fn missing(
        part: &'static str,
        needed: bool,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let level = match needed {
            true => Level::Problem,
            false => Level::Absent,
        };
        Self::wrong(part, level, found, fix)
    }
}

/// The parts that a car needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// A camera of the system.
    pub camera: bool,
    /// An I2C bus.
    pub i2c: bool,
    /// A GPU; also `true` if the CPU may answer in its place.
    pub gpu: bool,
    /// The operator's gamepad; an engine drives without one.
    pub gamepad: Option<GamepadConfig>,
}

impl Needs {
    /// The needs of `car`.
    pub fn of(car: &Car) -> Self {
        let source = car.capture.as_ref().map(|capture| &capture.source);
        Self {
            // The simulator, a command or a folder needs no device.
            camera: matches!(source, Some(Source::V4l(_))),
            i2c: car.actuator.kind == drivers::Kind::Pca9685,
            gpu: matches!(car.backend, Backend::TensorRt { .. }),
            gamepad: car.gamepad.clone(),
        }
    }
}

/// Examines everything. Nothing is changed and nothing moves: devices are opened, not written to.
pub fn examine(system: &System, gpu: &Gpu, needs: &Needs) -> Vec<Finding> {
    let mut findings = machine::findings(system);
    findings.extend(devices::findings(system, needs));
    findings.extend(gpu.findings(needs.gpu));
    findings
}

#[cfg(test)]
mod tests;
