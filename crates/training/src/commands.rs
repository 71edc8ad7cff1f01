//! Subcommands with a file of their own.

pub(crate) mod imitate;
pub(crate) mod optimise;
pub(crate) mod search;

use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_training::expert::Expert;
use pilotage_vehicle::Measurement;

/// The trained model, and what it learns from.
#[derive(clap::Args)]
pub(crate) struct Trained {
    /// The recipe: one of `pilotage compile` for the trained model, with [optimise]
    /// (docs/training.md).
    #[arg(long, value_name = "NAME.toml")]
    recipe: PathBuf,
    /// A recording to learn from. May be repeated.
    #[arg(long, value_name = "FOLDER", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// The trained model, instead of the recipe's.
    #[arg(long, value_name = "NAME.onnx")]
    model: Option<PathBuf>,
}

/// A path as one word of a shell command.
pub(crate) fn for_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |it: char| it.is_alphanumeric() || "/._-+=:@%,".contains(it);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A latency that is known, in milliseconds, is one that the expert can foresee.
pub(crate) fn latency_and_expert(millis: Option<u64>) -> (Option<Duration>, Expert) {
    let expert = match millis {
        Some(_) => Expert::foreseeing(),
        None => Expert::default(),
    };
    (millis.map(Duration::from_millis), expert)
}

/// The measurement with this name.
pub(crate) fn measurement(name: &str) -> Result<Measurement, String> {
    let found = Measurement::ALL.into_iter().find(|it| it.name() == name);
    found.ok_or_else(|| {
        let known = Measurement::ALL.map(Measurement::name).join(", ");
        format!("no sensor measures it; the measurements are {known}")
    })
}

/// Checks that no measurement of --measure is named twice.
pub(crate) fn check_measure(measurements: &[Measurement]) -> anyhow::Result<()> {
    for (index, measurement) in measurements.iter().enumerate() {
        anyhow::ensure!(
            !measurements[..index].contains(measurement),
            "--measure names {} twice",
            measurement.name()
        );
    }
    Ok(())
}
