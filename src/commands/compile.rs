//! `pilotage compile`: compiles a recipe or a model to an engine file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use pilotage_compiler::{
    CalibrationMethod, CalibrationRecipe, Compiled, DraftOptions, GateLimits, LayerTable,
    OnGateFailure, Precision, Progress, Recipe, ThrottleRecipe, compile_observed, draft,
    read_recipe_text,
};
use pilotage_config::Source;
use pilotage_console::print;
use pilotage_engine::{Bundle, Meaning};
use pilotage_gpu::GpuPolicy;
use pilotage_vehicle::Domain;
use serde::de::DeserializeOwned;

use progress::Display;

use super::inspect::table;
use crate::plot;
use crate::results::write;

mod machine;
mod progress;

/// The root mean squared error that --gate allows, as a share of the error of a single frame; as in
/// the defaults.
const ROOT_OF_WORST: f64 = 0.2;

/// Options of `pilotage compile`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A recipe (docs/recipes.md), or an ONNX model, for which a recipe is made. With
    /// --for-this-machine also an engine file, or nothing for the compiled-in engine
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
    /// The most frames that are used; of more, so many are chosen evenly [default: 1000]
    #[arg(long, value_name = "N")]
    max_frames: Option<usize>,
    /// How ranges are chosen: minmax, percentile, entropy or mse
    #[arg(long, value_parser = spelled::<CalibrationMethod>)]
    method: Option<CalibrationMethod>,
    /// For a model: the meaning of its outputs, in order: steering, throttle, speed, yaw_rate or -
    #[arg(long, value_name = "MEANING,..", value_delimiter = ',')]
    outputs: Vec<String>,
    /// For a model, needed: where the engine may drive. `physical` if it was trained on pictures of
    /// the car's camera, `simulated` if in the simulator
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
    /// For a model: write the recipe that is made for it to this file
    #[arg(long, value_name = "FILE")]
    save_recipe: Option<PathBuf>,
    /// Write the sections for other runtimes, such as the QDQ model, to this folder
    #[arg(long, value_name = "FOLDER")]
    export: Option<PathBuf>,
    /// Print the quantisation error of each layer
    #[arg(long)]
    report: bool,
    /// Draw the quantisation error of each layer
    #[arg(long, value_name = "FILE.png", value_parser = crate::plot::png_path)]
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
/// Fails if the engine cannot be compiled; the message names the place in the file, and nothing is
/// written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let wish = match options.for_this_machine {
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
    let compiled = match extension(made).to_str() {
        Some("toml") => from_recipe(options, made, &name)?,
        Some("onnx") => from_model(options, made, &name)?,
        _ => bail!(
            "{}: neither a recipe (.toml) nor a model (.onnx)",
            made.display()
        ),
    };
    for warning in &compiled.warnings {
        pilotage_console::say(format_args!("warning: {warning}"));
    }
    write(&out, &compiled.bytes)?;
    if let Some(folder) = &options.export {
        export(folder, &name, &compiled)?;
    }
    say(&out, &compiled, options.report);
    if let Some(file) = &options.report_picture {
        if compiled.layers.is_empty() {
            bail!("there is no picture of the layers: nothing was quantised");
        }
        let title = format!("{name}, {}", compiled.manifest.precision);
        plot::layer_picture(file, &title, &compiled.layers)?;
    }
    machine::plan(&Bundle::read(&compiled.bytes)?, wish, options.report)?;
    Ok(ExitCode::SUCCESS)
}

fn from_recipe(options: &Options, path: &Path, name: &str) -> anyhow::Result<Compiled> {
    for (given, option) in [
        (!options.outputs.is_empty(), "--outputs"),
        (options.domain.is_some(), "--domain"),
        (options.save_recipe.is_some(), "--save-recipe"),
    ] {
        if given {
            bail!("{option} is for models; a recipe has this setting itself");
        }
    }
    let text = read_recipe_text(path)?;
    let file = path.display().to_string();
    let source = Source::new(&file, &text);
    let mut recipe: Recipe = source.parse()?;
    if let Some(precision) = options.precision {
        recipe.precision = precision;
    }
    if let Some(constant) = options.throttle {
        recipe.throttle = Some(ThrottleRecipe { constant });
    }
    if let Some(folder) = &options.calibration {
        let frames = absolute(folder)?;
        recipe.calibration = Some(match recipe.calibration.take() {
            Some(settings) => CalibrationRecipe { frames, ..settings },
            None => CalibrationRecipe::new(frames),
        });
    }
    set_calibration(options, recipe.calibration.as_mut())?;
    if let Some(what) = options.on_gate_failure {
        recipe.on_gate_failure = what;
    }
    for (meaning, limits) in &options.gate {
        let mut outputs = recipe.output.iter_mut();
        match outputs.find(|output| output.meaning == *meaning) {
            Some(output) => output.gate = *limits,
            None => bail!(
                "--gate {}: no [[output]] of the recipe has this meaning",
                meaning.name()
            ),
        }
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    observed(recipe, &source, folder, name)
}

fn from_model(options: &Options, path: &Path, name: &str) -> anyhow::Result<Compiled> {
    let precision = match (options.precision, &options.calibration) {
        (Some(precision), _) => precision,
        (None, Some(_)) => Precision::Int8,
        (None, None) => Precision::Fp32,
    };
    let meanings = options.outputs.iter().map(|word| match word.as_str() {
        "-" => Ok(None),
        word => spelled::<Meaning>(word).map(Some),
    });
    let meanings: Result<Vec<_>, String> = meanings.collect();
    let frames = options.calibration.as_deref().map(absolute).transpose()?;
    let mut calibration = frames.map(CalibrationRecipe::new);
    set_calibration(options, calibration.as_mut())?;
    let wishes = DraftOptions {
        meanings: meanings.map_err(anyhow::Error::msg).context("--outputs")?,
        precision,
        domain: options.domain,
        throttle: options.throttle,
        on_gate_failure: options.on_gate_failure.unwrap_or_default(),
        gate: options.gate.iter().copied().collect(),
        calibration,
    };
    let text = draft(path, &absolute(path)?, &wishes)?;
    if let Some(file) = &options.save_recipe {
        write(file, text.as_bytes())?;
    }
    let file = format!("the recipe for {}", path.display());
    let source = Source::new(&file, &text);
    observed(source.parse()?, &source, Path::new(""), name)
}

/// Replaces the settings of the calibration that have an option.
fn set_calibration(
    options: &Options,
    calibration: Option<&mut CalibrationRecipe>,
) -> anyhow::Result<()> {
    match calibration {
        Some(settings) => {
            settings.method = options.method.unwrap_or(settings.method);
            settings.max_frames = options.max_frames.unwrap_or(settings.max_frames);
        }
        None if options.method.is_some() => {
            bail!("--method needs frames: --calibration FOLDER")
        }
        None if options.max_frames.is_some() => {
            bail!("--max-frames needs frames: --calibration FOLDER")
        }
        None => {}
    }
    Ok(())
}

/// Compiles, and shows the progress.
fn observed(
    recipe: Recipe,
    source: &Source<'_>,
    folder: &Path,
    name: &str,
) -> anyhow::Result<Compiled> {
    let display = Display::new();
    let compiled = compile_observed(recipe, source, folder, name, Progress::new(&display));
    display.finish();
    Ok(compiled?)
}

/// Parses a value as recipes write it; the error lists the valid ones.
fn spelled<T: DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(word.into()).map_err(|error| error.to_string())
}

fn gate(word: &str) -> Result<(Meaning, GateLimits), String> {
    let limit = |text: &str| match text.parse::<f64>() {
        Ok(limit) if limit.is_finite() && limit >= 0.0 => Ok(limit),
        _ => Err(format!("{text} is not a number of 0 or more")),
    };
    let (meaning, limits) = word
        .split_once('=')
        .ok_or("a meaning and its largest error are needed, such as steering=0.1")?;
    let (worst, root) = match limits.split_once(':') {
        Some((worst, root)) => (limit(worst)?, limit(root)?),
        None => (limit(limits)?, limit(limits)? * ROOT_OF_WORST),
    };
    let limits = GateLimits {
        mse: Some(root * root),
        worst: Some(worst),
    };
    Ok((spelled(meaning)?, limits))
}

fn throttle(word: &str) -> Result<f32, String> {
    match word.parse() {
        Ok(throttle) if throttle > 0.0 && throttle <= 1.0 => Ok(throttle),
        _ => Err("must be a number above 0 and at most 1".to_owned()),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
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
        write(&folder.join(&file), content)?;
        print(folder.join(&file).display());
        count += 1;
    }
    if count == 0 {
        pilotage_console::say(format_args!(
            "warning: {} has nothing for other runtimes, which take the model as it is",
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
            "raised to floating point to pass: {}",
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
