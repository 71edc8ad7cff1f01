//! `[guard]` of car.toml as written, and what a guard makes of a whole car.toml.
//!
//! docs/car.md describes every key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_config::{ConfigError, LONGEST_FILE, ReadError, Source};
use serde::Deserialize;

use crate::actuators::ActuatorSettings;
use crate::{
    Channel, Identification, Identity, Limits, LimitsError, LimitsSpec, canonical, usual_socket,
};

/// The usual deadline; three frame periods where these are longer.
const DEADLINE: Duration = Duration::from_millis(150);
/// The usual wait for a first command; the deadline where that is longer.
const FIRST_COMMAND: Duration = Duration::from_secs(2);
const FRAME_PERIODS: u32 = 3;

/// `[guard]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// Milliseconds; see docs/car.md for the default.
    pub deadline_ms: Option<f64>,
    /// Milliseconds; the deadline when none.
    pub max_age_ms: Option<f64>,
    /// Milliseconds.
    pub first_command_ms: Option<f64>,
    /// Where the guard listens, when not at the usual place.
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
    /// Written when stopped.
    pub failsafe: f32,
    /// Written while disarmed.
    pub disarmed: f32,
    /// The least value.
    pub min: f32,
    /// The greatest value.
    pub max: f32,
    /// The fastest change.
    pub slew_per_second: f32,
}

/// A channel as written: what it leaves out is the channel's own default.
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
    fn over(self, default: ChannelSettings) -> ChannelSettings {
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
    Ok(WrittenChannel::deserialize(from)?.over(GuardSettings::default().steering))
}

fn throttle<'de, D: serde::Deserializer<'de>>(from: D) -> Result<ChannelSettings, D::Error> {
    Ok(WrittenChannel::deserialize(from)?.over(GuardSettings::default().throttle))
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
    /// The limits that these are, with a camera of `rate` frames a second and `actuator`'s
    /// motors.
    ///
    /// # Errors
    /// When a value makes no sense, or not with the others.
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
        // Cut to whole microseconds: 60 Hz then allows the 50 ms that three of its periods are.
        let frame_period = Duration::from_micros((1e6 / rate) as u64);
        let deadline = duration("deadline_ms", self.deadline_ms)?
            .unwrap_or_else(|| DEADLINE.max(frame_period.saturating_mul(FRAME_PERIODS)));
        let spec = LimitsSpec {
            steering: self.steering.into(),
            throttle: self.throttle.into(),
            frame_period,
            deadline,
            actuator_delay: actuator.delay(),
            max_age: duration("max_age_ms", self.max_age_ms)?.unwrap_or(deadline),
            first_command: duration("first_command_ms", self.first_command_ms)?
                .unwrap_or_else(|| FIRST_COMMAND.max(deadline)),
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

/// The key behind what the guard refuses.
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
    }
}

/// What a guard has to know of a car: the rest of car.toml is the pilot's, and checked there.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardedCar {
    /// What its motors may do.
    pub limits: Limits,
    /// Its motors.
    pub actuator: ActuatorSettings,
    /// Where its guard listens.
    pub socket: PathBuf,
    /// Its file, by one name however it was written.
    pub file: PathBuf,
    /// What pilot and guard must agree on.
    pub identity: Identity,
}

/// The same as written.
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
        Self { rate: USUAL_RATE }
    }
}

/// Frames a second where car.toml does not say.
pub const USUAL_RATE: f64 = 20.0;

/// Why a guard knows of no car.
#[derive(Debug, thiserror::Error)]
pub enum CarFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is read, and not sound.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is the record of another user, who could have written anything.
    #[error("{path}: the record of another user is not acted on")]
    Untrusted {
        /// The record.
        path: PathBuf,
    },
}

impl GuardedCar {
    /// Reads and checks what of a car.toml concerns the guard.
    ///
    /// # Errors
    /// When it cannot be read or is not sound.
    pub fn load(path: &Path) -> Result<Self, CarFileError> {
        Ok(Self::load_with_text(path)?.0)
    }

    /// The same, with the text that was read.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_text(path: &Path) -> Result<(Self, String), CarFileError> {
        let text = pilotage_config::read(path, LONGEST_FILE)?;
        let car = Self::from_toml(&path.display().to_string(), &text)?;
        Ok((car, text))
    }

    /// The same from text; `file` is for messages, and for where the guard listens.
    ///
    /// # Errors
    /// When it is not sound.
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

    /// What its owner calls it.
    pub fn name(&self) -> &str {
        self.identity.get("car.name").unwrap_or("car")
    }

    /// The car in one line: its name, motors and file.
    pub fn describe(&self) -> String {
        let motors = self.actuator.describe();
        format!("{} ({motors}; {})", self.name(), self.file.display())
    }

    /// What clients are sent that ask, and what a pilot must have.
    pub fn identification(&self) -> Identification {
        Identification {
            fingerprint: self.identity.fingerprint(),
            about: format!("{}\n{}", self.describe(), self.identity.to_text()),
        }
    }
}

impl GuardSettings {
    /// Where the guard of the car that `file` describes listens: as written, else where the
    /// service does for the installed car, else in its user's runtime directory.
    pub fn socket(&self, file: &Path) -> PathBuf {
        let written = self.socket.clone();
        written.unwrap_or_else(|| usual_socket(file))
    }
}
