//! What every backend offers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Element types at an engine's border and inside a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16; only stored weights have it.
    F16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// One byte, 0 or 1.
    Bool,
}

/// The order of a four-dimensional tensor's axes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// As the ONNX model has it.
    Plain,
    /// Batch, height, width, channels: pixels stay together. The model's own
    /// order is batch, channels, height, width.
    Nhwc,
}

/// One input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The model's name for it.
    pub name: String,
    /// Sizes in memory order, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub element_type: ElementType,
    /// What the axes mean.
    pub layout: Layout,
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

/// Elements the caller lends an engine to read.
#[derive(Debug, Clone, Copy)]
pub enum TensorRef<'a> {
    /// See [`ElementType::F32`].
    F32(&'a [f32]),
    /// See [`ElementType::I64`].
    I64(&'a [i64]),
    /// See [`ElementType::I32`].
    I32(&'a [i32]),
    /// See [`ElementType::U8`]; also bools.
    U8(&'a [u8]),
    /// See [`ElementType::I8`].
    I8(&'a [i8]),
}

/// Elements the caller lends an engine to fill.
#[derive(Debug)]
pub enum TensorMut<'a> {
    /// See [`ElementType::F32`].
    F32(&'a mut [f32]),
    /// See [`ElementType::I64`].
    I64(&'a mut [i64]),
    /// See [`ElementType::I32`].
    I32(&'a mut [i32]),
    /// See [`ElementType::U8`]; also bools.
    U8(&'a mut [u8]),
    /// See [`ElementType::I8`].
    I8(&'a mut [i8]),
}

/// Where one inference's time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// From the call to the answer.
    pub total: Duration,
    /// On the device itself, where that differs (a GPU).
    pub device: Option<Duration>,
    /// Another engine answered in this one's place.
    pub fallback: bool,
}

/// Something that runs one network. Prepared once, then asked many times.
pub trait Engine {
    /// One line for people: backend, instruction set or device, precision.
    fn describe(&self) -> String;

    /// What [`infer`](Self::infer) reads, in order.
    fn inputs(&self) -> &[Port];

    /// What [`infer`](Self::infer) fills, in order.
    fn outputs(&self) -> &[Port];

    /// Does all that need not be done per frame (touch memory, warm caches,
    /// capture graphs). May be called again; never needed for correct answers.
    ///
    /// # Errors
    /// When the device refuses.
    fn prepare(&mut self) -> Result<(), EngineError>;

    /// Runs the network once. Allocates nothing.
    ///
    /// # Errors
    /// When what is lent does not match the ports, or the device fails.
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError>;
}

/// Why an engine did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The number of tensors lent is not the number of ports.
    #[error("the engine has {expected} {side} but was lent {found}")]
    PortCount {
        /// `inputs` or `outputs`.
        side: &'static str,
        /// How many ports there are.
        expected: usize,
        /// How many were lent.
        found: usize,
    },
    /// A tensor lent has another type or length than its port.
    #[error("`{port}` wants {expected}, but was lent {found}")]
    PortMismatch {
        /// The port's name.
        port: String,
        /// Type and length wanted.
        expected: String,
        /// Type and length lent.
        found: String,
    },
    /// A thread that shares the work panicked: there is no answer, now or later.
    #[error(
        "a thread of the engine panicked, so it has no answer; make the engine anew, and report \
         the panic's message (on standard error) as a defect of Pilotage"
    )]
    ThreadPanicked,
    /// The device did not do what it was asked for.
    #[error("{reason}")]
    Device {
        /// What failed and why.
        reason: String,
    },
    /// The answer is not a number.
    #[error(
        "the answer is not a number; where the engine is float16, a value beyond 65,504 does that: \
         compile it with `precision = \"int8\"`"
    )]
    NotFinite,
    /// The device had no answer in time. It may still be at work.
    #[error(
        "no answer from the device within {} ms; something else keeps it busy, or its clocks are \
         low (on a Jetson: `sudo jetson_clocks`)", .limit.as_millis()
    )]
    Late {
        /// How long it was waited for.
        limit: Duration,
    },
    /// A call into the device's driver has not come back.
    #[error(
        "a call into the device's driver has not come back within {} ms; where it never does, \
         restart the machine and look at `sudo dmesg`", .limit.as_millis()
    )]
    Stuck {
        /// How long it was waited for.
        limit: Duration,
    },
    /// The device is of no more use to this process.
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

    /// Type of the elements; bools are lent as [`ElementType::U8`].
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
    /// The same elements, to read.
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
    /// Whether what is lent to read matches an engine's ports. For those who
    /// write a backend; allocates only when it does not.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_inputs(ports: &[Port], lent: &[TensorRef<'_>]) -> Result<(), Self> {
        Self::check_count("inputs", ports, lent.len())?;
        ports
            .iter()
            .zip(lent)
            .try_for_each(|(port, &lent)| Self::check_port(port, lent))
    }

    /// As [`check_inputs`](Self::check_inputs), for what is lent to fill.
    ///
    /// # Errors
    /// When it does not match.
    pub fn check_outputs(ports: &[Port], lent: &[TensorMut<'_>]) -> Result<(), Self> {
        Self::check_count("outputs", ports, lent.len())?;
        ports
            .iter()
            .zip(lent)
            .try_for_each(|(port, lent)| Self::check_port(port, lent.as_ref()))
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

    fn check_port(port: &Port, lent: TensorRef<'_>) -> Result<(), Self> {
        let wanted = match port.element_type {
            ElementType::Bool => ElementType::U8,
            other => other,
        };
        if wanted == lent.element_type() && port.len() == lent.len() {
            return Ok(());
        }
        Err(Self::PortMismatch {
            port: port.name.clone(),
            expected: format!("{} elements of {wanted:?}", port.len()),
            found: format!("{} of {:?}", lent.len(), lent.element_type()),
        })
    }
}
