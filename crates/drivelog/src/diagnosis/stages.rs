//! The times of an iteration's stages.

use crate::entry::Frame;
use crate::window::Window;

/// A stage of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the end of the last iteration until the frame arrived.
    Camera,
    /// From the frame to the network's input.
    Vision,
    /// The engine.
    Engine,
    /// The rest, until the command is sent and the record written.
    Sending,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 4] = [Self::Camera, Self::Vision, Self::Engine, Self::Sending];

    /// The stage's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Camera => "wait for camera",
            Self::Vision => "vision",
            Self::Engine => "engine",
            Self::Sending => "sending",
        }
    }

    /// How long the stage of `frame` took, milliseconds; `before` is the iteration before.
    pub fn of(self, before: &Frame, frame: &Frame) -> f64 {
        let whole = frame.published_ms - before.published_ms;
        let Some(arrived) = frame.arrival_ms() else {
            // No frame came, or an operator drives.
            return match self {
                Self::Camera => whole.max(0.0),
                _ => 0.0,
            };
        };
        let ms = match self {
            Self::Camera => arrived - before.published_ms,
            Self::Vision => frame.vision_ms,
            Self::Engine => frame.inference_ms,
            Self::Sending => frame.published_ms - arrived - frame.vision_ms - frame.inference_ms,
        };
        ms.max(0.0)
    }
}

/// The times of a stage, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageTimes {
    /// The stage.
    pub stage: Stage,
    /// The median over the window.
    pub median: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The time in the iteration that was late, if one was.
    pub late: Option<f64>,
}

/// The stage that took longest, and its time.
pub(super) fn longest(before: &Frame, frame: &Frame) -> (Stage, f64) {
    let times = Stage::ALL.map(|stage| (stage, stage.of(before, frame)));
    let [first, rest @ ..] = times;
    rest.into_iter().fold(
        first,
        |most, next| if next.1 > most.1 { next } else { most },
    )
}

/// The times of all stages; those at the place `late` too.
pub(super) fn times(window: &Window, late: Option<usize>) -> Vec<StageTimes> {
    let frames = &window.frames;
    let pairs = || frames.iter().zip(frames.iter().skip(1));
    let times = Stage::ALL.into_iter().filter_map(|stage| {
        let driven = pairs().filter(|(_, frame)| frame.arrival_ms().is_some());
        let mut all: Vec<f64> = driven
            .map(|(before, frame)| stage.of(before, frame))
            .collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * all.len().saturating_sub(1) as f64).round();
            all.get(place as usize).copied()
        };
        let late = late.and_then(|place| {
            let before = frames.get(place.checked_sub(1)?)?;
            Some(stage.of(before, frames.get(place)?))
        });
        Some(StageTimes {
            stage,
            median: at(0.5)?,
            p99: at(0.99)?,
            late,
        })
    });
    times.collect()
}
