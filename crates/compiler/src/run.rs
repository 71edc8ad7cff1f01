//! Runs a plan once on given tensors.

use pilotage_engine::plan::Plan;
use pilotage_engine::{
    CpuEngine, CpuError, CpuOptions, ElementType, Engine, EngineError, TensorMut, TensorRef,
};
use pilotage_graph::{Tensor, TensorData, TensorSizeError};

/// Why a plan could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The CPU engine cannot be built from the plan.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The inputs do not fit the ports.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An output does not have its port's size. This is a defect of the engine.
    #[error("an output does not fit its port: {0}")]
    Size(TensorSizeError),
}

/// Computes `plan` on `inputs`. Shapes are in memory order, as given by the plan's ports.
///
/// # Errors
/// If the engine cannot be built from the plan, or the inputs do not fit its ports.
pub fn run_plan(
    plan: &Plan,
    options: CpuOptions,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, RunError> {
    let mut engine = CpuEngine::new(plan, options)?;
    let bools: Vec<Vec<u8>> = inputs
        .iter()
        .map(|tensor| match tensor.data() {
            TensorData::Bool(data) => data.iter().map(|&b| u8::from(b)).collect(),
            _ => Vec::new(),
        })
        .collect();
    // No port is float16. The conversion to float32 is exact.
    let wide: Vec<Vec<f32>> = inputs
        .iter()
        .map(|tensor| match tensor.data() {
            TensorData::F16(data) => data.iter().map(|x| x.to_f32()).collect(),
            _ => Vec::new(),
        })
        .collect();
    let input_views: Vec<TensorRef<'_>> = inputs
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
    let mut output_views = Vec::with_capacity(answers.len());
    for answer in &mut answers {
        match answer {
            TensorData::F32(data) => output_views.push(TensorMut::F32(data)),
            TensorData::I64(data) => output_views.push(TensorMut::I64(data)),
            TensorData::I32(data) => output_views.push(TensorMut::I32(data)),
            TensorData::U8(data) => output_views.push(TensorMut::U8(data)),
            TensorData::I8(data) => output_views.push(TensorMut::I8(data)),
            // The match above makes no such data.
            TensorData::F16(_) | TensorData::Bool(_) => {}
        }
    }
    engine.infer(&input_views, &mut output_views)?;
    drop(output_views);

    let mut tensors = Vec::with_capacity(answers.len());
    for (port, answer) in ports.into_iter().zip(answers) {
        let answer = match (port.element_type, answer) {
            (ElementType::Bool, TensorData::U8(data)) => {
                TensorData::Bool(data.iter().map(|&b| b != 0).collect())
            }
            (_, answer) => answer,
        };
        tensors.push(Tensor::new(port.shape, answer).map_err(RunError::Size)?);
    }
    Ok(tensors)
}
