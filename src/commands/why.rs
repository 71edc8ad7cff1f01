//! `pilotage why`: why the car stopped, from a drive log.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_drivelog::{Cause, Diagnosis, Reader, Window};

use super::log::newest;
use crate::plot;

/// Options of `pilotage why`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The log, as `pilotage log list` names it, or the folder of `drive --log`, of which it is the
    /// newest; without it the newest of those that every drive writes
    log: Option<PathBuf>,
    /// Draw the seconds before to this PNG: stage times against the deadline, commands asked and
    /// granted, pictures of the camera
    #[arg(long, value_name = "OUT.png", value_parser = plot::png_path)]
    picture: Option<PathBuf>,
}

/// Prints why the car stopped.
///
/// # Errors
/// Fails if there is no log, it cannot be read, or the picture cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let path = match &options.log {
        Some(path) if path.is_dir() => newest(Some(path))?,
        Some(path) => path.clone(),
        None => newest(None)?,
    };
    let window = Window::read(&mut Reader::open(&path)?)?;
    let diagnosis = Diagnosis::of(&window);
    let mut text = format!("{}\n{}", path.display(), diagnosis.text(&window));
    if let Cause::Ended(_) = diagnosis.cause
        && options.log.is_none()
    {
        text += "\nThe log of an earlier stop: `pilotage log list`, then `pilotage why LOG`\n";
    }
    if let Some(file) = &options.picture {
        plot::drive_picture(file, &window, &diagnosis)?;
        text += &format!("\ndrawn in {}\n", file.display());
    }
    pilotage_console::print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
