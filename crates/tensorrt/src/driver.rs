//! The CUDA driver's functions, loaded at run time.
//!
//! cudarc loads the library and provides its types. cudarc's calls are not used: they panic when
//! a function is missing, and they represent results as an `enum` of one version's error codes,
//! although a newer driver may return others. This module looks up every function before the first
//! call, and represents a result as an integer.

#![allow(unsafe_code, non_snake_case)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdeviceptr, CUevent, CUgraph, CUgraphExec, CUstream,
};

use crate::device::CudaError;

/// A `CUresult`, as an integer.
pub(crate) type Status = i32;

/// Result codes of cuda.h.
pub(crate) const SUCCESS: Status = 0;
pub(crate) const NO_DEVICE: Status = 100;
pub(crate) const NOT_READY: Status = 600;

macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The functions that this crate calls. The driver of CUDA 11.4 (JetPack 5.1) has them all.
        pub(crate) struct Driver {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> Status,)*
        }

        impl Driver {
            /// The system's driver, loaded once.
            pub(crate) fn get() -> Result<&'static Self, CudaError> {
                static DRIVER: OnceLock<Driver> = OnceLock::new();
                if let Some(driver) = DRIVER.get() {
                    return Ok(driver);
                }
                // SAFETY: this loads the system's driver library, whose initialisers expect nothing
                // of the process.
                if !unsafe { sys::is_culib_present() } {
                    return Err(CudaError::NoDriver);
                }
                // SAFETY: as above.
                let library = unsafe { sys::culib() };
                let driver = Self {
                    $(
                        // SAFETY: cuda.h declares this signature since CUDA 11.4, and gives a
                        // function with another signature a new name. A C enum is an int.
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
    /// Converts the status of a call to a result; `doing` names the operation for the error.
    pub(crate) fn done(&self, doing: &'static str, status: Status) -> Result<(), CudaError> {
        if status == SUCCESS {
            return Ok(());
        }
        let text_of = |function: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut text = std::ptr::null();
            // SAFETY: the call writes one pointer: to a constant of the driver, or null.
            let found = unsafe { function(status, &raw mut text) } == SUCCESS && !text.is_null();
            // SAFETY: the constant is a NUL-terminated string and lives as long as the driver.
            found.then(|| {
                unsafe { CStr::from_ptr(text) }
                    .to_string_lossy()
                    .into_owned()
            })
        };
        Err(CudaError::Call {
            doing,
            code: status,
            name: text_of(self.cuGetErrorName).unwrap_or_else(|| format!("CUDA error {status}")),
            reason: text_of(self.cuGetErrorString)
                .unwrap_or_else(|| "this driver has no words for it".into()),
        })
    }
}
