//! `pilotage record`: an operator drives, and the car's frames and commands are recorded. It is
//! `pilotage drive --by-hand --record FOLDER`, but may end after a number of frames.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::drive::{self, LogOptions, RecordingOptions, SimulatorOptions};

/// Options of `pilotage record`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The car, with a [gamepad]; without it the simulated car and the first pad that fits
    #[arg(long, value_name = "FILE")]
    car: Option<PathBuf>,
    /// The folder: a new one, or a recording to continue
    #[arg(id = "folder", long = "to", value_name = "FOLDER")]
    to: PathBuf,
    /// How frames are recorded
    #[command(flatten)]
    recording: RecordingOptions,
    /// End after this many recorded frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// The high-level command that is recorded at the start, such as left; `pilotage command` sets another
    #[arg(long, value_name = "NAME")]
    command: Option<String>,
    /// The simulated car's world
    #[command(flatten)]
    simulator: SimulatorOptions,
    /// Show the drive on a page, whose address is printed; needs the program pilotage-watch
    #[arg(long)]
    watch: bool,
    /// Show the drive on a page at this address, as `drive --listen`
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Drive with the page of --watch or --listen instead of a gamepad
    #[arg(long)]
    by_page: bool,
    /// The drive log
    #[command(flatten)]
    log: LogOptions,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Drives by hand and records.
///
/// # Errors
/// Fails if something that is needed does not exist or is not valid; nothing has moved then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    drive::run(&drive::Options {
        car: options.car.clone(),
        simulator: options.simulator.clone(),
        by_hand: !options.by_page,
        by_page: options.by_page,
        command: options.command.clone(),
        record: Some(options.to.clone()),
        recording: options.recording,
        frames: options.frames,
        json: options.json,
        watch: options.watch,
        listen: options.listen,
        log: options.log.clone(),
        ..drive::Options::default()
    })
}
