//! The CUDA driver's functions, found at run time.
//!
//! cudarc finds and opens the library, and has its types. Its own calls are not used: they
//! panic on a function that is missing, and hold results to an `enum` of one version's error
//! codes, which a newer driver may leave. Here each function is looked for before any is
//! called, and a result is the number it is.

#![allow(unsafe_code, non_snake_case)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdeviceptr, CUevent, CUgraph, CUgraphExec, CUstream,
};

use crate::device::CudaError;

/// A `CUresult`.
pub(crate) type Status = i32;

/// Numbers of cuda.h.
pub(crate) const SUCCESS: Status = 0;
pub(crate) const NO_DEVICE: Status = 100;
pub(crate) const NOT_READY: Status = 600;

macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The functions that are called; all are in CUDA 11.4's driver, JetPack 5.1's.
        pub(crate) struct Driver {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Driver {
            /// The system's, loaded once.
            pub(crate) fn get() -> Result<&'static Self, CudaError> {
                static DRIVER: OnceLock<Driver> = OnceLock::new();
                if let Some(driver) = DRIVER.get() {
                    return Ok(driver);
                }
                // SAFETY: the system's driver library is loaded, as CUDA programs do.
                if !unsafe { sys::is_culib_present() } {
                    return Err(CudaError::NoDriver);
                }
                // SAFETY: as above.
                let library = unsafe { sys::culib() };
                let driver = Self {
                    $(
                        // SAFETY: cuda.h declares it so since CUDA 11.4, and changes functions
                        // only under new names; an enum of C's is an int.
                        $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                            .map_err(|_| CudaError::NoSymbol { symbol: stringify!($name) })?,
                    )*
                };
                Ok(DRIVER.get_or_init(|| driver))
            }
        }
    };
}

functions! {
    cuInit(c_uint);
    cuDriverGetVersion(*mut c_int);
    cuDeviceGet(*mut CUdevice, c_int);
    cuDeviceGetAttribute(*mut c_int, c_int, CUdevice);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGetName(*mut c_char, c_int, CUdevice);
    cuDevicePrimaryCtxRelease_v2(CUdevice);
    cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    cuCtxGetStreamPriorityRange(*mut c_int, *mut c_int);
    cuCtxSetCurrent(CUcontext);
    cuEventCreate(*mut CUevent, c_uint);
    cuEventDestroy_v2(CUevent);
    cuEventElapsedTime(*mut f32, CUevent, CUevent);
    cuEventQuery(CUevent);
    cuEventRecord(CUevent, CUstream);
    cuGetErrorName(Status, *mut *const c_char);
    cuGetErrorString(Status, *mut *const c_char);
    cuGraphDestroy(CUgraph);
    cuGraphExecDestroy(CUgraphExec);
    cuGraphInstantiateWithFlags(*mut CUgraphExec, CUgraph, u64);
    cuGraphLaunch(CUgraphExec, CUstream);
    cuMemAlloc_v2(*mut CUdeviceptr, usize);
    cuMemFreeHost(*mut c_void);
    cuMemFree_v2(CUdeviceptr);
    cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    cuMemHostGetDevicePointer_v2(*mut CUdeviceptr, *mut c_void, c_uint);
    cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuStreamBeginCapture_v2(CUstream, c_int);
    cuStreamCreateWithPriority(*mut CUstream, c_uint, c_int);
    cuStreamDestroy_v2(CUstream);
    cuStreamEndCapture(CUstream, *mut CUgraph);
}

impl Driver {
    /// What a call said, `doing` that.
    pub(crate) fn done(&self, doing: &'static str, status: Status) -> Result<(), CudaError> {
        if status == SUCCESS {
            return Ok(());
        }
        let words = |ask: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut text = std::ptr::null();
            // SAFETY: it writes one pointer: to a constant of the driver's, or null.
            let found = unsafe { ask(status, &raw mut text) } == SUCCESS && !text.is_null();
            // SAFETY: the constant ends in zero.
            found.then(|| {
                unsafe { CStr::from_ptr(text) }
                    .to_string_lossy()
                    .into_owned()
            })
        };
        Err(CudaError::Call {
            doing,
            code: status,
            name: words(self.cuGetErrorName).unwrap_or_else(|| format!("CUDA error {status}")),
            reason: words(self.cuGetErrorString)
                .unwrap_or_else(|| "this driver has no words for it".into()),
        })
    }
}
