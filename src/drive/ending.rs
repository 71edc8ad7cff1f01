//! How a drive ends.

use std::fmt;

use pilotage_drivelog::{End, EndKind};
use pilotage_guard::{LinkError, StopReason};
use pilotage_simulator::Outcome;
use pilotage_vehicle::Time;

use crate::pilot::StepError;

/// How a drive ended.
#[derive(Debug)]
pub enum Ending {
    /// Ctrl-C, SIGTERM, or the end of the terminal.
    Signal,
    /// The simulated car finished its laps, left the road, stalled, or reached the time limit.
    World(Outcome),
    /// The guard stopped the simulated car.
    Stopped(StopReason),
    /// A component failed in the simulator.
    Fault(StepError),
    /// The requested number of frames was taken.
    Frames,
    /// The requested number of frames was recorded.
    Recorded,
    /// A folder's pictures have all been shown.
    Pictures,
    /// The guard of a physical car is gone.
    Gone(LinkError),
}

impl Ending {
    /// Whether every requested lap was driven.
    pub const fn completed(&self) -> bool {
        matches!(self, Self::World(Outcome::LapDone { .. }))
    }

    /// Whether the drive ended as it should. A signal is the usual end of a drive without laps, but
    /// not of one whose engine has `laps` to drive.
    pub const fn succeeded(&self, laps: bool) -> bool {
        match self {
            Self::Signal => !laps,
            Self::Frames | Self::Recorded | Self::Pictures => true,
            Self::World(_) | Self::Stopped(_) | Self::Fault(_) | Self::Gone(_) => self.completed(),
        }
    }
}

impl Ending {
    /// The entry of the drive log, at `now`.
    pub fn log_entry(&self, now: Time) -> End {
        let kind = match self {
            Self::Signal => EndKind::Signal,
            Self::World(Outcome::OffRoad { .. }) => EndKind::OffRoad,
            Self::World(Outcome::Stalled { .. }) => EndKind::Stalled,
            Self::World(Outcome::TimeLimit) => EndKind::TimeLimit,
            Self::World(Outcome::LapDone { .. })
            | Self::Frames
            | Self::Recorded
            | Self::Pictures => EndKind::Done,
            Self::Stopped(_) => EndKind::Stopped,
            Self::Fault(_) => EndKind::Fault,
            Self::Gone(_) => EndKind::GuardGone,
        };
        End {
            time_ms: now.as_secs_f64() * 1e3,
            kind,
            text: self.to_string(),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal => write!(f, "stopped by a signal"),
            Self::World(Outcome::LapDone { seconds }) => write!(f, "done in {seconds:.2} s"),
            Self::World(Outcome::OffRoad { s, offset }) => write!(
                f,
                "off the road: {offset:+.2} m from the line, {s:.0} m along the circuit"
            ),
            Self::World(Outcome::Stalled { s }) => write!(
                f,
                "stalled {s:.0} m along the circuit: moved under 0.5 m in 10 s"
            ),
            Self::World(Outcome::TimeLimit) => write!(f, "the time limit was reached"),
            Self::Stopped(reason) => write!(f, "the guard stopped the car: {reason}"),
            Self::Fault(error) => write!(f, "the pilot could not go on: {error}"),
            Self::Frames => write!(f, "the frames that were asked for are seen"),
            Self::Recorded => write!(f, "the frames that were asked for are recorded"),
            Self::Pictures => write!(f, "all pictures have been shown"),
            Self::Gone(error) => error.fmt(f),
        }
    }
}
