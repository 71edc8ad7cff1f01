//! The inference engine of Pilotage: compiled networks, and what runs them.
//!
//! - [`Engine`] is the trait that every backend implements: named [`Port`]s, and
//!   [`infer`](Engine::infer), which reads and writes the caller's tensors.
//! - [`Plan`] is a compiled network: a list of steps over tensors with fixed shapes. It does not
//!   depend on an instruction set.
//! - [`Bundle`] is the engine file `NAME.engine`: a plan with its manifest, checksums, and sections
//!   for other backends and for validation.
//! - [`ValidationSet`] is an engine file's frames with fp32 answers; [`Gate`] compares the answers
//!   of any backend with them.
//! - [`CpuEngine`] runs a plan on any CPU. It selects the best [`InstructionSet`] at run time. After
//!   its construction it does not allocate.
//!
//! INT8 results have the same bits on every machine, instruction set and number of threads
//! ([`plan::Epilogue`] defines the arithmetic). A plan or a file may come from anyone:
//! [`Plan::validate`] and [`Bundle::read`] check all that the kernels rely on, and every violation
//! is a typed error. `unsafe` code is limited to the kernels, the memory of plans, and the worker
//! threads.
//!
//! An engine file is read and run like this; shapes are in memory order, as the ports list them:
//!
//! ```no_run
//! use pilotage_engine::{Buffer, Bundle, CpuEngine, CpuOptions, Engine};
//!
//! let bundle = Bundle::read(&std::fs::read("pilotnet.engine")?)?;
//! let mut engine = CpuEngine::new(&bundle.plan, CpuOptions::default())?;
//! let inputs: Vec<Buffer> = engine.inputs().iter().map(Buffer::zeros).collect();
//! let mut outputs: Vec<Buffer> = engine.outputs().iter().map(Buffer::zeros).collect();
//!
//! let views: Vec<_> = inputs.iter().map(Buffer::as_ref).collect();
//! let mut answers: Vec<_> = outputs.iter_mut().map(Buffer::as_mut).collect();
//! engine.infer(&views, &mut answers)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A plan is usually the output of `pilotage-compiler`. One of a single step:
//!
//! ```
//! use pilotage_engine::plan::{
//!     Activation, Operand, Operation, Plan, PlanPort, Step, TensorId, TensorSpec,
//! };
//! use pilotage_engine::{
//!     AxisOrder, CpuEngine, CpuOptions, ElementType, Engine, TensorMut, TensorRef,
//! };
//!
//! let vector = TensorSpec { shape: vec![1, 3], element_type: ElementType::F32 };
//! let port = |name: &str, id| PlanPort {
//!     name: name.to_owned(),
//!     operand: Operand::Tensor(TensorId(id)),
//!     layout: AxisOrder::Model,
//! };
//! let plan = Plan {
//!     tensors: vec![vector.clone(), vector],
//!     inputs: vec![port("x", 0)],
//!     outputs: vec![port("y", 1)],
//!     steps: vec![Step {
//!         name: "relu".to_owned(),
//!         operation: Operation::Unary { activation: Activation::Relu },
//!         inputs: vec![Operand::Tensor(TensorId(0))],
//!         output: TensorId(1),
//!     }],
//!     ..Plan::default()
//! };
//!
//! let mut engine = CpuEngine::new(&plan, CpuOptions::default())?;
//! let mut y = [0.0; 3];
//! engine.infer(&[TensorRef::F32(&[-1.0, 0.5, 2.0])], &mut [TensorMut::F32(&mut y)])?;
//! assert_eq!(y, [0.0, 0.5, 2.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aligned_bytes;
mod api;
mod buffer;
mod bundle;
#[doc(hidden)]
pub mod conformance;
mod cpu;
mod decoder;
mod encoding;
mod gate;
mod inputs;
mod instruction_set;
mod kernels;
mod manifest;
mod memory;
mod output;
pub mod plan;
pub mod resample;
mod rules;
mod sample;
mod validation;
mod weights;

pub use api::{AxisOrder, ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};
pub use buffer::Buffer;
pub use bundle::{Bundle, BundleError, Section, sections};
pub use cpu::{
    CpuEngine, CpuError, CpuOptions, MAX_THREADS, Numbers, ObservedEngine, StepProfile, peak,
    read_speed,
};
pub use decoder::{
    BoundPath, GroundCamera, Mask, NoPath, PathCommand, PathDecoder, PathForm, PathSpeed,
    PointOrder, Points, Pursuit,
};
pub use gate::{Gate, GateLimits, Gated, GatedPart, PathLimits};
pub use inputs::{Inputs, InputsError, Lacking, MOST_INPUTS, NoScan, PictureForm, Unmeasured};
pub use instruction_set::{InstructionSet, UnknownInstructionSet};
pub use kernels::int8::WeightStorage;
pub use manifest::{Calibration, FrameSize, GateResult, Manifest, TensorRtRecipe, Trial};
pub use memory::{
    AfterGap, ElementNumbers, MOST_PICTURES, Memory, PictureAxis, SignalRule, StateRule,
};
pub use output::{Bins, Decode, Meaning, Output};
pub use plan::{Plan, PlanError};
pub use rules::{
    CommandEncoding, CommandRule, InputRules, MOST_COMMANDS, MeasurementRule, Missing, MissingWord,
    ScanRule,
};
pub use sample::fill_inputs;
pub use validation::{PackError, SampleForm, ValidationError, ValidationSet};
