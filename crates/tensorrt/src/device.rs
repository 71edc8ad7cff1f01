//! The CUDA driver, and the first device it has.

#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

/// Why there is no CUDA device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// No driver.
    #[error(
        "there is no NVIDIA driver on this machine (libcuda.so cannot be loaded); on a Jetson it \
         comes with JetPack's nvidia-l4t-cuda"
    )]
    NoDriver,
    /// A driver without a function that is needed.
    #[error("the NVIDIA driver has no {symbol}: it is older than CUDA 11.4, or damaged")]
    NoSymbol {
        /// The function.
        symbol: &'static str,
    },
    /// No device.
    #[error("the NVIDIA driver knows of no GPU here")]
    NoDevice,
    /// The driver said no.
    #[error("{doing} failed: {reason} ({name})")]
    Call {
        /// What was tried.
        doing: &'static str,
        /// CUDA's name for the error.
        name: String,
        /// CUDA's words for it.
        reason: String,
    },
}

/// What of the driver is called, here and in `memory.rs`. cudarc panics on the first that is
/// missing, so all are looked for before any is called.
const SYMBOLS: [&str; 24] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventQuery",
    "cuEventRecord",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
];

/// The first CUDA device, with its primary context. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: sys::CUdevice,
    context: sys::CUcontext,
    name: String,
    compute_capability: u16,
    driver: i32,
    integrated: bool,
}

// SAFETY: handles of the driver's, which may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// `doing`, with the driver's words when it said no.
pub(crate) fn call<T>(doing: &'static str, done: Result<T, DriverError>) -> Result<T, CudaError> {
    done.map_err(|error| CudaError::Call {
        doing,
        name: error.error_name().map_or_else(
            |error| format!("{:?}", error.0),
            |name| name.to_string_lossy().into(),
        ),
        reason: error
            .error_string()
            .map_or_else(|_| "an error".into(), |text| text.to_string_lossy().into()),
    })
}

impl Device {
    /// Opens the driver and takes its first device.
    ///
    /// # Errors
    /// When there is no driver, it is too old, or there is no device.
    pub fn first() -> Result<Self, CudaError> {
        // SAFETY: the system's driver library is loaded, as CUDA programs do.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        // SAFETY: it is there; of its symbols only the addresses are taken.
        let driver = unsafe { sys::culib() };
        for symbol in SYMBOLS {
            // SAFETY: as above.
            if unsafe { driver.get::<*const ()>(symbol.as_bytes()) }.is_err() {
                return Err(CudaError::NoSymbol { symbol });
            }
        }
        call("starting CUDA", result::init())?;
        if call("counting GPUs", result::device::get_count())? < 1 {
            return Err(CudaError::NoDevice);
        }
        let handle = call("opening the GPU", result::device::get(0))?;
        let attribute = |attribute| {
            // SAFETY: the device was just given.
            let value = unsafe { result::device::get_attribute(handle, attribute) };
            call("asking the GPU for its properties", value)
        };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)?;
        let name = call(
            "asking the GPU for its name",
            result::device::get_name(handle),
        )?;
        let mut version = 0;
        // SAFETY: the driver writes one integer.
        let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
        call("asking the driver for its version", asked)?;
        // SAFETY: the device was just given; the context is released once, when this is dropped.
        let context = unsafe { result::primary_ctx::retain(handle) };
        let context = call("making a CUDA context", context)?;
        Ok(Self {
            inner: Arc::new(Inner {
                handle,
                context,
                name,
                compute_capability: u16::try_from(major * 10 + minor).unwrap_or(0),
                driver: version,
                integrated: integrated != 0,
            }),
        })
    }

    /// As the driver names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// As 87 for 8.7 (Orin).
    #[must_use]
    pub fn compute_capability(&self) -> u16 {
        self.inner.compute_capability
    }

    /// The CUDA version of the driver, as 12060 for 12.6.
    #[must_use]
    pub fn cuda(&self) -> i32 {
        self.inner.driver
    }

    /// Whether it shares the processor's memory, as a Jetson's does.
    #[must_use]
    pub fn integrated(&self) -> bool {
        self.inner.integrated
    }

    /// Makes this thread's calls go to this device.
    ///
    /// # Errors
    /// When the driver says no.
    pub fn use_here(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as this.
        let set = unsafe { result::ctx::set_current(self.inner.context) };
        call("choosing the GPU", set)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: retained once in `first`. What it says no longer matters.
        let _ = unsafe { result::primary_ctx::release(self.handle) };
    }
}
