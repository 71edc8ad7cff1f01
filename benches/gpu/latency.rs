//! Measures the latency of an inference on the CPU and on the GPU, with each option of the engines.

use std::fmt;
use std::time::{Duration, Instant};

use pilotage::engines::{GpuSetup, ProcessLimits};
use pilotage_engine::{
    Bundle, CpuEngine, CpuOptions, ElementType, Engine, TensorMut, TensorRef, ValidationSet,
};
use pilotage_gpu::{TensorRtPaths, load};
use tensorrt_rs::{RunOptions, Transfer, Wait};

/// The table of results.
#[derive(Default)]
pub struct Rows {
    rows: Vec<Row>,
}

struct Row {
    engine: String,
    precision: String,
    how: String,
    /// The sorted times by the CPU's clock, in nanoseconds.
    total: Vec<u64>,
    /// The sorted times by the device's events, in nanoseconds.
    device: Vec<u64>,
}

/// The period of frames while driving: 20 frames a second.
const PERIOD: Duration = Duration::from_millis(50);
const PACED: usize = 200;
const WARM_UP: usize = 200;
/// The time limit of an inference. A longer one fails the test.
const LIMIT: Duration = Duration::from_secs(1);

impl Rows {
    /// Adds the rows of one engine file.
    ///
    /// # Errors
    /// When an engine fails.
    pub fn measure(
        &mut self,
        bundle: &Bundle,
        places: &TensorRtPaths,
        precision: &str,
        count: usize,
    ) -> anyhow::Result<()> {
        let frames = frames(bundle)?;
        for threads in [1, 2] {
            let options = CpuOptions {
                threads,
                ..CpuOptions::default()
            };
            let mut engine = CpuEngine::new(&bundle.plan, options)?;
            let how = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
            self.time(&mut engine, &frames, precision, &how, count, None)?;
        }
        let options = RunOptions {
            limit: LIMIT,
            ..RunOptions::default()
        };
        for (transfer, memory) in [(Transfer::Mapped, "mapped"), (Transfer::Copied, "copied")] {
            for (graph, start) in [(true, "graph"), (false, "enqueue")] {
                let options = RunOptions {
                    transfer: Some(transfer),
                    graph,
                    ..options
                };
                let mut engine = load(bundle, places, options)?.engine;
                let how = format!("{start}, {memory}");
                self.time(&mut engine, &frames, precision, &how, count, None)?;
            }
        }
        let sleeping = RunOptions {
            wait: Wait::Sleep,
            ..options
        };
        let mut engine = load(bundle, places, sleeping)?.engine;
        self.time(
            &mut engine,
            &frames,
            precision,
            "graph, sleeping",
            count,
            None,
        )?;
        drop(engine);
        // The options of `pilotage drive`.
        let limits = ProcessLimits {
            start: Duration::from_secs(600),
            answer: LIMIT,
            wait: Wait::Spin,
        };
        let setup = GpuSetup {
            places: places.clone(),
            program: None,
        };
        let mut engine = setup.start(&bundle.write()?, options, limits)?;
        let how = "graph, own process";
        self.time(&mut engine, &frames, precision, how, count, None)?;
        let how = "the same, 20 a second";
        self.time(
            &mut engine,
            &frames,
            precision,
            how,
            count.min(PACED),
            Some(PERIOD),
        )
    }

    fn time(
        &mut self,
        engine: &mut dyn Engine,
        frames: &[Input],
        precision: &str,
        how: &str,
        count: usize,
        period: Option<Duration>,
    ) -> anyhow::Result<()> {
        eprintln!("{precision}: {how}, {count} inferences");
        engine.prepare()?;
        let mut outputs: Vec<Vec<f32>> = engine
            .outputs()
            .iter()
            .map(|port| vec![0.0; port.len()])
            .collect();
        let mut infer = |index: usize| {
            let input = &frames[index % frames.len()];
            let mut views: Vec<_> = outputs.iter_mut().map(|o| TensorMut::F32(o)).collect();
            engine.infer(&[input.view()], &mut views)
        };
        for index in 0..WARM_UP.min(count) {
            infer(index)?;
        }
        let (mut total, mut device) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut due = Instant::now();
        for index in 0..count {
            if let Some(period) = period {
                due += period;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let timing = infer(index)?;
            total.push(nanos(timing.total));
            device.extend(timing.device.map(nanos));
        }
        total.sort_unstable();
        device.sort_unstable();
        self.rows.push(Row {
            engine: engine.describe(),
            precision: precision.to_owned(),
            how: how.to_owned(),
            total,
            device,
        });
        Ok(())
    }
}

/// A frame in the element type of the engine's input.
enum Input {
    I8(Vec<i8>),
    F32(Vec<f32>),
}

impl Input {
    fn view(&self) -> TensorRef<'_> {
        match self {
            Self::I8(values) => TensorRef::I8(values),
            Self::F32(values) => TensorRef::F32(values),
        }
    }
}

/// The validation frames of the engine file.
fn frames(bundle: &Bundle) -> anyhow::Result<Vec<Input>> {
    let validation = ValidationSet::of(bundle)?;
    let is_int8 = (bundle.plan.inputs.iter())
        .all(|port| bundle.plan.port(port).element_type == ElementType::I8);
    let frames = validation.frames().iter().map(|frame| match is_int8 {
        true => Input::I8(frame.iter().map(|&p| (p ^ 0x80).cast_signed()).collect()),
        false => Input::F32(frame.iter().map(|&p| f32::from(p)).collect()),
    });
    Ok(frames.collect())
}

/// The quantile of `sorted` nanoseconds at `share`, in microseconds; a dash if there are none.
fn microseconds(sorted: &[u64], share: f64) -> String {
    let last = sorted.len().saturating_sub(1);
    let index = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(index.min(last)).map_or_else(
        || "-".to_owned(),
        |&nanos| format!("{:.0}", nanos as f64 * 1e-3),
    )
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "One inference, microseconds, by the clock and on the device by its own events:\n\n\
             | engine | precision | how | inferences | median | p99 | p99.9 | longest | device, median | device, p99 |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        )?;
        for row in &self.rows {
            let at = |share| microseconds(&row.total, share);
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.engine,
                row.precision,
                row.how,
                row.total.len(),
                at(0.5),
                at(0.99),
                at(0.999),
                at(1.0),
                microseconds(&row.device, 0.5),
                microseconds(&row.device, 0.99)
            )?;
        }
        Ok(())
    }
}
