//! Computes a graph once on given tensors, for comparing two forms of a network.

use pilotage_engine::{CpuOptions, InstructionSet};
use pilotage_graph::{Graph, Tensor};

use crate::lower::{LowerError, PortLayout, lower};
use crate::run::{RunError, run_plan};

/// Why evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The graph cannot be lowered to a plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The plan cannot be run on the inputs.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Computes `graph` on `inputs`, in the model's axis order, with the scalar loops that define the
/// engine's arithmetic.
///
/// # Errors
/// If the graph cannot be lowered, or the inputs do not fit it.
pub fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvaluateError> {
    let plan = lower(graph, PortLayout::Model)?;
    let options = CpuOptions {
        instruction_set: Some(InstructionSet::Scalar),
        ..CpuOptions::default()
    };
    Ok(run_plan(&plan, options, inputs)?)
}
