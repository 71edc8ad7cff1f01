//! `pilotage completions` and `pilotage man`: what shells and `man` know of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::Shell;

/// Options of `pilotage completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

/// Options of `pilotage man`.
#[derive(Debug, clap::Args)]
pub struct ManOptions {
    /// The folder, which is made if there is none
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Prints the completions of `command` for a shell.
pub fn completions(options: &CompletionsOptions, mut command: clap::Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    pilotage_console::out(String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// Writes the manual pages of `command` and its subcommands, one file each.
///
/// # Errors
/// Fails if a file cannot be written.
pub fn man(options: &ManOptions, command: clap::Command) -> anyhow::Result<ExitCode> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write the manual pages to {}", folder.display()))?;
    pilotage_console::print(format_args!(
        "wrote {}/pilotage.1 and the pages of its subcommands",
        folder.display()
    ));
    Ok(ExitCode::SUCCESS)
}
