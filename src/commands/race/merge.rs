//! `pilotage race merge`: joins the folders of a race's parts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use pilotage_console::say;

use super::output;
use super::plan::Plan;
use super::store::Store;

/// Options of `pilotage race merge`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folders of the parts
    #[arg(value_name = "FOLDER", required = true)]
    parts: Vec<PathBuf>,
    /// The folder of the whole
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Copies the parts' results to one folder, and prints the table. The exit status is 1 if a drive of
/// the whole is missing.
///
/// # Errors
/// Fails if a part is not the folder of a race, the parts are not of one race, or two of them have
/// different results of one drive.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (store, whole) = joined(&options.parts, &options.out)?;
    let complete = output::write_all(&store, &whole)?;
    if !complete {
        say("warning: the race is not complete: a part is missing, or was interrupted");
    }
    Ok(match complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Copies the parts' results to `out`; returns it with the plan of the whole.
pub(super) fn joined(parts: &[PathBuf], out: &Path) -> anyhow::Result<(Store, Plan)> {
    let mut opened = Vec::new();
    for part in parts {
        opened.push((part, Store::existing(part)?));
    }
    let mut whole = match opened.first() {
        Some((_, (_, plan))) => plan.clone(),
        None => bail!("name the folders of the parts"),
    };
    for (part, (_, plan)) in &opened {
        let name = || format!("{} and {}", parts[0].display(), part.display());
        whole
            .add(plan)
            .with_context(|| format!("{} are not parts of one race", name()))?;
    }
    let (store, whole) = Store::open(out, &whole)?;
    for (part, (from, plan)) in &opened {
        for circuit in &plan.circuits {
            output::copy_track(from, &store, &circuit.name)?;
        }
        for (job, driven) in from.results(plan)? {
            match store.result(&whole, &job)? {
                None => store.keep(&whole, &job, driven, &from.path(&job)?)?,
                Some(known) if known == driven => {}
                Some(_) => bail!(
                    "{}: its result of {job} is not the one in {}: drive each part once, or delete \
                     one of them",
                    part.display(),
                    out.display()
                ),
            }
        }
    }
    Ok((store, whole))
}
