//! The time that a network's INT8 engine takes on this machine.

use std::time::{Duration, Instant};

use pilotage_compiler::{
    CalibrateError, LowerError, Method, PortLayout, QuantizeError, Run, calibrate, lower, quantize,
    values,
};
use pilotage_engine::plan::Plan;
use pilotage_engine::{Buffer, CpuEngine, CpuError, CpuOptions, Engine, EngineError};
use pilotage_graph::Graph;
use pilotage_vision::Layout;

use super::quantized::{compiled_form, options};
use super::task::Task;

/// Frames that the ranges are calibrated on. They hardly change the time.
const CALIBRATED: usize = 4;
/// Inferences before the measurement.
const WARM_UP: usize = 20;
/// The measured inferences, and the longest time that they may take together.
const MEASURED: usize = 400;
const LONGEST: Duration = Duration::from_millis(400);

/// Why the time of a network cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// The network cannot be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// The ranges of activations cannot be found.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The engine does not support the network.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] CpuError),
    /// The engine cannot run.
    #[error(transparent)]
    Infer(#[from] EngineError),
}

/// The median time of one inference of `graph` in INT8, on one thread, warm. The time of an INT8
/// engine does not depend on the values of its weights, so that `graph` need not be trained.
///
/// # Errors
/// When the network cannot be compiled to INT8.
pub fn of_network(task: &Task<'_>, graph: &Graph) -> Result<Duration, TimeError> {
    let graph = compiled_form(task, graph.clone());
    let options = options(task);
    let pictures = task.learned_pictures(CALIBRATED);
    let last = task.recipe.compile.input.layout == Layout::Nhwc;
    let wanted = values(&graph, &options)?;
    let method = Method::MinMax;
    let ranges = calibrate(&graph, last, &wanted, &pictures, method, Run::ALONE)?;
    let (integers, _) = quantize(&graph, &ranges, &options)?;
    of_plan(&lower(&integers, PortLayout::of_images(last))?)
}

/// The median time of one inference of a plan, on one thread, warm.
///
/// # Errors
/// When the engine cannot run the plan.
pub fn of_plan(plan: &Plan) -> Result<Duration, TimeError> {
    let mut engine = CpuEngine::new(plan, CpuOptions::default())?;
    let inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
    let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
    let views: Vec<_> = inputs.iter().map(Buffer::as_ref).collect();
    let mut once = || {
        let mut answers: Vec<_> = outputs.iter_mut().map(Buffer::as_mut).collect();
        let begin = Instant::now();
        engine.infer(&views, &mut answers)?;
        Ok::<_, EngineError>(begin.elapsed())
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let begin = Instant::now();
    let mut times = vec![once()?];
    while times.len() < MEASURED && begin.elapsed() < LONGEST {
        times.push(once()?);
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
