//! `pilotage guard`: this program as the guard of a simulated car. Not for people:
//! `pilotage drive` starts it, its lines in place of standard input and output.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_guard::{Allowed, Limits, LimitsSpec, Reach, Relay};

/// What the guard is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Its limits, as JSON
    #[arg(long)]
    limits: String,
}

/// Runs the guard until the pilot's line is closed.
///
/// # Errors
/// When it does not start.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let spec: LimitsSpec = serde_json::from_str(&options.limits).context("--limits")?;
    let limits = Limits::new(spec)?;
    let started_by_hand = "`pilotage drive` starts the guard; it is of no use by itself";
    let pilot = std::io::stdin().as_fd().try_clone_to_owned();
    let motors = std::io::stdout().as_fd().try_clone_to_owned();
    let reach = Reach {
        socket: None,
        pilot: Some(pilot.context(started_by_hand)?),
        allowed: Allowed::own(),
        // The simulated car hurts nobody.
        privileged: false,
    };
    let relay = Relay::new(motors.context(started_by_hand)?);
    pilotage_guard::run(limits, relay, reach).context(started_by_hand)?;
    Ok(ExitCode::SUCCESS)
}
