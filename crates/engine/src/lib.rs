//! The [`Engine`] trait, the [`Plan`] an engine runs, and the CPU engine.

mod api;
mod bundle;
#[doc(hidden)]
pub mod conformance;
mod cpu;
mod kernels;
pub mod plan;

pub use api::{ElementType, Engine, EngineError, Layout, Port, TensorMut, TensorRef, Timing};
pub use bundle::{Bundle, BundleError, Domain, Manifest};
pub use cpu::{CpuEngine, CpuError, CpuOptions, InstructionSet, MAX_THREADS, StepProfile};
pub use plan::{Plan, PlanError};
