//! `pilotage-training optimise`.

use std::path::PathBuf;

use pilotage_console::{print, say_always};
use pilotage_training::optimise::strategy::Strategy;
use pilotage_training::optimise::{Optimised, Plan, optimise};

use super::Trained;

#[derive(clap::Args)]
pub(crate) struct Optimise {
    #[command(flatten)]
    trained: Trained,
    /// The strategy, instead of the recipe's. May be repeated: each starts from the trained model.
    #[arg(long, value_enum, num_args = 1..)]
    strategy: Vec<Strategy>,
    /// The files to write: NAME.toml for `pilotage compile`, and NAME.onnx if the strategy trains;
    /// otherwise MODEL-STRATEGY beside the recipe.
    #[arg(long, value_name = "NAME")]
    out: Option<PathBuf>,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Optimise) -> anyhow::Result<()> {
    let plan = Plan {
        recipe: arguments.trained.recipe.clone(),
        data: arguments.trained.data.clone(),
        model: arguments.trained.model.clone(),
        strategies: arguments.strategy.clone(),
        out: arguments.out.clone(),
        force: arguments.force,
    };
    optimise(&plan, report)?;
    Ok(())
}

/// Prints what a strategy made.
fn report(result: &Optimised) {
    let name = result.strategy.name();
    if let Some((before, after)) = result.errors {
        // An error of 1 is that of the mean.
        print(format_args!(
            "{name}: error on held-back frames {after:.4}, that of the trained model {before:.4}"
        ));
        if after > 2.0 * before && after > 0.01 {
            say_always(format_args!(
                "warning: {name}: the error is {:.1} times that of the trained model; more epochs \
                 or a smaller change (docs/training.md) may help",
                after / before
            ));
        }
    }
    if let Some(share) = result.multiply_adds {
        print(format_args!(
            "{name}: {:.0} % of the multiply-adds are left",
            100.0 * share
        ));
    }
    let onnx = result
        .onnx
        .as_ref()
        .map(|path| format!("{} and ", path.display()));
    print(format_args!(
        "{name}: wrote {}{}; next: pilotage compile {}",
        onnx.unwrap_or_default(),
        result.toml.display(),
        super::for_shell(&result.toml)
    ));
}
