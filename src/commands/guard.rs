//! `pilotage guard`: runs this program as the guard of a car that moves nothing: a simulated or a
//! dry-running one. `pilotage drive` starts it, with its connection as standard input.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_guard::{
    Allowed, GuardedCar, Identification, Limits, LimitsSpec, Relay, ServeOptions,
};
use pilotage_vehicle::Domain;

/// Options of `pilotage guard`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// For a simulated car, whose motors are at standard output: its limits, as JSON
    #[arg(long, required_unless_present = "car", conflicts_with = "car")]
    limits: Option<String>,
    /// For a dry-running car: its file
    #[arg(long, requires = "pilot_on_stdin")]
    car: Option<PathBuf>,
    /// The pilot's connection is standard input
    #[arg(long)]
    pilot_on_stdin: bool,
}

/// Runs the guard until the pilot's connection is closed.
///
/// # Errors
/// Fails if the guard does not start.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let started_by_hand = "`pilotage drive` starts the guard; it is of no use by itself";
    let pilot = std::io::stdin().as_fd().try_clone_to_owned();
    let pilot = pilot.context(started_by_hand)?;
    // Leave the pilot's terminal, whose keys are not for the guard.
    pilotage_guard::leave_session();
    if let Some(file) = &options.car {
        let car = GuardedCar::load(file)?;
        anyhow::ensure!(
            car.limits.spec().actuator == Domain::Simulated,
            "only the program `pilotage-guard` moves motors"
        );
        pilotage_guard::guard(file, Some(pilot), Allowed::own())?;
        return Ok(ExitCode::SUCCESS);
    }
    let limits = options.limits.as_deref().unwrap_or_default();
    let spec: LimitsSpec = serde_json::from_str(limits).context("--limits")?;
    let limits = Limits::new(spec)?;
    let motors = std::io::stdout().as_fd().try_clone_to_owned();
    let options = ServeOptions {
        socket: None,
        pilot: Some(pilot),
        allowed: Allowed::own(),
        identification: Identification::of_limits(&limits),
        // A simulated car is harmless.
        privileged: false,
    };
    let relay = Relay::new(motors.context(started_by_hand)?);
    pilotage_guard::run(limits, relay, options, || Ok(())).context(started_by_hand)?;
    Ok(ExitCode::SUCCESS)
}
