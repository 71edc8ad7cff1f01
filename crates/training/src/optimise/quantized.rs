//! Quantization-aware training: the network is trained in the INT8 engine's arithmetic, and written
//! as a QDQ model that `pilotage compile` compiles with the trained scales.

use std::collections::BTreeSet;

use pilotage_compiler::{
    Form, Method, QuantizeOptions, Run, SourceModel, calibrate, simplify, take_pixels, values,
};
use pilotage_graph::Graph;
use pilotage_learning::{Network, Role};
use pilotage_vision::Layout;

use super::export::with_float_input;
use super::fit::{Candidate, Course, Stage};
use super::strategy::Strategy;
use super::task::Task;
use super::{OptimiseError, prune};

/// Frames that the first ranges are calibrated on.
const CALIBRATED: usize = 1000;

/// The graph that the compiler quantizes: its input is pixels minus 128, batch normalization is part
/// of the layers.
///
/// The picture is the only input: others have become constants.
pub fn compiled_form(task: &Task<'_>, mut graph: Graph) -> Graph {
    if let [picture] = graph.inputs[..] {
        take_pixels(&mut graph, picture, &task.recipe.compile.input, 128);
    }
    simplify(&graph)
}

/// Trains a network in the engine's arithmetic, as `strategy` says, beginning with `start`: the
/// trained `model`, or the same with fewer channels. The graph is a QDQ model with the input of
/// `model`.
///
/// # Errors
/// When the model has operators that cannot be trained, has no ranges, or the training diverges.
pub fn train(
    task: &Task<'_>,
    model: &SourceModel,
    start: Graph,
    strategy: Strategy,
) -> Result<Candidate, OptimiseError> {
    let settings = &task.settings;
    let places = task.wanted.iter().map(|wanted| wanted.place).collect();
    let teacher = Network::from_graph(&compiled_form(task, model.graph.clone()))?;
    let mut course = Course::new((task, strategy), teacher, task.pixels(), places);
    let mut network = Network::from_graph(&compiled_form(task, start))?;
    set_rates(&mut network)?;
    let as_float = |network: &Network| Ok(network.to_graph()?);
    if matches!(strategy, Strategy::Pqat | Strategy::Pcqat) {
        let stage = Stage {
            name: "pruning",
            reform: &mut |network, step, steps| prune::polynomial(network, settings, (step, steps)),
            export: &as_float,
        };
        network = course.run(network, stage)?.0;
    }
    if strategy.clusters() {
        prune::cluster(&mut network, settings)?;
        let stage = Stage {
            name: "clustering",
            reform: &mut |_, _, _| Ok(true),
            export: &as_float,
        };
        network = course.run(network, stage)?.0;
    }
    quantize(task, &mut network)?;
    let stage = Stage {
        name: "quantization-aware training",
        reform: &mut |network, step, steps| match strategy {
            Strategy::PruneQat => prune::polynomial(network, settings, (step, steps)),
            Strategy::PruneTwoOfFour if step == 0 => prune::two_of_four(network).map(|()| true),
            _ => Ok(true),
        },
        export: &|network| {
            let (graph, _) = network.to_quantized_graph()?;
            Ok(with_float_input(graph, &task.recipe.compile.input)?)
        },
    };
    Ok(course.run(network, stage)?.1)
}

/// Reduces the learning rate of layers with small weights. The first layer reads pixels instead of the
/// normalised input, so its weights are smaller by the input's scale, and Adam's steps, which do not
/// depend on the weights, would be too large by as much. The measure is the deviation of weights
/// that keep the variance of their input (He et al., "Delving Deep into Rectifiers", 2015).
fn set_rates(network: &mut Network) -> Result<(), OptimiseError> {
    let weights = network
        .parameters()
        .iter()
        .filter(|p| p.role() == Role::Weights);
    let factors = weights.map(|parameter| {
        let values = parameter.values();
        let squares: f64 = values.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
        let inputs: usize = parameter.shape().iter().skip(1).product();
        let expected = (2.0 / inputs.max(1) as f64).sqrt();
        let found = (squares / values.len().max(1) as f64).sqrt();
        (
            parameter.name().to_owned(),
            (found / expected).min(1.0) as f32,
        )
    });
    let factors: Vec<(String, f32)> = factors.collect();
    for (name, factor) in factors {
        network.set_rate_factor(&name, factor)?;
    }
    Ok(())
}

/// How the engine quantizes: layers that the recipe keeps in float stay so.
pub fn options(task: &Task<'_>) -> QuantizeOptions {
    QuantizeOptions {
        form: Form::Int8,
        float_layers: task.recipe.compile.layers.keys().cloned().collect(),
        one_scale: BTreeSet::new(),
    }
}

/// Quantizes a network with ranges that are calibrated on the learned frames.
fn quantize(task: &Task<'_>, network: &mut Network) -> Result<(), OptimiseError> {
    let recipe = &task.recipe.compile;
    let options = options(task);
    // The present weights; the values keep their ids.
    let graph = network.to_graph()?;
    let pictures = task.learned_pictures(CALIBRATED);
    let last = recipe.input.layout == Layout::Nhwc;
    let method = recipe.calibration.as_ref().map_or(Method::Mse, Method::of);
    let wanted = values(&graph, &options)?;
    let ranges = calibrate(&graph, last, &wanted, &pictures, method, Run::ALONE)?;
    network.quantize(&options, &ranges, task.settings.ranges.update())?;
    Ok(())
}
