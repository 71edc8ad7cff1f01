//! Runs a plan on the device behind the trait [`Engine`] that every backend implements.

use std::time::{Duration, Instant};

use pilotage_engine::{
    AxisOrder, ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing,
};
use tensorrt_rs::{
    Binding, Device, PlanError, RunError, RunOptions, Session, TensorRt, TrustedBytes,
};

/// Runs a plan with TensorRT on its own stream.
pub struct TensorRtEngine {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl TensorRtEngine {
    /// Loads a plan.
    ///
    /// # Errors
    /// When the plan was built for another machine, a tensor's type is not one of an engine's, or a
    /// call of TensorRT or the driver fails.
    pub fn new(
        library: &TensorRt,
        device: &Device,
        plan: &TrustedBytes,
        options: RunOptions,
    ) -> Result<Self, PlanError> {
        let session = Session::new(library, device, plan, options)?;
        let ports = |bindings: &[Binding]| bindings.iter().map(port).collect::<Result<_, _>>();
        Ok(Self {
            inputs: ports(session.inputs())?,
            outputs: ports(session.outputs())?,
            session,
        })
    }

    /// Changes the time limit of an inference.
    pub fn set_limit(&mut self, limit: Duration) {
        self.session.set_limit(limit);
    }
}

impl Engine for TensorRtEngine {
    fn describe(&self) -> String {
        self.session.describe().to_owned()
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        self.session.prepare().map_err(engine_error)
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        let start = Instant::now();
        self.session
            .infer(
                |index, bytes| write_bytes(inputs[index], bytes),
                |index, bytes| read_bytes(bytes, &mut outputs[index]),
            )
            .map_err(engine_error)?;
        Ok(Timing {
            total: start.elapsed(),
            device: self.session.elapsed(),
            fallback: false,
        })
    }
}

fn engine_error(error: RunError) -> EngineError {
    match error {
        RunError::Late { limit } => EngineError::Late { limit },
        RunError::Lost { reason } => EngineError::Lost { reason },
        error => EngineError::Device {
            reason: error.to_string(),
        },
    }
}

/// Describes a plan's tensor as a port.
fn port(binding: &Binding) -> Result<Port, PlanError> {
    let element_type = match binding.element {
        tensorrt_rs::ElementType::F32 => ElementType::F32,
        tensorrt_rs::ElementType::I32 => ElementType::I32,
        tensorrt_rs::ElementType::I8 => ElementType::I8,
        tensorrt_rs::ElementType::U8 => ElementType::U8,
        other => {
            return Err(PlanError::Tensor {
                name: binding.name.clone(),
                reason: format!("its elements are {other:?}"),
            });
        }
    };
    Ok(Port {
        name: binding.name.clone(),
        shape: binding.shape.clone(),
        element_type,
        layout: AxisOrder::Model,
    })
}

/// Copies a tensor's elements to the bytes of a buffer. The caller has checked the lengths.
fn write_bytes(tensor: TensorRef<'_>, bytes: &mut [u8]) {
    fn each<T: Copy, const N: usize>(bytes: &mut [u8], data: &[T], to: fn(T) -> [u8; N]) {
        for (bytes, &element) in bytes.as_chunks_mut::<N>().0.iter_mut().zip(data) {
            *bytes = to(element);
        }
    }
    match tensor {
        TensorRef::F32(data) => each(bytes, data, f32::to_ne_bytes),
        TensorRef::I64(data) => each(bytes, data, i64::to_ne_bytes),
        TensorRef::I32(data) => each(bytes, data, i32::to_ne_bytes),
        TensorRef::U8(data) => bytes.copy_from_slice(data),
        TensorRef::I8(data) => each(bytes, data, i8::to_ne_bytes),
    }
}

/// Copies the bytes of a buffer to a tensor's elements. The caller has checked the lengths.
fn read_bytes(bytes: &[u8], tensor: &mut TensorMut<'_>) {
    fn each<T, const N: usize>(bytes: &[u8], data: &mut [T], from: fn([u8; N]) -> T) {
        for (&bytes, element) in bytes.as_chunks::<N>().0.iter().zip(data) {
            *element = from(bytes);
        }
    }
    match tensor {
        TensorMut::F32(data) => each(bytes, data, f32::from_ne_bytes),
        TensorMut::I64(data) => each(bytes, data, i64::from_ne_bytes),
        TensorMut::I32(data) => each(bytes, data, i32::from_ne_bytes),
        TensorMut::U8(data) => data.copy_from_slice(bytes),
        TensorMut::I8(data) => each(bytes, data, i8::from_ne_bytes),
    }
}
