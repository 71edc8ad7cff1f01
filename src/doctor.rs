//! Checks each part of this machine that driving needs, and suggests a fix for each problem.

mod cameras;
mod devices;
mod gamepad;
mod gpu;
mod imu;
mod lidar;
mod machine;
mod services;
mod system;
mod wifi;

use std::path::{Path, PathBuf};

use pilotage_camera::Source;
use pilotage_guard::drivers;
use pilotage_lidar::LidarConfig;
use serde::Serialize;

use crate::car::{Backend, Car, OnGpuFailure};
use crate::sensors::ImuConfig;
use pilotage_gamepad::GamepadConfig;

pub use gpu::Gpu;
pub use services::{DROP_IN, write_devices};
pub use system::System;

/// The severity of a finding, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No problem was found.
    Fine,
    /// The part is missing, and this car does not need it.
    Absent,
    /// The car drives, though not as well as it could.
    Warning,
    /// This car cannot drive.
    Problem,
}

impl Level {
    /// The text in the report for the operator, at most 7 characters.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Absent => "-",
            Self::Warning => "warning",
            Self::Problem => "PROBLEM",
        }
    }
}

/// One finding of the report.
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
    /// A camera device (V4L2).
    pub camera: bool,
    /// An I2C bus.
    pub i2c: bool,
    /// The bus and the addresses of the car's PWM chips.
    pub chips: Vec<(PathBuf, u8)>,
    /// A GPIO line, for the PCA9685's output-enable pin.
    pub gpio: bool,
    /// The port of a VESC, a Maestro or a bridge, or the PWM chip.
    pub motors: Option<PathBuf>,
    /// A command gives the frames: on a Jetson it uses NVIDIA's drivers.
    pub pipe: bool,
    /// How bad it is if there is no GPU; `None` for a car that drives with the CPU engine.
    pub gpu: Option<Level>,
    /// The operator's gamepad; an engine drives without one.
    pub gamepad: Option<GamepadConfig>,
    /// The inertial unit.
    pub imu: Option<ImuConfig>,
    /// The lidar.
    pub lidar: Option<LidarConfig>,
}

impl Needs {
    /// The needs of `car`.
    pub fn of(car: &Car) -> Self {
        let source = car.capture.as_ref().map(|capture| &capture.source);
        Self {
            // The simulator, a command or a folder needs no device.
            camera: matches!(source, Some(Source::V4l(_))),
            i2c: car.actuator.kind == drivers::Kind::Pca9685,
            chips: match (car.actuator.kind, &car.actuator.pca9685) {
                (drivers::Kind::Pca9685, Some(chip)) => {
                    let others = chip.motors.iter().map(|motors| motors.address);
                    let addresses = std::iter::once(chip.address).chain(others);
                    let bus = |address| (chip.bus.clone(), address);
                    addresses.map(bus).collect()
                }
                _ => Vec::new(),
            },
            pipe: matches!(source, Some(Source::Pipe(_))),
            gpio: output_enable(&car.actuator),
            motors: match car.actuator.kind {
                drivers::Kind::Vesc
                | drivers::Kind::Pwm
                | drivers::Kind::Maestro
                | drivers::Kind::Bridge => car.actuator.device().map(Path::to_owned),
                _ => None,
            },
            gpu: match car.backend {
                Backend::TensorRt {
                    on_failure: OnGpuFailure::Stop,
                    ..
                } => Some(Level::Problem),
                Backend::TensorRt { .. } => Some(Level::Warning),
                Backend::Cpu => None,
            },
            gamepad: car.gamepad.clone(),
            imu: car.imu.clone(),
            lidar: car.lidar.clone(),
        }
    }
}

fn output_enable(actuator: &drivers::ActuatorSettings) -> bool {
    let chip = actuator.pca9685.as_ref();
    actuator.kind == drivers::Kind::Pca9685 && chip.is_some_and(|chip| chip.output_enable.is_some())
}

/// Examines every part. Nothing is changed and nothing moves: devices are opened and read, but not
/// written.
pub fn examine(system: &System, gpu: &Gpu, needs: &Needs) -> Vec<Finding> {
    let mut findings = machine::findings(system);
    findings.extend(devices::findings(system, needs));
    findings.extend(
        needs
            .imu
            .as_ref()
            .map(|config| imu::finding(system, config)),
    );
    let lidar = needs.lidar.as_ref();
    findings.extend(lidar.map(|config| lidar::finding(system, config)));
    // A physical car is stopped over the network.
    if needs.i2c || needs.motors.is_some() {
        findings.extend(wifi::findings(system));
    }
    findings.extend(gpu.findings(needs.gpu.unwrap_or(Level::Absent)));
    let missing = match needs.gpu.is_some() || needs.pipe {
        true => Level::Warning,
        false => Level::Absent,
    };
    findings.extend(services::finding(system, missing));
    findings
}

#[cfg(test)]
mod tests;
