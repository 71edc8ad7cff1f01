//! Memory that both the processor and the device reach, a stream, and an event to wait for.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::slice;
use std::time::{Duration, Instant};

use cudarc::driver::result::{self, stream::StreamKind};
use cudarc::driver::sys;

use crate::device::{CudaError, call};

/// How a tensor gets to the device and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// The device reads and writes the processor's memory: nothing to copy where they share it.
    Mapped,
    /// A copy on the stream.
    Copied,
}

/// A tensor's memory: pinned on the processor's side, and what the device sees of it.
#[derive(Debug)]
pub(crate) struct Buffer {
    host: *mut c_void,
    device: sys::CUdeviceptr,
    size: usize,
    transfer: Transfer,
}

impl Buffer {
    /// `size` bytes of zeros. The device's context is current.
    pub(crate) fn new(size: usize, transfer: Transfer) -> Result<Self, CudaError> {
        let room = size.max(1);
        // SAFETY: freed once, when this is dropped; set to zero before anybody reads it.
        let host = unsafe { result::malloc_host(room, sys::CU_MEMHOSTALLOC_DEVICEMAP) };
        let host = call("taking pinned memory", host)?;
        let mut buffer = Self {
            host,
            device: 0,
            size,
            transfer: Transfer::Mapped,
        };
        // SAFETY: `room` bytes were just given.
        unsafe { ptr::write_bytes(host.cast::<u8>(), 0, room) };
        buffer.device = match transfer {
            Transfer::Mapped => {
                let mut device = 0;
                // SAFETY: the memory was asked for with DEVICEMAP.
                let mapped =
                    unsafe { sys::cuMemHostGetDevicePointer_v2(&raw mut device, host, 0).result() };
                call("mapping memory for the GPU", mapped)?;
                device
            }
            // SAFETY: freed once, when this is dropped; written before the device reads it.
            Transfer::Copied => call("taking the GPU's memory", unsafe {
                result::malloc_sync(room)
            })?,
        };
        buffer.transfer = transfer;
        Ok(buffer)
    }

    /// Where the device finds it.
    pub(crate) fn address(&self) -> *mut c_void {
        self.device as *mut c_void
    }

    /// The processor's side. Nothing on the stream may be using it.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `size` bytes, set when they were taken, and borrowed like `self`.
        unsafe { slice::from_raw_parts_mut(self.host.cast(), self.size) }
    }

    /// Puts the copy to the device into `stream`, where one is needed.
    pub(crate) fn send(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if self.transfer == Transfer::Mapped {
            return Ok(());
        }
        let device = self.device;
        // SAFETY: both sides are `size` bytes and live until the stream has been waited for.
        let sent = unsafe { result::memcpy_htod_async(device, self.bytes(), stream.raw) };
        call("copying to the GPU", sent)
    }

    /// Puts the copy back into `stream`, where one is needed.
    pub(crate) fn fetch(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if self.transfer == Transfer::Mapped {
            return Ok(());
        }
        let device = self.device;
        // SAFETY: as above.
        let fetched = unsafe { result::memcpy_dtoh_async(self.bytes(), device, stream.raw) };
        call("copying from the GPU", fetched)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: taken in `new`, freed once; the owner has waited for the stream. What the driver
        // says no longer matters.
        unsafe {
            if self.transfer == Transfer::Copied {
                let _ = result::free_sync(self.device);
            }
            let _ = result::free_host(self.host);
        }
    }
}

/// Work in order, and the end of it.
#[derive(Debug)]
pub(crate) struct Stream {
    raw: sys::CUstream,
    done: sys::CUevent,
}

/// How long the processor spins before it sleeps between looks: an inference takes less.
const SPIN: Duration = Duration::from_micros(500);
const NAP: Duration = Duration::from_micros(50);

impl Stream {
    /// An empty one. The device's context is current.
    pub(crate) fn new() -> Result<Self, CudaError> {
        let raw = call(
            "making a stream",
            result::stream::create(StreamKind::NonBlocking),
        )?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        match call("making an event", result::event::create(flags)) {
            Ok(done) => Ok(Self { raw, done }),
            Err(error) => {
                // SAFETY: made above and given to nobody.
                let _ = unsafe { result::stream::destroy(raw) };
                Err(error)
            }
        }
    }

    pub(crate) fn raw(&self) -> *mut c_void {
        self.raw.cast()
    }

    /// Marks the end of what is in the stream now.
    pub(crate) fn mark(&self) -> Result<(), CudaError> {
        // SAFETY: both live.
        let marked = unsafe { result::event::record(self.done, self.raw) };
        call("marking the end of the work", marked)
    }

    /// Whether the device has come to the mark within `limit`; first looked at often, then seldom.
    pub(crate) fn wait(&self, limit: Duration) -> Result<bool, CudaError> {
        let start = Instant::now();
        loop {
            // SAFETY: the event lives.
            match unsafe { result::event::query(self.done) } {
                Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NOT_READY => {}
                other => return call("waiting for the GPU", other).map(|()| true),
            }
            let waited = start.elapsed();
            if waited >= limit {
                return Ok(false);
            }
            if waited < SPIN {
                std::hint::spin_loop();
            } else {
                std::thread::sleep(NAP);
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once. What the driver says no longer matters.
        unsafe {
            let _ = result::event::destroy(self.done);
            let _ = result::stream::destroy(self.raw);
        }
    }
}
