//! `pilotage log export`: a log as a data.csv folder.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_dataset::{LogOptions, Recording};

use crate::commands::data::copy::{Copy, Form, copy};
use crate::commands::data::warn;

/// Options of `pilotage log export`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The log: best one of a whole drive (`drive --log FOLDER`)
    log: PathBuf,
    /// The new folder
    to: PathBuf,
    /// Export pictures even while the car was not driven
    #[arg(long)]
    all: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let log = LogOptions {
        idle: options.all,
        ..LogOptions::default()
    };
    let recording = Recording::open_with(&options.log, &log)?;
    warn(recording.notes());
    let form = Form::Folder;
    let mut copies = [Copy::create(
        &options.to,
        &recording,
        form,
        recording.domain(),
    )?];
    copy(&recording, &mut copies, |_| 0, form)?;
    let [to] = copies;
    let count = to.finish()?;
    pilotage_console::print(format_args!(
        "{}: {count} records, {}",
        options.to.display(),
        form.name()
    ));
    Ok(ExitCode::SUCCESS)
}
