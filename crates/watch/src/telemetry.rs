//! The messages to the page, JSON in text frames. Pictures are JPEG in binary frames.

use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use pilotage_drivelog::{Car, Input, Inputs};
use pilotage_tap::{Drive, FrameRecord, Gap, GuardState, NumberedScan, flags};
use pilotage_vehicle::Measurement;
use serde::Serialize;

/// Whether there is a pilot, and its drive.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Status<'a> {
    /// No pilot yet.
    Waiting,
    /// The pilot cannot be observed.
    Failed { reason: &'a str },
    /// The pilot has ended.
    Ended,
    /// A pilot drives.
    Drive {
        name: &'a str,
        simulated: bool,
        /// Milliseconds.
        deadline: f64,
        /// Milliseconds.
        period: f64,
        /// The centre line, metres.
        track: &'a [[f32; 2]],
        /// What the engine gets besides the present picture.
        inputs: Box<Inputs>,
        /// The car has a lidar.
        lidar: bool,
    },
}

impl<'a> Status<'a> {
    pub(crate) fn of(drive: &'a Drive) -> Self {
        Self::Drive {
            name: &drive.name,
            simulated: drive.simulated,
            deadline: drive.deadline.as_secs_f64() * 1e3,
            period: drive.frame_period.as_secs_f64() * 1e3,
            track: &drive.track,
            inputs: Box::new(Inputs::from(&drive.inputs)),
            lidar: drive.lidar_rays > 0,
        }
    }

    pub(crate) fn json(&self) -> Utf8Bytes {
        json(self)
    }
}

/// The frames of a few milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Batch {
    kind: &'static str,
    /// Records that were overwritten before they were read, since the start.
    lost: u64,
    /// Frames that were left out of this batch, because there were too many for a page.
    skipped: u64,
    /// The guard's state after the last frame, in words.
    guard: String,
    frames: Vec<Frame>,
}

impl Batch {
    pub(crate) fn json(lost: u64, skipped: u64, records: &[FrameRecord]) -> Option<Utf8Bytes> {
        let last = records.last()?;
        Some(json(&Self {
            kind: "frames",
            lost,
            skipped,
            guard: in_words(last),
            frames: records.iter().map(Frame::of).collect(),
        }))
    }
}

/// One frame. Times are milliseconds.
#[derive(Debug, Serialize)]
struct Frame {
    sequence: u64,
    captured: f64,
    /// From capture to arrival.
    waited: f64,
    vision: f64,
    inference: f64,
    /// From arrival to the command sent.
    sent: f64,
    reaction: Option<f64>,
    missed: u64,
    outputs: Vec<f32>,
    controls: [f32; 2],
    twist: bool,
    asked: [f32; 2],
    granted: Option<[f32; 2]>,
    state: &'static str,
    fallback: bool,
    command: bool,
    hand: bool,
    car: Option<Car>,
    /// Speed, yaw rate, acceleration ahead and to the left, as measured.
    measured: [Option<f32>; Measurement::ALL.len()],
    measured_age: f64,
    high_level: Option<String>,
    /// How long before the frame the latest scan was complete, if there is one.
    scan_age: Option<f64>,
    /// What the engine gets, and was missing or too old.
    lacking: Vec<Input>,
    /// The network's memory started anew, because frames were missed.
    reset: bool,
}

impl Frame {
    fn of(record: &FrameRecord) -> Self {
        let ms = |nanos: u64| nanos as f64 * 1e-6;
        let sensed = record.sensed();
        let age = |age: Duration| age.as_secs_f64() * 1e3;
        Self {
            sequence: record.sequence,
            captured: ms(record.captured),
            waited: ms(record.arrived.saturating_sub(record.captured)),
            vision: ms(record.vision),
            inference: ms(record.inference),
            sent: ms(record.sent),
            reaction: (record.reaction > 0).then(|| ms(record.reaction)),
            missed: record.missed,
            outputs: record.outputs().to_vec(),
            controls: record.controls,
            twist: record.has(flags::TWIST),
            asked: record.asked,
            granted: record.has(flags::GRANTED).then_some(record.granted),
            state: name(record.guard()),
            fallback: record.has(flags::FALLBACK),
            command: !record.has(flags::NO_COMMAND),
            hand: record.has(flags::BY_HAND),
            car: record.simulated().map(Car::from),
            measured: Measurement::ALL.map(|it| sensed.measured.get(it)),
            measured_age: age(sensed.measured_age),
            high_level: record.high_level().map(str::to_owned),
            scan_age: (record.scan > 0).then(|| age(sensed.scan_age)),
            lacking: Input::lacking(&sensed),
            reset: sensed.gap == Some(Gap::Reset),
        }
    }
}

/// The newest scan of the lidar, thinned to what a page draws.
#[derive(Debug, Serialize)]
pub(crate) struct ScanMessage {
    kind: &'static str,
    /// The first direction, and from each ray to the next, degrees; left is positive.
    start: f64,
    step: f64,
    /// Millimetres, and 0 without an echo.
    ranges: Vec<u16>,
}

/// Most rays that a page draws.
const MOST_DRAWN: usize = 541;

impl ScanMessage {
    /// Of each group of neighbouring rays, the nearest obstacle is kept.
    pub(crate) fn json(scan: &NumberedScan) -> Utf8Bytes {
        let (rays, distances) = (scan.scan.rays, &scan.scan.millimetres);
        let group = distances.len().div_ceil(MOST_DRAWN).max(1);
        let step = (rays.angle(1) - rays.angle(0)) * group as f64;
        let nearest = |group: &[u16]| {
            let echoes = group.iter().filter(|it| **it > 0);
            echoes.min().copied().unwrap_or(0)
        };
        json(&Self {
            kind: "scan",
            start: 0.5 * (rays.angle(0) + rays.angle(group - 1)),
            step,
            ranges: distances.chunks(group).map(nearest).collect(),
        })
    }
}

const fn name(state: GuardState) -> &'static str {
    match state {
        GuardState::Unknown => "unknown",
        GuardState::Disarmed => "disarmed",
        GuardState::Armed => "armed",
        GuardState::Driving => "driving",
        GuardState::Stopped(_) => "stopped",
        GuardState::Trimming => "trimming",
    }
}

/// The guard's state in words, with what else an operator has to know.
pub(crate) fn in_words(record: &FrameRecord) -> String {
    let mut words = match record.guard() {
        GuardState::Unknown => "the guard has not reported its state".to_owned(),
        GuardState::Disarmed => "disarmed: the car does not move until an operator arms it".into(),
        GuardState::Armed => "armed: the car drives with the next good command".into(),
        GuardState::Driving => "driving".into(),
        GuardState::Stopped(Some(reason)) => format!("stopped: {reason}"),
        GuardState::Stopped(None) => "stopped, for a reason that this program does not know".into(),
        GuardState::Trimming => "an operator trims the servo".into(),
    };
    if let Some(fault) = record.fault() {
        words.push_str(&format!("; the pilot reports: {fault}"));
    }
    if record.has(flags::STOP_HELD) {
        words.push_str("; a stop button is held");
    }
    if record.has(flags::ACTUATOR_FAILED) {
        words.push_str("; the motors do not take commands");
    }
    words
}

fn json(message: &impl Serialize) -> Utf8Bytes {
    // The types above always serialize: no map with other keys than strings, no fallible field.
    serde_json::to_string(message).unwrap_or_default().into()
}
