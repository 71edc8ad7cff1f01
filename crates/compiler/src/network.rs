//! A network run on many frames, on all cores.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use pilotage_engine::plan::Plan;
use pilotage_engine::{
    CpuEngine, CpuError, CpuOptions, ElementType, Engine, EngineError, Layout, Port, TensorMut,
    TensorRef,
};
use pilotage_graph::Graph;

use crate::lower::{LowerError, PortLayout, Weights, lower_weights};
use crate::permute::permute;

/// Why a network gives no answers.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The graph has no plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The plan has no engine.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The engine gave no answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The input is not one picture.
    #[error("the network's input is not one picture of {expected} float32 or int8 elements")]
    Input {
        /// Elements of a frame.
        expected: usize,
    },
}

/// A network whose one input is a picture of pixels less 128: f32, or i8.
///
/// Everything has the bits that the engine's plain loops give, so that what is
/// learned from the answers is the same on every machine.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Plan,
    /// Whether the model's order of axes is NHWC.
    pub(crate) channels_last: bool,
    /// What the input's pixels are less.
    pub(crate) centre: u8,
}

impl Network {
    /// A graph, its input in the model's order of axes.
    ///
    /// # Errors
    /// When it has no plan.
    pub fn new(graph: &Graph, channels_last: bool) -> Result<Self, NetworkError> {
        let ports = match channels_last {
            true => PortLayout::Model,
            false => PortLayout::Native,
        };
        let plan = lower_weights(graph, ports, Weights::AsTheyAre)?;
        Ok(Self::of_plan(plan, channels_last))
    }

    /// A plan, its input in the model's order of axes or NHWC as its port says.
    pub fn of_plan(plan: Plan, channels_last: bool) -> Self {
        Self {
            plan,
            channels_last,
            centre: 128,
        }
    }

    /// Runs every frame (rows of interleaved channels, levels 0 to 255) and hands
    /// its number and its outputs to `take` with one of several `new` accumulators,
    /// which come back in no particular order and hold any of the frames: they
    /// have to be joined by sums of integers, maxima and the like.
    ///
    /// # Errors
    /// When the plan has no engine or its input is no such picture.
    pub fn accumulate<A: Send>(
        &self,
        frames: &[&[u8]],
        new: impl Fn() -> A + Sync,
        take: impl Fn(&mut A, usize, &[Buffer]) + Sync,
    ) -> Result<Vec<A>, NetworkError> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let work = || -> Result<(), NetworkError> {
            let mut runner = Runner::new(self)?;
            let mut accumulator = new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(frame) = frames.get(index) else {
                    break;
                };
                runner.run(frame)?;
                take(&mut accumulator, index, &runner.outputs);
            }
            if let Ok(mut done) = done.lock() {
                done.push(accumulator);
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.clamp(1, frames.len().max(1)))
                .map(|_| scope.spawn(work))
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        Ok(done.into_inner().unwrap_or_default())
    }

    /// The outputs of each frame, one after the other as f32.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub fn answers(&self, frames: &[&[u8]]) -> Result<Vec<Vec<f32>>, NetworkError> {
        let parts = self.accumulate(frames, Vec::new, |all, index, outputs| {
            let answer: Vec<f32> = outputs.iter().flat_map(Buffer::to_f32).collect();
            all.push((index, answer));
        })?;
        let mut all: Vec<(usize, Vec<f32>)> = parts.into_iter().flatten().collect();
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// One output of a network.
#[derive(Debug)]
pub enum Buffer {
    /// Of floats.
    F32(Vec<f32>),
    /// Of 8-bit integers.
    I8(Vec<i8>),
}

impl Buffer {
    /// The elements, integers as they are.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::F32(data) => data.clone(),
            Self::I8(data) => data.iter().map(|&x| x.into()).collect(),
        }
    }

    /// The elements, if they are floats.
    pub fn as_f32(&self) -> &[f32] {
        match self {
            Self::F32(data) => data,
            Self::I8(_) => &[],
        }
    }
}

/// An engine with its memory.
struct Runner {
    engine: CpuEngine,
    /// Rows, columns and channels where the engine wants planes.
    planes: Option<[usize; 3]>,
    element_type: ElementType,
    centre: u8,
    len: usize,
    outputs: Vec<Buffer>,
}

impl Runner {
    fn new(network: &Network) -> Result<Self, NetworkError> {
        let options = CpuOptions {
            exact: true,
            ..CpuOptions::default()
        };
        let engine = CpuEngine::new(&network.plan, options)?;
        let [port] = engine.inputs() else {
            return Err(NetworkError::Input { expected: 0 });
        };
        let planes = match (port.layout, network.channels_last, &port.shape[..]) {
            (Layout::Nhwc, ..) | (_, true, _) => None,
            (_, _, &[1, channels, rows, columns]) => Some([rows, columns, channels]),
            _ => {
                return Err(NetworkError::Input {
                    expected: port.len(),
                });
            }
        };
        let buffer = |port: &Port| match port.element_type {
            ElementType::I8 => Buffer::I8(vec![0; port.len()]),
            _ => Buffer::F32(vec![0.0; port.len()]),
        };
        Ok(Self {
            planes,
            element_type: port.element_type,
            centre: network.centre,
            len: port.len(),
            outputs: engine.outputs().iter().map(buffer).collect(),
            engine,
        })
    }

    fn run(&mut self, frame: &[u8]) -> Result<(), NetworkError> {
        if frame.len() != self.len {
            return Err(NetworkError::Input { expected: self.len });
        }
        let levels = match &self.planes {
            Some(shape) => permute(frame, shape, &[2, 0, 1]),
            None => frame.to_vec(),
        };
        let mut lent: Vec<TensorMut<'_>> = self
            .outputs
            .iter_mut()
            .map(|output| match output {
                Buffer::F32(data) => TensorMut::F32(data),
                Buffer::I8(data) => TensorMut::I8(data),
            })
            .collect();
        match self.element_type {
            ElementType::I8 => {
                let pixels: Vec<i8> = levels.iter().map(|&p| (p ^ 0x80).cast_signed()).collect();
                self.engine.infer(&[TensorRef::I8(&pixels)], &mut lent)?;
            }
            _ => {
                let centre = f32::from(self.centre);
                let pixels: Vec<f32> = levels.iter().map(|&p| f32::from(p) - centre).collect();
                self.engine.infer(&[TensorRef::F32(&pixels)], &mut lent)?;
            }
        }
        Ok(())
    }
}
