//! `pilotage gpu-plan`: runs as the process that builds a TensorRT plan. `compile` starts it, with its
//! connection as standard input.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use pilotage_console::{say_always, write_to_stderr};
use tensorrt_rs::Progress;

use crate::engines::builder;

/// Options of `pilotage gpu-plan`: none.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Builds one plan.
///
/// # Errors
/// Fails if `compile` did not start this program, or the system fails.
pub fn run(_options: &Options) -> anyhow::Result<ExitCode> {
    builder::serve(&show).context("the process that builds a plan, which `pilotage compile` starts")
}

/// One line on a terminal, and in a journal a line for each phase. TensorRT's log has the details
/// (`RUST_LOG=tensorrt=debug`).
fn show(progress: Progress<'_>) -> bool {
    let Progress { phase, done, steps } = progress;
    if std::io::stderr().is_terminal() {
        // A failure to show the line does not stop the work.
        let _ = write_to_stderr(format!("\r\x1b[K{phase}: {done} of {steps}").as_bytes());
    } else if done == 0 {
        say_always(format_args!("{phase}: {steps} steps"));
    }
    true
}
