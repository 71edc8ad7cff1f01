//! The report on a drive of a physical or dry-run car.

use pilotage_camera::Counters;
use serde::Serialize;

use super::table::Table;
use super::{GuardCounts, TimingSummary};

/// The result of a drive of a physical or dry-run car.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealReport {
    /// How the drive ended, as text.
    pub outcome: String,
    /// The car's name.
    pub car: String,
    /// The camera.
    pub camera: String,
    /// The motors.
    pub actuator: String,
    /// The engine's name.
    pub engine: String,
    /// What ran the engine: instruction set, precision, threads.
    pub backend: String,
    /// The duration of the drive in seconds.
    pub wall_seconds: f64,
    /// The durations of the parts of an iteration.
    pub timing: TimingSummary,
    /// The counts of the camera's frames.
    pub frames: FrameCounts,
    /// The guard's counters.
    pub guard: GuardCounts,
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

impl From<Counters> for FrameCounts {
    fn from(counters: Counters) -> Self {
        Self {
            frames: counters.frames,
            skipped: counters.skipped,
            lost: counters.lost,
            broken: counters.broken,
            reopened: counters.reopened,
        }
    }
}

impl RealReport {
    /// The report as a text table.
    pub fn table(&self) -> String {
        let mut table = Table::default();
        table.section(&format!("{}: {}", self.car, self.outcome));
        table.row("camera", self.camera.clone());
        table.row("motors", self.actuator.clone());
        table.row("engine", format!("{}, {}", self.engine, self.backend));
        table.timing(&self.timing);
        let frames = &self.frames;
        table.row(
            "frames",
            format!(
                "{} seen, {} passed over, {} lost, {} broken; camera opened again {} times",
                frames.frames, frames.skipped, frames.lost, frames.broken, frames.reopened
            ),
        );
        table.row("wall clock", format!("{:.2} s", self.wall_seconds));
        table.guard(&self.guard);
        table.text
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// When the serialization fails, which does not happen with these types.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}
