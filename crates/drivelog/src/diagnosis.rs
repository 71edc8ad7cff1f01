//! Why the car stopped, from the entries around the stop. A pure function.

mod cause;
mod stages;

use crate::detail::Detail;
use crate::entry::{EndKind, Frame, Guard, Stop};
use crate::inputs::{Gap, Input};
use crate::window::Window;

pub use cause::Cause;
pub use stages::{Stage, StageTimes};

/// What counts as shortly before and after a stop, milliseconds.
const NEAR: f64 = 1_000.0;
/// An interval between two iterations is late from this multiple of the frame period.
const LATE_PERIODS: f64 = 1.5;

/// Why a car stopped, and what was measured before.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// The guard's reason, if the guard stopped the car.
    pub stop: Option<Stop>,
    /// The cause.
    pub cause: Cause,
    /// The stages of the iterations of the last seconds, and of the one that was late.
    pub stages: Vec<StageTimes>,
    /// The stage that was late.
    pub late: Option<Stage>,
    /// The last second before.
    pub before: Before,
}

/// The last second before the stop.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Before {
    /// Iterations.
    pub iterations: usize,
    /// Frames of the camera that were missed.
    pub missed: u64,
    /// Records that the log lost.
    pub lost: u64,
    /// Iterations in which the fallback answered.
    pub fallbacks: usize,
    /// Iterations without a command.
    pub without_command: usize,
    /// Commands for which a missing or old input was replaced by a constant.
    pub replaced: usize,
    /// The last such input.
    pub replaced_input: Option<Input>,
    /// How often the network's memory started anew, because frames were missed.
    pub resets: usize,
    /// The command of the last iteration that did not see the car stopped: steering and throttle.
    pub asked: Option<[f32; 2]>,
    /// The guard's output in that iteration.
    pub granted: Option<[f32; 2]>,
    /// The guard's state in that iteration.
    pub guard: Option<Guard>,
    /// The longest time from capture until the guard accepted a command, milliseconds.
    pub longest_reaction_ms: Option<f64>,
    /// How long the pilot was not run by the system, milliseconds.
    pub paused_ms: f64,
}

/// The iteration that was late.
#[derive(Debug, Clone, Copy)]
struct Late {
    /// Its place in the window.
    place: usize,
    stage: Stage,
    ms: f64,
    paused_ms: f64,
}

impl Diagnosis {
    /// Finds the cause of the stop in `window`, or of the drive's end if it has no stop.
    pub fn of(window: &Window) -> Self {
        let frames = &window.frames;
        let place = window.stop.or_else(|| frames.len().checked_sub(1));
        let at = place.and_then(|place| frames.get(place));
        let stop = at.and_then(|frame| frame.stop);
        let late = place.and_then(|place| late(window, place));
        let cause = match (stop, window.stop) {
            (Some(stop), _) => of_stop(window, stop, place.unwrap_or(0), late),
            (None, _) => of_end(window),
        };
        let shown = match cause {
            Cause::CameraLate { .. }
            | Cause::CommandsOld { .. }
            | Cause::EngineLate { .. }
            | Cause::GpuFellBack { .. }
            | Cause::PilotNotRun { .. }
            | Cause::PilotSlow { .. } => late,
            _ => None,
        };
        Self {
            stop,
            cause,
            stages: stages::times(window, shown.map(|late| late.place)),
            late: shown.map(|late| late.stage),
            before: before(window, place),
        }
    }
}

fn of_stop(window: &Window, stop: Stop, place: usize, late: Option<Late>) -> Cause {
    let fault = fault_near(window, place);
    let detail = fault.and_then(|frame| frame.detail);
    let guard_is_gone = window
        .end
        .as_ref()
        .is_some_and(|end| end.kind == EndKind::GuardGone);
    match stop {
        Stop::Operator => Cause::Operator,
        Stop::Gamepad => Cause::GamepadGone,
        Stop::Actuator => Cause::BusFailed,
        Stop::ClockWentBack => Cause::ClockWentBack,
        Stop::FrozenPicture => Cause::CameraFrozen,
        Stop::Camera => match detail {
            Some(Detail::BlackPicture) => Cause::CameraBlack,
            Some(Detail::FrozenPicture) => Cause::CameraFrozen,
            Some(Detail::NoFrame) => {
                let ms = gap(window, place).unwrap_or(0.0);
                Cause::CameraLate { ms, missed: 0 }
            }
            Some(Detail::BadFrame) => Cause::BadFrame,
            _ if pictures_ended(window) => Cause::Ended(EndKind::Done),
            _ => Cause::CameraGone,
        },
        Stop::Engine => match detail {
            Some(Detail::NotFinite) => Cause::NotFinite,
            Some(Detail::NoPath) => Cause::NoPath,
            Some(Detail::EngineLate) => {
                let ms = gap(window, place).unwrap_or(0.0);
                Cause::EngineLate { ms }
            }
            _ => Cause::EngineFailed,
        },
        Stop::Pilot if guard_is_gone || is_of_guard(detail) => Cause::GuardGone,
        Stop::Pilot if is_of_sensor(detail) => no_measurement(window, fault),
        Stop::Pilot => Cause::PilotGone,
        Stop::Deadline | Stop::NoFirstCommand => without_command(window, place, stop, late),
        Stop::Unknown => Cause::Unknown,
    }
}

/// Whether the camera's pictures ended, and with them the drive: the camera of a folder reports the end
/// to the guard as any loss of a camera.
fn pictures_ended(window: &Window) -> bool {
    let is_done = window
        .end
        .as_ref()
        .is_some_and(|end| end.kind == EndKind::Done);
    let last = window.frames.back();
    is_done && last.is_some_and(|frame| frame.fault == Some(Stop::Camera))
}

/// Why no good command came: late ones, or ones that the guard could not accept.
fn without_command(window: &Window, place: usize, stop: Stop, late: Option<Late>) -> Cause {
    let near = near(window, place);
    if near
        .clone()
        .any(|frame| frame.command && !frame.asked.iter().all(|it| it.is_finite()))
    {
        return Cause::NotFinite;
    }
    if let Some(late) = late {
        let frame = window.frames.get(late.place);
        let excess = late.ms - window.start.frame_period_ms;
        let fallback = frame.is_some_and(|frame| frame.fallback);
        return match late.stage {
            _ if late.paused_ms >= 0.5 * excess => Cause::PilotNotRun { ms: late.paused_ms },
            Stage::Camera => Cause::CameraLate {
                ms: late.ms,
                missed: frame.map_or(0, |frame| frame.missed),
            },
            Stage::Engine if fallback => Cause::GpuFellBack { ms: late.ms },
            Stage::Engine => Cause::EngineLate { ms: late.ms },
            Stage::Vision | Stage::Sending => Cause::PilotSlow {
                stage: late.stage,
                ms: late.ms,
            },
        };
    }
    let ages = near
        .clone()
        .filter(|frame| frame.command && frame.arrived_ms > 0.0);
    let oldest = ages.map(|frame| frame.published_ms - frame.captured_ms);
    let oldest = oldest.fold(0.0, f64::max);
    if oldest > window.start.deadline_ms {
        return Cause::CommandsOld { ms: oldest };
    }
    match fault_near(window, place) {
        // It was stopped for the deadline, as the report came too late.
        Some(frame) if frame.fault == Some(Stop::Camera) => Cause::CameraGone,
        Some(frame) if frame.fault == Some(Stop::FrozenPicture) => Cause::CameraFrozen,
        Some(frame) if frame.fault == Some(Stop::Engine) => Cause::EngineFailed,
        Some(frame) if is_of_sensor(frame.detail) => no_measurement(window, Some(frame)),
        _ if stop == Stop::NoFirstCommand => Cause::NoFirstCommand,
        _ => Cause::CommandsRefused,
    }
}

/// The cause of an end without a stop.
fn of_end(window: &Window) -> Cause {
    let last = window.frames.back();
    let detail = last.and_then(|frame| frame.detail);
    let Some(end) = &window.end else {
        return match last.is_some_and(|frame| is_of_guard(frame.detail)) {
            true => Cause::GuardGone,
            false => Cause::StillRunning,
        };
    };
    match end.kind {
        EndKind::GuardGone => Cause::GuardGone,
        EndKind::Fault if is_of_guard(detail) => Cause::GuardGone,
        EndKind::Fault => match detail {
            Some(Detail::BlackPicture) => Cause::CameraBlack,
            Some(Detail::FrozenPicture) => Cause::CameraFrozen,
            Some(Detail::NotFinite) => Cause::NotFinite,
            Some(Detail::NoPath) => Cause::NoPath,
            Some(Detail::EngineLate | Detail::EngineFailed) => Cause::EngineFailed,
            _ if is_of_sensor(detail) => no_measurement(window, last),
            _ => Cause::CameraGone,
        },
        kind => Cause::Ended(kind),
    }
}

const fn is_of_guard(detail: Option<Detail>) -> bool {
    matches!(detail, Some(Detail::GuardGone | Detail::GuardSilent))
}

const fn is_of_sensor(detail: Option<Detail>) -> bool {
    matches!(detail, Some(Detail::NoMeasurement | Detail::NoScan))
}

/// Which input the engine lacked in the iteration that reported it.
fn no_measurement(window: &Window, fault: Option<&Frame>) -> Cause {
    let inputs = &window.start.inputs;
    let input = fault.and_then(|frame| {
        let is_scan = frame.detail == Some(Detail::NoScan);
        let mut lacking = frame.lacking.iter().copied();
        lacking.find(|&it| (it == Input::Scan) == is_scan && !inputs.replaces(it))
    });
    let age_ms = fault.zip(input);
    let age_ms = age_ms.and_then(|(frame, input)| frame.age_ms(input));
    Cause::NoMeasurement { input, age_ms }
}

/// The frames up to a second before `place`, and that one.
fn near(window: &Window, place: usize) -> impl Iterator<Item = &Frame> + Clone {
    let time = window
        .frames
        .get(place)
        .map_or(0.0, |frame| frame.published_ms);
    let until = window.frames.iter().take(place + 1);
    until.filter(move |frame| time - frame.published_ms <= NEAR)
}

/// The fault that the pilot reported around the stop.
fn fault_near(window: &Window, place: usize) -> Option<&Frame> {
    let time = window.frames.get(place)?.published_ms;
    let is_near = |frame: &&Frame| (time - frame.published_ms).abs() <= NEAR;
    let mut faults = window.frames.iter().filter(|frame| frame.fault.is_some());
    faults.find(is_near)
}

/// The time from the last iteration with a command before `place` to that one.
fn gap(window: &Window, place: usize) -> Option<f64> {
    let at = window.frames.get(place)?;
    let mut before = window.frames.iter().take(place);
    let last = before.rfind(|frame| frame.command)?;
    Some(at.published_ms - last.published_ms)
}

/// The iteration that ended longest after the previous one, within the time in which the guard
/// waited for a command, if it was late; and the stage that took the most of it.
fn late(window: &Window, place: usize) -> Option<Late> {
    let start = &window.start;
    let end = window.frames.get(place)?.published_ms;
    let pairs = (1..=place).filter_map(|place| {
        let before = window.frames.get(place - 1)?;
        let frame = window.frames.get(place)?;
        // A command's age counts too: the guard may take none since before the deadline.
        let is_near = end - frame.published_ms <= start.deadline_ms;
        is_near.then_some((place, before, frame))
    });
    let length = |before: &Frame, frame: &Frame| frame.published_ms - before.published_ms;
    let (place, before, frame) =
        pairs.max_by(|a, b| length(a.1, a.2).total_cmp(&length(b.1, b.2)))?;
    let whole = length(before, frame);
    if whole < LATE_PERIODS * start.frame_period_ms || whole < 0.5 * start.deadline_ms {
        return None;
    }
    let (stage, ms) = stages::longest(before, frame);
    Some(Late {
        place,
        stage,
        ms,
        paused_ms: paused(window, before.published_ms, frame.published_ms),
    })
}

/// How long the pilot was not run between `from` and `to`.
fn paused(window: &Window, from: f64, to: f64) -> f64 {
    let within = window.pauses.iter().map(|pause| {
        let overlap = pause.end_ms.min(to) - pause.start_ms.max(from);
        overlap.min(pause.waited_ms).max(0.0)
    });
    within.sum()
}

fn before(window: &Window, place: Option<usize>) -> Before {
    let Some(place) = place else {
        return Before::default();
    };
    let end = window
        .frames
        .get(place)
        .map_or(0.0, |frame| frame.published_ms);
    let mut earlier = window.frames.iter().take(place + 1);
    let last = earlier.rfind(|frame| frame.guard != Guard::Stopped);
    let mut before = Before {
        guard: last.map(|frame| frame.guard),
        asked: last.filter(|frame| frame.command).map(|frame| frame.asked),
        granted: last.and_then(|frame| frame.granted),
        paused_ms: paused(window, end - NEAR, end),
        ..Before::default()
    };
    for frame in near(window, place) {
        before.iterations += 1;
        before.missed = before.missed.saturating_add(frame.missed);
        before.lost = before.lost.saturating_add(frame.lost);
        before.fallbacks += usize::from(frame.fallback);
        before.without_command += usize::from(!frame.command);
        before.resets += usize::from(frame.gap == Some(Gap::Reset));
        if let Some(input) = frame.lacking.last().filter(|_| frame.command) {
            before.replaced += 1;
            before.replaced_input = Some(*input);
        }
        let longest = before.longest_reaction_ms;
        before.longest_reaction_ms = match (longest, frame.reaction_ms) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
    }
    before
}
