//! car.toml as written. docs/car.md has each key's unit, range and default.

use std::collections::BTreeMap;

use pilotage_guard::actuators::ActuatorSettings;
use pilotage_guard::{GuardSettings, USUAL_RATE};
use pilotage_tensorrt::Wait;
use serde::Deserialize;

use super::gamepad::GamepadSettings;
use crate::simulation::Pace;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The car itself.
    pub car: CarSettings,
    /// Its geometry.
    pub mixer: MixerSettings,
    /// Its camera.
    pub camera: CameraSettings,
    /// Its motors.
    pub actuator: ActuatorSettings,
    /// What the simulated car drives on, and how.
    pub simulator: SimulatorSettings,
    /// What it drives with.
    pub engine: EngineSettings,
    /// What it is held to.
    pub guard: GuardSettings,
    /// A person's gamepad; no one is looked for when none.
    pub gamepad: Option<GamepadSettings>,
}

/// `[car]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarSettings {
    /// What its owner calls it.
    pub name: String,
    /// How the simulated car answers its commands.
    pub kind: Kind,
}

/// How the simulated car answers its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Speed and yaw rate act at once
    Unicycle,
    /// Steered front wheels and a motor, both with a delay
    Ackermann,
}

/// `[mixer]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixerSettings {
    /// Between the axles, metres.
    pub wheelbase: f64,
    /// The wheels' angle at full steering, radians.
    pub steering_range: f64,
    /// [m/s, throttle] points, both rising from [0, 0].
    pub speed_to_throttle: Vec<[f64; 2]>,
}

/// `[camera]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraSettings {
    /// `simulator`, `v4l`, `pipe` or `folder`.
    pub kind: String,
    /// Of `v4l`: the device's node.
    pub device: Option<String>,
    /// Of `v4l` and `pipe`: the kernel's four letters for the pixels' format.
    pub format: Option<String>,
    /// Of `v4l`: controls to set, by name or number.
    pub controls: Option<BTreeMap<String, ControlSetting>>,
    /// Of `pipe`: a program and its arguments.
    pub command: Option<Vec<String>>,
    /// Of `folder`: where the pictures are.
    pub folder: Option<String>,
    /// Of `folder`: whether the first comes again after the last.
    pub repeat: Option<bool>,
    /// Milliseconds; see docs/car.md for the default.
    pub timeout_ms: Option<f64>,
    /// Identical frames that are a frozen picture; a second of them when none.
    pub frozen_frames: Option<u32>,
    /// Black frames that are a fault; a second of them when none.
    pub black_frames: Option<u32>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub rate: f64,
    /// Radians.
    pub horizontal_fov: f64,
    /// Ahead of the car's centre, metres.
    pub forward: f64,
    /// To the left of it, metres.
    pub left: f64,
    /// Above the ground, metres.
    pub up: f64,
    /// Radians, downwards.
    pub pitch: f64,
    /// Radians, to the left.
    pub yaw: f64,
    /// Radians, clockwise.
    pub roll: f64,
}

/// A value of `[camera.controls]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a control's value is a whole number, or true or false"
)]
pub enum ControlSetting {
    /// On or off.
    Switch(bool),
    /// A value, or an item's number in a menu.
    Number(i64),
}

/// `[simulator]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// A shipped circuit's name, `random`, or a .toml or .csv file.
    pub circuit: String,
    /// Metres.
    pub road_width: Option<f64>,
    /// Metres.
    pub line_width: Option<f64>,
    /// Of the random circuit and the camera's noise.
    pub seed: u64,
    /// Of random colours and light.
    pub looks: Option<u64>,
    /// Laps to drive.
    pub laps: u32,
    /// Simulated time against the wall clock.
    #[serde(with = "PaceName")]
    pub pace: Pace,
    /// Milliseconds from a frame to its command; measured when none.
    pub latency_ms: Option<f64>,
    /// Simulated seconds.
    pub time_limit: f64,
}

#[derive(Deserialize)]
#[serde(remote = "Pace", rename_all = "lowercase")]
enum PaceName {
    Real,
    Fast,
}

/// `[engine]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSettings {
    /// A compiled-in engine.
    pub name: String,
    /// An .engine file, instead.
    pub file: Option<String>,
    /// Threads it may use.
    pub threads: usize,
    /// Vector instructions it uses; the best there are when none.
    pub instruction_set: Option<String>,
    /// What runs it.
    #[serde(with = "BackendName")]
    pub backend: BackendKind,
    /// What happens when the GPU fails.
    pub fallback: OnGpuFailure,
    /// How long the GPU is waited for, milliseconds; half a frame period when none.
    pub gpu_limit_ms: Option<f64>,
    /// How a picture gets to the GPU and the answer back.
    pub gpu_memory: GpuMemory,
    /// What the processor does until the GPU has an answer.
    #[serde(with = "WaitName")]
    pub gpu_wait: Wait,
    /// How long the GPU's engine may take to be ready, seconds.
    pub gpu_start_s: f64,
    /// minisign public keys: any of them may have signed the file.
    pub trusted_keys: Vec<String>,
    /// Whether the file has to be signed.
    pub require_signature: bool,
}

/// What runs an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// The processor
    Cpu,
    /// NVIDIA's GPU, by TensorRT
    #[value(name = "tensorrt")]
    TensorRt,
}

#[derive(Deserialize)]
#[serde(remote = "BackendKind", rename_all = "lowercase")]
enum BackendName {
    Cpu,
    TensorRt,
}

/// What happens when the GPU does not answer, or cannot be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGpuFailure {
    /// The CPU answers in its place
    Cpu,
    /// The car stops
    Stop,
}

/// How a picture gets to the GPU and the answer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuMemory {
    /// Mapped where the GPU shares the processor's memory, copied elsewhere
    Auto,
    /// The GPU reads and writes the processor's memory
    Mapped,
    /// Copies on the stream
    Copied,
}

#[derive(Deserialize)]
#[serde(remote = "Wait", rename_all = "lowercase")]
enum WaitName {
    Spin,
    Sleep,
}

impl Default for CarSettings {
    fn default() -> Self {
        Self {
            name: "simulated car".to_owned(),
            kind: Kind::Unicycle,
        }
    }
}

impl Default for MixerSettings {
    fn default() -> Self {
        Self {
            wheelbase: 0.33,
            steering_range: 0.42,
            speed_to_throttle: vec![[0.0, 0.0], [24.0, 1.0]],
        }
    }
}

impl Default for CameraSettings {
    fn default() -> Self {
        Self {
            kind: "simulator".to_owned(),
            device: None,
            format: None,
            controls: None,
            command: None,
            folder: None,
            repeat: None,
            timeout_ms: None,
            frozen_frames: None,
            black_frames: None,
            width: 640,
            height: 480,
            rate: USUAL_RATE,
            horizontal_fov: 1.57,
            forward: 0.45,
            left: 0.0,
            up: 0.10,
            pitch: 0.0,
            yaw: 0.0,
            roll: 0.0,
        }
    }
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            circuit: "simple".to_owned(),
            road_width: None,
            line_width: None,
            seed: 0,
            looks: None,
            laps: 1,
            pace: Pace::Real,
            latency_ms: None,
            time_limit: 600.0,
        }
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            name: "pilotnet".to_owned(),
            file: None,
            threads: 1,
            instruction_set: None,
            backend: BackendKind::Cpu,
            fallback: OnGpuFailure::Cpu,
            gpu_limit_ms: None,
            gpu_memory: GpuMemory::Auto,
            gpu_wait: Wait::Spin,
            gpu_start_s: 60.0,
            trusted_keys: Vec::new(),
            require_signature: false,
        }
    }
}
