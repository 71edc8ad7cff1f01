//! The CUDA driver's functions, loaded at run time.
//!
//! cudarc provides the driver's types. Its calls are not used: they panic when a function is missing,
//! and they represent results as an `enum` of one version's error codes, although a newer driver may
//! return others. This module looks up every function before the first call, and represents a result
//! as an integer.

#![allow(unsafe_code, non_snake_case)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdeviceptr, CUevent, CUgraph, CUgraphExec, CUgraphNode, CUstream,
};
use libloading::Library;

use crate::cuda_error::CudaError;
use crate::loader::loader_message;

/// A `CUresult`, as an integer.
pub(crate) type Status = i32;

/// Result codes of cuda.h.
pub(crate) const SUCCESS: Status = 0;
pub(crate) const NO_DEVICE: Status = 100;
pub(crate) const NOT_READY: Status = 600;

macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        /// The functions that this crate calls. The driver of CUDA 10.2 (JetPack 4.6) has them all.
        pub(crate) struct Driver {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> Status,)*
            release: unsafe extern "C" fn(CUdevice) -> Status,
            instantiate: Instantiate,
        }

        impl Driver {
            /// The system's driver, loaded once.
            pub(crate) fn get() -> Result<&'static Self, CudaError> {
                static DRIVER: OnceLock<Driver> = OnceLock::new();
                if let Some(driver) = DRIVER.get() {
                    return Ok(driver);
                }
                let library = open()?;
                let driver = Self {
                    $(
                        // SAFETY: cuda.h declares this signature since CUDA 10.2, and gives a
                        // function with another signature a new name. A C enum is an int.
                        $name: *unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) }
                            .map_err(|_| CudaError::NoSymbol { symbol: stringify!($name) })?,
                    )*
                    release: release(&library)?,
                    instantiate: Instantiate::of(&library)?,
                };
                // The functions must stay loaded until the process ends. A driver that lacks one is
                // closed.
                std::mem::forget(library);
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

/// The names of the driver's library. The second is installed by CUDA's packages for development, and
/// may be a stub without a driver behind it.
const LIBRARIES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

fn open() -> Result<Library, CudaError> {
    let mut reasons = Vec::new();
    for name in LIBRARIES {
        // SAFETY: this loads the system's driver library, whose initializers expect nothing of the
        // process.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(error) => reasons.push(loader_message(&error)),
        }
    }
    Err(CudaError::NoDriver {
        reason: reasons.join("; "),
    })
}

/// `cuDevicePrimaryCtxRelease`, by its name since CUDA 11.0 or by the earlier one. The signature is the
/// same.
fn release(library: &Library) -> Result<unsafe extern "C" fn(CUdevice) -> Status, CudaError> {
    let symbol = "cuDevicePrimaryCtxRelease_v2";
    // SAFETY: cuda.h declares this signature for both names.
    unsafe {
        library
            .get(symbol)
            .or_else(|_| library.get("cuDevicePrimaryCtxRelease"))
            .map(|function| *function)
            .map_err(|_| CudaError::NoSymbol { symbol })
    }
}

/// The function that prepares a graph for launches.
enum Instantiate {
    /// `cuGraphInstantiateWithFlags`, since CUDA 11.4.
    WithFlags(unsafe extern "C" fn(*mut CUgraphExec, CUgraph, u64) -> Status),
    /// `cuGraphInstantiate` of CUDA 10 and 11. It reports the node of an error and a text, in a buffer
    /// of the given size, where the caller wants them.
    WithLog(
        unsafe extern "C" fn(
            *mut CUgraphExec,
            CUgraph,
            *mut CUgraphNode,
            *mut c_char,
            usize,
        ) -> Status,
    ),
}

impl Instantiate {
    fn of(library: &Library) -> Result<Self, CudaError> {
        let symbol = "cuGraphInstantiateWithFlags";
        // SAFETY: cuda.h declares these signatures for these names. CUDA 12 has another function of the
        // second name, but the first name too.
        unsafe {
            library
                .get(symbol)
                .map(|function| Self::WithFlags(*function))
                .or_else(|_| {
                    library
                        .get("cuGraphInstantiate")
                        .map(|function| Self::WithLog(*function))
                })
                .map_err(|_| CudaError::NoSymbol { symbol })
        }
    }
}

impl Driver {
    /// Releases the primary context of `device`.
    ///
    /// # Safety
    /// The context is retained, and is not used after its last release.
    pub(crate) unsafe fn release_primary_context(&self, device: CUdevice) -> Status {
        // SAFETY: by the contract of this function.
        unsafe { (self.release)(device) }
    }

    /// Prepares `graph` for launches, and writes the result to `executable`.
    ///
    /// # Safety
    /// `executable` is valid for a write, and `graph` is a graph of this driver.
    pub(crate) unsafe fn instantiate(
        &self,
        executable: *mut CUgraphExec,
        graph: CUgraph,
    ) -> Status {
        // SAFETY: by the contract of this function. The node and the text are not asked for.
        unsafe {
            match self.instantiate {
                Instantiate::WithFlags(function) => function(executable, graph, 0),
                Instantiate::WithLog(function) => {
                    function(executable, graph, ptr::null_mut(), ptr::null_mut(), 0)
                }
            }
        }
    }

    /// Converts the status of a call to a result; `doing` names the operation for the error.
    pub(crate) fn done(&self, doing: &'static str, status: Status) -> Result<(), CudaError> {
        if status == SUCCESS {
            return Ok(());
        }
        let text_of = |function: unsafe extern "C" fn(Status, *mut *const c_char) -> Status| {
            let mut text = ptr::null();
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
