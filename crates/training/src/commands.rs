//! Subcommands with a file of their own.

pub(crate) mod optimise;
pub(crate) mod search;

use std::path::PathBuf;

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
