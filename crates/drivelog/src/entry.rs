//! The entries of a log. Each is one JSON message; times are milliseconds on the drive's clock.

use std::time::Duration;

use pilotage_guard_policy::StopReason;
use pilotage_tap::{FrameRecord, GuardState, Simulated, flags};
use pilotage_vehicle::{Fault, Scan};
use serde::{Deserialize, Serialize};

use crate::detail::Detail;
use crate::inputs::{Gap, Input, Inputs};
use crate::measured::Measured;
use crate::number;

/// An entry of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// What is known of the drive from its start; the first entry of a log.
    Start(Box<Start>),
    /// One iteration of the loop.
    Frame(Box<Frame>),
    /// A picture of the camera.
    Picture(Picture),
    /// A message of the pilot.
    Message(Message),
    /// The pilot was not run by the system.
    Pause(Pause),
    /// A scan of the lidar.
    Scan(LidarScan),
    /// The end of the drive.
    End(End),
}

impl Entry {
    /// When it was made, milliseconds on the drive's clock; `None` for the start.
    pub fn time_ms(&self) -> Option<f64> {
        match self {
            Self::Start(_) => None,
            Self::Frame(frame) => Some(frame.published_ms),
            Self::Picture(picture) => Some(picture.captured_ms),
            Self::Message(message) => Some(message.time_ms),
            Self::Pause(pause) => Some(pause.end_ms),
            Self::Scan(scan) => Some(scan.taken_ms),
            Self::End(end) => Some(end.time_ms),
        }
    }
}

/// What is known of a drive from its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The version of Pilotage that wrote the log.
    pub version: String,
    /// The car's name.
    pub car: String,
    /// The simulator's car drives.
    pub simulated: bool,
    /// What drives: an engine and what runs it, or a gamepad.
    pub driver: String,
    /// When the drive began, nanoseconds since 1970-01-01 UTC.
    pub started_ns: u64,
    /// The time at zero of the drive's clock, nanoseconds since 1970-01-01 UTC.
    pub epoch_ns: u64,
    /// The guard's deadline, milliseconds.
    pub deadline_ms: f64,
    /// The time from frame to frame, milliseconds.
    pub frame_period_ms: f64,
    /// Between the axles, metres.
    pub wheelbase: f64,
    /// The wheels' angle at full steering, radians.
    pub steering_range: f64,
    /// Points of (m/s, throttle), both rising from (0, 0).
    pub speed_to_throttle: Vec<(f64, f64)>,
    /// The log has the whole drive, not only the last seconds before a stop or the end.
    pub whole_drive: bool,
    /// What the engine gets besides the present picture; nothing by hand.
    #[serde(default)]
    pub inputs: Inputs,
}

/// The guard's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The guard had not reported its state.
    Unknown,
    /// No operator had armed the car.
    Disarmed,
    /// Armed, without a good command so far.
    Armed,
    /// A good command was in force.
    Driving,
    /// Stopped.
    Stopped,
    /// An operator trimmed the servo.
    Trimming,
}

/// Why the guard stopped the car, or what the pilot reported to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// No good command within the deadline.
    Deadline,
    /// Armed, but no good command came.
    NoFirstCommand,
    /// The clock went backwards.
    ClockWentBack,
    /// An operator stopped the car.
    Operator,
    /// The camera failed.
    Camera,
    /// The camera's picture is frozen.
    FrozenPicture,
    /// The engine failed.
    Engine,
    /// The pilot disconnected, or cannot continue.
    Pilot,
    /// The gamepad is gone.
    Gamepad,
    /// The actuator did not take a write.
    Actuator,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Stop {
    const fn of_fault(fault: Fault) -> Self {
        match fault {
            Fault::Camera => Self::Camera,
            Fault::FrozenPicture => Self::FrozenPicture,
            Fault::Engine => Self::Engine,
            Fault::Pilot => Self::Pilot,
            Fault::Gamepad => Self::Gamepad,
            Fault::Actuator => Self::Actuator,
        }
    }

    fn of_reason(reason: Option<StopReason>) -> Self {
        match reason {
            Some(StopReason::Deadline) => Self::Deadline,
            Some(StopReason::NoFirstCommand) => Self::NoFirstCommand,
            Some(StopReason::ClockWentBack) => Self::ClockWentBack,
            Some(StopReason::Operator) => Self::Operator,
            Some(StopReason::Fault(fault)) => Self::of_fault(fault),
            None => Self::Unknown,
        }
    }

    /// The reason as the guard reports it.
    pub fn words(self) -> String {
        let reason = match self {
            Self::Deadline => StopReason::Deadline,
            Self::NoFirstCommand => StopReason::NoFirstCommand,
            Self::ClockWentBack => StopReason::ClockWentBack,
            Self::Operator => StopReason::Operator,
            Self::Camera => StopReason::Fault(Fault::Camera),
            Self::FrozenPicture => StopReason::Fault(Fault::FrozenPicture),
            Self::Engine => StopReason::Fault(Fault::Engine),
            Self::Pilot => StopReason::Fault(Fault::Pilot),
            Self::Gamepad => StopReason::Fault(Fault::Gamepad),
            Self::Actuator => StopReason::Fault(Fault::Actuator),
            Self::Unknown => return "a reason that this version does not know".to_owned(),
        };
        reason.to_string()
    }
}

/// One iteration of the loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The frame's sequence number.
    pub sequence: u64,
    /// When the camera took the frame; 0 without a frame.
    pub captured_ms: f64,
    /// When the loop received the frame; 0 without a frame.
    pub arrived_ms: f64,
    /// When the record was made, at the end of the iteration.
    pub published_ms: f64,
    /// From arrival to the filled input of the network.
    pub vision_ms: f64,
    /// The engine's own time.
    pub inference_ms: f64,
    /// The part of it on the device, where that differs.
    pub device_ms: Option<f64>,
    /// From arrival to the command sent.
    pub sent_ms: f64,
    /// From capture of the previous command's frame until the guard accepted that command.
    pub reaction_ms: Option<f64>,
    /// Frames of the camera that were missed since the previous record.
    pub missed: u64,
    /// Records before this one that the log lost.
    pub lost: u64,
    /// The network's raw outputs.
    #[serde(deserialize_with = "number::all")]
    pub outputs: Vec<f32>,
    /// Steering and throttle (-1 to 1), or with `twist` speed (m/s) and yaw rate (rad/s).
    #[serde(deserialize_with = "number::pair")]
    pub controls: [f32; 2],
    /// The controls are speed and yaw rate.
    pub twist: bool,
    /// Steering and throttle that were sent to the guard, -1 to 1.
    #[serde(deserialize_with = "number::pair")]
    pub asked: [f32; 2],
    /// Steering and throttle that the guard last put out, -1 to 1.
    #[serde(default, deserialize_with = "number::pair_if_known")]
    pub granted: Option<[f32; 2]>,
    /// The guard's state.
    pub guard: Guard,
    /// Why the guard stopped the car, if it did.
    pub stop: Option<Stop>,
    /// A command was sent.
    pub command: bool,
    /// What the pilot reported instead of a command.
    pub fault: Option<Stop>,
    /// What exactly failed.
    pub detail: Option<Detail>,
    /// The fallback answered in the engine's place.
    pub fallback: bool,
    /// An operator drove by hand.
    pub by_hand: bool,
    /// The operator held the dead-man button.
    pub dead_man: bool,
    /// An operator held a stop button.
    pub stop_held: bool,
    /// The last write to the actuator failed.
    pub actuator_failed: bool,
    /// The simulated car.
    pub simulated: Option<Car>,
    /// What the car's sensors measured.
    #[serde(flatten)]
    pub measured: Measured,
    /// The high-level command, such as `left`.
    #[serde(default)]
    pub high_level_command: Option<String>,
    /// How long before the frame the numbers were measured, if there are any.
    #[serde(default)]
    pub measured_age_ms: Option<f64>,
    /// The number of the lidar's latest scan, if there is one.
    #[serde(default)]
    pub scan: Option<u64>,
    /// How long before the frame it was complete.
    #[serde(default)]
    pub scan_age_ms: Option<f64>,
    /// What the engine gets, and was missing or too old.
    #[serde(default)]
    pub lacking: Vec<Input>,
    /// What the network's memory did, if frames were missed.
    #[serde(default)]
    pub gap: Option<Gap>,
}

/// The simulated car.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Car {
    /// Share of the lap done, 0 to 1.
    #[serde(deserialize_with = "number::one")]
    pub lap: f32,
    /// Speed, m/s.
    #[serde(deserialize_with = "number::one")]
    pub speed: f32,
    /// Distance from the line in metres, left positive.
    #[serde(deserialize_with = "number::one")]
    pub offset: f32,
    /// Position, metres.
    #[serde(deserialize_with = "number::one")]
    pub x: f32,
    /// Position, metres.
    #[serde(deserialize_with = "number::one")]
    pub y: f32,
    /// Heading in radians, counter-clockwise from x.
    #[serde(deserialize_with = "number::one")]
    pub heading: f32,
}

impl From<Simulated> for Car {
    fn from(car: Simulated) -> Self {
        Self {
            lap: car.lap,
            speed: car.speed,
            offset: car.offset,
            x: car.x,
            y: car.y,
            heading: car.heading,
        }
    }
}

pub(crate) fn ms(nanos: u64) -> f64 {
    nanos as f64 * 1e-6
}

fn age_ms(age: Duration) -> f64 {
    age.as_secs_f64() * 1e3
}

impl Frame {
    /// The entry of a record of the tap, before which `lost` records were lost.
    pub fn of(record: &FrameRecord, lost: u64) -> Self {
        let known = |nanos: u64| (nanos > 0).then(|| ms(nanos));
        let (guard, stop) = match record.guard() {
            GuardState::Unknown => (Guard::Unknown, None),
            GuardState::Disarmed => (Guard::Disarmed, None),
            GuardState::Armed => (Guard::Armed, None),
            GuardState::Driving => (Guard::Driving, None),
            GuardState::Trimming => (Guard::Trimming, None),
            GuardState::Stopped(reason) => (Guard::Stopped, Some(Stop::of_reason(reason))),
        };
        let sensed = record.sensed();
        let has_numbers = !sensed.measured.is_empty();
        Self {
            sequence: record.sequence,
            captured_ms: ms(record.captured),
            arrived_ms: ms(record.arrived),
            published_ms: ms(record.published),
            vision_ms: ms(record.vision),
            inference_ms: ms(record.inference),
            device_ms: known(record.device),
            sent_ms: ms(record.sent),
            reaction_ms: known(record.reaction),
            missed: record.missed,
            lost,
            outputs: record.outputs().to_vec(),
            controls: record.controls,
            twist: record.has(flags::TWIST),
            asked: record.asked,
            granted: record.has(flags::GRANTED).then_some(record.granted),
            guard,
            stop,
            command: !record.has(flags::NO_COMMAND),
            fault: record.fault().map(Stop::of_fault),
            detail: record.detail().map(Detail::from),
            fallback: record.has(flags::FALLBACK),
            by_hand: record.has(flags::BY_HAND),
            dead_man: record.has(flags::DEAD_MAN),
            stop_held: record.has(flags::STOP_HELD),
            actuator_failed: record.has(flags::ACTUATOR_FAILED),
            simulated: record.simulated().map(Car::from),
            measured: sensed.measured.into(),
            high_level_command: record.high_level().map(str::to_owned),
            measured_age_ms: has_numbers.then(|| age_ms(sensed.measured_age)),
            scan: (record.scan > 0).then_some(record.scan),
            scan_age_ms: (record.scan > 0).then(|| age_ms(sensed.scan_age)),
            lacking: Input::lacking(&sensed),
            gap: sensed.gap.map(Gap::from),
        }
    }

    /// How long ago this input was measured, if it was.
    pub(crate) fn age_ms(&self, input: Input) -> Option<f64> {
        match input {
            Input::Scan => self.scan_age_ms.filter(|_| self.scan.is_some()),
            _ => self.measured_age_ms.filter(|_| self.measured.has(input)),
        }
    }

    /// When the iteration received its frame, if it did.
    pub fn arrival_ms(&self) -> Option<f64> {
        (self.arrived_ms > 0.0).then_some(self.arrived_ms)
    }
}

/// A picture of the camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The number of its frame.
    pub sequence: u64,
    /// When the camera took it.
    pub captured_ms: f64,
    /// A JPEG file.
    pub jpeg: Vec<u8>,
}

/// A scan of the lidar.
#[derive(Debug, Clone, PartialEq)]
pub struct LidarScan {
    /// Its number, which [`Frame::scan`] names.
    pub number: u64,
    /// When it was complete.
    pub taken_ms: f64,
    /// The distances.
    pub scan: Scan,
}

/// The level of a message; the numbers are Foxglove's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something happened as it should.
    Info = 2,
    /// Something failed, and the drive went on.
    Warning = 3,
    /// Something failed.
    Error = 4,
}

impl Level {
    /// The level with a number of Foxglove's, rounded to one of these.
    pub(crate) const fn of_number(number: u8) -> Self {
        match number {
            0..=2 => Self::Info,
            3 => Self::Warning,
            _ => Self::Error,
        }
    }

    /// The level's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A message of the pilot.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// When it was made.
    pub time_ms: f64,
    /// How severe it is.
    pub level: Level,
    /// The text, one line.
    pub text: String,
}

/// An interval in which the system did not run the pilot.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Its start at the earliest.
    pub start_ms: f64,
    /// Its end at the latest.
    pub end_ms: f64,
    /// How long the pilot did not run within these, milliseconds.
    pub waited_ms: f64,
    /// What was paused.
    pub kind: PauseKind,
}

/// What a pause was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseKind {
    /// The whole process, or the computer, was paused: another thread of the pilot did not run either.
    Process,
    /// The loop's thread was ready, and waited for a processor.
    Queue,
}

/// The end of a drive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub time_ms: f64,
    /// How.
    pub kind: EndKind,
    /// The same in words.
    pub text: String,
}

/// How a drive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndKind {
    /// As requested: the laps, frames or pictures ended.
    Done,
    /// A signal, such as Ctrl-C.
    Signal,
    /// The simulated car left the road.
    OffRoad,
    /// The simulated car did not move on.
    Stalled,
    /// The time limit was reached.
    TimeLimit,
    /// The guard stopped the simulated car.
    Stopped,
    /// A component failed in the simulator.
    Fault,
    /// The guard has ended or does not answer.
    GuardGone,
    /// A way that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Start {
    /// Before the start was read.
    pub(crate) fn unknown() -> Self {
        Self {
            version: String::new(),
            car: String::new(),
            simulated: false,
            driver: String::new(),
            started_ns: 0,
            epoch_ns: 0,
            deadline_ms: 0.0,
            frame_period_ms: 0.0,
            wheelbase: 0.0,
            steering_range: 0.0,
            speed_to_throttle: Vec::new(),
            whole_drive: false,
            inputs: Inputs::default(),
        }
    }
}
