//! Driving with the GPU's engine, on a machine that has only stand-ins for CUDA and for
//! TensorRT's shim (crates/tensorrt/tests/stand-in). What they answer is computed by the CPU
//! engine in a thread beside. No figure from here is a GPU's.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use pilotage::car::{BackendKind, Car, OnGpuFailure};
use pilotage::engines;
use pilotage::pilot::Dropped;
use pilotage::simulation::{Pace, SimulatedDrive};
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
use pilotage_guard::Mode;
use pilotage_tensorrt::{Places, Shims, prepare};
use serde::{Deserialize, Serialize};

const SHIM: &str = "libpilotage_tensorrt_100300.so";

/// What a run of [`drives`] is told.
const PLACE: &str = "PILOTAGE_TEST_PLACE";
/// What fails from frame [`FAILS`] to frame [`HEALS`].
const FAULT: &str = "PILOTAGE_TEST_FAULT";
const FAILS: usize = 100;
const HEALS: usize = 140;

/// What one drive came to.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Drive {
    backend: String,
    notes: Vec<String>,
    completed: bool,
    /// Every command: steering and throttle, as bits.
    commands: Vec<(u32, u32)>,
    /// Frames that the fallback answered.
    fallbacks: Vec<usize>,
    /// The longest that a frame took to its command from the fault on, milliseconds.
    longest: f64,
    /// How the pilot and the guard ended, where they did not go on.
    error: Option<String>,
    stopped: Option<String>,
    failsafe: bool,
}

/// A lap of `simple` with a fixed latency, so that the same answers give the same lap.
fn car(backend: BackendKind, on_failure: OnGpuFailure) -> Car {
    Car::load_with(None, |settings| {
        settings.simulator.pace = Pace::Fast;
        settings.simulator.latency_ms = Some(10.0);
        settings.engine.backend = backend;
        settings.engine.fallback = on_failure;
    })
    .unwrap()
}

fn drive(car: &Car, places: &Places, fault: Option<(&Path, &str)>) -> Drive {
    let loaded = engines::load_with(car, places).unwrap();
    let mut told = Drive {
        backend: loaded.engine.describe(),
        notes: loaded.notes.clone(),
        ..Drive::default()
    };
    let world = car.world().unwrap();
    let mut drive = SimulatedDrive::new(car, world, loaded, Dropped::default()).unwrap();
    drive.pilot.prepare().unwrap();
    drive.arm().unwrap();
    for frame in 0.. {
        if let Some((file, call)) = fault {
            match frame {
                FAILS => fs::write(file, call).unwrap(),
                HEALS => fs::remove_file(file).unwrap(),
                _ => {}
            }
        }
        match drive.pilot.step() {
            Ok(step) => {
                let command = step.command;
                told.commands
                    .push((command.steering.to_bits(), command.throttle.to_bits()));
                if step.fallback {
                    told.fallbacks.push(frame);
                }
                if frame >= FAILS {
                    told.longest = told.longest.max(step.thinking.as_secs_f64() * 1e3);
                }
            }
            Err(error) => told.error = Some(error.to_string()),
        }
        let status = drive.pilot.link().status();
        told.stopped = status.state.stopped().map(|reason| reason.to_string());
        told.failsafe = status.output.mode == Mode::Failsafe;
        let outcome = drive.world.borrow().outcome();
        told.completed = matches!(outcome, Some(pilotage_simulator::Outcome::LapDone { .. }));
        if outcome.is_some() || told.error.is_some() || told.stopped.is_some() {
            break;
        }
    }
    told
}

/// Not a test by itself: what the tests below run with stand-ins in its way.
#[test]
fn drives() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else {
        return;
    };
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let listener = UnixListener::bind(place.join("ask")).unwrap();
    let engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let fault = place.join("fault");
    let file = fault.clone();
    std::thread::spawn(move || answer(&listener, engine, &file));
    let places = places(&place);
    prepare(&bundle, &places, &|_| true).unwrap();
    let on_failure = match place.join("stop").exists() {
        true => OnGpuFailure::Stop,
        false => OnGpuFailure::Cpu,
    };
    let call = std::env::var(FAULT).ok();
    let told = drive(
        &car(BackendKind::TensorRt, on_failure),
        &places,
        call.as_deref().map(|call| (fault.as_path(), call)),
    );
    fs::write(place.join("said"), serde_json::to_vec(&told).unwrap()).unwrap();
}

fn places(place: &Path) -> Places {
    Places {
        libraries: Some(place.to_owned()),
        shims: Shims::In(place.to_owned()),
        headers: vec![place.to_owned()],
        plans: place.join("plans"),
    }
}

/// Computes what the stand-in is asked for: planar levels in, numbers out.
fn answer(listener: &UnixListener, mut engine: CpuEngine, fault: &Path) {
    let (mut line, _) = listener.accept().unwrap();
    let length = engine.inputs()[0].len();
    let (mut planes, mut levels) = (vec![0; length], vec![0_i8; length]);
    while line.read_exact(&mut planes).is_ok() {
        for (at, level) in levels.iter_mut().enumerate() {
            *level = planes[at % 3 * (length / 3) + at / 3].cast_signed();
        }
        let mut numbers = [0.0; 2];
        engine
            .infer(
                &[TensorRef::I8(&levels)],
                &mut [TensorMut::F32(&mut numbers)],
            )
            .unwrap();
        if fs::read_to_string(fault).is_ok_and(|call| call == "nan") {
            numbers = [f32::NAN; 2];
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        line.write_all(&bytes).unwrap();
    }
}

/// A machine with stand-ins.
struct Machine {
    place: tempfile::TempDir,
}

impl Machine {
    fn new(on_failure: OnGpuFailure) -> Self {
        let machine = Self {
            place: tempfile::tempdir().unwrap(),
        };
        let place = machine.place.path();
        compile("cuda.c", &place.join("libcuda.so"), &[]);
        for library in ["libnvinfer.so.10", "libnvonnxparser.so.10", SHIM] {
            compile("tensorrt.c", &place.join(library), &["-DVERSION=100300"]);
        }
        let sum = Command::new("sha256sum")
            .arg(place.join(SHIM))
            .output()
            .unwrap();
        let beside = place.join(SHIM).with_extension("so.sha256");
        fs::write(beside, &sum.stdout[..64]).unwrap();
        let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
        let [input, output] = [&bundle.plan.inputs[0].name, &bundle.plan.outputs[0].name];
        // INT8 in, planar; float out.
        let header = format!("{input} 2 4 1 3 66 200 {output} 0 2 1 2\n");
        fs::write(place.join("answers"), header).unwrap();
        if on_failure == OnGpuFailure::Stop {
            fs::write(place.join("stop"), "").unwrap();
        }
        machine
    }

    fn drive(&self, environment: &[(&str, &str)]) -> Drive {
        let place = self.place.path();
        for leftover in ["ask", "said", "fault"] {
            let _ = fs::remove_file(place.join(leftover));
        }
        let mut folders = vec![place.to_owned()];
        let given = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        folders.extend(std::env::split_paths(&given));
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "drives", "--nocapture"])
            .env(PLACE, place)
            .env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap())
            .env("STAND_IN_ANSWERS", place.join("answers"))
            .env("STAND_IN_ASK", place.join("ask"))
            .env("STAND_IN_FAIL_FILE", place.join("fault"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(run.status.success(), "{environment:?}: {run:?}");
        serde_json::from_slice(&fs::read(place.join("said")).unwrap()).unwrap()
    }
}

fn compile(source: &str, to: &Path, options: &[&str]) {
    let tensorrt = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/tensorrt");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wno-unused-result"])
        .args(options)
        .arg("-I")
        .args([
            tensorrt.join("shim"),
            tensorrt.join("tests/stand-in").join(source),
        ])
        .arg("-o")
        .arg(to)
        .status();
    assert!(compiled.unwrap().success());
}

#[test]
fn the_stand_in_drives_the_very_lap_that_the_cpu_drives() {
    let cpu = drive(
        &car(BackendKind::Cpu, OnGpuFailure::Cpu),
        &Places::default(),
        None,
    );
    assert!(cpu.completed && cpu.fallbacks.is_empty());
    let machine = Machine::new(OnGpuFailure::Cpu);
    // Memory shared, and of its own; with a graph, and without one.
    for environment in [
        &[][..],
        &[("STAND_IN_INTEGRATED", "0")],
        &[("STAND_IN_FAIL", "cuStreamBeginCapture_v2")],
    ] {
        let gpu = machine.drive(environment);
        assert!(
            gpu.backend.starts_with("TensorRT 10.3.0 on stand-in, "),
            "{}",
            gpu.backend
        );
        assert!(gpu.completed && gpu.fallbacks.is_empty(), "{environment:?}");
        assert_eq!(gpu.commands, cpu.commands, "{environment:?}");
    }
}

/// Every call that an inference makes, and what else can go wrong with it.
const FAULTS: [(&str, &[(&str, &str)]); 9] = [
    ("cuCtxSetCurrent", &[]),
    ("cuEventRecord", &[]),
    ("cuGraphLaunch", &[]),
    ("cuEventQuery", &[]),
    ("late", &[]),
    ("nan", &[]),
    (
        "context_enqueue",
        &[("STAND_IN_FAIL", "cuStreamBeginCapture_v2")],
    ),
    (
        "cuMemcpyHtoDAsync_v2",
        &[
            ("STAND_IN_FAIL", "cuStreamBeginCapture_v2"),
            ("STAND_IN_INTEGRATED", "0"),
        ],
    ),
    (
        "cuMemcpyDtoHAsync_v2",
        &[
            ("STAND_IN_FAIL", "cuStreamBeginCapture_v2"),
            ("STAND_IN_INTEGRATED", "0"),
        ],
    ),
];

#[test]
fn whatever_fails_the_cpu_answers_the_very_frame_and_the_lap_goes_on() {
    let machine = Machine::new(OnGpuFailure::Cpu);
    let cpu = drive(
        &car(BackendKind::Cpu, OnGpuFailure::Cpu),
        &Places::default(),
        None,
    );
    println!("fault                      first fallback   frames by the CPU   longest frame");
    for (fault, environment) in FAULTS {
        let told = machine.drive(&[environment, &[(FAULT, fault)]].concat());
        println!(
            "{fault:<26} {:>14}   {:>17}   {:>10.1} ms",
            format!("frame {:?}", told.fallbacks.first()),
            told.fallbacks.len(),
            told.longest
        );
        assert!(told.completed && told.error.is_none(), "{fault}: {told:?}");
        assert_eq!(told.fallbacks.first(), Some(&FAILS), "{fault}");
        // The CPU engine gives the same answers, so the lap is the same.
        assert_eq!(told.commands, cpu.commands, "{fault}");
        // Half a frame period of waiting at the most, where 150 ms is the deadline.
        assert!(told.longest < 150.0, "{fault}: {} ms", told.longest);
    }
}

#[test]
fn where_nothing_may_take_its_place_the_car_stops() {
    let machine = Machine::new(OnGpuFailure::Stop);
    for (fault, environment) in FAULTS {
        let told = machine.drive(&[environment, &[(FAULT, fault)]].concat());
        assert!(!told.completed && told.failsafe, "{fault}: {told:?}");
        match fault {
            // The network's answer is the guard's to refuse: the last good command runs out.
            "nan" => assert!(told.stopped.unwrap().contains("deadline"), "{fault}"),
            _ => {
                assert_eq!(told.commands.len(), FAILS, "{fault}");
                assert_eq!(
                    told.stopped.as_deref(),
                    Some("the engine failed"),
                    "{fault}"
                );
            }
        }
    }
}

#[test]
fn without_a_gpu_the_cpu_drives_and_it_is_said_or_nothing_does() {
    let pilotage = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pilotage"))
            .args(["drive", "--pace", "fast", "--latency", "10"])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (status, report, said) = pilotage(&["--engine-backend", "tensorrt"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("note: the CPU drives, not the GPU: "),
        "{said}"
    );
    assert!(report.contains("done in"), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let car = folder.path().join("car.toml");
    fs::write(
        &car,
        "[engine]\nbackend = \"tensorrt\"\nfallback = \"stop\"\n",
    )
    .unwrap();
    let (status, _, said) = pilotage(&["--car", car.to_str().unwrap()]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("cannot run on the GPU") && said.contains("pilotage doctor"),
        "{said}"
    );
}
