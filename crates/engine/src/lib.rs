//! The inference engine of Pilotage:
//!
//! - [`Engine`], the trait that every backend implements;
//! - [`Plan`], a compiled network;
//! - [`Bundle`], the engine file that contains a plan;
//! - [`CpuEngine`], which runs a plan on any CPU.
//!
//! ```
//! use pilotage_engine::conformance::PlanBuilder;
//! use pilotage_engine::plan::{Activation, Operation};
//! use pilotage_engine::{CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
//!
//! let mut builder = PlanBuilder::default();
//! let x = builder.input_f32(&[1, 3]);
//! let relu = Operation::Unary { activation: Activation::Relu };
//! let y = builder.step(relu, &[x], &[1, 3]);
//! let plan = builder.finish(&[y]);
//!
//! let mut engine = CpuEngine::new(&plan, CpuOptions::default())?;
//! let mut output = [0.0; 3];
//! engine.infer(
//!     &[TensorRef::F32(&[-1.0, 0.5, 2.0])],
//!     &mut [TensorMut::F32(&mut output)],
//! )?;
//! assert_eq!(output, [0.0, 0.5, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod api;
mod bundle;
#[doc(hidden)]
pub mod conformance;
mod cpu;
mod kernels;
mod manifest;
mod output;
pub mod plan;
pub mod resample;

pub use api::{ElementType, Engine, EngineError, Layout, Port, TensorMut, TensorRef, Timing};
pub use bundle::{Bundle, BundleError, Section, sections};
pub use cpu::{
    CpuEngine, CpuError, CpuOptions, InstructionSet, MAX_THREADS, Numbers, StepProfile,
    UnknownInstructionSet, peak, read_speed,
};
pub use manifest::{Calibration, GateResult, Manifest, Trial};
pub use output::{Bins, Decode, Meaning, Output};
pub use plan::{Plan, PlanError};
