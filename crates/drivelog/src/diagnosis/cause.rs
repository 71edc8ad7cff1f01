//! The causes of a stop, in words, and what to do.

use super::stages::Stage;
use crate::entry::EndKind;
use crate::inputs::Input;
use crate::window::Window;

/// Why a car stopped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// The camera gave no frame in time.
    CameraLate {
        /// How long the pilot waited, milliseconds.
        ms: f64,
        /// How many frames were missed.
        missed: u64,
    },
    /// The camera gave the same picture again and again.
    CameraFrozen,
    /// The camera gave black pictures.
    CameraBlack,
    /// The camera was unplugged, ended or failed.
    CameraGone,
    /// A frame cannot be used.
    BadFrame,
    /// The engine did not answer in time.
    EngineLate {
        /// How long it took, milliseconds.
        ms: f64,
    },
    /// The engine failed.
    EngineFailed,
    /// The GPU did not answer, and the fallback was too slow.
    GpuFellBack {
        /// How long both took, milliseconds.
        ms: f64,
    },
    /// The engine's answer was not a number.
    NotFinite,
    /// The engine's answer was no path that the car can follow.
    NoPath,
    /// A number or scan that the network gets was missing or too old.
    NoMeasurement {
        /// Which, if it is known.
        input: Option<Input>,
        /// Its age, if there was one that was too old, milliseconds.
        age_ms: Option<f64>,
    },
    /// An operator stopped the car.
    Operator,
    /// The gamepad was unplugged or out of power.
    GamepadGone,
    /// The motors' bus did not take a write.
    BusFailed,
    /// The guard has ended or does not answer.
    GuardGone,
    /// The system did not run the pilot.
    PilotNotRun {
        /// How long, milliseconds.
        ms: f64,
    },
    /// Another part of the loop took too long.
    PilotSlow {
        /// The part.
        stage: Stage,
        /// How long it took, milliseconds.
        ms: f64,
    },
    /// The pilot's connection to the guard was closed.
    PilotGone,
    /// The commands came from frames that were too old.
    CommandsOld {
        /// The greatest age, milliseconds.
        ms: f64,
    },
    /// Commands were sent in time, and the guard accepted none.
    CommandsRefused,
    /// Armed, but no command was sent.
    NoFirstCommand,
    /// The clock went backwards.
    ClockWentBack,
    /// The drive ended without a stop.
    Ended(EndKind),
    /// The log has neither a stop nor an end.
    StillRunning,
    /// The guard's reason is not known to this version.
    Unknown,
}

impl Cause {
    /// The cause in words, without an end mark.
    pub fn words(&self, window: &Window) -> String {
        let deadline = window.start.deadline_ms;
        let period = window.start.frame_period_ms;
        let usual = format!("frames come each {period:.0} ms, the deadline is {deadline:.0} ms");
        match self {
            Self::CameraLate { ms, missed: 0 } => {
                format!("the camera was late: no frame for {ms:.0} ms; {usual}")
            }
            Self::CameraLate { ms, missed } => format!(
                "the camera was late: no frame for {ms:.0} ms, and {missed} frames missed; {usual}"
            ),
            Self::CameraFrozen => {
                "the camera is frozen: it gave the same picture again and again".to_owned()
            }
            Self::CameraBlack => "the camera's picture is black".to_owned(),
            Self::CameraGone => "the camera is gone: unplugged, ended or failed".to_owned(),
            Self::BadFrame => "a frame of the camera cannot be used".to_owned(),
            Self::EngineLate { ms } => {
                format!("the engine was late: an answer took {ms:.0} ms; {usual}")
            }
            Self::EngineFailed => "the engine failed".to_owned(),
            Self::GpuFellBack { ms } => format!(
                "the GPU did not answer, and with the CPU in its place the answer took {ms:.0} ms; \
                 {usual}"
            ),
            Self::NotFinite => "the engine's answer was not a number".to_owned(),
            Self::NoPath => "the engine saw no path that the car can follow".to_owned(),
            Self::NoMeasurement { input, age_ms } => no_measurement(*input, *age_ms),
            Self::Operator => "an operator stopped the car".to_owned(),
            Self::GamepadGone => "the gamepad is gone: unplugged, or out of power".to_owned(),
            Self::BusFailed => "the motors' bus did not take a write".to_owned(),
            Self::GuardGone => "the guard ended or does not answer".to_owned(),
            Self::PilotNotRun { ms } => {
                format!("the system did not run the pilot for {ms:.0} ms; {usual}")
            }
            Self::PilotSlow { stage, ms } => {
                format!(
                    "the pilot was slow: {} took {ms:.0} ms; {usual}",
                    stage.name()
                )
            }
            Self::PilotGone => "the pilot's connection to the guard was closed".to_owned(),
            Self::CommandsOld { ms } => {
                format!("the commands were too old: {ms:.0} ms from capture to command; {usual}")
            }
            Self::CommandsRefused => {
                "commands were sent in time, but the guard accepted none".to_owned()
            }
            Self::NoFirstCommand => "the pilot sent no command after the arming".to_owned(),
            Self::ClockWentBack => "the clock went backwards".to_owned(),
            Self::Ended(EndKind::Signal) => "the drive was ended by a signal".to_owned(),
            Self::Ended(_) => {
                let end = window.end.as_ref();
                end.map_or_else(|| "the drive ended".to_owned(), |end| end.text.clone())
            }
            Self::StillRunning => {
                "the log has no stop and no end: the drive goes on, or the computer lost power \
                 or the pilot was killed"
                    .to_owned()
            }
            Self::Unknown => "the guard's reason is not known to this version".to_owned(),
        }
    }

    /// What to do.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::CameraLate { .. } => {
                "look at the camera's cable and at what else uses its USB bus; `pilotage doctor`; \
                 in the dark a camera lengthens its exposure: fix it with `camera.controls`"
            }
            Self::CameraFrozen => {
                "more light, a fixed exposure (`camera.controls`), a lower `camera.rate`, or plug \
                 the camera in again"
            }
            Self::CameraBlack => {
                "uncover the lens, add light, or set a longer exposure (`camera.controls`)"
            }
            Self::CameraGone => "check the camera's plug and power; `pilotage doctor`",
            Self::BadFrame => "see the message; `pilotage check` the car.toml",
            Self::EngineLate { .. } => {
                "compare with `pilotage bench`; end other programs; on a Jetson `sudo \
                 jetson_clocks`; a smaller network or a lower `camera.rate`"
            }
            Self::EngineFailed => "see the message; `pilotage inspect` the engine",
            Self::GpuFellBack { .. } => {
                "find why the GPU was late (`sudo jetson_clocks`, `sudo dmesg`); a smaller \
                 `engine.gpu_limit_ms` leaves the CPU more time"
            }
            Self::NotFinite => {
                "an fp16 engine exceeds 65,504: compile it with `precision = \"int8\"`; else check \
                 the model with its validation frames (`pilotage inspect`)"
            }
            Self::NoPath => {
                "put the car back on the road, and see the message: if the road was in view, check \
                 `threshold`, `camera` and `look_ahead` of the recipe's [decoder] with `pilotage replay`"
            }
            Self::NoMeasurement { .. } => {
                "check the sensor and its cable; the log's messages say more; `missing` in the recipe's \
                 [[measurement]] or [scan] may replace it by a constant"
            }
            Self::Operator => "nothing: `pilotage arm` drives on",
            Self::GamepadGone => "charge it, or plug it in; then an operator arms the car",
            Self::BusFailed => {
                "check the plugs and the supply of the motors' board, then arm the car; the guard's \
                 message names the device (`journalctl -u pilotage-guard`, docs/log-lines.md)"
            }
            Self::GuardGone => {
                "look for its last messages (`journalctl -u pilotage-guard`); after a kill start it \
                 again, and arm the car"
            }
            Self::PilotNotRun { .. } => {
                "another program or a signal kept the pilot from running: look for it with `top`; \
                 use a governor without sleep states, and no suspend"
            }
            Self::PilotSlow { .. } => "end other programs; compare with `pilotage bench`",
            Self::PilotGone => "look for the pilot's last messages (`journalctl -u pilotage`)",
            Self::CommandsOld { .. } => {
                "shorten the way from the camera to the loop (`camera.rate`, its buffers), or set a \
                 longer `guard.deadline_ms`"
            }
            Self::CommandsRefused => "see what it refused: `pilotage status`",
            Self::NoFirstCommand => {
                "arm the car when the pilot runs, with the dead-man button held by hand"
            }
            Self::ClockWentBack => "report it as a defect: CLOCK_MONOTONIC never does",
            Self::Ended(EndKind::OffRoad | EndKind::Stalled) => {
                "the network drove badly: watch the lap with `--watch`, train on more of this place"
            }
            Self::Ended(_) => "nothing: the drive ended, and the car was disarmed",
            Self::StillRunning => {
                "if the pilot was killed: `journalctl -u pilotage`; after a power cut nothing"
            }
            Self::Unknown => "read the log with the version of Pilotage that wrote it",
        }
    }
}

fn no_measurement(input: Option<Input>, age_ms: Option<f64>) -> String {
    match (input, age_ms) {
        (Some(Input::Scan), None) => "the lidar gave no scan, which the engine gets".to_owned(),
        (Some(Input::Scan), Some(age)) => {
            format!("the lidar's latest scan, which the engine gets, was too old: {age:.0} ms")
        }
        (Some(input), None) => format!(
            "no sensor gave the {}, which the engine gets",
            input.words()
        ),
        (Some(input), Some(age)) => format!(
            "the {}, which the engine gets, was too old: measured {age:.0} ms before",
            input.words()
        ),
        (None, _) => {
            "a number or a scan that the engine gets from the car's sensors was missing or too old"
                .to_owned()
        }
    }
}
