//! What the device uses: the memory of a plan's tensors, its context, and the stream of its work.

#![allow(unsafe_code)]

use crate::cuda_error::CudaError;
use crate::device::Device;
use crate::error::TensorRtError;
use crate::memory::{Buffer, Transfer};
use crate::runtime::{Context, ElementType, Tensor};
use crate::stream::{Graph, Stream};

/// An input or output of a plan, with its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The tensor's name in the ONNX model.
    pub name: String,
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// The type of the elements, which are stored row by row in the processor's byte order.
    pub element: ElementType,
    /// The size of the tensor, in bytes.
    pub bytes: usize,
}

/// Why a plan cannot be run.
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

/// The objects that the device uses. The order of the fields is the order of dropping: the graph,
/// then the context, then the buffers that the context is bound to.
pub(super) struct Work {
    /// `None` until the session is prepared, and if recording failed or is turned off.
    pub(super) graph: Option<Graph>,
    pub(super) context: Context,
    pub(super) inputs: Vec<Buffer>,
    pub(super) outputs: Vec<Buffer>,
    pub(super) stream: Stream,
}

impl Work {
    /// Records an inference as a CUDA graph, which later inferences replay.
    pub(super) fn record(&mut self) -> Result<(), Failed> {
        let Self {
            context,
            inputs,
            outputs,
            stream,
            ..
        } = self;
        self.graph = Some(stream.capture(|| enqueue(context, inputs, outputs, stream))?);
        Ok(())
    }

    /// Puts one inference on the stream.
    pub(super) fn start(&mut self) -> Result<(), Failed> {
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
pub(super) enum Failed {
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

/// Allocates the buffer of `tensor` and binds it.
pub(super) fn bind_buffer(
    device: &Device,
    context: &mut Context,
    tensor: &Tensor,
    transfer: Transfer,
) -> Result<(Binding, Buffer), PlanError> {
    let refused = |reason: String| PlanError::Tensor {
        name: tensor.name.clone(),
        reason,
    };
    let element = tensor.element;
    let Some(size) = element.size() else {
        return Err(refused(format!("its elements are {element:?}")));
    };
    if !tensor.is_linear {
        return Err(refused("its elements do not lie row by row".into()));
    }
    let sizes = tensor.shape.iter().map(|&size| usize::try_from(size).ok());
    let shape = sizes
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| refused(format!("its shape {:?} is not fixed", tensor.shape)))?;
    let bytes = shape
        .iter()
        .try_fold(size, |bytes: usize, &size| bytes.checked_mul(size))
        .filter(|&bytes| bytes <= MAX_TENSOR_BYTES)
        .ok_or_else(|| refused(format!("its shape {shape:?} is too large")))?;
    let buffer = Buffer::new(device, bytes, transfer)?;
    // SAFETY: the buffer has the tensor's size. It is pinned memory or memory of the device; the
    // driver aligns both to at least 256 bytes. The session drops the context before the buffer; if
    // binding another tensor fails, the context is never enqueued.
    unsafe { context.bind(&tensor.name, buffer.address()) }?;
    let binding = Binding {
        name: tensor.name.clone(),
        shape,
        element,
        bytes,
    };
    Ok((binding, buffer))
}

/// The largest tensor, in bytes.
const MAX_TENSOR_BYTES: usize = 1 << 30;
