//! The training of each strategy.

use std::time::Duration;

use pilotage_compiler::SourceModel;
use pilotage_graph::Graph;
use pilotage_learning::Network;

use super::OptimiseError;
use super::fit::{Candidate, Course, Reform, Stage};
use super::strategy::Strategy;
use super::task::Task;
use super::{channels, inference_time, prune, quantized, student};

/// Trains the network of a strategy. Also returns the share of the multiply-adds that structured
/// pruning left.
///
/// # Errors
/// When the model cannot take the strategy's form, or the training diverges.
pub fn train(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
) -> Result<(Candidate, Option<f64>), OptimiseError> {
    let (smaller, left) = match strategy.removes_channels() {
        true => {
            let (smaller, left) = without_channels(task, model, strategy)?;
            (Some(smaller), Some(left))
        }
        false => (None, None),
    };
    let best = match (smaller, strategy.is_quantized()) {
        (Some(smaller), false) => smaller,
        (Some(smaller), true) => quantized::train(task, model, smaller.graph, strategy)?,
        (None, true) => quantized::train(task, model, model.graph.clone(), strategy)?,
        (None, false) if strategy == Strategy::Distill => {
            let student = student::student(task)?;
            float(task, model, strategy, (student, &mut |_, _, _| Ok(true)))?
        }
        (None, false) => pruned(task, model, strategy)?,
    };
    Ok((best, left))
}

/// Removes channels and trains what is left. Also returns the share of the multiply-adds.
fn without_channels(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
) -> Result<(Candidate, f64), OptimiseError> {
    let settings = &task.settings;
    let smaller = match settings.microseconds {
        None => channels::prune(&model.graph, settings.share.unwrap_or(0.5))?,
        Some(limit) => {
            let limit = Duration::from_secs_f64(1e-6 * limit);
            let measure = |graph: &Graph| inference_time::of_network(task, graph);
            channels::prune_to_time(&model.graph, limit, measure)?
        }
    };
    let left = smaller.multiply_adds / smaller.before.max(1.0);
    let as_it_is: &mut Reform<'_> = &mut |_, _, _| Ok(true);
    let best = float(
        task,
        model,
        strategy,
        (Network::from_graph(&smaller.graph)?, as_it_is),
    )?;
    Ok((best, left))
}

/// Prunes weights and trains the others.
fn pruned(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
) -> Result<Candidate, OptimiseError> {
    let settings = &task.settings;
    let share = settings.share.unwrap_or(0.3);
    let reform: &mut Reform<'_> = &mut |network, step, steps| match strategy {
        Strategy::PruneLocal if step == 0 => prune::local(network, settings).map(|()| true),
        Strategy::PruneGlobal if step == 0 => prune::global(network, share).map(|()| true),
        Strategy::Prune | Strategy::PruneInt8 => {
            prune::polynomial(network, settings, (step, steps))
        }
        _ => Ok(true),
    };
    float(
        task,
        model,
        strategy,
        (Network::from_graph(&model.graph)?, reform),
    )
}

/// Trains a float network whose input is that of the trained model.
fn float(
    task: &Task<'_>,
    model: &SourceModel,
    strategy: Strategy,
    (network, reform): (Network, &mut Reform<'_>),
) -> Result<Candidate, OptimiseError> {
    let places = match strategy {
        Strategy::Distill => (0..task.wanted.len()).collect(),
        _ => task.wanted.iter().map(|wanted| wanted.place).collect(),
    };
    let teacher = Network::from_graph(&model.graph)?;
    let mut course = Course::new((task, strategy), teacher, task.normalised(), places);
    let stage = Stage {
        name: strategy.name(),
        reform,
        export: &|network| Ok(network.to_graph()?),
    };
    Ok(course.run(network, stage)?.1)
}
