//! `[guard]` of car.toml, and the part of car.toml that a guard uses.
//!
//! docs/car.md describes every key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_config::{ConfigError, LONGEST_FILE, ReadError, Source};
use serde::Deserialize;

use crate::drivers::ActuatorSettings;
use crate::{
    Channel, Identification, Identity, Limits, LimitsError, LimitsSpec, canonical, default_socket,
};

/// The default deadline, unless [`HALF_FRAME_PERIODS`] are longer; and the longest one of a car whose
/// output-enable pin toggles.
const DEADLINE: Duration = Duration::from_millis(150);
/// The default wait for the first command, unless the deadline is longer.
const FIRST_COMMAND: Duration = Duration::from_secs(2);
/// Half frame periods of the default deadline. After two lost frames the next command comes three
/// frame periods after the last one, and its latency later than that: with a deadline of three
/// periods it would be too late.
const HALF_FRAME_PERIODS: u32 = 7;
/// Half frame periods of the shortest deadline, which is the default of a car whose output-enable
/// pin toggles.
const LEAST_HALF_FRAME_PERIODS: u32 = 6;

/// `[guard]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// Milliseconds; see docs/car.md for the default.
    pub deadline_ms: Option<f64>,
    /// Milliseconds; the deadline by default.
    pub max_age_ms: Option<f64>,
    /// Milliseconds.
    pub first_command_ms: Option<f64>,
    /// The path of the guard's socket; see [`default_socket`] for the default.
    pub socket: Option<PathBuf>,
    /// The steering channel.
    #[serde(deserialize_with = "steering")]
    pub steering: ChannelSettings,
    /// The throttle channel.
    #[serde(deserialize_with = "throttle")]
    pub throttle: ChannelSettings,
}

/// `[guard.steering]` and `[guard.throttle]`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelSettings {
    /// Value when stopped.
    pub failsafe: f32,
    /// Value while disarmed.
    pub disarmed: f32,
    /// The least value.
    pub min: f32,
    /// The greatest value.
    pub max: f32,
    /// Largest change per second.
    pub slew_per_second: f32,
}

/// A channel in car.toml. Missing keys have the default of that channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChannel {
    failsafe: Option<f32>,
    disarmed: Option<f32>,
    min: Option<f32>,
    max: Option<f32>,
    slew_per_second: Option<f32>,
}

impl WrittenChannel {
    fn with_defaults(self, default: ChannelSettings) -> ChannelSettings {
        ChannelSettings {
            failsafe: self.failsafe.unwrap_or(default.failsafe),
            disarmed: self.disarmed.unwrap_or(default.disarmed),
            min: self.min.unwrap_or(default.min),
            max: self.max.unwrap_or(default.max),
            slew_per_second: self.slew_per_second.unwrap_or(default.slew_per_second),
        }
    }
}

fn steering<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ChannelSettings, D::Error> {
    Ok(WrittenChannel::deserialize(from)?.with_defaults(GuardSettings::default().steering))
}

fn throttle<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ChannelSettings, D::Error> {
    Ok(WrittenChannel::deserialize(from)?.with_defaults(GuardSettings::default().throttle))
}

impl Default for GuardSettings {
    fn default() -> Self {
        let steering = ChannelSettings {
            failsafe: 0.0,
            disarmed: 0.0,
            min: -1.0,
            max: 1.0,
            slew_per_second: 40.0,
        };
        Self {
            deadline_ms: None,
            max_age_ms: None,
            first_command_ms: None,
            socket: None,
            steering,
            throttle: ChannelSettings {
                slew_per_second: 20.0,
                ..steering
            },
        }
    }
}

impl GuardSettings {
    /// The limits of these settings, for a camera with `rate` frames per second and the motors of
    /// `actuator`.
    ///
    /// # Errors
    /// When a value is invalid, or is inconsistent with another one.
    pub fn limits(
        &self,
        source: &Source<'_>,
        rate: f64,
        actuator: &ActuatorSettings,
    ) -> Result<Limits, ConfigError> {
        let duration = |key: &str, value: Option<f64>| match value {
            Some(ms) if !(1.0..=60_000.0).contains(&ms) => {
                let reason = format!("must be from 1 to 60000, and is {ms}");
                Err(source.error(&format!("guard.{key}"), reason))
            }
            written => Ok(written.map(|ms| Duration::from_secs_f64(ms / 1e3))),
        };
        // Truncated to whole microseconds, so that 60 Hz allows a deadline of 50 ms, three frame
        // periods.
        let frame_period = Duration::from_micros((1e6 / rate) as u64);
        let chip = actuator.pca9685.as_ref();
        let pin = chip.and_then(|chip| chip.output_enable.as_ref());
        let toggles = pin.is_some_and(|pin| pin.pulse);
        let halves = match toggles {
            true => LEAST_HALF_FRAME_PERIODS,
            false => HALF_FRAME_PERIODS,
        };
        let deadline = duration("deadline_ms", self.deadline_ms)?
            .unwrap_or_else(|| DEADLINE.max(frame_period.saturating_mul(halves) / 2));
        if toggles && deadline > DEADLINE {
            // The guard's tick is a thirtieth of the deadline: docs/hardware.md calculates the
            // pump for 5 ms.
            let reason = format!(
                "is {} ms: `output_enable.pulse` needs at most {} ms, because the line toggles less \
                 often otherwise",
                deadline.as_millis(),
                DEADLINE.as_millis()
            );
            return Err(source.error("guard.deadline_ms", reason));
        }
        let spec = LimitsSpec {
            steering: self.steering.into(),
            throttle: self.throttle.into(),
            frame_period,
            deadline,
            actuator_delay: actuator.delay(),
            max_age: duration("max_age_ms", self.max_age_ms)?.unwrap_or(deadline),
            first_command: duration("first_command_ms", self.first_command_ms)?
                .unwrap_or_else(|| FIRST_COMMAND.max(deadline)),
            brake: actuator.brake(),
            actuator: actuator.kind.domain(),
        };
        Limits::new(spec).map_err(|error| source.error(&key_of(&error), error))
    }
}

impl From<ChannelSettings> for Channel {
    fn from(written: ChannelSettings) -> Self {
        Self {
            failsafe: written.failsafe,
            disarmed: written.disarmed,
            min: written.min,
            max: written.max,
            slew_per_second: written.slew_per_second,
        }
    }
}

/// The key of car.toml that an error is about.
fn key_of(error: &LimitsError) -> String {
    match error {
        LimitsError::Value { channel, key, .. }
        | LimitsError::OutsideRange { channel, key, .. } => {
            format!("guard.{channel}.{key}")
        }
        LimitsError::Range { channel, .. } => format!("guard.{channel}.min"),
        LimitsError::Slew { channel, .. } => format!("guard.{channel}.slew_per_second"),
        LimitsError::Moving { key, .. } => format!("guard.throttle.{key}"),
        LimitsError::FramePeriod => "camera.rate".to_owned(),
        LimitsError::Deadline { .. } | LimitsError::ActuatorDelay { .. } => {
            "guard.deadline_ms".to_owned()
        }
        LimitsError::MaxAge { .. } => "guard.max_age_ms".to_owned(),
        LimitsError::FirstCommand { .. } => "guard.first_command_ms".to_owned(),
        LimitsError::Brake { .. } => "actuator".to_owned(),
    }
}

/// The part of car.toml that a guard uses. The pilot uses and checks the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedCar {
    /// The limits of its commands.
    pub limits: Limits,
    /// Its motors.
    pub actuator: ActuatorSettings,
    /// The path of the guard's socket.
    pub socket: PathBuf,
    /// The canonical path of car.toml.
    pub file: PathBuf,
    /// The settings that pilot and guard must agree on.
    pub identity: Identity,
}

/// The tables of car.toml that a guard reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    camera: WrittenCamera,
    guard: GuardSettings,
    actuator: ActuatorSettings,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct WrittenCamera {
    rate: f64,
}

impl Default for WrittenCamera {
    fn default() -> Self {
        Self { rate: DEFAULT_RATE }
    }
}

/// Default frame rate in frames per second.
pub const DEFAULT_RATE: f64 = 20.0;

/// Why a guard could not read its car.
#[derive(Debug, thiserror::Error)]
pub enum CarFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is the record of an untrusted user.
    #[error("{path}: the record of an untrusted user is not used")]
    Untrusted {
        /// The record.
        path: PathBuf,
    },
}

impl GuardedCar {
    /// Reads and checks the guard's part of a car.toml.
    ///
    /// # Errors
    /// When it cannot be read or is invalid.
    pub fn load(path: &Path) -> Result<Self, CarFileError> {
        Ok(Self::load_with_text(path)?.0)
    }

    /// As [`load`](Self::load), and returns the text that was read.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_text(path: &Path) -> Result<(Self, String), CarFileError> {
        let text = pilotage_config::read(path, LONGEST_FILE)?;
        let car = Self::from_toml(&path.display().to_string(), &text)?;
        Ok((car, text))
    }

    /// Parses `text`. `file` is used in messages and for the default socket.
    ///
    /// # Errors
    /// When the text is invalid.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        let written: Written = source.parse()?;
        written.actuator.check(&source)?;
        let limits = written
            .guard
            .limits(&source, written.camera.rate, &written.actuator)?;
        Ok(Self {
            limits,
            socket: written.guard.socket(Path::new(file)),
            actuator: written.actuator,
            file: canonical(Path::new(file)),
            identity: Identity::of_file(&source)?,
        })
    }

    /// The car's name.
    pub fn name(&self) -> &str {
        self.identity.get("car.name").unwrap_or("car")
    }

    /// The car in one line: its name, motors and file.
    pub fn describe(&self) -> String {
        let motors = self.actuator.describe();
        format!("{} ({motors}; {})", self.name(), self.file.display())
    }

    /// The identification that clients can request, and that a pilot must match.
    pub fn identification(&self) -> Identification {
        Identification {
            fingerprint: self.identity.fingerprint(),
            about: format!("{}\n{}", self.describe(), self.identity.to_text()),
        }
    }
}

impl GuardSettings {
    /// The path of the socket for the guard of `file`: the configured one, else the service's for
    /// the installed car, else one in the user's runtime directory.
    pub fn socket(&self, file: &Path) -> PathBuf {
        let written = self.socket.clone();
        written.unwrap_or_else(|| default_socket(file))
    }
}
