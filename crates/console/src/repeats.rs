//! The rule for reporting repeated text. No clock and no I/O.

use std::fmt;
use std::time::{Duration, Instant};

/// The first interval between two reports of a repeated text. It doubles with each report,
const EVERY: Duration = Duration::from_secs(3);
/// up to this interval.
const RAREST: Duration = Duration::from_secs(24);
/// How many texts are remembered. The one that was reported longest ago is evicted first.
const REMEMBERED: usize = 32;

/// What to do with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Report it: it is new, or has not occurred for a while.
    First,
    /// Hold it: report nothing now.
    Held,
    /// Report it with its count.
    Counted {
        /// How often the text has occurred since it was last reported.
        count: u32,
        /// The time since that report.
        over: Duration,
    },
}

/// The suffix for the text: nothing, or ` (12 times in 3 s)`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First | Self::Held => Ok(()),
            Self::Counted { count, over } => {
                let times = if *count == 1 { "once more" } else { "times" };
                let seconds = over.as_secs_f64().round().max(1.0);
                match count {
                    1 => write!(f, " ({times} in {seconds} s)"),
                    _ => write!(f, " ({count} {times} in {seconds} s)"),
                }
            }
        }
    }
}

#[derive(Debug)]
struct Entry {
    key: String,
    /// The last text with this key.
    text: String,
    reported: Instant,
    /// Occurrences since `reported`.
    count: u32,
    every: Duration,
}

impl Entry {
    fn due(&self) -> Instant {
        self.reported + self.every
    }

    fn report(&mut self, now: Instant) -> Note {
        let note = Note::Counted {
            count: self.count,
            over: now.saturating_duration_since(self.reported),
        };
        self.count = 0;
        self.reported = now;
        self.every = (self.every * 2).min(RAREST);
        note
    }
}

/// Reports a text once, and its repeats from time to time with a count.
#[derive(Debug, Default)]
pub struct Repeats {
    entries: Vec<Entry>,
}

impl Repeats {
    /// Records a text. Texts with the same `key` count as the same text.
    pub fn note(&mut self, key: &str, text: &str, now: Instant) -> Note {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            let over = now >= entry.due();
            if entry.text != text {
                text.clone_into(&mut entry.text);
            }
            if over && entry.count == 0 {
                entry.reported = now;
                entry.every = EVERY;
                return Note::First;
            }
            entry.count = entry.count.saturating_add(1);
            return match over {
                true => entry.report(now),
                false => Note::Held,
            };
        }
        self.make_room(now);
        self.entries.push(Entry {
            key: key.to_owned(),
            text: text.to_owned(),
            reported: now,
            count: 0,
            every: EVERY,
        });
        Note::First
    }

    /// The next held text that is due; with `all`, the next held text.
    pub fn due(&mut self, now: Instant, all: bool) -> Option<(String, Note)> {
        let held = self.entries.iter_mut().filter(|entry| entry.count > 0);
        let due = held.filter(|entry| all || now >= entry.due());
        let entry = due.min_by_key(|entry| entry.reported)?;
        Some((entry.text.clone(), entry.report(now)))
    }

    /// When the next held text is due.
    pub fn next_due(&self) -> Option<Instant> {
        let held = self.entries.iter().filter(|entry| entry.count > 0);
        held.map(Entry::due).min()
    }

    fn make_room(&mut self, now: Instant) {
        if self.entries.len() < REMEMBERED {
            return;
        }
        // Expired entries are evicted first, then the oldest, whose count is lost; it is small.
        self.entries
            .retain(|entry| entry.count > 0 || now < entry.due());
        if self.entries.len() >= REMEMBERED {
            let oldest = self.entries.iter().enumerate();
            let oldest = oldest.min_by_key(|(_, entry)| entry.reported);
            if let Some((index, _)) = oldest {
                self.entries.swap_remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_is_reported_and_repeats_are_counted() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        assert_eq!(repeats.note("dark", "dark", start), Note::First);
        for time in 1..=12 {
            let note = repeats.note("dark", "dark", start + MS * 100 * time);
            assert_eq!(note, Note::Held);
        }
        assert_eq!(repeats.due(start + MS * 2999, false), None);
        assert_eq!(repeats.next_due(), Some(start + EVERY));
        let (text, note) = repeats.due(start + EVERY, false).unwrap();
        assert_eq!(format!("{text}{note}"), "dark (12 times in 3 s)");
        assert_eq!(repeats.due(start + EVERY, false), None);
    }

    #[test]
    fn a_pair_that_alternates_is_two_lines_each_few_seconds() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        let mut lines = Vec::new();
        // 16 lines a second for a minute.
        for step in 0..960_u32 {
            let now = start + MS * 1000 * step / 16;
            let text = ["dark", "well again"][step as usize % 2];
            match repeats.note(text, text, now) {
                Note::Held => {}
                note => lines.push(format!("{text}{note}")),
            }
            while let Some((text, note)) = repeats.due(now, false) {
                lines.push(format!("{text}{note}"));
            }
        }
        assert!(lines.len() <= 12, "{lines:#?}");
        assert_eq!(lines[..2], ["dark", "well again"]);
        assert_eq!(lines[2], "dark (24 times in 3 s)");
    }

    #[test]
    fn a_text_after_a_pause_is_new() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        assert_eq!(repeats.note("a", "a", start), Note::First);
        assert_eq!(repeats.note("a", "a", start + EVERY), Note::First);
        assert_eq!(repeats.note("b", "b", start + EVERY), Note::First);
    }

    #[test]
    fn held_texts_are_reported_at_the_end() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        repeats.note("a", "a", start);
        repeats.note("a", "a", start + MS);
        let (text, note) = repeats.due(start + MS, true).unwrap();
        assert_eq!(format!("{text}{note}"), "a (once more in 1 s)");
        assert_eq!(repeats.due(start + MS, true), None);
    }

    #[test]
    fn memory_is_bounded() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        for number in 0..10_000 {
            repeats.note(&number.to_string(), "", start);
        }
        assert_eq!(repeats.entries.len(), REMEMBERED);
    }
}
