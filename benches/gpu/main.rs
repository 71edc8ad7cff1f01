//! The program of `cargo xtask gpu-test`. On a machine with a GPU and TensorRT it checks the plans'
//! answers and measures their latency, and prints a block for docs/performance.md. On other
//! machines it prints what is missing.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

mod latency;
mod missing;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use pilotage::doctor::{Finding, Gpu, Needs, System, examine};
use pilotage::engines::gpu;
use pilotage_compiler::{Precision, Recipe, compile_recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, GateResult, conformance};
use pilotage_gpu::{TensorRtPaths, load, prepare};
use tensorrt_rs::{Device, Product, RunOptions, Shims, TensorRt};

#[derive(Parser)]
struct Arguments {
    /// The recipe whose engine is measured
    #[arg(long, default_value = "engines/pilotnet.toml")]
    recipe: PathBuf,
    /// The precisions to measure
    #[arg(long, value_delimiter = ',', default_value = "int8,fp16")]
    precision: Vec<String>,
    /// The number of timed inferences in each row
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// The folder for the shim and the plans
    #[arg(long, default_value = "target/gpu-test")]
    place: PathBuf,
    /// The folder of TensorRT's libraries, if the loader does not find them
    #[arg(long)]
    libraries: Option<PathBuf>,
    /// A folder of TensorRT's headers, if they are not in the usual folders
    #[arg(long)]
    include: Vec<PathBuf>,
}

fn main() -> ExitCode {
    // The process of an engine that `latency` starts.
    if std::env::args().nth(1).as_deref() == Some(gpu::COMMAND) {
        return gpu::run().unwrap_or(ExitCode::FAILURE);
    }
    match run(&Arguments::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let place = std::path::absolute(&arguments.place)?;
    let places = TensorRtPaths {
        libraries: arguments.libraries.clone(),
        shims: Shims::In(place.join("shims")),
        headers: arguments.include.clone(),
        plans: place.join("plans"),
    };
    let missing = missing::here(&places);
    if !missing.is_empty() {
        eprintln!("this machine cannot run the GPU test:");
        for lack in missing {
            eprintln!("  missing: {lack}");
        }
        return Ok(ExitCode::FAILURE);
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; build with --release to measure");
    }
    let device = Device::first()?;
    let version = TensorRt::installed(Product::TensorRt, places.libraries.as_deref())?;
    let mut block = head(&device, &version.to_string());
    let mut rows = latency::Rows::default();
    let mut failed = false;
    for precision in &arguments.precision {
        let bundle = bundle(&arguments.recipe, precision)?;
        eprintln!("{precision}: building the plan; this may take several minutes");
        let prepared = prepare(&bundle, &places, &|_| true)
            .with_context(|| format!("the {precision} plan"))?;
        for note in &prepared.notes {
            eprintln!("note: {note}");
        }
        let mut loaded = load(&bundle, &places, RunOptions::default())?;
        // The conformance suite panics if the engine violates a rule for engines.
        let sound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            conformance::check_engine_contract(precision, &bundle.plan, &mut loaded.engine);
        }));
        failed |= sound.is_err();
        let made = match prepared.precision == *precision {
            true => String::new(),
            false => format!(" (the plan is {})", prepared.precision),
        };
        let _ = writeln!(
            block,
            "\n{precision}{made}: conformance suite {}; the gate:\n",
            match sound {
                Ok(()) => "passed",
                Err(_) => "**FAILED**",
            }
        );
        failed |= gate(&mut block, &loaded.gate);
        drop(loaded);
        rows.measure(&bundle, &places, precision, arguments.count)?;
    }
    let _ = write!(block, "\n{rows}");
    // A closed pipe is not an error.
    let _ = writeln!(std::io::stdout(), "{block}");
    Ok(match failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The heading and the description of the machine.
fn head(device: &Device, tensorrt: &str) -> String {
    let mut head = format!(
        "### {}\n\n{device}; {tensorrt}; Pilotage {}.\n",
        device.name(),
        env!("CARGO_PKG_VERSION")
    );
    // A Jetson's results depend strongly on its clocks and power mode.
    let parts = ["processor", "system", "board", "power", "clocks", "heat"];
    let findings = examine(&System::here(), &Gpu::here(), &Needs::default());
    let relevant = |finding: &&Finding| parts.contains(&finding.part);
    for Finding { part, found, .. } in findings.iter().filter(relevant) {
        let _ = write!(head, "\n- {part}: {found}");
    }
    head + "\n"
}

/// Compiles the recipe's engine in the given precision.
fn bundle(recipe: &Path, precision: &str) -> anyhow::Result<Bundle> {
    let (mut content, text) = Recipe::read(recipe)?;
    content.precision = match precision {
        "int8" => Precision::Int8,
        "fp16" => Precision::Fp16,
        _ => bail!("TensorRT's plans are int8 or fp16, not {precision}"),
    };
    let file = recipe.display().to_string();
    let folder = recipe.parent().unwrap_or(Path::new(""));
    let name = recipe.file_stem().unwrap_or_default().to_string_lossy();
    eprintln!("{precision}: compiling {file}");
    let compiled = compile_recipe(content, &Source::new(&file, &text), folder, &name)?;
    Ok(Bundle::read(&compiled.bytes)?)
}

/// Adds the plan's errors against fp32 to `block`. Returns true if the plan fails the gate.
fn gate(block: &mut String, results: &[GateResult]) -> bool {
    block.push_str(
        "| output | mean squared error | limit | worst | limit | |\n|---|---|---|---|---|---|\n",
    );
    for result in results {
        let _ = writeln!(
            block,
            "| {} | {:.3e} | {:.3e} | {:.3e} | {:.3e} {} | {} |",
            result.output,
            result.mse,
            result.most_mse,
            result.worst,
            result.most_worst,
            result.unit,
            if result.passes() {
                "passes"
            } else {
                "**FAILS**"
            }
        );
    }
    !results.iter().all(GateResult::passes)
}
