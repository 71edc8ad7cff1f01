//! car.toml: what the car is, what it sees with, what drives it, what it may do.
//!
//! [`Settings`] is the file as written, [`Car`] what it means once checked.
//! docs/car.md describes every key.

mod camera;
mod circuit;
mod gamepad;
mod settings;
mod validate;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_config::{ConfigError, LONGEST_FILE, ReadError, Source};
use pilotage_engine::InstructionSet;
use pilotage_guard::actuators::ActuatorSettings;
use pilotage_guard::{GuardedCar, Identity, Limits, canonical};
use pilotage_simulator::{CameraSpec, CarKind, Circuit, CircuitError, Looks, World};
use pilotage_tensorrt::{Transfer, Wait};
use pilotage_vehicle::Mixer;

use crate::camera::CameraConfig;
use crate::gamepad::GamepadConfig;
use crate::signature::Trust;
use crate::simulation::{Latency, Pace};

pub use gamepad::GamepadSettings;
pub use settings::{
    BackendKind, CameraSettings, CarSettings, ControlSetting, EngineSettings, GpuMemory, Kind,
    MixerSettings, OnGpuFailure, Settings, SimulatorSettings,
};

/// The car.toml that stands for none: the simulated car on `simple`.
pub const DEFAULT: &str = include_str!("car/default.toml");

/// What a checked car.toml describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Car {
    /// What its owner calls it.
    pub name: String,
    /// How the simulated car answers its commands.
    pub kind: CarKind,
    /// Its geometry.
    pub mixer: Mixer,
    /// The simulated camera.
    pub camera: CameraSpec,
    /// The camera in its stead, if there is one.
    pub capture: Option<CameraConfig>,
    /// What it drives on, and how.
    pub simulator: Simulator,
    /// What it drives with.
    pub engine: EngineSource,
    /// Who may have made an engine file.
    pub trust: Trust,
    /// Threads the engine may use.
    pub threads: usize,
    /// Vector instructions the engine uses; the best there are when none.
    pub instruction_set: Option<InstructionSet>,
    /// What runs the engine.
    pub backend: Backend,
    /// What the guard holds it to.
    pub limits: Limits,
    /// Its motors.
    pub actuator: ActuatorSettings,
    /// Where its guard listens.
    pub socket: PathBuf,
    /// Its file, and what pilot and guard must agree on of it.
    pub origin: Origin,
    /// A person's gamepad, if there is to be one.
    pub gamepad: Option<GamepadConfig>,
}

/// Where a car comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, by one name however it was written.
    pub file: PathBuf,
    /// What pilot and guard must agree on, as the file has it: options of the command line
    /// change nothing of that.
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
    /// The processor.
    Cpu,
    /// NVIDIA's GPU, by TensorRT.
    TensorRt {
        /// How long an answer is waited for.
        limit: Duration,
        /// What happens when there is none.
        on_failure: OnGpuFailure,
        /// How it is used.
        gpu: Gpu,
    },
}

/// How the GPU is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gpu {
    /// How a picture gets there; none: as the device suggests.
    pub transfer: Option<Transfer>,
    /// What the processor does until there is an answer.
    pub wait: Wait,
    /// How long the engine may take to be ready.
    pub start: Duration,
}

/// Where the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSource {
    /// Compiled in, by this name.
    BuiltIn(String),
    /// An .engine file.
    File(PathBuf),
}

/// Where the circuit comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CircuitSource {
    /// Ships with Pilotage.
    Shipped(String),
    /// Made from [`Simulator::seed`].
    Random,
    /// A .toml or .csv file.
    File(PathBuf),
}

/// What a simulated car drives on, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulator {
    /// Which circuit.
    pub circuit: CircuitSource,
    /// Metres; the circuit's own when none.
    pub road_width: Option<f64>,
    /// Metres; the circuit's own when none.
    pub line_width: Option<f64>,
    /// Seeds the random circuit and the camera's noise.
    pub seed: u64,
    /// Seeds random colours and light; the usual ones when none.
    pub looks: Option<u64>,
    /// Laps to drive.
    pub laps: u32,
    /// Simulated time against the wall clock.
    pub pace: Pace,
    /// What the time from a frame to its command is taken to be.
    pub latency: Latency,
    /// The run ends after this much simulated time.
    pub time_limit: Duration,
}

/// Why there is no car.
#[derive(Debug, thiserror::Error)]
pub enum CarError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is written is not sound.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// No circuit of this name ships with Pilotage.
    #[error("there is no circuit `{0}`: name one of {names}", names = Circuit::shipped_names().join(", "))]
    NoCircuit(String),
    /// The circuit's file describes no circuit.
    #[error("{path}: {reason}")]
    Circuit {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: CircuitError,
    },
}

impl Car {
    /// The car that `path` describes. Keys that are not there have their
    /// defaults; relative paths in it start from its folder.
    ///
    /// # Errors
    /// When the file cannot be read or is not sound; the message names file,
    /// line and key.
    pub fn load(path: &Path) -> Result<Self, CarError> {
        Self::load_with(Some(path), |_| ())
    }

    /// The car of `path`, or the default one, with its settings changed by
    /// `adjust`, as a command line does. Relative paths that `adjust` sets start
    /// from the file's folder too; make them absolute to start from elsewhere.
    ///
    /// # Errors
    /// When the file is not sound as it is, or not after `adjust`: those errors
    /// name the command line instead of a file.
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
        let mut settings: Settings = source.parse()?;
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

    /// The car that `text` describes; `file` is its name in messages, and
    /// relative paths in it start from the present folder.
    ///
    /// # Errors
    /// When it is not sound.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, CarError> {
        let source = Source::new(file, text);
        let settings = source.parse()?;
        let origin = Origin::of(&source, file)?;
        Ok(validate::car(&settings, &source, Path::new(""), &origin)?)
    }

    /// What its guard has to know.
    pub fn guarded(&self) -> GuardedCar {
        GuardedCar {
            limits: self.limits,
            actuator: self.actuator.clone(),
            socket: self.socket.clone(),
            file: self.origin.file.clone(),
            identity: self.origin.identity.clone(),
        }
    }

    /// The circuit it drives on, read or made.
    ///
    /// # Errors
    /// When the circuit's file cannot be read or describes none.
    pub fn circuit(&self) -> Result<Circuit, CarError> {
        circuit::make(&self.simulator)
    }

    /// The world it drives in, the car at the start.
    ///
    /// # Errors
    /// As [`circuit`](Self::circuit).
    pub fn world(&self) -> Result<World, CarError> {
        let Simulator {
            seed,
            looks,
            laps,
            time_limit,
            ..
        } = self.simulator;
        let looks = looks.map_or_else(Looks::default, Looks::random);
        let limits = pilotage_simulator::Limits {
            laps,
            seconds: time_limit.as_secs_f64(),
        };
        let (circuit, mixer) = (self.circuit()?, self.mixer.clone());
        Ok(World::new(circuit, &looks, &self.camera, self.kind, mixer)
            .with_limits(limits)
            .with_seed(seed))
    }
}

#[cfg(test)]
mod tests;
