//! `pilotage check`: is this car.toml sound?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_vision::{PixelFormat, Vision};

use crate::camera::Source;
use crate::camera::v4l::Fourcc;
use crate::car::Car;
use crate::engines;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file to check
    file: PathBuf,
}

/// Reads the file and says what it describes.
///
/// # Errors
/// When it cannot be read or is not sound; the message says where.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let car = Car::load(&options.file)?;
    // What it names has to be there too, and to fit.
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
        .context("the camera does not give what the engine wants to see")?;
    pilotage_console::print(format_args!("{}: sound", options.file.display()));
    Ok(ExitCode::SUCCESS)
}
