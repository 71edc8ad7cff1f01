//! `pilotage data show`: what a recording contains.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::print;
use pilotage_dataset::{BARS, Histogram, Record, Recording};
use pilotage_vehicle::Domain;
use serde::Serialize;

use super::signs::Signs;
use super::survey::Survey;
use super::{LogArguments, sheet, warn};
use crate::plot;

/// Options of `pilotage data show`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file
    folder: PathBuf,
    /// Write a contact sheet: up to 60 pictures, chosen evenly, each with its steering
    #[arg(long, value_name = "FILE.png")]
    picture: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: LogArguments,
}

/// An interval longer than this many medians is a gap.
const GAP: f64 = 3.0;
/// A steering smaller than this is straight.
const STRAIGHT: f64 = 0.05;

/// What a recording contains. Times are in seconds.
#[derive(Debug, Serialize)]
struct Content {
    folder: PathBuf,
    format: &'static str,
    /// Whether a simulated or a physical car was recorded, if it is known.
    domain: Option<Domain>,
    records: usize,
    sizes: Vec<Size>,
    bad_pictures: Vec<String>,
    black: Vec<PathBuf>,
    blurred: Vec<PathBuf>,
    repeated: Vec<PathBuf>,
    times: Option<Times>,
    steering: Option<Spread>,
    throttle: Option<Spread>,
    speed: Option<Range>,
    yaw_rate: Option<Range>,
    /// The share of the records with a steering that go straight ahead.
    straight: Option<f64>,
    /// `None` without a recorded steering or yaw rate.
    signs: Option<Signs>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Size {
    width: u32,
    height: u32,
    pictures: usize,
}

#[derive(Debug, Serialize)]
struct Times {
    duration: f64,
    /// Pictures per second, by the median interval.
    rate: f64,
    gaps: usize,
    longest_gap: f64,
    /// Records whose time is not after that of the record before.
    backward: usize,
}

#[derive(Debug, Serialize)]
struct Range {
    records: usize,
    least: f64,
    mean: f64,
    largest: f64,
}

/// A value of -1 to 1.
#[derive(Debug, Serialize)]
struct Spread {
    #[serde(flatten)]
    range: Range,
    /// Records in each of equal parts from `-histogram_limit` to `histogram_limit`.
    histogram: [usize; BARS],
    /// The least of 0.02, 0.05, 0.1, 0.2, 0.5 and 1 that is at least every absolute value.
    histogram_limit: f64,
}

/// Reads the recording and prints what it contains.
///
/// # Errors
/// Fails if the recording cannot be read, or the contact sheet cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(file) = &options.picture {
        plot::is_contact_sheet(file)?;
    }
    let recording = Recording::open_with(&options.folder, &options.log.options()?)?;
    warn(recording.notes());
    let content = Content::of(&recording)?;
    if let Some(file) = &options.picture {
        sheet::write(file, &recording)
            .with_context(|| format!("cannot write the contact sheet to {}", file.display()))?;
    }
    match options.json {
        true => print(serde_json::to_string_pretty(&content)?),
        false => print(content.table()),
    }
    Ok(ExitCode::SUCCESS)
}

impl Content {
    fn of(recording: &Recording) -> anyhow::Result<Self> {
        let survey = Survey::of(recording)?;
        let records = recording.records();
        let pictures = |indices: &[usize]| {
            let pictures = indices.iter().map(|&index| records[index].picture.clone());
            pictures.collect()
        };
        let sizes = survey.decoded.sizes.iter();
        let sizes = sizes.map(|(&(width, height), &pictures)| Size {
            width,
            height,
            pictures,
        });
        let values = |value: fn(&Record) -> Option<f64>| -> Vec<f64> {
            records.iter().filter_map(value).collect()
        };
        let steering = values(|record| record.steering);
        let straight = steering.iter().filter(|it| it.abs() < STRAIGHT).count();
        let bad = survey.decoded.bad.bad.iter();
        Ok(Self {
            folder: recording.folder().to_owned(),
            format: recording.format().name(),
            domain: recording.domain(),
            records: records.len(),
            sizes: sizes.collect(),
            bad_pictures: bad.map(ToString::to_string).collect(),
            black: pictures(&survey.black),
            blurred: pictures(&survey.blurred),
            repeated: pictures(&survey.repeated),
            times: Times::of(&values(|record| record.time)),
            straight: (!steering.is_empty()).then(|| straight as f64 / steering.len() as f64),
            steering: Spread::of(&steering),
            throttle: Spread::of(&values(|record| record.throttle)),
            speed: Range::of(&values(|record| record.speed)),
            yaw_rate: Range::of(&values(|record| record.yaw_rate)),
            signs: Signs::of(recording)?,
            notes: recording.notes().iter().map(ToString::to_string).collect(),
        })
    }

    fn table(&self) -> String {
        let mut text = format!("{}: {}", self.folder.display(), self.format);
        // Writing to a String does not fail.
        let mut row = |name: &str, value: String| {
            let _ = write!(text, "\n  {name:<20} {value}");
        };
        row("records", self.records.to_string());
        let car = match self.domain {
            Some(domain) => domain.name(),
            None => "not recorded whether simulated or physical",
        };
        row("car", car.to_owned());
        for size in &self.sizes {
            let Size {
                width,
                height,
                pictures,
            } = size;
            row("pictures", format!("{pictures} of {width}x{height}"));
        }
        if let Some(times) = &self.times {
            row("duration", format!("{:.1} s", times.duration));
            row("rate", format!("{:.2} Hz (median)", times.rate));
            let gaps = match times.gaps {
                0 => "none".to_owned(),
                gaps => format!("{gaps}, the longest {:.2} s", times.longest_gap),
            };
            row("gaps", gaps);
            if times.backward > 0 {
                row("times not rising", times.backward.to_string());
            }
        }
        for (name, range, unit) in [
            ("speed", &self.speed, "m/s"),
            ("yaw rate", &self.yaw_rate, "rad/s, left positive"),
        ] {
            if let Some(range) = range {
                row(name, format!("{} {unit}", range.text()));
            }
        }
        for (name, pictures) in [
            ("black", &self.black),
            ("blurred", &self.blurred),
            ("repeated", &self.repeated),
        ] {
            row(name, named(pictures));
        }
        row("bad pictures", self.bad_pictures.len().to_string());
        if let Some(signs) = &self.signs {
            row("steering", signs.text());
        }
        for (name, spread, unit) in [
            ("steering", &self.steering, ", left positive"),
            ("throttle", &self.throttle, ""),
        ] {
            if let Some(spread) = spread {
                let _ = write!(
                    text,
                    "\n\n{name}: {}{unit}{}",
                    spread.range.text(),
                    spread.bars()
                );
            }
        }
        if let Some(straight) = self.straight {
            let percent = 100.0 * straight;
            let _ = write!(
                text,
                "\n  {percent:.0} % straight ahead (within {STRAIGHT})"
            );
        }
        if !self.bad_pictures.is_empty() {
            let _ = write!(text, "\n\nbad pictures:");
            for bad in &self.bad_pictures {
                let _ = write!(text, "\n  {bad}");
            }
        }
        text
    }
}

/// The number of pictures and the first names.
fn named(pictures: &[PathBuf]) -> String {
    let mut text = pictures.len().to_string();
    for (index, picture) in pictures.iter().take(3).enumerate() {
        let before = if index == 0 { ": " } else { ", " };
        let _ = write!(text, "{before}{}", picture.display());
    }
    if pictures.len() > 3 {
        text += ", ...";
    }
    text
}

impl Times {
    fn of(times: &[f64]) -> Option<Self> {
        let (first, last) = (times.first()?, times.last()?);
        let intervals: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mut rising: Vec<f64> = intervals.iter().copied().filter(|&it| it > 0.0).collect();
        rising.sort_by(f64::total_cmp);
        let median = *rising.get(rising.len() / 2)?;
        let gaps = rising.iter().filter(|&&it| it > GAP * median);
        Some(Self {
            duration: last - first,
            rate: 1.0 / median,
            gaps: gaps.count(),
            longest_gap: *rising.last()?,
            backward: intervals.len() - rising.len(),
        })
    }
}

impl Range {
    fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().reduce(f64::min)?;
        let largest = values.iter().copied().reduce(f64::max)?;
        Some(Self {
            records: values.len(),
            least,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            largest,
        })
    }

    fn text(&self) -> String {
        let Self {
            least,
            mean,
            largest,
            ..
        } = self;
        format!("{least:.3} to {largest:.3}, mean {mean:.3}")
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let range = Range::of(values)?;
        let Histogram { bars, limit } = Histogram::of(values);
        Some(Self {
            range,
            histogram: bars,
            histogram_limit: limit,
        })
    }

    fn bars(&self) -> String {
        const LENGTH: usize = 40;
        let most = self.histogram.iter().copied().max().unwrap_or(0).max(1);
        let mut text = String::new();
        for (index, &count) in self.histogram.iter().enumerate() {
            let middle = ((2.0 * index as f64 + 1.0) / BARS as f64 - 1.0) * self.histogram_limit;
            let bar = "#".repeat((count * LENGTH).div_ceil(most));
            let _ = write!(text, "\n  {middle:>7.3} {count:>7} {bar}");
        }
        text
    }
}
