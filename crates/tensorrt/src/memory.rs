//! Memory that both the processor and the device reach.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::slice;

use cudarc::driver::sys;

use crate::device::{CudaError, Device};
use crate::driver::Driver;
use crate::stream::Stream;

/// How a tensor gets to the device and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// The device reads and writes the processor's memory: nothing to copy where they share it.
    Mapped,
    /// A copy on the stream.
    Copied,
}

/// A tensor's memory: pinned on the processor's side, and what the device sees of it.
pub(crate) struct Buffer {
    driver: &'static Driver,
    host: *mut c_void,
    device: sys::CUdeviceptr,
    size: usize,
    transfer: Transfer,
}

impl Buffer {
    /// `size` bytes of zeros. `device` is the thread's own.
    pub(crate) fn new(device: &Device, size: usize, transfer: Transfer) -> Result<Self, CudaError> {
        let driver = device.driver();
        let room = size.max(1);
        let mut host = ptr::null_mut();
        // SAFETY: it writes one pointer, to memory that is freed once, when this is dropped.
        let taken =
            unsafe { (driver.cuMemHostAlloc)(&raw mut host, room, sys::CU_MEMHOSTALLOC_DEVICEMAP) };
        driver.done("taking pinned memory", taken)?;
        let mut buffer = Self {
            driver,
            host,
            device: 0,
            size,
            transfer: Transfer::Mapped,
        };
        // SAFETY: `room` bytes were just given.
        unsafe { ptr::write_bytes(host.cast::<u8>(), 0, room) };
        let address = &raw mut buffer.device;
        match transfer {
            Transfer::Mapped => {
                // SAFETY: the memory was asked for with DEVICEMAP.
                let mapped = unsafe { (driver.cuMemHostGetDevicePointer_v2)(address, host, 0) };
                driver.done("mapping memory for the GPU", mapped)?;
            }
            Transfer::Copied => {
                // SAFETY: it writes one address, of memory that is freed once, as above.
                let taken = unsafe { (driver.cuMemAlloc_v2)(address, room) };
                driver.done("taking the GPU's memory", taken)?;
            }
        }
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
        let (driver, size) = (self.driver, self.size);
        // SAFETY: both sides are `size` bytes and live until the stream has been waited for.
        let sent =
            unsafe { (driver.cuMemcpyHtoDAsync_v2)(self.device, self.host, size, stream.handle()) };
        driver.done("copying to the GPU", sent)
    }

    /// Puts the copy back into `stream`, where one is needed.
    pub(crate) fn fetch(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if self.transfer == Transfer::Mapped {
            return Ok(());
        }
        let (driver, size) = (self.driver, self.size);
        // SAFETY: as above.
        let fetched =
            unsafe { (driver.cuMemcpyDtoHAsync_v2)(self.host, self.device, size, stream.handle()) };
        driver.done("copying from the GPU", fetched)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: taken in `new`, freed once; the owner has waited for the stream. What the driver
        // says no longer matters.
        unsafe {
            if self.transfer == Transfer::Copied {
                let _ = (self.driver.cuMemFree_v2)(self.device);
            }
            let _ = (self.driver.cuMemFreeHost)(self.host);
        }
    }
}
