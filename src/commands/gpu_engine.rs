//! `pilotage gpu-engine`: runs as the process of a GPU's engine. `drive` starts it, with its connection
//! as standard input.

use std::process::ExitCode;

use anyhow::Context;

use crate::engines::gpu;

/// Options of `pilotage gpu-engine`: none.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs the engine until the pilot ends.
///
/// # Errors
/// Fails if a pilot did not start this program, or the system fails.
pub fn run(_options: &Options) -> anyhow::Result<ExitCode> {
    gpu::run().context("the process of a GPU's engine, which `pilotage drive` starts")
}
