//! Builds a serialized plan from an ONNX model.

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
use crate::trust::TrustedBytes;

/// The progress of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<'a> {
    /// TensorRT's name of the phase.
    pub phase: &'a str,
    /// The number of finished steps.
    pub done: u32,
    /// The number of steps of the phase.
    pub steps: u32,
}

/// How a plan is built.
#[derive(Default)]
pub struct BuildOptions<'a> {
    /// Each layer runs in the types of the model. Without effect where [`TensorRt::typing`] is
    /// [`Typing::ByModel`](crate::Typing::ByModel), an error where it is
    /// [`Typing::ByFlags`](crate::Typing::ByFlags).
    pub strongly_typed: bool,
    /// Layers may run in FP16. An error for networks that are strongly typed.
    pub fp16: bool,
    /// The model is quantized, and layers may run in INT8; the device must have fast INT8. An error
    /// where [`TensorRt::typing`] is [`Typing::ByModel`](crate::Typing::ByModel).
    pub int8: bool,
    /// The workspace limit of a layer, in bytes. `None`: the library's default.
    pub workspace: Option<usize>,
    /// Run the layers that it supports on this DLA core, and the rest on the GPU.
    pub dla_core: Option<u32>,
    /// Layers may use kernels that skip zeros, if two of each four neighbouring weights along the
    /// inputs are 0. TensorRT checks that itself; other layers are built as without this option.
    pub sparse_weights: bool,
    /// [`Plan::timing_cache`] of an earlier build on the same device.
    pub timing_cache: Option<&'a TrustedBytes>,
    /// The devices to build for, for example 86 for 8.6. TensorRT-RTX only. Empty: this machine's.
    pub compute_capabilities: &'a [u16],
    /// Keep the details of each layer for [`crate::Engine::report`], and fill [`Plan::layers`].
    pub detailed: bool,
    /// Called for each step, from TensorRT's threads. The result `false` cancels the build. Never
    /// called before TensorRT 10.
    pub progress: Option<&'a (dyn Fn(Progress<'_>) -> bool + Sync)>,
}

/// The result of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The serialized engine, for one version of TensorRT and one kind of device.
    pub bytes: TrustedBytes,
    /// The timing cache: times measured on this device, which make the next build faster.
    pub timing_cache: Option<TrustedBytes>,
    /// The engine's layers and their types, as logged by the builder. The format differs between
    /// versions. Only with [`BuildOptions::detailed`].
    pub layers: Option<String>,
}

impl TensorRt {
    /// Builds a plan from `model`, the content of an ONNX file. This takes a second to minutes.
    ///
    /// # Errors
    /// When the model cannot be parsed (the error names the node), the library or the device does
    /// not support the options, or the build fails.
    pub fn build(&self, model: &[u8], options: &BuildOptions<'_>) -> Result<Plan, TensorRtError> {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let unsupported = |what: &str| TensorRtError::Unsupported(what.into());
        if let Some(reason) = self.no_parser() {
            return Err(unsupported(&format!(
                "this TensorRT can only run plans: it has no ONNX parser ({reason})"
            )));
        }
        let capabilities: Vec<i32> = options
            .compute_capabilities
            .iter()
            .map(|&capability| capability.into())
            .collect();
        let reporter = options.progress.map(ProgressReporter::new);
        let cache: &[u8] = options.timing_cache.map_or(&[], |cache| cache);
        let request = Build {
            model: model.as_ptr().cast(),
            model_size: model.len(),
            flags: flag(options.fp16, ffi::FP16)
                | flag(options.int8, ffi::INT8)
                | flag(options.detailed, ffi::DETAILED)
                | flag(options.strongly_typed, ffi::STRONGLY_TYPED)
                | flag(options.sparse_weights, ffi::SPARSE_WEIGHTS),
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
            progress: reporter
                .as_ref()
                .map(|_| ProgressReporter::call as ffi::ProgressFn),
            progress_user: reporter.as_ref().map_or(ptr::null_mut(), |reporter| {
                ptr::from_ref(reporter).cast_mut().cast()
            }),
        };
        let (mut plan, mut times) = (ptr::null_mut(), ptr::null_mut());
        let mut error = ErrorText::new();
        let listening = Listening::default();
        let mut entries = *self.entries();
        if options.detailed {
            entries.user = ptr::from_ref(&listening).cast_mut().cast();
        }
        // SAFETY: every pointer in `request` and `entries` outlives the call, and the shim was
        // compiled for this library.
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
            bytes: TrustedBytes::made_by_tensorrt(bytes),
            timing_cache: self.take(times).map(TrustedBytes::made_by_tensorrt),
            layers: listening.layers.into_inner().unwrap_or_default(),
        })
    }

    /// Copies the shim's bytes, and frees the original.
    fn take(&self, bytes: *mut Bytes) -> Option<Vec<u8>> {
        if bytes.is_null() {
            return None;
        }
        let mut size = 0;
        // SAFETY: the shim returned `bytes`, which is not yet freed, and its memory has `size`
        // bytes. It is freed here once.
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

/// The caller's progress function, and the number of steps of each open phase.
struct ProgressReporter<'a> {
    report: &'a (dyn Fn(Progress<'_>) -> bool + Sync),
    steps: Mutex<HashMap<String, u32>>,
}

impl<'a> ProgressReporter<'a> {
    fn new(report: &'a (dyn Fn(Progress<'_>) -> bool + Sync)) -> Self {
        Self {
            report,
            steps: Mutex::default(),
        }
    }

    /// The callback for the shim, called from any of TensorRT's threads.
    unsafe extern "C" fn call(
        user: *mut c_void,
        phase: *const c_char,
        _parent: *const c_char,
        done: i32,
        steps: i32,
    ) -> i32 {
        // SAFETY: `user` is the `ProgressReporter` that `build` keeps alive during the call, and
        // `phase` is a NUL-terminated string.
        let (reporter, phase) =
            unsafe { (&*user.cast::<ProgressReporter<'_>>(), CStr::from_ptr(phase)) };
        // A panic must not unwind into C++: it cancels the build.
        let continues = catch_unwind(AssertUnwindSafe(|| {
            reporter.receive(&phase.to_string_lossy(), done, steps)
        }));
        i32::from(continues.unwrap_or(false))
    }

    /// Handles one call of the shim. `steps` is -1 for a step within a phase, and 0 at the end of a
    /// phase.
    fn receive(&self, phase: &str, done: i32, steps: i32) -> bool {
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let total = {
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
        (self.report)(Progress {
            phase,
            done: count(done),
            steps: total,
        })
    }
}
