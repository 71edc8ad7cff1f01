//! car.toml as written. docs/car.md lists each key's unit, range and default.

use std::collections::BTreeMap;

use pilotage_guard::drivers::ActuatorSettings;
use pilotage_guard::{DEFAULT_RATE, GuardSettings};
use serde::Deserialize;
use tensorrt_rs::Wait;

use super::gamepad::GamepadSettings;
use super::imu::ImuSettings;
use super::lidar::LidarSettings;
use crate::simulation::Pace;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The car itself.
    pub car: CarSettings,
    /// The car's geometry.
    pub mixer: MixerSettings,
    /// The camera.
    pub camera: CameraSettings,
    /// The actuator.
    pub actuator: ActuatorSettings,
    /// The circuit and the settings of the simulator.
    pub simulator: SimulatorSettings,
    /// The engine.
    pub engine: EngineSettings,
    /// The guard's limits.
    pub guard: GuardSettings,
    /// The drive log.
    pub log: LogSettings,
    /// The operator's gamepad; `None` for no gamepad.
    pub gamepad: Option<GamepadSettings>,
    /// The inertial unit; `None` for none.
    pub imu: Option<ImuSettings>,
    /// The lidar; `None` for none.
    pub lidar: Option<LidarSettings>,
}

/// `[car]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarSettings {
    /// The car's name.
    pub name: String,
    /// How the simulated car responds to commands.
    pub kind: Kind,
    /// The car that kind `tyres` simulates.
    pub preset: CarPreset,
}

/// How the simulated car responds to commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Speed and yaw rate act at once
    Unicycle,
    /// Steered front wheels and a motor, both with a delay
    Ackermann,
    /// Tyres that slip and slide, with the motor and the servo of a known car
    Tyres,
}

/// A known car with tyres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CarPreset {
    /// A 1:10 Donkeycar on a TT-02 chassis, up to 8 m/s
    Donkeycar,
    /// The car of the F1TENTH gym, up to 19 m/s
    F1tenth,
    /// A racing kart, up to 30 m/s
    Kart,
}

/// `[mixer]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixerSettings {
    /// Between the axles, metres.
    pub wheelbase: f64,
    /// The wheels' angle at full steering, radians.
    pub steering_range: f64,
    /// Points of [m/s, throttle], both rising from [0, 0].
    pub speed_to_throttle: Vec<[f64; 2]>,
}

/// `[camera]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraSettings {
    /// `simulator`, `v4l`, `pipe` or `folder`.
    pub kind: String,
    /// For `v4l`: the device node.
    pub device: Option<String>,
    /// For `v4l` and `pipe`: the FourCC code of the pixel format; `I420` only for `pipe`.
    pub format: Option<String>,
    /// For `v4l`: controls to set, by name or number.
    pub controls: Option<BTreeMap<String, ControlSetting>>,
    /// For `pipe`: a program and its arguments.
    pub command: Option<Vec<String>>,
    /// For `pipe`: milliseconds from a frame's capture to the arrival of its first byte.
    pub latency_ms: Option<f64>,
    /// For `pipe`: bytes from one row to the next; `None` without padding.
    pub stride: Option<u32>,
    /// For `v4l` and `pipe`: milliseconds from opening the camera to its first frame, at most.
    pub first_frame_ms: Option<f64>,
    /// For `folder`: the folder of the pictures.
    pub folder: Option<String>,
    /// For `folder`: whether to start over after the last picture.
    pub repeat: Option<bool>,
    /// Milliseconds; see docs/car.md for the default.
    pub timeout_ms: Option<f64>,
    /// How many identical frames count as a frozen picture; `None` for one second of frames,
    /// at least 10.
    pub frozen_frames: Option<u32>,
    /// How many black frames count as a fault; `None` for one second of frames, at
    /// least 10.
    pub black_frames: Option<u32>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub rate: f64,
    /// Radians.
    pub horizontal_fov: f64,
    /// Ahead of the car's centre, metres.
    pub forward: f64,
    /// Left of the car's centre, metres.
    pub left: f64,
    /// Above the ground, metres.
    pub up: f64,
    /// Radians, downwards.
    pub pitch: f64,
    /// Radians, to the left.
    pub yaw: f64,
    /// Radians, clockwise about the optical axis, seen from behind the camera.
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
    /// A value, or the index of a menu item.
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
    /// Seed of the random circuit and of the camera's noise.
    pub seed: u64,
    /// Seed of random colours and light.
    #[serde(rename = "looks")]
    pub appearance_seed: Option<u64>,
    /// Coefficient of friction between tyres and ground; `None` for the preset's.
    pub friction: Option<f64>,
    /// Seed of a random coefficient of friction.
    pub friction_seed: Option<u64>,
    /// The number of laps to drive.
    pub laps: u32,
    /// The pace of simulated time relative to the wall clock.
    #[serde(with = "PaceName")]
    pub pace: Pace,
    /// Milliseconds from a frame to its command; `None` to measure it.
    pub latency_ms: Option<f64>,
    /// Simulated seconds.
    pub time_limit: f64,
    /// Milliseconds from a motion until the sensors give it.
    pub sensor_delay_ms: u32,
    /// Factor on the sensors' noise.
    pub sensor_noise: f64,
    /// Whether the lidar is on even for an engine that gets no scan.
    pub lidar: bool,
    /// The number of its rays.
    pub lidar_rays: u32,
    /// The angle that they cover, degrees.
    pub lidar_field: f64,
    /// The largest distance with an echo, metres.
    pub lidar_range: f64,
    /// Scans per second.
    pub lidar_rate: u32,
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
    /// An .engine file that replaces the compiled-in engine.
    pub file: Option<String>,
    /// The number of threads that the engine may use.
    pub threads: usize,
    /// The instruction set that the engine uses; `None` for the best that the machine has.
    pub instruction_set: Option<String>,
    /// What runs the engine.
    #[serde(with = "BackendName")]
    pub backend: BackendKind,
    /// What happens when the GPU fails.
    pub fallback: OnGpuFailure,
    /// The time limit of an answer by the GPU, milliseconds; `None` for half a frame period.
    pub gpu_limit_ms: Option<f64>,
    /// How a frame is transferred to the GPU, and the answer back.
    pub gpu_memory: GpuMemory,
    /// What the CPU does while it waits for the GPU's answer.
    #[serde(with = "WaitName")]
    pub gpu_wait: Wait,
    /// How long the GPU's engine may take to start, seconds.
    pub gpu_start_s: f64,
    /// minisign public keys; any of them may have signed the file.
    pub trusted_keys: Vec<String>,
    /// Whether the file must be signed.
    pub require_signature: bool,
}

/// What runs an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// The CPU
    Cpu,
    /// An NVIDIA GPU, through TensorRT
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
    /// The CPU answers in the GPU's place
    Cpu,
    /// The car stops
    Stop,
}

/// How a frame is transferred to the GPU, and the answer back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuMemory {
    /// Mapped where the GPU shares the CPU's memory, copied elsewhere
    Auto,
    /// The GPU reads and writes the CPU's memory
    Mapped,
    /// Copies on the CUDA stream
    Copied,
}

#[derive(Deserialize)]
#[serde(remote = "Wait", rename_all = "lowercase")]
enum WaitName {
    Spin,
    Sleep,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// What is kept of a drive.
    pub keep: LogKeep,
    /// The logs' folder; `None` for the user's.
    pub folder: Option<String>,
    /// The maximum number of logs in the folder.
    pub most_logs: usize,
    /// The maximum size of all logs in the folder, megabytes.
    pub most_mb: u64,
}

/// What is kept of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogKeep {
    /// The last seconds before each stop, and before the end
    Stops,
    /// Whole drives
    Drives,
    /// No logs
    Nothing,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            keep: LogKeep::Stops,
            folder: None,
            most_logs: 50,
            most_mb: 1000,
        }
    }
}

impl Default for CarSettings {
    fn default() -> Self {
        Self {
            name: "simulated car".to_owned(),
            kind: Kind::Unicycle,
            preset: CarPreset::Kart,
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
            latency_ms: None,
            stride: None,
            first_frame_ms: None,
            folder: None,
            repeat: None,
            timeout_ms: None,
            frozen_frames: None,
            black_frames: None,
            width: 640,
            height: 480,
            rate: DEFAULT_RATE,
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
            appearance_seed: None,
            friction: None,
            friction_seed: None,
            laps: 1,
            pace: Pace::Real,
            latency_ms: None,
            time_limit: 600.0,
            sensor_delay_ms: 10,
            sensor_noise: 1.0,
            lidar: false,
            lidar_rays: 1081,
            lidar_field: 270.0,
            lidar_range: 10.0,
            lidar_rate: 40,
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
