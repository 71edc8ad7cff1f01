//! Work in order on the device, recorded once and replayed, and the wait for its end.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::time::{Duration, Instant};

use cudarc::driver::sys;

use crate::device::{CudaError, Device};
use crate::driver::{self, Driver};

/// What the processor does until the device has an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wait {
    /// Looks all the time for half a millisecond, longer than a driving network takes, and
    /// then now and then.
    #[default]
    Spin,
    /// Looks now and then: up to 50 microseconds late, and the core is free meanwhile.
    Sleep,
}

/// Whose work goes first, where several streams have some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// This stream's.
    #[default]
    High,
    /// That of streams with high priority.
    Low,
}

const SPIN: Duration = Duration::from_micros(500);
const NAP: Duration = Duration::from_micros(50);
/// `CU_STREAM_NON_BLOCKING`: it waits for no work of other streams.
const NON_BLOCKING: u32 = 1;
/// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`: other threads may go on as they like.
const THREAD_LOCAL: i32 = 1;

/// A stream, and events at the beginning and the end of what it was last given.
pub(crate) struct Stream {
    driver: &'static Driver,
    raw: sys::CUstream,
    began: sys::CUevent,
    done: sys::CUevent,
}

impl Stream {
    /// An empty one. `device` is the thread's own.
    pub(crate) fn new(device: &Device, priority: Priority) -> Result<Self, CudaError> {
        let driver = device.driver();
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: it writes two numbers. Where there are no priorities both are 0.
        let asked =
            unsafe { (driver.cuCtxGetStreamPriorityRange)(&raw mut least, &raw mut greatest) };
        driver.done("asking for the priorities of streams", asked)?;
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
        // SAFETY: each writes one handle, which is destroyed once, when this is dropped.
        unsafe {
            let made =
                (driver.cuStreamCreateWithPriority)(&raw mut stream.raw, NON_BLOCKING, priority);
            driver.done("making a stream", made)?;
            for event in [&raw mut stream.began, &raw mut stream.done] {
                driver.done("making an event", (driver.cuEventCreate)(event, 0))?;
            }
        }
        Ok(stream)
    }

    pub(crate) fn handle(&self) -> sys::CUstream {
        self.raw
    }

    /// As TensorRT takes it.
    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Marks the beginning of what comes next.
    pub(crate) fn begin(&self) -> Result<(), CudaError> {
        // SAFETY: both live.
        let marked = unsafe { (self.driver.cuEventRecord)(self.began, self.raw) };
        self.driver
            .done("marking the beginning of the work", marked)
    }

    /// Marks the end of what is in the stream now.
    pub(crate) fn mark(&self) -> Result<(), CudaError> {
        // SAFETY: both live.
        let marked = unsafe { (self.driver.cuEventRecord)(self.done, self.raw) };
        self.driver.done("marking the end of the work", marked)
    }

    /// Whether the device has come to the mark by `until`.
    pub(crate) fn wait(&self, until: Instant, how: Wait) -> Result<bool, CudaError> {
        let start = Instant::now();
        loop {
            // SAFETY: the event lives.
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
                std::thread::sleep(NAP.min(until - now));
            }
        }
    }

    /// From the beginning to the end, by the device's own clock, once that has been waited for.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let mut milliseconds = 0.0_f32;
        // SAFETY: it writes one number; both events live.
        let asked = unsafe {
            (self.driver.cuEventElapsedTime)(&raw mut milliseconds, self.began, self.done)
        };
        let known = asked == driver::SUCCESS && milliseconds.is_finite() && milliseconds >= 0.0;
        known.then(|| Duration::from_secs_f64(f64::from(milliseconds) * 1e-3))
    }

    /// Records what `work` puts into the stream, without doing it, to be replayed.
    ///
    /// # Errors
    /// When `work` fails, or the driver cannot record it; the stream is as it was then.
    pub(crate) fn capture<E: From<CudaError>>(
        &self,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        let driver = self.driver;
        // SAFETY: the stream lives; the capture is ended below, whatever happens between.
        let begun = unsafe { (driver.cuStreamBeginCapture_v2)(self.raw, THREAD_LOCAL) };
        driver.done("beginning to record a graph", begun)?;
        let worked = work();
        let mut graph = ptr::null_mut();
        // SAFETY: it writes one handle, destroyed below.
        let ended = unsafe { (driver.cuStreamEndCapture)(self.raw, &raw mut graph) };
        let mut recorded = Graph {
            driver,
            raw: ptr::null_mut(),
        };
        let made = worked.and_then(|()| {
            driver.done("recording a graph", ended)?;
            // SAFETY: the graph was just given; the handle is destroyed once, by `Graph`.
            let made =
                unsafe { (driver.cuGraphInstantiateWithFlags)(&raw mut recorded.raw, graph, 0) };
            Ok(driver.done("preparing a graph", made)?)
        });
        if !graph.is_null() {
            // SAFETY: given above, and of no more use. What the driver says does not matter.
            let _ = unsafe { (driver.cuGraphDestroy)(graph) };
        }
        made.map(|()| recorded)
    }

    /// Puts all of `graph` into the stream.
    ///
    /// # Safety
    /// Everything that the recorded work reads and writes still lives, and nobody else
    /// touches it until the work is done.
    pub(crate) unsafe fn replay(&self, graph: &Graph) -> Result<(), CudaError> {
        // SAFETY: both live; the memory is the caller's word.
        let launched = unsafe { (self.driver.cuGraphLaunch)(graph.raw, self.raw) };
        self.driver.done("starting the recorded work", launched)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once. What the driver says no longer matters.
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

/// Recorded work.
pub(crate) struct Graph {
    driver: &'static Driver,
    raw: sys::CUgraphExec,
}

impl Drop for Graph {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: made in `capture`, destroyed once, when its last run was waited for.
            let _ = unsafe { (self.driver.cuGraphExecDestroy)(self.raw) };
        }
    }
}
