//! The rule for text that comes again and again. No clock and no I/O.

use std::fmt;
use std::time::{Duration, Instant};

/// A text that repeats is reported at most this often at first,
const EVERY: Duration = Duration::from_secs(3);
/// and, while it goes on, twice as rarely each time, to this.
const RAREST: Duration = Duration::from_secs(24);
/// Texts that are remembered; the one that was reported longest ago makes room.
const REMEMBERED: usize = 32;

/// What to do with a text that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Report it: it is new, or has not come for a while.
    First,
    /// Report nothing now.
    Held,
    /// Report it with its count.
    Counted {
        /// How often it has come since it was reported last.
        count: u32,
        /// Since when that is.
        over: Duration,
    },
}

/// What is put behind the text: nothing, or ` (12 times in 3 s)`.
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
    /// As it came last.
    text: String,
    reported: Instant,
    /// Since `reported`.
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

/// Reports a text once, and its repeats now and then with a count.
#[derive(Debug, Default)]
pub struct Repeats {
    entries: Vec<Entry>,
}

impl Repeats {
    /// A text has come. `key` is what makes two texts the same.
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

    /// The next text that was held back and is due, or, where `all`, is just held back.
    pub fn due(&mut self, now: Instant, all: bool) -> Option<(String, Note)> {
        let held = self.entries.iter_mut().filter(|entry| entry.count > 0);
        let due = held.filter(|entry| all || now >= entry.due());
        let entry = due.min_by_key(|entry| entry.reported)?;
        Some((entry.text.clone(), entry.report(now)))
    }

    /// When [`due`](Self::due) has something next.
    pub fn next_due(&self) -> Option<Instant> {
        let held = self.entries.iter().filter(|entry| entry.count > 0);
        held.map(Entry::due).min()
    }

    fn make_room(&mut self, now: Instant) {
        if self.entries.len() < REMEMBERED {
            return;
        }
        // Those that are over first; a count that is lost with one is small.
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
    fn after_a_pause_it_is_new_again() {
        let (start, mut repeats) = (Instant::now(), Repeats::default());
        assert_eq!(repeats.note("a", "a", start), Note::First);
        assert_eq!(repeats.note("a", "a", start + EVERY), Note::First);
        assert_eq!(repeats.note("b", "b", start + EVERY), Note::First);
    }

    #[test]
    fn what_is_held_back_comes_at_the_end() {
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
