//! `pilotage gpu-plan`: runs as the process that builds a TensorRT plan. `compile` starts it, with its
//! connection as standard input.

use std::process::ExitCode;

use anyhow::Context;

use super::compile;
use crate::engines::builder;

/// Options of `pilotage gpu-plan`: none.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Builds one plan.
///
/// # Errors
/// Fails if `compile` did not start this program, or the system fails.
pub fn run(_options: &Options) -> anyhow::Result<ExitCode> {
    builder::serve(&compile::show)
        .context("the process that builds a plan, which `pilotage compile` starts")
}
