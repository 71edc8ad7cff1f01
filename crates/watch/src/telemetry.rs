//! The messages to the page, JSON in text frames. Pictures are JPEG in binary frames.

use axum::extract::ws::Utf8Bytes;
use pilotage_drivelog::Car;
use pilotage_tap::{Drive, FrameRecord, GuardState, flags};
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
}

impl Frame {
    fn of(record: &FrameRecord) -> Self {
        let ms = |nanos: u64| nanos as f64 * 1e-6;
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
        }
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
fn in_words(record: &FrameRecord) -> String {
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
