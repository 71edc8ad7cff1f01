//! The report as a table for people.

use std::fmt::Write as _;

use pilotage_simulator::{Metrics, TyreUse};

use super::{DriveReport, GuardCounts, Spread, TimingSummary};

/// Sections of named values.
#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn section(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push_str("\n\n");
        }
        self.text.push_str(title);
    }

    fn row(&mut self, name: &str, value: String) {
        // Writing to a String does not fail.
        let _ = write!(self.text, "\n  {name:<26} {value}");
    }

    /// The simulated car's driving figures.
    fn metrics(&mut self, m: &Metrics, reference: Option<&str>) {
        self.row("laps", m.laps.to_string());
        if let Some(seconds) = m.lap_time {
            self.row("lap time", format!("{seconds:.2} s"));
        }
        self.row("completed", format!("{:.1} %", m.percentage_completed));
        self.row("distance", format!("{:.1} m", m.distance));
        self.row("average speed", format!("{:.2} m/s", m.average_speed));
        self.row(
            "lateral deviation",
            format!(
                "{:.3} m mean, {:.3} m 95th percentile, {:.3} m max",
                m.deviation_mean, m.deviation_p95, m.deviation_max
            ),
        );
        if let Some(mae) = m.position_deviation_mae {
            let against = reference.map(|it| format!(" against the {it}"));
            let against = against.unwrap_or_default();
            self.row("position deviation MAE", format!("{mae:.3}{against}"));
        }
        self.row("suddenness", format!("{:.4}", m.suddenness));
        if let Some(used) = &m.tyres {
            self.tyres(used);
        }
    }

    /// How near to the limits of its tyres the car was driven.
    fn tyres(&mut self, used: &TyreUse) {
        let sideways = used.peak_lateral_acceleration;
        self.row(
            "lateral acceleration",
            format!("{sideways:.2} m/s2 max, at friction {:.2}", used.friction),
        );
        let degrees = used.peak_slip_angle.to_degrees();
        self.row("slip angle", format!("{degrees:.1} degrees max"));
        self.row(
            "friction circle",
            format!(
                "{:.0} % max; the tyres slid for {:.2} s",
                1e2 * used.largest_friction_share,
                used.sliding_seconds
            ),
        );
    }

    /// The durations of the loop's parts.
    fn timing(&mut self, timing: &TimingSummary) {
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
    fn guard(&mut self, guard: &GuardCounts) {
        self.row(
            "guard",
            format!(
                "{} commands accepted, {} refused, {} dropped; {} stops, {} failed writes",
                guard.accepted, guard.refused, guard.dropped, guard.stops, guard.write_errors
            ),
        );
    }
}

impl DriveReport {
    /// The report as a table for people, without a line break at its end.
    pub fn table(&self) -> String {
        let mut table = Table::default();
        table.section(&self.title());
        if let Some(metrics) = &self.metrics {
            let circuit = self.circuit.as_ref();
            table.metrics(metrics, circuit.map(|it| &*it.deviation_reference));
            table.section("loop");
            table.row("car", self.car.clone());
        }
        let mut optional = |name, value: Option<&String>| {
            if let Some(value) = value {
                table.row(name, value.clone());
            }
        };
        optional("camera", self.camera.as_ref());
        optional("gamepad", self.hand.as_ref().map(|hand| &hand.gamepad));
        optional("motors", self.actuator.as_ref());
        if let Some(engine) = &self.engine {
            table.row("engine", format!("{}, {}", engine.engine, engine.backend));
        }
        if let Some(timing) = &self.timing {
            table.timing(timing);
        }
        let frequency = self.metrics.as_ref();
        if let Some(hertz) = frequency.and_then(|metrics| metrics.brain_iteration_frequency) {
            table.row("brain iteration frequency", format!("{hertz:.0} Hz"));
        }
        self.frames(&mut table);
        if let Some(hand) = &self.hand {
            table.row("commands", hand.commands.to_string());
        }
        if let Some(seconds) = self.first_command_seconds {
            table.row("first command after", format!("{seconds:.2} s"));
        }
        let factor = self.metrics.as_ref().and_then(|m| m.real_time_factor);
        let factor = factor.map(|factor| format!(", {factor:.2} of real time"));
        table.row(
            "wall clock",
            format!("{:.2} s{}", self.wall_seconds, factor.unwrap_or_default()),
        );
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

    fn frames(&self, table: &mut Table) {
        let text = match (&self.frames, &self.timing) {
            (Some(frames), _) => format!(
                "{} seen, {} passed over, {} lost, {} broken; camera opened again {} times",
                frames.frames, frames.skipped, frames.lost, frames.broken, frames.reopened
            ),
            (None, Some(timing)) => {
                format!("{} seen, {} missed", timing.frames, timing.missed_frames)
            }
            (None, None) => return,
        };
        table.row("frames", text);
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
