//! `pilotage command`: what an operator wants of the network that drives.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_console::print;

use crate::high_level;

/// Options of `pilotage command`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The command, such as left: one of `command.values` in the engine's recipe; any name in a recording
    /// by hand
    name: String,
    /// The file of the car that drives [default: the installed car, else the simulated car without a file]
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
}

/// Sets a high-level command of the pilot that runs.
///
/// # Errors
/// Fails if no drive takes commands, or not this one.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    high_level::request(options.car.as_deref(), &options.name)?;
    print(format_args!(
        "{}: in force from the next frame on",
        options.name
    ));
    Ok(ExitCode::SUCCESS)
}
