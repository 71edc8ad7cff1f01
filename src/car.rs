//! car.toml: the car, its camera, its engine, its actuator and its limits.
//!
//! [`Settings`] is the file as written, [`Car`] is the checked car. docs/car.md describes every
//! key.

mod camera;
mod circuit;
mod gamepad;
mod imu;
mod lidar;
mod range;
mod settings;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_camera::CameraConfig;
use pilotage_config::{ConfigError, FileKind, LONGEST_FILE, ReadError, Source};
use pilotage_drivelog::Keep;
use pilotage_engine::InstructionSet;
use pilotage_guard::drivers::ActuatorSettings;
use pilotage_guard::{GuardedCar, Identity, Limits, canonical};
use pilotage_lidar::LidarConfig;
use pilotage_simulator::{
    Appearance, CameraSpec, CarKind, Circuit, CircuitError, LidarSpec, SensorSpec, World,
};
use pilotage_vehicle::Mixer;
use tensorrt_rs::{Transfer, Wait};

use crate::sensors::ImuConfig;
use crate::signature::Trust;
use crate::simulation::{Latency, Pace};
use pilotage_gamepad::GamepadConfig;

pub use gamepad::GamepadSettings;
pub use imu::ImuSettings;
pub use lidar::{LidarKind, LidarSettings};
pub use settings::{
    BackendKind, CameraSettings, CarPreset, CarSettings, ControlSetting, EngineSettings, GpuMemory,
    Kind, LogKeep, LogSettings, MixerSettings, OnGpuFailure, Settings, SimulatorSettings,
};
pub(crate) use validate::named_instruction_set;

/// The car.toml that is used when none is given: the simulated car on the circuit `simple`.
pub const DEFAULT: &str = include_str!("car/default.toml");

/// A checked car.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Car {
    /// The car's name.
    pub name: String,
    /// How the simulated car responds to commands.
    pub kind: CarKind,
    /// The car's geometry.
    pub mixer: Mixer,
    /// The simulated camera.
    pub camera: CameraSpec,
    /// The physical camera that replaces the simulated one, if there is one.
    pub capture: Option<CameraConfig>,
    /// The circuit and the settings of the simulator.
    pub simulator: Simulator,
    /// The engine that drives the car.
    pub engine: EngineSource,
    /// Which signatures an engine file needs.
    pub trust: Trust,
    /// The number of threads that the engine may use.
    pub threads: usize,
    /// The instruction set that the engine uses; `None` for the best that the machine has.
    pub instruction_set: Option<InstructionSet>,
    /// What runs the engine.
    pub backend: Backend,
    /// The limits that the guard enforces.
    pub limits: Limits,
    /// The car's actuator.
    pub actuator: ActuatorSettings,
    /// The guard's socket.
    pub socket: PathBuf,
    /// The car's file, and what pilot and guard must agree on.
    pub origin: Origin,
    /// The operator's gamepad, if car.toml has one.
    pub gamepad: Option<GamepadConfig>,
    /// The inertial unit of a physical car, if car.toml has one.
    pub imu: Option<ImuConfig>,
    /// The lidar of a physical car, if car.toml has one.
    pub lidar: Option<LidarConfig>,
    /// The drive log.
    pub log: LogConfig,
}

/// The drive log, as car.toml describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// What is kept; `None` for nothing.
    pub keep: Option<Keep>,
    /// The logs' folder; `None` for the user's.
    pub folder: Option<PathBuf>,
    /// Most logs in the folder.
    pub most_logs: usize,
    /// Most bytes of all logs in the folder.
    pub most_bytes: u64,
}

/// Where a car's settings come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as a canonical path.
    pub file: PathBuf,
    /// What pilot and guard must agree on, as written in the file. Options of the command line do
    /// not change it.
    pub identity: Identity,
}

impl Origin {
    fn of(source: &Source<'_>, file: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            file: canonical(Path::new(file)),
            identity: Identity::of_file(source)?,
        })
    }
}

/// What runs the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, through TensorRT.
    TensorRt {
        /// The time limit of an answer.
        limit: Duration,
        /// What happens when the GPU does not answer.
        on_failure: OnGpuFailure,
        /// How the GPU is used.
        gpu: Gpu,
    },
}

/// How the GPU is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpu {
    /// How a frame is transferred to the GPU; `None` for the device's default.
    pub transfer: Option<Transfer>,
    /// What the CPU does while it waits for an answer.
    pub wait: Wait,
    /// How long the engine may take to start.
    pub start: Duration,
}

/// Where the engine comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSource {
    /// The compiled-in engine of this name.
    BuiltIn(String),
    /// An .engine file.
    File(PathBuf),
}

/// Where the circuit comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CircuitSource {
    /// A circuit that ships with Pilotage.
    Shipped(String),
    /// A random circuit, generated from [`Simulator::seed`].
    Random,
    /// A .toml or .csv file.
    File(PathBuf),
}

/// The circuit and the settings of a simulated drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    /// The circuit.
    pub circuit: CircuitSource,
    /// Width of the road in metres; `None` for the circuit's own.
    pub road_width: Option<f64>,
    /// Width of the line in metres; `None` for the circuit's own.
    pub line_width: Option<f64>,
    /// Seed of the random circuit and of the camera's noise.
    pub seed: u64,
    /// Seed of random colours and light; `None` for the default ones.
    pub appearance_seed: Option<u64>,
    /// The number of laps to drive.
    pub laps: u32,
    /// The pace of simulated time relative to the wall clock.
    pub pace: Pace,
    /// The latency from a frame to its command.
    pub latency: Latency,
    /// The simulated time after which the run ends.
    pub time_limit: Duration,
    /// How good the car's sensors are.
    pub sensors: SensorSpec,
    /// What the car's lidar is like.
    pub lidar: LidarSpec,
    /// Whether the lidar is on even for an engine that gets no scan.
    pub lidar_always: bool,
}

/// Why a car cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CarError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// No circuit of this name ships with Pilotage.
    #[error(
        "there is no circuit `{0}`: {hint}",
        hint = pilotage_config::suggest(.0, Circuit::shipped_names().iter().copied())
    )]
    NoCircuit(String),
    /// The circuit's file is not valid.
    #[error("{path}: {reason}")]
    Circuit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: CircuitError,
    },
}

impl Car {
    /// Loads the car that `path` describes. Missing keys have their defaults. Relative paths in the
    /// file are resolved from its folder.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is not valid. The message names file, line and key.
    pub fn load(path: &Path) -> Result<Self, CarError> {
        Self::load_with(Some(path), |_| ())
    }

    /// Loads the car of `path`, or the default car, and changes its settings with `adjust`, as a
    /// command line does. Relative paths that `adjust` sets are resolved from the file's folder
    /// too; make them absolute to resolve them from elsewhere.
    ///
    /// # Errors
    /// Fails if the file is not valid as it is, or not after `adjust`. Errors after `adjust` name
    /// the command line instead of a file.
    pub fn load_with(
        path: Option<&Path>,
        adjust: impl FnOnce(&mut Settings),
    ) -> Result<Self, CarError> {
        let (name, text, folder) = match path {
            Some(path) => (
                path.display().to_string(),
                pilotage_config::read(path, LONGEST_FILE)?,
                path.parent().unwrap_or(Path::new("")),
            ),
            None => ("car.toml".to_owned(), DEFAULT.to_owned(), Path::new("")),
        };
        let source = Source::new(&name, &text);
        let mut settings: Settings = source.parse_as(FileKind::Car)?;
        let origin = Origin::of(&source, &name)?;
        let car = validate::car(&settings, &source, folder, &origin)?;
        let written = settings.clone();
        adjust(&mut settings);
        if settings == written {
            return Ok(car);
        }
        Ok(validate::car(
            &settings,
            &Source::new("command line", ""),
            folder,
            &origin,
        )?)
    }

    /// Parses the car that `text` describes. `file` is its name in messages. Relative paths in it
    /// are resolved from the current folder.
    ///
    /// # Errors
    /// Fails if the text is not valid.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CarError> {
        let source = Source::new(file, text);
        let settings = source.parse_as(FileKind::Car)?;
        let origin = Origin::of(&source, file)?;
        Ok(validate::car(&settings, &source, Path::new(""), &origin)?)
    }

    /// The part of the car that its guard needs.
    pub fn guarded(&self) -> GuardedCar {
        GuardedCar {
            limits: self.limits,
            actuator: self.actuator.clone(),
            socket: self.socket.clone(),
            file: self.origin.file.clone(),
            identity: self.origin.identity.clone(),
        }
    }

    /// Loads or generates the car's circuit.
    ///
    /// # Errors
    /// Fails if the circuit's file cannot be read or is not valid.
    pub fn circuit(&self) -> Result<Circuit, CarError> {
        circuit::make(&self.simulator)
    }

    /// Builds the simulated world, with the car at the start.
    ///
    /// # Errors
    /// As [`circuit`](Self::circuit).
    pub fn world(&self) -> Result<World, CarError> {
        let Simulator {
            seed,
            appearance_seed,
            laps,
            time_limit,
            sensors,
            lidar,
            lidar_always,
            ..
        } = self.simulator;
        let appearance = appearance_seed.map_or_else(Appearance::default, Appearance::random);
        let limits = pilotage_simulator::Limits {
            laps,
            seconds: time_limit.as_secs_f64(),
        };
        let (circuit, mixer) = (self.circuit()?, self.mixer.clone());
        let world = World::new(circuit, &appearance, &self.camera, self.kind, mixer)
            .with_limits(limits)
            .with_sensors(sensors)
            .with_seed(seed);
        Ok(match lidar_always {
            true => world.with_lidar(lidar),
            false => world,
        })
    }
}

#[cfg(test)]
mod tests;
