//! `pilotage record`: an operator drives, and the car's frames and commands are recorded.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::drive::{Recording, by_hand, say};
use crate::car::Car;
use crate::recorder::{Encoding, Folder, FrameTaker, Steered};
use pilotage_camera as camera;

/// Options of `pilotage record`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car, with a [gamepad]
    #[arg(long, value_name = "FILE")]
    car: PathBuf,
    /// The folder: a new one, or a recording to continue
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Record lossless pictures instead of JPEG; three times as large and slow
    #[arg(long, conflicts_with = "jpeg_quality")]
    png: bool,
    /// JPEG quality, 1 to 100
    #[arg(long, value_name = "N", default_value_t = 92,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    jpeg_quality: u8,
    /// Record frames even while the car is not driven
    #[arg(long)]
    all: bool,
    /// End after this many recorded frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Drives by hand and records.
///
/// # Errors
/// Fails if something that is needed does not exist or is not valid; nothing has moved then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let car = Car::load(&options.car)?;
    let capture = car.capture.as_ref().context(
        "recording needs a real car, or `actuator.kind = \"dry-run\"`; `pilotage-training record` \
         records frames of the simulated one",
    )?;
    let camera = camera::open(capture)?;
    let encoding = match options.png {
        true => Encoding::Png,
        false => Encoding::Jpeg(options.jpeg_quality),
    };
    let folder = Folder::open(&options.to, encoding)?;
    let steered = Arc::new(Steered::new(options.all));
    let taken = Arc::clone(&steered);
    let recording = Recording {
        frames: FrameTaker::start(camera, folder, car.mixer.clone(), taken, say)?,
        steered,
        wanted: options.frames,
    };
    by_hand(&car, Some(&options.car), Some(recording), options.json)
}
