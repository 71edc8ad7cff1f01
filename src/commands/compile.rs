//! `pilotage compile`: compiles a recipe or a model to an engine file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use pilotage_compiler::{
    Cache, CalibrationMethod, Compiled, LayerTable, OnGateFailure, Precision, Run, compile_run,
};
use pilotage_config::write_atomically;
use pilotage_console::{print, say_always};
use pilotage_engine::{Bundle, GateLimits, Meaning};
use pilotage_gpu::GpuPolicy;
use pilotage_vehicle::Domain;
use serde::de::DeserializeOwned;

use progress::Display;
use recipe::Chosen;

use super::inspect::table;
use crate::plot;

mod machine;
mod progress;
mod recipe;

/// The default limit of the root mean squared error, as a fraction of the limit of a single frame.
const RMS_PER_WORST: f64 = 0.2;

/// The ending of the file that keeps what was measured for the next compilation.
const CACHE: &str = "compile-cache";

/// Options of `pilotage compile`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A recipe (docs/recipes.md), or an ONNX model. Models from pilotage-training contain a recipe;
    /// for others a recipe is created. With --for-this-machine also an engine file, or nothing for the
    /// compiled-in engine
    #[arg(
        value_name = "RECIPE.toml|MODEL.onnx|FILE.engine",
        required_unless_present = "for_this_machine"
    )]
    source: Option<PathBuf>,
    /// The engine file to write; NAME.engine in this folder if not given
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// fp32, fp16, int8, int8-dynamic or int8-integer
    #[arg(long, value_parser = spelled::<Precision>)]
    precision: Option<Precision>,
    /// A folder of frames as the car sees them, to calibrate ranges and to validate the engine
    #[arg(long, value_name = "FOLDER")]
    calibration: Option<PathBuf>,
    /// The largest number of frames that are used; if there are more, an evenly spaced subset
    /// [default: 1000]
    #[arg(long, value_name = "N")]
    max_frames: Option<usize>,
    /// How ranges are chosen: minmax, percentile, entropy or mse
    #[arg(long, value_parser = spelled::<CalibrationMethod>)]
    method: Option<CalibrationMethod>,
    /// For a model: the meaning of its outputs, in order: steering, throttle, speed, yaw_rate or -
    #[arg(long, value_name = "MEANING,..", value_delimiter = ',')]
    outputs: Vec<String>,
    /// For a model without a recipe, needed: where the engine may drive. `physical` if it was trained
    /// on pictures of the car's camera, `simulated` if in the simulator
    #[arg(long, value_parser = spelled::<Domain>)]
    domain: Option<Domain>,
    /// For a model that only steers: the throttle to drive with, above 0 and at most 1
    #[arg(long, value_name = "THROTTLE", value_parser = throttle, allow_negative_numbers = true)]
    throttle: Option<f32>,
    /// The largest error against fp32 of a single frame, in the output's unit, such as
    /// steering=0.1; the root mean square may be a fifth of it, or what is given: steering=0.1:0.03
    #[arg(
        long,
        value_name = "MEANING=WORST[:RMS],..",
        value_delimiter = ',',
        value_parser = gate
    )]
    gate: Vec<(Meaning, GateLimits)>,
    /// What to do with an engine whose error is too large: `fail`, or `mixed`, which keeps layers in
    /// floating point until the error is small enough
    #[arg(long, value_name = "WHAT", value_parser = spelled::<OnGateFailure>)]
    on_gate_failure: Option<OnGateFailure>,
    /// For a model: write its recipe, or the one that is made for it, to this file
    #[arg(long, value_name = "FILE")]
    save_recipe: Option<PathBuf>,
    /// Write the sections for other runtimes, such as the QDQ model, to this folder
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
    /// Measure everything anew, and keep nothing for the next compilation (NAME.compile-cache beside
    /// the engine file)
    #[arg(long)]
    no_cache: bool,
    /// Print the quantization error of each layer
    #[arg(long)]
    report: bool,
    /// Draw the quantization error of each layer
    #[arg(long, value_name = "FILE.png|FILE.svg", value_parser = crate::plot::plot_path)]
    report_picture: Option<PathBuf>,
    /// Also build the TensorRT plan for this machine's GPU, validate it and keep it; compiles the
    /// shim for TensorRT first if there is none (as root)
    #[arg(long)]
    for_this_machine: bool,
    /// With --for-this-machine: use the engine of this car.toml, if it is to run on the GPU; does
    /// nothing if it is not, or if this machine has no GPU
    #[arg(
        long,
        value_name = "FILE",
        requires = "for_this_machine",
        conflicts_with = "source"
    )]
    car: Option<PathBuf>,
}

/// Compiles, writes the engine file and prints its error relative to fp32.
///
/// # Errors
/// Fails if the engine cannot be compiled or exceeds the gate; the message names the place in the file,
/// and no engine file is written. What was measured is kept in the .compile-cache file in any case. Also
/// fails if, after the engine file, an export, the picture or the TensorRT plan cannot be made.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let gpu = match options.for_this_machine {
        true => GpuPolicy::Require,
        false => GpuPolicy::from_environment()?,
    };
    let stem = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let extension = |path: &Path| path.extension().unwrap_or_default().to_owned();
    if let Some(car) = &options.car {
        return machine::of_car(car, options.report);
    }
    let made = match &options.source {
        Some(source) if extension(source) != "engine" => source,
        made if options.for_this_machine => {
            return machine::of_engine(made.as_deref(), options.report);
        }
        _ => {
            bail!("an engine file is compiled already; --for-this-machine builds its TensorRT plan")
        }
    };
    let out = match &options.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}.engine", stem(made))),
    };
    let name = stem(&out);
    let chosen = recipe::choose(options, made)?;
    let cache = cache(options, &chosen, &out);
    let compiled = compiled(chosen, &name, cache.as_ref())?;
    for warning in &compiled.warnings {
        pilotage_console::say(format_args!("warning: {warning}"));
    }
    write_atomically(&out, &compiled.bytes)?;
    if let Some(folder) = &options.export {
        export(folder, &name, &compiled)?;
    }
    say(&out, &compiled, options.report);
    if let Some(file) = &options.report_picture {
        if compiled.layers.is_empty() {
            bail!("there is no picture of the layers: nothing was quantized");
        }
        let title = format!("{name}, {}", compiled.manifest.precision);
        plot::layer_picture(file, &title, &compiled.layers)?;
    }
    machine::plan(&compiled.bytes, gpu, options.report)?;
    Ok(ExitCode::SUCCESS)
}

/// What earlier compilations of this engine measured, in a file beside it. `None` if nothing is to be
/// kept, or nothing is measured.
fn cache(options: &Options, chosen: &Chosen, out: &Path) -> Option<Cache> {
    if options.no_cache || chosen.recipe.calibration.is_none() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let cache = Cache::read(&out.with_extension(CACHE), &program).ok()?;
    if cache.is_damaged() {
        say_always(format_args!(
            "{}: damaged or of another version of pilotage; it is not used, and made anew",
            cache.path().display()
        ));
    }
    Some(cache)
}

/// Compiles, and shows the progress.
fn compiled(chosen: Chosen, name: &str, cache: Option<&Cache>) -> anyhow::Result<Compiled> {
    let display = Display::new(cache.map(Cache::path));
    let source = chosen.source();
    let run = Run::new(Some(&display), cache);
    let compiled = compile_run(chosen.recipe.clone(), &source, &chosen.folder, name, run);
    display.finish();
    // What was measured is as useful after a failed gate.
    if let Some(cache) = cache
        && let Err(reason) = cache.write()
    {
        say_always(format_args!(
            "{} cannot be written ({reason}); the next compilation measures everything anew",
            cache.path().display()
        ));
    }
    compiled.map_err(|error| {
        let (error, warnings) = error.split();
        for warning in warnings {
            say_always(format_args!("warning: {warning}"));
        }
        // It may quote names from the model or its metadata, which are untrusted: they must not
        // control a terminal. The table of a failed gate has lines.
        let control = |c: char| c.is_control() && c != '\n';
        let error = format!("{:#}", anyhow::Error::from(error));
        anyhow!("{}", error.replace(control, "?"))
    })
}

/// Parses a value as recipes write it; the error lists the valid ones.
fn spelled<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = serde_json::from_value(text.into());
    value.map_err(|error: serde_json::Error| pilotage_config::explain_variant(&error))
}

fn gate(text: &str) -> Result<(Meaning, GateLimits), String> {
    let limit = |text: &str| match text.parse::<f64>() {
        Ok(limit) if limit.is_finite() && limit >= 0.0 => Ok(limit),
        _ => Err(format!("{text} is not a number of 0 or more")),
    };
    let (meaning, limits) = text
        .split_once('=')
        .ok_or("a meaning and its largest error are needed, such as steering=0.1")?;
    let (worst, root) = match limits.split_once(':') {
        Some((worst, root)) => (limit(worst)?, limit(root)?),
        None => (limit(limits)?, limit(limits)? * RMS_PER_WORST),
    };
    let limits = GateLimits {
        mse: Some(root * root),
        worst: Some(worst),
    };
    Ok((spelled(meaning)?, limits))
}

fn throttle(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(throttle) if throttle > 0.0 && throttle <= 1.0 => Ok(throttle),
        _ => Err("must be a number above 0 and at most 1".to_owned()),
    }
}

/// Writes the sections that are files for other programs.
fn export(folder: &Path, name: &str, compiled: &Compiled) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let bundle = Bundle::read(&compiled.bytes)?;
    let mut count = 0;
    for (section, content) in &bundle.sections {
        let file = match section.strip_prefix("model.") {
            Some(kind) => format!("{name}.{kind}"),
            None if section == "calibration.cache" => format!("{name}.calibration.cache"),
            None => continue,
        };
        write_atomically(&folder.join(&file), content)?;
        print(folder.join(&file).display());
        count += 1;
    }
    if count == 0 {
        pilotage_console::say(format_args!(
            "warning: an {} engine file has no sections for other runtimes: they use the model itself",
            compiled.manifest.precision
        ));
    }
    Ok(())
}

fn say(out: &Path, compiled: &Compiled, report: bool) {
    let manifest = &compiled.manifest;
    let mut parts = vec![format!(
        "{}: {}, {} bytes",
        out.display(),
        manifest.precision,
        compiled.bytes.len()
    )];
    parts.push(table::gate(&manifest.gate));
    parts.push(table::trials(&manifest.trials));
    if !manifest.raised.is_empty() {
        parts.push(format!(
            "kept in floating point to pass the gate: {}",
            manifest.raised.join(", ")
        ));
    }
    if report && !compiled.layers.is_empty() {
        parts.push(
            LayerTable(&compiled.layers)
                .to_string()
                .trim_end()
                .to_owned(),
        );
    }
    if manifest.gate.is_empty() {
        parts.push(
            "Not compared with the model: there were no frames (--calibration FOLDER).".to_owned(),
        );
    }
    parts.retain(|part| !part.is_empty());
    print(parts.join("\n\n"));
}
