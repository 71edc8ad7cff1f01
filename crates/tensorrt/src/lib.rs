//! Safe bindings to NVIDIA's TensorRT (8.2 to 11) and TensorRT-RTX, loaded at run time: build a plan
//! from an ONNX model, load it, and run it on a CUDA stream.
//!
//! The crate links neither TensorRT nor CUDA and builds on every machine. TensorRT's interfaces
//! are C++ virtual tables that change with every version. Therefore a small shim
//! (`shim/shim.cpp`) is compiled once per version against the headers of that version
//! ([`compile_shim`]). The shim's version is compared with the library's before any function of
//! TensorRT is called through it.
//!
//! | step | here |
//! |---|---|
//! | find the library and its shim | [`TensorRt::open`], [`Shims`], [`find_headers`], [`compile_shim`] |
//! | build a plan from ONNX | [`TensorRt::build`], [`BuildOptions`] |
//! | run a plan | [`Session`]: memory, stream, CUDA graph, time limit |
//! | the same, by hand | [`Runtime`], [`Engine`], [`Context`] |
//! | keep plans and shims from others | [`store`], [`TrustedBytes`], [`trusted`] |
//!
//! TensorRT runs what a plan contains and checks little of it, so a plan is [`TrustedBytes`]. The
//! libraries are loaded from the system's folders, or from the folder that the caller names: both are
//! the caller's trust.
//!
//! ```no_run
//! use tensorrt_rs::{BuildOptions, Product, Shims, TensorRt, Warnings, compile_shim, find_headers};
//!
//! // Once on each machine, with the headers of the installed version.
//! let headers = find_headers(&[])?;
//! compile_shim(&headers[0], "shims".as_ref(), Warnings::Allowed)?;
//!
//! let tensorrt = TensorRt::open(Product::TensorRt, None, &Shims::In("shims".into()))?;
//! let plan = tensorrt.build(&std::fs::read("model.onnx")?, &BuildOptions::default())?;
//! tensorrt_rs::store("model.plan".as_ref(), &plan.bytes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compiler;
mod cuda_error;
mod device;
mod driver;
mod error;
mod ffi;
mod library;
mod loader;
mod memory;
mod plan;
mod runtime;
mod session;
mod shim;
mod stream;
mod trust;
mod version;

pub use compiler::{CUDA_HEADERS, Headers, ShimError, Warnings, compile_shim, find_headers};
pub use cuda_error::CudaError;
pub use device::Device;
pub use error::{RejectedShim, TensorRtError};
pub use library::{TensorRt, Typing};
pub use memory::Transfer;
pub use plan::{BuildOptions, Plan, Progress};
pub use runtime::{Context, ElementType, Engine, Runtime, Tensor};
pub use session::{Binding, PlanError, RunError, RunOptions, Session};
pub use shim::Shims;
pub use stream::{Priority, Wait};
pub use trust::{Owner, TrustedBytes, TrustedReadError, Untrusted, store, trusted};
pub use version::{Product, Version};

/// The examples of README.md compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
