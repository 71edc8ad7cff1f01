//! Runs Pilotage's engine for `cargo xtask peers`, and writes the frames for all engines.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example prints its results"
)]

#[path = "timing.rs"]
mod timing;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser};
use pilotage::pilot::Decoder;
use pilotage_compiler::{Frames, Recipe};
use pilotage_config::Source;
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, ElementType, Engine, TensorMut, TensorRef};
use pilotage_vehicle::Time;
use pilotage_vision::{FrameView, Layout, PixelFormat, Preprocess, Vision};

/// The program's tasks.
#[derive(Debug, Parser)]
enum Task {
    /// Write validation frames of a recipe: pixels.u8 with rows of RGB; values.f32 in NCHW for ONNX
    /// models; quantized.u8 and quantized.i8 in NCHW for models that have folded the scale
    Frames {
        /// The recipe
        recipe: PathBuf,
        /// The folder for the files
        folder: PathBuf,
        /// The number of frames
        #[arg(long, default_value_t = 16)]
        frames: usize,
    },
    /// Time an engine on frames of pixels.u8
    Engine(Engines),
    /// Time the computation from a 640x480 frame to controls
    Camera {
        #[command(flatten)]
        engine: Engines,
        /// The frames' pixel format, by its name in pilotage-vision
        #[arg(long)]
        format: String,
        /// Skip the engine
        #[arg(long)]
        vision_only: bool,
    },
}

/// An engine, and how to time it.
#[derive(Debug, Args)]
struct Engines {
    /// The engine file
    engine: PathBuf,
    /// The file with the frames, one after the other
    frames: PathBuf,
    /// The number of the engine's threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The number of timed inferences
    #[arg(long, default_value_t = 500)]
    count: usize,
}

/// The size of the camera's frames.
const CAMERA: (u32, u32) = (640, 480);

fn main() -> Result<()> {
    match Task::parse() {
        Task::Frames {
            recipe,
            folder,
            frames,
        } => write_frames(&recipe, &folder, frames),
        Task::Engine(options) => {
            println!("{}", time_engine(&options)?);
            Ok(())
        }
        Task::Camera {
            engine,
            format,
            vision_only,
        } => {
            println!("{}", time_camera(&engine, &format, vision_only)?);
            Ok(())
        }
    }
}

/// Writes frames that the engine was not calibrated on.
fn write_frames(recipe: &Path, folder: &Path, count: usize) -> Result<()> {
    ensure!(count > 0, "--frames must be at least 1");
    let text = pilotage_compiler::read_recipe_text(recipe)?;
    let file = recipe.display().to_string();
    let parsed: Recipe = Source::new(&file, &text).parse()?;
    let calibration = parsed
        .calibration
        .context("the recipe has no [calibration], whose frames are needed")?;
    let recipe_folder = recipe.parent().unwrap_or(Path::new(""));
    let preprocess = parsed.input;
    let all = Frames::read(&recipe_folder.join(calibration.frames), &preprocess)?;
    let (_, validation) = all.split();
    ensure!(
        validation.len() >= count,
        "{count} frames were requested, but there are {} for validation",
        validation.len()
    );
    // Spread the frames over all drives.
    let chosen = validation
        .iter()
        .step_by(validation.len() / count)
        .take(count);

    let planar = Preprocess {
        layout: Layout::Nchw,
        ..preprocess
    };
    let (mut vision, size) = uncropped(&planar)?;
    let mut values = vec![0.0_f32; vision.output_len()];
    let mut quantized = vec![0_i8; vision.output_len()];
    let (mut all_pixels, mut all_values, mut all_quantized) = (Vec::new(), Vec::new(), Vec::new());
    for pixels in chosen {
        let view = view(PixelFormat::Rgb8, size, pixels);
        vision.run(view, &mut values)?;
        vision.run_i8(view, &mut quantized)?;
        all_pixels.extend_from_slice(pixels);
        all_values.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        all_quantized.extend(quantized.iter().map(|value| value.cast_unsigned()));
    }
    fs::write(folder.join("pixels.u8"), all_pixels)?;
    fs::write(folder.join("values.f32"), all_values)?;
    fs::write(folder.join("quantized.i8"), &all_quantized)?;
    all_quantized.iter_mut().for_each(|value| *value ^= 0x80);
    fs::write(folder.join("quantized.u8"), all_quantized)?;
    Ok(())
}

/// Times the engine on inputs that pilotage-vision computes from pixels.u8.
fn time_engine(options: &Engines) -> Result<String> {
    let (bundle, mut engine) = load(options)?;
    let preprocess: Preprocess = serde_json::from_value(bundle.manifest.preprocessing)?;
    let (mut vision, size) = uncropped(&preprocess)?;
    let bytes = fs::read(&options.frames).with_context(|| path_text(&options.frames))?;
    let pixels = bytes.chunks_exact(vision.output_len());
    check_frames(options, pixels.len())?;
    let description = engine.describe();
    let mut answer = [0.0; 2];
    let [input] = engine.inputs() else {
        bail!(
            "the engine must have one input, not {}",
            engine.inputs().len()
        );
    };
    let element_type = input.element_type;
    match element_type {
        ElementType::F32 => {
            let mut frames = vec![vec![0.0; vision.output_len()]; pixels.len()];
            for (pixels, frame) in pixels.zip(&mut frames) {
                vision.run(view(PixelFormat::Rgb8, size, pixels), frame)?;
            }
            timing::measured(&description, frames.len(), options.count, |frame| {
                infer(&mut engine, TensorRef::F32(&frames[frame]), &mut answer)?;
                Ok(answer)
            })
        }
        ElementType::I8 => {
            let mut frames = vec![vec![0; vision.output_len()]; pixels.len()];
            for (pixels, frame) in pixels.zip(&mut frames) {
                vision.run_i8(view(PixelFormat::Rgb8, size, pixels), frame)?;
            }
            timing::measured(&description, frames.len(), options.count, |frame| {
                infer(&mut engine, TensorRef::I8(&frames[frame]), &mut answer)?;
                Ok(answer)
            })
        }
        other => bail!("the engine's input must be f32 or i8, not {other:?}"),
    }
}

/// Runs an engine whose two numbers are one output or two.
fn infer(engine: &mut CpuEngine, input: TensorRef<'_>, answer: &mut [f32; 2]) -> Result<()> {
    match engine.outputs().len() {
        1 => engine.infer(&[input], &mut [TensorMut::F32(answer)])?,
        _ => {
            let (first, second) = answer.split_at_mut(1);
            let outputs = &mut [TensorMut::F32(first), TensorMut::F32(second)];
            engine.infer(&[input], outputs)?
        }
    };
    Ok(())
}

/// Times the steps of the pilot: conversion of a frame to the engine's INT8 input, inference, and
/// conversion of the answer to controls.
fn time_camera(options: &Engines, format: &str, vision_only: bool) -> Result<String> {
    let format: PixelFormat = serde_json::from_value(format.into())?;
    let (bundle, mut engine) = load(options)?;
    let preprocess: Preprocess = serde_json::from_value(bundle.manifest.preprocessing.clone())?;
    let mut decoder = Decoder::of(&bundle.manifest)?;
    decoder.bind(engine.outputs())?;
    let mut vision = Vision::new(&preprocess, CAMERA.0, CAMERA.1, format)?;
    let bytes = fs::read(&options.frames).with_context(|| path_text(&options.frames))?;
    let frames: Vec<&[u8]> = bytes
        .chunks_exact(format.frame_len(CAMERA.0, CAMERA.1)?)
        .collect();
    check_frames(options, frames.len())?;
    let description = engine.describe();
    let mut input = vec![0_i8; vision.output_len()];
    let mut answer = [0.0; 2];
    timing::measured(&description, frames.len(), options.count, |frame| {
        vision.run_i8(view(format, CAMERA, frames[frame]), &mut input)?;
        if !vision_only {
            let input = TensorRef::I8(&input);
            engine.infer(&[input], &mut [TensorMut::F32(&mut answer)])?;
        }
        let _ = std::hint::black_box(decoder.decode(&answer));
        Ok(answer)
    })
}

/// The conversion without a crop, for frames that are already cropped and resized, and their size.
fn uncropped(preprocess: &Preprocess) -> Result<(Vision, (u32, u32))> {
    let whole = Preprocess {
        crop: None,
        ..preprocess.clone()
    };
    let (width, height) = (whole.width, whole.height);
    let vision = Vision::new(&whole, width, height, PixelFormat::Rgb8)?;
    Ok((vision, (width, height)))
}

fn check_frames(options: &Engines, frames: usize) -> Result<()> {
    let path = path_text(&options.frames);
    ensure!(frames > 0, "{path}: is shorter than one frame");
    Ok(())
}

fn load(options: &Engines) -> Result<(Bundle, CpuEngine)> {
    ensure!(options.count > 0, "--count must be at least 1");
    let bytes = fs::read(&options.engine).with_context(|| path_text(&options.engine))?;
    let bundle = Bundle::read(&bytes).with_context(|| path_text(&options.engine))?;
    let cpu_options = CpuOptions {
        threads: options.threads,
        ..CpuOptions::default()
    };
    let mut engine = CpuEngine::new(&bundle.plan, cpu_options)?;
    engine.prepare()?;
    Ok((bundle, engine))
}

fn view(format: PixelFormat, (width, height): (u32, u32), data: &[u8]) -> FrameView<'_> {
    FrameView {
        format,
        width,
        height,
        data,
        captured: Time::ZERO,
        sequence: 0,
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
