//! After start-up the loop allocates nothing: design rule 6.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use pilotage::car::{Car, Settings};
use pilotage::drive::{Ending, LogRequest, RecordingRequest, Request, Session};
use pilotage::engines::{self, ProcessEngine, ProcessLimits};
use pilotage::recorder::Encoding;
use pilotage::simulation::Pace;
use pilotage_drivelog::{Keep, Reader, Store, Window};
use pilotage_engine::{
    Bundle, CpuEngine, CpuOptions, Engine, EngineError, Port, TensorMut, TensorRef, Timing,
};
use tensorrt_rs::Wait;

/// The allocations of 200 iterations of the loop, and how many there were.
fn allocations_per_lap_of(
    recording: Option<RecordingRequest>,
    adjust: impl FnOnce(&mut Settings),
) -> (u64, u64) {
    allocations_of(recording, None, adjust)
}

fn allocations_of(
    recording: Option<RecordingRequest>,
    log: Option<LogRequest>,
    adjust: impl FnOnce(&mut Settings),
) -> (u64, u64) {
    let car = Car::load_with(None, |settings| {
        settings.simulator.pace = Pace::Fast;
        settings.simulator.latency_ms = Some(10.0);
        adjust(settings);
    });
    let mut session = Session::start(Request {
        recording,
        log,
        json: true,
        ..Request::new(car.unwrap())
    })
    .unwrap();
    let mut iterations = 0;
    let counted = allocation_counter::measure(|| {
        while iterations < 200 && session.step().is_none() {
            iterations += 1;
        }
    });
    session.finish(&Ending::Signal).unwrap();
    (counted.count_total, iterations)
}

#[test]
fn two_hundred_iterations_of_the_loop_allocate_nothing() {
    assert_eq!(allocations_per_lap_of(None, |_| ()), (0, 200));
}

#[test]
fn the_loop_allocates_nothing_on_the_ackermann_car_with_random_light() {
    let counted = allocations_per_lap_of(None, |settings| {
        settings.car.kind = pilotage::car::Kind::Ackermann;
        settings.simulator.looks = Some(3);
    });
    assert_eq!(counted, (0, 200));
}

#[test]
fn the_loop_allocates_nothing_on_the_car_with_tyres() {
    let counted = allocations_per_lap_of(None, |settings| {
        settings.car.kind = pilotage::car::Kind::Tyres;
        settings.simulator.friction = Some(2.0);
    });
    assert_eq!(counted, (0, 200));
}

#[test]
fn a_recording_allocates_nothing_in_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    let recording = RecordingRequest {
        folder: folder.path().join("tape"),
        encoding: Encoding::Jpeg(80),
        always: false,
    };
    assert_eq!(allocations_per_lap_of(Some(recording), |_| ()), (0, 200));
    let rows = std::fs::read_to_string(folder.path().join("tape/data.csv")).unwrap();
    assert!(rows.lines().count() > 190, "{rows}");
}

#[test]
fn the_drive_log_allocates_nothing_in_the_loop() {
    for keep in [Keep::Stops, Keep::Drive] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store {
            folder: folder.path().join("logs"),
            most_logs: 10,
            most_bytes: 1_000_000_000,
        };
        let log = LogRequest {
            store: store.clone(),
            keep,
        };
        assert_eq!(allocations_of(None, Some(log), |_| ()), (0, 200));
        let logs = store.logs().unwrap();
        let [log] = &logs[..] else { panic!("{logs:?}") };
        let window = Window::read(&mut Reader::open(&log.path).unwrap()).unwrap();
        // The last record is that of the end.
        assert_eq!(window.frames.len(), 201);
        assert!(!window.pictures.is_empty() && !window.damaged);
    }
}

/// Set in the process of an engine, which is this program with [`PROCESS_TEST`].
const ROLE: &str = "PILOTAGE_TEST_ROLE";
const PROCESS_TEST: &str = "an_engine_in_its_own_process_allocates_nothing_here";

#[test]
fn an_engine_in_its_own_process_allocates_nothing_here() {
    if std::env::var_os(ROLE).is_some() {
        return run_as_process();
    }
    // `Spin` blocks sometimes; `Sleep` blocks for each answer.
    for wait in [Wait::Spin, Wait::Sleep] {
        let mut engines = [direct(), in_own_process(wait)];
        let [(direct, here), (process, there)] = measure(&mut engines, 300)[..] else {
            panic!("two engines")
        };
        assert_eq!(here, there);
        println!("{wait:?}: {direct:?} directly, {process:?} in a process of its own");
    }
}

/// What it costs to have an engine in a process or on a thread of its own. A measurement, and no
/// test: `cargo test --release --test allocations -- --ignored --nocapture compare`.
#[test]
#[ignore = "a measurement"]
fn compare_an_engine_in_its_own_process_with_one_on_its_own_thread() {
    for wait in [Wait::Spin, Wait::Sleep] {
        let mut engines = [direct(), on_own_thread(wait), in_own_process(wait)];
        let names = ["directly", "own thread", "own process"];
        for (name, (times, _)) in names.iter().zip(measure(&mut engines, 5000)) {
            println!("{wait:?}, {name}: {times:?}");
        }
    }
}

fn run_as_process() {
    let engine = |_: &str, file: Vec<u8>| {
        let bundle = Bundle::read(&file).map_err(|error| error.to_string())?;
        CpuEngine::new(&bundle.plan, CpuOptions::default()).map_err(|error| error.to_string())
    };
    engines::serve(engine).unwrap();
}

fn direct() -> Box<dyn Engine> {
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    Box::new(CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap())
}

fn in_own_process(wait: Wait) -> Box<dyn Engine> {
    let limits = ProcessLimits {
        start: Duration::from_secs(60),
        answer: Duration::from_secs(60),
        wait,
    };
    let command = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", PROCESS_TEST, "--nocapture"])
            .env(ROLE, "process");
        command
    };
    let file = engines::compiled_in("pilotnet").unwrap();
    Box::new(ProcessEngine::start(command, String::new(), file, limits).unwrap())
}

/// The distribution of times.
#[derive(Clone, Copy)]
struct Times {
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
fn measure(engines: &mut [Box<dyn Engine>], count: usize) -> Vec<(Times, [u32; 2])> {
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

/// An engine on a thread of its own, whose tensors are moved through channels: what it costs at
/// least to be independent of its calls.
struct OnThread {
    engine: CpuEngine,
    orders: SyncSender<Box<Order>>,
    answers: Receiver<Box<Order>>,
    order: Option<Box<Order>>,
    wait: Wait,
}

struct Order {
    picture: Vec<i8>,
    numbers: [f32; 2],
}

fn on_own_thread(wait: Wait) -> Box<dyn Engine> {
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let engine = || CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let (orders, requests) = sync_channel::<Box<Order>>(1);
    let (done, answers) = sync_channel(1);
    let mut own = engine();
    std::thread::spawn(move || {
        while let Ok(mut order) = requests.recv() {
            let Order { picture, numbers } = &mut *order;
            own.infer(&[TensorRef::I8(picture)], &mut [TensorMut::F32(numbers)])
                .unwrap();
            if done.send(order).is_err() {
                return;
            }
        }
    });
    let engine = engine();
    let picture = vec![0; engine.inputs()[0].len()];
    let order = Box::new(Order {
        picture,
        numbers: [0.0; 2],
    });
    Box::new(OnThread {
        engine,
        orders,
        answers,
        order: Some(order),
        wait,
    })
}

impl Engine for OnThread {
    fn describe(&self) -> String {
        self.engine.describe()
    }
    fn inputs(&self) -> &[Port] {
        self.engine.inputs()
    }
    fn outputs(&self) -> &[Port] {
        self.engine.outputs()
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        // A channel allocates at its first wait.
        let _ = self.answers.recv_timeout(Duration::from_millis(1));
        Ok(())
    }
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        let ([TensorRef::I8(picture)], [TensorMut::F32(numbers)]) = (inputs, outputs) else {
            panic!("one picture and two numbers")
        };
        let start = Instant::now();
        let mut order = self.order.take().unwrap();
        order.picture.copy_from_slice(picture);
        self.orders.send(order).unwrap();
        let mut answer = self.answers.try_recv();
        while answer.is_err()
            && self.wait == Wait::Spin
            && start.elapsed() < Duration::from_micros(500)
        {
            std::thread::yield_now();
            answer = self.answers.try_recv();
        }
        let order = answer.or_else(|_| self.answers.recv()).unwrap();
        numbers.copy_from_slice(&order.numbers);
        self.order = Some(order);
        Ok(Timing {
            total: start.elapsed(),
            ..Timing::default()
        })
    }
}
