//! Runs a network on many frames, on all cores.

mod parallel;
mod rollout;
mod runner;

pub(crate) use parallel::on_all_cores;
pub(crate) use rollout::{RolledOut, Rules};
pub(crate) use runner::{EXACT, SampleInputs};
use runner::{Observed, Runner};

use pilotage_engine::plan::{Constant, ConstantData, Plan};
use pilotage_engine::{AxisOrder, CpuError, EngineError, InputsError, TensorRef};
use pilotage_graph::{Graph, ValueId};

use crate::cache::{Cache, Rows};
use crate::lower::{LowerError, PortLayout, Weights, lower_measured, lower_weights};
use crate::progress::Run;

/// Why a network cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The graph cannot be lowered to a plan.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The CPU engine cannot be built from the plan.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Inference failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The network's first input is not pictures, or a sample has another length.
    #[error(
        "the network's inputs take {expected} bytes, pictures of float32 or int8 elements first, and \
         a sample has {found}"
    )]
    Input {
        /// Bytes of a sample.
        expected: usize,
        /// Bytes of this one.
        found: usize,
    },
    /// The rules for the network's memory do not fit it.
    #[error(transparent)]
    Inputs(#[from] InputsError),
}

/// A network whose first input is an image of pixels minus 128, as f32 or i8.
///
/// It runs on samples. A sample is the bytes of all inputs: those of the image, rows of interleaved
/// channels with values from 0 to 255 (of several pictures along an axis of their own, one after the
/// other), and the elements of further inputs as little-endian f32. Of a network whose only input is
/// one picture, samples are frames.
///
/// Answers are bit-exact to the engine's scalar reference loops, so that results that depend on
/// the answers are the same on every machine.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Plan,
    /// Whether the model's axis order is NHWC.
    pub(crate) channels_last: bool,
    /// The value that is subtracted from the input's pixels.
    pub(crate) centre: u8,
}

impl Network {
    /// A network from a graph. Its input has the model's axis order.
    ///
    /// # Errors
    /// If the graph cannot be lowered to a plan.
    pub fn new(graph: &Graph, channels_last: bool) -> Result<Self, NetworkError> {
        let ports = PortLayout::of_images(channels_last);
        let plan = lower_weights(graph, ports, Weights::AsTheyAre)?;
        Ok(Self::of_plan(plan, channels_last))
    }

    /// A network that computes `values` of a graph, for measurements: each has the axis order in
    /// which it is computed.
    ///
    /// # Errors
    /// If the graph cannot be lowered to a plan.
    pub(crate) fn measuring(
        graph: &Graph,
        channels_last: bool,
        values: Vec<ValueId>,
    ) -> Result<Self, NetworkError> {
        let mut tapped = graph.clone();
        tapped.outputs = values;
        let plan = lower_measured(&tapped, PortLayout::of_images(channels_last))?;
        Ok(Self::of_plan(plan, channels_last))
    }

    /// A network from a plan. Its input has the model's axis order, or NHWC if the port's layout
    /// is NHWC.
    pub fn of_plan(plan: Plan, channels_last: bool) -> Self {
        Self {
            plan,
            channels_last,
            centre: 128,
        }
    }

    /// Runs every frame, which is a sample. Passes the frame's
    /// index and outputs to `take`, with one of several accumulators made by `new`. The
    /// accumulators are returned in no particular order, and each covers an arbitrary subset of
    /// the frames. Combine them with operations that do not depend on the order, such as integer
    /// sums or maxima. `run` is informed of each frame.
    ///
    /// # Errors
    /// If the engine cannot be built, or the frames do not fit its input.
    pub fn accumulate<A: Send>(
        &self,
        frames: &[&[u8]],
        run: Run<'_>,
        new: impl Fn() -> A + Sync,
        take: impl Fn(&mut A, usize, &[Buffer]) + Sync,
    ) -> Result<Vec<A>, NetworkError> {
        run.pass(frames.len());
        let new = || Ok::<_, NetworkError>((Runner::new(self)?, new()));
        let states = on_all_cores(frames.len(), new, |(runner, accumulator), index| {
            runner.run(frames[index])?;
            take(accumulator, index, &runner.outputs);
            run.frame();
            Ok(())
        })?;
        Ok(states
            .into_iter()
            .map(|(_, accumulator)| accumulator)
            .collect())
    }

    /// Like [`accumulate`](Self::accumulate), but passes each output to `take` when it is computed,
    /// with its index and the order of its axes. The outputs of a frame are not kept, which saves
    /// much of the memory and the copies of a network with many.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub(crate) fn observe<A: Send>(
        &self,
        frames: &[&[u8]],
        run: Run<'_>,
        new: impl Fn() -> A + Sync,
        take: impl Fn(&mut A, usize, AxisOrder, TensorRef<'_>) + Sync,
    ) -> Result<Vec<A>, NetworkError> {
        run.pass(frames.len());
        let new = || Ok::<_, NetworkError>((Observed::new(self)?, new()));
        let states = on_all_cores(frames.len(), new, |(observed, accumulator), index| {
            observed.run(frames[index], |output, order, data| {
                take(accumulator, output, order, data);
            })?;
            run.frame();
            Ok(())
        })?;
        Ok(states
            .into_iter()
            .map(|(_, accumulator)| accumulator)
            .collect())
    }

    /// Runs this network and another one with the same outputs on every frame. Passes the elements of
    /// both for each float output to `compare`, whose results are returned for each frame.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub(crate) fn compare<C: Clone + Default + Send>(
        &self,
        other: &Self,
        frames: &[&[u8]],
        run: Run<'_>,
        compare: impl Fn(&[f32], &[f32]) -> C + Sync,
    ) -> Result<Vec<Vec<C>>, NetworkError> {
        run.pass(frames.len());
        let new = || {
            let pair = (Runner::new(self)?, Observed::new(other)?);
            Ok::<_, NetworkError>((pair, Vec::new()))
        };
        let states = on_all_cores(frames.len(), new, |((one, other), done), index| {
            one.run(frames[index])?;
            let mut found = vec![C::default(); one.outputs.len()];
            other.run(frames[index], |output, _, data| {
                if let (Buffer::F32(one), TensorRef::F32(other)) = (&one.outputs[output], data) {
                    found[output] = compare(one, other);
                }
            })?;
            done.push((index, found));
            run.frame();
            Ok(())
        })?;
        let mut all: Vec<_> = states.into_iter().flat_map(|(_, done)| done).collect();
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, found)| found).collect())
    }

    /// The outputs of each frame as f32, concatenated.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub fn answers(&self, frames: &[&[u8]]) -> Result<Vec<Vec<f32>>, NetworkError> {
        self.answers_observed(frames, Run::ALONE)
    }

    /// Like [`answers`](Self::answers), and those of an earlier compilation if there are any. Only
    /// for networks whose outputs have the type f32 or i8.
    pub(crate) fn answers_measured(
        &self,
        frames: &[&[u8]],
        run: Run<'_>,
    ) -> Result<Vec<Vec<f32>>, NetworkError> {
        let fits = |rows: &Rows| rows.len() == frames.len();
        let rows = self.measured(("answers", &[]), frames, run, fits, || {
            let answers = self.answers_observed(frames, run)?;
            let bits = |answer: Vec<f32>| answer.iter().map(|x| x.to_bits().into()).collect();
            Ok(answers.into_iter().map(bits).collect())
        })?;
        let numbers = |row: Vec<u64>| {
            row.iter()
                .map(|&bits| f32::from_bits(bits as u32))
                .collect()
        };
        Ok(rows.into_iter().map(numbers).collect())
    }

    /// The result of `measure`, which runs this network on `frames`, or that of an earlier
    /// compilation if it `fits`. `kind` names what is measured, and `more` is what it depends on
    /// otherwise.
    pub(crate) fn measured(
        &self,
        (kind, more): (&str, &[u8]),
        frames: &[&[u8]],
        run: Run<'_>,
        fits: impl FnOnce(&Rows) -> bool,
        measure: impl FnOnce() -> Result<Rows, NetworkError>,
    ) -> Result<Rows, NetworkError> {
        let key = |cache: &Cache| cache.key(kind, |add| self.identify(add), frames, more);
        run.measured(key, fits, measure)
    }

    /// Passes everything that the answers depend on to `add`, in parts.
    fn identify(&self, add: &mut dyn FnMut(&[u8])) {
        let plan = &self.plan;
        let steps = (&plan.tensors, &plan.steps, &plan.inputs, &plan.outputs);
        // Debug output distinguishes all values, unlike JSON, which has neither NaN nor infinity.
        add(format!("{steps:?}").as_bytes());
        add(&[u8::from(self.channels_last), self.centre]);
        for Constant { shape, data } in &plan.constants {
            add(format!("{shape:?} {}", data.element_type()).as_bytes());
            match data {
                ConstantData::F32(data) => bytes(add, data, f32::to_le_bytes),
                ConstantData::F16(data) => bytes(add, data, half::f16::to_le_bytes),
                ConstantData::I64(data) => bytes(add, data, i64::to_le_bytes),
                ConstantData::I32(data) => bytes(add, data, i32::to_le_bytes),
                ConstantData::U8(data) => add(data),
                ConstantData::I8(data) => bytes(add, data, i8::to_le_bytes),
            }
        }
    }

    /// Like [`answers`](Self::answers), and informs `run` of each frame.
    pub(crate) fn answers_observed(
        &self,
        frames: &[&[u8]],
        run: Run<'_>,
    ) -> Result<Vec<Vec<f32>>, NetworkError> {
        let parts = self.accumulate(frames, run, Vec::new, |all, index, outputs| {
            let answer: Vec<f32> = outputs.iter().flat_map(Buffer::to_f32).collect();
            all.push((index, answer));
        })?;
        let mut all: Vec<(usize, Vec<f32>)> = parts.into_iter().flatten().collect();
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, answer)| answer).collect())
    }
}

fn bytes<T: Copy, const N: usize>(
    add: &mut dyn FnMut(&[u8]),
    data: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
) {
    let bytes: Vec<u8> = data.iter().flat_map(|&x| to_bytes(x)).collect();
    add(&bytes);
}

/// One output of a network.
#[derive(Debug)]
pub enum Buffer {
    /// Floats.
    F32(Vec<f32>),
    /// 8-bit integers.
    I8(Vec<i8>),
}

impl Buffer {
    /// The elements as floats. Integers are not scaled.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::F32(data) => data.clone(),
            Self::I8(data) => data.iter().map(|&x| x.into()).collect(),
        }
    }

    /// The elements of a float output; empty for an integer output.
    pub fn as_f32(&self) -> &[f32] {
        match self {
            Self::F32(data) => data,
            Self::I8(_) => &[],
        }
    }
}
