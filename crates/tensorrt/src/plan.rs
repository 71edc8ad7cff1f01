//! ONNX to a serialized plan.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;
use std::sync::Mutex;

use crate::error::TensorRtError;
use crate::ffi::{self, Build, Bytes, ErrorText, Listening};
use crate::library::TensorRt;

/// How far the build is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What TensorRT calls the phase.
    pub phase: &'a str,
    /// Steps of the phase that are done.
    pub done: u32,
    /// Steps of the phase.
    pub steps: u32,
}

/// How a plan is built.
#[derive(Default)]
pub struct BuildOptions<'a> {
    /// Layers may run in FP16. Only where the library is not strongly typed.
    pub fp16: bool,
    /// Layers may run in INT8. Only where the library is not strongly typed.
    pub int8: bool,
    /// Memory that a layer may work in, bytes; none: the library's own choice.
    pub workspace: Option<usize>,
    /// Run what it can on this DLA core, the rest on the GPU.
    pub dla_core: Option<u32>,
    /// [`Plan::timing_cache`] of an earlier build on the same device.
    pub timing_cache: Option<&'a [u8]>,
    /// Devices to build for, as 86 for 8.6: TensorRT-RTX only; empty: this machine's.
    pub compute_capabilities: &'a [u16],
    /// Keep what [`crate::Engine::report`] tells of each layer, and fill [`Plan::layers`].
    pub detailed: bool,
    /// Told of each step, from TensorRT's threads; `false` cancels the build. Silent before
    /// TensorRT 10.
    pub progress: Option<&'a (dyn Fn(Progress<'_>) -> bool + Sync)>,
}

/// What a build gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The serialized engine, for one version of TensorRT and one kind of device.
    pub bytes: Vec<u8>,
    /// The times measured on this device, to make the next build quicker.
    pub timing_cache: Option<Vec<u8>>,
    /// The engine's layers and the types they compute in, in the builder's own words, which are
    /// others in each version. With [`BuildOptions::detailed`].
    pub layers: Option<String>,
}

impl TensorRt {
    /// Builds `model`, an ONNX file's content. This takes from a second to minutes.
    ///
    /// # Errors
    /// When the model cannot be parsed (the node is named), the options do not fit the library or
    /// the device, or the build fails.
    pub fn build(&self, model: &[u8], options: &BuildOptions<'_>) -> Result<Plan, TensorRtError> {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let unsupported = |what: &str| TensorRtError::Unsupported(what.into());
        let capabilities: Vec<i32> = options
            .compute_capabilities
            .iter()
            .map(|&capability| capability.into())
            .collect();
        let listener = options.progress.map(Listener::new);
        let cache = options.timing_cache.unwrap_or_default();
        let request = Build {
            model: model.as_ptr().cast(),
            model_size: model.len(),
            flags: flag(options.fp16, ffi::FP16)
                | flag(options.int8, ffi::INT8)
                | flag(options.detailed, ffi::DETAILED),
            dla_core: match options.dla_core {
                Some(core) => i32::try_from(core)
                    .map_err(|_| unsupported("there is no DLA core of that number"))?,
                None => -1,
            },
            workspace: options.workspace.unwrap_or(0),
            timing_cache: if cache.is_empty() {
                ptr::null()
            } else {
                cache.as_ptr().cast()
            },
            timing_cache_size: cache.len(),
            compute_capabilities: capabilities.as_ptr(),
            compute_capability_count: i32::try_from(capabilities.len())
                .map_err(|_| unsupported("too many compute capabilities"))?,
            progress: listener.as_ref().map(|_| Listener::call as ffi::ProgressFn),
            progress_user: listener.as_ref().map_or(ptr::null_mut(), |listener| {
                ptr::from_ref(listener).cast_mut().cast()
            }),
        };
        let (mut plan, mut times) = (ptr::null_mut(), ptr::null_mut());
        let mut error = ErrorText::new();
        let listening = Listening::default();
        let mut entries = *self.entries();
        if options.detailed {
            entries.user = ptr::from_ref(&listening).cast_mut().cast();
        }
        // SAFETY: every pointer in `request` and `entries` outlives the call; the shim is the library's own.
        let status = unsafe {
            (self.functions().build_plan)(
                &raw const entries,
                &raw const request,
                &raw mut plan,
                &raw mut times,
                &raw mut *error,
            )
        };
        Self::failure(status, "building the plan", &error)?;
        let bytes = self.take(plan).unwrap_or_default();
        if bytes.is_empty() {
            return Err(TensorRtError::Failed {
                doing: "building the plan",
                reason: "TensorRT gave an empty plan".into(),
            });
        }
        Ok(Plan {
            bytes,
            timing_cache: self.take(times),
            layers: listening.layers.into_inner().unwrap_or_default(),
        })
    }

    /// Copies the library's bytes and gives them back.
    fn take(&self, bytes: *mut Bytes) -> Option<Vec<u8>> {
        if bytes.is_null() {
            return None;
        }
        let mut size = 0;
        // SAFETY: `bytes` is one of the shim's, not yet freed; its memory is `size` long.
        unsafe {
            let data = (self.functions().bytes_data)(bytes, &raw mut size);
            let copy = if data.is_null() {
                Vec::new()
            } else {
                slice::from_raw_parts(data.cast::<u8>(), size).to_vec()
            };
            (self.functions().bytes_free)(bytes);
            Some(copy)
        }
    }
}

/// The caller's progress function, and the number of steps that each open phase was said to have.
struct Listener<'a> {
    tell: &'a (dyn Fn(Progress<'_>) -> bool + Sync),
    steps: Mutex<HashMap<String, u32>>,
}

impl<'a> Listener<'a> {
    fn new(tell: &'a (dyn Fn(Progress<'_>) -> bool + Sync)) -> Self {
        Self {
            tell,
            steps: Mutex::default(),
        }
    }

    /// What the shim calls, from any of TensorRT's threads.
    unsafe extern "C" fn call(
        user: *mut c_void,
        phase: *const c_char,
        _parent: *const c_char,
        done: i32,
        steps: i32,
    ) -> i32 {
        // SAFETY: `user` is the listener that `build` holds; `phase` is a string that ends in zero.
        let (listener, phase) = unsafe { (&*user.cast::<Listener<'_>>(), CStr::from_ptr(phase)) };
        // A panic must not unwind into C++: it cancels the build.
        let goes_on = catch_unwind(AssertUnwindSafe(|| {
            listener.hear(&phase.to_string_lossy(), done, steps)
        }));
        i32::from(goes_on.unwrap_or(false))
    }

    /// `steps` is -1 for a step within a phase, 0 when the phase has ended.
    fn hear(&self, phase: &str, done: i32, steps: i32) -> bool {
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let all = {
            let mut open = match self.steps.lock() {
                Ok(open) => open,
                Err(poisoned) => poisoned.into_inner(),
            };
            match steps {
                0 => {
                    open.remove(phase);
                    return true;
                }
                -1 => open.get(phase).copied().unwrap_or(0),
                _ => {
                    open.insert(phase.to_owned(), count(steps));
                    count(steps)
                }
            }
        };
        (self.tell)(Progress {
            phase,
            done: count(done),
            steps: all,
        })
    }
}
