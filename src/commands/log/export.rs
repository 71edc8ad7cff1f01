//! `pilotage log export`: a log as a data.csv folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use pilotage_dataset::{FolderWriter, PictureFile, Record};
use pilotage_drivelog::{Entry, Frame, Guard, Picture, Reader, Start};
use pilotage_vehicle::Mixer;

/// Options of `pilotage log export`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The log: best one of a whole drive (`drive --log FOLDER`)
    log: PathBuf,
    /// The new folder
    to: PathBuf,
    /// Export pictures even while the car was not driven
    #[arg(long)]
    all: bool,
}

/// How many iterations wait for their picture, and pictures for their iteration.
const MOST_WAITING: usize = 512;

/// Pictures and iterations that wait for each other: a picture is logged after its iteration.
#[derive(Default)]
struct Pairs {
    frames: BTreeMap<u64, Frame>,
    pictures: BTreeMap<u64, Picture>,
}

impl Pairs {
    /// Adds an entry, and returns the pair that it makes whole.
    fn add(&mut self, entry: Entry) -> Option<(Frame, Picture)> {
        let pair = match entry {
            // By hand there are iterations without a frame.
            Entry::Frame(frame) if frame.captured_ms <= 0.0 => None,
            Entry::Frame(frame) => match self.pictures.remove(&frame.sequence) {
                Some(picture) => Some((*frame, picture)),
                None => {
                    // The first iteration with a picture is that of its command.
                    self.frames.entry(frame.sequence).or_insert(*frame);
                    None
                }
            },
            Entry::Picture(picture) => match self.frames.remove(&picture.sequence) {
                Some(frame) => Some((frame, picture)),
                None => {
                    self.pictures.insert(picture.sequence, picture);
                    None
                }
            },
            _ => None,
        };
        while self.frames.len() > MOST_WAITING {
            self.frames.pop_first();
        }
        while self.pictures.len() > MOST_WAITING {
            self.pictures.pop_first();
        }
        pair
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut reader = Reader::open(&options.log)?;
    let start = reader.start().clone();
    let mixer = mixer(&start).with_context(|| options.log.display().to_string())?;
    let mut writer = FolderWriter::create(&options.to, &[])?;
    let (mut pairs, mut written, mut not_driven) = (Pairs::default(), 0_u64, 0_u64);
    while let Some(entry) = reader.next_entry()? {
        let Some((frame, picture)) = pairs.add(entry) else {
            continue;
        };
        if !(options.all || is_driven(&frame)) {
            not_driven += 1;
            continue;
        }
        let Some(file) = PictureFile::new(&picture.jpeg).filter(PictureFile::is_jpeg) else {
            bail!(
                "{}: the picture of frame {} is not a JPEG; the log is damaged",
                options.log.display(),
                frame.sequence
            );
        };
        writer.write(&record(&start, &frame, &mixer), file)?;
        written += 1;
    }
    writer.finish()?;
    if reader.damaged() {
        pilotage_console::say("warning: the log's end is missing or damaged; the rest is exported");
    }
    let left_out = match not_driven {
        0 => String::new(),
        count => format!("; {count} pictures of a car that was not driven are left out (--all)"),
    };
    if written == 0 {
        bail!(
            "{}: no picture with its command is exported{left_out}",
            options.log.display()
        );
    }
    pilotage_console::print(format_args!(
        "{}: {written} records, data.csv{left_out}",
        options.to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The mixer of the drive, for speed and yaw rate.
fn mixer(start: &Start) -> anyhow::Result<Mixer> {
    let curve = start.speed_to_throttle.clone();
    Ok(Mixer::new(start.wheelbase, start.steering_range, curve)?)
}

/// Whether a command drove the car.
fn is_driven(frame: &Frame) -> bool {
    frame.command
        && frame.guard == Guard::Driving
        && (frame.dead_man || !frame.by_hand)
        && frame.asked.iter().all(|value| value.is_finite())
}

/// The command that answered the frame, as a recording has it.
fn record(start: &Start, frame: &Frame, mixer: &Mixer) -> Record {
    let time_ms = start.epoch_ns as f64 * 1e-6 + frame.captured_ms;
    let [steering, throttle] = match is_driven(frame) {
        true => frame.asked.map(|value| value.clamp(-1.0, 1.0)),
        false => [0.0, 0.0],
    };
    let (speed, yaw_rate) = mixer.twist(steering, throttle);
    Record {
        steering: Some(f64::from(steering)),
        throttle: Some(f64::from(throttle)),
        speed: Some(speed),
        yaw_rate: Some(yaw_rate),
        time: Some(time_ms * 1e-3),
        ..Record::default()
    }
}
