//! The report on a drive by hand.

use serde::Serialize;

use super::GuardCounts;
use super::table::Table;
use crate::recorder::RecordingReport;

/// The result of a drive by hand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HandReport {
    /// How it ended, as text.
    pub outcome: String,
    /// The car's name.
    pub car: String,
    /// The gamepad that the operator used.
    pub gamepad: String,
    /// The motors.
    pub actuator: String,
    /// Seconds.
    pub wall_seconds: f64,
    /// Commands sent.
    pub commands: u64,
    /// The guard's counters.
    pub guard: GuardCounts,
    /// The result of the recording, if there was one.
    pub recording: Option<RecordingReport>,
}

impl HandReport {
    /// The report as a table for people.
    pub fn table(&self) -> String {
        let mut table = Table::default();
        table.section(&format!("{}: {}", self.car, self.outcome));
        table.row("gamepad", self.gamepad.clone());
        table.row("motors", self.actuator.clone());
        table.row("commands", self.commands.to_string());
        table.row("wall clock", format!("{:.2} s", self.wall_seconds));
        table.guard(&self.guard);
        if let Some(recording) = &self.recording {
            let counts = &recording.counts;
            let what = format!(
                "{} frames in {}; {} dropped, the disk too slow; {} that it did not take",
                counts.written,
                recording.folder.display(),
                counts.dropped,
                counts.failed
            );
            table.row("recorded", what);
        }
        table.text
    }

    /// The report as JSON for programs.
    ///
    /// # Errors
    /// Never, as long as every number can be written in JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}
