//! The shim's C interface, as declared in `shim/shim.h`.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

use libloading::Library;

/// `TENSORRT_RS_SHIM_ABI`.
pub(crate) const ABI: u32 = 3;

pub(crate) const OK: i32 = 0;
pub(crate) const PARSE: i32 = 2;
pub(crate) const NO_FAST_INT8: i32 = 3;
pub(crate) const CANCELLED: i32 = 4;
pub(crate) const UNSUPPORTED: i32 = 5;

pub(crate) const FP16: u32 = 1;
pub(crate) const INT8: u32 = 2;
pub(crate) const DETAILED: u32 = 4;
pub(crate) const STRONGLY_TYPED: u32 = 8;
pub(crate) const SPARSE_WEIGHTS: u32 = 16;

pub(crate) const BY_FLAGS: i32 = 0;
pub(crate) const EITHER: i32 = 1;

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShimInfo {
    pub abi: u32,
    pub product: i32,
    pub version: i32,
    pub parser_version: i32,
    pub typing: i32,
}

#[repr(C)]
#[derive(Debug)]
pub(crate) struct ErrorText {
    pub message: [c_char; 2048],
    pub node: i32,
    pub name: [c_char; 256],
    pub operator: [c_char; 64],
}

impl ErrorText {
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            message: [0; 2048],
            node: -1,
            name: [0; 256],
            operator: [0; 64],
        })
    }
}

/// Reads a C string from a buffer, up to the NUL or the end of the buffer.
pub(crate) fn text(buffer: &[c_char]) -> String {
    #[expect(
        clippy::cast_sign_loss,
        reason = "c_char is signed on some targets; bits are kept"
    )]
    let bytes: Vec<u8> = buffer
        .iter()
        .map(|&byte| byte as u8)
        .take_while(|&byte| byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

pub(crate) type LogFn = unsafe extern "C" fn(*mut c_void, i32, *const c_char);
pub(crate) type ProgressFn =
    unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, i32, i32) -> i32;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entries {
    pub create_builder: *mut c_void,
    pub create_runtime: *mut c_void,
    pub create_parser: *mut c_void,
    pub log: Option<LogFn>,
    pub user: *mut c_void,
}

#[repr(C)]
pub(crate) struct Build {
    pub model: *const c_void,
    pub model_size: usize,
    pub flags: u32,
    pub dla_core: i32,
    pub workspace: usize,
    pub timing_cache: *const c_void,
    pub timing_cache_size: usize,
    pub compute_capabilities: *const i32,
    pub compute_capability_count: i32,
    pub progress: Option<ProgressFn>,
    pub progress_user: *mut c_void,
}

#[repr(C)]
pub(crate) struct TensorInfo {
    pub name: *const c_char,
    pub is_input: i32,
    pub element: i32,
    pub format: i32,
    pub rank: i32,
    pub dims: [i64; 8],
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        pub(crate) struct $name {
            _private: [u8; 0],
        }
    )*};
}
opaque!(Bytes, RawRuntime, RawEngine, RawContext);

pub(crate) type Describe = unsafe extern "C" fn() -> *const ShimInfo;

/// Declares the table of the shim's functions, and its loading by name.
macro_rules! functions {
    ($($field:ident = $symbol:literal : fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[derive(Clone, Copy)]
        pub(crate) struct Functions {
            $(pub $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Functions {
            /// Looks up the functions of a shim. The error names the first missing one.
            ///
            /// # Safety
            /// `shim` must have reported the interface [`ABI`], and must never be closed.
            pub(crate) unsafe fn load(shim: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    // SAFETY: in the interface `ABI` the functions have these signatures.
                    $($field: unsafe { shim.get(concat!($symbol, "\0")) }
                        .map(|symbol: libloading::Symbol<'_, _>| *symbol)
                        .map_err(|_| $symbol)?,)*
                })
            }
        }
    };
}

functions! {
    build_plan = "tensorrt_rs_build_plan": fn(*const Entries, *const Build, *mut *mut Bytes, *mut *mut Bytes, *mut ErrorText) -> i32;
    bytes_data = "tensorrt_rs_bytes_data": fn(*const Bytes, *mut usize) -> *const c_void;
    bytes_free = "tensorrt_rs_bytes_free": fn(*mut Bytes);
    runtime_new = "tensorrt_rs_runtime_new": fn(*const Entries, i32, *mut *mut RawRuntime, *mut ErrorText) -> i32;
    runtime_free = "tensorrt_rs_runtime_free": fn(*mut RawRuntime);
    engine_new = "tensorrt_rs_engine_new": fn(*mut RawRuntime, *const c_void, usize, *mut *mut RawEngine, *mut ErrorText) -> i32;
    engine_free = "tensorrt_rs_engine_free": fn(*mut RawEngine);
    engine_tensors = "tensorrt_rs_engine_tensors": fn(*const RawEngine) -> i32;
    engine_tensor = "tensorrt_rs_engine_tensor": fn(*const RawEngine, i32, *mut TensorInfo) -> i32;
    engine_report = "tensorrt_rs_engine_report": fn(*const RawEngine, unsafe extern "C" fn(*mut c_void, *const c_char), *mut c_void, *mut ErrorText) -> i32;
    context_new = "tensorrt_rs_context_new": fn(*mut RawEngine, *mut *mut RawContext, *mut ErrorText) -> i32;
    context_free = "tensorrt_rs_context_free": fn(*mut RawContext);
    context_bind = "tensorrt_rs_context_bind": fn(*mut RawContext, *const c_char, *mut c_void, *mut ErrorText) -> i32;
    context_enqueue = "tensorrt_rs_context_enqueue": fn(*mut RawContext, *mut c_void, *mut ErrorText) -> i32;
}

/// What is extracted from the messages of a build.
#[derive(Default)]
pub(crate) struct Listening {
    /// The layers of the finished engine, as logged by the builder.
    pub layers: Mutex<Option<String>>,
}

/// The first line of the message in which the builder logs the engine's layers: TensorRT since
/// version 8, and TensorRT-RTX. (The engine inspector reports the same, but only for an engine
/// that is loaded on a device.)
const LAYERS: [&str; 2] = ["Engine Layer Information:", "Layers:"];

/// Passes TensorRT's messages to the `log` crate. TensorRT's severity "info" becomes debug.
/// `user` is a [`Listening`], or null.
pub(crate) unsafe extern "C" fn log_message(
    user: *mut c_void,
    severity: i32,
    message: *const c_char,
) {
    let level = match severity {
        ..=1 => log::Level::Error,
        2 => log::Level::Warn,
        3 => log::Level::Debug,
        _ => log::Level::Trace,
    };
    if message.is_null() {
        return;
    }
    // SAFETY: the shim passes a NUL-terminated string that lives until the call returns.
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    log::log!(target: "tensorrt", level, "{message}");
    let layers = LAYERS.iter().find_map(|start| message.strip_prefix(start));
    let Some(layers) = layers.filter(|_| !user.is_null()) else {
        return;
    };
    // SAFETY: `user` is a `Listening`. `TensorRt::build`, which passes it, keeps it alive until the
    // call into the library returns.
    let listening = unsafe { &*user.cast::<Listening>() };
    if let Ok(mut kept) = listening.layers.lock() {
        *kept = Some(layers.trim().to_owned());
    }
}
