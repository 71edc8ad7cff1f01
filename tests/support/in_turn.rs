//! The shipped engine, directly and in a process of its own, measured in turn.

use std::process::Command;
use std::time::Duration;

use pilotage::engines::{self, ProcessEngine, ProcessLimits};
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
use tensorrt_rs::Wait;

/// Set in the process of an engine.
pub const ROLE: &str = "PILOTAGE_TEST_ROLE";

/// Serves the engine to the process that started this one.
pub fn run_as_process() {
    let engine = |_: &str, file: Vec<u8>| {
        let bundle = Bundle::read(&file).map_err(|error| error.to_string())?;
        CpuEngine::new(&bundle.plan, CpuOptions::default()).map_err(|error| error.to_string())
    };
    engines::serve(engine).unwrap();
}

/// The shipped engine, called directly.
pub fn direct() -> Box<dyn Engine> {
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    Box::new(CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap())
}

/// The same engine in a process of its own: this program with `arguments`, which has to call
/// [`run_as_process`] where [`ROLE`] is set.
pub fn in_own_process(wait: Wait, arguments: &'static [&'static str]) -> Box<dyn Engine> {
    let limits = ProcessLimits {
        start: Duration::from_secs(60),
        answer: Duration::from_secs(60),
        wait,
    };
    let command = move || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(arguments).env(ROLE, "process");
        command
    };
    let file = engines::compiled_in("pilotnet").unwrap();
    Box::new(ProcessEngine::start(command, String::new(), file, limits).unwrap())
}

/// The distribution of times.
#[derive(Clone, Copy)]
pub struct Times {
    median: Duration,
    p99: Duration,
}

impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:?}, p99 {:?}", self.median, self.p99)
    }
}

/// Times of inferences, of which none allocates, and the last answer. The engines are measured in
/// turn.
pub fn measure(engines: &mut [Box<dyn Engine>], count: usize) -> Vec<(Times, [u32; 2])> {
    let picture = vec![3_i8; engines[0].inputs()[0].len()];
    let all = engines.iter().map(|_| Vec::with_capacity(count));
    let mut all: Vec<Vec<Duration>> = all.collect();
    let mut last = vec![[0; 2]; engines.len()];
    for engine in &mut *engines {
        engine.prepare().unwrap();
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..count {
            for ((engine, times), last) in engines.iter_mut().zip(&mut all).zip(&mut last) {
                let mut numbers = [0.0; 2];
                let timing = engine.infer(
                    &[TensorRef::I8(&picture)],
                    &mut [TensorMut::F32(&mut numbers)],
                );
                times.push(timing.unwrap().total);
                *last = numbers.map(f32::to_bits);
            }
        }
    });
    assert_eq!(counted.count_total, 0);
    let times = all.into_iter().map(|mut times| {
        times.sort_unstable();
        Times {
            median: times[count / 2],
            p99: times[count * 99 / 100],
        }
    });
    times.zip(last).collect()
}
