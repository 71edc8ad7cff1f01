//! Pruning by magnitude, and clustering, of a network's layers.

use pilotage_learning::{
    Form, LearningError, Network, Parameter, PolynomialSparsity, Role, magnitude_mask,
    magnitude_masks, two_of_four_mask,
};

use super::recipe::Settings;

/// Steps between two changes of the pruned weights.
const EVERY: u64 = 10;
/// The share of the steps after which the pruned share is final. The rest only trains.
const GROWTH: f64 = 0.6;

/// Layers with fewer weights are not pruned. Nothing would be gained, and much lost: the last layer of
/// PilotNet has 20 weights, and with four of them left, an output may be constant.
const LEAST: usize = 512;

/// The trained weights of convolutions and matrix products.
fn weights(network: &Network) -> impl Iterator<Item = &Parameter> {
    let parameters = network.parameters().iter().zip(network.trained());
    let weights = parameters.filter(|(p, trained)| **trained && p.role() == Role::Weights);
    weights.map(|(parameter, _)| parameter)
}

/// Those of layers that are large enough to be pruned.
fn large(network: &Network) -> impl Iterator<Item = &Parameter> {
    weights(network).filter(|parameter| parameter.values().len() >= LEAST)
}

/// Prunes each layer by the mask that `mask` gives for its weights.
fn prune_by(
    network: &mut Network,
    mask: impl Fn(&Network, &Parameter) -> Vec<bool>,
) -> Result<(), LearningError> {
    let masks: Vec<(String, Vec<bool>)> = large(network)
        .map(|p| (p.name().to_owned(), mask(network, p)))
        .collect();
    for (name, mask) in masks {
        network.prune(&name, mask)?;
    }
    Ok(())
}

/// Prunes each layer by the share that `share` gives for its weights.
fn prune_each(
    network: &mut Network,
    share: impl Fn(&Parameter) -> f64,
) -> Result<(), LearningError> {
    prune_by(network, |_, p| magnitude_mask(p.values(), share(p)))
}

/// The pruned share grows along a polynomial: for [`super::fit::Reform`].
///
/// # Errors
/// Never, unless the network has two parameters of the same name.
pub fn polynomial(
    network: &mut Network,
    settings: &Settings,
    (step, steps): (u64, u64),
) -> Result<bool, LearningError> {
    let growth = ((steps as f64 * GROWTH) as u64).max(1);
    let schedule = PolynomialSparsity {
        first: settings.from,
        last: settings.to,
        steps: growth,
    };
    // Once more at the end of the growth, whatever its number of steps.
    if step.is_multiple_of(EVERY) && step < growth || step == growth || step == steps {
        let share = schedule.at(step);
        prune_each(network, |_| share)?;
    }
    Ok(step >= growth)
}

/// Prunes convolutions and fully connected layers by a share each.
///
/// # Errors
/// As [`polynomial`].
pub fn local(network: &mut Network, settings: &Settings) -> Result<(), LearningError> {
    prune_each(network, |parameter| match parameter.shape().len() {
        4 => settings.convolutions,
        _ => settings.dense,
    })
}

/// Prunes two of each four neighbouring inputs of convolutions and fully connected layers. Layers of
/// fewer than four inputs, such as depthwise convolutions, keep all weights.
///
/// # Errors
/// As [`polynomial`].
pub fn two_of_four(network: &mut Network) -> Result<(), LearningError> {
    prune_by(network, |network, parameter| {
        let (values, shape) = (parameter.values(), parameter.shape());
        match network.input_axis(parameter.name()) {
            Some(axis) => two_of_four_mask(values, shape, axis),
            None => vec![true; values.len()],
        }
    })
}

/// Prunes the smallest weights of all those layers together.
///
/// # Errors
/// As [`polynomial`].
pub fn global(network: &mut Network, share: f64) -> Result<(), LearningError> {
    let (names, values): (Vec<String>, Vec<&[f32]>) = large(network)
        .map(|parameter| (parameter.name().to_owned(), parameter.values()))
        .unzip();
    let masks = magnitude_masks(&values, share);
    for (name, mask) in names.into_iter().zip(masks) {
        network.prune(&name, mask)?;
    }
    Ok(())
}

/// Clusters the weights of each layer. Weights that are pruned stay pruned.
///
/// # Errors
/// When there are fewer than two clusters.
pub fn cluster(network: &mut Network, settings: &Settings) -> Result<(), LearningError> {
    let names: Vec<(String, bool)> = weights(network)
        .map(|p| (p.name().to_owned(), matches!(p.form(), Form::Masked { .. })))
        .collect();
    for (index, (name, keeps_zero)) in (0..).zip(names) {
        let seed = settings.seed.wrapping_add(index);
        network.cluster(&name, settings.clusters, keeps_zero, seed)?;
    }
    Ok(())
}
