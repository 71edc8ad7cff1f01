//! Loads a plan as an engine, and runs an engine on a CUDA stream.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use crate::error::TensorRtError;
use crate::ffi::{ErrorText, OK, RawContext, RawEngine, RawRuntime, TensorInfo};
use crate::library::TensorRt;
use crate::trust::TrustedBytes;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Signed bytes.
    I8,
    /// 32-bit integers.
    I32,
    /// Unsigned bytes.
    U8,
    /// Another type, as the number of `nvinfer1::DataType`.
    Other(i32),
}

impl ElementType {
    /// The size of an element in bytes; `None` for a type that this crate does not know.
    #[must_use]
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::F32 | Self::I32 => Some(4),
            Self::F16 => Some(2),
            Self::I8 | Self::U8 => Some(1),
            Self::Other(_) => None,
        }
    }
}

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The tensor's name in the ONNX model.
    pub name: String,
    /// Whether the tensor is an input; otherwise it is an output.
    pub is_input: bool,
    /// The type of the elements.
    pub element: ElementType,
    /// Whether the elements are stored row by row, without padding or vectors of channels.
    pub is_linear: bool,
    /// The tensor's shape.
    pub shape: Vec<i64>,
}

/// A TensorRT runtime, which loads plans.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<RuntimeHandle>,
}

#[derive(Debug)]
struct RuntimeHandle {
    library: TensorRt,
    raw: *mut RawRuntime,
}

/// A plan that is loaded on the device.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<EngineHandle>,
}

#[derive(Debug)]
struct EngineHandle {
    runtime: Runtime,
    raw: *mut RawEngine,
}

/// An execution context of an engine. It runs one inference at a time.
#[derive(Debug)]
pub struct Context {
    engine: Engine,
    raw: *mut RawContext,
    /// Reused by every call, so that an inference does not allocate.
    error: Box<ErrorText>,
}

// SAFETY: TensorRT's objects are not bound to a thread. Runtimes and engines may be used from
// several threads at a time: by NvInferRuntime.h they are thread-safe except for setters, and this
// module calls none after `TensorRt::runtime` has returned.
unsafe impl Send for RuntimeHandle {}
// SAFETY: as above.
unsafe impl Sync for RuntimeHandle {}
// SAFETY: as above.
unsafe impl Send for EngineHandle {}
// SAFETY: as above.
unsafe impl Sync for EngineHandle {}
// SAFETY: a context may move between threads, and `&mut self` excludes concurrent use.
unsafe impl Send for Context {}

impl TensorRt {
    /// Creates a runtime. With `dla_core` it loads plans on that DLA core.
    ///
    /// # Errors
    /// When TensorRT creates no runtime, for example on a machine without a driver.
    pub fn runtime(&self, dla_core: Option<u32>) -> Result<Runtime, TensorRtError> {
        let core = match dla_core {
            Some(core) => i32::try_from(core).map_err(|_| {
                TensorRtError::Unsupported("there is no DLA core of that number".into())
            })?,
            None => -1,
        };
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the entry points belong to this library, and the shim was compiled for it.
        let status = unsafe {
            (self.functions().runtime_new)(self.entries(), core, &raw mut raw, &raw mut *error)
        };
        Self::failure(status, "starting TensorRT", &error)?;
        Ok(Runtime {
            inner: Arc::new(RuntimeHandle {
                library: self.clone(),
                raw,
            }),
        })
    }
}

impl Runtime {
    /// Loads a plan on the device that is current on this thread ([`crate::Device::use_here`]), whose
    /// [`crate::Device`] must outlive the engine. The plan should be known to be whole, and to be built
    /// for this device and this library: TensorRT checks only a part of that. A [`crate::Session`] sees
    /// to the device itself.
    ///
    /// # Errors
    /// When the plan is for another version or device, or there is no device.
    pub fn load(&self, plan: &TrustedBytes) -> Result<Engine, TensorRtError> {
        let library = &self.inner.library;
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the runtime is alive. The plan has `len` bytes and is not used after the call.
        let status = unsafe {
            (library.functions().engine_new)(
                self.inner.raw,
                plan.as_ptr().cast(),
                plan.len(),
                &raw mut raw,
                &raw mut *error,
            )
        };
        TensorRt::failure(status, "loading the plan", &error)?;
        Ok(Engine {
            inner: Arc::new(EngineHandle {
                runtime: self.clone(),
                raw,
            }),
        })
    }
}

impl Engine {
    fn library(&self) -> &TensorRt {
        &self.inner.runtime.inner.library
    }

    /// The engine's inputs and outputs, in the model's order.
    ///
    /// # Errors
    /// When TensorRT does not describe a tensor.
    pub fn tensors(&self) -> Result<Vec<Tensor>, TensorRtError> {
        let functions = self.library().functions();
        // SAFETY: the engine is alive.
        let count = unsafe { (functions.engine_tensors)(self.inner.raw) };
        (0..count)
            .map(|index| {
                let mut info = TensorInfo {
                    name: ptr::null(),
                    is_input: 0,
                    element: 0,
                    format: 0,
                    rank: 0,
                    dims: [0; 8],
                };
                // SAFETY: the engine is alive. The shim writes to `info` during the call only.
                let status =
                    unsafe { (functions.engine_tensor)(self.inner.raw, index, &raw mut info) };
                if status != OK || info.name.is_null() {
                    return Err(TensorRtError::Failed {
                        doing: "asking for the engine's tensors",
                        reason: format!("tensor {index} has no name or no valid shape"),
                    });
                }
                // SAFETY: the name is a NUL-terminated string and lives as long as the engine.
                let name = unsafe { CStr::from_ptr(info.name) };
                let rank = usize::try_from(info.rank).unwrap_or(0).min(info.dims.len());
                Ok(Tensor {
                    name: name.to_string_lossy().into_owned(),
                    is_input: info.is_input != 0,
                    element: match info.element {
                        0 => ElementType::F32,
                        1 => ElementType::F16,
                        2 => ElementType::I8,
                        3 => ElementType::I32,
                        5 => ElementType::U8,
                        other => ElementType::Other(other),
                    },
                    is_linear: info.format == 0,
                    shape: info.dims.iter().take(rank).copied().collect(),
                })
            })
            .collect()
    }

    /// The engine's layers in TensorRT's JSON format: names, precisions, tactics. A plan that was
    /// built without [`crate::BuildOptions::detailed`] has the names only.
    ///
    /// # Errors
    /// When TensorRT returns no report.
    pub fn report(&self) -> Result<String, TensorRtError> {
        unsafe extern "C" fn keep(user: *mut c_void, text: *const c_char) {
            // SAFETY: `user` is the string `report` below. `text` is a NUL-terminated string that
            // lives during the call.
            unsafe {
                *user.cast::<String>() = CStr::from_ptr(text).to_string_lossy().into_owned();
            }
        }
        let mut report = String::new();
        let mut error = ErrorText::new();
        // SAFETY: the engine is alive. `keep` writes to `report` during the call only.
        let status = unsafe {
            (self.library().functions().engine_report)(
                self.inner.raw,
                keep,
                ptr::from_mut(&mut report).cast(),
                &raw mut *error,
            )
        };
        TensorRt::failure(status, "asking for the layer report", &error)?;
        Ok(report)
    }

    /// Creates an execution context.
    ///
    /// # Errors
    /// When the device has too little memory.
    pub fn context(&self) -> Result<Context, TensorRtError> {
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the engine is alive, and the context keeps it alive.
        let status = unsafe {
            (self.library().functions().context_new)(self.inner.raw, &raw mut raw, &raw mut *error)
        };
        TensorRt::failure(status, "making an execution context", &error)?;
        Ok(Context {
            engine: self.clone(),
            raw,
            error,
        })
    }
}

impl Context {
    /// Sets the address of a tensor.
    ///
    /// # Errors
    /// When the engine has no such tensor.
    ///
    /// # Safety
    /// `address` must point to memory that the device can access, that is as large as the tensor
    /// and aligned to 256 bytes. The memory must stay valid until every inference that was enqueued
    /// with it has finished. No inference may be in flight.
    pub unsafe fn bind(&mut self, tensor: &str, address: *mut c_void) -> Result<(), TensorRtError> {
        let name = CString::new(tensor).map_err(|_| TensorRtError::Failed {
            doing: "binding a tensor",
            reason: "its name has a zero in it".into(),
        })?;
        let mut error = ErrorText::new();
        // SAFETY: the context is alive. The contract of this function covers the address.
        let status = unsafe {
            (self.engine.library().functions().context_bind)(
                self.raw,
                name.as_ptr(),
                address,
                &raw mut *error,
            )
        };
        TensorRt::failure(status, "binding a tensor", &error)
    }

    /// Enqueues one inference on `stream` and returns without waiting for it.
    ///
    /// # Errors
    /// When TensorRT cannot enqueue it. Errors of the inference itself are reported by the wait for
    /// the stream.
    ///
    /// # Safety
    /// `stream` must be a `CUstream` of the current CUDA context, whose device must be the one that the
    /// plan was loaded on. Every tensor must be bound, and their memory must not be accessed until the
    /// inference has finished. Until then the context must not be bound, enqueued again or dropped,
    /// also if this call returns an error.
    pub unsafe fn enqueue(&mut self, stream: *mut c_void) -> Result<(), TensorRtError> {
        let functions = self.engine.library().functions();
        // SAFETY: the context is alive. The contract of this function covers stream and memory.
        let status = unsafe { (functions.context_enqueue)(self.raw, stream, &raw mut *self.error) };
        TensorRt::failure(status, "starting the inference", &self.error)
    }
}

impl Drop for RuntimeHandle {
    fn drop(&mut self) {
        // SAFETY: the shim created the runtime, and it is freed here once. Its engines hold a
        // reference, so they have been freed before.
        unsafe { (self.library.functions().runtime_free)(self.raw) }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        // SAFETY: the shim created the engine, and it is freed here once. Its contexts hold a
        // reference, so they have been freed before.
        unsafe { (self.runtime.inner.library.functions().engine_free)(self.raw) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the shim created the context, and it is freed here once. The caller of `enqueue`
        // has waited for its work.
        unsafe { (self.engine.library().functions().context_free)(self.raw) }
    }
}
