//! `pilotage bench`: how fast an engine is on this machine, compared with the machine's limits.

mod bounds;
pub(super) mod inputs;
pub(super) mod passes;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pilotage_console::{print, say};
use pilotage_engine::{Bundle, CpuOptions, InstructionSet};
use serde::Serialize;

use super::inspect;
use crate::car::EngineSettings;
use crate::engines;
use crate::machine::Machine;
use crate::plot::{self, Jitter};
use crate::signature::Trust;
use crate::times::{Sample, Times};
use bounds::{Limits, MeasuredLayer, Total};
use inputs::{Inputs, Source};
use passes::{MOST_COUNT, Until, VisionTimes};

/// Options of `pilotage bench`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// An .engine file or a compiled-in engine's name; without it the engine that drives
    #[arg(value_name = "FILE|NAME")]
    engine: Option<String>,
    /// Inferences to time
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = count)]
    count: usize,
    /// Time inferences for this long instead, in seconds
    #[arg(long, value_name = "S", conflicts_with = "count", value_parser = seconds)]
    seconds: Option<f64>,
    /// Threads that the engine may use
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME", value_parser = crate::car::named_instruction_set)]
    instruction_set: Option<InstructionSet>,
    /// Draw the time of each inference, and the distribution of the times
    #[arg(long, value_name = "FILE.png|FILE.svg", value_parser = crate::plot::plot_path)]
    picture: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

fn count(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|_| "not a whole number".to_owned())?;
    match count {
        1..=MOST_COUNT => Ok(count),
        _ => Err(format!("must be 1 to {MOST_COUNT}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match seconds {
        0.001..=86_400.0 => Ok(seconds),
        _ => Err("must be 0.001 to 86400".to_owned()),
    }
}

/// All results. Durations are in microseconds where a name says so.
#[derive(Debug, Serialize)]
struct Measurement {
    /// The version of Pilotage.
    version: &'static str,
    machine: Machine,
    engine: Engine,
    options: Asked,
    inputs: Given,
    limits: Limits,
    /// The whole network, without timing its layers.
    inference: Times,
    /// The total time of `inference`, seconds.
    seconds: f64,
    /// A counting loop as long as an inference, run in alternation with the inferences: it shows
    /// how much the machine disturbs any program.
    counting: Times,
    /// Whether one inference in a hundred took over 1.3 times the median.
    disturbed: bool,
    /// Measured in a separate pass.
    layers: Vec<MeasuredLayer>,
    total: Total,
    /// `None` if the engine's input is not a camera's picture.
    vision: Option<VisionTimes>,
}

/// The measured engine.
#[derive(Debug, Serialize)]
struct Engine {
    name: String,
    /// As recipes write it.
    precision: String,
    /// What ran the engine: instruction set, threads, precision.
    description: String,
}

/// How the engine was measured.
#[derive(Debug, Serialize)]
struct Asked {
    /// `None` if a duration was given instead.
    count: Option<usize>,
    seconds: Option<f64>,
    threads: usize,
    instruction_set: &'static str,
}

/// The engine's inputs.
#[derive(Debug, Serialize)]
struct Given {
    source: Source,
    frames: usize,
}

/// Measures, and prints the results.
///
/// # Errors
/// Fails if there is no such engine, if it is not valid or cannot run with these options, or if the
/// picture cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let engine = match &options.engine {
        Some(engine) => engine.clone(),
        None => EngineSettings::default().name,
    };
    let fetched = engines::fetch(&inspect::source(&engine), &Trust::default())?;
    let bundle =
        Bundle::read(&fetched.bytes).with_context(|| format!("engine `{}`", fetched.name))?;
    if let Some(path) = &options.picture {
        writable(path)?;
    }
    if cfg!(debug_assertions) {
        say("warning: this is a debug build; build with --release to measure");
    }
    let (measurement, samples) = measure(options, &bundle)?;
    let text = match options.json {
        true => serde_json::to_string_pretty(&measurement)?,
        false => table::whole(&measurement),
    };
    print(text);
    if measurement.disturbed {
        say(format_args!("warning: {}", disturbance(&measurement)));
    }
    if let Some(path) = &options.picture {
        draw(path, &measurement, &samples)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether long inferences are due to the engine or to the machine.
fn disturbance(measurement: &Measurement) -> String {
    let [ours, machine] = [&measurement.inference, &measurement.counting].map(Times::tail);
    let judged = match measurement.counting.disturbed() {
        true => "the machine keeps any program waiting",
        false => "the cores were left alone, caches and memory may not have been",
    };
    format!(
        "one inference in a hundred took {ours:.1} times the median or more; a loop as long \
         that only counts, by turns with them, {machine:.1}: {judged}"
    )
}

/// Checks before the measurement that the picture can be written.
fn writable(path: &Path) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    opened.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(())
}

fn measure(options: &Options, bundle: &Bundle) -> anyhow::Result<(Measurement, Vec<Sample>)> {
    let set = options.instruction_set.unwrap_or_else(InstructionSet::best);
    let cpu = CpuOptions {
        threads: options.threads,
        instruction_set: Some(set),
        ..CpuOptions::default()
    };
    let inputs = Inputs::of(bundle);
    let layers = passes::layers(bundle, cpu)?;
    let limits = Limits::measure(&layers, cpu)?;
    let until = match options.seconds {
        Some(seconds) => Until::Elapsed(Duration::from_secs_f64(seconds)),
        None => Until::Count(options.count),
    };
    let whole = passes::whole(bundle, cpu, &inputs, until)?;
    let mut taken: Vec<u64> = whole.samples.iter().map(|sample| sample.took).collect();
    let inference = Times::of(&mut taken);
    let by_layer = passes::by_layer(bundle, cpu, &inputs, inference.count)?;
    let layers = bounds::layers(layers, &by_layer, &limits, options.threads);
    let vision = passes::vision(bundle, inference.count);
    let manifest = &bundle.manifest;
    let measurement = Measurement {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::here(),
        engine: Engine {
            name: manifest.name.clone(),
            precision: manifest.precision.clone(),
            description: whole.description,
        },
        options: Asked {
            count: options.seconds.is_none().then_some(options.count),
            seconds: options.seconds,
            threads: options.threads,
            instruction_set: set.name(),
        },
        inputs: Given {
            source: inputs.source,
            frames: inputs.frames.len(),
        },
        limits,
        inference,
        seconds: whole.elapsed.as_secs_f64(),
        counting: whole.counting,
        disturbed: inference.disturbed(),
        total: bounds::total(&layers),
        layers,
        vision: match vision {
            Ok(vision) => Some(vision),
            Err(error) => {
                log::info!("vision is not timed: {error:#}");
                None
            }
        },
    };
    Ok((measurement, whole.samples))
}

fn draw(path: &Path, measurement: &Measurement, samples: &[Sample]) -> anyhow::Result<()> {
    let Measurement {
        engine, inference, ..
    } = measurement;
    let points: Vec<_> = samples
        .iter()
        .map(|sample| [sample.at as f64 * 1e-9, sample.took as f64 * 1e-3])
        .collect();
    plot::jitter_picture(
        path,
        &Jitter {
            title: &format!("{}: {}", engine.name, engine.description),
            points: &points,
            percentiles: &[
                ("median", inference.p50_us),
                ("90 %", inference.p90_us),
                ("99 %", inference.p99_us),
                ("99.9 %", inference.p999_us),
                ("longest", inference.max_us),
            ],
        },
    )?;
    say(format_args!("the times are drawn in {}", path.display()));
    Ok(())
}
