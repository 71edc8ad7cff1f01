//! The evaluation of one engine, in a process that does nothing else.

use anyhow::Context;
use pilotage_dataset::Recording;
use pilotage_engine::{
    Bundle, CpuOptions, InstructionSet, PathDecoder, PathSpeed, TensorMut, TensorRef,
};
use pilotage_engine::{ElementType, Engine};
use serde::{Deserialize, Serialize};

use super::energy::{self, Energy};
use super::errors::{self, OutputError};
use super::{Options, memory};
use crate::car::{BackendKind, Car};
use crate::commands::bench::inputs::{Inputs, Source};
use crate::commands::bench::passes::{self, Until};
use crate::commands::drive::choose_engine;
use crate::engines;
use crate::replay::answers::Answers;
use crate::replay::compare::Unit;
use crate::times::Times;

/// The source of inputs that are no frames, as in the JSON.
pub(super) const NOISE: &str = "noise";

/// What was measured of one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Evaluation {
    /// What ran the engine: instruction set, precision, one thread.
    pub backend: String,
    /// How much the process's anonymous resident memory grew when the engine was loaded and had
    /// answered; `None` if the system does not report it.
    pub resident_bytes: Option<u64>,
    /// The frames that were answered.
    pub frames: usize,
    /// Each output.
    pub outputs: Vec<OutputError>,
    /// The mean over the outputs of their normalized mean squared errors.
    pub mse: f64,
    /// The largest normalized error of any output.
    pub worst: f64,
    /// What the engine was timed on: `frames` from its file, or `noise` if it has none.
    pub source: String,
    /// An image on one thread, warm.
    pub inference: Times,
    /// The same number of loops that only count, by turns with the inferences: how much the machine
    /// disturbs any program.
    pub counting: Times,
    /// From a camera's frame to the network's input, on one thread; `None` if the input is not a
    /// camera's picture.
    pub vision: Option<Times>,
    pub energy: Energy,
}

/// Measures the engine that `options` name.
pub(super) fn evaluate(options: &Options) -> anyhow::Result<Evaluation> {
    let car = Car::load_with(options.car.as_deref(), |settings| {
        let engine = &mut settings.engine;
        engine.threads = 1;
        engine.backend = BackendKind::Cpu;
        if let Some(set) = options.instruction_set {
            engine.instruction_set = Some(set.name().to_owned());
        }
        choose_engine(engine, options.engines.first().map(String::as_str));
    })?;
    // First, while the process has nothing else.
    let resident_bytes = resident(&car)?;
    let set = car.instruction_set.unwrap_or_else(InstructionSet::best);
    let cpu = CpuOptions {
        threads: 1,
        instruction_set: Some(set),
        ..CpuOptions::default()
    };
    let fetched = engines::fetch(&car.engine, &car.trust)?;
    let bundle =
        Bundle::read(&fetched.bytes).with_context(|| format!("engine `{}`", fetched.name))?;
    let inputs = Inputs::of(&bundle);
    let whole = passes::whole(&bundle, cpu, &inputs, Until::Count(options.count as usize))?;
    let mut taken: Vec<u64> = whole.samples.iter().map(|sample| sample.took).collect();
    let vision = match passes::vision(&bundle, options.count as usize) {
        Ok(vision) => Some(vision.times),
        Err(error) => {
            log::info!("vision is not timed: {error:#}");
            None
        }
    };
    let energy = energy::measure(&bundle, cpu, &inputs)?;
    let recording = Recording::open(&options.data)?;
    let answers = Answers::of(&recording, &car)?;
    let unit = Unit::common(
        &recording,
        std::slice::from_ref(&answers),
        options.car.is_some(),
    )?;
    let fixed = |decoder: &PathDecoder| matches!(decoder.speed, PathSpeed::Fixed(_));
    let steers_only =
        bundle.manifest.throttle.is_some() || bundle.manifest.decoder.as_ref().is_some_and(fixed);
    let outputs = errors::of(&recording, &answers, unit, &car.mixer, steers_only)?;
    let together = errors::together(&outputs);
    Ok(Evaluation {
        backend: whole.description,
        resident_bytes,
        frames: answers.answers.len(),
        mse: together.mse,
        worst: together.worst,
        outputs,
        source: match inputs.source {
            Source::Frames => "frames",
            Source::Noise => NOISE,
        }
        .to_owned(),
        inference: Times::of(&mut taken),
        counting: whole.counting,
        vision,
        energy,
    })
}

/// Loads the engine as a drive does, lets it answer, and drops it.
fn resident(car: &Car) -> anyhow::Result<Option<u64>> {
    let before = memory::anonymous();
    let mut loaded = engines::load(car)?;
    for note in &loaded.notes {
        pilotage_console::say(format_args!("note: {note}"));
    }
    answer_zeros(&mut *loaded.engine)?;
    let after = memory::anonymous();
    drop(loaded);
    Ok(before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before)))
}

/// Tensors of zeros.
enum Zeros {
    F32(Vec<f32>),
    I8(Vec<i8>),
}

/// One inference, so that the engine's memory is in use. An engine with other inputs than a
/// camera's picture is not run.
fn answer_zeros(engine: &mut dyn Engine) -> anyhow::Result<()> {
    engine.prepare()?;
    let zeros = |ports: &[pilotage_engine::Port]| {
        let zeros = |port: &pilotage_engine::Port| match port.element_type {
            ElementType::F32 => Some(Zeros::F32(vec![0.0; port.len()])),
            ElementType::I8 => Some(Zeros::I8(vec![0; port.len()])),
            _ => None,
        };
        ports.iter().map(zeros).collect::<Option<Vec<Zeros>>>()
    };
    let (Some(inputs), Some(mut outputs)) = (zeros(engine.inputs()), zeros(engine.outputs()))
    else {
        return Ok(());
    };
    let inputs: Vec<_> = (inputs.iter())
        .map(|zeros| match zeros {
            Zeros::F32(data) => TensorRef::F32(data),
            Zeros::I8(data) => TensorRef::I8(data),
        })
        .collect();
    let mut outputs: Vec<_> = (outputs.iter_mut())
        .map(|zeros| match zeros {
            Zeros::F32(data) => TensorMut::F32(data),
            Zeros::I8(data) => TensorMut::I8(data),
        })
        .collect();
    engine.infer(&inputs, &mut outputs)?;
    Ok(())
}
