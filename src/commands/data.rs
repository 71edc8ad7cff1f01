//! `pilotage data`: shows, imports, splits and cleans recordings.

mod clean;
mod copy;
mod import;
mod sheet;
mod show;
mod signs;
mod split;
mod survey;

use std::process::ExitCode;

use pilotage_dataset::Note;

/// Options of `pilotage data`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what a recording contains, and what is wrong with it
    Show(show::Options),
    /// Copy a recording of any format to a data.csv folder, or to a Donkeycar tub
    Import(import::Options),
    /// Copy a recording to two: one to train on, one held back, by drives or blocks of time
    Split(split::Options),
    /// Mark bad, black and repeated pictures, so that they are left out; nothing is deleted
    Clean(clean::Options),
}

/// Runs the subcommand.
///
/// # Errors
/// Fails if the recording cannot be read; the message names file, line and column.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Command::Show(options) => show::run(options),
        Command::Import(options) => import::run(options),
        Command::Split(options) => split::run(options),
        Command::Clean(options) => clean::run(options),
    }
}

fn warn<'a>(notes: impl IntoIterator<Item = &'a Note>) {
    for note in notes {
        pilotage_console::say(format_args!("warning: {note}"));
    }
}
