//! The report on a drive by hand.

use serde::Serialize;

use super::GuardCounts;
use super::table::Table;
use crate::recorder::RecordingReport;

/// What a drive by hand came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HandReport {
    /// How it ended, in words.
    pub outcome: String,
    /// What its owner calls it.
    pub car: String,
    /// What the person drove with.
    pub gamepad: String,
    /// The motors.
    pub actuator: String,
    /// Seconds.
    pub wall_seconds: f64,
    /// Commands sent.
    pub commands: u64,
    /// What the guard saw.
    pub guard: GuardCounts,
    /// What was kept, where anything was to be.
    pub recording: Option<RecordingReport>,
}

impl HandReport {
    /// For people.
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

    /// For machines.
    ///
    /// # Errors
    /// Never, as long as every number is one that JSON has.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}
