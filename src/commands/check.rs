//! `pilotage check`: checks a car.toml.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_camera::Source;
use pilotage_camera::v4l::Fourcc;
use pilotage_vision::{PixelFormat, Vision};

use crate::car::Car;
use crate::engines;

/// Options of `pilotage check`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file to check
    file: PathBuf,
}

/// Reads the file and prints what it describes.
///
/// # Errors
/// Fails if the file cannot be read or is not valid; the message names the place in the file.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let car = Car::load(&options.file)?;
    // Files that it names must exist and fit, too.
    car.circuit()?;
    let engine = engines::load(&car)?;
    let (width, height) = (car.camera.width as u32, car.camera.height as u32);
    let format = match car.capture.as_ref().map(|capture| &capture.source) {
        Some(Source::V4l(source)) => source.format.map(Fourcc::pixels),
        Some(Source::Pipe(source)) => Some(source.format),
        Some(Source::Folder(_)) | None => None,
    };
    let format = format.unwrap_or(PixelFormat::Rgb8);
    Vision::new(&engine.preprocess, width, height, format)
        .context("the camera's frames do not fit the engine's input")?;
    pilotage_console::print(format_args!("{}: sound", options.file.display()));
    Ok(ExitCode::SUCCESS)
}
