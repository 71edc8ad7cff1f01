//! The engine that runs a plan on the machine's CPU.
#![allow(unsafe_code)]

mod kernel;
mod levels;
mod memory;
mod observed;
mod peak;
mod step;
mod workers;

use std::fmt;
use std::time::{Duration, Instant};

use self::kernel::Kernel;
use self::memory::{MemoryMap, OutputMemory, Slot, Views};
pub use self::observed::ObservedEngine;
pub use self::peak::{Numbers, peak, read_speed};
use self::step::PreparedStep;
use self::workers::Workers;
use crate::aligned_bytes::AlignedBytes;
use crate::instruction_set::{self, Available, InstructionSet};
use crate::kernels::int8::WeightStorage;
use crate::kernels::tile::Arithmetic;
use crate::plan::{MAX_BYTES, Operation, Plan, PlanError};
use crate::{ElementType, Engine, EngineError, Port, TensorMut, TensorRef, Timing};

/// How a [`CpuEngine`] runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuOptions {
    /// Number of threads, including the caller's.
    pub threads: usize,
    /// `None` is the best that the machine has.
    pub instruction_set: Option<InstructionSet>,
    /// Whether the time of each step is measured, see [`CpuEngine::profile`].
    pub profile: bool,
    /// Whether float layers give the same bits as [`InstructionSet::Scalar`], so that
    /// results are identical on every machine. No multiply-add is fused, which is
    /// slower. Integer layers give the same bits in any case.
    pub exact: bool,
    /// How the weights of INT8 layers are stored. The results have the same bits in any case.
    pub weights: WeightStorage,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self {
            threads: 1,
            instruction_set: None,
            profile: false,
            exact: false,
            weights: WeightStorage::default(),
        }
    }
}

/// Maximum number of bytes of an arena. Outputs stay in it, and there may be gaps between tensors.
const MOST_ARENA: usize = 2 * MAX_BYTES;

/// Maximum number of threads of an engine.
pub const MAX_THREADS: usize = 64;

/// Why a [`CpuEngine`] could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// The plan is not valid.
    #[error("the plan cannot be run: {0}")]
    Plan(PlanError),
    /// The machine lacks the requested instruction set.
    #[error(
        "this machine has no {0}, only {here}; leave the instruction set out to use the best there is",
        here = instruction_set::those_here()
    )]
    Unavailable(InstructionSet),
    /// The number of threads is 0 or above [`MAX_THREADS`].
    #[error("cannot run on {0} threads; ask for 1 to {MAX_THREADS}")]
    Threads(usize),
    /// The system did not start a thread.
    #[error("could not start a thread: {0}")]
    ThreadStart(std::io::Error),
}

/// The time that one step took over all inferences so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepProfile<'a> {
    /// The step's name.
    pub name: &'a str,
    /// Multiply-adds of one run; 0 for steps without any.
    pub multiply_adds: u64,
    /// Shortest run.
    pub fastest: Duration,
    /// Sum of all runs.
    pub total: Duration,
    /// Number of runs.
    pub runs: u64,
    /// How the weights of an INT8 layer are stored (`dense`, `clustered`, `int4` or `sparse`), and
    /// the bytes that an inference reads of them; `None` for other steps.
    pub weights: Option<(&'static str, usize)>,
    /// Whether the engine's threads share the step; other steps run on one thread.
    pub shared: bool,
}

/// The measured times of one step.
#[derive(Debug, Clone, Copy, Default)]
struct StepTimes {
    fastest: Duration,
    total: Duration,
    runs: u64,
}

/// Runs a [`Plan`] on the CPU.
///
/// [`new`](Self::new) packs the weights for the machine and allocates all memory;
/// [`infer`](Engine::infer) allocates nothing.
pub struct CpuEngine {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    output_slots: Vec<Slot>,
    steps: Vec<PreparedStep>,
    arena: AlignedBytes,
    constants: AlignedBytes,
    instruction_set: Available,
    /// `None` if the caller's thread does all the work.
    workers: Option<Workers>,
    threads: usize,
    precision: &'static str,
    times: Option<Vec<StepTimes>>,
}

impl CpuEngine {
    /// Validates the plan and packs it for the machine.
    ///
    /// # Errors
    /// When the plan is not valid, or `options` cannot be met on this machine.
    pub fn new(plan: &Plan, options: CpuOptions) -> Result<Self, CpuError> {
        Self::with(plan, options, OutputMemory::Kept)
    }

    fn with(plan: &Plan, options: CpuOptions, outputs: OutputMemory) -> Result<Self, CpuError> {
        let valid = match outputs {
            OutputMemory::Kept => plan.validate(),
            OutputMemory::Reused => plan.validate_observed(),
        };
        valid.map_err(CpuError::Plan)?;
        let set = options.instruction_set.unwrap_or_else(InstructionSet::best);
        let instruction_set = Available::new(set).ok_or(CpuError::Unavailable(set))?;
        if !(1..=MAX_THREADS).contains(&options.threads) {
            return Err(CpuError::Threads(options.threads));
        }
        let arithmetic = Arithmetic {
            instruction_set,
            exact: options.exact,
        };
        let kernel = |step| Kernel::new(plan, step, arithmetic, options.weights);
        let mut kernels: Vec<_> = plan.steps.iter().map(kernel).collect();
        let slack = levels::arrange(plan, &mut kernels);
        let scratch: Vec<_> = kernels.iter().map(|(kernel, _)| kernel.scratch()).collect();
        let map = MemoryMap::new(plan, &scratch, &slack, outputs);
        if map.arena > MOST_ARENA {
            let what = "the memory of an inference".to_owned();
            return Err(CpuError::Plan(PlanError::TooLarge { what }));
        }
        let steps: Vec<_> = plan
            .steps
            .iter()
            .zip(kernels)
            .zip(&map.scratch)
            .map(|((step, kernel), &scratch)| {
                PreparedStep::new(step, kernel, (&map, scratch), instruction_set)
            })
            .collect();
        let port = |port| plan.port(port);
        Ok(Self {
            inputs: plan.inputs.iter().map(port).collect(),
            outputs: plan.outputs.iter().map(port).collect(),
            output_slots: plan
                .outputs
                .iter()
                .map(|port| map.slot(port.operand))
                .collect(),
            times: options
                .profile
                .then(|| vec![StepTimes::default(); steps.len()]),
            steps,
            arena: AlignedBytes::zeroed(map.arena),
            constants: map.data,
            instruction_set,
            workers: match options.threads {
                1 => None,
                threads => Some(Workers::new(threads - 1).map_err(CpuError::ThreadStart)?),
            },
            threads: options.threads,
            precision: precision(plan),
        })
    }

    /// Runs all steps.
    ///
    /// # Errors
    /// When a worker thread has panicked; no further step is started.
    ///
    /// # Safety
    /// `inputs` match the input ports in number, element type and length, as
    /// [`EngineError::check_inputs`] checks.
    unsafe fn run(&mut self, inputs: &[TensorRef<'_>], profiled: bool) -> Result<(), EngineError> {
        let check = |workers: &Option<Workers>| match workers {
            Some(workers) if workers.panicked() => Err(EngineError::ThreadPanicked),
            _ => Ok(()),
        };
        check(&self.workers)?;
        let views = Views::new(&mut self.arena, &self.constants, inputs);
        match self.times.as_mut().filter(|_| profiled) {
            None => {
                for step in &self.steps {
                    // SAFETY: `arena` and `constants` have the sizes of the map that `new`
                    // prepared the steps with; the caller guarantees that `inputs` match
                    // the ports; a step keeps no slice of the memory after it returns, so
                    // no other slice is alive.
                    unsafe { step.run(views, self.workers.as_mut()) };
                    check(&self.workers)?;
                }
            }
            Some(times) => {
                let mut last = Instant::now();
                for (step, times) in self.steps.iter().zip(times) {
                    // SAFETY: as in the loop without a profile.
                    unsafe { step.run(views, self.workers.as_mut()) };
                    check(&self.workers)?;
                    let now = Instant::now();
                    let elapsed = now - last;
                    last = now;
                    times.fastest = match times.runs {
                        0 => elapsed,
                        _ => times.fastest.min(elapsed),
                    };
                    times.total += elapsed;
                    times.runs += 1;
                }
            }
        }
        Ok(())
    }

    /// The instruction set that the hot kernels use.
    pub fn instruction_set(&self) -> InstructionSet {
        self.instruction_set.set()
    }

    /// Bytes of the arena, which holds the tensors between steps.
    pub fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// The time of each step; empty unless [`CpuOptions::profile`] is set.
    pub fn profile(&self) -> impl Iterator<Item = StepProfile<'_>> {
        let times = self.times.as_deref().unwrap_or_default();
        self.steps
            .iter()
            .zip(times)
            .map(|(step, times)| StepProfile {
                name: &step.name,
                multiply_adds: step.multiply_adds,
                weights: step.weights,
                fastest: times.fastest,
                total: times.total,
                runs: times.runs,
                shared: self.threads > 1 && step.shared(),
            })
    }
}

/// The precision of the layers with weights.
fn precision(plan: &Plan) -> &'static str {
    let (mut int8, mut float) = (false, false);
    for step in &plan.steps {
        match step.operation {
            Operation::QuantizedConv2d { .. } | Operation::QuantizedFullyConnected { .. } => {
                int8 = true;
            }
            Operation::Conv2d { .. } | Operation::FullyConnected { .. } => float = true,
            _ => {}
        }
    }
    match (int8, float) {
        (true, false) => "int8",
        (true, true) => "int8 and float32",
        (false, _) => "float32",
    }
}

impl fmt::Debug for CpuEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuEngine")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("steps", &self.steps.len())
            .field("instruction_set", &self.instruction_set())
            .finish_non_exhaustive()
    }
}

impl Engine for CpuEngine {
    fn describe(&self) -> String {
        let threads = match self.threads {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        format!(
            "CPU, {}, {threads}, {}",
            self.instruction_set(),
            self.precision
        )
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Runs the network once on zeros, so that all memory is mapped and the worker
    /// threads have started before the first frame.
    fn prepare(&mut self) -> Result<(), EngineError> {
        let longest = self.inputs.iter().map(Port::len).max().unwrap_or(0);
        let (f32s, i64s, i32s) = (vec![0.0; longest], vec![0; longest], vec![0; longest]);
        let (u8s, i8s) = (vec![0; longest], vec![0; longest]);
        let zeros: Vec<_> = self
            .inputs
            .iter()
            .map(|port| match port.element_type {
                ElementType::F32 => TensorRef::F32(&f32s[..port.len()]),
                ElementType::I64 => TensorRef::I64(&i64s[..port.len()]),
                ElementType::I32 => TensorRef::I32(&i32s[..port.len()]),
                // No port is F16.
                ElementType::F16 | ElementType::U8 | ElementType::Bool => {
                    TensorRef::U8(&u8s[..port.len()])
                }
                ElementType::I8 => TensorRef::I8(&i8s[..port.len()]),
            })
            .collect();
        // SAFETY: `zeros` has one tensor for each input port, of its type and length.
        unsafe { self.run(&zeros, false) }
    }

    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        let start = Instant::now();
        EngineError::check_inputs(&self.inputs, inputs)?;
        EngineError::check_outputs(&self.outputs, outputs)?;
        // SAFETY: `check_inputs` verified that `inputs` match the ports.
        unsafe { self.run(inputs, true) }?;
        let views = Views::new(&mut self.arena, &self.constants, inputs);
        for (output, &slot) in outputs.iter_mut().zip(&self.output_slots) {
            // SAFETY: `views` covers the memory of the map that the output slots come
            // from; `check_outputs` verified that each output has the element type of its
            // port, which is that of its slot; no step is running, so nothing writes.
            unsafe {
                match output {
                    TensorMut::F32(data) => data.copy_from_slice(views.read(slot)),
                    TensorMut::I64(data) => data.copy_from_slice(views.read(slot)),
                    TensorMut::I32(data) => data.copy_from_slice(views.read(slot)),
                    TensorMut::U8(data) => data.copy_from_slice(views.read(slot)),
                    TensorMut::I8(data) => data.copy_from_slice(views.read(slot)),
                }
            }
        }
        Ok(Timing {
            total: start.elapsed(),
            ..Timing::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn inference_fails_after_a_worker_panic() {
        let (_, plan) = conformance::networks().swap_remove(0);
        let options = CpuOptions {
            threads: 2,
            ..CpuOptions::default()
        };
        let mut engine = CpuEngine::new(&plan, options).unwrap();
        let lengths = |ports: &[Port]| -> Vec<usize> { ports.iter().map(Port::len).collect() };
        let inputs: Vec<_> = lengths(engine.inputs())
            .iter()
            .map(|&n| vec![0.5; n])
            .collect();
        let mut outputs: Vec<_> = lengths(engine.outputs())
            .iter()
            .map(|&n| vec![0.0; n])
            .collect();
        let inputs: Vec<_> = inputs.iter().map(|data| TensorRef::F32(data)).collect();
        let mut outputs: Vec<_> = outputs
            .iter_mut()
            .map(|data| TensorMut::F32(data))
            .collect();
        engine.infer(&inputs, &mut outputs).unwrap();

        workers::tests::panic_in_a_worker(engine.workers.as_mut().unwrap());
        for _ in 0..2 {
            let error = engine.infer(&inputs, &mut outputs).unwrap_err();
            assert!(matches!(error, EngineError::ThreadPanicked));
        }
        assert!(matches!(engine.prepare(), Err(EngineError::ThreadPanicked)));
    }
}
