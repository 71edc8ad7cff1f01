//! `pilotage-training`: trains driving policies in the simulator and from recordings.

mod commands;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use pilotage_console::print;
use pilotage_training::architecture::NetworkKind;
use pilotage_training::checkpoint::{CheckpointError, is_earlier};
use pilotage_training::cloning::recipe::TrainingRecipe;
use pilotage_training::cloning::score::ScoreTable;
use pilotage_training::cloning::{self, Target};
use pilotage_training::collect::{Wanted, collect};
use pilotage_training::dataset::Dataset;
use pilotage_training::driver::{Driver, EngineDriver};
use pilotage_training::evaluate::{Drove, drive, suites};
use pilotage_training::expert::Expert;
use pilotage_training::policy::Policy;
use pilotage_training::recording::{self, Encoding};
use pilotage_training::student::Student;
use pilotage_vehicle::{Domain, LONGEST_COMMAND, Measurement, is_command_name};

/// Trains driving policies in the simulator and from recordings.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Learn from recordings what their driver did, for any car and camera.
    Train(Train),
    /// Make a trained network smaller or faster: quantization-aware training, pruning, clustering,
    /// structured pruning, distillation.
    Optimise(commands::optimise::Optimise),
    /// Try the combinations of strategies, and train the best of them.
    Search(commands::search::Search),
    /// Learn from an expert that knows the true state.
    Imitate(commands::imitate::Imitate),
    /// Drive every circuit under every difficult condition and print the results.
    Evaluate(Evaluate),
    /// Write a recording: frames of the expert's driving, or of a network's, with data.csv.
    Record(Record),
}

#[derive(clap::Args)]
struct Train {
    /// A recording to learn from: a tub, a folder with data.csv, a Udacity log, an MCAP file. May be
    /// repeated.
    #[arg(long, value_name = "FOLDER", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// A recording to measure the error on; otherwise a part of the data is held back.
    #[arg(long, value_name = "FOLDER", num_args = 1..)]
    validation: Vec<PathBuf>,
    /// The training recipe: network, input, outputs, augmentation (docs/training.md).
    #[arg(long, value_name = "NAME.toml")]
    recipe: Option<PathBuf>,
    /// The network, instead of the recipe's.
    #[arg(long, value_enum)]
    network: Option<NetworkKind>,
    /// An ONNX model to fine-tune, instead of a named network.
    #[arg(long, value_name = "NAME.onnx", conflicts_with = "network")]
    model: Option<PathBuf>,
    /// Numbers that sensors measured on the car, which the network gets beside the picture, instead of
    /// the recipe's: speed, yaw_rate, acceleration, lateral_acceleration.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = commands::measurement)]
    measure: Vec<Measurement>,
    /// Learn from Udacity's cameras at the sides too, with steering that is this much further to the
    /// middle, such as 0.2.
    #[arg(long, value_name = "STEERING")]
    side_cameras: Option<f64>,
    /// The cars that were recorded, where the recordings do not say so: simulated or physical.
    #[arg(long)]
    domain: Option<Domain>,
    /// The most passes over the frames, instead of the recipe's.
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of every random choice, instead of the recipe's.
    #[arg(long)]
    seed: Option<u64>,
    /// The model to write: NAME.onnx, with NAME.toml for `pilotage compile` and NAME.png.
    #[arg(long, value_name = "NAME")]
    out: PathBuf,
    /// Continue an interrupted run.
    #[arg(long)]
    resume: bool,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
struct Evaluate {
    /// The model: a file that `imitate` wrote, such as a checkpoint's model.onnx.
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
    /// Let this network drive most of the time, a model that `imitate` wrote, or any engine of
    /// `pilotage compile`. The expert's controls are recorded all the same: what the network should have
    /// done where it led itself.
    #[arg(long, value_name = "NAME.onnx|NAME.engine")]
    driver: Option<PathBuf>,
    /// The time from a frame to the effect of its command, as for `imitate`.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=500))]
    latency: Option<u64>,
    /// Label all frames with this high-level command, such as left.
    #[arg(long, value_name = "NAME", value_parser = command)]
    command: Option<String>,
    /// Write JPEG of this quality, 1 to 100, instead of PNG.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u8).range(1..=100))]
    jpeg: Option<u8>,
    /// The folder to write to.
    out: PathBuf,
}

/// The share of a recording with a driver in which the expert drives all the same, so that a network
/// that drives badly is recorded on the road too.
const EXPERTS_SHARE: f64 = 0.2;

/// The exit status of a program that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

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
        Command::Train(arguments) => train(&arguments),
        Command::Optimise(arguments) => commands::optimise::run(&arguments),
        Command::Search(arguments) => commands::search::run(&arguments),
        Command::Imitate(arguments) => commands::imitate::run(&arguments),
        Command::Evaluate(arguments) => evaluate(&arguments),
        Command::Record(arguments) => record(&arguments),
    }
}

fn record(arguments: &Record) -> anyhow::Result<()> {
    let every = arguments.every;
    let drive_frames = (arguments.frames.checked_mul(every.get()))
        .context("--frames times --every is too large")?;
    let mut data = Dataset::default();
    let (latency, expert) = commands::latency_and_expert(arguments.latency);
    let mut driver = arguments.driver.as_deref().map(driver).transpose()?;
    let driver = driver
        .as_deref_mut()
        .map(|it| (it as &mut dyn Driver, EXPERTS_SHARE));
    let wanted = Wanted {
        frames: drive_frames,
        seed: arguments.seed,
        expert: &expert,
        latency,
    };
    collect(&mut data, wanted, driver, |_| ())?;
    let encoding = arguments.jpeg.map_or(Encoding::Png, Encoding::Jpeg);
    let command = arguments.command.as_deref();
    recording::write(&arguments.out, &data.by_drive(every), encoding, command)?;
    Ok(())
}

fn train(arguments: &Train) -> anyhow::Result<()> {
    let mut recipe = match &arguments.recipe {
        Some(path) => TrainingRecipe::read(path)?,
        None => TrainingRecipe::default(),
    };
    if let Some(network) = arguments.network {
        recipe.network = network;
        recipe.model = None;
    }
    if let Some(domain) = arguments.domain {
        recipe.domain = Some(domain);
    }
    recipe.model = arguments.model.clone().or(recipe.model);
    if let Some(correction) = arguments.side_cameras {
        anyhow::ensure!(
            correction > 0.0 && correction <= 1.0,
            "--side-cameras must be above 0 and at most 1"
        );
        recipe.augment.side_cameras = Some(correction);
    }
    if !arguments.measure.is_empty() {
        commands::check_measure(&arguments.measure)?;
        recipe.measure.clone_from(&arguments.measure);
    }
    anyhow::ensure!(
        recipe.measure.is_empty() || recipe.model.is_none(),
        "measured numbers (`measure`, --measure) are for the named networks: leave out --model"
    );
    anyhow::ensure!(
        recipe.memory.pictures == 1
            || (recipe.model.is_none() && recipe.augment.side_cameras.is_none()),
        "`memory.pictures` goes neither with --model nor with --side-cameras"
    );
    if let Some(epochs) = arguments.epochs {
        anyhow::ensure!(
            (1..=10_000).contains(&epochs),
            "--epochs must be 1 to 10000"
        );
        recipe.training.epochs = epochs;
    }
    if let Some(seed) = arguments.seed {
        recipe.training.seed = seed;
    }
    let (force, resume) = (arguments.force, arguments.resume);
    let target = Target::new(&arguments.out, arguments.recipe.as_deref(), force, resume)?;
    let plan = cloning::Plan {
        data: arguments.data.clone(),
        validation: arguments.validation.clone(),
        recipe,
        target,
        resume,
    };
    report_interruption(plan.target.checkpoint())?;
    let trained = cloning::train(&plan, |_| ControlFlow::Continue(()))?;
    let (best, passes) = trained.passes;
    print(format_args!(
        "pass {} of {passes} is the best\n{}",
        best + 1,
        ScoreTable(&trained.scores)
    ));
    for score in trained.scores.iter().filter(|score| !score.is_better()) {
        pilotage_console::say_always(format_args!(
            "warning: {} is not learned: a constant answer is as good on held-back frames; more \
             frames, another crop or a look at the recording (`pilotage data show`) may help",
            score.meaning.name()
        ));
    }
    let target = &plan.target;
    print(format_args!(
        "wrote {}, {} and {}; next: pilotage compile {}",
        target.onnx().display(),
        target.toml().display(),
        target.png().display(),
        commands::for_shell(&target.toml())
    ));
    Ok(())
}

/// Ctrl-C and SIGTERM end the program with a message about how to continue. All files are written
/// atomically.
fn report_interruption(checkpoint: PathBuf) -> anyhow::Result<()> {
    let end = move || {
        pilotage_console::say_always(match checkpoint.exists() {
            true => {
                "interrupted; the same command with --resume continues after the last finished pass"
            }
            false => "interrupted before a pass was finished",
        });
        pilotage_console::flush(pilotage_console::FLUSH);
        std::process::exit(INTERRUPTED);
    };
    ctrlc::set_handler(end).context("Ctrl-C and SIGTERM cannot be caught")
}

/// A name of a high-level command.
fn command(name: &str) -> Result<String, String> {
    match is_command_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "use lower-case letters, digits, _ and -, at most {LONGEST_COMMAND}"
        )),
    }
}

/// Reads a model or an engine that drives.
fn driver(path: &Path) -> anyhow::Result<Box<dyn Driver>> {
    match path.extension().is_some_and(|it| it == "engine") {
        true => Ok(Box::new(EngineDriver::read(path)?)),
        false => Ok(Box::new(load(path)?)),
    }
}

/// Reads a model.
fn load(path: &Path) -> anyhow::Result<Student> {
    if is_earlier(path) {
        return Err(CheckpointError::Earlier(path.to_owned()).into());
    }
    Ok(Student::read(path)?)
}

fn evaluate(arguments: &Evaluate) -> anyhow::Result<()> {
    let mut student = match arguments.expert {
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
        let mut policy = match &mut student {
            None => Policy::Expert(Expert::default()),
            Some(student) => Policy::Student(student),
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
