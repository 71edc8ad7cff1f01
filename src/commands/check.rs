//! `pilotage check`: checks a car.toml.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pilotage_camera::Source;
use pilotage_camera::v4l::Fourcc;
use pilotage_guard::INSTALLED;
use pilotage_vision::{PixelFormat, Vision};

use crate::car::Car;
use crate::engines::{self, LoadError};

/// Options of `pilotage check`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file to check [default: /etc/pilotage/car.toml]
    file: Option<PathBuf>,
}

/// Reads the file and the files that it names, and prints whether they are valid. An engine file
/// that does not exist yet is only noted, and an engine that the guard will not arm the car for is a
/// warning, as `pilotage drive` reports it.
///
/// # Errors
/// Fails if the file cannot be read or is not valid; the message names the place in the file.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let file = options.file.as_deref().unwrap_or(Path::new(INSTALLED));
    let car = Car::load(file)?;
    // Files that it names must exist and fit, too.
    car.circuit()?;
    car.capture
        .as_ref()
        .map_or(Ok(()), pilotage_camera::check)?;
    let engine = match engines::load(&car) {
        // A car's file is written before its engine is compiled.
        Err(LoadError::Read { path, reason }) if reason.kind() == io::ErrorKind::NotFound => {
            let file = file.display();
            pilotage_console::print(format_args!(
                "{file}: sound; its engine {path} is still to be made (`pilotage compile`)"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        loaded => loaded?,
    };
    let misfits = engine.fit_car(&car);
    let misfits = misfits.with_context(|| file.display().to_string())?;
    for misfit in &misfits {
        pilotage_console::say_always(format_args!("warning: {}: {misfit}", file.display()));
    }
    let (width, height) = (car.camera.width as u32, car.camera.height as u32);
    let format = match car.capture.as_ref().map(|capture| &capture.source) {
        Some(Source::V4l(source)) => source.format.map(Fourcc::pixels),
        Some(Source::Pipe(source)) => Some(source.format),
        Some(Source::Folder(_)) | None => None,
    };
    let format = format.unwrap_or(PixelFormat::Rgb8);
    if !engine.preprocess.is_none() {
        Vision::new(&engine.preprocess, width, height, format)
            .context("the camera's frames do not fit the engine's input")?;
    }
    pilotage_console::print(match misfits.len() {
        0 => format!("{}: sound", file.display()),
        count => format!("{}: sound, with {count} warning(s)", file.display()),
    });
    Ok(ExitCode::SUCCESS)
}
