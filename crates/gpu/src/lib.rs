//! Engines on NVIDIA GPUs: [`prepare`] builds the TensorRT plan of an engine file for this machine,
//! compares it with the file's fp32 answers and keeps it; [`load`] loads it again and compares it
//! again, as an [`Engine`](pilotage_engine::Engine) with the ports of the CPU's.
//!
//! What is TensorRT's and CUDA's own is in the crate `tensorrt-rs`.

mod cache;
mod engine;
mod error;
mod gpu_policy;
mod machine;
mod nhwc;
mod paths;
mod prepare;
mod shims;
mod trust;
mod validated;
mod validation;

pub use cache::{CacheError, PlanCache, PlanKey};
pub use engine::TensorRtEngine;
pub use error::PrepareError;
pub use gpu_policy::{GpuPolicy, UnknownGpuPolicy};
pub use nhwc::{NhwcAdapter, PortMismatch};
pub use paths::{TensorRtPaths, installed_shims};
pub use prepare::{load, prepare, prepare_elsewhere, validate_or_build};
pub use trust::{UntrustedEngine, check_engine_file};
pub use validated::{Built, Prepared, Validated, ValidatedPlan};
