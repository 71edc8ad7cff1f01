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
use pilotage_engine::{
    AxisOrder, Bundle, CpuEngine, CpuOptions, ElementType, Engine, Port, TensorMut, TensorRef,
};
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

/// Times the engine on inputs that pilotage-vision computes from pixels.u8. Inputs that do not consist
/// of pictures, such as states and measured numbers, are 0.
fn time_engine(options: &Engines) -> Result<String> {
    let (bundle, mut engine) = load(options)?;
    let preprocess: Preprocess = serde_json::from_value(bundle.manifest.preprocessing)?;
    let (mut vision, size) = uncropped(&preprocess)?;
    let bytes = fs::read(&options.frames).with_context(|| path_text(&options.frames))?;
    let frames = bytes
        .chunks_exact(vision.output_len())
        .map(|pixels| {
            let view = view(PixelFormat::Rgb8, size, pixels);
            let inputs = engine.inputs().iter();
            inputs.map(|port| filled(port, &mut vision, view)).collect()
        })
        .collect::<Result<Vec<Vec<Input>>>>()?;
    check_frames(options, frames.len())?;
    let description = engine.describe();
    let outputs: Vec<_> = engine.outputs().iter().map(named).collect();
    let inputs: Vec<Vec<_>> = frames
        .iter()
        .map(|inputs| inputs.iter().map(Input::tensor).collect())
        .collect();
    let mut answers: Vec<Vec<f32>> = outputs.iter().map(|(_, size)| vec![0.0; *size]).collect();
    timing::measured(
        &description,
        &outputs,
        frames.len(),
        options.count,
        |frame, all| {
            let mut tensors: Vec<_> = answers.iter_mut().map(|own| TensorMut::F32(own)).collect();
            engine.infer(&inputs[frame], &mut tensors)?;
            all.clear();
            answers.iter().for_each(|answer| all.extend(answer));
            Ok(())
        },
    )
}

/// The values of one input of an engine.
enum Input {
    Float(Vec<f32>),
    Integer(Vec<i8>),
}

impl Input {
    fn tensor(&self) -> TensorRef<'_> {
        match self {
            Self::Float(values) => TensorRef::F32(values),
            Self::Integer(values) => TensorRef::I8(values),
        }
    }
}

/// The frame as often as the input has pictures; zeros if it has none.
fn filled(port: &Port, vision: &mut Vision, frame: FrameView<'_>) -> Result<Input> {
    let picture = vision.output_len();
    let is_pictures = port.shape.len() >= 4 && port.len().is_multiple_of(picture);
    let copies = if is_pictures { port.len() / picture } else { 0 };
    Ok(match port.element_type {
        ElementType::F32 if copies > 0 => {
            let mut values = vec![0.0; picture];
            vision.run(frame, &mut values)?;
            Input::Float(repeated(port, &values, copies))
        }
        ElementType::I8 if copies > 0 => {
            let mut values = vec![0; picture];
            vision.run_i8(frame, &mut values)?;
            Input::Integer(repeated(port, &values, copies))
        }
        ElementType::F32 => Input::Float(vec![0.0; port.len()]),
        other => bail!(
            "the input `{}` must be f32, or pictures in i8, not {other:?}",
            port.name
        ),
    })
}

/// The picture several times: one after the other, or along the channels if these are innermost.
fn repeated<T: Copy>(port: &Port, picture: &[T], copies: usize) -> Vec<T> {
    match port.shape[..] {
        [_, _, _, channels] if port.layout == AxisOrder::Nhwc && copies > 1 => {
            let pixels = picture.chunks_exact(channels / copies);
            pixels.flat_map(|pixel| pixel.repeat(copies)).collect()
        }
        _ => picture.repeat(copies),
    }
}

fn named(port: &Port) -> (String, usize) {
    (port.name.clone(), port.len())
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
    let outputs: Vec<_> = engine.outputs().iter().map(named).collect();
    timing::measured(
        &description,
        &outputs,
        frames.len(),
        options.count,
        |frame, all| {
            vision.run_i8(view(format, CAMERA, frames[frame]), &mut input)?;
            if !vision_only {
                let input = TensorRef::I8(&input);
                engine.infer(&[input], &mut [TensorMut::F32(&mut answer)])?;
            }
            let _ = std::hint::black_box(decoder.decode(&answer));
            all.clear();
            all.extend(answer);
            Ok(())
        },
    )
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
