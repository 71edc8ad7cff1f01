//! One drive with the substitutes, in a separate process, and its faults.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pilotage::car::{BackendKind, Car, OnGpuFailure};
use pilotage::engines::{self, GpuSetup, Loaded};
use pilotage::guarded::GuardProcess;
use pilotage::pilot::Dropped;
use pilotage::simulation::{Pace, SimulatedDrive};
use pilotage_engine::{Bundle, CpuEngine, CpuOptions};
use pilotage_gpu::TensorRtPaths;
use pilotage_guard::Mode;
use pilotage_vehicle::{Domain, monotonic};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::processes::{children, comm, lives};
use crate::tensors::Tensors;

/// The part of a drive in which a fault occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum When {
    /// Until the engine is loaded.
    Start,
    /// While the pilot warms up.
    WarmUp,
    /// From frame `fails` to frame `heals`.
    MidLap,
    /// While all resources are released.
    End,
}

/// The options of a drive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DriveOptions {
    /// Build the plan first.
    pub prepare: bool,
    /// The engine's file; `None` for the compiled-in engine.
    pub engine: Option<PathBuf>,
    /// `fallback = "stop"`.
    pub stop: bool,
    /// Write a trace of the calls, with the parts of the drive.
    pub trace: bool,
    /// Drive on the wall clock, with the guard in a separate process: this program.
    pub guard: Option<PathBuf>,
    /// The fault (faults.h).
    pub fault: Option<(When, String)>,
    pub fails: usize,
    pub heals: usize,
    /// The largest number of frames.
    pub frames: Option<usize>,
    /// `gpu_start_s`.
    pub start_s: f64,
}

impl Default for DriveOptions {
    fn default() -> Self {
        Self {
            prepare: false,
            engine: None,
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

/// The result of a drive.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct DriveReport {
    pub backend: String,
    /// The plan's precision and notes, if it was built.
    pub prepared: Option<String>,
    pub notes: Vec<String>,
    pub completed: bool,
    /// Every command: steering and throttle, as bits.
    pub commands: Vec<(u32, u32)>,
    /// Frames that the fallback answered.
    pub fallbacks: Vec<usize>,
    /// From frame to command, for the frame at which the fault began, milliseconds.
    pub first: f64,
    /// The longest time from that frame on.
    pub longest: f64,
    /// From the fault to failsafe at the motors, milliseconds.
    pub failsafe_after: Option<f64>,
    /// Why the pilot and the guard stopped, if they did.
    pub error: Option<String>,
    pub stopped: Option<String>,
    pub failsafe: bool,
    /// The start-up time of the engine, milliseconds.
    pub started: f64,
    /// The longest delay of a sleeping thread, milliseconds.
    pub held_up: f64,
    /// The processes of the engine, in order.
    pub processes: Vec<i32>,
    /// The trace of calls; the parts follow `-- `.
    #[serde(skip)]
    pub trace: String,
    /// Resources of the driver or TensorRT that were not released.
    #[serde(skip)]
    pub left: Vec<String>,
    /// Whether a process released its resources and ended in order.
    #[serde(skip)]
    pub released: bool,
}

/// The bytes of the engine in `file`, or of the compiled-in engine.
pub fn engine_file(file: Option<&Path>) -> Vec<u8> {
    match file {
        Some(file) => fs::read(file).unwrap(),
        None => engines::compiled_in("pilotnet").unwrap().to_vec(),
    }
}

/// A lap of `simple` with a fixed latency, so that the same answers give the same lap; with
/// `guard`, on the wall clock.
pub fn car(backend: BackendKind, options: &DriveOptions) -> Car {
    Car::load_with(None, |settings| {
        if options.guard.is_none() {
            settings.simulator.pace = Pace::Fast;
            settings.simulator.latency_ms = Some(10.0);
            // The largest allowed value: other tests may use the machine.
            settings.engine.gpu_limit_ms = Some(50.0);
        }
        settings.engine.backend = backend;
        let file = options.engine.as_ref();
        settings.engine.file = file.map(|file| file.display().to_string());
        settings.engine.gpu_start_s = options.start_s;
        if options.stop {
            settings.engine.fallback = OnGpuFailure::Stop;
        }
    })
    .unwrap()
}

/// The main function of the separate process, which finds the substitutes first.
pub fn run_in_child(place: &Path) {
    let run = PathBuf::from(std::env::var_os("PILOTAGE_TEST_RUN").unwrap());
    let options: DriveOptions =
        serde_json::from_slice(&fs::read(run.join("options")).unwrap()).unwrap();
    let file = engine_file(options.engine.as_deref());
    let bundle = Bundle::read(&file).unwrap();
    let tensors = Tensors::of(&bundle);
    let listener = UnixListener::bind(run.join("ask")).unwrap();
    let plan = bundle.plan.clone();
    let engine = move || CpuEngine::new(&plan, CpuOptions::default()).unwrap();
    let fault = run.join("fault");
    std::thread::spawn(move || answer(&listener, &engine, &tensors, &fault));
    // Another user builds the plan for root.
    fs::set_permissions(run.join("ask"), fs::Permissions::from_mode(0o777)).unwrap();
    let places = machine::places(place);
    let mut prepared = None;
    if options.prepare {
        let made = setup(&places).prepare(&file, &bundle);
        prepared = Some(match made {
            Ok(prepared) => format!("{}: {}", prepared.precision, prepared.notes.join("; ")),
            Err(error) => format!("error: {error}"),
        });
    }
    let ended = Arc::new(AtomicBool::new(false));
    let held_up = std::thread::spawn({
        let ended = ended.clone();
        move || held_up(&ended)
    });
    let mut report = drive(BackendKind::TensorRt, &options, &places, &run);
    report.prepared = prepared;
    ended.store(true, Ordering::Relaxed);
    report.held_up = held_up.join().unwrap();
    fs::write(run.join("report"), serde_json::to_vec(&report).unwrap()).unwrap();
}

/// Sleeps repeatedly for a millisecond until the drive has `ended`; returns the longest delay.
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

/// A fault in one part of a drive.
struct Fault<'a> {
    options: &'a DriveOptions,
    file: PathBuf,
    trace: PathBuf,
}

impl Fault<'_> {
    fn begin(&self, when: When) {
        if self.options.trace {
            let mut file = fs::OpenOptions::new();
            let mut file = file.append(true).create(true).open(&self.trace).unwrap();
            writeln!(file, "-- {when:?}").unwrap();
        }
        if let Some((at, what)) = &self.options.fault
            && *at == when
        {
            if let Some(signal) = what.strip_prefix("signal ") {
                let signal = Signal::from_named_raw(signal.parse().unwrap()).unwrap();
                for process in engine_processes() {
                    kill_process(process, signal).unwrap();
                }
                return;
            }
            // Written atomically, because it is read at the same time.
            let temporary = self.file.with_extension("new");
            fs::write(&temporary, what).unwrap();
            fs::rename(temporary, &self.file).unwrap();
        }
    }

    fn end(&self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// The processes of the engine that this process has started and that have not ended.
fn engine_processes() -> Vec<Pid> {
    let own = children(rustix::process::getpid());
    let is_engine = |process: &Pid| {
        lives(*process) && comm(*process).is_some_and(|name| name == "pilotage-gpu")
    };
    own.into_iter().filter(is_engine).collect()
}

/// The GPU's processes run the program `pilotage`. It is opened here, because the user who builds the
/// plan for root may not enter the folder of the build.
fn setup(places: &TensorRtPaths) -> GpuSetup {
    static PROGRAM: OnceLock<fs::File> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| fs::File::open(env!("CARGO_BIN_EXE_pilotage")).unwrap());
    GpuSetup {
        places: places.clone(),
        program: Some(format!("/proc/self/fd/{}", program.as_raw_fd()).into()),
    }
}

/// Drives; without a GPU if the backend is the CPU.
pub fn drive(
    backend: BackendKind,
    options: &DriveOptions,
    places: &TensorRtPaths,
    run: &Path,
) -> DriveReport {
    let fault = Fault {
        options,
        file: run.join("fault"),
        trace: run.join("trace"),
    };
    let car = car(backend, options);
    fault.begin(When::Start);
    let start = Instant::now();
    let loaded = engines::load_with(&car, &setup(places));
    let mut report = DriveReport {
        started: start.elapsed().as_secs_f64() * 1e3,
        ..DriveReport::default()
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            report.error = Some(error.to_string());
            return report;
        }
    };
    report.backend = loaded.engine.describe();
    report.notes = loaded.notes.clone();
    // If the loading thread is stuck, the fault remains, because nothing waits for that thread.
    if report.notes.is_empty() {
        fault.end();
    }
    lap(&car, loaded, options, &fault, &mut report);
    report
}

fn lap(
    car: &Car,
    loaded: Loaded,
    options: &DriveOptions,
    fault: &Fault<'_>,
    report: &mut DriveReport,
) {
    let world = car.world().unwrap();
    let mut motors = None;
    let mut drive = match &options.guard {
        None => SimulatedDrive::new(car, world, loaded, Dropped::default()),
        Some(program) => {
            let guarded = GuardProcess::start_as(program, &car.limits, Domain::Simulated).unwrap();
            motors = Some(guarded.0.motors.clone());
            SimulatedDrive::beside(car, world, loaded, Dropped::default(), guarded)
        }
    }
    .unwrap();
    fault.begin(When::WarmUp);
    let warmed = drive.pilot.prepare();
    fault.end();
    if let Err(error) = warmed {
        report.error = Some(error.to_string());
        return;
    }
    drive.arm().unwrap();
    let mut began = monotonic();
    for frame in 0..options.frames.unwrap_or(usize::MAX) {
        if frame == options.fails {
            fault.begin(When::MidLap);
            began = monotonic();
        }
        if frame == options.heals {
            fault.end();
        }
        match drive.pilot.step() {
            Ok(step) => {
                let command = step.command;
                report
                    .commands
                    .push((command.steering.to_bits(), command.throttle.to_bits()));
                if step.fallback {
                    report.fallbacks.push(frame);
                }
                let thinking_ms = step.thinking.as_secs_f64() * 1e3;
                if frame == options.fails {
                    report.first = thinking_ms;
                }
                if frame >= options.fails {
                    report.longest = report.longest.max(thinking_ms);
                }
            }
            Err(error) => report.error = Some(error.to_string()),
        }
        let on_the_wall_clock = options.guard.is_some();
        for process in on_the_wall_clock.then(engine_processes).unwrap_or_default() {
            let number = process.as_raw_nonzero().get();
            if !report.processes.contains(&number) {
                report.processes.push(number);
            }
        }
        let status = drive.pilot.link().status();
        report.stopped = status.state.stopped().map(|reason| reason.to_string());
        report.failsafe = status.output.mode == Mode::Failsafe;
        let outcome = drive.world.borrow().outcome();
        report.completed = matches!(outcome, Some(pilotage_simulator::Outcome::LapDone { .. }));
        if outcome.is_some() || report.error.is_some() || report.stopped.is_some() {
            break;
        }
    }
    // After the loop nothing else takes the outputs.
    let until = Instant::now() + Duration::from_secs(2);
    while let Some(motors) = &motors
        && report.error.is_some()
        && report.failsafe_after.is_none()
        && Instant::now() < until
    {
        let all = motors.take();
        let safe = all.iter().find(|a| a.output.mode == Mode::Failsafe);
        report.failsafe_after = safe.map(|a| a.at.since(began).as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(1));
    }
    if report.error.is_some() {
        fault.end();
    }
    fault.begin(When::End);
    // A fault of this part ends while the drive waits for it; one of loading stays.
    let waits = matches!(options.fault, Some((When::End, _)));
    let file = fault.file.clone();
    let healed = waits.then(|| {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            let _ = fs::remove_file(file);
        })
    });
    drop(drive);
    if let Some(healed) = healed {
        healed.join().unwrap();
    }
}

/// Computes the substitute's answers for each process that connects.
pub fn answer(
    listener: &UnixListener,
    engine: &(impl Fn() -> CpuEngine + Sync),
    tensors: &Tensors,
    fault: &Path,
) {
    std::thread::scope(|scope| {
        while let Ok((connection, _)) = listener.accept() {
            scope.spawn(|| answer_one(connection, engine(), tensors, fault));
        }
    });
}

fn answer_one(mut connection: UnixStream, mut engine: CpuEngine, tensors: &Tensors, fault: &Path) {
    while let Ok(mut numbers) = tensors.answer(&mut connection, &mut engine) {
        if fs::read_to_string(fault).is_ok_and(|call| call == "nan") {
            numbers.fill(f32::NAN);
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        // The process may have been killed.
        let _ = connection.write_all(&bytes);
    }
}
