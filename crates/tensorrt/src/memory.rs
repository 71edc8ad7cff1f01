//! Memory that both the processor and the device can access.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::slice;

use cudarc::driver::sys;

use crate::cuda_error::CudaError;
use crate::device::Device;
use crate::driver::Driver;
use crate::stream::Stream;

/// How a tensor is transferred to the device and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// The device accesses pinned memory of the processor. No copy is needed where they share
    /// memory.
    Mapped,
    /// The stream copies between the processor's and the device's memory.
    Copied,
}

/// A tensor's memory: a pinned buffer of the processor, and its counterpart for the device.
pub(crate) struct Buffer {
    driver: &'static Driver,
    host: *mut c_void,
    device: sys::CUdeviceptr,
    size: usize,
    transfer: Transfer,
}

impl Buffer {
    /// Allocates `size` bytes of zeros. `device` must be current on the calling thread.
    pub(crate) fn new(device: &Device, size: usize, transfer: Transfer) -> Result<Self, CudaError> {
        let driver = device.driver();
        let capacity = size.max(1);
        let mut host = ptr::null_mut();
        // SAFETY: the call writes one pointer to `host`. `Drop` frees the memory once.
        let status = unsafe {
            (driver.cuMemHostAlloc)(&raw mut host, capacity, sys::CU_MEMHOSTALLOC_DEVICEMAP)
        };
        driver.done("taking pinned memory", status)?;
        let mut buffer = Self {
            driver,
            host,
            device: 0,
            size,
            transfer: Transfer::Mapped,
        };
        // SAFETY: `capacity` bytes were just allocated at `host`.
        unsafe { ptr::write_bytes(host.cast::<u8>(), 0, capacity) };
        let address = &raw mut buffer.device;
        match transfer {
            Transfer::Mapped => {
                // SAFETY: the memory was allocated with DEVICEMAP. The call writes one address.
                let status = unsafe { (driver.cuMemHostGetDevicePointer_v2)(address, host, 0) };
                driver.done("mapping memory for the GPU", status)?;
            }
            Transfer::Copied => {
                // SAFETY: the call writes one address. `Drop` frees the memory once.
                let status = unsafe { (driver.cuMemAlloc_v2)(address, capacity) };
                driver.done("taking the GPU's memory", status)?;
            }
        }
        buffer.transfer = transfer;
        Ok(buffer)
    }

    /// The buffer's address on the device.
    pub(crate) fn address(&self) -> *mut c_void {
        self.device as *mut c_void
    }

    /// The bytes on the processor's side. No work on a stream may be using them.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `host` points to at least `size` bytes that `new` initialized, and the slice
        // borrows `self` exclusively.
        unsafe { slice::from_raw_parts_mut(self.host.cast(), self.size) }
    }

    /// Enqueues the copy to the device on `stream`, if a copy is needed.
    pub(crate) fn send(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if self.transfer == Transfer::Mapped {
            return Ok(());
        }
        let (driver, size) = (self.driver, self.size);
        // SAFETY: both sides have `size` bytes, and the owner keeps them until the stream has
        // finished.
        let status =
            unsafe { (driver.cuMemcpyHtoDAsync_v2)(self.device, self.host, size, stream.handle()) };
        driver.done("copying to the GPU", status)
    }

    /// Enqueues the copy from the device on `stream`, if a copy is needed.
    pub(crate) fn fetch(&mut self, stream: &Stream) -> Result<(), CudaError> {
        if self.transfer == Transfer::Mapped {
            return Ok(());
        }
        let (driver, size) = (self.driver, self.size);
        // SAFETY: both sides have `size` bytes, and the owner keeps them until the stream has
        // finished.
        let status =
            unsafe { (driver.cuMemcpyDtoHAsync_v2)(self.host, self.device, size, stream.handle()) };
        driver.done("copying from the GPU", status)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the memory, and it is freed here once, after the owner has waited
        // for the stream. A failure cannot be handled.
        unsafe {
            if self.transfer == Transfer::Copied {
                let _ = (self.driver.cuMemFree_v2)(self.device);
            }
            let _ = (self.driver.cuMemFreeHost)(self.host);
        }
    }
}
