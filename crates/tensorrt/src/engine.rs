//! A plan on the device, as the [`Engine`] that every backend is.

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
    /// How tensors get to the device; none: mapped where the device shares the processor's memory.
    pub transfer: Option<Transfer>,
    /// How long an answer is waited for.
    pub limit: Duration,
    /// How it is waited for.
    pub wait: Wait,
    /// Whether an inference is recorded as a CUDA graph and replayed.
    pub graph: bool,
    /// Whose work goes first.
    pub priority: Priority,
    /// The DLA core the plan was built for.
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

/// Why a plan does not become an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// TensorRT's word.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// The driver's word.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A tensor that no frame or command can be.
    #[error("the plan's tensor `{name}` cannot be used: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
    },
}

/// How long an inference before driving may take at least.
const WARM_UP: Duration = Duration::from_secs(2);

/// Runs a plan with TensorRT on a stream of its own.
pub struct TensorRtEngine {
    description: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    options: EngineOptions,
    /// An answer that came too late is still owed: until then its memory is the device's.
    owed: bool,
    /// Work is under way whose end cannot be told any more: its memory is the device's for good.
    lost: bool,
    /// Dropped only when the device is done with it; the device last.
    work: ManuallyDrop<(Work, Device)>,
}

/// What the device works with. The graph goes first, then the context, then what it was bound to.
struct Work {
    /// None until [`Engine::prepare`], or where recording failed.
    graph: Option<Graph>,
    context: Context,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    stream: Stream,
}

// SAFETY: neither TensorRT's nor the driver's objects are bound to a thread; each call first makes
// the device the thread's own, and `&mut self` keeps them to one at a time.
unsafe impl Send for TensorRtEngine {}

impl TensorRtEngine {
    /// Loads a plan that came from [`crate::PlanCache`] or was built just now.
    ///
    /// # Errors
    /// When the plan is not for this machine, or the device refuses.
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
                .map(|tensor| bound(device, &mut context, tensor, transfer))
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
            owed: false,
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

    /// Waits until the device is done with the memory of an answer that was too late.
    fn settle(&mut self, until: Instant) -> Result<(), Failed> {
        if self.lost {
            return Err(Failed::Lost);
        }
        let (work, device) = &*self.work;
        device.use_here()?;
        if self.owed && !work.stream.wait(until, self.options.wait)? {
            return Err(Failed::Late);
        }
        self.owed = false;
        Ok(())
    }

    /// One inference of what is in the inputs' memory.
    fn run(&mut self, until: Instant) -> Result<(), Failed> {
        let work = &mut self.work.0;
        work.stream.begin()?;
        // From here on the device may be using the memory.
        self.owed = true;
        let started = work.start();
        // Also when only some of it was started: the mark is what is waited for.
        if let Err(error) = work.stream.mark() {
            self.lost = true;
            return Err(error.into());
        }
        started?;
        if !work.stream.wait(until, self.options.wait)? {
            return Err(Failed::Late);
        }
        self.owed = false;
        Ok(())
    }

    /// Records an inference, to be replayed from then on. TensorRT wants to have run once.
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
                // Said once: it is not tried again.
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
        // One limit for all of it.
        let until = Instant::now() + self.options.limit;
        self.settle(until)?;
        for (buffer, tensor) in self.work.0.inputs.iter_mut().zip(inputs) {
            put(*tensor, buffer.bytes());
        }
        self.run(until)?;
        for (buffer, tensor) in self.work.0.outputs.iter_mut().zip(outputs) {
            get(buffer.bytes(), tensor);
        }
        Ok(())
    }

    /// What the caller is told; with a sticky error the device is given up.
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
            // SAFETY: the recorded work is this context's, on these buffers, and nobody
            // touches them while an answer is owed.
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

/// Puts one inference into `stream`, copies included.
fn enqueue(
    context: &mut Context,
    inputs: &mut [Buffer],
    outputs: &mut [Buffer],
    stream: &Stream,
) -> Result<(), Failed> {
    for buffer in inputs {
        buffer.send(stream)?;
    }
    // SAFETY: the stream is of this device; every tensor is bound to memory of its size, and
    // nobody touches it while an answer is owed.
    unsafe { context.enqueue(stream.raw()) }?;
    for buffer in outputs {
        buffer.fetch(stream)?;
    }
    Ok(())
}

/// Why one inference gave no answer.
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
        // The first inferences load kernels and take memory.
        let limit = self.options.limit.max(WARM_UP);
        let until = Instant::now() + limit;
        let done = self.settle(until).and_then(|()| self.run(until));
        let told = |engine: &mut Self, failed| match failed {
            Failed::Late => EngineError::Late { limit },
            other => engine.error(&other),
        };
        done.map_err(|failed| told(self, failed))?;
        self.record();
        // The first replay prepares what later ones need.
        let again = self.run(Instant::now() + limit);
        again.map_err(|failed| told(self, failed))
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
            && (!self.owed || matches!(work.stream.wait(until, wait), Ok(true)));
        if done {
            // SAFETY: dropped once, here; the device has nothing more to do with it.
            unsafe { ManuallyDrop::drop(&mut self.work) };
        } else {
            // Memory that the device still writes to is better lost than given to others; so is
            // its context.
            log::error!("the GPU did not end its work; its memory is not given back");
        }
    }
}

/// Gives `tensor` its memory, and its place among the engine's ports.
fn bound(
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
        .filter(|&length| length <= LARGEST)
        .ok_or_else(|| refused(format!("its shape {shape:?} is too large")))?;
    let buffer = Buffer::new(device, length, transfer)?;
    // SAFETY: the buffer is of the tensor's size, pinned or the driver's own, both aligned to 256
    // bytes and more, and it lives as long as the context.
    unsafe { context.bind(&tensor.name, buffer.address()) }?;
    let port = Port {
        name: tensor.name.clone(),
        shape,
        element_type,
        layout: Layout::Plain,
    };
    Ok((port, buffer))
}

/// No frame and no answer is larger, bytes.
const LARGEST: usize = 1 << 30;

/// Copies a tensor's elements as bytes; the lengths have been compared.
fn put(tensor: TensorRef<'_>, bytes: &mut [u8]) {
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

/// The other way.
fn get(bytes: &[u8], tensor: &mut TensorMut<'_>) {
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
