//! `pilotage-training`: trains driving policies in the simulator and from recordings.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use pilotage_console::print;
use pilotage_training::backend::Backend;
use pilotage_training::checkpoint::read_weights;
use pilotage_training::collect::collect;
use pilotage_training::dataset::Dataset;
use pilotage_training::evaluate::{Drove, drive, suites};
use pilotage_training::expert::Expert;
use pilotage_training::export::{from_onnx, to_onnx};
use pilotage_training::imitate::{Plan, imitate, report};
use pilotage_training::network::Weights;
use pilotage_training::policy::Policy;
use pilotage_training::recording::{self, Encoding};

/// Trains driving policies in the simulator.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Learn from an expert that knows the true state.
    Imitate(Imitate),
    /// Drive every circuit under every difficult condition and print the results.
    Evaluate(Evaluate),
    /// Write a checkpoint's weights as ONNX.
    Export(Export),
    /// Write a recording: frames of the expert's driving with data.csv.
    Record(Record),
}

#[derive(clap::Args)]
struct Imitate {
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of rounds in which the student drives.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Frames gathered in each round; 10000, or none with --data.
    #[arg(long)]
    frames: Option<usize>,
    /// A recording to learn from too: a folder with data.csv, v and w. May be repeated.
    #[arg(long, value_name = "FOLDER")]
    data: Vec<PathBuf>,
    /// Passes over all frames after each round but the last.
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Passes over all frames after the last round.
    #[arg(long, default_value_t = 12)]
    last_epochs: usize,
    /// Adam's initial learning rate.
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Training backend.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// A short run to check that everything works; the model will hardly drive.
    #[arg(long, conflicts_with_all = ["rounds", "frames", "epochs", "last_epochs"])]
    quick: bool,
    /// The model's file.
    #[arg(long, default_value = "engines/pilotnet.onnx")]
    out: PathBuf,
    /// Folder for checkpoints.
    #[arg(long, default_value = "target/training")]
    checkpoints: PathBuf,
    /// Resume from the checkpoints.
    #[arg(long)]
    resume: bool,
}

#[derive(clap::Args)]
struct Evaluate {
    /// The model: a file that `imitate` wrote, or a checkpoint's weights.
    #[arg(long, default_value = "engines/pilotnet.onnx")]
    model: PathBuf,
    /// Let the expert drive instead of the model.
    #[arg(long)]
    expert: bool,
    /// Number of random circuits.
    #[arg(long, default_value_t = 100)]
    random: u64,
    /// How many of them to drive under each difficult condition too.
    #[arg(long, default_value_t = 20)]
    hard: u64,
    /// Print every drive, not only those that failed.
    #[arg(long)]
    each: bool,
    /// Only suites whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(clap::Args)]
struct Record {
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Frames to write.
    #[arg(long, default_value_t = 1000)]
    frames: usize,
    /// Write one of every N frames: the same number of frames, from more drives.
    #[arg(long, default_value = "1", value_name = "N")]
    every: NonZeroUsize,
    /// Write JPEG of this quality, 1 to 100, instead of PNG.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u8).range(1..=100))]
    jpeg: Option<u8>,
    /// The folder to write to.
    out: PathBuf,
}

#[derive(clap::Args)]
struct Export {
    /// The checkpoint's weights.
    #[arg(long, default_value = "target/training/weights")]
    model: PathBuf,
    /// The model's file.
    #[arg(long, default_value = "engines/pilotnet.onnx")]
    out: PathBuf,
}

fn main() -> ExitCode {
    pilotage_console::run(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pilotage_console::say_always(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    })
}

fn run() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Imitate(arguments) => learn(&arguments),
        Command::Evaluate(arguments) => evaluate(&arguments),
        Command::Export(arguments) => write(&load(&arguments.model)?, &arguments.out),
        Command::Record(arguments) => record(&arguments),
    }
}

fn record(arguments: &Record) -> anyhow::Result<()> {
    let every = arguments.every;
    let drive_frames = (arguments.frames.checked_mul(every.get()))
        .context("--frames times --every is more than can be counted")?;
    let mut data = Dataset::default();
    let expert = Expert::default();
    collect(
        &mut data,
        drive_frames,
        arguments.seed,
        &expert,
        None,
        |_| (),
    )?;
    let encoding = arguments.jpeg.map_or(Encoding::Png, Encoding::Jpeg);
    let period = 0.05 * every.get() as f64;
    recording::write(&arguments.out, &data.thinned(every), period, encoding)?;
    Ok(())
}

fn learn(arguments: &Imitate) -> anyhow::Result<()> {
    let default_frames = match (arguments.data.is_empty(), arguments.quick) {
        (true, false) => 10_000,
        (true, true) => 1000,
        (false, _) => 0,
    };
    let frames = arguments.frames.unwrap_or(default_frames);
    let limited = |asked: usize| if arguments.quick { asked.min(2) } else { asked };
    let plan = Plan {
        seed: arguments.seed,
        // Without the simulator, a second round has nothing new to learn from.
        rounds: if frames == 0 {
            0
        } else {
            limited(arguments.rounds)
        },
        frames,
        epochs: limited(arguments.epochs),
        last_epochs: limited(arguments.last_epochs),
        rate: arguments.rate,
        backend: arguments.backend,
        checkpoints: arguments.checkpoints.clone(),
        resume: arguments.resume,
        ..Plan::default()
    };
    let mut data = Dataset::with_capacity((plan.rounds + 1) * plan.frames);
    for folder in &arguments.data {
        let added = recording::read(folder, &mut data)?;
        for note in &added.notes {
            print(format_args!("warning: {note}"));
        }
        print(format_args!(
            "{}: {} frames",
            folder.display(),
            added.frames
        ));
    }
    let weights = imitate(&plan, &mut data, |_, weights| Ok(report(weights)?))?;
    write(&weights, &arguments.out)
}

fn write(weights: &Weights, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, to_onnx(weights)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    print(format_args!("wrote {}", path.display()));
    Ok(())
}

/// Reads weights from an ONNX file or a checkpoint.
fn load(path: &Path) -> anyhow::Result<Weights> {
    if path
        .extension()
        .is_some_and(|extension| extension == "onnx")
    {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return from_onnx(&bytes).with_context(|| path.display().to_string());
    }
    Ok(read_weights(path)?.0)
}

fn evaluate(arguments: &Evaluate) -> anyhow::Result<()> {
    let weights = match arguments.expert {
        true => None,
        false => Some(load(&arguments.model)?),
    };
    print(format_args!(
        "{:42} {:>7} {:>6} {:>7} {:>7} {:>7}   worst {:>7} {:>7}",
        "", "done", "m/s", "mean m", "p95 m", "most m", "mean m", "p95 m"
    ));
    for suite in suites(arguments.random, arguments.hard) {
        if !suite.name.contains(&arguments.only) {
            continue;
        }
        let mut policy = match &weights {
            None => Policy::Expert(Expert::default()),
            Some(weights) => Policy::network(weights),
        };
        let drives = drive(&mut policy, &suite.conditions, suite.laps)?;
        print_suite(&suite.name, &drives, arguments.each);
    }
    Ok(())
}

/// Prints a line for the suite, and a line for each drive that failed, or for every drive.
fn print_suite(name: &str, drives: &[Drove], each: bool) {
    let done = drives.iter().filter(|drove| drove.done).count();
    let count = drives.len().max(1) as f64;
    let mean = |value: fn(&Drove) -> f64| drives.iter().map(value).sum::<f64>() / count;
    let worst = |value: fn(&Drove) -> f64| drives.iter().map(value).fold(0.0, f64::max);
    print(format_args!(
        "{name:42} {:>7} {:6.2} {:7.3} {:7.3} {:7.3}         {:7.3} {:7.3}",
        format!("{done}/{}", drives.len()),
        mean(|drove| drove.speed),
        mean(|drove| drove.deviation[0]),
        mean(|drove| drove.deviation[1]),
        worst(|drove| drove.deviation[2]),
        worst(|drove| drove.deviation[0]),
        worst(|drove| drove.deviation[1]),
    ));
    for drove in drives.iter().filter(|drove| each || !drove.done) {
        let [mean, most_often, most] = drove.deviation;
        let laps = format!("{:.2}", drove.laps);
        print(format_args!(
            "    {:38} {laps:>7} {:6.2} {mean:7.3} {most_often:7.3} {most:7.3}",
            drove.circuit, drove.speed,
        ));
    }
}
