//! Writes what a strategy made.

use std::path::PathBuf;

use pilotage_compiler::{LayerPrecision, Precision, Recipe, SourceModel};
use pilotage_config::write_atomically;
use pilotage_graph::RECIPE_KEY;

use super::export::{ExportError, recipe_text};
use super::fit::Candidate;
use super::strategy::Strategy;
use super::student;
use super::task::Task;
use super::trained::TrainedModel;
use super::{Example, OptimiseError, Optimised};
use crate::cloning::Target;
use crate::cloning::export::relative;

/// Held-back frames whose answers a result has.
const MOST_EXAMPLES: usize = 64;

/// What was trained: the network, and the share of the multiply-adds that structured pruning left.
pub type Made<'a> = (Candidate, Option<f64>, &'a Task<'a>);

/// Writes the recipe of a strategy for `pilotage compile`, and the network that it trained.
///
/// # Errors
/// When a file cannot be written.
pub fn store(
    trained: &TrainedModel,
    strategy: Strategy,
    made: Option<Made<'_>>,
    target: &Target,
) -> Result<Optimised, OptimiseError> {
    let recipe = compiled(&trained.recipe.compile, &trained.model, strategy, target)?;
    let comment = format!(
        "Optimised by pilotage-training optimise: {}.",
        strategy.name()
    );
    let text = recipe_text(&recipe, &comment)?;
    let mut result = Optimised {
        strategy,
        toml: target.toml(),
        onnx: None,
        errors: None,
        multiply_adds: None,
        examples: Vec::new(),
    };
    if let Some((best, share, task)) = made {
        let bytes = best.graph.write_with_metadata(&[(RECIPE_KEY, &text)]);
        write_atomically(&target.onnx(), &bytes).map_err(ExportError::from)?;
        result.onnx = Some(target.onnx());
        result.errors = Some((task.own_error(), best.error));
        result.multiply_adds = share;
        result.examples = examples(&best, task);
    }
    write_atomically(&target.toml(), text.as_bytes()).map_err(ExportError::from)?;
    Ok(result)
}

/// The recipe for `pilotage compile`, whose paths are relative to the target's folder.
fn compiled(
    recipe: &Recipe,
    model: &SourceModel,
    strategy: Strategy,
    target: &Target,
) -> Result<Recipe, OptimiseError> {
    let folder = target.folder()?;
    let precision = strategy.precision();
    let mut compiled = Recipe {
        model: match strategy.trains() {
            true => PathBuf::from(target.model_name()),
            false => relative(&recipe.model, &folder),
        },
        precision,
        on_gate_failure: strategy.on_gate_failure(),
        weights: strategy.weights().or(recipe.weights),
        ..recipe.clone()
    };
    compiled.tensorrt.sparse_weights |= strategy.sparse_weights();
    if let Some(calibration) = &mut compiled.calibration {
        calibration.frames = relative(&calibration.frames, &folder);
    }
    if strategy.trains() {
        // They are constants of the trained network.
        compiled.fixed_inputs.clear();
    }
    let has_layers = match precision {
        Precision::Fp32 | Precision::Int8Dynamic => false,
        _ => !strategy.is_quantized() && strategy != Strategy::Distill,
    };
    if !has_layers {
        compiled.layers.clear();
    }
    if precision == Precision::Fp16 {
        // Only layers in float32 differ from the others.
        compiled
            .layers
            .retain(|_, precision| *precision == LayerPrecision::Fp32);
    }
    if strategy == Strategy::Distill {
        compiled.output = student::outputs(&compiled.output);
    }
    for (output, resolved) in compiled.output.iter_mut().zip(&model.outputs) {
        output.name.get_or_insert_with(|| resolved.name.clone());
    }
    Ok(compiled)
}

/// Some held-back frames with the answers of a network.
fn examples(best: &Candidate, task: &Task<'_>) -> Vec<Example> {
    let held_back = &task.split.held_back;
    let size = best.answers.len() / held_back.len().max(1);
    let answers = best.answers.chunks(size.max(1));
    let pairs = held_back.iter().zip(answers).take(MOST_EXAMPLES);
    let example = |(&frame, answer): (&usize, &[f32])| Example {
        picture: task.frames.picture(frame).to_vec(),
        answer: answer.to_vec(),
    };
    pairs.map(example).collect()
}
