//! `pilotage data mark`: leaves a range of records out, or uses it again.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_console::print;
use pilotage_dataset::{Recording, marks_file};

use super::warn;

/// Options of `pilotage data mark`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md, or an MCAP file
    folder: PathBuf,
    /// The first record, counted from 0, marked ones included
    #[arg(long, value_name = "N")]
    from: usize,
    /// The last record
    #[arg(long, value_name = "N")]
    to: usize,
    /// Use the records again: remove their marks
    #[arg(long)]
    used: bool,
}

/// Marks the records, or removes their marks.
///
/// # Errors
/// Fails if the recording cannot be read, has no such records, or the marks cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let recording = Recording::open_marked(&options.folder)?;
    warn(recording.notes());
    let count = recording.mark((options.from, options.to), options.used)?;
    let (of, marks) = (recording.records().len(), marks_file(&options.folder));
    let what = match options.used {
        true => "used again",
        false => "left out",
    };
    print(format_args!(
        "{count} of {of} records are {what} from now on; {} lists those that are left out",
        marks.display()
    ));
    Ok(ExitCode::SUCCESS)
}
