//! The report on a drive: a table for people, JSON for programs. Its parts depend on what drove
//! and where.

mod behavior_metrics;
mod table;
mod timing;

use pilotage_camera::Counters as CameraCounters;
use pilotage_guard::Counters;
use pilotage_simulator::Metrics;
use serde::Serialize;

use crate::plot::Caption;
use crate::recorder::RecordingReport;
use table::duration;

pub use behavior_metrics::BehaviorMetricsAverages;
pub use timing::{LoopTiming, Spread, TimingSummary};

/// The report on a drive. A part that does not apply is left out of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriveReport {
    /// For the simulated car: whether every requested lap was driven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
    /// How the drive ended, as text.
    pub outcome: String,
    /// The simulated car's circuit.
    #[serde(flatten)]
    pub circuit: Option<CircuitPart>,
    /// The car's name; the simulated car's kind.
    pub car: String,
    /// A physical car's camera, if the loop took its frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<String>,
    /// The operator who drove.
    #[serde(flatten)]
    pub hand: Option<HandPart>,
    /// A physical car's motors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actuator: Option<String>,
    /// The engine that drove.
    #[serde(flatten)]
    pub engine: Option<EnginePart>,
    /// The simulated car's driving figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The averages of the simulated car that Behavior Metrics computes differently.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior_metrics: Option<BehaviorMetricsAverages>,
    /// The durations of an engine's iterations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<TimingSummary>,
    /// The counts of a physical camera's frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<FrameCounts>,
    /// The guard's counters.
    pub guard: GuardCounts,
    /// The duration of the drive by the wall clock, seconds.
    pub wall_seconds: f64,
    /// From the start of the program to the first command that drives, seconds.
    pub first_command_seconds: Option<f64>,
    /// The result of the recording, if there was one.
    pub recording: Option<RecordingReport>,
}

/// The circuit of a simulated drive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitPart {
    /// The circuit's name.
    pub circuit: String,
    /// Metres.
    pub circuit_length: f64,
    /// What the position deviation is measured against: `centre line`, or the file of a reference
    /// path.
    pub deviation_reference: String,
}

/// What drove: an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnginePart {
    /// The engine's name.
    pub engine: String,
    /// What ran the engine: instruction set, precision, threads.
    pub backend: String,
}

/// What drove: an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandPart {
    /// The gamepad that the operator used.
    pub gamepad: String,
    /// Commands sent.
    pub commands: u64,
}

/// The guard's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GuardCounts {
    /// Accepted commands.
    pub accepted: u64,
    /// Commands and requests that the guard refused.
    pub refused: u64,
    /// Commands that did not reach the guard.
    pub dropped: u64,
    /// Stops.
    pub stops: u64,
    /// Writes that the actuator rejected.
    pub write_errors: u64,
}

impl From<Counters> for GuardCounts {
    fn from(counters: Counters) -> Self {
        Self {
            accepted: counters.accepted,
            refused: counters.refused_in_all(),
            dropped: counters.dropped,
            stops: counters.stops,
            write_errors: counters.write_errors,
        }
    }
}

/// The counts of a camera's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FrameCounts {
    /// Passed to the pilot.
    pub frames: u64,
    /// Skipped, because a newer frame was available.
    pub skipped: u64,
    /// Lost: gaps in the camera's sequence numbers.
    pub lost: u64,
    /// Damaged, or of the wrong size.
    pub broken: u64,
    /// How often the camera was opened again.
    pub reopened: u64,
}

impl From<CameraCounters> for FrameCounts {
    fn from(counters: CameraCounters) -> Self {
        Self {
            frames: counters.frames,
            skipped: counters.skipped,
            lost: counters.lost,
            broken: counters.broken,
            reopened: counters.reopened,
        }
    }
}

impl DriveReport {
    fn title(&self) -> String {
        match &self.circuit {
            Some(CircuitPart {
                circuit,
                circuit_length,
                ..
            }) => format!("{circuit}, {circuit_length:.0} m: {}", self.outcome),
            None => format!("{}: {}", self.car, self.outcome),
        }
    }

    /// The caption of the picture of this drive.
    pub fn caption(&self) -> Caption {
        let mut figures = Vec::new();
        if let Some(m) = &self.metrics {
            figures.push(match m.lap_time {
                Some(seconds) => ("Lap time", format!("{seconds:.2} s")),
                None => ("Completed", format!("{:.1} %", m.percentage_completed)),
            });
            figures.push(("Average speed", format!("{:.2} m/s", m.average_speed)));
            figures.push(("Mean deviation", format!("{:.3} m", m.deviation_mean)));
            figures.push(("95th percentile", format!("{:.3} m", m.deviation_p95)));
        } else {
            figures.push(("Duration", format!("{:.1} s", self.wall_seconds)));
            figures.push(("Commands accepted", self.guard.accepted.to_string()));
            figures.push(("Stops", self.guard.stops.to_string()));
        }
        if let Some(timing) = &self.timing {
            figures.push(("Frame to command", duration(timing.thinking.p50_us)));
        }
        let figures = figures.into_iter();
        Caption {
            title: self.title(),
            figures: figures
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            completed: self.completed != Some(false),
        }
    }

    /// The report as JSON, indented, in SI units unless a name states another unit. A figure that
    /// is not finite is null.
    ///
    /// # Errors
    /// Never fails for a report; serde_json's interface requires a result.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests;
