//! `pilotage log`: lists, shows and exports drive logs.

mod export;
mod show;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use anyhow::{Context, bail};
use pilotage_drivelog::{LogFile, Store, Timestamp};

use crate::drive;

/// Options of `pilotage log`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the drive logs, the newest last
    List(ListOptions),
    /// Show what a log contains
    Show(show::Options),
    /// Copy the pictures and commands of a log to a data.csv folder, to train with
    Export(export::Options),
}

/// Options of `pilotage log list`.
#[derive(Debug, clap::Args)]
struct ListOptions {
    /// The logs' folder; the user's and that of the installed pilot if not given
    folder: Option<PathBuf>,
}

/// Runs the subcommand.
///
/// # Errors
/// Fails if a log or its folder cannot be read, or the new folder cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.command {
        Command::List(options) => list(options),
        Command::Show(options) => show::run(options),
        Command::Export(options) => export::run(options),
    }
}

fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let folders = match &options.folder {
        Some(folder) => vec![folder.clone()],
        None => drive::folders_to_read(),
    };
    let mut text = String::new();
    for log in logs(&folders, options.folder.is_some())? {
        let nanos = log.written.duration_since(UNIX_EPOCH).unwrap_or_default();
        let written = Timestamp(u64::try_from(nanos.as_nanos()).unwrap_or(u64::MAX));
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{written}  {:<5}  {:>8.1} MB  {}",
            log.kind.name(),
            log.bytes as f64 * 1e-6,
            log.path.display()
        );
    }
    if text.is_empty() {
        bail!("{}", none(&folders));
    }
    pilotage_console::print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The newest log in a folder; without one, of the user and of the installed pilot.
///
/// # Errors
/// Fails if there is none.
pub(super) fn newest(folder: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folders = match folder {
        Some(folder) => vec![folder.to_owned()],
        None => drive::folders_to_read(),
    };
    let newest = logs(&folders, folder.is_some())?.pop();
    newest.map(|log| log.path).with_context(|| none(&folders))
}

/// The newest log in a folder, if there is one.
///
/// # Errors
/// Fails if the folder cannot be read.
pub(super) fn newest_if_any(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let newest = logs(&[folder.to_owned()], true)?.pop();
    Ok(newest.map(|log| log.path))
}

fn none(folders: &[PathBuf]) -> String {
    let folders = folders.iter().map(|folder| folder.display().to_string());
    let folders: Vec<String> = folders.collect();
    format!(
        "there are no drive logs in {}; `pilotage drive` writes one at each stop",
        folders.join(" and ")
    )
}

/// The logs of `folders`, the newest last. A folder that cannot be read is skipped, unless it
/// `is_named`.
fn logs(folders: &[PathBuf], is_named: bool) -> anyhow::Result<Vec<LogFile>> {
    let mut all = Vec::new();
    for folder in folders {
        match store(folder).logs() {
            Ok(logs) => all.extend(logs),
            Err(error) if is_named => {
                return Err(error).with_context(|| folder.display().to_string());
            }
            Err(error) => log::warn!("{}: {error}", folder.display()),
        }
    }
    all.sort_by_key(|log| log.written);
    Ok(all)
}

fn store(folder: &Path) -> Store {
    Store {
        folder: folder.to_owned(),
        most_logs: usize::MAX,
        most_bytes: u64::MAX,
    }
}
