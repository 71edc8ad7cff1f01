//! `pilotage log show`: what a log contains.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_drivelog::{Entry, Guard, Reader, Timestamp, plain};

/// Options of `pilotage log show`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The log
    log: PathBuf,
}

/// What is counted in a log.
#[derive(Default)]
struct Counts {
    frames: u64,
    pictures: u64,
    picture_bytes: usize,
    missed: u64,
    lost: u64,
    /// Times of the first and last entry, milliseconds.
    span: Option<(f64, f64)>,
    was_stopped: bool,
    /// Stops, messages and the end, each as a line.
    events: Vec<String>,
}

/// The longest text from the log in a line, characters.
const LONGEST: usize = 200;
/// Most lines on stops and messages.
const MOST_EVENTS: usize = 200;

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut reader = Reader::open(&options.log)?;
    let mut counts = Counts::default();
    while let Some(entry) = reader.next_entry()? {
        counts.add(&entry);
    }
    let start = reader.start();
    let mut text = String::new();
    let (first, last) = counts.span.unwrap_or_default();
    let rows = [
        ("car", start.car.clone()),
        ("driven by", start.driver.clone()),
        ("drive of", Timestamp(start.started_ns).to_string()),
        ("version", start.version.clone()),
        ("length", format!("{:.1} s", (last - first) * 1e-3)),
        (
            "iterations",
            format!("{}, {} frames missed", counts.frames, counts.missed),
        ),
        (
            "pictures",
            format!(
                "{}, {:.1} MB",
                counts.pictures,
                counts.picture_bytes as f64 * 1e-6
            ),
        ),
        ("records lost", counts.lost.to_string()),
        (
            "complete",
            match reader.damaged() {
                true => "no: its end is missing or damaged, as after a power cut",
                false => "yes",
            }
            .to_owned(),
        ),
    ];
    for (name, value) in rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:>12}  {}", plain(&value, LONGEST));
    }
    for event in &counts.events {
        let _ = writeln!(text, "{}", plain(event, LONGEST));
    }
    pilotage_console::print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        let Some(time) = entry.time_ms() else {
            return;
        };
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        let at = (time - self.span.unwrap_or_default().0) * 1e-3;
        match entry {
            Entry::Frame(frame) => {
                self.frames += 1;
                self.missed = self.missed.saturating_add(frame.missed);
                self.lost = self.lost.saturating_add(frame.lost);
                let is_stopped = frame.guard == Guard::Stopped;
                if is_stopped && !self.was_stopped {
                    let reason = frame.stop.map_or_else(String::new, |stop| stop.words());
                    self.event(format!("{at:>10.2} s  stopped: {reason}"));
                }
                self.was_stopped = is_stopped;
            }
            Entry::Picture(picture) => {
                self.pictures += 1;
                self.picture_bytes += picture.jpeg.len();
            }
            Entry::Message(message) => {
                let level = message.level.name();
                self.event(format!("{at:>10.2} s  {level}: {}", message.text));
            }
            Entry::End(end) => self.event(format!("{at:>10.2} s  end: {}", end.text)),
            Entry::Pause(_) | Entry::Start(_) => {}
        }
    }

    fn event(&mut self, line: String) {
        if self.events.len() < MOST_EVENTS {
            self.events.push(line);
        }
    }
}
