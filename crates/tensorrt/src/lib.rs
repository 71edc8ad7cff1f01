//! Bindings to NVIDIA's TensorRT, loaded at run time: builds a plan from an ONNX model and runs a
//! plan on a CUDA stream.
//!
//! The crate links neither TensorRT nor CUDA and builds on every machine. TensorRT's interfaces
//! are C++ virtual tables that change with every version. Therefore a small shim
//! (`shim/shim.cpp`) is compiled once per version against the headers of that version. The shim's
//! version is compared with the library's before any function of TensorRT is called through it.
//!
//! ```no_run
//! use pilotage_tensorrt::{BuildOptions, Product, Shims, TensorRt};
//!
//! let model = std::fs::read("model.onnx")?;
//! let tensorrt = TensorRt::open(Product::TensorRt, None, &Shims::Installed)?;
//! let plan = tensorrt.build(&model, &BuildOptions::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod compiler;
mod device;
mod driver;
mod engine;
mod error;
mod ffi;
mod gpu_policy;
mod library;
mod machine;
mod memory;
mod nhwc;
mod plan;
mod runtime;
mod shim;
mod stream;
mod trust;
mod validation;
mod version;

pub use cache::{CacheError, PlanCache, PlanKey};
pub use compiler::{CUDA_HEADERS, Headers, ShimError, Warnings, compile_shim, find_headers};
pub use device::{CudaError, Device};
pub use engine::{EngineOptions, PlanError, TensorRtEngine};
pub use error::TensorRtError;
pub use gpu_policy::{GpuPolicy, UnknownGpuPolicy};
pub use library::TensorRt;
pub use machine::{PrepareError, Prepared, TensorRtPaths, ValidatedPlan, load, prepare};
pub use memory::Transfer;
pub use nhwc::{NhwcAdapter, PortMismatch};
pub use plan::{BuildOptions, Plan, Progress};
pub use runtime::{Context, ElementType, Engine, Runtime, Tensor};
pub use shim::Shims;
pub use stream::{Priority, Wait};
pub use trust::{UntrustedEngine, check_engine_file};
pub use version::{Product, Version};
