//! Runs a plan on the device behind the trait [`Engine`] that every backend implements.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use pilotage_engine::{
    ElementType, Engine, EngineError, Layout, Port, TensorMut, TensorRef, Timing,
};

use crate::device::{CudaError, Device};
use crate::error::TensorRtError;
use crate::library::TensorRt;
use crate::memory::{Buffer, Transfer};
use crate::runtime::{self, Context, Tensor};
use crate::stream::{Graph, Priority, Stream, Wait};

/// How an engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How tensors are transferred to and from the device. `None`: mapped on devices that share
    /// the processor's memory, copied on others.
    pub transfer: Option<Transfer>,
    /// The time limit of an inference.
    pub limit: Duration,
    /// How the thread waits for the device.
    pub wait: Wait,
    /// Whether an inference is recorded as a CUDA graph and replayed.
    pub graph: bool,
    /// The priority of the stream.
    pub priority: Priority,
    /// The DLA core that the plan was built for.
    pub dla_core: Option<u32>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            transfer: None,
            limit: Duration::from_millis(100),
            wait: Wait::default(),
            graph: true,
            priority: Priority::default(),
            dla_core: None,
        }
    }
}

/// Why a plan cannot be loaded as an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A call of TensorRT failed.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// A call of the CUDA driver failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A tensor's type, layout or shape is not supported.
    #[error("the plan's tensor `{name}` cannot be used: {reason}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What is not supported.
        reason: String,
    },
}

/// The least time limit of each inference in [`Engine::prepare`].
const WARM_UP_LIMIT: Duration = Duration::from_secs(2);

/// Runs a plan with TensorRT on its own stream.
pub struct TensorRtEngine {
    description: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    options: EngineOptions,
    /// An inference is in flight, and the device may access the buffers. Stays set after a
    /// time-out, until the inference has finished.
    in_flight: bool,
    /// The end of the work in flight can no longer be detected, so the buffers may never be
    /// accessed or freed again.
    lost: bool,
    /// Dropped only when the device has finished its work. The device is dropped last.
    work: ManuallyDrop<(Work, Device)>,
}

/// The objects that the device uses. The order of the fields is the order of dropping: the graph,
/// then the context, then the buffers that the context is bound to.
struct Work {
    /// `None` until [`Engine::prepare`], and if recording failed or is turned off.
    graph: Option<Graph>,
    context: Context,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    stream: Stream,
}

// SAFETY: the objects of TensorRT and of the driver are not bound to a thread. Each call makes the
// device's context current on the calling thread first, and `&mut self` excludes concurrent calls.
unsafe impl Send for TensorRtEngine {}

impl TensorRtEngine {
    /// Loads a plan. TensorRT trusts its bytes: the plan must come from [`crate::PlanCache`], or
    /// have just been built.
    ///
    /// # Errors
    /// When the plan was built for another machine, or a call of TensorRT or the driver fails.
    pub fn new(
        library: &TensorRt,
        device: &Device,
        plan: &[u8],
        options: EngineOptions,
    ) -> Result<Self, PlanError> {
        device.use_here()?;
        let engine = library.runtime(options.dla_core)?.load(plan)?;
        let transfer = options.transfer.unwrap_or(if device.integrated() {
            Transfer::Mapped
        } else {
            Transfer::Copied
        });
        let tensors = engine.tensors()?;
        let mut context = engine.context()?;
        let mut side = |is_input| {
            let tensors = tensors.iter().filter(|tensor| tensor.is_input == is_input);
            tensors
                .map(|tensor| bind_buffer(device, &mut context, tensor, transfer))
                .collect::<Result<(Vec<_>, Vec<_>), _>>()
        };
        let (inputs, input_memory) = side(true)?;
        let (outputs, output_memory) = side(false)?;
        let memory = match transfer {
            Transfer::Mapped => "mapped memory",
            Transfer::Copied => "copies",
        };
        Ok(Self {
            description: format!("{} on {}, {memory}", library.version(), device.name()),
            inputs,
            outputs,
            options,
            in_flight: false,
            lost: false,
            work: ManuallyDrop::new((
                Work {
                    graph: None,
                    context,
                    inputs: input_memory,
                    outputs: output_memory,
                    stream: Stream::new(device, options.priority)?,
                },
                device.clone(),
            )),
        })
    }

    /// Waits until an earlier inference that timed out has finished, so that the buffers are free.
    fn settle(&mut self, until: Instant) -> Result<(), Failed> {
        if self.lost {
            return Err(Failed::Lost);
        }
        let (work, device) = &*self.work;
        device.use_here()?;
        if self.in_flight && !work.stream.wait(until, self.options.wait)? {
            return Err(Failed::Late);
        }
        self.in_flight = false;
        Ok(())
    }

    /// Runs one inference on the contents of the input buffers.
    fn run(&mut self, until: Instant) -> Result<(), Failed> {
        let work = &mut self.work.0;
        work.stream.begin()?;
        // From here on the device may access the buffers.
        self.in_flight = true;
        let started = work.start();
        // Mark the end even if `start` failed: part of the work may be in the stream, and only the
        // mark shows when it has finished.
        if let Err(error) = work.stream.mark() {
            self.lost = true;
            return Err(error.into());
        }
        started?;
        if !work.stream.wait(until, self.options.wait)? {
            return Err(Failed::Late);
        }
        self.in_flight = false;
        Ok(())
    }

    /// Records an inference as a CUDA graph that later inferences replay. TensorRT requires one
    /// inference before the recording.
    fn record(&mut self) {
        let Work {
            graph,
            context,
            inputs,
            outputs,
            stream,
        } = &mut self.work.0;
        if !self.options.graph || graph.is_some() {
            return;
        }
        let recorded = stream.capture(|| enqueue(context, inputs, outputs, stream));
        match recorded {
            Ok(recorded) => *graph = Some(recorded),
            Err(failed) => {
                // Recording is not tried again, so the warning is logged once.
                self.options.graph = false;
                let reason = self.error(&failed);
                log::warn!(
                    "no CUDA graph of {}: {reason}; each inference is enqueued anew",
                    self.description
                );
            }
        }
    }

    fn answer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<(), Failed> {
        // The time limit covers the wait for earlier work and the inference.
        let until = Instant::now() + self.options.limit;
        self.settle(until)?;
        for (buffer, tensor) in self.work.0.inputs.iter_mut().zip(inputs) {
            write_bytes(*tensor, buffer.bytes());
        }
        self.run(until)?;
        for (buffer, tensor) in self.work.0.outputs.iter_mut().zip(outputs) {
            read_bytes(buffer.bytes(), tensor);
        }
        Ok(())
    }

    /// Converts a failure to the caller's error. A sticky CUDA error marks the engine as lost.
    fn error(&mut self, failed: &Failed) -> EngineError {
        match failed {
            Failed::Late => EngineError::Late {
                limit: self.options.limit,
            },
            Failed::Lost => EngineError::Lost {
                reason: "the GPU's work cannot be followed any more".into(),
            },
            Failed::TensorRt(error) => EngineError::Device {
                reason: error.to_string(),
            },
            Failed::Cuda(error) if self.lost || error.is_sticky() => {
                self.lost = true;
                EngineError::Lost {
                    reason: error.to_string(),
                }
            }
            Failed::Cuda(error) => EngineError::Device {
                reason: error.to_string(),
            },
        }
    }
}

impl Work {
    fn start(&mut self) -> Result<(), Failed> {
        match &self.graph {
            // SAFETY: the recorded work uses this context and these buffers, which live as long
            // as the graph. They are not accessed while an inference is in flight.
            Some(graph) => Ok(unsafe { self.stream.replay(graph) }?),
            None => enqueue(
                &mut self.context,
                &mut self.inputs,
                &mut self.outputs,
                &self.stream,
            ),
        }
    }
}

/// Enqueues one inference and its copies on `stream`.
fn enqueue(
    context: &mut Context,
    inputs: &mut [Buffer],
    outputs: &mut [Buffer],
    stream: &Stream,
) -> Result<(), Failed> {
    for buffer in inputs {
        buffer.send(stream)?;
    }
    // SAFETY: the stream belongs to this device. Every tensor is bound to a buffer of its size, and
    // the buffers are not accessed while an inference is in flight.
    unsafe { context.enqueue(stream.raw()) }?;
    for buffer in outputs {
        buffer.fetch(stream)?;
    }
    Ok(())
}

/// Why an inference failed.
enum Failed {
    TensorRt(TensorRtError),
    Cuda(CudaError),
    Late,
    Lost,
}

impl From<TensorRtError> for Failed {
    fn from(error: TensorRtError) -> Self {
        Self::TensorRt(error)
    }
}

impl From<CudaError> for Failed {
    fn from(error: CudaError) -> Self {
        Self::Cuda(error)
    }
}

impl Engine for TensorRtEngine {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn prepare(&mut self) -> Result<(), EngineError> {
        // The first inferences load kernels and allocate memory, so they take longer.
        let limit = self.options.limit.max(WARM_UP_LIMIT);
        let until = Instant::now() + limit;
        let done = self.settle(until).and_then(|()| self.run(until));
        let to_error = |engine: &mut Self, failed| match failed {
            Failed::Late => EngineError::Late { limit },
            other => engine.error(&other),
        };
        done.map_err(|failed| to_error(self, failed))?;
        self.record();
        // The first replay of a graph also initialises it, so it is done here.
        let again = self.run(Instant::now() + limit);
        again.map_err(|failed| to_error(self, failed))
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        let start = Instant::now();
        let done = self.answer(inputs, outputs);
        done.map_err(|failed| self.error(&failed))?;
        Ok(Timing {
            total: start.elapsed(),
            device: self.work.0.stream.elapsed(),
            fallback: false,
        })
    }
}

impl Drop for TensorRtEngine {
    fn drop(&mut self) {
        let (work, device) = &*self.work;
        let EngineOptions { limit, wait, .. } = self.options;
        let until = Instant::now() + limit;
        let done = !self.lost
            && device.use_here().is_ok()
            && (!self.in_flight || matches!(work.stream.wait(until, wait), Ok(true)));
        if done {
            // SAFETY: `work` is dropped only here, and the device has finished its work with it.
            unsafe { ManuallyDrop::drop(&mut self.work) };
        } else {
            // The device may still write to the buffers: leak them and the context rather than
            // free memory that would then be allocated again.
            log::error!("the GPU did not end its work; its memory is not given back");
        }
    }
}

/// Allocates the buffer of `tensor`, binds it, and describes the tensor as a port.
fn bind_buffer(
    device: &Device,
    context: &mut Context,
    tensor: &Tensor,
    transfer: Transfer,
) -> Result<(Port, Buffer), PlanError> {
    let refused = |reason: String| PlanError::Tensor {
        name: tensor.name.clone(),
        reason,
    };
    let (element_type, bytes) = match tensor.element {
        runtime::ElementType::F32 => (ElementType::F32, 4),
        runtime::ElementType::I32 => (ElementType::I32, 4),
        runtime::ElementType::I8 => (ElementType::I8, 1),
        runtime::ElementType::U8 => (ElementType::U8, 1),
        other => return Err(refused(format!("its elements are {other:?}"))),
    };
    if !tensor.is_linear {
        return Err(refused("its elements do not lie row by row".into()));
    }
    let sizes = tensor.shape.iter().map(|&size| usize::try_from(size).ok());
    let shape = sizes
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refused(format!("its shape {:?} is not fixed", tensor.shape)))?;
    let length = shape
        .iter()
        .try_fold(bytes, |length: usize, &size| length.checked_mul(size))
        .filter(|&length| length <= MAX_TENSOR_BYTES)
        .ok_or_else(|| refused(format!("its shape {shape:?} is too large")))?;
    let buffer = Buffer::new(device, length, transfer)?;
    // SAFETY: the buffer has the tensor's size. It is pinned memory or memory of the device; the
    // driver aligns both to at least 256 bytes. The engine drops the context before the buffer.
    unsafe { context.bind(&tensor.name, buffer.address()) }?;
    let port = Port {
        name: tensor.name.clone(),
        shape,
        element_type,
        layout: Layout::Plain,
    };
    Ok((port, buffer))
}

/// The largest tensor, in bytes. No input or output of a driving network is larger.
const MAX_TENSOR_BYTES: usize = 1 << 30;

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
