//! After start-up the loop allocates nothing: design rule 6.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use pilotage::car::{Car, Settings};
use pilotage::drive::{Ending, LogRequest, RecordingRequest, Request, Session};
use pilotage::engines::{self, ThreadLimits, ThreadedEngine};
use pilotage::recorder::Encoding;
use pilotage::simulation::Pace;
use pilotage_drivelog::{Keep, Reader, Store, Window};
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
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

#[test]
fn the_engine_thread_allocates_nothing() {
    // `Spin` blocks sometimes; `Sleep` blocks for each answer.
    for wait in [Wait::Spin, Wait::Sleep] {
        check_engine_thread(wait);
    }
}

fn check_engine_thread(wait: Wait) {
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let mut direct = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let limits = ThreadLimits {
        start: Duration::from_secs(60),
        answer: Duration::from_secs(60),
        wait,
    };
    let plan = bundle.plan.clone();
    let make = move || CpuEngine::new(&plan, CpuOptions::default());
    let mut apart = ThreadedEngine::start(make, limits).unwrap();
    let picture = vec![3_i8; direct.inputs()[0].len()];
    let mut medians = Vec::new();
    for engine in [&mut direct as &mut dyn Engine, &mut apart] {
        engine.prepare().unwrap();
        let mut numbers = [0.0; 2];
        let mut times = Vec::with_capacity(300);
        let mut infer = || {
            engine.infer(
                &[TensorRef::I8(&picture)],
                &mut [TensorMut::F32(&mut numbers)],
            )
        };
        let counted = allocation_counter::measure(|| {
            for _ in 0..300 {
                times.push(infer().unwrap().total);
            }
        });
        assert_eq!(counted.count_total, 0);
        times.sort_unstable();
        medians.push((times[150], numbers.map(f32::to_bits)));
    }
    let [(direct, here), (apart, there)] = medians[..] else {
        panic!("two engines")
    };
    assert_eq!(here, there);
    println!("{wait:?}: {direct:?} directly, {apart:?} on a thread of its own");
}
