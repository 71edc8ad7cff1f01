//! The CUDA driver's first device.

#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use crate::cuda_error::CudaError;
use crate::driver::{self, Driver};

/// The first CUDA device, with its primary context. Cheap to clone.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    functions: &'static Driver,
    handle: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    compute_capability: u16,
    multiprocessors: i32,
    l2_cache: i32,
    cuda: i32,
    integrated: bool,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

/// Name, compute capability, driver version and kind of memory on one line.
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Inner {
            name,
            compute_capability,
            cuda,
            integrated,
            ..
        } = &*self.inner;
        write!(
            f,
            "{name}, compute capability {}.{}, driver for CUDA {}.{}, {}",
            compute_capability / 10,
            compute_capability % 10,
            cuda / 1000,
            cuda % 1000 / 10,
            match integrated {
                true => "memory shared with the processor",
                false => "memory of its own",
            }
        )
    }
}

// SAFETY: `Inner` holds handles of the CUDA driver, and these may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above; `Inner` is not modified after its creation.
unsafe impl Sync for Inner {}

impl Device {
    /// Loads the driver and opens its first device.
    ///
    /// # Errors
    /// When there is no driver, it is too old, or there is no device.
    pub fn first() -> Result<Self, CudaError> {
        let driver = Driver::get()?;
        // SAFETY: the only argument is a number.
        match unsafe { (driver.cuInit)(0) } {
            driver::NO_DEVICE => return Err(CudaError::NoDevice),
            status => driver.done("starting CUDA", status)?,
        }
        let mut count = 0;
        // SAFETY: the call writes one integer to `count`, which is valid.
        let status = unsafe { (driver.cuDeviceGetCount)(&raw mut count) };
        if status == driver::NO_DEVICE || (status == driver::SUCCESS && count < 1) {
            return Err(CudaError::NoDevice);
        }
        driver.done("counting GPUs", status)?;
        let mut handle = 0;
        // SAFETY: the call writes one device handle to `handle`, which is valid.
        let status = unsafe { (driver.cuDeviceGet)(&raw mut handle, 0) };
        driver.done("opening the GPU", status)?;
        let attribute = |attribute: Attribute| {
            let mut value = 0;
            // SAFETY: the call writes one integer to `value`; `handle` is a device of this driver.
            let status =
                unsafe { (driver.cuDeviceGetAttribute)(&raw mut value, attribute as i32, handle) };
            driver.done("asking the GPU for its properties", status)?;
            Ok::<_, CudaError>(value)
        };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let l2_cache = attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
        let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)?;
        let mut name = [0_u8; 256];
        // SAFETY: the call writes a NUL-terminated string of at most 256 bytes, the size of `name`.
        let status = unsafe { (driver.cuDeviceGetName)(name.as_mut_ptr().cast(), 256, handle) };
        driver.done("asking the GPU for its name", status)?;
        let end = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        let mut version = 0;
        // SAFETY: the call writes one integer to `version`, which is valid.
        let status = unsafe { (driver.cuDriverGetVersion)(&raw mut version) };
        driver.done("asking the driver for its version", status)?;
        let mut context = ptr::null_mut();
        // SAFETY: `handle` is a device of this driver. The call writes one pointer to `context`.
        // `Inner::drop` releases the context once.
        let status = unsafe { (driver.cuDevicePrimaryCtxRetain)(&raw mut context, handle) };
        driver.done("making a CUDA context", status)?;
        Ok(Self {
            inner: Arc::new(Inner {
                functions: driver,
                handle,
                context,
                name,
                compute_capability: u16::try_from(major * 10 + minor).unwrap_or(0),
                multiprocessors,
                l2_cache,
                cuda: version,
                integrated: integrated != 0,
            }),
        })
    }

    /// The device's name, as reported by the driver.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The compute capability, for example 87 for 8.7 (Orin).
    #[must_use]
    pub fn compute_capability(&self) -> u16 {
        self.inner.compute_capability
    }

    /// The number of streaming multiprocessors. It differs between modules of one name ("Orin"), and
    /// with the power mode.
    #[must_use]
    pub fn multiprocessors(&self) -> i32 {
        self.inner.multiprocessors
    }

    /// The size of the L2 cache, in bytes.
    #[must_use]
    pub fn l2_cache(&self) -> i32 {
        self.inner.l2_cache
    }

    /// The driver's CUDA version, for example 12060 for 12.6.
    #[must_use]
    pub fn cuda(&self) -> i32 {
        self.inner.cuda
    }

    /// Whether the device shares the processor's memory, as a Jetson's GPU does.
    #[must_use]
    pub fn integrated(&self) -> bool {
        self.inner.integrated
    }

    /// Makes this device's context current on the calling thread.
    ///
    /// # Errors
    /// When the driver's call fails.
    pub fn use_here(&self) -> Result<(), CudaError> {
        let driver = self.inner.functions;
        // SAFETY: the context is retained for as long as `self.inner` lives.
        let status = unsafe { (driver.cuCtxSetCurrent)(self.inner.context) };
        driver.done("choosing the GPU", status)
    }

    /// The functions of the driver that opened this device.
    pub(crate) fn driver(&self) -> &'static Driver {
        self.inner.functions
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: `first` retained the context once, and it is released here once. A failure
        // cannot be handled.
        let _ = unsafe { self.functions.release_primary_context(self.handle) };
    }
}
