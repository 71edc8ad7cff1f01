//! `pilotage check`: is this car.toml sound?

use std::path::PathBuf;
use std::process::ExitCode;

use crate::car::Car;

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
    // A circuit it names has to be there too.
    Car::load(&options.file)?.circuit()?;
    println!("{}: sound", options.file.display());
    Ok(ExitCode::SUCCESS)
}
