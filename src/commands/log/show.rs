//! `pilotage log show`: what a log contains.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_drivelog::{Entry, Frame, Gap, Guard, Input, Reader, Timestamp, plain};
use pilotage_vehicle::Measurement;

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
    /// The smallest and the largest number of each that was measured.
    measured: [Option<(f32, f32)>; Measurement::ALL.len()],
    scans: u64,
    most_rays: usize,
    oldest_scan_ms: Option<f64>,
    /// What the last iteration lacked, and its high-level command.
    lacked: Vec<Input>,
    command: Option<String>,
    /// Stops, messages and the end, each as a line.
    events: Vec<String>,
}

/// The units of [`Measurement::ALL`].
const UNITS: [&str; Measurement::ALL.len()] = ["m/s", "rad/s", "m/s2", "m/s2"];
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
        ("engine gets", start.inputs.words()),
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
        ("measured", counts.measured()),
        ("scans", counts.scans()),
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
    // What a car does not have is left out.
    for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
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
                self.inputs(frame, at);
            }
            Entry::Scan(scan) => {
                self.scans += 1;
                self.most_rays = self.most_rays.max(scan.scan.millimetres.len());
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

    /// Adds what an iteration was answered with, besides the picture.
    fn inputs(&mut self, frame: &Frame, at: f64) {
        let it = &frame.measured;
        let numbers = [
            it.measured_speed,
            it.measured_yaw_rate,
            it.measured_acceleration,
            it.measured_lateral_acceleration,
        ];
        for (span, number) in self.measured.iter_mut().zip(numbers) {
            if let Some(number) = number {
                let (least, most) = span.unwrap_or((number, number));
                *span = Some((least.min(number), most.max(number)));
            }
        }
        if let Some(age) = frame.scan_age_ms {
            self.oldest_scan_ms = Some(self.oldest_scan_ms.map_or(age, |oldest| oldest.max(age)));
        }
        if frame.high_level_command != self.command {
            self.command.clone_from(&frame.high_level_command);
            let command = self.command.as_deref().unwrap_or("none");
            self.event(format!("{at:>10.2} s  command: {command}"));
        }
        if frame.gap == Some(Gap::Reset) {
            let why = match frame.missed {
                0 => "a frame was not answered".to_owned(),
                missed => format!("{missed} frames missed"),
            };
            self.event(format!(
                "{at:>10.2} s  {why}: the network's memory started anew"
            ));
        }
        if frame.lacking != self.lacked {
            let lacking = frame.lacking.iter().map(|input| input.words());
            let lacking: Vec<&str> = lacking.collect();
            self.event(match lacking.is_empty() {
                true => format!("{at:>10.2} s  the engine has all its inputs again"),
                false => format!(
                    "{at:>10.2} s  missing or too old for the engine: {}",
                    lacking.join(", ")
                ),
            });
            self.lacked.clone_from(&frame.lacking);
        }
    }

    fn measured(&self) -> String {
        let numbers = Measurement::ALL.into_iter().zip(self.measured).zip(UNITS);
        let known = numbers.filter_map(|((it, span), unit)| {
            let (least, most) = span?;
            let name = Input::from(it).words();
            Some(format!("{name} {least:.2} to {most:.2} {unit}"))
        });
        known.collect::<Vec<_>>().join(", ")
    }

    fn scans(&self) -> String {
        if self.scans == 0 {
            return String::new();
        }
        let oldest = self.oldest_scan_ms.map_or_else(String::new, |age| {
            format!(", at most {age:.0} ms old at a frame")
        });
        format!("{}, {} rays{oldest}", self.scans, self.most_rays)
    }

    fn event(&mut self, line: String) {
        if self.events.len() < MOST_EVENTS {
            self.events.push(line);
        }
    }
}
