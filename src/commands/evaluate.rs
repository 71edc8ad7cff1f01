//! `pilotage evaluate`: compares engines on a recording: error, size, memory, time, energy.

mod alone;
mod energy;
mod errors;
mod memory;
mod table;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use pilotage_config::write_atomically;
use pilotage_console::{print, say};
use pilotage_dataset::Recording;
use pilotage_engine::InstructionSet;
use serde::Serialize;

use crate::car::Car;
use crate::machine::Machine;
use crate::plot::{self, Bar, BarPanel, Candidate, Caption};
use crate::results::{Compared, MEBIBYTE, compared};
use alone::Evaluation;

/// Options of `pilotage evaluate`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording that the errors are measured on: a folder in any format of docs/recordings.md,
    /// with none of the frames of training and calibration
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Compiled-in engines' names, .engine files, or recipes, which are compiled first and need
    /// --out; without any the car's engine
    #[arg(value_name = "ENGINE|RECIPE")]
    engines: Vec<String>,
    /// Write the table as Markdown, CSV and JSON, and pictures, to this folder
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// The car that recorded: its [mixer] converts speed and yaw rate to steering and throttle
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// scalar, avx2, avx-vnni, avx512, avx512-vnni, neon, neon-dotprod or neon-i8mm; the best
    /// available if not given
    #[arg(long, value_name = "NAME", value_parser = crate::car::named_instruction_set)]
    instruction_set: Option<InstructionSet>,
    /// Inferences to time
    #[arg(long, value_name = "N", default_value_t = 2000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Evaluate one engine in this process, and print its JSON
    #[arg(long, hide = true)]
    alone: bool,
}

/// All results.
#[derive(Debug, Serialize)]
struct Report {
    /// The version of Pilotage.
    version: &'static str,
    machine: Machine,
    test: TestSet,
    engines: Vec<Row>,
}

/// The frames that the errors are measured on.
#[derive(Debug, Serialize)]
struct TestSet {
    folder: String,
    /// Each is used once by each engine, except bad pictures.
    frames: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    engine: Compared,
    #[serde(flatten)]
    evaluation: Evaluation,
}

impl Row {
    /// Whether both have errors of the same outputs, in the same units, so that one column can rank
    /// them.
    ///
    /// # Errors
    /// Names the engines, their outputs, and what to do.
    fn comparable(&self, other: &Self) -> anyhow::Result<()> {
        let outputs = |row: &Self| -> Vec<String> {
            let outputs = row.evaluation.outputs.iter();
            outputs
                .map(|it| format!("{} ({})", it.output, it.unit))
                .collect()
        };
        let (own, others) = (outputs(self), outputs(other));
        if own == others {
            return Ok(());
        }
        let advice = match own.iter().any(|it| others.contains(it)) {
            true => "evaluate them one at a time",
            false => "name the car with --car: its [mixer] converts",
        };
        bail!(
            "engines `{}` and `{}` cannot be ranked: the errors of one are of {}, of the other of \
             {}; {advice}",
            self.engine.name,
            other.engine.name,
            own.join(", "),
            others.join(", ")
        )
    }
}

/// Evaluates each engine in a process of its own, and prints the table.
///
/// # Errors
/// Fails if the recording or an engine cannot be read, if both do not fit together, or a file cannot
/// be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.alone {
        print(serde_json::to_string(&alone::evaluate(options)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let recording = Recording::open(&options.data)?;
    for note in recording.notes() {
        say(format_args!("warning: {note}"));
    }
    if let Some(out) = &options.out {
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    }
    if cfg!(debug_assertions) {
        say(
            "warning: this is a debug build: its times mean nothing; build with --release to measure",
        );
    }
    let car = Car::load_with(options.car.as_deref(), |_| ())?;
    let engines = compared(&options.engines, &car, options.out.as_deref(), &[])?;
    let count = engines.len();
    let mut rows: Vec<Row> = Vec::new();
    for (place, engine) in engines.into_iter().enumerate() {
        say(format_args!(
            "{} of {count}: {} on {} frames",
            place + 1,
            engine.name,
            recording.records().len()
        ));
        let evaluation = options.in_its_own_process(&engine)?;
        let row = Row { engine, evaluation };
        if let Some(first) = rows.first() {
            first.comparable(&row)?;
        }
        rows.push(row);
    }
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        machine: Machine::here(),
        test: TestSet {
            folder: options.data.display().to_string(),
            frames: recording.records().len(),
        },
        engines: rows,
    };
    let text = table::markdown(&report);
    let json = serde_json::to_string_pretty(&report)?;
    // First, whatever becomes of the files.
    print(match options.json {
        true => json.as_str(),
        false => text.trim_end(),
    });
    if let Some(out) = &options.out {
        for (name, content) in [
            ("evaluate.md", &text),
            ("evaluate.csv", &table::csv(&report)),
            ("evaluate.json", &json),
        ] {
            write_atomically(&out.join(name), content.as_bytes())?;
        }
        draw(out, &report)?;
        say(format_args!("table and pictures are in {}", out.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The longest report of a process, bytes.
const LONGEST: u64 = 1 << 20;

impl Options {
    /// In a process of its own, because the memory of one that has evaluated other engines says
    /// nothing.
    fn in_its_own_process(&self, engine: &Compared) -> anyhow::Result<Evaluation> {
        let program = std::env::current_exe().context("this program's file is not known")?;
        let mut command = Command::new(program);
        command.args(["evaluate", "--alone", "--count", &self.count.to_string()]);
        command.arg("--data").arg(&self.data);
        if let Some(car) = &self.car {
            command.arg("--car").arg(car);
        }
        if let Some(set) = self.instruction_set {
            command.args(["--instruction-set", set.name()]);
        }
        if let Some(argument) = &engine.argument {
            command.args(["--", argument]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let failed = || format!("engine `{}` was not evaluated", engine.name);
        let mut child = child.with_context(failed)?;
        let mut text = Vec::new();
        if let Some(output) = child.stdout.take() {
            output
                .take(LONGEST)
                .read_to_end(&mut text)
                .with_context(failed)?;
        }
        let status = child.wait().with_context(failed)?;
        ensure!(
            status.success(),
            "{}: {status}; its message is above",
            failed()
        );
        serde_json::from_slice(&text).with_context(failed)
    }
}

fn draw(out: &std::path::Path, report: &Report) -> anyhow::Result<()> {
    let candidates: Vec<Candidate> = report
        .engines
        .iter()
        .map(|row| Candidate {
            name: row.engine.name.clone(),
            seconds: row.evaluation.inference.p50_us * 1e-6,
            error: row.evaluation.mse,
            bytes: row.engine.weight_bytes as f64,
        })
        .collect();
    let figure = |name: &str, value: String| (name.to_owned(), value);
    let caption = Caption {
        title: "Error, time and size".to_owned(),
        figures: vec![
            figure("Frames", report.test.frames.to_string()),
            figure("Threads", "1".to_owned()),
            figure("Processor", report.machine.processor.clone()),
        ],
        completed: true,
    };
    let error = "mean squared normalized error";
    plot::pareto_picture(
        &out.join("evaluate-pareto.png"),
        &caption,
        error,
        &candidates,
    )?;
    let names: Vec<String> = (report.engines.iter())
        .map(|row| row.engine.name.clone())
        .collect();
    type Figure = fn(&Row) -> Option<f64>;
    let figures: [(&str, usize, Figure); 4] = [
        ("weights, MB", 2, |row| {
            Some(row.engine.weight_bytes as f64 / MEBIBYTE)
        }),
        ("memory, MB", 2, |row| {
            Some(row.evaluation.resident_bytes? as f64 / MEBIBYTE)
        }),
        ("MSE × 10⁶", 1, |row| Some(row.evaluation.mse * 1e6)),
        ("inference, us", 0, |row| {
            Some(row.evaluation.inference.p50_us)
        }),
    ];
    let panels = figures.map(|(title, digits, figure)| BarPanel {
        title: title.to_owned(),
        digits,
        bars: (report.engines.iter())
            .map(|row| {
                figure(row).map(|value| Bar {
                    value,
                    spread: None,
                })
            })
            .collect(),
    });
    let file = out.join("evaluate-bars.png");
    plot::bars_picture(&file, "Size, memory, error and time", &names, &panels)?;
    Ok(())
}
