//! One drive on stand-ins, in a process of its own, and what went wrong in it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pilotage::car::{BackendKind, Car, OnGpuFailure};
use pilotage::engines::{self, Loaded};
use pilotage::guarded::Guarded;
use pilotage::pilot::Dropped;
use pilotage::simulation::{Pace, SimulatedDrive};
use pilotage_engine::{Bundle, CpuEngine, CpuOptions, Engine, TensorMut, TensorRef};
use pilotage_guard::{Domain, Mode, monotonic};
use pilotage_tensorrt::{Places, prepare};
use serde::{Deserialize, Serialize};

use crate::machine;

/// The part of a drive in which something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum When {
    /// Until the engine is loaded.
    Start,
    /// While the pilot warms up.
    WarmUp,
    /// From frame `fails` to frame `heals`.
    MidLap,
    /// When everything is given back.
    End,
}

/// What a run is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// Build the plan before.
    pub prepare: bool,
    /// `fallback = "stop"`.
    pub stop: bool,
    /// Write what is called, and in which part.
    pub trace: bool,
    /// On the wall clock, the guard in a process of its own: this program.
    pub guard: Option<PathBuf>,
    /// What goes wrong (faults.h).
    pub fault: Option<(When, String)>,
    pub fails: usize,
    pub heals: usize,
    /// Drive no more than these.
    pub frames: Option<usize>,
    /// `gpu_start_s`.
    pub start_s: f64,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            prepare: false,
            stop: false,
            trace: false,
            guard: None,
            fault: None,
            fails: 100,
            heals: 140,
            frames: None,
            start_s: 60.0,
        }
    }
}

/// What it came to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Told {
    pub backend: String,
    pub notes: Vec<String>,
    pub completed: bool,
    /// Every command: steering and throttle, as bits.
    pub commands: Vec<(u32, u32)>,
    /// Frames that the fallback answered.
    pub fallbacks: Vec<usize>,
    /// Of frame to command, where the fault began, milliseconds.
    pub first: f64,
    /// The longest of all from there on.
    pub longest: f64,
    /// From the fault to failsafe at the motors, milliseconds.
    pub failsafe_after: Option<f64>,
    /// How the pilot and the guard ended, where they did not go on.
    pub error: Option<String>,
    pub stopped: Option<String>,
    pub failsafe: bool,
    /// How long the engine took to be there, milliseconds.
    pub started: f64,
    /// The longest that a thread which slept was kept waiting beyond its time, milliseconds.
    pub held_up: f64,
    /// What was called, and the parts, after `-- `.
    #[serde(skip)]
    pub trace: String,
    /// What the driver or TensorRT was not given back.
    #[serde(skip)]
    pub left: Vec<String>,
}

/// A lap of `simple` with a fixed latency, so that the same answers give the same lap; with a
/// guard of its own on the wall clock.
pub fn car(backend: BackendKind, orders: &Orders) -> Car {
    Car::load_with(None, |settings| {
        if orders.guard.is_none() {
            settings.simulator.pace = Pace::Fast;
            settings.simulator.latency_ms = Some(10.0);
            // The longest there is: other tests may be using the machine.
            settings.engine.gpu_limit_ms = Some(50.0);
        }
        settings.engine.backend = backend;
        settings.engine.gpu_start_s = orders.start_s;
        if orders.stop {
            settings.engine.fallback = OnGpuFailure::Stop;
        }
    })
    .unwrap()
}

/// What the tests run in another process, with stand-ins in its way.
pub fn drives(place: &Path) {
    let run = PathBuf::from(std::env::var_os("PILOTAGE_TEST_RUN").unwrap());
    let orders: Orders = serde_json::from_slice(&fs::read(run.join("orders")).unwrap()).unwrap();
    let bundle = Bundle::read(engines::compiled_in("pilotnet").unwrap()).unwrap();
    let listener = UnixListener::bind(run.join("ask")).unwrap();
    let engine = CpuEngine::new(&bundle.plan, CpuOptions::default()).unwrap();
    let fault = run.join("fault");
    std::thread::spawn(move || answer(&listener, engine, &fault));
    let places = machine::places(place);
    if orders.prepare {
        prepare(&bundle, &places, &|_| true).unwrap();
    }
    let ended = Arc::new(AtomicBool::new(false));
    let held_up = std::thread::spawn({
        let ended = ended.clone();
        move || held_up(&ended)
    });
    let mut told = drive(BackendKind::TensorRt, &orders, &places, &run);
    ended.store(true, Ordering::Relaxed);
    told.held_up = held_up.join().unwrap();
    fs::write(run.join("said"), serde_json::to_vec(&told).unwrap()).unwrap();
}

/// Sleeps for a millisecond at a time until the drive has `ended`.
fn held_up(ended: &AtomicBool) -> f64 {
    let nap = Duration::from_millis(1);
    let mut longest = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        let before = Instant::now();
        std::thread::sleep(nap);
        longest = longest.max(before.elapsed().saturating_sub(nap));
    }
    longest.as_secs_f64() * 1e3
}

/// What goes wrong, in its part of a drive.
struct Fault<'a> {
    orders: &'a Orders,
    file: PathBuf,
    trace: PathBuf,
}

impl Fault<'_> {
    fn begin(&self, when: When) {
        if self.orders.trace {
            let mut file = fs::OpenOptions::new();
            let mut file = file.append(true).create(true).open(&self.trace).unwrap();
            writeln!(file, "-- {when:?}").unwrap();
        }
        if let Some((at, what)) = &self.orders.fault
            && *at == when
        {
            // Whole at once: it is looked at meanwhile.
            let beside = self.file.with_extension("new");
            fs::write(&beside, what).unwrap();
            fs::rename(beside, &self.file).unwrap();
        }
    }

    fn end(&self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Drives, without a GPU where the backend is the CPU.
pub fn drive(backend: BackendKind, orders: &Orders, places: &Places, run: &Path) -> Told {
    let fault = Fault {
        orders,
        file: run.join("fault"),
        trace: run.join("trace"),
    };
    let car = car(backend, orders);
    fault.begin(When::Start);
    let start = Instant::now();
    let loaded = engines::load_with(&car, places);
    let mut told = Told {
        started: start.elapsed().as_secs_f64() * 1e3,
        ..Told::default()
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            told.error = Some(error.to_string());
            return told;
        }
    };
    told.backend = loaded.engine.describe();
    told.notes = loaded.notes.clone();
    // A thread that is stuck stays so: nobody waits for it.
    if told.notes.is_empty() {
        fault.end();
    }
    lap(&car, loaded, orders, &fault, &mut told);
    told
}

fn lap(car: &Car, loaded: Loaded, orders: &Orders, fault: &Fault<'_>, told: &mut Told) {
    let world = car.world().unwrap();
    let mut motors = None;
    let mut drive = match &orders.guard {
        None => SimulatedDrive::new(car, world, loaded, Dropped::default()),
        Some(program) => {
            let guarded = Guarded::start_as(program, &car.limits, Domain::Simulated).unwrap();
            motors = Some(guarded.0.motors.clone());
            SimulatedDrive::beside(car, world, loaded, Dropped::default(), guarded)
        }
    }
    .unwrap();
    fault.begin(When::WarmUp);
    let warmed = drive.pilot.prepare();
    fault.end();
    if let Err(error) = warmed {
        told.error = Some(error.to_string());
        return;
    }
    drive.arm().unwrap();
    let mut began = monotonic();
    for frame in 0..orders.frames.unwrap_or(usize::MAX) {
        if frame == orders.fails {
            fault.begin(When::MidLap);
            began = monotonic();
        }
        if frame == orders.heals {
            fault.end();
        }
        match drive.pilot.step() {
            Ok(step) => {
                let command = step.command;
                told.commands
                    .push((command.steering.to_bits(), command.throttle.to_bits()));
                if step.fallback {
                    told.fallbacks.push(frame);
                }
                let thought = step.thinking.as_secs_f64() * 1e3;
                if frame == orders.fails {
                    told.first = thought;
                }
                if frame >= orders.fails {
                    told.longest = told.longest.max(thought);
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
    // Nobody else takes from them once the loop has ended.
    let until = Instant::now() + Duration::from_secs(2);
    while let Some(motors) = &motors
        && told.error.is_some()
        && told.failsafe_after.is_none()
        && Instant::now() < until
    {
        let all = motors.take();
        let safe = all.iter().find(|a| a.output.mode == Mode::Failsafe);
        told.failsafe_after = safe.map(|a| a.at.since(began).as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(1));
    }
    if told.error.is_some() {
        fault.end();
    }
    fault.begin(When::End);
    let file = fault.file.clone();
    let heals = !matches!(orders.fault, Some((When::Start, _)));
    let healed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        if heals {
            let _ = fs::remove_file(file);
        }
    });
    drop(drive);
    healed.join().unwrap();
}

/// Computes what the stand-in is asked for: planar levels in, numbers out.
pub fn answer(listener: &UnixListener, mut engine: CpuEngine, fault: &Path) {
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
