//! Converts settings to a checked car, or to an error that names the place in the file.

use std::path::Path;
use std::time::Duration;

use pilotage_config::{ConfigError, Source, nearest, suggest};
use pilotage_drivelog::Keep;
use pilotage_engine::{InstructionSet, UnknownInstructionSet};
use pilotage_guard::{Limits, drivers};
use pilotage_simulator::{
    CameraSpec, CarKind, Circuit, LidarSpec, Preset, SensorSpec, TyreCar, random_friction,
};
use pilotage_vehicle::{Mixer, MixerError};
use tensorrt_rs::Transfer;

use super::range::{milliseconds, within};
use super::settings::{
    BackendKind, CameraSettings, CarPreset, CarSettings, EngineSettings, GpuMemory, Kind, LogKeep,
    LogSettings, MixerSettings, Settings, SimulatorSettings,
};
use super::{Backend, Car, CircuitSource, EngineSource, Gpu, LogConfig, Origin, Simulator};
use crate::engines::embedded;
use crate::signature::{self, Trust};
use crate::simulation::Latency;

/// The name of a car with a physical camera, if car.toml has none.
const UNNAMED: &str = "car without a name";

/// Checks `settings`, which `source` contains. Relative paths are resolved from `folder`; `origin`
/// is the origin of the car.
pub(super) fn car(
    settings: &Settings,
    source: &Source<'_>,
    folder: &Path,
    origin: &Origin,
) -> Result<Car, ConfigError> {
    let name = &settings.car.name;
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(source.error("car.name", "must be 1 to 64 printable characters"));
    }
    let camera = camera(source, &settings.camera)?;
    let capture = super::camera::capture(source, &settings.camera, folder)?;
    settings.actuator.check(source)?;
    check_same_domain(source, capture.is_some(), settings.actuator.kind)?;
    let guard = &settings.guard;
    let limits = guard.limits(source, camera.rate_hz, &settings.actuator)?;
    let gamepad = settings.gamepad.as_ref();
    let gamepad = gamepad.map(|written| super::gamepad::gamepad(source, written, folder));
    let simulator = simulator(source, &settings.simulator, folder)?;
    check_latency(source, simulator.latency, &limits)?;
    let kind = kind(source, settings)?;
    // The default is the simulated car's name.
    let is_unnamed = capture.is_some() && *name == CarSettings::default().name;
    Ok(Car {
        name: match is_unnamed {
            true => UNNAMED.to_owned(),
            false => name.clone(),
        },
        kind,
        mixer: mixer(source, &settings.mixer, kind)?,
        camera,
        capture,
        simulator,
        engine: engine(source, &settings.engine, folder)?,
        trust: trust(source, &settings.engine)?,
        threads: within(source, "engine.threads", settings.engine.threads, 1..=64)?,
        instruction_set: instruction_set(source, &settings.engine)?,
        backend: backend(source, &settings.engine, &limits)?,
        limits,
        actuator: settings.actuator.clone(),
        socket: guard.socket(&origin.file),
        origin: origin.clone(),
        gamepad: gamepad.transpose()?,
        imu: settings
            .imu
            .as_ref()
            .map(|written| super::imu::imu(source, written, folder))
            .transpose()?,
        lidar: settings
            .lidar
            .as_ref()
            .map(|written| super::lidar::lidar(source, written, folder, &settings.actuator))
            .transpose()?,
        log: log(source, &settings.log, folder)?,
    })
}

fn log(
    source: &Source<'_>,
    settings: &LogSettings,
    folder: &Path,
) -> Result<LogConfig, ConfigError> {
    let most_mb = within(source, "log.most_mb", settings.most_mb, 10..=1_000_000)?;
    Ok(LogConfig {
        keep: match settings.keep {
            LogKeep::Stops => Some(Keep::Stops),
            LogKeep::Drives => Some(Keep::Drive),
            LogKeep::Nothing => None,
        },
        folder: match settings.folder.as_deref() {
            Some("") => return Err(source.error("log.folder", "is empty: name a folder")),
            named => named.map(|named| folder.join(named)),
        },
        most_logs: within(source, "log.most_logs", settings.most_logs, 1..=10_000)?,
        most_bytes: most_mb * 1_000_000,
    })
}

/// The simulated car. The settings of tyres are checked for the other kinds too.
fn kind(source: &Source<'_>, settings: &Settings) -> Result<CarKind, ConfigError> {
    let simulator = &settings.simulator;
    let friction = match (simulator.friction, simulator.friction_seed) {
        (Some(_), Some(_)) => {
            return Err(source.error(
                "simulator.friction_seed",
                "is set, and so is `simulator.friction`: leave one of them out",
            ));
        }
        (Some(friction), None) => Some(within(source, "simulator.friction", friction, 0.1..=2.0)?),
        (None, seed) => seed.map(random_friction),
    };
    let car = TyreCar::new(match settings.car.preset {
        CarPreset::Donkeycar => Preset::Donkeycar,
        CarPreset::F1tenth => Preset::F1tenth,
        CarPreset::Kart => Preset::Kart,
    });
    Ok(match settings.car.kind {
        Kind::Unicycle => CarKind::Unicycle,
        Kind::Ackermann => CarKind::Ackermann,
        Kind::Tyres => CarKind::Tyres(TyreCar {
            friction: friction.unwrap_or(car.friction),
            ..car
        }),
    })
}

/// Checks that camera and actuator are both simulated or both physical (`dry-run` counts as physical):
/// a camera of one domain cannot drive a car of the other.
fn check_same_domain(
    source: &Source<'_>,
    physical_camera: bool,
    actuator: drivers::Kind,
) -> Result<(), ConfigError> {
    let simulated = actuator == drivers::Kind::Simulator;
    if physical_camera != simulated {
        return Ok(());
    }
    Err(if physical_camera {
        source.error(
            "actuator.kind",
            "is `simulator`, but `camera.kind` is a physical camera: set the car's actuator, or \
             `dry-run`",
        )
    } else {
        source.error(
            "camera.kind",
            "is `simulator`, but the actuator is not: set the car's camera",
        )
    })
}

/// Parses the instruction set. The engine's loading checks whether this machine has it.
fn instruction_set(
    source: &Source<'_>,
    engine: &EngineSettings,
) -> Result<Option<InstructionSet>, ConfigError> {
    let named = engine.instruction_set.as_deref().map(named_instruction_set);
    named
        .transpose()
        .map_err(|error| source.error("engine.instruction_set", error))
}

/// The instruction set with this name; the error suggests a similar one, or lists the machine's.
pub(crate) fn named_instruction_set(name: &str) -> Result<InstructionSet, String> {
    name.parse().map_err(|error: UnknownInstructionSet| {
        let known = InstructionSet::ALL.iter().map(|set| set.name());
        match nearest(name, known) {
            Some(meant) => format!("there is no instruction set `{name}`: did you mean `{meant}`?"),
            None => error.to_string(),
        }
    })
}

/// By default the GPU has half of a frame period, so that the CPU can answer within the period a frame
/// that the GPU does not answer. With a longer limit the CPU's answer may come after the next frame;
/// the guard's deadline is at least three periods.
fn backend(
    source: &Source<'_>,
    engine: &EngineSettings,
    limits: &Limits,
) -> Result<Backend, ConfigError> {
    let period = limits.spec().frame_period.as_secs_f64() * 1e3;
    let limit = match engine.gpu_limit_ms {
        Some(written) => within(source, "engine.gpu_limit_ms", written, 1.0..=period)?,
        None => period / 2.0,
    };
    let start = within(
        source,
        "engine.gpu_start_s",
        engine.gpu_start_s,
        1.0..=600.0,
    )?;
    Ok(match engine.backend {
        BackendKind::Cpu => Backend::Cpu,
        BackendKind::TensorRt => Backend::TensorRt {
            limit: milliseconds(limit),
            on_failure: engine.fallback,
            gpu: Gpu {
                transfer: match engine.gpu_memory {
                    GpuMemory::Auto => None,
                    GpuMemory::Mapped => Some(Transfer::Mapped),
                    GpuMemory::Copied => Some(Transfer::Copied),
                },
                wait: engine.gpu_wait,
                start: Duration::from_secs_f64(start),
            },
        },
    })
}

/// With a latency above `max_age` the guard would refuse every command.
fn check_latency(
    source: &Source<'_>,
    latency: Latency,
    limits: &Limits,
) -> Result<(), ConfigError> {
    let max_age = limits.spec().max_age;
    match latency {
        Latency::Fixed(latency) if latency > max_age => Err(source.error(
            "simulator.latency_ms",
            format!(
                "is {} ms, but the guard rejects commands older than `guard.max_age_ms`, {} ms; \
                 set a longer `guard.deadline_ms`",
                latency.as_secs_f64() * 1e3,
                max_age.as_secs_f64() * 1e3
            ),
        )),
        _ => Ok(()),
    }
}

fn camera(source: &Source<'_>, written: &CameraSettings) -> Result<CameraSpec, ConfigError> {
    let number = |key: &str, value, range| within(source, &format!("camera.{key}"), value, range);
    let pixels = |key: &str, value: u32| {
        within(source, &format!("camera.{key}"), value, 16..=4096).map(|pixels| pixels as usize)
    };
    Ok(CameraSpec {
        width: pixels("width", written.width)?,
        height: pixels("height", written.height)?,
        rate_hz: number("rate", written.rate, 1.0..=120.0)?,
        horizontal_fov: number("horizontal_fov", written.horizontal_fov, 0.2..=2.8)?,
        forward: number("forward", written.forward, -5.0..=5.0)?,
        left: number("left", written.left, -5.0..=5.0)?,
        up: number("up", written.up, 0.02..=5.0)?,
        pitch: number("pitch", written.pitch, -1.5..=1.5)?,
        yaw: number("yaw", written.yaw, -3.15..=3.15)?,
        roll: number("roll", written.roll, -3.15..=3.15)?,
    })
}

/// The mixer as written. The defaults are those of the first two kinds; a car with tyres has its own
/// calibration in place of a mixer with the default values, even if they are written.
fn mixer(
    source: &Source<'_>,
    written: &MixerSettings,
    kind: CarKind,
) -> Result<Mixer, ConfigError> {
    if let CarKind::Tyres(car) = kind
        && *written == MixerSettings::default()
    {
        let calibrated = car.dynamics().mixer();
        return calibrated.map_err(|error| source.error("car.preset", error));
    }
    let curve = written.speed_to_throttle.iter().map(|&[v, t]| (v, t));
    Mixer::new(written.wheelbase, written.steering_range, curve.collect()).map_err(|error| {
        let key = match error {
            MixerError::Wheelbase(_) => "mixer.wheelbase",
            MixerError::SteeringRange(_) => "mixer.steering_range",
            MixerError::Curve(_) => "mixer.speed_to_throttle",
        };
        source.error(key, error)
    })
}

fn simulator(
    source: &Source<'_>,
    written: &SimulatorSettings,
    folder: &Path,
) -> Result<Simulator, ConfigError> {
    let number =
        |key: &str, value, range| within(source, &format!("simulator.{key}"), value, range);
    let metres = |key: &str, value: Option<f64>, range| {
        value.map(|value| number(key, value, range)).transpose()
    };
    let latency = match written.latency_ms {
        Some(ms) => Latency::Fixed(milliseconds(number("latency_ms", ms, 0.0..=1000.0)?)),
        None => Latency::Measured,
    };
    let time_limit = number("time_limit", written.time_limit, 1.0..=86_400.0)?;
    Ok(Simulator {
        circuit: circuit(source, &written.circuit, folder)?,
        road_width: metres("road_width", written.road_width, 0.5..=30.0)?,
        line_width: metres("line_width", written.line_width, 0.01..=2.0)?,
        seed: written.seed,
        appearance_seed: written.appearance_seed,
        laps: within(source, "simulator.laps", written.laps, 1..=1000)?,
        pace: written.pace,
        latency,
        time_limit: Duration::from_secs_f64(time_limit),
        sensors: SensorSpec {
            delay_ms: within(
                source,
                "simulator.sensor_delay_ms",
                written.sensor_delay_ms,
                0..=SensorSpec::LONGEST_MS,
            )?,
            noise: number("sensor_noise", written.sensor_noise, 0.0..=10.0)?,
        },
        lidar_always: written.lidar,
        lidar: LidarSpec {
            rays: within(source, "simulator.lidar_rays", written.lidar_rays, 2..=4096)?,
            field: number("lidar_field", written.lidar_field, 10.0..=360.0)?,
            range: number("lidar_range", written.lidar_range, 0.5..=65.0)?,
            rate: within(source, "simulator.lidar_rate", written.lidar_rate, 10..=40)?,
        },
    })
}

fn circuit(
    source: &Source<'_>,
    written: &str,
    folder: &Path,
) -> Result<CircuitSource, ConfigError> {
    if written == "random" {
        return Ok(CircuitSource::Random);
    }
    let extension = Path::new(written).extension();
    if extension.is_some_and(|extension| extension == "toml" || extension == "csv") {
        return Ok(CircuitSource::File(folder.join(written)));
    }
    let names = Circuit::shipped_names().iter().copied();
    if names.clone().any(|name| name == written) {
        return Ok(CircuitSource::Shipped(written.to_owned()));
    }
    Err(source.error(
        "simulator.circuit",
        format!(
            "there is no circuit `{written}`: {} (or a .toml or .csv file)",
            suggest(written, names.chain(["random"]))
        ),
    ))
}

fn engine(
    source: &Source<'_>,
    written: &EngineSettings,
    folder: &Path,
) -> Result<EngineSource, ConfigError> {
    if written.name.is_empty() {
        return Err(source.error("engine.name", "must name a compiled-in engine"));
    }
    match written.file.as_deref() {
        None => match embedded::compiled_in(&written.name) {
            Ok(_) => Ok(EngineSource::BuiltIn(written.name.clone())),
            Err(error) => Err(source.error("engine.name", error)),
        },
        Some("") => Err(source.error("engine.file", "must name an .engine file")),
        Some(file) => Ok(EngineSource::File(folder.join(file))),
    }
}

fn trust(source: &Source<'_>, written: &EngineSettings) -> Result<Trust, ConfigError> {
    let required = written.require_signature;
    if required && written.trusted_keys.is_empty() {
        return Err(source.error(
            "engine.require_signature",
            "is set, but no key is trusted; name the signer's in `engine.trusted_keys`",
        ));
    }
    let keys = written.trusted_keys.iter().enumerate().map(|(index, key)| {
        let key = signature::public_key(key);
        key.map_err(|reason| source.error(&format!("engine.trusted_keys.{index}"), reason))
    });
    Ok(Trust {
        keys: keys.collect::<Result<_, _>>()?,
        required,
    })
}
