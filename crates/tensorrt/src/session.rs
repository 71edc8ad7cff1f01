//! Runs a plan with memory, a stream and a time limit of its own.

#![allow(unsafe_code)]

mod work;

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use crate::cuda_error::CudaError;
use crate::device::Device;
use crate::error::TensorRtError;
use crate::library::TensorRt;
use crate::memory::Transfer;
use crate::stream::{Priority, Stream, Wait};
use crate::trust::TrustedBytes;
use work::{Failed, Work, bind_buffer};

pub use work::{Binding, PlanError};

/// How a plan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
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

impl Default for RunOptions {
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

/// Why an inference failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A call of TensorRT failed.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// A call of the CUDA driver failed. The next inference may succeed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The device did not end its work within the limit. It may still be working; the next
    /// inference first waits for it, within its own limit.
    #[error("the GPU took longer than the limit of {} ms", .limit.as_secs_f64() * 1e3)]
    Late {
        /// The limit.
        limit: Duration,
    },
    /// The device's work can no longer be followed, or CUDA failed for good in this process: every
    /// later inference fails too.
    #[error("{reason}")]
    Lost {
        /// Why.
        reason: String,
    },
}

/// The least time limit of each inference in [`Session::prepare`]. CUDA loads its kernels at the
/// first launch, on a Jetson from an SD card.
const WARM_UP_LIMIT: Duration = Duration::from_secs(20);

/// After this many unknown errors (CUDA's 999) without an answer between them, the session is treated
/// as lost: on a Jetson, the driver may report a lost channel as this error.
const UNKNOWN_ERRORS: u32 = 3;

/// Longer limits are shortened to this, so that a time after them exists.
const MAX_LIMIT: Duration = Duration::from_secs(86_400);

/// A loaded plan with the memory of its tensors, on its own stream. It runs one inference at a
/// time and allocates nothing for it.
///
/// ```no_run
/// use tensorrt_rs::{Device, Owner, Product, RunOptions, Session, Shims, TensorRt, TrustedBytes};
///
/// let tensorrt = TensorRt::open(Product::TensorRt, None, &Shims::In("shims".into()))?;
/// let plan = TrustedBytes::read("model.plan".as_ref(), Owner::RootOrUser, 1 << 30)?;
/// let device = Device::first()?;
/// let mut session = Session::new(&tensorrt, &device, &plan, RunOptions::default())?;
/// session.prepare()?;
/// let mut answer = vec![0; session.outputs()[0].bytes];
/// session.infer(
///     |_input, bytes| bytes.fill(0),
///     |_output, bytes| answer.copy_from_slice(bytes),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    description: String,
    inputs: Vec<Binding>,
    outputs: Vec<Binding>,
    options: RunOptions,
    /// An inference is in flight, and the device may access the buffers. Stays set after a
    /// time-out, until the inference has finished.
    in_flight: bool,
    /// The end of the work in flight can no longer be detected, so the buffers may never be
    /// accessed or freed again.
    lost: bool,
    /// The unknown errors of CUDA since the last inference that succeeded.
    unknown_errors: u32,
    /// Dropped only when the device has finished its work. The device is dropped last.
    work: ManuallyDrop<(Work, Device)>,
}

// SAFETY: the objects of TensorRT and of the driver are not bound to a thread. Each call makes the
// device's context current on the calling thread first, and `&mut self` excludes concurrent calls.
unsafe impl Send for Session {}

impl Session {
    /// Loads a plan, and makes `device` current on this thread.
    ///
    /// # Errors
    /// When the plan was built for another machine, a tensor has more than 1 GiB or is not stored row
    /// by row, or a call of TensorRT or the driver fails.
    pub fn new(
        library: &TensorRt,
        device: &Device,
        plan: &TrustedBytes,
        options: RunOptions,
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
            options: RunOptions {
                limit: options.limit.min(MAX_LIMIT),
                ..options
            },
            in_flight: false,
            lost: false,
            unknown_errors: 0,
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

    /// The library, the device and the kind of memory, on one line.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// The plan's inputs, in the model's order.
    #[must_use]
    pub fn inputs(&self) -> &[Binding] {
        &self.inputs
    }

    /// The plan's outputs, in the model's order.
    #[must_use]
    pub fn outputs(&self) -> &[Binding] {
        &self.outputs
    }

    /// Runs inferences on the inputs' present contents until later ones take their usual time, and
    /// records the CUDA graph. Each has a limit of at least twenty seconds.
    ///
    /// # Errors
    /// As [`infer`](Self::infer).
    pub fn prepare(&mut self) -> Result<(), RunError> {
        // The first inferences load kernels and allocate memory, so they take longer.
        let limit = self.options.limit.max(WARM_UP_LIMIT);
        let until = Instant::now() + limit;
        self.settle(until)
            .and_then(|()| self.run(until))
            .map_err(|failed| self.error(failed, limit))?;
        let recorded = self.record();
        // The first replay of a graph also initializes it, so it is done here.
        let until = Instant::now() + limit;
        let mut ran = self.run(until);
        if !recorded && matches!(ran, Err(Failed::TensorRt(_))) {
            // The CUDA runtime in TensorRT reports the error of a failed recording to the next call too.
            ran = self.settle(until).and_then(|()| self.run(until));
        }
        ran.map_err(|failed| self.error(failed, limit))
    }

    /// Runs one inference. `fill` is called for each input with its index and the bytes to write,
    /// `take` for each output with its index and its bytes. The time limit covers the wait for
    /// earlier work, `fill` and the inference. The device becomes current on this thread.
    ///
    /// # Errors
    /// When a call of TensorRT or CUDA fails, or the limit passes. `take` is not called then.
    pub fn infer(
        &mut self,
        mut fill: impl FnMut(usize, &mut [u8]),
        mut take: impl FnMut(usize, &[u8]),
    ) -> Result<(), RunError> {
        let limit = self.options.limit;
        let until = Instant::now() + limit;
        self.settle(until)
            .map_err(|failed| self.error(failed, limit))?;
        for (index, buffer) in self.work.0.inputs.iter_mut().enumerate() {
            fill(index, buffer.bytes());
        }
        self.run(until)
            .map_err(|failed| self.error(failed, limit))?;
        for (index, buffer) in self.work.0.outputs.iter_mut().enumerate() {
            take(index, buffer.bytes());
        }
        Ok(())
    }

    /// Changes the time limit of an inference.
    pub fn set_limit(&mut self, limit: Duration) {
        self.options.limit = limit.min(MAX_LIMIT);
    }

    /// The time of the latest inference on the device, by the device's clock. `None` before the
    /// first, while one is in flight, and where another device is current.
    #[must_use]
    pub fn elapsed(&self) -> Option<Duration> {
        self.work.0.stream.elapsed()
    }

    /// Waits until an earlier inference that timed out has finished, so that the buffers are free.
    fn settle(&mut self, until: Instant) -> Result<(), Failed> {
        if self.lost {
            return Err(Failed::Lost);
        }
        if self.in_flight {
            let (work, device) = &*self.work;
            device.use_here()?;
            if !work.stream.wait(until, self.options.wait)? {
                return Err(Failed::Late);
            }
            self.in_flight = false;
        }
        Ok(())
    }

    /// Runs one inference on the contents of the input buffers.
    fn run(&mut self, until: Instant) -> Result<(), Failed> {
        let (work, device) = &mut *self.work;
        // The caller's `fill` may have made another device current.
        device.use_here()?;
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
        self.unknown_errors = 0;
        Ok(())
    }

    /// Records an inference as a CUDA graph that later inferences replay, and returns false if that
    /// fails. TensorRT requires one inference before the recording.
    fn record(&mut self) -> bool {
        let work = &mut self.work.0;
        if !self.options.graph || work.graph.is_some() {
            return true;
        }
        match work.record() {
            Ok(()) => true,
            Err(failed) => {
                // Recording is not tried again, so the warning is logged once.
                self.options.graph = false;
                let reason = self.error(failed, self.options.limit);
                log::warn!(
                    "no CUDA graph of {}: {reason}; each inference is enqueued anew",
                    self.description
                );
                false
            }
        }
    }

    /// Converts a failure to the caller's error. A sticky CUDA error, and the last of
    /// [`UNKNOWN_ERRORS`], mark the session as lost.
    fn error(&mut self, failed: Failed, limit: Duration) -> RunError {
        match failed {
            Failed::Late => RunError::Late { limit },
            Failed::Lost => RunError::Lost {
                reason: "the GPU's work cannot be followed any more".into(),
            },
            Failed::TensorRt(error) => RunError::TensorRt(error),
            Failed::Cuda(error) => {
                self.unknown_errors += u32::from(error.is_unknown());
                self.lost |= error.is_sticky() || self.unknown_errors >= UNKNOWN_ERRORS;
                match self.lost {
                    true => RunError::Lost {
                        reason: error.to_string(),
                    },
                    false => RunError::Cuda(error),
                }
            }
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("description", &self.description)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (work, device) = &*self.work;
        let RunOptions { limit, wait, .. } = self.options;
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
