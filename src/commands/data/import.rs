//! `pilotage data import`: copies a recording to another format.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_dataset::Recording;

use super::copy::{Copy, copy};
use super::warn;

/// Options of `pilotage data import`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md
    from: PathBuf,
    /// The new folder
    to: PathBuf,
    /// Write a Donkeycar tub (version 2) instead of a data.csv folder
    #[arg(long)]
    tub: bool,
}

/// Copies the recording. The new folder gets its name when it is complete.
///
/// # Errors
/// Fails if the recording cannot be read, too many of its pictures are bad, the new folder is not
/// empty, or a file cannot be written. The new folder does not exist then.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let recording = Recording::open(&options.from)?;
    warn(recording.notes());
    let mut copies = [Copy::create(&options.to, &recording, options.tub)?];
    copy(&recording, &mut copies, |_| 0, options.tub)?;
    let [to] = copies;
    let count = to.finish()?;
    let format = if options.tub {
        "Donkeycar tub"
    } else {
        "data.csv"
    };
    pilotage_console::print(format_args!(
        "{}: {count} records, {format}",
        options.to.display()
    ));
    Ok(ExitCode::SUCCESS)
}
