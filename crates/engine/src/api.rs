//! The interface of every backend.

use std::time::Duration;

pub use pilotage_tensor::ElementType;
use serde::{Deserialize, Serialize};

/// The order of a port's axes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AxisOrder {
    /// The order of the ONNX model.
    #[serde(rename = "plain")]
    Model,
    /// Batch, height, width, channels: the channels of a pixel are adjacent. The
    /// order of the ONNX model is batch, channels, height, width.
    Nhwc,
}

/// One input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the ONNX model.
    pub name: String,
    /// Sizes in memory order, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub element_type: ElementType,
    /// The order of the axes.
    pub layout: AxisOrder,
}

impl Port {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A borrowed tensor that an engine reads.
#[derive(Debug, Clone, Copy)]
pub enum TensorRef<'a> {
    /// See [`ElementType::F32`].
    F32(&'a [f32]),
    /// See [`ElementType::I64`].
    I64(&'a [i64]),
    /// See [`ElementType::I32`].
    I32(&'a [i32]),
    /// See [`ElementType::U8`]; also for [`ElementType::Bool`].
    U8(&'a [u8]),
    /// See [`ElementType::I8`].
    I8(&'a [i8]),
}

/// A borrowed tensor that an engine fills.
#[derive(Debug)]
pub enum TensorMut<'a> {
    /// See [`ElementType::F32`].
    F32(&'a mut [f32]),
    /// See [`ElementType::I64`].
    I64(&'a mut [i64]),
    /// See [`ElementType::I32`].
    I32(&'a mut [i32]),
    /// See [`ElementType::U8`]; also for [`ElementType::Bool`].
    U8(&'a mut [u8]),
    /// See [`ElementType::I8`].
    I8(&'a mut [i8]),
}

/// The duration of one inference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the call to the return.
    pub total: Duration,
    /// On the device itself, if the device is not the caller's CPU (a GPU).
    pub device: Option<Duration>,
    /// Whether the fallback engine ran this inference.
    pub fallback: bool,
}

/// Runs one network: prepared once, then called for each frame.
pub trait Engine {
    /// A description on one line: backend, instruction set or device, precision.
    fn describe(&self) -> String;

    /// The tensors that [`infer`](Self::infer) reads, in order.
    fn inputs(&self) -> &[Port];

    /// The tensors that [`infer`](Self::infer) fills, in order.
    fn outputs(&self) -> &[Port];

    /// Does the work that is not needed for each frame (touch memory, warm caches,
    /// capture graphs). It may be called again. Results are correct without it.
    ///
    /// # Errors
    /// When the device fails.
    fn prepare(&mut self) -> Result<(), EngineError>;

    /// Runs the network once. Allocates nothing.
    ///
    /// # Errors
    /// When the tensors do not match the ports, or the device fails.
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError>;
}

/// Why an inference failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The number of tensors is not the number of ports.
    #[error("the engine has {expected} {side}, got {found}")]
    PortCount {
        /// `inputs` or `outputs`.
        side: &'static str,
        /// Number of ports.
        expected: usize,
        /// Number of tensors.
        found: usize,
    },
    /// A tensor differs from its port in element type or length.
    #[error("`{port}`: expected {expected}, got {found}")]
    PortMismatch {
        /// The port's name.
        port: String,
        /// Length and type of the port.
        expected: String,
        /// Length and type of the tensor.
        found: String,
    },
    /// A worker thread of the engine panicked: this inference and all later ones fail.
    #[error(
        "a thread of the engine panicked, so it has no answer; create the engine again, and report \
         the panic's message (on standard error) as a defect of Pilotage"
    )]
    ThreadPanicked,
    /// A request to the device failed.
    #[error("{reason}")]
    Device {
        /// What failed and why.
        reason: String,
    },
    /// An output is not a number.
    #[error(
        "the answer is not a number; where the engine is float16, a value beyond 65,504 does that: \
         compile it with `precision = \"int8\"`"
    )]
    NotFinite,
    /// The device did not answer in time. It may still be running.
    #[error(
        "no answer from the device within {} ms; something else keeps it busy, or its clocks are \
         low (on a Jetson: `sudo jetson_clocks`)", .limit.as_millis()
    )]
    Late {
        /// How long the engine waited.
        limit: Duration,
    },
    /// A call into the device's driver has not returned.
    #[error(
        "a call into the device's driver has not come back within {} ms; where it never does, \
         restart the machine and look at `sudo dmesg`", .limit.as_millis()
    )]
    Stuck {
        /// How long the engine waited.
        limit: Duration,
    },
    /// This process can no longer use the device.
    #[error("{reason}; this process cannot use the device again: start Pilotage again")]
    Lost {
        /// What happened.
        reason: String,
    },
}

impl TensorRef<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I64(data) => data.len(),
            Self::I32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I8(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements; bools are passed as [`ElementType::U8`].
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
        }
    }
}

impl TensorMut<'_> {
    /// A read-only view of the same elements.
    pub fn as_ref(&self) -> TensorRef<'_> {
        match self {
            Self::F32(data) => TensorRef::F32(data),
            Self::I64(data) => TensorRef::I64(data),
            Self::I32(data) => TensorRef::I32(data),
            Self::U8(data) => TensorRef::U8(data),
            Self::I8(data) => TensorRef::I8(data),
        }
    }
}

impl EngineError {
    /// Checks that input tensors match an engine's ports. For implementations of
    /// [`Engine`]. Allocates only when a tensor does not match.
    ///
    /// # Errors
    /// When the number, the type or the length of the tensors differs from the ports.
    pub fn check_inputs(ports: &[Port], tensors: &[TensorRef<'_>]) -> Result<(), Self> {
        Self::check_count("inputs", ports, tensors.len())?;
        ports
            .iter()
            .zip(tensors)
            .try_for_each(|(port, &tensor)| Self::check_port(port, tensor))
    }

    /// As [`check_inputs`](Self::check_inputs), for output tensors.
    ///
    /// # Errors
    /// As [`check_inputs`](Self::check_inputs).
    pub fn check_outputs(ports: &[Port], tensors: &[TensorMut<'_>]) -> Result<(), Self> {
        Self::check_count("outputs", ports, tensors.len())?;
        ports
            .iter()
            .zip(tensors)
            .try_for_each(|(port, tensor)| Self::check_port(port, tensor.as_ref()))
    }

    fn check_count(side: &'static str, ports: &[Port], found: usize) -> Result<(), Self> {
        if ports.len() == found {
            return Ok(());
        }
        Err(Self::PortCount {
            side,
            expected: ports.len(),
            found,
        })
    }

    fn check_port(port: &Port, tensor: TensorRef<'_>) -> Result<(), Self> {
        let expected = match port.element_type {
            ElementType::Bool => ElementType::U8,
            other => other,
        };
        if expected == tensor.element_type() && port.len() == tensor.len() {
            return Ok(());
        }
        Err(Self::PortMismatch {
            port: port.name.clone(),
            expected: format!("{} elements of {expected:?}", port.len()),
            found: format!("{} of {:?}", tensor.len(), tensor.element_type()),
        })
    }
}
