//! Tables for people.

use std::fmt::Write as _;

use super::{GuardCounts, Spread, TimingSummary};

/// Sections of named values.
#[derive(Default)]
pub(super) struct Table {
    pub(super) text: String,
}

impl Table {
    pub(super) fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(title);
    }

    pub(super) fn row(&mut self, name: &str, value: String) {
        // Writing to a String does not fail.
        let _ = write!(self.text, "\n  {name:<26} {value}");
    }

    /// The durations of the loop's parts.
    pub(super) fn timing(&mut self, timing: &TimingSummary) {
        if let Some(reaction) = &timing.reaction {
            self.row("capture to guard", spread(reaction));
        }
        self.row("frame to command", spread(&timing.thinking));
        self.row("  vision", spread(&timing.vision));
        self.row("  inference", spread(&timing.inference));
        if let Some(device) = &timing.device {
            self.row("    on the device", spread(device));
        }
        if timing.fallback_frames > 0 {
            let share = format!("{} of {} frames", timing.fallback_frames, timing.frames);
            self.row("  by the fallback", share);
        }
    }

    /// The guard's counters.
    pub(super) fn guard(&mut self, guard: &GuardCounts) {
        self.row(
            "guard",
            format!(
                "{} commands accepted, {} refused, {} dropped; {} stops, {} failed writes",
                guard.accepted, guard.refused, guard.dropped, guard.stops, guard.write_errors
            ),
        );
    }
}

fn spread(spread: &Spread) -> String {
    format!(
        "{} median, {} p99, {} max",
        duration(spread.p50_us),
        duration(spread.p99_us),
        duration(spread.max_us)
    )
}

/// About three significant digits, in the unit that fits.
pub(super) fn duration(micros: f64) -> String {
    match micros {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e5 => format!("{:.2} ms", us * 1e-3),
        us if us < 1e6 => format!("{:.0} ms", us * 1e-3),
        us => format!("{:.2} s", us * 1e-6),
    }
}
