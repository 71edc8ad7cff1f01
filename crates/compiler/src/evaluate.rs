//! A graph or a plan run once on given tensors: for folding constants and for
//! comparing one form of a network with another.

use pilotage_engine::plan::Plan;
use pilotage_engine::{
    CpuEngine, CpuError, CpuOptions, ElementType, Engine, EngineError, InstructionSet, TensorMut,
    TensorRef,
};
use pilotage_graph::{Graph, Tensor, TensorData, TensorSizeError};

use crate::lower::{LowerError, PortLayout, lower};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The graph has no plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The plan has no engine.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The inputs do not fit.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An answer of another size than its port; an engine's mistake.
    #[error("an output does not fit its port: {0}")]
    Size(#[from] TensorSizeError),
}

/// What `graph` makes of `inputs`, in the model's own order of axes, computed
/// with the plain loops that define the engine's arithmetic.
///
/// # Errors
/// When the graph cannot be lowered or the inputs are not those it takes.
pub fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvaluateError> {
    let plan = lower(graph, PortLayout::Model)?;
    let options = CpuOptions {
        instruction_set: Some(InstructionSet::Scalar),
        ..CpuOptions::default()
    };
    run_plan(&plan, options, inputs)
}

/// What `plan` makes of `inputs`; shapes in memory order, as its ports say.
///
/// # Errors
/// When no engine takes the plan, or the inputs do not fit its ports.
pub fn run_plan(
    plan: &Plan,
    options: CpuOptions,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, EvaluateError> {
    let mut engine = CpuEngine::new(plan, options)?;
    let bools: Vec<Vec<u8>> = inputs
        .iter()
        .map(|tensor| match tensor.data() {
            TensorData::Bool(data) => data.iter().map(|&b| u8::from(b)).collect(),
            _ => Vec::new(),
        })
        .collect();
    // No port is float16; as float32 it is the same number.
    let wide: Vec<Vec<f32>> = inputs
        .iter()
        .map(|tensor| match tensor.data() {
            TensorData::F16(data) => data.iter().map(|x| x.to_f32()).collect(),
            _ => Vec::new(),
        })
        .collect();
    let lent: Vec<TensorRef<'_>> = inputs
        .iter()
        .zip(bools.iter().zip(&wide))
        .map(|(tensor, (bools, wide))| match tensor.data() {
            TensorData::F32(data) => TensorRef::F32(data),
            TensorData::F16(_) => TensorRef::F32(wide),
            TensorData::I64(data) => TensorRef::I64(data),
            TensorData::I32(data) => TensorRef::I32(data),
            TensorData::U8(data) => TensorRef::U8(data),
            TensorData::I8(data) => TensorRef::I8(data),
            TensorData::Bool(_) => TensorRef::U8(bools),
        })
        .collect();

    let ports = engine.outputs().to_vec();
    let mut answers: Vec<TensorData> = ports
        .iter()
        .map(|port| match port.element_type {
            ElementType::F32 => TensorData::F32(vec![0.0; port.len()]),
            ElementType::I64 => TensorData::I64(vec![0; port.len()]),
            ElementType::I32 => TensorData::I32(vec![0; port.len()]),
            // No port is F16.
            ElementType::F16 | ElementType::U8 | ElementType::Bool => {
                TensorData::U8(vec![0; port.len()])
            }
            ElementType::I8 => TensorData::I8(vec![0; port.len()]),
        })
        .collect();
    let mut filled = Vec::with_capacity(answers.len());
    for answer in &mut answers {
        match answer {
            TensorData::F32(data) => filled.push(TensorMut::F32(data)),
            TensorData::I64(data) => filled.push(TensorMut::I64(data)),
            TensorData::I32(data) => filled.push(TensorMut::I32(data)),
            TensorData::U8(data) => filled.push(TensorMut::U8(data)),
            TensorData::I8(data) => filled.push(TensorMut::I8(data)),
            // None was made above.
            TensorData::F16(_) | TensorData::Bool(_) => {}
        }
    }
    engine.infer(&lent, &mut filled)?;
    drop(filled);

    let mut tensors = Vec::with_capacity(answers.len());
    for (port, answer) in ports.into_iter().zip(answers) {
        let answer = match (port.element_type, answer) {
            (ElementType::Bool, TensorData::U8(data)) => {
                TensorData::Bool(data.iter().map(|&b| b != 0).collect())
            }
            (_, answer) => answer,
        };
        tensors.push(Tensor::new(port.shape, answer)?);
    }
    Ok(tensors)
}
