//! Makes a trained network smaller or faster: quantization-aware training, pruning, clustering,
//! structured pruning and distillation of any ONNX model that the compiler reads.
//!
//! [`optimise`] runs one or several [strategies](strategy::Strategy). Each starts from the trained
//! model and writes NAME.toml for `pilotage compile`, and NAME.onnx if it trains. A [`recipe`] sets
//! the model, its ports and the course of the training; [`task`] has the frames and what is learned;
//! [`fit`] trains.

pub mod channels;
mod error;
pub mod export;
pub mod fit;
pub mod inference_time;
pub mod prune;
pub mod quantized;
pub mod recipe;
mod store;
pub mod strategy;
pub mod student;
pub mod task;
mod train;
mod trained;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cloning::Target;
pub use error::OptimiseError;
use recipe::OptimiseRecipe;
pub(crate) use store::store;
use strategy::Strategy;
pub(crate) use train::train;
pub(crate) use trained::TrainedModel;

/// What to optimise, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The recipe.
    pub recipe: PathBuf,
    /// The recordings to learn from, and for calibration if the recipe names no frames.
    pub data: Vec<PathBuf>,
    /// The trained model, instead of the recipe's.
    pub model: Option<PathBuf>,
    /// The strategies; if empty, the recipe's.
    pub strategies: Vec<Strategy>,
    /// The name of the files, for a single strategy; if absent, MODEL-STRATEGY beside the recipe.
    pub out: Option<PathBuf>,
    /// Whether existing files may be overwritten.
    pub force: bool,
}

/// A frame with the answer of an optimised network, as it was trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The network's input as bytes: rows of interleaved channels.
    pub picture: Vec<u8>,
    /// The elements of all outputs.
    pub answer: Vec<f32>,
}

/// The result of one strategy.
#[derive(Debug, Clone)]
pub struct Optimised {
    /// The strategy.
    pub strategy: Strategy,
    /// The recipe for `pilotage compile`.
    pub toml: PathBuf,
    /// The network, if the strategy trains one.
    pub onnx: Option<PathBuf>,
    /// The errors of the trained model and of the optimised network on held-back frames, if the
    /// strategy trains one; see [`task::Task::error`].
    pub errors: Option<(f64, f64)>,
    /// The share of the multiply-adds that structured pruning left.
    pub multiply_adds: Option<f64>,
    /// Some held-back frames with the network's answers.
    pub examples: Vec<Example>,
}

/// Runs the strategies of `plan`, each from the trained model. `observe` is called with each result.
///
/// The same plan and recordings give the same files on the same kind of machine, with any number of
/// threads.
///
/// # Errors
/// When the recipe, the model, a recording or a file cannot be used, or the training diverges.
pub fn optimise(
    plan: &Plan,
    mut observe: impl FnMut(&Optimised),
) -> Result<Vec<Optimised>, OptimiseError> {
    let recipe = OptimiseRecipe::read(&plan.recipe)?;
    let strategies = match (&plan.strategies[..], recipe.settings.strategy) {
        ([], None) => return Err(OptimiseError::NoStrategy),
        ([], Some(strategy)) => vec![strategy],
        (named, _) => named.to_vec(),
    };
    if plan.out.is_some() && strategies.len() > 1 {
        return Err(OptimiseError::SeveralNames);
    }
    let trains = strategies.iter().any(|strategy| strategy.trains());
    if trains && !recipe.compile.input_rules().is_none() {
        return Err(OptimiseError::Memory);
    }
    if trains && recipe.compile.decoder.is_some() {
        return Err(OptimiseError::Decoder);
    }
    let folder = trained::folder_of(&plan.recipe)?;
    let path = trained::model_path(&plan.recipe, &recipe, plan.model.as_deref())?;
    let targets = (strategies.iter())
        .map(|&strategy| target(plan, &path, &folder, strategy))
        .collect::<Result<Vec<_>, _>>()?;
    let trained = TrainedModel::open(&plan.recipe, recipe, Some(&path), &plan.data)?;
    let data = match trains {
        true => Some(trained.read()?),
        false => None,
    };
    let task = data.as_ref().map(|data| data.task(&trained)).transpose()?;
    let mut results = Vec::new();
    for (&strategy, target) in strategies.iter().zip(&targets) {
        let made = match &task {
            Some(task) if strategy.trains() => {
                let (best, left) = train(task, &trained.model, strategy)?;
                Some((best, left, task))
            }
            _ => None,
        };
        let result = store(&trained, strategy, made, target)?;
        observe(&result);
        results.push(result);
    }
    Ok(results)
}

/// The files of a strategy, which must not be those of the trained model.
fn target(
    plan: &Plan,
    model: &Path,
    folder: &Path,
    strategy: Strategy,
) -> Result<Target, OptimiseError> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let name = || folder.join(format!("{stem}-{}.onnx", strategy.name()));
    let out = plan.out.clone().unwrap_or_else(name);
    let target = Target::new(&out, Some(&plan.recipe), plan.force, false)?;
    match fs::canonicalize(target.onnx()) {
        Ok(path) if path == model => Err(OptimiseError::SourceModel(path)),
        _ => Ok(target),
    }
}
