//! The CUDA driver, and the first device it has.

#![allow(unsafe_code)]

use std::ops::RangeInclusive;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

use crate::driver::{self, Driver};

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
    #[error(
        "the NVIDIA driver knows of no GPU here; in a container, start it with the NVIDIA runtime, \
         and anywhere else see what `sudo dmesg` says of it"
    )]
    NoDevice,
    /// The driver said no.
    #[error("{doing} failed: {reason} ({name}){}", advice(*.code))]
    Call {
        /// What was tried.
        doing: &'static str,
        /// The `CUresult`.
        code: i32,
        /// CUDA's name for the error.
        name: String,
        /// CUDA's words for it.
        reason: String,
    },
}

impl CudaError {
    /// Whether every later call of this process fails too. cuda.h of these: "This leaves the
    /// process in an inconsistent state and any further CUDA work will return the same error. To
    /// continue using CUDA, the process must be terminated and relaunched."
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        match self {
            Self::Call { code, .. } => STICKY.iter().any(|codes| codes.contains(code)),
            _ => false,
        }
    }
}

/// Numbers of cuda.h: an uncorrectable memory or link error, an illegal address, a kernel that took
/// too long, a context that is gone or was stopped by an assertion, and what a kernel may do wrong.
const STICKY: [RangeInclusive<i32>; 6] = [
    214..=214,
    220..=220,
    700..=700,
    702..=702,
    709..=710,
    714..=719,
];

/// What to do about an error, where it is known.
fn advice(code: i32) -> &'static str {
    match code {
        2 => {
            "; the memory is used up: end other programs (a desktop takes much of a Jetson's), or \
             drive with the CPU engine"
        }
        3 | 4 | 802 | 999 => "; restart the machine: the driver is not in order",
        34 => {
            "; this libcuda.so is CUDA's stub for building: take its folder out of LD_LIBRARY_PATH"
        }
        46 => "; another program has the GPU for itself: end it",
        803 => "; the driver's parts are of two versions: restart the machine after an update",
        804 => "; CUDA's compatibility package does not fit this GPU: uninstall cuda-compat",
        _ => "",
    }
}

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

/// Its name, what it computes, its driver and its memory, in a line for people.
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

// SAFETY: handles of the driver's, which may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Device {
    /// Opens the driver and takes its first device.
    ///
    /// # Errors
    /// When there is no driver, it is too old, or there is no device.
    pub fn first() -> Result<Self, CudaError> {
        let driver = Driver::get()?;
        // SAFETY: it takes a number.
        match unsafe { (driver.cuInit)(0) } {
            driver::NO_DEVICE => return Err(CudaError::NoDevice),
            status => driver.done("starting CUDA", status)?,
        }
        let mut count = 0;
        // SAFETY: each call writes to the variable it is given, and nowhere else; so below.
        let counted = unsafe { (driver.cuDeviceGetCount)(&raw mut count) };
        if counted == driver::NO_DEVICE || (counted == driver::SUCCESS && count < 1) {
            return Err(CudaError::NoDevice);
        }
        driver.done("counting GPUs", counted)?;
        let mut handle = 0;
        // SAFETY: as above.
        let opened = unsafe { (driver.cuDeviceGet)(&raw mut handle, 0) };
        driver.done("opening the GPU", opened)?;
        let attribute = |attribute: Attribute| {
            let mut value = 0;
            // SAFETY: as above; the device was just given.
            let asked =
                unsafe { (driver.cuDeviceGetAttribute)(&raw mut value, attribute as i32, handle) };
            driver.done("asking the GPU for its properties", asked)?;
            Ok::<_, CudaError>(value)
        };
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let integrated = attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)?;
        let mut name = [0_u8; 256];
        // SAFETY: it writes a string that ends in zero, of at most so many bytes.
        let asked = unsafe { (driver.cuDeviceGetName)(name.as_mut_ptr().cast(), 256, handle) };
        driver.done("asking the GPU for its name", asked)?;
        let end = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]).into_owned();
        let mut version = 0;
        // SAFETY: as above.
        let asked = unsafe { (driver.cuDriverGetVersion)(&raw mut version) };
        driver.done("asking the driver for its version", asked)?;
        let mut context = ptr::null_mut();
        // SAFETY: the device was just given; the context is released once, when this is dropped.
        let retained = unsafe { (driver.cuDevicePrimaryCtxRetain)(&raw mut context, handle) };
        driver.done("making a CUDA context", retained)?;
        Ok(Self {
            inner: Arc::new(Inner {
                functions: driver,
                handle,
                context,
                name,
                compute_capability: u16::try_from(major * 10 + minor).unwrap_or(0),
                cuda: version,
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
        self.inner.cuda
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
        let driver = self.inner.functions;
        // SAFETY: the context lives as long as this.
        let set = unsafe { (driver.cuCtxSetCurrent)(self.inner.context) };
        driver.done("choosing the GPU", set)
    }

    /// The driver this is a device of.
    pub(crate) fn driver(&self) -> &'static Driver {
        self.inner.functions
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: retained once in `first`. What it says no longer matters.
        let _ = unsafe { (self.functions.cuDevicePrimaryCtxRelease_v2)(self.handle) };
    }
}
