//! `pilotage data clean`: marks pictures that are left out.

use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_console::print;
use pilotage_dataset::{LEFT_OUT, Recording, mark};

use super::survey::Survey;
use super::warn;

/// Options of `pilotage data clean`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The recording: a folder in any format of docs/recordings.md
    folder: PathBuf,
    /// Mark blurred pictures too
    #[arg(long)]
    blurred: bool,
    /// Count, but write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Marks bad, black and repeated pictures.
///
/// # Errors
/// Fails if the recording cannot be read or the marks cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let recording = Recording::open(&options.folder)?;
    warn(recording.notes());
    let survey = Survey::of(&recording)?;
    let mut marks = Vec::new();
    for bad in &survey.decoded.bad.bad {
        marks.push((bad.picture.clone(), bad.problem.to_string()));
    }
    let blurred = match options.blurred {
        true => &survey.blurred[..],
        false => &[],
    };
    for (indices, reason) in [
        (&survey.black[..], "is black"),
        (&survey.repeated[..], "repeats the picture before"),
        (blurred, "is blurred"),
    ] {
        for &index in indices {
            marks.push((
                recording.records()[index].picture.clone(),
                reason.to_owned(),
            ));
        }
    }
    let path = options.folder.join(LEFT_OUT);
    let of = recording.records().len();
    if options.dry_run {
        print(format_args!(
            "{} of {of} records would be left out",
            marks.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let marked = mark(&options.folder, &marks)?;
    print(format_args!(
        "{marked} of {of} records are left out from now on; {} lists them",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}
