//! After start-up the loop allocates nothing: design rule 6.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use pilotage::car::{Car, Settings};
use pilotage::drive::{Ending, LogRequest, RecordingRequest, Request, Session};
use pilotage::recorder::Encoding;
use pilotage::simulation::Pace;
use pilotage_drivelog::{Keep, Reader, Store, Window};
use tensorrt_rs::Wait;

#[path = "support/in_turn.rs"]
mod in_turn;

#[path = "support/memory.rs"]
mod memory;

#[path = "support/numbers.rs"]
#[allow(dead_code, reason = "other tests use the constants")]
mod numbers;

#[path = "support/lidar.rs"]
mod lidar;

use in_turn::{ROLE, direct, in_own_process, measure, run_as_process};

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
        settings.simulator.appearance_seed = Some(3);
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
fn a_network_with_a_memory_allocates_nothing_in_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    memory::write(
        concat!(env!("CARGO_MANIFEST_DIR"), "/engines"),
        folder.path(),
    );
    let compiled = pilotage_compiler::compile(&folder.path().join("memory.toml")).unwrap();
    let engine = folder.path().join("memory.engine");
    std::fs::write(&engine, compiled.bytes).unwrap();
    let counted = allocations_per_lap_of(None, |settings| {
        settings.engine.file = Some(engine.display().to_string());
    });
    assert_eq!(counted, (0, 200));
}

#[test]
fn a_network_with_measurements_and_a_command_allocates_nothing_in_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    numbers::write(folder.path(), "fp32");
    let engine = numbers::compiled(folder.path());
    let recording = RecordingRequest {
        folder: folder.path().join("tape"),
        encoding: Encoding::Jpeg(80),
        always: false,
    };
    let counted = allocations_per_lap_of(Some(recording), |settings| {
        settings.engine.file = Some(engine);
    });
    assert_eq!(counted, (0, 200));
}

#[test]
fn a_network_with_scans_allocates_nothing_in_the_loop() {
    let folder = tempfile::tempdir().unwrap();
    lidar::write(folder.path(), "fp32", None);
    let engine = lidar::compiled(folder.path());
    let recording = RecordingRequest {
        folder: folder.path().join("tape"),
        encoding: Encoding::Jpeg(80),
        always: false,
    };
    let log = LogRequest {
        store: Store {
            folder: folder.path().join("logs"),
            most_logs: 10,
            most_bytes: 1_000_000_000,
        },
        keep: Keep::Stops,
    };
    let counted = allocations_of(Some(recording), Some(log), |settings| {
        settings.engine.file = Some(engine);
    });
    assert_eq!(counted, (0, 200));
    let scans = std::fs::metadata(folder.path().join("tape/scans.bin")).unwrap();
    assert!(scans.len() > 190 * 2 * 1081, "{}", scans.len());
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

/// The process of the engine is this program with this test.
const PROCESS: [&str; 3] = [
    "--exact",
    "an_engine_in_its_own_process_allocates_nothing_here",
    "--nocapture",
];

#[test]
fn an_engine_in_its_own_process_allocates_nothing_here() {
    if std::env::var_os(ROLE).is_some() {
        return run_as_process();
    }
    // `Spin` blocks sometimes; `Sleep` blocks for each answer.
    for wait in [Wait::Spin, Wait::Sleep] {
        let mut engines = [direct(), in_own_process(wait, &PROCESS)];
        let [(direct, here), (process, there)] = measure(&mut engines, 300)[..] else {
            panic!("two engines")
        };
        assert_eq!(here, there);
        println!("{wait:?}: {direct:?} directly, {process:?} in a process of its own");
    }
}
