//! One case: from the fault until it is clear that the car has stopped and stays stopped.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal, kill_process};

use crate::car::{ARM_BUTTON, Car, Pilot, STOP_BUTTON};
use crate::fault::{Broken, Fault};
use crate::film::{FREEZE, RUN, STALL};
use crate::judge::{Events, Expected, StopSeen, Verdict, judge, moves, rests};
use crate::load::Jitter;
use crate::processes::lives;
use crate::tty::{INTERRUPT, QUIT, SUSPEND};
use crate::{DEADLINE, PERIOD, guard_program, judge};

/// If the car has not stopped by then, it counts as never stopped.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the pins are watched before and after the repair: a little more than two deadlines.
const WATCH: Duration = Duration::from_millis(DEADLINE.as_millis() as u64 * 2 + 5);
/// The number of idle connections: twice as many as a guard has room for.
const IDLE: usize = 16;
/// If the motor has not turned by then, the car has stopped before its fault.
const COASTING: Duration = Duration::from_millis(200);
/// By then a dry run has found its guard, or given up.
const DRY_RUN: Duration = Duration::from_millis(2500);

/// The result of one case.
pub struct Case {
    pub fault: Fault,
    pub verdict: Verdict,
    pub jitter: Duration,
    /// Information for the diagnosis of a missed case.
    pub note: String,
}

impl Case {
    /// Whether it took longer than the limit, jitter included.
    pub fn is_late(&self) -> bool {
        self.verdict.took() > self.fault.limit()
    }
}

/// What was prepared for a fault, and is undone afterwards.
#[derive(Default)]
struct Staged {
    idle: Vec<OwnedFd>,
    flood: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

/// What a fault started.
#[derive(Default)]
struct Begun {
    stop: Option<Child>,
    armed_while_held: bool,
}

/// Applies `fault` to a driving car.
pub fn strike(car: &mut Car, jitter: &Jitter, pilot: &Pilot, guard: Pid, fault: Fault) -> Case {
    let staged = stage(car, pilot, guard, fault);
    let camera = (fault == Fault::CameraEnds)
        .then(|| pilot.camera())
        .flatten();
    // The wait for the button's log message does not count.
    if fault == Fault::StopButtonWithoutStderr {
        car.pad.press(ARM_BUTTON);
        std::thread::sleep(PERIOD);
    }
    // In a sharp turn the policy's throttle passes through neutral.
    let mut trace = Vec::new();
    car.follow(&mut trace, Instant::now(), COASTING, moves);
    jitter.forget();
    trace.clear();
    let struck = Instant::now();
    car.follow(&mut trace, struck, Duration::ZERO, |_| true);
    let mut begun = begin(car, pilot, guard, fault, camera);
    let is_stopped = |pulses| match fault.expected() {
        Expected::Rest => rests(pulses),
        Expected::Failsafe | Expected::Nothing => pulses == judge::FAILSAFE,
    };
    car.follow(&mut trace, struck, PATIENCE, is_stopped);
    let jitter = jitter.most();
    if fault == Fault::HeldStopButton {
        car.pad.press(ARM_BUTTON);
        begun.armed_while_held = car.run("arm").status.success();
    }
    car.follow(&mut trace, struck, WATCH, |_| false);
    let mended = struck.elapsed();
    mend(car, pilot, fault, staged);
    car.follow(&mut trace, struck, WATCH, |_| false);
    let watched = struck.elapsed();
    let (stop, printed) = match begun.stop {
        Some(stop) => {
            let (status, printed) = ended(stop);
            let seen = StopSeen {
                status,
                healthy_guard: fault.leaves_the_guard_healthy(),
                guard_gone: !lives(guard),
            };
            (Some(seen), printed)
        }
        None => (None, String::new()),
    };
    let events = Events {
        expected: fault.expected(),
        limit: fault.limit(),
        jitter,
        mended,
        watched,
        deadline: DEADLINE,
        stop,
        armed_while_held: begun.armed_while_held,
    };
    let verdict = judge(&trace, &events);
    let last = trace.last().map(|last| last.pulses);
    let stop = stop.map(|_| format!("`pilotage stop`: {stop:?} {printed}\n"));
    Case {
        fault,
        verdict,
        jitter,
        note: format!(
            "pins at last {last:?}\n{}pilot:\n{}",
            stop.unwrap_or_default(),
            pilot.log()
        ),
    }
}

/// Prepares the fault.
fn stage(car: &Car, pilot: &Pilot, guard: Pid, fault: Fault) -> Staged {
    let mut staged = Staged::default();
    match fault {
        Fault::PilotFreezesInAFlood => {
            let end = Arc::new(AtomicBool::new(false));
            let (socket, ended) = (car.socket(), Arc::clone(&end));
            let thread = std::thread::spawn(move || flood(&socket, &ended));
            staged.flood = Some((end, thread));
            std::thread::sleep(PERIOD);
        }
        // On the first signal Rust's handler assumes a fault that will repeat by itself, and
        // restores the default action for the next.
        Fault::PilotCrashes => {
            pilot.kill(Signal::SEGV);
            let began = Instant::now();
            while catches(pilot.process, Signal::SEGV) {
                assert!(began.elapsed() < PATIENCE, "it still handles SIGSEGV");
                std::thread::yield_now();
            }
            assert!(pilot.lives(), "the first SIGSEGV ended it");
        }
        Fault::StopOfAFrozenGuard => kill_process(guard, Signal::STOP).unwrap(),
        Fault::StopWith(broken) => spoil(car, broken),
        Fault::StopWithoutSocket => fs::remove_file(car.socket()).unwrap(),
        Fault::StopBesideIdleConnections => {
            staged.idle = (0..IDLE).filter_map(|_| car.connection()).collect();
            std::thread::sleep(PERIOD / 2);
        }
        Fault::GuardKilledBesideAFrozenPilot | Fault::GuardFreezesBesideAFrozenPilot => {
            pilot.kill(Signal::STOP);
            std::thread::sleep(Duration::from_millis(5));
        }
        Fault::StopButtonWithoutStderr => pilot.close_stderr(),
        _ => {}
    }
    staged
}

/// Whether a process has a handler for a signal. False if there is no such process.
fn catches(process: Pid, signal: Signal) -> bool {
    let process = process.as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    caught.is_some_and(|set| set >> (signal.as_raw() - 1) & 1 == 1)
}

/// Writes car.toml as an editor, a full disk or a typing error leaves it.
fn spoil(car: &Car, broken: Broken) {
    let text = match broken {
        Broken::HalfAKey => {
            let half = car.text.find("deadline_ms").map(|at| &car.text[..at + 7]);
            half.unwrap().to_owned()
        }
        Broken::Empty => String::new(),
        Broken::OutOfRange => car
            .text
            .replace("failsafe_us = 1500", "failsafe_us = 99999"),
        Broken::OtherSocket => car.text.replace("guard.sock", "another.sock"),
    };
    assert_ne!(text, car.text);
    fs::write(car.file(), text).unwrap();
}

fn begin(car: &mut Car, pilot: &Pilot, guard: Pid, fault: Fault, camera: Option<Pid>) -> Begun {
    let mut begun = Begun::default();
    match fault {
        Fault::PilotKilled => pilot.kill(Signal::KILL),
        Fault::PilotCrashes => pilot.kill(Signal::SEGV),
        Fault::PilotFreezes | Fault::PilotFreezesInAFlood => pilot.kill(Signal::STOP),
        Fault::GroupKilled => pilot.kill_group(Signal::KILL),
        Fault::GroupFreezes => pilot.kill_group(Signal::STOP),
        Fault::TerminalInterrupt => pilot.shell().press(INTERRUPT),
        Fault::TerminalSuspend => pilot.shell().press(SUSPEND),
        Fault::TerminalQuit => pilot.shell().press(QUIT),
        Fault::TerminalHangsUp => pilot.shell().hang_up(),
        Fault::CameraStalls => car.film(STALL),
        Fault::CameraEnds => kill_process(camera.unwrap(), Signal::KILL).unwrap(),
        Fault::PictureFreezes => car.film(FREEZE),
        Fault::GuardKilled | Fault::GuardKilledBesideAFrozenPilot => {
            kill_process(guard, Signal::KILL).unwrap();
        }
        Fault::GuardFreezes | Fault::GuardFreezesBesideAFrozenPilot => {
            kill_process(guard, Signal::STOP).unwrap();
        }
        Fault::Stop
        | Fault::StopOfAFrozenGuard
        | Fault::StopWith(_)
        | Fault::StopWithoutSocket
        | Fault::StopBesideIdleConnections => {
            let mut stop = car.command(&["stop"]);
            stop.stdout(Stdio::piped()).stderr(Stdio::piped());
            begun.stop = Some(stop.spawn().unwrap());
        }
        Fault::HeldStopButton | Fault::StopButtonWithoutStderr => car.pad.hold(STOP_BUTTON),
        Fault::DryRunBeside => panic!("no drive is needed for it"),
    }
    begun
}

/// Repairs everything; the repair must not move the car.
fn mend(car: &mut Car, pilot: &Pilot, fault: Fault, staged: Staged) {
    match fault {
        Fault::TerminalSuspend => pilot.shell().enter("fg"),
        Fault::GroupFreezes => pilot.kill_group(Signal::CONT),
        Fault::StopWith(_) => fs::write(car.file(), &car.text).unwrap(),
        Fault::HeldStopButton | Fault::StopButtonWithoutStderr => car.pad.release(STOP_BUTTON),
        _ => {}
    }
    car.film(RUN);
    pilot.kill(Signal::CONT);
    drop(staged.idle);
    if let Some((end, thread)) = staged.flood {
        end.store(true, Ordering::Relaxed);
        thread.join().unwrap();
    }
}

/// The exit status of a program that should have ended long ago, and its output.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let mut text = String::new();
    let _ = child.stdout.take().unwrap().read_to_string(&mut text);
    let _ = child.stderr.take().unwrap().read_to_string(&mut text);
    (child.wait().unwrap().code(), text)
}

/// Sends garbage to the guard's socket, as fast as possible.
fn flood(socket: &Path, end: &AtomicBool) {
    let address = SocketAddrUnix::new(socket).unwrap();
    while !end.load(Ordering::Relaxed) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let connection = connection.unwrap();
        if rustix::net::connect(&connection, &address).is_err() {
            std::thread::yield_now();
            continue;
        }
        for _ in 0..200 {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let _ = rustix::net::send(&connection, &[0x5A; 52], flags);
        }
    }
}

/// Starts a dry run beside the guard of a real car without a pilot, with that guard's socket. The
/// real car's pins must not change.
pub fn dry_run(car: &Car, jitter: &Jitter) -> Case {
    let fault = Fault::DryRunBeside;
    let dry = car.folder().join("dry.toml");
    let text = car.text.replace("kind = \"pwm\"", "kind = \"dry-run\"");
    fs::write(
        &dry,
        text.replace("[gamepad]", "# [gamepad]")
            .replace("device", "# device"),
    )
    .unwrap();
    let mut command = Command::new(guard_program());
    command.arg("--car").arg(car.file()).stdin(Stdio::null());
    command.stderr(Stdio::null());
    let guard = Ended(command.process_group(0).spawn().unwrap());
    let began = Instant::now();
    while car.connection().is_none() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "no guard listens"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    jitter.forget();
    let struck = Instant::now();
    let mut trace = Vec::new();
    car.follow(&mut trace, struck, Duration::ZERO, |_| true);
    let mut command = Command::new(crate::PILOTAGE);
    command.args(["drive", "--json", "--car"]).arg(&dry);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer);
    let mut pilot = Ended(command.process_group(0).spawn().unwrap());
    drop(command);
    let printed = crate::tty::Drain::of(reader.into());
    while struck.elapsed() < DRY_RUN && pilot.0.try_wait().unwrap().is_none() {
        car.follow(&mut trace, struck, PERIOD, |_| false);
    }
    car.follow(&mut trace, struck, WATCH, |_| false);
    drop(pilot);
    drop(guard);
    let events = Events {
        expected: fault.expected(),
        limit: fault.limit(),
        jitter: jitter.most(),
        mended: struck.elapsed(),
        watched: struck.elapsed(),
        deadline: DEADLINE,
        stop: None,
        armed_while_held: false,
    };
    Case {
        fault,
        verdict: judge(&trace, &events),
        jitter: events.jitter,
        note: format!("dry run:\n{}", printed.text()),
    }
}

/// A process that is killed if it has not ended.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
