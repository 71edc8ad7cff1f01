//! The network that learns from the trained model in distillation.

use pilotage_compiler::RecipeOutput;
use pilotage_learning::Network;

use super::OptimiseError;
use super::task::{Task, shape};
use crate::architecture::Architecture;
use crate::network::Statistics;

/// Pictures that the statistics of the input are measured on.
const MEASURED: usize = 500;
/// The name of the student's output.
const OUTPUT: &str = "controls";

/// The named network of the recipe with initial weights: one number for each control, which answers
/// the mean of the expected values at first.
///
/// # Errors
/// When the network cannot have this input, or a control is one of several bins.
pub fn student(task: &Task<'_>) -> Result<Network, OptimiseError> {
    let (settings, input) = (&task.settings, &task.recipe.compile.input);
    if task
        .wanted
        .iter()
        .any(|wanted| wanted.output.bins.is_some())
    {
        return Err(OptimiseError::Bins);
    }
    let network = Architecture::new(settings.student, shape(input), task.wanted.len())?;
    let (statistics, means) = (statistics(task), task.means());
    let graph = network.graph(&statistics, &means, input.layout, settings.seed)?;
    let mut student = Network::from_graph(&graph)?;
    for (name, factor) in network.rate_factors() {
        student.set_rate_factor(&name, factor)?;
    }
    Ok(student)
}

/// The outputs of the student for the recipe of `pilotage compile`, which has the controls in the
/// order of `outputs`.
pub fn outputs(outputs: &[RecipeOutput]) -> Vec<RecipeOutput> {
    let each = outputs.iter().enumerate();
    each.map(|(index, output)| RecipeOutput {
        name: Some(OUTPUT.to_owned()),
        index,
        ..output.clone()
    })
    .collect()
}

/// Mean and variance of the input, by channel.
fn statistics(task: &Task<'_>) -> Statistics {
    let values = task.normalised();
    let channels = values.len();
    let mut sums = vec![(0.0_f64, 0.0_f64, 0_u64); channels];
    for picture in task.learned_pictures(MEASURED) {
        for pixel in picture.chunks_exact(channels) {
            for ((sum, values), &byte) in sums.iter_mut().zip(&values).zip(pixel) {
                let value = f64::from(values[usize::from(byte)]);
                *sum = (sum.0 + value, sum.1 + value * value, sum.2 + 1);
            }
        }
    }
    let mut statistics = Statistics {
        mean: [0.0; 3],
        variance: [1.0; 3],
    };
    for (channel, (sum, squares, count)) in sums.into_iter().enumerate() {
        let count = count.max(1) as f64;
        let mean = sum / count;
        statistics.mean[channel] = mean as f32;
        statistics.variance[channel] = (squares / count - mean * mean).max(0.0) as f32;
    }
    statistics
}
