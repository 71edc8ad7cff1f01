//! The messages that a recording is made of.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotage_mcap::{LaserScan, Place};
use pilotage_vehicle::{Domain, Measurement, Measurements, Mixer, is_command_name};
use serde::{Deserialize, Deserializer};

use super::LogOptions;
use super::cdr::Cdr;
use super::scans::Scans;
use crate::error::PictureProblem;
use crate::record::Record;

/// Most points of a car's `speed_to_throttle`: each frame is converted by it.
const MOST_POINTS: usize = 256;

/// What a topic's messages are, by the name of their schema and their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `sensor_msgs/msg/CompressedImage`.
    RosPicture,
    /// `foxglove.CompressedImage` in JSON.
    FoxglovePicture,
    /// `pilotage.Record`: the values of a picture, by its number.
    Values,
    /// `pilotage.Frame`: an iteration of a pilot's loop, by the number of its picture.
    Frame,
    /// `ackermann_msgs/msg/AckermannDriveStamped`.
    AckermannStamped,
    /// `ackermann_msgs/msg/AckermannDrive`.
    Ackermann,
    /// `sensor_msgs/msg/Joy`.
    Joy,
    /// `pilotage.Start`: the drive of a log.
    Start,
    /// `foxglove.LaserScan` in JSON: a lidar's scan, which records name by its number.
    Scan,
}

impl Kind {
    pub fn of(schema: &str, encoding: &str) -> Option<Self> {
        Some(match (schema, encoding) {
            ("sensor_msgs/msg/CompressedImage", "cdr") => Self::RosPicture,
            ("foxglove.CompressedImage", "json") => Self::FoxglovePicture,
            ("pilotage.Record", "json") => Self::Values,
            ("pilotage.Frame", "json") => Self::Frame,
            ("ackermann_msgs/msg/AckermannDriveStamped", "cdr") => Self::AckermannStamped,
            ("ackermann_msgs/msg/AckermannDrive", "cdr") => Self::Ackermann,
            ("sensor_msgs/msg/Joy", "cdr") => Self::Joy,
            ("pilotage.Start", "json") => Self::Start,
            (LaserScan::SCHEMA_NAME, "json") => Self::Scan,
            _ => return None,
        })
    }

    pub fn is_picture(self) -> bool {
        matches!(self, Self::RosPicture | Self::FoxglovePicture)
    }

    pub fn is_command(self) -> bool {
        !self.is_picture() && !matches!(self, Self::Start | Self::Scan)
    }
}

/// A picture's place in a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shot {
    pub kind: Kind,
    pub place: Place,
    /// The camera's stamp, 0 for none, and when the message was recorded; nanoseconds.
    pub times: [u64; 2],
    /// The number of the picture's frame.
    pub sequence: Option<u64>,
}

#[derive(Deserialize)]
struct Stamp {
    sec: u64,
    nsec: u64,
}

#[derive(Deserialize)]
struct PictureHead {
    timestamp: Stamp,
    sequence: Option<u64>,
}

impl Shot {
    pub fn of(kind: Kind, message: &pilotage_mcap::Message<'_>) -> Option<Self> {
        let (stamp, sequence) = match kind {
            Kind::RosPicture => (Cdr::new(message.data)?.header()?, None),
            _ => {
                let head: PictureHead = serde_json::from_slice(message.data).ok()?;
                let seconds = head.timestamp.sec.checked_mul(1_000_000_000)?;
                (seconds.checked_add(head.timestamp.nsec)?, head.sequence)
            }
        };
        Some(Self {
            kind,
            place: message.place,
            times: [stamp, message.log_time],
            sequence,
        })
    }
}

#[derive(Deserialize)]
struct PictureData {
    data: String,
}

/// The encoded picture in a message.
pub(super) fn picture(kind: Kind, message: &[u8]) -> Result<Vec<u8>, PictureProblem> {
    let damaged = || PictureProblem::Damaged("its message cannot be parsed".to_owned());
    let bytes = match kind {
        Kind::RosPicture => {
            let mut cdr = Cdr::new(message).ok_or_else(damaged)?;
            cdr.header().ok_or_else(damaged)?;
            // Its format, which the picture's own first bytes say too.
            cdr.bytes().ok_or_else(damaged)?;
            cdr.bytes().ok_or_else(damaged)?.to_vec()
        }
        _ => {
            let data: PictureData = serde_json::from_slice(message).map_err(|_| damaged())?;
            STANDARD.decode(data.data).map_err(|_| damaged())?
        }
    };
    match bytes.is_empty() {
        true => Err(PictureProblem::Empty),
        false => Ok(bytes),
    }
}

/// A driver's command.
#[derive(Debug, Clone, Default)]
pub(super) struct Command {
    /// Its stamp, 0 for none, and when the message was recorded; nanoseconds.
    pub times: [u64; 2],
    /// The number of the picture that it belongs to.
    pub sequence: Option<u64>,
    /// Steering, throttle, speed and yaw rate, where known.
    pub values: [Option<f64>; 4],
    pub measured: Measurements,
    pub high_level: Option<Arc<str>>,
    /// The number of the lidar's scan.
    pub scan: Option<u64>,
    /// The wheels' angle in radians, where nothing else is known of the steering.
    pub angle: Option<f64>,
    /// When the picture was taken, where a record says so.
    pub taken: Taken,
    /// Nothing drove the car.
    pub is_idle: bool,
}

/// When a picture was taken, by its record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Taken {
    /// The record does not say: the picture's message does.
    #[default]
    ByPicture,
    /// The recording's own time in seconds, `None` if it has none.
    Recorded(Option<f64>),
}

/// Why a command is not used.
pub(super) enum Refused {
    /// The message cannot be parsed.
    Malformed,
    /// A joystick has fewer axes.
    Axis { wanted: usize, axes: usize },
}

#[derive(Deserialize)]
struct Values {
    sequence: u64,
    steering: Option<f64>,
    throttle: Option<f64>,
    v: Option<f64>,
    w: Option<f64>,
    #[serde(flatten)]
    measured: Measured,
    command: Option<String>,
    scan: Option<u64>,
    #[serde(default, deserialize_with = "taken")]
    time: Taken,
}

/// What was measured.
#[derive(Deserialize)]
struct Measured {
    measured_speed: Option<f32>,
    measured_yaw_rate: Option<f32>,
    measured_acceleration: Option<f32>,
    measured_lateral_acceleration: Option<f32>,
}

impl From<Measured> for Measurements {
    fn from(measured: Measured) -> Self {
        let mut numbers = Self::default();
        for measurement in Measurement::ALL {
            let number = match measurement {
                Measurement::Speed => measured.measured_speed,
                Measurement::YawRate => measured.measured_yaw_rate,
                Measurement::Acceleration => measured.measured_acceleration,
                Measurement::LateralAcceleration => measured.measured_lateral_acceleration,
            };
            numbers.set(measurement, number);
        }
        numbers
    }
}

/// The name of a high-level command, if it can be one.
fn high_level(name: Option<String>) -> Option<Arc<str>> {
    name.filter(|name| is_command_name(name)).map(Arc::from)
}

/// The time of a record that has the key.
fn taken<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Taken, D::Error> {
    Option::deserialize(deserializer).map(Taken::Recorded)
}

/// The keys of `pilotage.Frame` that are used (crates/drivelog/schemas/frame.json).
#[derive(Deserialize)]
struct Frame {
    sequence: u64,
    captured_ms: f64,
    asked: [Option<f64>; 2],
    guard: String,
    command: bool,
    by_hand: bool,
    dead_man: bool,
    #[serde(flatten)]
    measured: Measured,
    high_level_command: Option<String>,
    scan: Option<u64>,
}

impl Command {
    pub fn of(
        kind: Kind,
        message: &pilotage_mcap::Message<'_>,
        options: &LogOptions,
        start: Option<&Start>,
    ) -> Result<Option<Self>, Refused> {
        let mut command = match kind {
            Kind::Values => values(message.data),
            Kind::Frame => return frame(message.data, start).ok_or(Refused::Malformed),
            Kind::Ackermann | Kind::AckermannStamped => {
                ackermann(message.data, kind == Kind::AckermannStamped, options)
            }
            _ => return joy(message, options).map(Some),
        }
        .ok_or(Refused::Malformed)?;
        command.times[1] = message.log_time;
        Ok(Some(command))
    }

    /// Writes the command's values to a record, with its scan of `scans`.
    pub fn label(&self, record: &mut Record, scans: &Scans) {
        [
            record.steering,
            record.throttle,
            record.speed,
            record.yaw_rate,
        ] = self.values;
        record.measured = self.measured;
        record.command.clone_from(&self.high_level);
        record.scan = self.scan.and_then(|number| scans.get(number));
        if let Taken::Recorded(time) = self.taken {
            record.time = time;
        }
        if let Some(angle) = self.angle {
            record.extra.push(("steering_angle".into(), angle));
        }
    }
}

fn values(message: &[u8]) -> Option<Command> {
    let values: Values = serde_json::from_slice(message).ok()?;
    let command = |value: Option<f64>| value.filter(|it| it.abs() <= 1.0);
    Some(Command {
        sequence: Some(values.sequence),
        values: [
            command(values.steering),
            command(values.throttle),
            values.v.filter(|it| it.is_finite()),
            values.w.filter(|it| it.is_finite()),
        ],
        measured: values.measured.into(),
        high_level: high_level(values.command),
        scan: values.scan,
        taken: values.time,
        ..Command::default()
    })
}

/// `Some(None)` for an iteration without a picture.
fn frame(message: &[u8], start: Option<&Start>) -> Option<Option<Command>> {
    let frame: Frame = serde_json::from_slice(message).ok()?;
    if frame.captured_ms <= 0.0 {
        return Some(None);
    }
    let mixer = start.and_then(|start| start.mixer.as_ref());
    let mut command = Command {
        sequence: Some(frame.sequence),
        is_idle: !(frame.command && frame.guard == "driving" && (frame.dead_man || !frame.by_hand)),
        measured: frame.measured.into(),
        high_level: high_level(frame.high_level_command),
        scan: frame.scan,
        ..Command::default()
    };
    match frame.asked {
        [Some(steering), Some(throttle)] => {
            // What is not driven is at rest.
            let asked = match command.is_idle {
                true => [0.0, 0.0],
                false => [steering, throttle].map(|value| value.clamp(-1.0, 1.0)),
            };
            let twist = mixer.map(|it| it.twist(asked[0] as f32, asked[1] as f32));
            let (speed, yaw_rate) = twist.unzip();
            command.values = [Some(asked[0]), Some(asked[1]), speed, yaw_rate];
        }
        _ => command.is_idle = true,
    }
    Some(Some(command))
}

fn ackermann(message: &[u8], is_stamped: bool, options: &LogOptions) -> Option<Command> {
    let mut cdr = Cdr::new(message)?;
    let stamp = match is_stamped {
        true => cdr.header()?,
        false => 0,
    };
    let angle = f64::from(cdr.f32()?);
    // The angle's velocity.
    cdr.f32()?;
    let speed = f64::from(cdr.f32()?);
    if !(angle.is_finite() && angle.abs() < std::f64::consts::FRAC_PI_2 && speed.is_finite()) {
        return None;
    }
    let mut command = Command {
        times: [stamp, 0],
        ..Command::default()
    };
    match &options.mixer {
        Some(mixer) => {
            let steering = (angle / mixer.steering_range()).clamp(-1.0, 1.0);
            let yaw_rate = speed * libm::tan(angle) / mixer.wheelbase();
            let throttle = mixer.throttle(speed);
            command.values = [Some(steering), Some(throttle), Some(speed), Some(yaw_rate)];
        }
        None => (command.values[2], command.angle) = (Some(speed), Some(angle)),
    }
    Some(command)
}

fn joy(message: &pilotage_mcap::Message<'_>, options: &LogOptions) -> Result<Command, Refused> {
    let parsed = || {
        let mut cdr = Cdr::new(message.data)?;
        Some((cdr.header()?, cdr.numbers()?))
    };
    let (stamp, axes) = parsed().ok_or(Refused::Malformed)?;
    let axis = |wanted: usize| {
        let value = axes.get(wanted).copied();
        let value = value.ok_or(Refused::Axis {
            wanted,
            axes: axes.len(),
        })?;
        match value.is_finite() {
            true => Ok(f64::from(value).clamp(-1.0, 1.0)),
            false => Err(Refused::Malformed),
        }
    };
    let (steering, throttle) = (axis(options.steering_axis)?, axis(options.throttle_axis)?);
    Ok(Command {
        times: [stamp, message.log_time],
        values: [Some(steering), Some(throttle), None, None],
        ..Command::default()
    })
}

/// The keys of `pilotage.Start` that are used (crates/drivelog/schemas/start.json).
#[derive(Deserialize)]
struct StartKeys {
    simulated: bool,
    wheelbase: f64,
    steering_range: f64,
    speed_to_throttle: Vec<(f64, f64)>,
}

/// The drive of a log.
#[derive(Debug)]
pub(super) struct Start {
    pub domain: Domain,
    /// The car's, if it can be used.
    mixer: Option<Mixer>,
}

impl Start {
    pub fn of(message: &[u8]) -> Option<Self> {
        let keys: StartKeys = serde_json::from_slice(message).ok()?;
        let curve = Some(keys.speed_to_throttle).filter(|it| it.len() <= MOST_POINTS);
        let mixer =
            curve.and_then(|curve| Mixer::new(keys.wheelbase, keys.steering_range, curve).ok());
        Some(Self {
            domain: match keys.simulated {
                true => Domain::Simulated,
                false => Domain::Physical,
            },
            mixer,
        })
    }
}
