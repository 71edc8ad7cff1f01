//! Three measurements: the whole network, each layer, and vision.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context;
use pilotage_engine::plan::Layer;
use pilotage_engine::{Buffer, Bundle, CpuEngine, CpuOptions, Engine, EngineError, Port, Timing};
use pilotage_vision::{Frame, PixelFormat, Preprocess, Vision};
use serde::Serialize;

use super::inputs::{Inputs, Noise, frame_size};
use crate::times::{Sample, Times, nanos};

/// The minimum duration of the warm-up, and the minimum number of inferences in it.
const WARM_UP: Duration = Duration::from_millis(200);
const LEAST_WARM_UP: usize = 5;
/// The largest number of inferences with each layer timed.
const MOST_PROFILED: usize = 2_000;
/// The number of frames that vision is timed on.
const VISION_FRAMES: usize = 500;
/// The frame size for a recipe that crops nothing: that of car.toml's default camera.
const USUAL_FRAME: (u32, u32) = (640, 480);
/// If a pass takes longer than this, its expected time is reported first.
const PATIENCE: Duration = Duration::from_secs(10);

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) enum Until {
    Count(usize),
    /// This long, and at most [`MOST_COUNT`] inferences.
    Elapsed(Duration),
}

/// The largest number of inferences that are kept in memory, 16 bytes each.
pub(in crate::commands) const MOST_COUNT: usize = 5_000_000;

/// An engine with its inputs, and memory for its outputs.
struct Subject<'a> {
    engine: CpuEngine,
    frames: &'a [Vec<Buffer>],
    next: usize,
    input: Vec<Buffer>,
    outputs: Vec<Buffer>,
}

impl<'a> Subject<'a> {
    fn new(bundle: &Bundle, options: CpuOptions, inputs: &'a Inputs) -> anyhow::Result<Self> {
        let engine = CpuEngine::new(&bundle.plan, options)?;
        let tensors = |ports: &[Port]| ports.iter().map(Buffer::zeros).collect();
        Ok(Self {
            input: tensors(engine.inputs()),
            outputs: tensors(engine.outputs()),
            engine,
            frames: &inputs.frames,
            next: 0,
        })
    }

    /// One inference on the next frame. The frame is first copied to where vision would write it,
    /// so that the engine finds it in the same cache.
    fn infer(&mut self) -> Result<Timing, EngineError> {
        if let Some(frame) = self.frames.get(self.next) {
            self.input.clone_from_slice(frame);
            self.next = (self.next + 1) % self.frames.len();
        }
        let inputs: Vec<_> = self.input.iter().map(Buffer::as_ref).collect();
        let mut outputs: Vec<_> = self.outputs.iter_mut().map(Buffer::as_mut).collect();
        self.engine.infer(&inputs, &mut outputs)
    }

    /// Runs until memory, clock and branch prediction are warm; returns the least time.
    fn warm_up(&mut self) -> Result<Duration, EngineError> {
        self.engine.prepare()?;
        warm_up(WARM_UP, || Ok(self.infer()?.total))
    }
}

/// Repeats `once`, which returns how long it took, for at least `length`. Returns the least time: any
/// other may be one in which the machine ran something else.
fn warm_up<E>(
    length: Duration,
    mut once: impl FnMut() -> Result<Duration, E>,
) -> Result<Duration, E> {
    let start = Instant::now();
    let (mut count, mut least) = (0, Duration::MAX);
    while count < LEAST_WARM_UP || start.elapsed() < length {
        least = least.min(once()?);
        count += 1;
    }
    Ok(least)
}

/// The times of the whole network.
#[derive(Debug)]
pub(in crate::commands) struct NetworkTimes {
    /// The engine's description.
    pub(in crate::commands) description: String,
    pub(in crate::commands) samples: Vec<Sample>,
    /// The total time of the inferences.
    pub(in crate::commands) elapsed: Duration,
    /// The times of a calibration loop as long as an inference, run in alternation with the
    /// inferences.
    pub(in crate::commands) counting: Times,
}

/// The number of inferences, and of calibration loops, per batch.
const BATCH: usize = 64;

/// A loop of multiplications and rotations in registers: if it takes longer than usual, the machine
/// did something else.
#[derive(Debug)]
struct CalibrationLoop {
    rounds: u64,
    taken: Vec<u64>,
}

impl CalibrationLoop {
    /// A loop of about the given `length`.
    fn with_length(length: Duration, capacity: usize) -> Self {
        const TRIED: u64 = 100_000;
        let took = (0..10).map(|_| Self::count(TRIED)).min();
        let once = took.unwrap_or_default().as_secs_f64().max(1e-9) / TRIED as f64;
        Self {
            rounds: (length.as_secs_f64() / once) as u64 + 1,
            taken: Vec::with_capacity(capacity),
        }
    }

    fn count(rounds: u64) -> Duration {
        let start = Instant::now();
        let mut sum = black_box(1_u64);
        for _ in 0..black_box(rounds) {
            // A recurrence, so that each round depends on the one before and none can be skipped.
            sum = sum.wrapping_mul(6_364_136_223_846_793_005).rotate_left(7);
        }
        black_box(sum);
        start.elapsed()
    }

    fn run(&mut self, loops: usize) {
        for _ in 0..loops {
            self.taken.push(nanos(Self::count(self.rounds)));
        }
    }
}

/// Times the whole network without profiling, in alternation with calibration loops, which do not
/// touch the caches.
pub(in crate::commands) fn whole(
    bundle: &Bundle,
    options: CpuOptions,
    inputs: &Inputs,
    until: Until,
) -> anyhow::Result<NetworkTimes> {
    let mut subject = Subject::new(bundle, options, inputs)?;
    let once = subject.warm_up()?;
    let (capacity, limit) = match until {
        Until::Count(count) => {
            let expected = once.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            if expected > PATIENCE {
                pilotage_console::say(format_args!(
                    "{count} inferences of {once:.1?} take about {expected:.0?}"
                ));
            }
            (count, Duration::MAX)
        }
        Until::Elapsed(limit) => {
            let expected = limit.as_secs_f64() / once.as_secs_f64().max(1e-9);
            ((expected * 2.0) as usize + 1, limit)
        }
    };
    // Allocate for all samples, so that memory does not grow during the measurement.
    let capacity = capacity.min(MOST_COUNT);
    let mut samples = Vec::with_capacity(capacity);
    let mut counting = CalibrationLoop::with_length(once, capacity);
    let mut counted = Duration::ZERO;
    let start = Instant::now();
    while samples.len() < capacity {
        let at = start.elapsed() - counted;
        if at >= limit {
            break;
        }
        let took = subject.infer()?.total;
        samples.push(Sample {
            at: nanos(at),
            took: nanos(took),
        });
        if samples.len() % BATCH == 0 || samples.len() == capacity {
            let begun = Instant::now();
            counting.run(samples.len() - counting.taken.len());
            counted += begun.elapsed();
        }
    }
    let elapsed = start.elapsed() - counted;
    counting.run(samples.len() - counting.taken.len());
    Ok(NetworkTimes {
        description: subject.engine.describe(),
        samples,
        elapsed,
        counting: Times::of(&mut counting.taken),
    })
}

/// Runs the whole network for this long, without timing it: for an energy meter. Returns the
/// number of inferences.
pub(in crate::commands) fn repeat(
    bundle: &Bundle,
    options: CpuOptions,
    inputs: &Inputs,
    (length, mut on_start): (Duration, impl FnMut()),
) -> anyhow::Result<usize> {
    let mut subject = Subject::new(bundle, options, inputs)?;
    subject.warm_up()?;
    on_start();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < length {
        subject.infer()?;
        count += 1;
    }
    Ok(count)
}

/// The plan's layers. The weights of one that runs from compressed weights have the bytes that an
/// inference reads.
pub(in crate::commands) fn layers(
    bundle: &Bundle,
    options: CpuOptions,
) -> anyhow::Result<Vec<Layer>> {
    let options = CpuOptions {
        profile: true,
        ..options
    };
    let engine = CpuEngine::new(&bundle.plan, options)?;
    let mut layers = bundle.plan.layers();
    for (layer, step) in layers.iter_mut().zip(engine.profile()) {
        if let Some((stored, bytes)) = step.weights
            && stored != "dense"
        {
            layer.weight_bytes = bytes;
        }
    }
    Ok(layers)
}

/// The times of one layer.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct LayerTimes {
    pub(in crate::commands) times: Times,
    /// Whether several threads of the engine run it.
    pub(in crate::commands) shared: bool,
}

/// Times each layer of the plan, in order.
pub(in crate::commands) fn by_layer(
    bundle: &Bundle,
    options: CpuOptions,
    inputs: &Inputs,
    count: usize,
) -> anyhow::Result<Vec<LayerTimes>> {
    let options = CpuOptions {
        profile: true,
        ..options
    };
    let count = count.min(MOST_PROFILED);
    let mut subject = Subject::new(bundle, options, inputs)?;
    subject.warm_up()?;
    let totals = |engine: &CpuEngine, to: &mut Vec<Duration>| {
        to.clear();
        to.extend(engine.profile().map(|step| step.total));
    };
    let (mut before, mut after) = (Vec::new(), Vec::new());
    totals(&subject.engine, &mut before);
    let mut taken: Vec<Vec<u64>> = vec![Vec::with_capacity(count); before.len()];
    for _ in 0..count {
        subject.infer()?;
        // The engine keeps sums: the difference is the time of one inference.
        totals(&subject.engine, &mut after);
        for (taken, (before, after)) in taken.iter_mut().zip(before.iter().zip(&after)) {
            taken.push(nanos(after.saturating_sub(*before)));
        }
        std::mem::swap(&mut before, &mut after);
    }
    let layers = subject.engine.profile().zip(&mut taken);
    Ok(layers
        .map(|(step, taken)| LayerTimes {
            times: Times::of(taken),
            shared: step.shared,
        })
        .collect())
}

/// The times from a camera's frame to the engine's input.
#[derive(Debug, Clone, Serialize)]
pub(in crate::commands) struct VisionTimes {
    /// Width and height of the frame, pixels.
    pub(in crate::commands) frame: [u32; 2],
    pub(in crate::commands) format: PixelFormat,
    /// Width and height of the input, pixels.
    pub(in crate::commands) input: [u32; 2],
    pub(in crate::commands) times: Times,
}

/// Times vision on noise; its work is the same for every picture.
pub(in crate::commands) fn vision(bundle: &Bundle, count: usize) -> anyhow::Result<VisionTimes> {
    let preprocess: Preprocess = serde_json::from_value(bundle.manifest.preprocessing.clone())
        .context("its preprocessing cannot be used")?;
    let format = PixelFormat::Rgb8;
    let (width, height) = frame_size(&preprocess, USUAL_FRAME);
    let mut vision = Vision::new(&preprocess, width, height, format)?;
    let mut frame = Frame::new(format, width, height)?;
    let mut noise = Noise::default();
    frame.data_mut().fill_with(|| noise.byte());
    let length = vision.output_len();
    let mut input = match bundle.plan.inputs.as_slice() {
        [port] if bundle.plan.port(port).len() == length => Buffer::zeros(&bundle.plan.port(port)),
        _ => anyhow::bail!("the engine's input is not one picture"),
    };
    let count = count.min(VISION_FRAMES);
    let mut taken = Vec::with_capacity(count);
    let start = Instant::now();
    let mut warm = false;
    while taken.len() < count {
        let begun = Instant::now();
        match &mut input {
            Buffer::F32(input) => vision.run(frame.view(), input)?,
            Buffer::I8(input) => vision.run_i8(frame.view(), input)?,
            _ => anyhow::bail!("the engine's input is neither f32 nor i8"),
        }
        let took = begun.elapsed();
        warm = warm || start.elapsed() >= WARM_UP / 4;
        if warm {
            taken.push(nanos(took));
        }
    }
    Ok(VisionTimes {
        frame: [width, height],
        format,
        input: [preprocess.width, preprocess.height],
        times: Times::of(&mut taken),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An inference that another program interrupts is no measure for the loops that follow.
    #[test]
    fn the_warm_up_returns_the_least_time() {
        let mut times = [3, 1, 2, 5, 700].map(Duration::from_micros).into_iter();
        let least = warm_up(Duration::ZERO, || times.next().ok_or(()));
        assert_eq!(least, Ok(Duration::from_micros(1)));
        assert_eq!(warm_up(Duration::ZERO, || Err(())), Err::<Duration, ()>(()));
    }
}
