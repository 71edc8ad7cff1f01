//! CUDA streams and graphs, and the wait for their end.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::time::{Duration, Instant};

use cudarc::driver::sys;

use crate::cuda_error::CudaError;
use crate::device::Device;
use crate::driver::{self, Driver};

/// How a thread waits for the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wait {
    /// Polls continuously for half a millisecond, which is longer than a small network takes,
    /// and then as [`Self::Sleep`].
    #[default]
    Spin,
    /// Polls every 50 microseconds and sleeps between the polls, so that the core is free. The
    /// answer is noticed up to 50 microseconds late.
    Sleep,
}

/// The priority of a stream's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// The stream's work precedes that of streams with low priority.
    #[default]
    High,
    /// The work of streams with high priority precedes this stream's.
    Low,
}

/// How long [`Wait::Spin`] polls continuously.
const SPIN: Duration = Duration::from_micros(500);
/// The pause between two polls of [`Wait::Sleep`].
const PAUSE: Duration = Duration::from_micros(50);
/// `CU_STREAM_NON_BLOCKING`: the stream does not synchronize with the default stream.
const NON_BLOCKING: u32 = 1;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: the capture does not restrict other threads.
const THREAD_LOCAL: i32 = 1;

/// A stream, with events at the beginning and the end of its latest work.
pub(crate) struct Stream {
    driver: &'static Driver,
    raw: sys::CUstream,
    began: sys::CUevent,
    done: sys::CUevent,
}

impl Stream {
    /// Creates a stream. `device` must be current on the calling thread.
    pub(crate) fn new(device: &Device, priority: Priority) -> Result<Self, CudaError> {
        let driver = device.driver();
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: the call writes two integers. Both are 0 on devices without priorities.
        let status =
            unsafe { (driver.cuCtxGetStreamPriorityRange)(&raw mut least, &raw mut greatest) };
        driver.done("asking for the priorities of streams", status)?;
        let priority = match priority {
            Priority::High => greatest,
            Priority::Low => least,
        };
        let mut stream = Self {
            driver,
            raw: ptr::null_mut(),
            began: ptr::null_mut(),
            done: ptr::null_mut(),
        };
        // SAFETY: each call writes one handle, which `Drop` destroys once.
        unsafe {
            let status =
                (driver.cuStreamCreateWithPriority)(&raw mut stream.raw, NON_BLOCKING, priority);
            driver.done("making a stream", status)?;
            for event in [&raw mut stream.began, &raw mut stream.done] {
                driver.done("making an event", (driver.cuEventCreate)(event, 0))?;
            }
        }
        Ok(stream)
    }

    pub(crate) fn handle(&self) -> sys::CUstream {
        self.raw
    }

    /// The stream as a pointer for TensorRT.
    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Marks the beginning of the work that is enqueued next.
    pub(crate) fn begin(&self) -> Result<(), CudaError> {
        // SAFETY: the event and the stream are alive.
        let status = unsafe { (self.driver.cuEventRecord)(self.began, self.raw) };
        self.driver
            .done("marking the beginning of the work", status)
    }

    /// Marks the end of the work that is enqueued so far.
    pub(crate) fn mark(&self) -> Result<(), CudaError> {
        // SAFETY: the event and the stream are alive.
        let status = unsafe { (self.driver.cuEventRecord)(self.done, self.raw) };
        self.driver.done("marking the end of the work", status)
    }

    /// Waits until the device reaches the mark of [`Self::mark`]. Returns false if it has not by
    /// `until`.
    pub(crate) fn wait(&self, until: Instant, how: Wait) -> Result<bool, CudaError> {
        let start = Instant::now();
        loop {
            // SAFETY: the event is alive.
            match unsafe { (self.driver.cuEventQuery)(self.done) } {
                driver::NOT_READY => {}
                status => {
                    return self
                        .driver
                        .done("waiting for the GPU", status)
                        .map(|()| true);
                }
            }
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            if how == Wait::Spin && now - start < SPIN {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(PAUSE.min(until - now));
            }
        }
    }

    /// The time from the beginning to the end of the work, by the device's clock. Call it after
    /// [`Self::wait`] has returned true.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let mut milliseconds = 0.0_f32;
        // SAFETY: the call writes one number, and both events are alive.
        let status = unsafe {
            (self.driver.cuEventElapsedTime)(&raw mut milliseconds, self.began, self.done)
        };
        let valid = status == driver::SUCCESS && milliseconds.is_finite() && milliseconds >= 0.0;
        valid.then(|| Duration::from_secs_f64(f64::from(milliseconds) * 1e-3))
    }

    /// Records the work that `work` enqueues on the stream as a graph, without running it.
    ///
    /// # Errors
    /// When `work` fails, or the driver cannot record it. The stream is then as before the call.
    pub(crate) fn capture<E: From<CudaError>>(
        &self,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        let driver = self.driver;
        // SAFETY: the stream is alive. The capture is ended below, whether `work` fails or not.
        let status = unsafe { (driver.cuStreamBeginCapture_v2)(self.raw, THREAD_LOCAL) };
        driver.done("beginning to record a graph", status)?;
        let result = work();
        let mut graph = ptr::null_mut();
        // SAFETY: the call writes one handle, which is destroyed below.
        let ended = unsafe { (driver.cuStreamEndCapture)(self.raw, &raw mut graph) };
        let mut recorded = Graph {
            driver,
            raw: ptr::null_mut(),
        };
        let result = result.and_then(|()| {
            driver.done("recording a graph", ended)?;
            // SAFETY: `graph` was just created. The call writes one handle, which `Graph` destroys
            // once.
            let status = unsafe { driver.instantiate(&raw mut recorded.raw, graph) };
            Ok(driver.done("preparing a graph", status)?)
        });
        if !graph.is_null() {
            // SAFETY: the graph was created above and is not used any more. A failure cannot be
            // handled.
            let _ = unsafe { (driver.cuGraphDestroy)(graph) };
        }
        result.map(|()| recorded)
    }

    /// Enqueues the work of `graph` on the stream.
    ///
    /// # Safety
    /// All memory that the recorded work accesses must be alive, and must not be accessed otherwise
    /// until the work has finished.
    pub(crate) unsafe fn replay(&self, graph: &Graph) -> Result<(), CudaError> {
        // SAFETY: the graph and the stream are alive. The contract of this function covers the
        // memory.
        let status = unsafe { (self.driver.cuGraphLaunch)(graph.raw, self.raw) };
        self.driver.done("starting the recorded work", status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: `new` created the handles, and they are destroyed here once. A failure cannot be
        // handled.
        unsafe {
            for event in [self.began, self.done] {
                if !event.is_null() {
                    let _ = (self.driver.cuEventDestroy_v2)(event);
                }
            }
            if !self.raw.is_null() {
                let _ = (self.driver.cuStreamDestroy_v2)(self.raw);
            }
        }
    }
}

/// A recorded CUDA graph that can be replayed.
pub(crate) struct Graph {
    driver: &'static Driver,
    raw: sys::CUgraphExec,
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: `capture` created the handle, and it is destroyed here once, after the owner
            // has waited for its last replay.
            let _ = unsafe { (self.driver.cuGraphExecDestroy)(self.raw) };
        }
    }
}
