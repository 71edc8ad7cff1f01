//! What this machine has and lacks for driving, part by part, with the fix for each lack.

mod cameras;
mod devices;
mod gamepad;
mod gpu;
mod machine;
mod system;

use pilotage_guard::actuators;
use serde::Serialize;

use crate::camera::Source;
use crate::car::{Backend, Car};
use crate::gamepad::GamepadConfig;

pub use gpu::Gpu;
pub use system::System;

/// How much a finding matters. Later ones matter more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Not there, and not needed by this car.
    Absent,
    /// It drives, though not as well as it could.
    Warning,
    /// This car cannot drive like that.
    Problem,
}

impl Level {
    /// For people, of one width.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Absent => "-",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, such as `camera`.
    pub part: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What a person can do about it.
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

    /// Something that is missing: a problem where it is needed.
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

/// What a car cannot drive without.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// A camera of the system's.
    pub camera: bool,
    /// An I2C bus.
    pub i2c: bool,
    /// A GPU; `true` too where the CPU may answer in its place.
    pub gpu: bool,
    /// A person's gamepad: an engine drives without.
    pub gamepad: Option<GamepadConfig>,
}

impl Needs {
    /// Those of `car`.
    pub fn of(car: &Car) -> Self {
        let source = car.capture.as_ref().map(|capture| &capture.source);
        Self {
            // A picture from a command or a folder, and the simulator's, needs no device.
            camera: matches!(source, Some(Source::V4l(_))),
            i2c: car.actuator.kind == actuators::Kind::Pca9685,
            gpu: matches!(car.backend, Backend::TensorRt { .. }),
            gamepad: car.gamepad.clone(),
        }
    }
}

/// Looks at everything. Nothing is changed and nothing moves: devices are opened, not
/// written to.
pub fn examine(system: &System, gpu: &Gpu, needs: &Needs) -> Vec<Finding> {
    let mut findings = machine::findings(system);
    findings.extend(devices::findings(system, needs));
    findings.extend(gpu.findings(needs.gpu));
    findings
}

#[cfg(test)]
mod tests;
