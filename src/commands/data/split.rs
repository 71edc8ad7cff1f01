//! `pilotage data split`: holds a part of a recording back.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use pilotage_console::print;
use pilotage_dataset::{Record, Recording};

use super::copy::{Copy, Form, check_outside, copy, real};
use super::warn;

/// Options of `pilotage data split`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file; it is not changed
    from: PathBuf,
    /// The new folder to train on
    train: PathBuf,
    /// The new folder that is held back
    validation: PathBuf,
    /// The share that is held back, 0.01 to 0.5; whole drives or blocks of time, so about
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    share: f64,
    /// Write Donkeycar tubs (version 2) instead of data.csv folders
    #[arg(long)]
    tub: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match share {
        0.01..=0.5 => Ok(share),
        _ => Err("must be 0.01 to 0.5".to_owned()),
    }
}

/// A longer interval, seconds and in usual intervals, begins another drive, and so does a time that
/// goes back.
const PAUSE: f64 = 2.0;
const PAUSE_INTERVALS: f64 = 10.0;
/// Drives are held back whole if their share is within this part of the wanted one.
const TOLERANCE: f64 = 0.25;
/// The longest block where drives do not fit, seconds, or records if there are no times.
const BLOCK_SECONDS: f64 = 10.0;
const BLOCK_RECORDS: usize = 200;
/// The shortest block, records: consecutive frames are alike, so less is no validation.
const LEAST_BLOCK: usize = 5;

/// How a recording is divided: the records of each part, in order, and whether it is held back.
#[derive(Debug, PartialEq)]
struct Division {
    by: &'static str,
    parts: Vec<(usize, bool)>,
}

/// Copies each record to one of the two folders. They get their names when both are complete.
///
/// # Errors
/// Fails if the recording cannot be read or is too short, too many of its pictures are bad, a folder
/// is not empty or lies in another, or a file cannot be written. Neither folder exists then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    check_folders(options)?;
    let recording = Recording::open(&options.from)?;
    warn(recording.notes());
    let division = Division::of(recording.records(), options.share)
        .with_context(|| options.from.display().to_string())?;
    let held_back = division.held_back();
    let folders = [&options.train, &options.validation];
    let form = match options.tub {
        true => Form::Tub,
        false => Form::Folder,
    };
    let domain = recording.domain();
    let [train, validation] = folders.map(|to| Copy::create(to, &recording, form, domain));
    let mut copies = [train?, validation?];
    let place = |index: usize| usize::from(held_back[index]);
    copy(&recording, &mut copies, place, form)?;
    let [train, validation] = copies;
    let train = train.finish()?;
    let validation = match validation.finish() {
        Ok(count) => count,
        Err(error) => {
            // Both or neither: what was just written is removed.
            let _ = fs::remove_dir_all(&options.train);
            return Err(error);
        }
    };
    let parts = division.parts.iter().filter(|(_, is_held)| *is_held);
    print(format_args!(
        "{}: {train} records\n{}: {validation} records, {:.1} % of all, {} of {} {}",
        options.train.display(),
        options.validation.display(),
        100.0 * validation as f64 / (train + validation) as f64,
        parts.count(),
        division.parts.len(),
        division.by,
    ));
    Ok(ExitCode::SUCCESS)
}

/// Refuses folders of which one would lie in another: nothing is written into the recording.
fn check_folders(options: &Options) -> anyhow::Result<()> {
    let (train, validation) = (real(&options.train)?, real(&options.validation)?);
    for (one, other) in [(&train, &validation), (&validation, &train)] {
        ensure!(
            !one.starts_with(other),
            "{} and {}: name two folders, neither of them in the other",
            options.train.display(),
            options.validation.display()
        );
    }
    check_outside(&options.train, &options.from)?;
    check_outside(&options.validation, &options.from)?;
    Ok(())
}

impl Division {
    fn of(records: &[Record], share: f64) -> anyhow::Result<Self> {
        let drives = drives(records);
        let by_drives = hold_back(&drives, share);
        let wanted = share * records.len() as f64;
        let error = (held(&by_drives) as f64 - wanted).abs();
        if drives.len() > 1 && error <= TOLERANCE * wanted {
            let (by, parts) = ("drives", by_drives);
            return Ok(Self { by, parts });
        }
        let block = match median_interval(records) {
            Some(interval) => (BLOCK_SECONDS / interval).clamp(1.0, 1e6) as usize,
            None => BLOCK_RECORDS,
        };
        let block = block.max(LEAST_BLOCK).min(wanted.round() as usize);
        ensure!(
            block >= LEAST_BLOCK,
            "{} records are too few to hold {share} of them back, at least {LEAST_BLOCK} in a row; \
             record more, or name a larger --share",
            records.len()
        );
        let blocks: Vec<usize> = drives
            .iter()
            .flat_map(|&drive| blocks(drive, block))
            .collect();
        let parts = hold_back(&blocks, share);
        ensure!(
            (1..records.len()).contains(&held(&parts)),
            "{} records cannot be divided; name another --share",
            records.len()
        );
        let by = "blocks of time";
        Ok(Self { by, parts })
    }

    /// Whether each record is held back.
    fn held_back(&self) -> Vec<bool> {
        let parts = self.parts.iter();
        parts
            .flat_map(|&(length, is_held)| std::iter::repeat_n(is_held, length))
            .collect()
    }
}

fn held(parts: &[(usize, bool)]) -> usize {
    let held = parts.iter().filter(|(_, is_held)| *is_held);
    held.map(|(length, _)| length).sum()
}

/// The lengths of the drives. A few records alone are no drive, but belong to the one before, or to
/// the one behind if there is none.
fn drives(records: &[Record]) -> Vec<usize> {
    let usual = PAUSE_INTERVALS * median_interval(records).unwrap_or(0.0);
    let pause = usual.max(PAUSE);
    let is_one = |one: &Record, next: &Record| match (one.time, next.time) {
        (Some(one), Some(next)) => (0.0..=pause).contains(&(next - one)),
        _ => true,
    };
    let mut drives: Vec<usize> = Vec::new();
    for drive in records.chunk_by(is_one).map(<[_]>::len) {
        match drives.last_mut() {
            Some(before) if drive < LEAST_BLOCK || *before < LEAST_BLOCK => *before += drive,
            _ => drives.push(drive),
        }
    }
    drives
}

/// The median of the positive intervals, seconds.
fn median_interval(records: &[Record]) -> Option<f64> {
    let intervals = records
        .windows(2)
        .filter_map(|pair| Some(pair[1].time? - pair[0].time?));
    let mut intervals: Vec<f64> = intervals.filter(|&it| it > 0.0).collect();
    intervals.sort_by(f64::total_cmp);
    intervals.get(intervals.len() / 2).copied()
}

/// A drive in equal blocks of at least `block` records.
fn blocks(drive: usize, block: usize) -> impl Iterator<Item = usize> {
    let count = (drive / block).max(1);
    (0..count).map(move |at| (at + 1) * drive / count - at * drive / count)
}

/// Holds parts back, spread evenly over the recording: a part is held back if the share of what is
/// held back is nearer to `share` with it. The middle of each stride is held back, since begin and
/// end of a recording are often not typical.
fn hold_back(parts: &[usize], share: f64) -> Vec<(usize, bool)> {
    let (mut seen, mut held) = (0, 0);
    let decide = |&length: &usize| {
        seen += length;
        let due = share * seen as f64 - held as f64;
        let is_held = due >= 0.5 * length as f64;
        held += usize::from(is_held) * length;
        (length, is_held)
    };
    parts.iter().map(decide).collect()
}

#[cfg(test)]
mod tests;
