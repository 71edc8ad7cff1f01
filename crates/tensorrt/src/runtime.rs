//! A plan to an engine, and an engine onto a CUDA stream.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use crate::error::TensorRtError;
use crate::ffi::{ErrorText, OK, RawContext, RawEngine, RawRuntime, TensorInfo};
use crate::library::TensorRt;

/// What a tensor's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Another, by `nvinfer1::DataType`'s number.
    Other(i32),
}

/// An input or output of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in the ONNX model.
    pub name: String,
    /// Input or output.
    pub is_input: bool,
    /// Its elements.
    pub element: ElementType,
    /// Row by row, without padding or vectors of channels.
    pub is_linear: bool,
    /// Its shape.
    pub shape: Vec<i64>,
}

/// What loads plans.
#[derive(Debug, Clone)]
pub struct Runtime {
    inner: Arc<RuntimeHandle>,
}

#[derive(Debug)]
struct RuntimeHandle {
    library: TensorRt,
    raw: *mut RawRuntime,
}

/// A plan, loaded on the device.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<EngineHandle>,
}

#[derive(Debug)]
struct EngineHandle {
    runtime: Runtime,
    raw: *mut RawEngine,
}

/// An engine's working state: one inference at a time.
#[derive(Debug)]
pub struct Context {
    engine: Engine,
    raw: *mut RawContext,
    /// Kept from call to call, so that an inference allocates nothing.
    error: Box<ErrorText>,
}

// SAFETY: TensorRT's objects are bound to no thread. Runtimes and engines may be used from several
// at a time (NvInferRuntime.h: thread-safe but for setters, of which none is offered here).
unsafe impl Send for RuntimeHandle {}
// SAFETY: as above.
unsafe impl Sync for RuntimeHandle {}
// SAFETY: as above.
unsafe impl Send for EngineHandle {}
// SAFETY: as above.
unsafe impl Sync for EngineHandle {}
// SAFETY: a context may move between threads; `&mut self` keeps it to one at a time.
unsafe impl Send for Context {}

impl TensorRt {
    /// What loads plans, onto a DLA core where one is given.
    ///
    /// # Errors
    /// When TensorRT makes none: on a machine without a driver, say.
    pub fn runtime(&self, dla_core: Option<u32>) -> Result<Runtime, TensorRtError> {
        let core = match dla_core {
            Some(core) => i32::try_from(core).map_err(|_| {
                TensorRtError::Unsupported("there is no DLA core of that number".into())
            })?,
            None => -1,
        };
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the entry points are this library's, the shim is its own.
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
    /// Loads a plan on the current CUDA device.
    ///
    /// The plan is trusted: TensorRT checks a plan's version and device, and no more. Whoever
    /// calls has compared its SHA-256 and its key ([`crate::PlanCache`]).
    ///
    /// # Errors
    /// When it is of another version or device, or there is no device.
    pub fn load(&self, plan: &[u8]) -> Result<Engine, TensorRtError> {
        let library = &self.inner.library;
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the runtime lives; the plan is `len` bytes long and not needed after the call.
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
    /// When TensorRT does not tell.
    pub fn tensors(&self) -> Result<Vec<Tensor>, TensorRtError> {
        let functions = self.library().functions();
        // SAFETY: the engine lives.
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
                // SAFETY: the engine lives; `info` is the shim's to fill.
                let status =
                    unsafe { (functions.engine_tensor)(self.inner.raw, index, &raw mut info) };
                if status != OK || info.name.is_null() {
                    return Err(TensorRtError::Failed {
                        doing: "asking for the engine's tensors",
                        reason: format!("tensor {index} has no name"),
                    });
                }
                // SAFETY: the name lives as long as the engine, and ends in zero.
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

    /// The layers that TensorRT made, as its own JSON: names, precisions, tactics. In full for a
    /// plan built with [`crate::BuildOptions::detailed`], the names alone without.
    ///
    /// # Errors
    /// When TensorRT gives none.
    pub fn report(&self) -> Result<String, TensorRtError> {
        unsafe extern "C" fn keep(user: *mut c_void, text: *const c_char) {
            // SAFETY: `user` is the string below; the text ends in zero and lives through the call.
            unsafe {
                *user.cast::<String>() = CStr::from_ptr(text).to_string_lossy().into_owned();
            }
        }
        let mut report = String::new();
        let mut error = ErrorText::new();
        // SAFETY: the engine lives; `keep` writes to `report` during the call only.
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

    /// State for one inference at a time.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn context(&self) -> Result<Context, TensorRtError> {
        let mut raw = ptr::null_mut();
        let mut error = ErrorText::new();
        // SAFETY: the engine lives, and is kept by the context.
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
    /// Says where a tensor is.
    ///
    /// # Errors
    /// When the engine has no such tensor.
    ///
    /// # Safety
    /// `address` is memory that the device reaches, as large as the tensor and aligned to 256
    /// bytes, until every inference enqueued with it has ended.
    pub unsafe fn bind(&mut self, tensor: &str, address: *mut c_void) -> Result<(), TensorRtError> {
        let name = CString::new(tensor).map_err(|_| TensorRtError::Failed {
            doing: "binding a tensor",
            reason: "its name has a zero in it".into(),
        })?;
        let mut error = ErrorText::new();
        // SAFETY: the context lives; the caller vouches for the address.
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

    /// Puts one inference into `stream` and returns at once.
    ///
    /// # Errors
    /// When TensorRT could not; errors of the work itself show when the stream is waited for.
    ///
    /// # Safety
    /// `stream` is a `CUstream` of the current context; every tensor is bound, and nobody else
    /// touches their memory until the work is done.
    pub unsafe fn enqueue(&mut self, stream: *mut c_void) -> Result<(), TensorRtError> {
        let functions = self.engine.library().functions();
        // SAFETY: the context lives; the caller vouches for stream and memory.
        let status = unsafe { (functions.context_enqueue)(self.raw, stream, &raw mut *self.error) };
        TensorRt::failure(status, "starting the inference", &self.error)
    }
}

impl Drop for RuntimeHandle {
    fn drop(&mut self) {
        // SAFETY: made by the shim, freed once, after all its engines: they keep it.
        unsafe { (self.library.functions().runtime_free)(self.raw) }
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        // SAFETY: made by the shim, freed once, after all its contexts: they keep it.
        unsafe { (self.runtime.inner.library.functions().engine_free)(self.raw) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by the shim, freed once; the caller of `enqueue` has waited for its work.
        unsafe { (self.engine.library().functions().context_free)(self.raw) }
    }
}
