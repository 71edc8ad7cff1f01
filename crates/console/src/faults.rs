//! Decides when to report an intermittent fault. Uses no clock and does no I/O.

use std::time::{Duration, Instant};

use crate::repeats::{Note, Repeats};

/// A fault that has been absent for this time is over, and the held reports are written.
const SETTLED: Duration = Duration::from_secs(1);

/// Reports a fault and its end once each. An intermittent fault is reported with the number of its
/// occurrences and the time in which they occurred. Two texts that differ only in their numbers are
/// the same fault.
#[derive(Debug, Default)]
pub struct FaultReports {
    /// The key of the present fault, or of a fault that ended less than [`SETTLED`] ago.
    present: Option<String>,
    /// Since when the fault has been absent; `None` while it is present.
    absent_since: Option<Instant>,
    repeats: Repeats,
}

impl FaultReports {
    /// Records that the fault `text` is present at `now`.
    pub fn wrong(&mut self, text: &str, now: Instant, mut say: impl FnMut(&str)) {
        let key = without_numbers(text);
        let stays = self.absent_since.take().is_none() && self.present.as_ref() == Some(&key);
        if !stays {
            self.report(&key, text, now, &mut say);
            self.present = Some(key);
        }
        self.report_due(now, false, say);
    }

    /// Records that no fault is present at `now`. If one was present until then, `text` reports its
    /// end.
    pub fn well(&mut self, text: &str, now: Instant, mut say: impl FnMut(&str)) {
        if self.present.is_none() {
            return;
        }
        let since = match self.absent_since {
            Some(since) => since,
            None => {
                self.report(text, text, now, &mut say);
                self.absent_since = Some(now);
                now
            }
        };
        let settled = now.saturating_duration_since(since) >= SETTLED;
        self.report_due(now, settled, say);
        if settled {
            (self.present, self.absent_since) = (None, None);
        }
    }

    fn report(&mut self, key: &str, text: &str, now: Instant, mut say: impl FnMut(&str)) {
        match self.repeats.note(key, text, now) {
            Note::Held => {}
            note => say(&format!("{text}{note}")),
        }
    }

    fn report_due(&mut self, now: Instant, all: bool, mut say: impl FnMut(&str)) {
        while let Some((text, note)) = self.repeats.due(now, all) {
            say(&format!("{text}{note}"));
        }
    }
}

/// Replaces each run of digits with one `#`.
fn without_numbers(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_digit() {
            false => key.push(character),
            true if key.ends_with('#') => {}
            true => key.push('#'),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Bench {
        reports: FaultReports,
        lines: Vec<String>,
    }

    impl Bench {
        fn wrong(&mut self, text: &str, now: Instant) {
            let lines = &mut self.lines;
            self.reports
                .wrong(text, now, |line| lines.push(line.to_owned()));
        }

        fn well(&mut self, now: Instant) {
            let lines = &mut self.lines;
            self.reports
                .well("well again", now, |line| lines.push(line.to_owned()));
        }
    }

    #[test]
    fn a_fault_that_stays_is_reported_once_whatever_its_numbers() {
        let (start, mut bench) = (Instant::now(), Bench::default());
        for frame in 0..600_u32 {
            bench.wrong(
                &format!("black for {frame} frames"),
                start + MS * 33 * frame,
            );
        }
        assert_eq!(bench.lines, ["black for 0 frames"]);
        bench.well(start + MS * 20_000);
        bench.well(start + MS * 29_000);
        assert_eq!(bench.lines[1..], ["well again"]);
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_counted() {
        let (start, mut bench) = (Instant::now(), Bench::default());
        // Eight times a second for ten seconds, with a good frame between.
        for time in 0..80_u32 {
            bench.wrong("black for 5 frames", start + MS * 125 * time);
            bench.well(start + MS * 125 * time + MS * 60);
        }
        assert_eq!(
            bench.lines,
            [
                "black for 5 frames",
                "well again",
                "black for 5 frames (24 times in 3 s)",
                "well again (24 times in 3 s)",
                "black for 5 frames (48 times in 6 s)",
                "well again (48 times in 6 s)",
            ]
        );
        // The last line reports the current state.
        bench.well(start + MS * 12_000);
        assert_eq!(
            bench.lines[6..],
            [
                "black for 5 frames (7 times in 3 s)",
                "well again (7 times in 3 s)"
            ]
        );
        bench.well(start + MS * 30_000);
        assert_eq!(bench.lines.len(), 8);
    }

    #[test]
    fn another_fault_is_reported_at_once() {
        let (start, mut bench) = (Instant::now(), Bench::default());
        bench.wrong("dark", start);
        bench.wrong("gone", start + MS);
        bench.wrong("gone", start + MS * 2);
        assert_eq!(bench.lines, ["dark", "gone"]);
    }
}
